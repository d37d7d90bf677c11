"""Levels: the stored arrays, and the computed ones, that an overview takes samples from."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError, GpArraysError
from ..model.evaluate import evaluate, make_tasks
from ..model.meta import Meta, Region, Voxels
from ..model.opened import Opened
from ..model.plan import Plan

logger = logging.getLogger(__name__)

Range = tuple[int, int]
#: For each axis the ascending indices of some voxels, in runs that are read together.
Runs = Sequence[Sequence[Sequence[int]]]

#: Samples at most that many voxels apart are read in one box where a source has no chunks.
NEAR = 64
#: The largest number of voxels along an axis of a box.
SPAN = 2048
#: Costs, in decoded voxels: of computing one voxel, and of one read however small it is.
COMPUTED, READ = 16, 2**12


@attrs.frozen(eq=False)
class Level:
    """An array that samples can be taken from.

    Attributes:
        begin, voxel_size: In units of the tree; levels of pyramids may have fractions.
        shape: Of the spatial axes.
        chunks: The fewest voxels that a read decodes, on each spatial axis.
        voxel_cost: The cost of a voxel, in decoded voxels.
        read_cost: The cost of a read, however few its voxels are.
        read: Gives the voxels of index ranges of all axes, non-spatial ones first.
    """

    begin: Sequence[Fraction]
    voxel_size: Sequence[Fraction]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    voxel_cost: int
    read_cost: int
    read: Callable[[Sequence[Range]], Voxels]

    def runs(self, centres: Sequence[Sequence[int]]) -> Runs:
        """The voxels at some positions: for each axis, ascending positions in units of the tree, doubled."""
        runs = []
        for begin, voxel, size, chunk, positions in zip(
            self.begin, self.voxel_size, self.shape, self.chunks, centres, strict=True
        ):
            # floor((position / 2 - begin) / voxel), with integers alone
            a, b = 2 * begin.numerator, begin.denominator
            c, d = voxel.denominator, 2 * b * voxel.numerator
            runs.append(_runs([min(max((p * b - a) * c // d, 0), size - 1) for p in positions], chunk))
        return runs

    def cost(self, runs: Runs) -> int:
        """The cost of reading some voxels, in decoded voxels."""
        voxels = []
        for axis, chunk, size in zip(runs, self.chunks, self.shape, strict=True):
            voxels.append(sum(min(size, (run[-1] // chunk + 1) * chunk) - run[0] // chunk * chunk for run in axis))
        return max(math.prod(voxels) * self.voxel_cost, math.prod(map(len, runs)) * self.read_cost)

    def samples(self, runs: Runs, nonspatial: Sequence[Range], dtype: Any) -> Voxels:
        """Some voxels, of some ranges of the non-spatial axes."""
        starts = [list(itertools.accumulate(map(len, axis), initial=0)) for axis in runs]
        out = np.empty([b - a for a, b in nonspatial] + [start[-1] for start in starts], dtype)
        for position in np.ndindex(*map(len, runs)):
            box = [axis[i] for axis, i in zip(runs, position, strict=True)]
            voxels = self.read([*nonspatial, *((run[0], run[-1] + 1) for run in box)])
            samples: Any = (..., *np.ix_(*[np.subtract(run, run[0]) for run in box]))
            target: Any = (..., *(slice(s[i], s[i + 1]) for s, i in zip(starts, position, strict=True)))
            out[target] = voxels[samples]
        return out


def _runs(indices: Sequence[int], chunk: int) -> list[list[int]]:
    """Ascending indices, in runs whose voxels are in the same chunks or in neighbouring ones.

    >>> _runs([1, 5, 9, 200, 400], 4)
    [[1, 5, 9], [200], [400]]
    """
    runs: list[list[int]] = []
    near = NEAR if chunk == 1 else chunk
    for i in indices:
        if runs and i - runs[-1][-1] <= near and i - runs[-1][0] < SPAN:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def levels_of(plan: Plan, index: int) -> list[Level]:
    """Where samples of a step can be taken from, finest first: the array itself, then its stored pyramid."""
    opened = plan.steps[index].opened
    if opened is None:
        return [_computed(plan, index)]
    levels = [_stored(opened, plan.unit)]
    try:
        levels += [_stored(level, plan.unit) for level in opened.coarser()]
    except GpArraysError as error:
        logger.warning("%s: its pyramid is not used: %s", " > ".join(plan.path(index)), error)
    return levels


def _stored(opened: Opened, unit: str) -> Level:
    nonspatial = len(opened.nonspatial)
    shape = opened.shape[nonspatial:]
    return Level(
        [quantity.to(unit) for quantity in opened.offset],
        [quantity.to(unit) for quantity in opened.voxel_size],
        shape,
        (1,) * len(shape) if opened.chunks is None else opened.chunks[nonspatial:],
        1,
        READ,
        lambda ranges: opened.read(tuple(slice(a, b) for a, b in ranges)),
    )


def _computed(plan: Plan, index: int) -> Level:
    step = plan.steps[index]
    meta = step.meta

    def read(ranges: Sequence[Range]) -> Voxels:
        if step.config.first_tile(meta, step.source_metas) is not None:
            raise ComputeError(
                "zoom in to see this array: it is computed in whole tiles",
                allowed="full resolution, or the array stored with a pyramid",
                path=plan.path(index),
            )
        return evaluate(plan, [(index, meta.region_at(ranges))])[0]

    begin, voxel_size = [Fraction(int(b)) for b in meta.region.begin], [Fraction(int(v)) for v in meta.voxel_size]
    return Level(begin, voxel_size, meta.spatial_shape, (1,) * meta.dims, COMPUTED, _cost_of_a_voxel(plan, index), read)


def middle_voxel(meta: Meta) -> Region:
    """The voxel in the middle of an array."""
    return meta.region_at([(n // 2, n // 2 + 1) for n in meta.spatial_shape])


def _cost_of_a_voxel(plan: Plan, index: int) -> int:
    """The cost of computing the middle voxel, with its context and the chunks that hold it, in decoded voxels."""
    total = 0
    for task in make_tasks(plan, [(index, middle_voxel(plan.steps[index].meta))]).tasks:
        step = plan.steps[task.step]
        if step.opened is None:
            total += READ + COMPUTED * math.prod(step.meta.voxels(task.region))
        else:
            total += decoded_voxels(plan, step.opened, step.meta, task.region)
    return total


def decoded_voxels(plan: Plan, opened: Opened, meta: Meta, region: Region) -> int:
    """The cost of reading a region from a source: the voxels of all chunks that it touches."""
    box = opened.index_of(region, meta, plan.unit)[-meta.dims :]
    return _stored(opened, plan.unit).cost([[range(part.start, part.stop)] for part in box])
