"""Overview: the plan that computes some voxels of an array, evenly spaced, instead of all.

Steps whose voxels depend on the same voxel of their sources compute the samples alone. All
other steps that are needed become sources, which read the samples from the level nearest to
their spacing. The tasks of such a plan are those of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import attrs
from funlib.geometry import Coordinate, Roi

from ..errors import GpArraysError
from ..model.meta import Meta
from ..model.opened import Opened
from ..model.plan import Plan, Step
from ..model.tasks import Tasks
from ..units import Quantity
from .levels import Level, Runs, Voxels, middle_voxel


@attrs.frozen
class Spacing:
    """How an overview shows an array, on each axis.

    Voxel i of the screen stands for ``factor`` voxels of the array and shows the middle one.
    Where that costs too much, one voxel of the screen is shown for ``repeat`` of them.
    """

    factor: tuple[int, ...]
    repeat: tuple[int, ...]

    @property
    def total(self) -> tuple[int, ...]:
        """How many voxels of the array a sample stands for."""
        return tuple(f * r for f, r in zip(self.factor, self.repeat, strict=True))

    def indices(self, axis: int, samples: range, size: int) -> list[int]:
        """The voxels of an array of ``size`` voxels that some samples show.

        >>> Spacing((3,), (1,)).indices(0, range(4), size=10), Spacing((3,), (2,)).indices(0, range(2), size=10)
        ([1, 4, 7, 9], [1, 7])
        """
        factor, repeat = self.factor[axis], self.repeat[axis]
        on_screen = -(-size // factor)
        shown = [min(i * repeat + (repeat - 1) // 2, on_screen - 1) for i in samples]
        return [min(i * factor + (factor - 1) // 2, size - 1) for i in shown]


class Samples(Opened):
    """Samples of an array as a source.

    Args:
        meta: Of the samples.
        root: Of the array that the overview shows, whose voxels decide where samples are.
        spacing: Which voxels are shown.
        level: Where they are read.
    """

    interpolatable = False
    attrs: dict[str, object] = {}
    place = "samples"

    def __init__(self, meta: Meta, root: Meta, spacing: Spacing, level: Level) -> None:
        assert meta.dtype is not None  # known of every array of a plan
        self.shape, self.dtype = meta.shape, meta.dtype
        self.nonspatial, self.spatial_axes = meta.nonspatial or (), meta.spatial_axes
        self.voxel_size = tuple(Quantity(Fraction(int(v))) for v in meta.voxel_size)
        self.offset = tuple(Quantity(Fraction(b)) for b in meta.region.begin)
        self._root, self._spacing, self._level = root, spacing, level

    def cost(self, index: Sequence[slice]) -> int:
        """The cost of reading a box of samples, in decoded voxels."""
        return self._level.cost(self._runs(index))

    def read(self, index: tuple[slice, ...]) -> Voxels:
        nonspatial = [(part.start, part.stop) for part in index[: len(self.nonspatial)]]
        return self._level.samples(self._runs(index), nonspatial, self.dtype)

    def _runs(self, index: Sequence[slice]) -> Runs:
        """The voxels of the level that a box of samples shows."""
        root, centres = self._root, []
        axes = zip(index[-root.dims :], root.region.begin, root.voxel_size, root.spatial_shape, strict=True)
        for axis, (part, begin, voxel, size) in enumerate(axes):
            indices = self._spacing.indices(axis, range(part.start, part.stop), size)
            centres.append([2 * begin + (2 * i + 1) * int(voxel) for i in indices])
        return self._level.runs(centres)


def overview(
    plan: Plan,
    index: int,
    spacing: Spacing,
    finest: Sequence[int],
    through: Sequence[bool],
    levels: Callable[[int], Sequence[Level]],
) -> tuple[Plan, int]:
    """The plan that computes samples of a step, and the index of the step that shows them.

    Args:
        plan: The compiled tree.
        index: The step to show.
        spacing: Which voxels of it are shown.
        finest: Levels with larger voxels than these, in units of the tree, are not used.
        through: For each step whether it is computed from samples of its sources. One that is not
            pointwise shows the samples of its source.
        levels: Gives the levels of a step, finest first.
    """
    root = plan.steps[index].meta
    voxel_size = Coordinate(spacing.total) * root.voxel_size
    shape = [-(-n // total) for n, total in zip(root.spatial_shape, spacing.total, strict=True)]
    roi = Roi(root.region.begin, voxel_size * Coordinate(shape))
    needed, shown = {index}, list(range(len(plan.steps)))
    for i in reversed(range(index + 1)):
        if i in needed and through[i]:
            needed.update(plan.steps[i].sources)
    steps = list(plan.steps)
    for i in sorted(needed):
        step = plan.steps[i]
        # samples are on a grid of their own
        meta = attrs.evolve(step.meta, roi=roi, voxel_size=voxel_size, phase=None)
        if not through[i]:
            fine = [level for level in levels(i) if all(v <= f for v, f in zip(level.voxel_size, finest, strict=True))]
            opened = Samples(meta, root, spacing, fine[-1] if fine else levels(i)[0])
            steps[i] = Step(step.config, meta, opened=opened)
        elif is_pointwise(step):
            sources = tuple(shown[source] for source in step.sources)
            steps[i] = Step(step.config, meta, sources, tuple(steps[source].meta for source in sources))
        else:
            shown[i] = shown[step.sources[0]]
    return attrs.evolve(plan, steps=tuple(steps)), shown[index]


def is_pointwise(step: Step) -> bool:
    """True if a step computes each voxel from the same voxel of its sources.

    The context of the middle voxel decides: since no voxel depends on who asks for it, what is
    computed from that voxel alone depends on it alone.
    """
    if step.opened is not None:
        return False
    voxel = middle_voxel(step.meta)
    try:
        parts = step.config.context(voxel, step.meta, step.source_metas)
    except GpArraysError:
        return False
    return all(
        part is None or (part.whole() == voxel and source.voxel_size == step.meta.voxel_size)
        for part, source in zip(parts, step.source_metas, strict=True)
    )


def costs(tasks: Tasks) -> dict[int, int]:
    """The cost of each step of an overview that is read, in decoded voxels."""
    costs: dict[int, int] = {}
    for task in tasks.tasks:
        step = tasks.plan.steps[task.step]
        if isinstance(step.opened, Samples):
            index = step.opened.index_of(task.region, step.meta, step.meta.unit)
            costs[task.step] = costs.get(task.step, 0) + step.opened.cost(index)
    return costs
