"""Which blocks of a job are to be done: those in the roi that are not done yet, not known to be empty and not masked out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import TreeError
from ..model.absent import Box, boxes_with_voxels, known_chunks
from ..model.evaluate import evaluate
from ..model.meta import Region
from ..model.plan import Plan
from ..storage.journal import Grid
from .geometry import Pass
from .state import State


@attrs.frozen(eq=False)
class Schedule:
    """Bool grids of the blocks of each pass, by its name.

    Attributes:
        chosen: The blocks that the roi touches. In a level of a pyramid: the blocks all of whose blocks below are chosen,
            done or empty.
        active: The blocks that are not known to be empty.
        before: The blocks that were done in earlier runs and are still right.
    """

    passes: tuple[Pass, ...]
    chosen: Mapping[str, Grid]
    active: Mapping[str, Grid]
    before: Mapping[str, Grid]

    def missing(self, name: str) -> Grid:
        """The blocks of a pass that a run has to do."""
        return self.active[name] & self.chosen[name] & ~self.before[name]

    def empty(self, name: str) -> Grid:
        """The blocks within the roi that are known to be empty."""
        return self.chosen[name] & ~self.active[name]

    def done_before(self, name: str) -> Grid:
        """The blocks within the roi that are done already."""
        return self.chosen[name] & self.active[name] & self.before[name]

    def count(self, kind: Callable[[str], Grid]) -> int:
        """How many blocks of all passes are of a kind: a function from the name of a pass to a bool grid."""
        return sum(int(kind(pass_.name).sum()) for pass_ in self.passes)


def touched(pass_: Pass, roi: Roi | None) -> tuple[slice, ...]:
    """The blocks of a pass that a roi touches, as slices of the grid."""
    if roi is None:
        return tuple(slice(0, n) for n in pass_.grid)
    if all(output.meta.region.intersect(Region.of(roi)).empty for output in pass_.outputs):
        return tuple(slice(0, 0) for _ in pass_.grid)
    return pass_.blocks_touching(Region.of(roi))


def require_touched(passes: Sequence[Pass], roi: Roi | None) -> None:
    """Raises TreeError if a roi touches no output or has another number of axes."""
    if roi is None:
        return
    for pass_ in passes:
        if roi.dims != len(pass_.grid):
            raise TreeError(
                "the roi does not fit the outputs", found=f"{roi.dims} spatial axes", allowed=f"{len(pass_.grid)}"
            )
    if all(any(part.start == part.stop for part in touched(pass_, roi)) for pass_ in passes):
        raise TreeError(
            "the roi does not touch the outputs",
            found=Region.of(roi),
            allowed=", ".join(f"{o.dataset} {o.meta.region}" for pass_ in passes for o in pass_.outputs),
        )


def make_schedule(passes: Sequence[Pass], roi: Roi | None, active: Mapping[str, Grid], state: State | None) -> Schedule:
    """The schedule of a job.

    Args:
        passes: All passes of the job. The pass of a level of a pyramid stands after the pass that it reads.
        roi: The region to write; None for all blocks.
        active: For some passes a bool grid of the blocks that are not known to be empty.
        state: The records of the job; None if no block is done.
    """
    chosen: dict[str, Grid] = {}
    actives: dict[str, Grid] = {}
    before: dict[str, Grid] = {}
    stale: dict[str, Grid] = {}
    for pass_ in passes:
        before[pass_.name] = np.zeros(pass_.grid, bool) if state is None else state.done(pass_)
        if pass_.level is None:
            chosen[pass_.name] = np.zeros(pass_.grid, bool)
            chosen[pass_.name][touched(pass_, roi)] = True
            actives[pass_.name] = active.get(pass_.name, np.ones(pass_.grid, bool))
            stale[pass_.name] = chosen[pass_.name] & actives[pass_.name] & ~before[pass_.name]
        else:
            below = next(other for other in passes if other.name == pass_.level.after)
            # a block of a level is computed again after a block below it
            stale[pass_.name] = combine_below(pass_, below, stale[below.name], np.any)
            before[pass_.name] &= ~stale[pass_.name]
            # a block of a level is left to the run that completes all blocks below it
            ready = chosen[below.name] | before[below.name] | ~actives[below.name]
            chosen[pass_.name] = combine_below(pass_, below, ready, np.all)
            actives[pass_.name] = combine_below(pass_, below, actives[below.name], np.any)
    return Schedule(tuple(passes), chosen, actives, before)


def combine_below(pass_: Pass, below: Pass, grid: Grid, combine: Callable[..., Any]) -> Grid:
    """For each block of a pass: ``combine`` (np.any or np.all) of the values of the blocks that it covers in the pass below."""
    for axis, count in enumerate(pass_.grid):
        rows = []
        for i in range(count):
            begin = pass_.begin[axis] + i * pass_.block[axis]
            first = max(0, (begin - below.begin[axis]) // below.block[axis])
            last = -((below.begin[axis] - begin - pass_.block[axis]) // below.block[axis])
            part = grid.take(range(min(first, grid.shape[axis] - 1), max(min(last, grid.shape[axis]), 1)), axis)
            rows.append(combine(part, axis=axis))
        grid = np.stack(rows, axis)
    return grid


def voxels_of(pass_: Pass, blocks: Grid) -> int:
    """How many voxels of all outputs lie in the blocks of a pass that are True in a bool grid."""
    return sum(pass_.voxels(output, blocks) for output in pass_.outputs)


def not_empty(plan: Plan, pass_: Pass) -> Grid:
    """A bool grid of the blocks of a pass that may have values other than 0; no voxel is read."""
    indices = {output: plan.outputs[output.dataset] for output in pass_.outputs}

    def regions(box: Box) -> list[tuple[int, Region]]:
        return [(indices[output], part) for output, part in pass_.parts_in(_region_of_box(pass_, box))]

    stored = known_chunks(plan, list(indices.values()))
    return _grid_of_boxes(pass_, boxes_with_voxels(plan, stored, pass_.grid, regions))


def _grid_of_boxes(pass_: Pass, boxes: Iterable[Box]) -> Grid:
    grid = np.zeros(pass_.grid, bool)
    for box in boxes:
        grid[tuple(slice(part.start, part.stop) for part in box)] = True
    return grid


def _region_of_box(pass_: Pass, box: Box) -> Region:
    return pass_.region([part[0] for part in box]).union(pass_.region([part[-1] for part in box]))


def within_mask(plan: Plan, pass_: Pass) -> Grid:
    """A bool grid of the blocks of a pass in which a mask is not 0 everywhere.

    The mask is the only output of its plan. It is read block by block, where its chunks exist.
    """
    (index,) = plan.outputs.values()
    meta = plan.steps[index].meta

    def regions(box: Box) -> list[tuple[int, Region]]:
        # complete voxels of the mask, because they may be larger than a block
        part = _region_of_box(pass_, box).snap([int(v) for v in meta.voxel_size], meta.origin).intersect(meta.region)
        return [] if part.empty else [(index, part)]

    grid = _grid_of_boxes(pass_, boxes_with_voxels(plan, known_chunks(plan, [index]), pass_.grid, regions))
    inside = np.zeros(pass_.grid, bool)
    inside[pass_.blocks_touching(meta.region)] = True
    for block in np.argwhere(grid & inside).tolist():
        wanted = regions(tuple(range(i, i + 1) for i in block))
        inside[tuple(block)] = any(voxels.any() for voxels in evaluate(plan, wanted))
    return grid & inside
