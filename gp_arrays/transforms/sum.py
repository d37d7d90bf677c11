"""Arrays added voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError, TreeError
from ..model import fields
from ..model.base import ArrayConfig, PointwiseConfig
from ..model.checks import common_grid
from ..model.config import SOURCE
from ..model.meta import Meta, Voxels
from .constant import smallest_dtype
from .slabs import slabs


def bounds(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The smallest and largest value of an integer or bool dtype."""
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def sum_dtype(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype of a sum: the smallest that holds any possible one, 64 bits at most.

    Floats give float32, or float64 where one is, or where 32-bit or wider integers join.

    >>> u1, i1, f4 = np.dtype("u1"), np.dtype("i1"), np.dtype("f4")
    >>> sum_dtype([u1, u1, u1]), sum_dtype([u1, i1]), sum_dtype([u1, f4])
    (dtype('uint16'), dtype('int16'), dtype('float32'))
    """
    if any(dtype.kind == "f" for dtype in dtypes):
        wide = any(d.itemsize >= (8 if d.kind == "f" else 4) for d in dtypes)
        return np.dtype(np.float64 if wide else np.float32)
    low, high = (sum(limits) for limits in zip(*map(bounds, dtypes), strict=True))
    signed = any(dtype.kind == "i" for dtype in dtypes)
    return smallest_dtype(-1 if signed and low == 0 else low, high) or np.dtype(np.int64 if signed else np.uint64)


def add(arrays: Sequence[Voxels], dtype: np.dtype[Any]) -> Voxels:
    """The sum of arrays in their order, of ``dtype``; exact for integers.

    Floats are added in the precision of ``dtype``. Raises ComputeError where a sum does
    not fit ``dtype``; infinity is the sum of infinities only.

    >>> add([np.array([250], np.uint8), np.array([10], np.uint8)], np.dtype("uint16"))
    array([260], dtype=uint16)
    """
    out = np.empty(arrays[0].shape, dtype)
    pieces = [(out[index], [array[index] for array in arrays]) for index in slabs(out.shape)]
    if dtype.kind == "f":
        try:
            with np.errstate(over="raise", invalid="ignore", under="ignore"):
                for piece, parts in pieces:
                    _add(parts, piece)
        except FloatingPointError:
            raise ComputeError(
                f"a sum does not fit {dtype}",
                found="a finite sum that becomes infinite",
                allowed=f"{np.finfo(dtype).min} to {np.finfo(dtype).max}; dtype= sets another",
            ) from None
        return out
    low, high = (sum(limits) for limits in zip(*(bounds(array.dtype) for array in arrays), strict=True))
    least, most = bounds(dtype)
    fits = least <= low and high <= most
    unsigned = dtype.kind == "u" and all(np.can_cast(array.dtype, dtype) for array in arrays)
    for number, (piece, parts) in enumerate(pieces):
        if (fits or unsigned) and _add(parts, piece, checked=not fits):
            continue
        total = _exact_sum(parts)
        outside = (total < least) | (total > most)
        if outside.any():
            at = int(outside.argmax())
            # pieces follow the order of the voxels
            before = sum(earlier.size for earlier, _ in pieces[:number])
            position = tuple(int(i) for i in np.unravel_index(before + at, out.shape))
            raise ComputeError(
                f"a sum does not fit {dtype}",
                found=f"{total.flat[at]} at voxel {position} of the block",
                allowed=f"{least} to {most}; dtype= sets another",
            )
        piece[...] = total
    return out


def _exact_sum(arrays: Sequence[Voxels]) -> Voxels:
    # what the values need is seldom more than 64 bits; Python's integers hold the rest
    low, high = sum(int(array.min()) for array in arrays), sum(int(array.max()) for array in arrays)
    total = np.empty(arrays[0].shape, smallest_dtype(low, high) or object)
    _add(arrays, total)
    return total


def _add(arrays: Sequence[Voxels], out: Voxels, checked: bool = False) -> bool:
    """Add, each array in the precision of ``out``. If ``checked``, returns False where an unsigned sum wraps around."""
    first, *others = arrays
    if not others:
        out[...] = first
    for array in others:
        np.add(first, array, out=out, dtype=out.dtype, casting="unsafe")
        if checked and (out < array).any():
            return False
        first = out
    return True


@attrs.frozen(eq=False, repr=False)
class SumArrayConfig(PointwiseConfig):
    """The sum of several arrays, voxel by voxel. The roi is the intersection of their rois.

    Args:
        name: The array's name.
        source_array_configs: One array or more, all with the same channels or all without. Floats are
            added in this order.
        dtype: By default the smallest dtype that holds every possible sum (see ``sum_dtype``).

    Raises:
        TreeError: Different channels, or floats where ``dtype`` is an integer dtype.
        ComputeError: A sum that the dtype does not hold, raised when the voxel is computed.

    >>> import gp_arrays as gpa, numpy as np
    >>> a = gpa.NumpyArrayConfig("a", data=np.array([[200]], np.uint8))
    >>> b = gpa.NumpyArrayConfig("b", data=np.array([[100]], np.uint8))
    >>> gpa.SumArrayConfig("sum", [a, b]).array()[:]
    array([[300]], dtype=uint16)
    """

    supports_channel_subset = True

    source_array_configs: tuple[ArrayConfig, ...] = attrs.field(metadata=SOURCE, converter=fields.to_configs)
    dtype: np.dtype[Any] | None = attrs.field(default=None, converter=fields.to_dtype)

    def infer(self, *sources: Meta) -> Meta:
        names = [config.name for config in self.source_array_configs]
        meta = common_grid(sources, names)
        shapes = {
            name: tuple((axis.name, axis.size) for axis in source.nonspatial)
            for name, source in zip(names, sources, strict=True)
            if source.nonspatial is not None
        }
        for name, shape in shapes.items():
            first = next(iter(shapes))
            if shape != shapes[first]:
                raise TreeError(
                    "non-spatial axes of the sources differ",
                    found=f"{first} {shapes[first]}, {name} {shape}",
                    allowed="channels all or none, and equally many",
                )
        return attrs.evolve(
            meta,
            dtype=self._dtype([source.dtype for source in sources]),
            interpolatable=all(source.interpolatable for source in sources),
            averaged=any(source.averaged for source in sources),
            attrs=sources[0].attrs if len(sources) == 1 else {},
        )

    def _dtype(self, dtypes: Sequence[np.dtype[Any] | None]) -> np.dtype[Any] | None:
        known = [dtype for dtype in dtypes if dtype is not None]
        if self.dtype is not None:
            if self.dtype.kind != "f" and any(dtype.kind == "f" for dtype in known):
                raise TreeError(
                    "floats cannot be summed in an integer dtype", found=self.dtype, allowed="a float dtype"
                )
            return self.dtype
        return sum_dtype(known) if len(known) == len(dtypes) else None

    def kernel(self, dtype: np.dtype[Any], *sources: Voxels) -> Voxels:
        return add(sources, dtype)
