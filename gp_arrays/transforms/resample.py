"""An array at another voxel size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Coordinate

from ..errors import ConfigError, TreeError
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.meta import Block, Meta, Region, Voxels, world_text
from ..units import Quantity, coarsest_unit, decimal_text
from .resample_axes import Sampling
from .resample_kernels import resample

#: What an order does on an axis that gets finer, and on one that gets coarser.
ORDERS = {0: ("nearest", "nearest"), 1: ("linear", "mean"), 3: ("cubic", "mean")}
DOWNSAMPLE_BY = ("mean", "nearest", "mode")


def to_factors(value: Any) -> tuple[int, ...]:
    """attrs converter: a factor per spatial axis; 0 counts as 1."""
    factors = tuple(fields.to_integer(factor) for factor in fields.items_of(value, "factors"))
    if any(factor < 0 for factor in factors):
        raise ConfigError("a factor is negative", found=factors, allowed="integers from 0")
    return tuple(factor or 1 for factor in factors)


def to_order(value: Any) -> int:
    """attrs converter: an order of interpolation; true and false read as 1 and 0."""
    order = int(value) if isinstance(value, (bool, np.bool_)) else fields.to_integer(value)
    if order not in ORDERS:
        raise ConfigError("unknown order of interpolation", found=order, allowed="0, 1 or 3")
    return order


@attrs.frozen(eq=False, repr=False)
class ResampledArrayConfig(OneSourceConfig):
    """An array at another voxel size: smaller by ``upsample``, larger by ``downsample``, on each spatial axis.

    The voxel size becomes ``voxel_size * downsample / upsample``, which must be a whole number. The roi is that of
    the source, cut to voxels that are complete at both sizes. The dtype and the non-spatial axes stay.
    Beyond the edge of the source, the voxel at the edge is repeated.

    Args:
        name: The array's name.
        source_array_config: Any array. Orders above 0 and ``"mean"`` need an interpolatable one.
        upsample, downsample: One integer for each spatial axis. 0 means 1, and 4 / 2 means 2 / 1.
        interp_order: 0 takes the nearest voxel; of two that are equally near, the one at the smaller position.
            1 and 3 interpolate (linear, cubic) on axes where voxels become smaller, and take the mean
            on axes where they become larger. Integers are rounded once; halves go to the even number.
        downsample_by: What happens on axes where voxels become larger, in place of what the order says:
            ``"mean"``, ``"nearest"``, or ``"mode"``, the most frequent value (the smallest one of several).

    Raises:
        TreeError: A voxel size that is not a whole number, factors that do not fit the axes, or ids that would
            be averaged.

    >>> import gp_arrays as gpa, numpy as np
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.array([[0, 8, 8, 0]], np.uint8), voxel_size=(4, 4))
    >>> gpa.ResampledArrayConfig("half", raw, upsample=(1, 1), downsample=(1, 2), interp_order=1).array()[:]
    array([[4, 4]], dtype=uint8)
    >>> fine = gpa.ResampledArrayConfig("fine", raw, upsample=(1, 2), downsample=(1, 1), interp_order=1).array()
    >>> fine.voxel_size, fine[:]
    ((4, 2), array([[0, 2, 6, 8, 8, 6, 2, 0]], dtype=uint8))
    """

    keeps_constant = True
    any_nonspatial_axes = True
    supports_channel_subset = True
    viewable_as_source = True
    aliases = {"_upsample": "upsample", "_downsample": "downsample"}

    node_name = "Resample"

    upsample: tuple[int, ...] = attrs.field(converter=to_factors)
    downsample: tuple[int, ...] = attrs.field(converter=to_factors)
    interp_order: int = attrs.field(converter=to_order)
    downsample_by: str | None = attrs.field(default=None, validator=fields.one_of(None, *DOWNSAMPLE_BY))

    def check(self) -> None:
        if len(self.upsample) != len(self.downsample):
            raise ConfigError(
                "upsample and downsample have different numbers of factors",
                found=f"{self.upsample} and {self.downsample}",
                allowed="one each per spatial axis",
            )

    def samplings(self) -> tuple[Sampling, ...]:
        """How each spatial axis is resampled."""
        finer, coarser = ORDERS[self.interp_order]
        samplings = []
        for up, down in zip(self.upsample, self.downsample, strict=True):
            common = math.gcd(up, down)
            samplings.append(
                Sampling(finer if up > down else self.downsample_by or coarser, up // common, down // common)
            )
        return tuple(samplings)

    def infer_from(self, source: Meta) -> Meta:
        samplings = self.samplings()
        if len(samplings) != source.dims:
            raise TreeError(
                "the factors do not fit the source's axes",
                found=f"{len(samplings)} factors",
                allowed=f"one per spatial axis: {', '.join(source.spatial_axes)}",
            )
        averaged = any(sampling.weighted for sampling in samplings)
        if averaged and not source.interpolatable:
            raise TreeError(
                "values that are not interpolatable would be averaged or interpolated",
                found=f"dtype {source.dtype}, interp_order={self.interp_order}, downsample_by={self.downsample_by!r}",
                allowed='interp_order=0, downsample_by="mode", or a source with `interpolatable=True`',
            )
        voxel_size = self._voxel_size(source, samplings)
        meta = attrs.evolve(source, voxel_size=voxel_size, averaged=source.averaged or averaged)
        if source.roi is None:
            return meta
        # snapped to the world's grid; where the source is off that, to the grid shifted as it is
        phase = source.phase or source.origin
        grid = [math.lcm(int(a), int(b)) for a, b in zip(source.voxel_size, voxel_size, strict=True)]
        region = source.region.shrink(grid, phase)
        if region.empty:
            raise TreeError(
                "no voxel is left: the source is smaller than whole voxels of both sizes",
                found=f"roi {source.region}",
                allowed=f"at least {world_text(grid, source.unit)}",
            )
        return attrs.evolve(meta, roi=region.roi, phase=phase if any(phase) else None)

    def _voxel_size(self, source: Meta, samplings: Sequence[Sampling]) -> Coordinate:
        sizes = [Fraction(int(v) * s.down, s.up) for v, s in zip(source.voxel_size, samplings, strict=True)]
        if all(size.denominator == 1 for size in sizes):
            return Coordinate(int(size) for size in sizes)
        suits = coarsest_unit([Quantity(size, source.unit) for size in sizes], source.unit)
        raise TreeError(
            f"its voxel size is not a whole number of {source.unit}",
            found=f"({', '.join(map(decimal_text, sizes))})",
            allowed=f'set unit = "{suits}"' if suits else "factors that divide the voxel size",
        )

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region:
        first, shape = _wanted(region, meta)
        begin, end = [], []
        for axis, (sampling, corner) in enumerate(zip(self.samplings(), _corner(meta), strict=True)):
            low, high = sampling.reach(first[axis], first[axis] + shape[axis])
            size = int(source.voxel_size[axis])
            begin.append(corner + low * size)
            end.append(corner + high * size)
        return source.clip(Region(tuple(begin), tuple(end), region.nonspatial))

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        first, shape = _wanted(region, meta)
        start = [
            (b - c) // int(v) for b, c, v in zip(block.region.begin, _corner(meta), block.meta.voxel_size, strict=True)
        ]
        data = block.data.astype(block.data.dtype.newbyteorder("="), copy=False)
        return resample(data, self.samplings(), start, first, shape)


def _corner(meta: Meta) -> tuple[int, ...]:
    """A corner of voxels of the source and of the result alike."""
    return (0,) * meta.dims if meta.roi is None else meta.region.begin


def _wanted(region: Region, meta: Meta) -> tuple[list[int], list[int]]:
    """The indices of the first voxel of a region, counted from the corner, and its shape."""
    sizes = [int(v) for v in meta.voxel_size]
    first = [(b - c) // v for b, c, v in zip(region.begin, _corner(meta), sizes, strict=True)]
    return first, [length // v for length, v in zip(region.shape, sizes, strict=True)]
