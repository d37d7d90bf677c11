"""Two arrays compared voxel by voxel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, TreeError
from .array import Array
from .checks import common_grid
from .fields import to_integer
from .meta import Region, Voxels

#: Voxels that are compared at a time, along each spatial axis.
BLOCK = 128


@attrs.frozen
class Difference:
    """Where two arrays differ.

    Attributes:
        count: Of voxels, all channels counted.
        total: Of voxels compared.
        first: Where the first one is, in world units, its corner.
        channel: The index of it along the axes before the spatial ones.
        values: What the two arrays have there.
        roi: The box around all of them, None where there are none.
        dtypes: Of the two arrays, where they differ; the values may be equal all the same.
    """

    count: int
    total: int
    first: tuple[int, ...] = ()
    channel: tuple[int, ...] = ()
    values: tuple[Any, Any] = (None, None)
    roi: Roi | None = None
    dtypes: tuple[np.dtype[Any], np.dtype[Any]] | None = None

    def __str__(self) -> str:
        dtypes = [f"dtypes differ: {self.dtypes[0]} and {self.dtypes[1]}"] if self.dtypes else []
        if self.roi is None:
            return "\n".join([f"equal: {self.total} voxels", *dtypes])
        channel = f" channel {','.join(map(str, self.channel))}" if self.channel else ""
        lines = [
            f"{self.count} of {self.total} voxels differ, within {Region.of(self.roi)}",
            f"first at {','.join(map(str, self.first))}{channel}: {self.values[0]} and {self.values[1]}",
            *dtypes,
        ]
        return "\n".join(lines)


def compare(a: Array, b: Array, block: Sequence[int] | None = None) -> Difference:
    """Compare two arrays where both are, block by block: by value, exactly, whatever their dtypes.

    Args:
        a, b: Of one voxel size, unit and grid, with the same axes before the spatial ones.
        block: Voxels at a time along each spatial axis.

    Raises:
        ConfigError: No arrays, or a block of another kind.
        TreeError: They cannot be compared.
    """
    for array in (a, b):
        if not isinstance(array, Array):
            raise ConfigError("not an array", found=array, allowed="an array: config.array()")
    sizes = (BLOCK,) * a.dims if block is None else block
    if not isinstance(sizes, Sequence) or len(sizes) != a.dims or min(map(to_integer, sizes)) < 1:
        raise ConfigError("not the shape of a block", found=block, allowed=f"{a.dims} positive numbers of voxels")
    grid = common_grid([a.meta, b.meta], ["the first", "the second"])
    leading = a.ndim - a.dims
    if a.shape[:leading] != b.shape[: b.ndim - b.dims]:
        raise TreeError("the arrays have other non-spatial axes", found=f"shapes {a.shape}, {b.shape}")
    count = total = 0
    first: tuple[tuple[int, ...], tuple[int, ...], tuple[Any, Any]] = ((), (), (None, None))
    around: Region | None = None
    for begin in itertools.product(*(range(0, n, size) for n, size in zip(grid.spatial_shape, sizes, strict=True))):
        ranges = [(i, i + size) for i, size in zip(begin, sizes, strict=True)]
        region = grid.region_at(ranges).intersect(grid.region)
        one, other = a[region.roi], b[region.roi]
        indices = np.argwhere(unequal(one, other))
        total += one.size
        count += len(indices)
        if len(indices):
            part = attrs.evolve(grid, roi=region.roi)
            spatial = indices[:, leading:]
            box = part.region_at(list(zip(spatial.min(0), spatial.max(0) + 1, strict=True)))
            if around is None:
                at = tuple(indices[0].tolist())
                corner = part.region_at([(i, i) for i in at[leading:]]).begin
                first = (corner, at[:leading], (one[at].item(), other[at].item()))
            around = box if around is None else around.union(box)
    dtypes = None if a.dtype == b.dtype else (a.dtype, b.dtype)
    return Difference(count, total, *first, None if around is None else around.roi, dtypes)


def unequal(one: Voxels, other: Voxels) -> Voxels:
    """Where two arrays of one shape have different values, exactly; NaN is equal to NaN.

    >>> unequal(np.array([2**53 + 1, 7], "u8"), np.array([2**53, 7], "f8"))
    array([ True, False])
    """
    if {one.dtype.kind, other.dtype.kind} in ({"i", "f"}, {"u", "f"}):
        # numpy would compare in float64, where integers beyond 2^53 are rounded: Python's numbers are exact
        one, other = one.astype(object), other.astype(object)
    differ: Voxels = np.not_equal(one, other, dtype=bool)
    if one.dtype.kind == other.dtype.kind == "f":
        differ &= ~(np.isnan(one) & np.isnan(other))
    return differ
