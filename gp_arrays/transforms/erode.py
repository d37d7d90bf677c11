"""Labels without their outermost voxels."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from ..errors import TreeError
from ..model import fields
from ..model.base import ArrayConfig
from ..model.checks import labels_and_mask
from ..model.config import SOURCE, Config
from ..model.meta import Block, Meta, Region, Voxels
from .slabs import SLAB

#: A slab has at least so many times the voxels that are seen on one side of it.
THINNEST = 8


def erode(labels: Voxels, steps: int, axes: Sequence[int], known: Voxels | None = None) -> Voxels:
    """Labels, 0 where another value is at most ``steps`` steps along ``axes`` away.

    Values where ``known`` is 0, and those outside, count as none.

    >>> erode(np.array([5, 5, 5, 7, 7, 0, 0, 8]), 1, [0]).tolist()
    [5, 5, 0, 0, 0, 0, 0, 0]
    >>> erode(np.array([5, 5, 7]), 1, [0], known=np.array([1, 1, 0])).tolist()
    [5, 5, 7]
    """
    steps = min(steps, sum(labels.shape))  # so many reach everywhere
    out = np.empty(labels.shape, labels.dtype)
    thick = max(1, THINNEST * steps, SLAB * len(labels) // max(1, labels.size))
    for begin in range(0, len(labels), thick):
        # a slab and what its voxels see
        first = max(0, begin - steps)
        around = slice(first, begin + thick + steps)
        eroded = _eroded(labels[around], steps, axes, None if known is None else known[around])
        out[begin : begin + thick] = eroded[begin - first : begin - first + thick]
    return out


def _eroded(labels: Voxels, steps: int, axes: Sequence[int], known: Voxels | None) -> Voxels:
    # the smallest and the largest value that is known within so many steps
    low, high = labels.copy(), labels.copy()
    if known is not None:
        limits = np.iinfo(labels.dtype)
        low[known == 0], high[known == 0] = limits.max, limits.min
    for _ in range(steps):
        low, high = _spread(low, np.minimum, axes), _spread(high, np.maximum, axes)
    # they are one value, which is not background; or none is known
    return np.where(((low == high) & (low != 0)) | (low > high), labels, labels.dtype.type(0))


def _spread(data: Voxels, best: np.ufunc, axes: Sequence[int]) -> Voxels:
    """The best of each voxel and its neighbours along some axes."""
    out = data.copy()
    for axis in axes:
        source, target = np.moveaxis(data, axis, 0), np.moveaxis(out, axis, 0)
        best(target[1:], source[:-1], out=target[1:])
        best(target[:-1], source[1:], out=target[:-1])
    return out


@attrs.frozen(eq=False, repr=False)
class ErodeArrayConfig(ArrayConfig):
    """Labels without the voxels near another label or background: those become 0.

    A step goes to a face neighbour; a voxel keeps its label if all voxels within ``steps`` steps carry
    it. Labels do not shrink at the edge of the roi, where nothing says that they end. It is
    what gunpowder's ``GrowBoundary`` does, with the same result in any block.

    Args:
        name: The array's name.
        source_array_config: Integer ids, without channels, never averaged.
        steps: How many voxels the labels shrink by.
        only_xy: True for no steps along the first of three spatial axes.
        mask_array_config: 0 where labels are unknown, without channels: they do not shrink
            towards there. By default all are known. The roi is then the intersection of both.

    >>> import gp_arrays as gpa, numpy as np
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.array([[5, 5, 5, 7, 7, 7]], np.uint64))
    >>> gpa.ErodeArrayConfig("eroded", ids, steps=1).array()[:]
    array([[5, 5, 0, 0, 7, 7]], dtype=uint64)
    """

    keeps_constant = True

    source_array_config: Config = attrs.field(metadata=SOURCE)
    steps: int = attrs.field(default=1, converter=fields.to_count)
    only_xy: bool = attrs.field(default=False, converter=fields.to_bool)
    mask_array_config: Config | None = attrs.field(default=None, metadata=SOURCE)

    def infer(self, *sources: Meta) -> Meta:
        grid = labels_and_mask(sources, "Erode")
        if self.only_xy and grid.dims != 3:
            raise TreeError("only_xy needs three spatial axes", found=", ".join(grid.spatial_axes))
        return attrs.evolve(grid, dtype=sources[0].dtype, nonspatial=(), interpolatable=False)

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region]:
        reach = [self.steps * int(v) for v in meta.voxel_size]
        if self.only_xy:
            reach[0] = 0
        return [meta.clip(region.grow(reach))] * len(sources)

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        labels, *masks = blocks
        assert labels is not None
        known = masks[0].data if masks and masks[0] is not None else None
        eroded = erode(labels.data, self.steps, range(int(self.only_xy), meta.dims), known)
        return Block(eroded, labels.region, meta).crop(region)
