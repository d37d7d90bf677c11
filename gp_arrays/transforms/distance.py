"""How far it is to the nearest voxel with another value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.checks import require_integer_ids
from ..model.meta import Block, Meta, Region, Voxels
from ..units import Quantity, whole_numbers
from .slabs import SLAB, slabs

OUTPUTS = ("boundary", "signed")


def squared_distance(labels: Voxels, voxel_size: Sequence[int], limit: int) -> Voxels:
    """The squared distance of each voxel to the nearest one with another value, at most ``limit``.

    Exact, in integers, axis by axis, for all labels at once: so it is the same in any block that
    holds what lies within reach.

    >>> squared_distance(np.array([[7, 7, 7], [7, 7, 5]]), (2, 3), 100).tolist()
    [[40, 13, 4], [36, 9, 4]]
    """
    dtype = np.dtype(np.int32 if 2 * limit < 2**31 else np.int64)
    squared = np.full(labels.shape, limit, dtype)
    for axis, size in enumerate(voxel_size):
        ids, along = np.moveaxis(labels, axis, 0), np.moveaxis(squared, axis, 0)
        for index in slabs(ids.shape[1:], SLAB // max(1, len(ids))):
            _pass_along(ids[:, *index], along[:, *index], size)
    return squared


def _pass_along(ids: Voxels, squared: Voxels, size: int) -> None:
    """Let squared distances count along the first axis, whose voxels have that size."""
    before = squared.copy()
    farthest = int(before.max(initial=0))
    for step in range(1, len(ids)):
        square = (step * size) ** 2
        if square >= farthest:
            break
        for here, there in ((slice(step, None), slice(-step)), (slice(-step), slice(step, None))):
            # past a voxel with another value the distance to that one counts
            other = before[there] * (ids[here] == ids[there])
            other += before.dtype.type(square)
            np.minimum(squared[here], other, out=squared[here])


def to_reach(value: Any) -> Quantity:
    """attrs converter: a length above zero."""
    reach = Quantity.parse(value)
    if reach.value <= 0:
        raise ConfigError("not above zero", found=str(reach), allowed="a length such as 100 or '0.1 um'")
    return reach


@attrs.frozen(eq=False, repr=False)
class DistanceArrayConfig(OneSourceConfig):
    """float32: the distance of each voxel to the nearest one with another value, in world units.

    Distances go from centre to centre, so the least is a voxel's size, and at most to ``reach``, the value
    of all that is farther away. Beyond the roi nothing is known: its edge is no boundary.
    Each channel is taken by itself. Of a mask, ``"signed"`` is what scipy's
    ``distance_transform_edt(mask, sampling=voxel_size)``, less that of ``~mask``, gives.

    Args:
        name: The array's name.
        source_array_config: Integers or bool, never averaged: labels, or a mask in each channel.
        reach: The largest distance. A larger one reads more context for each block.
        output: ``"boundary"``, or ``"signed"``: negative where the value is 0.

    >>> import gp_arrays as gpa, numpy as np
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.array([[5, 5, 5, 0, 0]], np.uint64), voxel_size=(8, 8))
    >>> gpa.DistanceArrayConfig("distance", ids, reach=20, output="signed").array()[:]
    array([[ 20.,  16.,   8.,  -8., -16.]], dtype=float32)
    """

    supports_channel_subset = True

    reach: Quantity = attrs.field(converter=to_reach)
    output: str = attrs.field(default="boundary", validator=fields.one_of(*OUTPUTS))

    def infer_from(self, source: Meta) -> Meta:
        if not source.dims:
            raise TreeError("Distance needs spatial axes", found="none")
        require_integer_ids(source, "Distance", masks=True)
        self._reach(source)
        return attrs.evolve(source, dtype=np.float32, interpolatable=True)

    def _reach(self, meta: Meta) -> int:
        (reach,) = whole_numbers([self.reach], meta.unit, "reach")
        # squares are integers of 64 bits
        most = (2**31 - 2) * math.gcd(*map(int, meta.voxel_size))
        if reach > most:
            raise TreeError("reach is too large", found=str(self.reach), allowed=f"at most {most} {meta.unit}")
        return reach

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region:
        # a voxel exactly at reach changes nothing
        far = [(self._reach(meta) - 1) // int(v) * int(v) for v in meta.voxel_size]
        return meta.clip(region.grow(far))

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        # in the largest unit that divides all voxel sizes, which keeps the squares small
        unit, reach = math.gcd(*map(int, meta.voxel_size)), self._reach(meta)
        limit = (reach // unit + 1) ** 2
        sizes = [int(v) // unit for v in meta.voxel_size]
        labels = block.data.reshape(-1, *block.data.shape[-meta.dims :])
        values = np.empty(labels.shape, np.float32)
        for channel, result in zip(labels, values, strict=True):
            squared = squared_distance(channel, sizes, limit)
            for index in slabs(result.shape):
                np.minimum(
                    np.sqrt(squared[index], dtype=np.float64) * unit, reach, out=result[index], casting="same_kind"
                )
        if self.output == "signed":
            np.negative(values, out=values, where=labels == 0)
        return Block(values.reshape(block.data.shape), block.region, meta).crop(region)
