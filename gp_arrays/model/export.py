"""Arrays handed to other libraries, lazily."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .array import Array

#: The most chunks of a dask graph, about, whatever the size of the volume. Large chunks cost
#: nothing: dask passes slices on to the source, so only the requested part of a chunk is read.
MOST_CHUNKS = 4096
#: Bytes of a chunk where there are fewer chunks than that.
CHUNK_BYTES = 2**20


def to_funlib(array: Array) -> Any:
    """A ``funlib.persistence.Array`` over an array, for volara and dacapo-toolbox."""
    import dask.array
    from funlib.persistence import Array as FunlibArray

    limit = max(CHUNK_BYTES, array.dtype.itemsize * math.prod(array.shape) // MOST_CHUNKS)
    chunks = dask.array.core.normalize_chunks("auto", array.shape, limit, array.dtype)
    lazy = dask.array.from_array(array, chunks, name=False, meta=np.empty((0,) * array.ndim, array.dtype))
    nonspatial = array.ndim - array.dims
    return FunlibArray(
        lazy,
        array.roi.offset,
        array.voxel_size,
        axis_names=[f"{axis}^" for axis in array.axes[:nonspatial]] + list(array.spatial_axes),
        units=[array.unit] * array.dims,
        types=["channel"] * nonspatial + ["space"] * array.dims,
    )
