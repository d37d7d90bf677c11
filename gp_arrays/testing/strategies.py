"""Hypothesis strategies: voxels of any dtype, regions of an array, and partitions of a region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from funlib.geometry import Roi
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

DTYPES = (
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)

Draw = st.DrawFn


@st.composite
def voxels(draw: Draw, shape: Sequence[int], dtype: Any = None) -> np.ndarray[Any, Any]:
    """Voxels of any dtype, its extremes, NaN and infinities among them."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)) if dtype is None else dtype)
    if dtype.kind == "b":
        elements: Any = st.booleans()
    elif dtype.kind == "f":
        info: Any = np.finfo(dtype)
        special = [0.0, -0.0, 1.0, -1.0, 0.1, float(info.max), float(info.min), np.nan, np.inf, -np.inf]
        special = [float(dtype.type(value)) for value in special]
        elements = st.sampled_from(special) | st.floats(-100, 100, width=info.bits)
    else:
        info = np.iinfo(dtype)
        extremes = [int(info.min), int(info.max), int(info.max) - 1, int(info.max) // 2 + 1]
        elements = st.integers(0, 5) | st.sampled_from(extremes) | st.integers(int(info.min), int(info.max))
    drawn: np.ndarray[Any, Any] = draw(
        npst.arrays(dtype, tuple(shape), elements=elements, fill=st.just(dtype.type(0).item()))
    )
    return drawn


@st.composite
def regions(draw: Draw, array: Any) -> Roi:
    """A roi within an array, on its voxel grid, not empty."""
    begin, shape = [], []
    count = array.ndim - array.dims
    for low, n, v in zip(array.roi.begin, array.shape[count:], array.voxel_size, strict=True):
        first = draw(st.integers(0, n - 1))
        last = draw(st.integers(first + 1, n))
        begin.append(low + first * v)
        shape.append((last - first) * v)
    return Roi(begin, shape)


@st.composite
def partitions(draw: Draw, roi: Roi, voxel_size: Sequence[int], cuts: int = 4) -> list[Roi]:
    """Rois that together cover a roi once, in any order: it is cut, then parts are cut again."""
    parts = [roi]
    for _ in range(draw(st.integers(0, cuts))):
        part = parts.pop(draw(st.integers(0, len(parts) - 1)))
        axis = draw(st.integers(0, roi.dims - 1))
        voxel = voxel_size[axis]
        count = part.shape[axis] // voxel
        if count < 2:
            parts.append(part)
            continue
        width = draw(st.integers(1, count - 1)) * voxel
        first, second = list(part.shape), list(part.shape)
        first[axis], second[axis] = width, part.shape[axis] - width
        begin = list(part.begin)
        begin[axis] += width
        parts += [Roi(part.begin, first), Roi(begin, second)]
    return list(draw(st.permutations(parts)))
