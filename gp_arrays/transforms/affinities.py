"""Affinities: where a voxel and its neighbour at an offset have the same label."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError, quoted
from ..model import fields
from ..model.base import ArrayConfig
from ..model.checks import labels_and_mask
from ..model.config import SOURCE, Config
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels

OUTPUTS = ("affinities", "mask")
Offsets = tuple[tuple[int, ...], ...]


def affinities(labels: Voxels, offsets: Sequence[Sequence[int]]) -> Voxels:
    """uint8 of shape ``(len(offsets), *labels.shape)``: 1 where ``labels[v] == labels[v + offset] != 0``.

    It is 0 where ``v + offset`` lies outside.

    >>> affinities(np.array([4, 4, 7, 0, 0]), [[1], [-1]]).tolist()
    [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    """
    out = np.zeros((len(offsets), *labels.shape), np.uint8)
    for channel, offset in zip(out.view(bool), offsets, strict=True):
        pairs = list(zip(offset, labels.shape, strict=True))
        here = tuple(slice(max(0, -o), max(0, n - max(0, o))) for o, n in pairs)
        there = tuple(slice(max(0, o), max(0, n + min(0, o))) for o, n in pairs)
        np.equal(labels[here], labels[there], out=channel[here])
        channel[here] &= labels[here] != 0
    return out


def to_offsets(value: Any) -> Offsets:
    """attrs converter: offsets, each of one integer per spatial axis."""
    offsets = tuple(
        tuple(fields.to_integer(number) for number in fields.items_of(offset, "integers"))
        for offset in fields.items_of(value, "offsets")
    )
    if not offsets or not offsets[0] or any(len(offset) != len(offsets[0]) for offset in offsets):
        raise ConfigError(
            "not a list of offsets of one length", found=quoted(value), allowed="such as [[1, 0, 0], [0, 1, 0]]"
        )
    if len(set(offsets)) < len(offsets):
        raise ConfigError("an offset is listed twice", found=quoted(value), allowed="each offset once")
    return offsets


@attrs.frozen(eq=False, repr=False)
class AffinitiesArrayConfig(ArrayConfig):
    """A uint8 channel for each offset: 1 where a voxel and the voxel at that offset carry one label.

    Label 0 is background: its affinities are 0. Beyond the roi labels are unknown, so an affinity
    that reaches there is 0, and so is the mask of the known ones. Channels are named by their
    offsets, such as ``"1,0,0"``.

    Args:
        name: The array's name.
        source_array_config: Integer ids, without channels, never averaged.
        offsets: For each channel an offset in voxels, one integer for each spatial axis.
        output: ``"affinities"``, or ``"mask"``: 1 where the affinity is known, as the voxel at
            the offset lies within the roi, and both are marked by ``mask_array_config``.
        mask_array_config: Nonzero where labels are known, without channels; everywhere by
            default. The roi is then the intersection of both.

    >>> import gp_arrays as gpa, numpy as np
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.array([[4, 4, 7]], np.uint64))
    >>> array = gpa.AffinitiesArrayConfig("affinities", ids, offsets=[[0, 1]]).array()
    >>> array.channels, array[0].tolist()
    (('0,1',), [[1, 0, 0]])
    >>> gpa.AffinitiesArrayConfig("known", ids, [[0, 1]], output="mask").array()[0].tolist()
    [[1, 1, 0]]
    """

    supports_channel_subset = True
    is_mask = True

    source_array_config: Config = attrs.field(metadata=SOURCE)
    offsets: Offsets = attrs.field(converter=to_offsets)
    output: str = attrs.field(default="affinities", validator=fields.one_of(*OUTPUTS))
    mask_array_config: Config | None = attrs.field(default=None, metadata=SOURCE)

    def infer(self, *sources: Meta) -> Meta:
        grid = labels_and_mask(sources, "Affinities")
        if len(self.offsets[0]) != grid.dims:
            raise TreeError(
                "offsets do not have one number for each spatial axis",
                found=f"{len(self.offsets[0])} in {self.offsets[0]}",
                allowed=f"{grid.dims}: {', '.join(grid.spatial_axes)}",
            )
        names = tuple(",".join(map(str, offset)) for offset in self.offsets)
        return attrs.evolve(
            grid,
            dtype=np.uint8,
            nonspatial=(Axis(CHANNEL, len(names), names),),
            interpolatable=False,
            averaged=False,
        )

    def _offsets(self, region: Region, meta: Meta) -> Offsets:
        ((first, last),) = meta.nonspatial_ranges(region)
        return self.offsets[first:last]

    def _context(self, region: Region, meta: Meta) -> Region:
        box = region.whole()
        shifts = [
            [o * int(v) for o, v in zip(offset, meta.voxel_size, strict=True)] for offset in self._offsets(region, meta)
        ]
        return meta.clip(functools.reduce(Region.union, map(box.shift, shifts), box))

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region | None]:
        read = 0 if self.output == "affinities" else 1
        return [self._context(region, meta) if index == read else None for index in range(len(sources))]

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        context = self._context(region, meta)
        # without a mask, what lies in the roi is known
        data = next((block.data for block in blocks if block is not None), None)
        if self.output == "mask":
            data = np.ones(meta.voxels(context), np.uint8) if data is None else (data != 0).view(np.uint8)
        assert data is not None
        out = affinities(data, self._offsets(region, meta))
        return Block(out, context, attrs.evolve(meta, nonspatial=None)).crop(region.whole())
