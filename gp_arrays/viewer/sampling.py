"""Voxels for the screen: any box, at any zoom, at a bounded cost.

At full resolution a box is computed as ``array[...]`` computes it. Zoomed out by a
factor f, voxel i shows the array's voxel i*f + (f - 1)//2 on each axis: what a
ResampledArrayConfig of order 0 keeps. An overview computes only these voxels. If this still
costs too much, fewer voxels are computed and shown larger.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..model.array import Array
from ..model.evaluate import Tasks, evaluate, make_tasks, run
from ..model.meta import Voxels
from .levels import decoded_voxels, levels_of
from .overview import Samples, is_pointwise, overview, without_replaceable

logger = logging.getLogger(__name__)

#: The most voxels that are decoded for one chunk on the screen to show exactly the voxels it should.
EXACT = 2**28
#: Where that is not enough: the most that are decoded for fewer voxels, shown larger.
SPARSE = 2**24
#: A cube may cost this many times less than a plane: it covers less of the screen.
PLANE_TO_CUBE = 8
#: Shapes of the chunks that the browser asks for.
PLANE, CUBE = (1, 512, 512), (64, 64, 64)
#: The cost of a request, in decoded voxels, without what is computed for it.
REQUEST = 2**18
#: A voxel of a plane may cost this many times as much as a voxel of a cube: most voxels of cubes are never looked at.
WASTE = 4


class Sampler:
    """Reads an array at full resolution or zoomed out.

    It keeps no voxels; several threads may read at once.

    Args:
        array: What to read.
    """

    def __init__(self, array: Array) -> None:
        self.plan, self.index, self.meta = array.plan, array.index, array.meta
        self._levels = functools.cache(functools.partial(levels_of, self.plan))
        self._pointwise = functools.cache(is_pointwise)
        replaced, stand_ins = without_replaceable(self.plan)
        self._exact, self._replaced = (self.plan, self.index), (replaced, stand_ins[self.index])
        self._warned = False

    @property
    def planes(self) -> bool:
        """True if the browser should ask for planes rather than for cubes.

        Planes take fewer voxels for the first picture. Cubes cost less if chunks of the store or contexts are
        deep: a plane is larger than most panels, and what it decodes out of sight is never looked at. Cubes
        also hold the next planes that one scrolls to, and planes of a small array are many small requests.
        """
        return self._cost_of(PLANE) <= WASTE * self._cost_of(CUBE)

    def _cost_of(self, box: Sequence[int]) -> float:
        """The cost of a box in the middle, in decoded voxels for each of its voxels."""
        sizes = self.meta.spatial_shape
        # the browser halves a box until it is no longer than the array
        lengths = ((1,) * len(sizes) + tuple(box))[-len(sizes) :]
        shape = [min(length, 1 << n.bit_length() - 1) for n, length in zip(sizes, lengths, strict=True)]
        ranges = [((n - s) // 2, (n - s) // 2 + s) for n, s in zip(sizes, shape, strict=True)]
        total = REQUEST
        for task in make_tasks(self.plan, [(self.index, self.meta.region_at(ranges))]).tasks:
            step = self.plan.steps[task.step]
            total += math.prod(step.meta.voxels(task.region))
            if step.opened is not None:
                total += decoded_voxels(self.plan, step.opened, step.meta, task.region)
        return total / math.prod(shape)

    def read(self, start: Sequence[int], stop: Sequence[int], factors: Sequence[int]) -> Voxels:
        """The voxels ``start:stop``, on all axes, of the array zoomed out by ``factors``.

        Non-spatial axes have factor 1. The last voxel of an axis may stand for fewer voxels.
        """
        ranges = list(zip(start, stop, strict=True))
        if all(f == 1 for f in factors):
            return evaluate(self.plan, [(self.index, self.meta.region_at(ranges))])[0]
        spatial = ranges[-self.meta.dims :]
        tasks, repeats = self._affordable(ranges, [b - a for a, b in spatial], factors[-self.meta.dims :])
        (data,) = run(tasks)
        sample_of = [np.arange(a, b) // r - a // r for (a, b), r in zip(spatial, repeats, strict=True)]
        index: Any = (..., *np.ix_(*sample_of))
        on_screen: Voxels = data[index]
        return on_screen

    def _affordable(
        self, ranges: Sequence[tuple[int, int]], lengths: Sequence[int], factors: Sequence[int]
    ) -> tuple[Tasks, list[int]]:
        """The most exact overview that is not too expensive, and how often it repeats its samples on each axis."""
        attempts = [(1, EXACT, self._exact), (1, EXACT, self._replaced)]
        attempts += [(2**k, SPARSE, self._replaced) for k in range(1, (max(lengths) - 1).bit_length() + 1)]
        is_plane = len(lengths) < 3 or min(lengths) == 1
        for repeat, limit, (plan, index) in attempts:
            # no more than a chunk needs: the samples of a plane are in that plane
            repeats = [min(repeat, 1 << (n - 1).bit_length()) for n in lengths]
            tasks = overview(plan, index, ranges, factors, repeats, self._levels, self._pointwise)
            opened = {task.step: tasks.plan.steps[task.step].opened for task in tasks.tasks}
            costs = {step: source.cost() for step, source in opened.items() if isinstance(source, Samples)}
            if sum(costs.values()) <= (limit if is_plane else limit // PLANE_TO_CUBE):
                break
        if repeat > 1 and not self._warned:
            self._warned = True
            path = " > ".join(self.plan.path(max(costs, key=lambda step: costs[step])))
            logger.warning(
                "%s: zoomed so far out, few voxels are read and shown larger; a stored pyramid would show more", path
            )
        return tasks, repeats
