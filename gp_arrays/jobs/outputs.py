"""The arrays that a job writes: made once by its master, written by its workers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, StoreError
from ..model.meta import Meta, Region
from ..storage.create import COMPRESSORS, NewArray, create_array
from ..storage.documents import Node, read_node
from ..storage.engine import FORMATS, open_array
from .attributes import PROVENANCE


@attrs.frozen
class Storage:
    """How outputs are stored.

    Attributes:
        compressor: ``"zstd"``, ``"blosc"``, ``"gzip"`` or ``"none"``.
        zarr_format: 2, or 3 where the installed zarr has it.
        shards: In voxels, whole chunks that are stored in one file; one shape, or one for each dataset. Zarr v3 only.
    """

    compressor: str = "zstd"
    zarr_format: int = 2
    shards: Any = None

    def __attrs_post_init__(self) -> None:
        if self.compressor not in COMPRESSORS:
            raise ConfigError("unknown compressor", found=repr(self.compressor), allowed=", ".join(COMPRESSORS))
        if self.zarr_format not in FORMATS:
            raise ConfigError(
                "a Zarr format that the installed zarr does not write",
                found=repr(self.zarr_format),
                allowed=", ".join(map(str, FORMATS)),
            )


def remove(root: Path, dataset: str) -> None:
    """Remove a dataset at once: a reader sees all of it, or nothing."""
    folder = root / dataset
    aside = folder.with_name(f".{folder.name}.removed")
    # one that a killed run left
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
        shutil.rmtree(aside)


def create(
    root: Path,
    dataset: str,
    meta: Meta,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    storage: Storage,
    attributes: Mapping[str, Any],
) -> None:
    """Make an array whose voxels are still all fill value. Raises StoreError."""
    assert meta.dtype is not None
    compressor, zarr_format = storage.compressor, storage.zarr_format
    array = NewArray(meta.shape, chunks, meta.dtype, attributes, compressor, zarr_format, shards, axes=meta.axes)
    create_array(root, dataset, array)


def job_of(node: Node | None) -> str | None:
    """The id of the job that made an array or group, None where none did."""
    made = None if node is None else node.attrs.get(PROVENANCE)
    return str(made["job"]) if isinstance(made, Mapping) and "job" in made else None


class Writer:
    """Writes boxes of one output, and refuses where the array is not what it was when opened.

    With ``skip_empty`` a chunk that is fill value throughout is left out. ``job`` is the id of
    the job whose array it must be; any will do by default.
    """

    def __init__(self, root: Path, dataset: str, meta: Meta, skip_empty: bool = False, job: str | None = None) -> None:
        self.root, self.dataset, self.meta, self.job = root, dataset, meta, job
        node = read_node(root, dataset)
        if node is None or not node.is_array or node.shape != meta.shape or node.dtype != meta.dtype:
            raise StoreError("the output is not what the job says", found=f"{root}/{dataset}")
        self.node = node
        self.array, _ = open_array(root, node, True, write_empty=not skip_empty)

    def require_there(self) -> None:
        """Raises StoreError where the array has vanished or changed: zarr would write into nothing."""
        now = read_node(self.root, self.dataset)
        if now is None or (now.shape, now.chunks, now.shards, now.dtype) != (
            self.node.shape,
            self.node.chunks,
            self.node.shards,
            self.node.dtype,
        ):
            raise StoreError("the output has vanished or changed", found=f"{self.root}/{self.dataset}")
        if self.job is not None and job_of(now) != self.job:
            raise StoreError("the output is another job's by now", found=f"{self.root}/{self.dataset}")

    def _index(self, region: Region) -> tuple[slice, ...]:
        begin, voxel_size = self.meta.region.begin, self.meta.voxel_size
        return tuple(slice(a, b) for a, b in self.meta.nonspatial_ranges(region)) + tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(region.begin, region.end, begin, voxel_size, strict=True)
        )

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """The voxels of a region, as they are stored."""
        found: np.ndarray[Any, Any] = np.asarray(self.array[self._index(region)])
        return found

    def write(self, region: Region, values: np.ndarray[Any, Any]) -> None:
        """Write the voxels of a region, whole chunks of it. Raises StoreError."""
        self.require_there()
        try:
            self.array[self._index(region)] = values
        except Exception as error:
            found = f"{self.root}/{self.dataset}: {type(error).__name__}: {error}"
            raise StoreError("cannot write", found=found) from error
        self.require_there()
