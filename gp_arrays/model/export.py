"""Arrays handed to other libraries, lazily."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from .meta import Meta, Voxels

#: The most chunks of a dask graph, about, whatever the size of the volume. Large chunks cost
#: nothing: dask passes slices on to the source, so only the requested part of a chunk is read.
MOST_CHUNKS = 4096


class Indexable(Protocol):
    """What can be indexed like numpy."""

    def __getitem__(self, key: Any) -> Voxels: ...


class _Lazy:
    """An array as dask reads it: indexed like numpy, with nothing in memory."""

    def __init__(self, array: Indexable, meta: Meta) -> None:
        self.array = array
        self.shape, self.dtype, self.ndim = meta.shape, meta.dtype, len(meta.shape)

    def __getitem__(self, key: Any) -> Voxels:
        return self.array[key]


def to_funlib(array: Indexable, meta: Meta) -> Any:
    """A ``funlib.persistence.Array`` over an array, for volara and dacapo-toolbox."""
    import dask.array
    from funlib.persistence import Array as FunlibArray

    lazy = dask.array.from_array(
        _Lazy(array, meta),
        chunks=chunks_of(meta.shape),
        name=False,
        meta=np.empty((0,) * len(meta.shape), meta.dtype),
    )
    nonspatial = len(meta.shape) - meta.dims
    return FunlibArray(
        lazy,
        meta.region.roi.offset,
        meta.voxel_size,
        axis_names=[f"{axis}^" for axis in meta.axes[:nonspatial]] + list(meta.spatial_axes),
        units=[meta.unit] * meta.dims,
        types=["channel"] * nonspatial + ["space"] * meta.dims,
    )


def chunks_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks of 64 along each axis, doubled until they are few.

    >>> chunks_of((2, 100, 100)), chunks_of((100_000, 100_000, 100_000))
    ((2, 64, 64), (8192, 8192, 8192))
    """
    chunks = [max(1, min(n, 64)) for n in shape]
    while math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True)) > MOST_CHUNKS:
        axis = max(range(len(shape)), key=lambda i: -(-shape[i] // chunks[i]))
        chunks[axis] *= 2
    return tuple(chunks)
