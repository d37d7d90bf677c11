"""Arrays of Zarr v3 read by TensorStore, where the installed zarr is of version 2 and has no Zarr v3.

A process that was forked from one that has used TensorStore aborts when it uses it, without a word to anyone.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from ...errors import StoreError
from ..metadata.documents import ChunkedNode

if TYPE_CHECKING:
    from .array_files import ArrayFiles

#: The process that has used TensorStore, which no process forked from it can use. None if none has.
_process: int | None = None


class TensorStoreArray:
    """An array of Zarr v3 that is indexed with integers and slices. TensorStore opens it at the first read.

    Raises StoreError where TensorStore is not installed, or was used before this process was forked.
    """

    def __init__(self, files: ArrayFiles, node: ChunkedNode) -> None:
        if importlib.util.find_spec("tensorstore") is None:
            raise StoreError(
                f"zarr {zarr.__version__} does not read Zarr v3",
                found=files.folder,
                allowed="pip install 'gp_arrays[tensorstore]', or Python 3.12 or newer, where zarr 3 reads it",
            )
        self._files, self._node, self._keys = files, node, node.keys
        self.shape, self.dtype, self.ndim, self.chunks = node.shape, node.dtype, len(node.shape), node.chunks

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        _require_no_fork()
        index = self._from_zero(key)
        self._require_deliverable(index)
        voxels = np.asarray(self._opened[index].read().result())
        # TensorStore does not tell which chunks are absent, so the store is looked for again
        self._files.note_absent()
        return voxels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self[...], dtype)

    def _from_zero(self, key: Any) -> tuple[int | slice, ...]:
        """An entry for each axis, counted from its first voxel: for TensorStore -1 is the position before it."""
        parts = key if isinstance(key, tuple) else (key,)
        if Ellipsis not in parts:
            parts = (*parts, Ellipsis)
        at = parts.index(Ellipsis)
        parts = (*parts[:at], *[slice(None)] * (self.ndim + 1 - len(parts)), *parts[at + 1 :])
        return tuple(
            slice(*part.indices(n)) if isinstance(part, slice) else range(n)[part]
            for part, n in zip(parts, self.shape, strict=True)
        )

    def _require_deliverable(self, index: tuple[int | slice, ...]) -> None:
        """Raises OSError for a chunk (a shard, where there are any) that is there and that TensorStore takes as absent."""
        touched = []
        for part, length in zip(index, self._node.shards, strict=True):
            voxels = range(part.start, part.stop, part.step) if isinstance(part, slice) else [part]
            touched.append(sorted({voxel // length for voxel in voxels}))
        for chunk in itertools.product(*touched):
            self._files.read(f"{self._files.prefix}{self._keys.key(chunk)}", 0, 0)

    @functools.cached_property
    def _opened(self) -> Any:
        global _process
        import tensorstore

        _process = os.getpid()
        location = {"driver": "file", "path": f"{self._files.folder}/"}
        try:
            array = tensorstore.open({"driver": "zarr3", "kvstore": location}, open=True, read=True).result()
        except Exception as error:  # TensorStore has errors of many types
            text = str(error).partition(" [tensorstore_spec")[0]
            found, allowed = f"{self._files.folder}: {text}", "Python 3.12 or newer, where zarr 3 reads more codecs"
            raise StoreError("TensorStore does not open it", found, allowed) from error
        if (array.shape, array.dtype.numpy_dtype) != (self.shape, self.dtype):
            raise StoreError("the array has changed since it was opened", found=self._files.folder)
        return array


def _require_no_fork() -> None:
    if _process not in (None, os.getpid()):
        raise StoreError(
            "TensorStore, which reads Zarr v3 here, was used before this process was forked, and would abort it",
            found=f"process {os.getpid()}, forked from {_process} or from one that was",
            allowed="no read in the process that forks before it does; processes that are spawned; Python 3.12 or "
            "newer, where zarr 3 reads Zarr v3",
        )
