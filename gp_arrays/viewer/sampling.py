"""Voxels for the screen: any box, at any zoom, at a bounded cost.

At full resolution a box is computed as ``array[...]`` computes it. Zoomed out by a
factor f, voxel i shows the array's voxel i*f + (f - 1)//2 on each axis: what a
ResampledArrayConfig of order 0 keeps. Just these voxels are computed: what is
pointwise works on the samples alone, and each source reads them from the level of its
stored pyramid that is nearest to the zoom. Where there is none and whole chunks would
have to be read for a few voxels each, fewer voxels are sampled and shown larger.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Coordinate

from ..errors import ComputeError, GpArraysError
from ..model.array import Array
from ..model.evaluate import evaluate, run_step
from ..model.meta import Block, Meta, Region
from ..model.plan import Plan
from ..model.tasks import make_tasks
from .leaves import Level, Picked, computed, stored

logger = logging.getLogger(__name__)

Voxels = np.ndarray[Any, Any]

#: Up to so many voxels are read for one chunk on screen to show exactly the voxels it should.
EXACT = 2**28
#: Where that is not enough: up to so many, for fewer voxels shown larger.
SPARSE = 2**24
#: Shapes of what the viewer asks for at once.
PLANE, CUBE = (1, 512, 512), (64, 64, 64)


class Sampler:
    """Reads an array at full resolution or zoomed out.

    It keeps no voxels; several threads may read at once.

    Args:
        array: What to read.
    """

    def __init__(self, array: Array) -> None:
        self.array = array
        self.plan: Plan = array.plan
        self.index = array._index
        self.meta: Meta = array.meta
        self._lead = array.ndim - array.dims
        self._told = False

    @functools.cached_property
    def planes(self) -> bool:
        """Whether the viewer is to ask for planes, which hold the fewest voxels, rather than cubes.

        Cubes cost less where a plane needs a deep context.
        """
        return self._cost_of(PLANE) <= 4 * self._cost_of(CUBE)

    def _cost_of(self, box: Sequence[int]) -> float:
        """Voxels computed for each one asked for, on all steps, for a box in the middle."""
        sizes = self.meta.spatial_shape
        shape = [min(n, b) for n, b in zip(sizes, ((1,) * len(sizes) + tuple(box))[-len(sizes) :], strict=True)]
        begin = [(n - s) // 2 for n, s in zip(sizes, shape, strict=True)]
        region = self._region(begin, shape)
        tasks = make_tasks(self.plan, [(self.index, region)]).tasks
        total = sum(math.prod(self.plan.steps[task.step].meta.voxels(task.region)) for task in tasks)
        return total / math.prod(shape)

    def _region(self, begin: Sequence[int], shape: Sequence[int], nonspatial: Any = None) -> Region:
        corner, voxel = self.meta.region.begin, self.meta.voxel_size
        low = tuple(int(c + b * v) for c, b, v in zip(corner, begin, voxel, strict=True))
        return Region(low, tuple(int(b + n * v) for b, n, v in zip(low, shape, voxel, strict=True)), nonspatial)

    def read(self, start: Sequence[int], stop: Sequence[int], factors: Sequence[int]) -> Voxels:
        """The voxels ``start:stop`` of the array zoomed out by ``factors``, all axes.

        Leading axes have factor 1. The last voxel of an axis may stand for fewer voxels.
        """
        nonspatial = tuple(zip(start[: self._lead], stop[: self._lead], strict=True)) or None
        low, high, factor = start[self._lead :], stop[self._lead :], factors[self._lead :]
        if all(f == 1 for f in factor):
            region = self._region(low, [b - a for a, b in zip(low, high, strict=True)], nonspatial)
            return evaluate(self.plan, [(self.index, region)])[0]
        places = [
            [min(i * f + (f - 1) // 2, n - 1) for i in range(a, b)]
            for a, b, f, n in zip(low, high, factor, self.meta.spatial_shape, strict=True)
        ]
        grid = Grid.of(self.meta, places, factor)
        through = self._pointwise
        needed = self._demands(grid, nonspatial, through)
        picked = self._pick(grid, needed, through)
        if cost(picked) > EXACT:
            through = self._through
            needed = self._demands(grid, nonspatial, through)
            picked = self._pick(grid, needed, through)
        while cost(picked) > (EXACT if grid.repeat == 1 else SPARSE) and any(n > 1 for n in grid.shape):
            grid = Grid.of(self.meta, places, factor, 2 * grid.repeat)
            picked = self._pick(grid, needed, through)
        if grid.repeat > 1:
            self._tell(picked)
        data = self._compute(grid, picked, needed).crop(attrs.evolve(grid.region, nonspatial=nonspatial))
        for axis, count in enumerate(map(len, places), start=self._lead):
            if count != data.shape[axis]:
                data = np.repeat(data, grid.repeat, axis)[(slice(None),) * axis + (slice(count),)]
        return data

    def _tell(self, picked: Mapping[int, Picked]) -> None:
        """Say once why what is seen is coarse."""
        if not self._told:
            self._told = True
            place = " > ".join(self.plan.path(max(picked, key=lambda i: picked[i].cost)))
            logger.warning(
                "%s: zoomed so far out, few voxels are read and shown larger; a stored pyramid would show more", place
            )

    @functools.cached_property
    def _pointwise(self) -> tuple[bool, ...]:
        """Which steps compute a voxel from the same voxel of their sources.

        Told by the context of one voxel in the middle: since blocks must not matter, what
        is computed from that voxel alone depends on it alone.
        """
        return tuple(step.opened is None and self._is_pointwise(i) for i, step in enumerate(self.plan.steps))

    @functools.cached_property
    def _through(self) -> tuple[bool, ...]:
        """Which steps are that, or may be seen as what their source is at the same place."""
        return tuple(
            p or step.config.viewable_as_source for p, step in zip(self._pointwise, self.plan.steps, strict=True)
        )

    def _is_pointwise(self, index: int) -> bool:
        step = self.plan.steps[index]
        metas = step.source_metas
        middle = [n // 2 for n in step.meta.spatial_shape]
        voxel = step.meta.voxel_size
        begin = tuple(int(b + m * v) for b, m, v in zip(step.meta.region.begin, middle, voxel, strict=True))
        probe = Region(begin, tuple(int(b + v) for b, v in zip(begin, voxel, strict=True)))
        try:
            parts = step.config.context(probe, step.meta, metas)
        except GpArraysError:
            return False
        return all(
            part is None or ((part.begin, part.end) == (probe.begin, probe.end) and meta.voxel_size == voxel)
            for part, meta in zip(parts, metas, strict=True)
        )

    @functools.cached_property
    def _levels(self) -> dict[int, list[Level]]:
        """Where the samples of each step that is read as a whole come from, finest first."""
        return {
            i: stored(self.plan, i) if step.opened is not None else [computed(self.plan, i)]
            for i, step in enumerate(self.plan.steps)
            if not self._pointwise[i]
        }

    def _demands(self, grid: Grid, nonspatial: Any, through: Sequence[bool]) -> dict[int, Region]:
        """What is needed of each step: all samples, of some of its non-spatial axes."""
        needed = {self.index: attrs.evolve(grid.region, nonspatial=nonspatial)}
        for i in reversed(range(self.index + 1)):
            if i not in needed or not through[i]:
                continue
            if not self.plan.steps[i].config.supports_channel_subset:
                needed[i] = needed[i].whole()
            for source, part in zip(self.plan.steps[i].sources, self._parts(i, grid, needed[i]), strict=True):
                if part is not None:
                    needed[source] = part if source not in needed else part.union(needed[source])
        return needed

    def _parts(self, index: int, grid: Grid, region: Region) -> Sequence[Region | None]:
        """What a step needs of its sources for samples."""
        if not self._pointwise[index]:
            return [region]
        step = self.plan.steps[index]
        metas = [grid.meta(meta) for meta in step.source_metas]
        return step.config.context(region, grid.meta(step.meta), metas)

    def _pick(self, grid: Grid, needed: Mapping[int, Region], through: Sequence[bool]) -> dict[int, Picked]:
        """For each step that is read: its coarsest level that is fine enough, and where."""
        picked = {}
        for i in needed:
            if not through[i]:
                levels = [level for level in self._levels[i] if level.fine_enough(grid.spacing)]
                picked[i] = (levels[-1] if levels else self._levels[i][0]).pick(grid.centres)
        return picked

    def _compute(self, grid: Grid, picked: Mapping[int, Picked], needed: Mapping[int, Region]) -> Block:
        blocks: dict[int, Block] = {}
        for i in sorted(needed):
            step = self.plan.steps[i]
            meta, region = grid.meta(step.meta), attrs.evolve(grid.region, nonspatial=needed[i].nonspatial)
            try:
                if i in picked:
                    data = picked[i].read(meta.nonspatial_ranges(region))
                else:
                    metas = [grid.meta(source) for source in step.source_metas]
                    given = [
                        None if part is None else Block(blocks[source].crop(part), part, blocks[source].meta)
                        for source, part in zip(step.sources, self._parts(i, grid, region), strict=True)
                    ]
                    if self._pointwise[i]:
                        sampled = attrs.evolve(step, meta=meta, source_metas=tuple(metas))
                        data = run_step(sampled, region, given, functools.partial(self.plan.path, i))
                    else:
                        (only,) = given
                        assert only is not None
                        data = only.data
            except GpArraysError as error:
                raise self.plan.place(error, i) from error.__cause__
            except MemoryError:
                raise
            except Exception as error:
                raise ComputeError(f"{type(error).__name__}: {error}", path=self.plan.path(i)) from error
            blocks[i] = Block(data, region, meta)
        return blocks[self.index]


@attrs.frozen(eq=False)
class Grid:
    """Samples of an array: on each axis the indices of some voxels, about equally far apart.

    Attributes:
        places: The indices.
        spacing: How far apart they are, in units of the tree.
        centres: Where the middles of the voxels are, doubled so that they are whole.
        region: The box that the samples stand for.
        repeat: How many voxels on screen show a sample, along each axis.
    """

    places: Sequence[Sequence[int]]
    spacing: tuple[int, ...]
    centres: Sequence[Sequence[int]]
    region: Region
    repeat: int = 1

    @classmethod
    def of(cls, array: Meta, places: Sequence[Sequence[int]], factor: Sequence[int], repeat: int = 1) -> Grid:
        """The grid of samples ``factor`` voxels apart, of which one in ``repeat`` is taken on each axis."""
        places = [_thinned(axis, repeat) for axis in places]
        begin, voxel = [*map(int, array.region.begin)], [*map(int, array.voxel_size)]
        spacing = tuple(v * f * repeat for v, f in zip(voxel, factor, strict=True))
        centres = [[2 * b + (2 * p + 1) * v for p in axis] for b, v, axis in zip(begin, voxel, places, strict=True)]
        low = tuple(b + axis[0] * v // s * s for b, v, s, axis in zip(begin, voxel, spacing, places, strict=True))
        high = tuple(b + len(axis) * s for b, s, axis in zip(low, spacing, places, strict=True))
        return cls(places, spacing, centres, Region(low, high), repeat)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.places))

    def meta(self, meta: Meta) -> Meta:
        """The meta of samples of an array. They lie on a grid of their own."""
        return attrs.evolve(meta, roi=self.region.roi, voxel_size=Coordinate(self.spacing), phase=None)


def cost(picked: Mapping[int, Picked]) -> int:
    """Voxels to be read or computed."""
    return sum(pick.cost for pick in picked.values())


def _thinned(places: Sequence[int], repeat: int) -> list[int]:
    """One place of each ``repeat`` ones, the middle one.

    >>> _thinned([0, 1, 2, 3, 4, 5, 6], 4)
    [1, 5]
    """
    return [places[min(i + (repeat - 1) // 2, len(places) - 1)] for i in range(0, len(places), repeat)]
