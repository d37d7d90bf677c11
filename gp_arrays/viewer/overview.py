"""Overview: the tasks that compute some voxels of an array, evenly spaced, instead of all.

The plan of an overview is that of the tree on a coarser grid. Steps whose voxels depend on the
same voxel of their sources compute the samples alone. All other steps become sources, which
read the samples from the level nearest to their spacing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import attrs
from funlib.geometry import Coordinate, Roi

from ..errors import GpArraysError
from ..model.evaluate import Tasks, make_tasks
from ..model.meta import Meta, Region, Voxels
from ..model.opened import Opened
from ..model.plan import Plan, Step
from ..units import Quantity
from .levels import Level, Range, Runs, middle_voxel


def sampled_voxels(samples: range, factor: int, repeat: int, size: int) -> list[int]:
    """The voxels that some samples of an axis show.

    Voxel i of the screen stands for ``factor`` voxels of the array and shows the middle one. A
    sample is shown for ``repeat`` voxels of the screen and is the middle one of these.

    Args:
        samples: The numbers of the samples.
        factor: Voxels of the array for one voxel of the screen.
        repeat: Voxels of the screen for one sample.
        size: The number of voxels of the array along the axis.

    >>> sampled_voxels(range(4), factor=3, repeat=1, size=10)
    [1, 4, 7, 9]
    >>> sampled_voxels(range(2), factor=3, repeat=2, size=10)
    [1, 7]
    """
    on_screen = -(-size // factor)
    screen_voxels = [min(i * repeat + (repeat - 1) // 2, on_screen - 1) for i in samples]
    return [min(i * factor + (factor - 1) // 2, size - 1) for i in screen_voxels]


class Samples(Opened):
    """Samples of an array as a source, which is always read over its full extent.

    Args:
        meta: Of the samples.
        find_levels: Gives the levels of the array, finest first.
        centres: For each axis the world positions of the samples, doubled.
        coarsest: The largest voxel size of a level that may be used.
    """

    interpolatable = False
    attrs: dict[str, object] = {}
    location = "samples"

    def __init__(
        self,
        meta: Meta,
        find_levels: Callable[[], Sequence[Level]],
        centres: Sequence[Sequence[int]],
        coarsest: Sequence[int],
    ) -> None:
        assert meta.dtype is not None  # known of every array of a plan
        self.dtype, self.nonspatial, self.spatial_axes = meta.dtype, meta.nonspatial or (), meta.spatial_axes
        self.offset = tuple(Quantity.parse(int(b)) for b in meta.region.begin)
        self._find_levels, self._centres, self._coarsest = find_levels, centres, coarsest

    @functools.cached_property
    def _source(self) -> tuple[Level, Runs]:
        """The level to read, and the voxels of it that are the samples."""
        levels = self._find_levels()
        usable = [
            level
            for level in levels
            if all(size <= largest for size, largest in zip(level.voxel_size, self._coarsest, strict=True))
        ]
        level = usable[-1] if usable else levels[0]
        return level, level.runs(self._centres)

    def cost(self) -> int:
        """The cost of reading the samples, in decoded voxels."""
        level, runs = self._source
        return level.cost(runs)

    def read(self, index: tuple[slice, ...]) -> Voxels:
        level, runs = self._source
        nonspatial = [(part.start, part.stop) for part in index[: len(self.nonspatial)]]
        return level.samples(runs, nonspatial, self.dtype)


def overview(
    plan: Plan,
    index: int,
    ranges: Sequence[Range],
    factors: Sequence[int],
    repeats: Sequence[int],
    levels: Callable[[int], Sequence[Level]],
    pointwise: Callable[[Step], bool],
) -> Tasks:
    """The tasks that compute the samples which show a box of a step, zoomed out.

    Args:
        plan: The compiled tree.
        index: The step to show.
        ranges: The box, in voxels of the screen on the spatial axes.
        factors: For each spatial axis, voxels of the array for one voxel of the screen.
        repeats: For each spatial axis, voxels of the screen for one sample.
        levels: Gives the levels of a step, finest first.
        pointwise: Tells whether a step is computed from samples of its sources.
    """
    root = plan.steps[index].meta
    voxel_size = Coordinate(factors) * Coordinate(repeats) * root.voxel_size
    samples = [range(a // r, -(-b // r)) for (a, b), r in zip(ranges[-root.dims :], repeats, strict=True)]
    begin = Coordinate(root.region.begin) + voxel_size * Coordinate(part.start for part in samples)
    roi = Roi(begin, voxel_size * Coordinate(map(len, samples)))
    centres = []
    for part, factor, repeat, low, voxel, size in zip(
        samples, factors, repeats, root.region.begin, root.voxel_size, root.spatial_shape, strict=True
    ):
        centres.append([2 * low + (2 * i + 1) * int(voxel) for i in sampled_voxels(part, factor, repeat, size)])
    coarsest = [int(v) * f * max(repeats) for v, f in zip(root.voxel_size, factors, strict=True)]
    steps: list[Step] = []
    for i, step in enumerate(plan.steps):
        # the grid of the samples need not be aligned to that of the array
        meta = attrs.evolve(step.meta, roi=roi, voxel_size=voxel_size, phase=None)
        if pointwise(step):
            steps.append(Step(step.config, meta, step.sources, tuple(steps[source].meta for source in step.sources)))
        else:
            opened = Samples(meta, functools.partial(levels, i), centres, coarsest)
            steps.append(Step(step.config, meta, opened=opened))
    region = Region.of(roi, tuple(ranges[: -root.dims]) or None)
    return make_tasks(attrs.evolve(plan, steps=tuple(steps)), [(index, region)])


def is_pointwise(step: Step) -> bool:
    """True if a step computes each voxel from the same voxel of its sources.

    The context of the middle voxel decides: voxels do not depend on the request, and so a context of
    one voxel means that the result depends on that voxel alone.
    """
    if step.opened is not None:
        return False
    voxel = middle_voxel(step.meta)
    try:
        contexts = step.config.context(voxel, step.meta, step.source_metas)
    except GpArraysError:
        return False
    return all(
        context is None or (context.whole() == voxel and source.voxel_size == step.meta.voxel_size)
        for context, source in zip(contexts, step.source_metas, strict=True)
    )


def without_replaceable(plan: Plan) -> tuple[Plan, list[int]]:
    """A plan without the arrays that look like their source when they are zoomed out.

    Returns:
        The plan, and for each step of ``plan`` the index of the step that replaces it.
    """
    stand_ins: list[int] = []
    for i, step in enumerate(plan.steps):
        stand_ins.append(stand_ins[step.sources[0]] if step.config.viewable_as_source else i)
    steps = [attrs.evolve(step, sources=tuple(stand_ins[source] for source in step.sources)) for step in plan.steps]
    return attrs.evolve(plan, steps=tuple(steps)), stand_ins
