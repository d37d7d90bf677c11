"""Datasets of HDF5 files: their metadata and their voxels."""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..model.cache import CACHE
from .access.files import File, needs_extra, store_errors
from .access.stamps import stamp_on_disk
from .chunked.parts import parts_of
from .metadata.documents import ArrayNode

#: How many datasets an error names.
LISTED = 8
#: Kinds of dtypes that are voxels: bool, integers, floats.
VOXELS = "buif"
#: Where BigDataViewer puts an array: the group with the factors of its levels, and its level.
_VIEW = re.compile(r"t\d+/(s\d+)/(\d+)/cells")


#: HDF5 serves one thread at a time anyway. A process that forks waits until no file is open.
_LOCK = threading.Lock()
os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


class Dataset:
    """A dataset of an HDF5 file, which is open only while it is read. Raises StoreError."""

    def __init__(self, path: Path, name: str) -> None:
        self.file, self.name = File.of(path), name
        with self._open() as dataset:
            labels = [dimension.label for dimension in dataset.dims]
            self.attrs = {key: _plain(value) for key, value in dataset.attrs.items()}
            self.shape, self.dtype, self.chunks = dataset.shape, dataset.dtype, dataset.chunks
            self.codec = dataset.compression or "none"
            # deflate in HDF5 is zlib's, which ends in a checksum
            self.has_checksums = bool(dataset.fletcher32 or dataset.compression == "gzip")
            if (match := _VIEW.fullmatch(self.name)) and (
                factors := dataset.file.get(f"{match[1]}/resolutions")
            ) is not None:
                self.attrs |= {"downsamplingFactors": factors[int(match[2])].tolist()}
        self.attrs |= {"_ARRAY_DIMENSIONS": labels} if all(labels) else {}
        if self.dtype.kind not in VOXELS or self.dtype.itemsize > 8 or not self.shape or 0 in self.shape:
            found, allowed = f"{self.dtype} {self.shape} in {self}", "bool, integers, floats, to 64 bits"
            raise StoreError("not an array of voxels", found, allowed)

    def __str__(self) -> str:
        return f"{self.file.path}/{self.name}"

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        self.file.open().close()  # raises if the file has changed
        with _open_file(self.file.path, str(self)) as file:
            dataset = file.get(self.name or "/")
            if not hasattr(dataset, "shape"):
                state = "is a group" if dataset is not None else "is not there"
                found, names = f"{self.name!r} in {self.file.path} {state}", list(_shapes_in(file))
                raise StoreError("no such dataset", found, ", ".join(names[:LISTED]) or None)
            yield dataset

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """The voxels of a box. Chunks are kept as long as the file does not change."""
        parts = list(parts_of(index, self.chunks)) if self.chunks else []
        stamp = stamp_on_disk(str(self.file.path))
        if stamp is None or not CACHE.keeps(len(parts) * math.prod(self.chunks or ()) * self.dtype.itemsize):
            with self._open() as dataset:
                if dataset.is_virtual:
                    self._require_sources(dataset)
                return np.asarray(dataset[index])
        self.file.open().close()  # raises if the file has changed
        out = np.empty([part.stop - part.start for part in index], self.dtype)
        missing = []
        for part in parts:
            voxels = CACHE.find((stamp, self.name, part.position))
            if voxels is None:
                missing.append(part)
            else:
                out[part.to] = voxels[part.of]
        if missing:
            with self._open() as dataset:
                for part in missing:
                    box = tuple(slice(p * c, (p + 1) * c) for p, c in zip(part.position, self.chunks, strict=True))
                    voxels = CACHE.add((stamp, self.name, part.position), np.asarray(dataset[box]))
                    out[part.to] = voxels[part.of]
        return out

    def _require_sources(self, dataset: Any) -> None:
        """Raises StoreError for a virtual dataset whose source files are missing: HDF5 would return fill values."""
        for source in dataset.virtual_sources():
            path = self.file.path.parent / source.file_name
            if source.file_name != "." and not path.exists():
                raise StoreError("a source file of the virtual dataset is missing", f"{path} of {self}")

    @property
    def node(self) -> ArrayNode:
        """Its metadata, in the form of those of a Zarr array."""
        return ArrayNode(self.name, "HDF5", self.attrs, self.shape, self.dtype, {})


def list_datasets(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the datasets of voxels in a file, by their paths. Raises StoreError."""
    with _open_file(path, str(path)) as file:
        return _shapes_in(file)


def _shapes_in(file: Any) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, node: Any) -> None:
        # groups have no dtype
        dtype = getattr(node, "dtype", None)
        if dtype is not None and dtype.kind in VOXELS and node.shape:
            shapes[name] = node.shape

    file.visititems(visit)
    return shapes


@contextlib.contextmanager
def _open_file(path: Path, name: str) -> Iterator[Any]:
    """An opened HDF5 file. Errors in the block are StoreErrors that name ``name``."""
    # h5py has errors of many types
    with store_errors(name, "cannot read", (Exception,)), needs_extra("hdf5", name):
        import h5py

        with contextlib.suppress(ModuleNotFoundError):
            import hdf5plugin  # noqa: F401 - more codecs, where it is installed
        with _LOCK, h5py.File(path, "r") as file:
            yield file


def _plain(value: Any) -> Any:
    """An attribute as JSON has it, as far as it can be."""
    value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
