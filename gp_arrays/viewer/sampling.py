"""Voxels for the screen: any box, at any zoom, at a bounded cost.

At full resolution a box is computed as ``array[...]`` computes it. Zoomed out by a
factor f, voxel i shows the array's voxel i*f + (f - 1)//2 on each axis: what a
ResampledArrayConfig of order 0 keeps. An overview computes these voxels alone. Where even
that costs too much, fewer voxels are computed and shown larger.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..model.array import Array
from ..model.evaluate import evaluate, run
from ..model.plan import Plan
from ..model.tasks import make_tasks
from .levels import Level, Voxels, index_region, levels_of
from .overview import Spacing, costs, is_pointwise, overview

logger = logging.getLogger(__name__)

#: The most voxels that are decoded for one chunk on the screen to show exactly the voxels it should.
EXACT = 2**28
#: Where that is not enough: the most that are decoded for fewer voxels, shown larger.
SPARSE = 2**24
#: Shapes of the chunks that the browser asks for.
PLANE, CUBE = (1, 512, 512), (64, 64, 64)


class Sampler:
    """Reads an array at full resolution or zoomed out.

    It keeps no voxels; several threads may read at once.

    Args:
        array: What to read.
    """

    def __init__(self, array: Array) -> None:
        self.plan, self.index, self.meta = array.plan, array.index, array.meta
        self._nonspatial = array.ndim - array.dims
        self._warned = False
        self._levels = functools.cache(self._find_levels)
        # one plan for each zoom; bounded, since repeats depend on the shapes that are asked for
        self._overview = functools.lru_cache(256)(self._make_overview)

    @functools.cached_property
    def planes(self) -> bool:
        """True if the browser should ask for planes, which hold the fewest voxels, rather than for cubes.

        Cubes cost less where a plane needs a deep context.
        """
        return self._cost_of(PLANE) <= 4 * self._cost_of(CUBE)

    def _cost_of(self, box: Sequence[int]) -> float:
        """Voxels computed by all steps, for each voxel of a box in the middle."""
        sizes = self.meta.spatial_shape
        shape = [min(n, b) for n, b in zip(sizes, ((1,) * len(sizes) + tuple(box))[-len(sizes) :], strict=True)]
        ranges = [((n - s) // 2, (n - s) // 2 + s) for n, s in zip(sizes, shape, strict=True)]
        tasks = make_tasks(self.plan, [(self.index, index_region(self.meta, ranges))]).tasks
        return sum(math.prod(self.plan.steps[t.step].meta.voxels(t.region)) for t in tasks) / math.prod(shape)

    def read(self, start: Sequence[int], stop: Sequence[int], factors: Sequence[int]) -> Voxels:
        """The voxels ``start:stop``, on all axes, of the array zoomed out by ``factors``.

        Non-spatial axes have factor 1. The last voxel of an axis may stand for fewer voxels.
        """
        ranges = list(zip(start, stop, strict=True))
        factor = tuple(factors[self._nonspatial :])
        if all(f == 1 for f in factor):
            return evaluate(self.plan, [(self.index, index_region(self.meta, ranges))])[0]
        nonspatial, spatial = ranges[: self._nonspatial], ranges[self._nonspatial :]
        for repeat, limit, (plan, index) in self._candidates(factor, [b - a for a, b in spatial]):
            samples = [(a // r, -(-b // r)) for (a, b), r in zip(spatial, repeat, strict=True)]
            region = index_region(plan.steps[index].meta, [*nonspatial, *samples])
            tasks = make_tasks(plan, [(index, region)])
            cost = costs(tasks)
            if sum(cost.values()) <= limit:
                break
        if any(r > 1 for r in repeat):
            self._warn(cost)
        (data,) = run(tasks)
        for axis, ((a, b), r) in enumerate(zip(spatial, repeat, strict=True), start=self._nonspatial):
            if r > 1:
                shown: Any = (slice(None),) * axis + (slice(a % r, a % r + b - a),)
                data = np.repeat(data, r, axis)[shown]
        return data

    def _candidates(
        self, factor: tuple[int, ...], lengths: Sequence[int]
    ) -> Iterator[tuple[tuple[int, ...], int, tuple[Plan, int]]]:
        """Overviews from the most exact to the cheapest, with how often a sample is repeated and what it may cost."""
        once = (1,) * len(factor)
        yield once, EXACT, self._overview(Spacing(factor, once), 1, False)
        yield once, EXACT, self._overview(Spacing(factor, once), 1, True)
        repeat = 2
        while repeat < 2 * max(lengths):
            # no more than a chunk needs: the samples of a plane are in that plane
            repeats = tuple(min(repeat, 1 << (n - 1).bit_length()) for n in lengths)
            yield repeats, SPARSE, self._overview(Spacing(factor, repeats), repeat, True)
            repeat *= 2

    def _make_overview(self, spacing: Spacing, repeat: int, replaced: bool) -> tuple[Plan, int]:
        """The overview with some spacing; with ``replaced`` sources are shown for what nearly shows the same."""
        finest = [int(v) * f * repeat for v, f in zip(self.meta.voxel_size, spacing.factor, strict=True)]
        return overview(self.plan, self.index, spacing, finest, self._through[replaced], self._levels)

    @functools.cached_property
    def _through(self) -> tuple[list[bool], list[bool]]:
        """Which steps are computed from samples of their sources, or may be replaced by their source too."""
        pointwise = [is_pointwise(step) for step in self.plan.steps]
        replaced = [p or s.config.viewable_as_source for p, s in zip(pointwise, self.plan.steps, strict=True)]
        return pointwise, replaced

    def _find_levels(self, index: int) -> list[Level]:
        return levels_of(self.plan, index)

    def _warn(self, cost: dict[int, int]) -> None:
        """Say once why what is seen is coarse."""
        if not self._warned:
            self._warned = True
            path = " > ".join(self.plan.path(max(cost, key=lambda i: cost[i])))
            logger.warning(
                "%s: zoomed so far out, few voxels are read and shown larger; a stored pyramid would show more", path
            )
