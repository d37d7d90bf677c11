"""Which blocks of a job are to be done: within the roi, not known to be empty, not done already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import TreeError
from ..model.meta import Region
from .geometry import Pass
from .state import State

Grid = np.ndarray[Any, Any]


@attrs.frozen(eq=False)
class Schedule:
    """Bool grids of the blocks of each pass, by its name.

    Attributes:
        chosen: Those that the roi touches; of a level, those above such ones alone.
        active: Those not known to be empty.
        before: Those done in earlier runs, and still right.
    """

    passes: tuple[Pass, ...]
    chosen: Mapping[str, Grid]
    active: Mapping[str, Grid]
    before: Mapping[str, Grid]

    def missing(self, name: str) -> Grid:
        """The blocks of a pass that a run has to do."""
        found: Grid = self.chosen[name] & self.active[name] & ~self.before[name]
        return found

    def count(self, kind: Callable[[str], Grid]) -> int:
        return sum(int(kind(made.name).sum()) for made in self.passes)


def touched(made: Pass, roi: Roi | None) -> tuple[slice, ...]:
    """The blocks of a pass that a roi touches."""
    if roi is None:
        return tuple(slice(0, n) for n in made.grid)
    if all(output.meta.region.intersect(Region.of(roi)).empty for output in made.outputs):
        return tuple(slice(0, 0) for _ in made.grid)
    return made.within(Region.of(roi))


def require_touched(passes: Sequence[Pass], roi: Roi | None) -> None:
    """Raises TreeError where a roi touches no output, or has other axes."""
    if roi is None:
        return
    for made in passes:
        if roi.dims != len(made.grid):
            raise TreeError(
                "the roi does not fit the outputs", found=f"{roi.dims} spatial axes", allowed=f"{len(made.grid)}"
            )
    if all(any(part.start == part.stop for part in touched(made, roi)) for made in passes):
        raise TreeError(
            "the roi does not touch the outputs",
            found=Region.of(roi),
            allowed=", ".join(f"{o.dataset} {o.meta.region}" for made in passes for o in made.outputs),
        )


def make_schedule(passes: Sequence[Pass], roi: Roi | None, active: Mapping[str, Grid], state: State | None) -> Schedule:
    """The schedule of a job.

    Args:
        passes: Those of pyramids after those they read.
        roi: Where to work; everywhere by default.
        active: Bool grids of the blocks that are not known to be empty, where any are.
        state: What is done already; nothing by default.
    """
    chosen: dict[str, Grid] = {}
    actives: dict[str, Grid] = {}
    before: dict[str, Grid] = {}
    stale: dict[str, Grid] = {}
    for made in passes:
        before[made.name] = np.zeros(made.grid, bool) if state is None else state.done(made)
        if made.level is None:
            chosen[made.name] = np.zeros(made.grid, bool)
            chosen[made.name][touched(made, roi)] = True
            actives[made.name] = active.get(made.name, np.ones(made.grid, bool))
            stale[made.name] = chosen[made.name] & actives[made.name] & ~before[made.name]
        else:
            below = next(other for other in passes if other.name == made.level.after)
            # what is made from blocks that are only done now has to be made again
            stale[made.name] = over(made, below, stale[below.name], np.any)
            before[made.name] &= ~stale[made.name]
            # a block of a level waits for a run that completes all that it is made from
            ready = chosen[below.name] | before[below.name] | ~actives[below.name]
            chosen[made.name] = over(made, below, ready, np.all)
            actives[made.name] = over(made, below, actives[below.name], np.any)
    return Schedule(tuple(passes), chosen, actives, before)


def over(made: Pass, below: Pass, grid: Grid, combine: Callable[..., Any]) -> Grid:
    """For each block of a pass what ``combine`` says of those blocks of another that it covers."""
    for axis, count in enumerate(made.grid):
        rows = []
        for i in range(count):
            begin = made.begin[axis] + i * made.block[axis]
            first = max(0, (begin - below.begin[axis]) // below.block[axis])
            last = -((below.begin[axis] - begin - made.block[axis]) // below.block[axis])
            part = grid.take(range(min(first, grid.shape[axis] - 1), max(min(last, grid.shape[axis]), 1)), axis)
            rows.append(combine(part, axis=axis))
        grid = np.stack(rows, axis)
    return grid


def voxels_of(made: Pass, blocks: Grid) -> int:
    """How many voxels some blocks of a pass have, as a bool grid tells them, in all its outputs."""
    return sum(made.voxels(output, blocks) for output in made.outputs)
