"""Meta: what is known of an array without reading a voxel; regions of it and pieces of it."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import TreeError

CHANNEL = "c"
#: Voxels in memory, of any dtype.
Voxels = np.ndarray[Any, Any]


def interpolatable(dtype: np.dtype[Any]) -> bool:
    """True if values of this dtype may be interpolated, unless the array or its store says otherwise."""
    return dtype.kind == "f" or (dtype.kind in "ui" and dtype.itemsize <= 2)


@attrs.frozen
class Axis:
    """A non-spatial axis: its name, length, and the names of its entries where they have any."""

    name: str
    size: int
    labels: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its entries: its labels, else "0", "1", ..."""
        return self.labels or tuple(str(i) for i in range(self.size))


@attrs.frozen
class Region:
    """A box of an array: ``begin`` and ``end`` in world units, and index ranges of the non-spatial axes.

    ``nonspatial`` of None means all of every non-spatial axis.
    """

    begin: tuple[int, ...]
    end: tuple[int, ...]
    nonspatial: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def of(cls, roi: Roi, nonspatial: tuple[tuple[int, int], ...] | None = None) -> Region:
        return cls(tuple(map(int, roi.begin)), tuple(map(int, roi.end)), nonspatial)

    @property
    def roi(self) -> Roi:
        return Roi(self.begin, self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(operator.sub, self.end, self.begin))

    @property
    def empty(self) -> bool:
        return any(map(operator.le, self.end, self.begin))

    def whole(self) -> Region:
        """The same box with all of every non-spatial axis."""
        return self if self.nonspatial is None else Region(self.begin, self.end)

    def contains(self, other: Region) -> bool:
        if not (all(map(operator.le, self.begin, other.begin)) and all(map(operator.ge, self.end, other.end))):
            return False
        if self.nonspatial is None or other.nonspatial is None:
            return self.nonspatial is None
        return all(a <= c and b >= d for (a, b), (c, d) in zip(self.nonspatial, other.nonspatial, strict=True))

    def intersect(self, other: Region) -> Region:
        """The common box; of the non-spatial axes, this one's."""
        return Region(tuple(map(max, self.begin, other.begin)), tuple(map(min, self.end, other.end)), self.nonspatial)

    def union(self, other: Region) -> Region:
        """The smallest box that holds both."""
        nonspatial = None
        if self.nonspatial is not None and other.nonspatial is not None:
            nonspatial = tuple(
                (min(a, c), max(b, d)) for (a, b), (c, d) in zip(self.nonspatial, other.nonspatial, strict=True)
            )
        return Region(tuple(map(min, self.begin, other.begin)), tuple(map(max, self.end, other.end)), nonspatial)

    def shift(self, by: Sequence[int]) -> Region:
        """The same box elsewhere."""
        begin = tuple(b + d for b, d in zip(self.begin, by, strict=True))
        return Region(begin, tuple(e + d for e, d in zip(self.end, by, strict=True)), self.nonspatial)

    def grow(self, lengths: Sequence[int]) -> Region:
        """The same box with a length more on both sides of each axis.

        >>> Region((0, 8), (4, 16), nonspatial=((0, 2),)).grow((1, 8))
        Region(begin=(-1, 0), end=(5, 24), nonspatial=((0, 2),))
        """
        begin = tuple(b - n for b, n in zip(self.begin, lengths, strict=True))
        return Region(begin, tuple(e + n for e, n in zip(self.end, lengths, strict=True)), self.nonspatial)

    def snap(self, grid: Sequence[int], origin: Sequence[int]) -> Region:
        """The smallest box around this one whose corners lie on the grid through ``origin``."""
        begin = tuple(o + (b - o) // g * g for b, g, o in zip(self.begin, grid, origin, strict=True))
        end = tuple(o - (o - e) // g * g for e, g, o in zip(self.end, grid, origin, strict=True))
        return Region(begin, end, self.nonspatial)

    def shrink(self, grid: Sequence[int], origin: Sequence[int]) -> Region:
        """The largest box within this one whose corners lie on the grid through ``origin``."""
        begin = tuple(o - (o - b) // g * g for b, g, o in zip(self.begin, grid, origin, strict=True))
        end = tuple(o + (e - o) // g * g for e, g, o in zip(self.end, grid, origin, strict=True))
        return Region(begin, end, self.nonspatial)

    def __str__(self) -> str:
        spans = ", ".join(f"{b}:{e}" for b, e in zip(self.begin, self.end, strict=True))
        return f"[{spans}]"


def _native(dtype: Any) -> np.dtype[Any] | None:
    return None if dtype is None else np.dtype(dtype).newbyteorder("=")


@attrs.frozen
class Meta:
    """What is known of an array without reading a voxel.

    Arrays of a compiled tree know everything. In a hand-written gunpowder pipeline
    ``roi`` may be None (unbounded), and so may ``dtype`` and ``nonspatial`` (known only
    once a batch arrives).

    Attributes:
        roi: The extent, in world units; its begin is a voxel corner. Do not modify it.
        voxel_size: The size of a voxel, in world units.
        spatial_axes: Names of the spatial axes, slowest first.
        nonspatial: The axes before the spatial ones.
        dtype: Of the voxels, in native byte order.
        unit: The world unit, an SI name.
        interpolatable: True if values between voxels have a meaning.
        averaged: True if the values were interpolated or averaged by one of the arrays that it is computed from.
        attrs: The attributes of the store it comes from, geometry aside.
        phase: Of a resampled array that is off the world's grid: the corner that its voxel
            grid shares with those of the arrays it was resampled from.
        table: Of a relabelled array: the hash of the table of ids, which must not change meanwhile.
    """

    roi: Roi | None
    voxel_size: Coordinate
    spatial_axes: tuple[str, ...]
    dtype: np.dtype[Any] | None = attrs.field(converter=_native)
    nonspatial: tuple[Axis, ...] | None = ()
    unit: str = "nm"
    interpolatable: bool = False
    averaged: bool = False
    attrs: Mapping[str, Any] = attrs.field(factory=dict)
    phase: tuple[int, ...] | None = None
    table: str | None = None

    @property
    def dims(self) -> int:
        """The number of spatial axes."""
        return len(self.voxel_size)

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.nonspatial or ()) + self.spatial_axes

    @functools.cached_property
    def region(self) -> Region:
        """The whole extent."""
        if self.roi is None:
            raise TreeError("the array is unbounded")
        return Region.of(self.roi)

    @functools.cached_property
    def origin(self) -> tuple[int, ...]:
        """A corner of the voxel grid: the phase of the roi, zero for what is unbounded."""
        if self.roi is None:
            return (0,) * self.dims
        return tuple(int(b) % int(v) for b, v in zip(self.roi.begin, self.voxel_size, strict=True))

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return self.voxels(self.region)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.nonspatial or ()) + self.spatial_shape

    @property
    def channel_axis(self) -> Axis | None:
        return next((axis for axis in self.nonspatial or () if axis.name == CHANNEL), None)

    @property
    def channels(self) -> tuple[str, ...] | None:
        """Names of the channels, where there is a channel axis: its own, else "0", "1", ..."""
        return None if self.channel_axis is None else self.channel_axis.names

    def clip(self, region: Region) -> Region:
        """The part of a region that lies in the array; all of it where the array's bounds are unknown."""
        return region if self.roi is None else region.intersect(self.region)

    def voxels(self, region: Region) -> tuple[int, ...]:
        """The spatial shape of a region, in voxels."""
        return tuple(map(operator.floordiv, region.shape, self.voxel_size))

    def region_at(self, ranges: Sequence[tuple[int, int]]) -> Region:
        """The region of index ranges of all axes, non-spatial ones first, or of the spatial axes alone."""
        spatial = list(zip(self.region.begin, self.voxel_size, ranges[-self.dims :], strict=True))
        return Region(
            tuple(int(begin + first * voxel) for begin, voxel, (first, _) in spatial),
            tuple(int(begin + end * voxel) for begin, voxel, (_, end) in spatial),
            tuple(ranges[: -self.dims]) or None,
        )

    def nonspatial_ranges(self, region: Region) -> tuple[tuple[int, int], ...]:
        """The index ranges of the non-spatial axes that a region takes."""
        if region.nonspatial is not None:
            return region.nonspatial
        return tuple((0, axis.size) for axis in self.nonspatial or ())

    def slices_of(self, region: Region, begin: Sequence[int] | None = None) -> tuple[slice, ...]:
        """The index of a region in stored voxels that begin at ``begin``, by default where this array begins."""
        spatial = zip(region.begin, region.end, begin or self.region.begin, self.voxel_size, strict=True)
        nonspatial = tuple(slice(first, end) for first, end in self.nonspatial_ranges(region))
        return nonspatial + tuple(slice((b - o) // v, (e - o) // v) for b, e, o, v in spatial)

    def shape_of(self, region: Region) -> tuple[int, ...]:
        """The shape of the voxels of a region."""
        return tuple(b - a for a, b in self.nonspatial_ranges(region)) + self.voxels(region)

    def bytes_of(self, region: Region) -> int:
        dtype = self.dtype or np.dtype("uint8")
        return math.prod(self.shape_of(region)) * dtype.itemsize

    def on_grid(self, region: Region) -> bool:
        return all(
            (b - o) % v == 0 and (e - o) % v == 0
            for b, e, v, o in zip(region.begin, region.end, self.voxel_size, self.origin, strict=True)
        )


@attrs.frozen(eq=False)
class Block:
    """Voxels, the region that they cover, and the meta of the array they are of."""

    data: Voxels
    region: Region
    meta: Meta

    def crop(self, region: Region) -> Voxels:
        """A view of the part of the voxels that ``region`` covers."""
        if region == self.region:
            return self.data
        outer, inner = self.meta.nonspatial_ranges(self.region), self.meta.nonspatial_ranges(region)
        nonspatial = tuple(slice(a - s, b - s) for (s, _), (a, b) in zip(outer, inner, strict=True))
        spatial = tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(region.begin, region.end, self.region.begin, self.meta.voxel_size, strict=True)
        )
        if not nonspatial and self.data.ndim > len(spatial):
            nonspatial = (slice(None),) * (self.data.ndim - len(spatial))
        return self.data[nonspatial + spatial]


def world_text(values: Sequence[int], unit: str) -> str:
    return f"({', '.join(map(str, values))}) {unit}"


def voxel_text(region: Region, meta: Meta, index: Sequence[Any]) -> str:
    """Where the voxel is that has this index in the voxels of a region, in world units."""
    if not region.begin:
        return f"voxel {tuple(map(int, index))}"
    spatial = index[len(index) - meta.dims :]
    return world_text(
        [int(b + i * v) for b, i, v in zip(region.begin, spatial, meta.voxel_size, strict=True)], meta.unit
    )
