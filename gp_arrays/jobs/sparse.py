"""Blocks that need no work: proven empty by absent chunks, or left out by a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import GpArraysError
from ..model.evaluate import evaluate, run_step
from ..model.meta import Block, Meta, Region
from ..model.opened import Stored
from ..model.plan import Plan, Step
from ..model.tasks import contexts, make_tasks
from .geometry import Pass

Grid = np.ndarray[Any, Any]
#: Present chunks, by the step of the source, that may matter to a box of blocks.
Near = dict[int, np.ndarray[Any, Any]]


def not_empty(plan: Plan, made: Pass) -> Grid:
    """Which blocks of a pass may hold anything but 0, as a bool grid; no voxel is read.

    A block is empty if all that it is made from lies in absent chunks and such
    voxels give 0. Boxes of blocks are halved until each is empty or a single block, so
    the cost grows with the blocks that are not, rather than with all.
    """
    known = _known(plan)
    if not all(_gives_zero(plan, plan.outputs[output.dataset], known) for output in made.outputs):
        return np.ones(made.grid, bool)
    near = {i: _spatial(plan.steps[i], found) for i, found in known.items()}

    def look(box: Any, near: Near) -> Near | None:
        wanted = [(plan.outputs[output.dataset], part) for output, part in made.wanted(_box(made, box))]
        return _near(plan, wanted, near, known)

    return search(made.grid, near, look)


def search(grid: Sequence[int], near: Near, look: Any) -> Grid:
    """Halve the grid until ``look(box, near)`` finds nothing (None), or a box is one block."""
    found = np.zeros(tuple(grid), bool)
    boxes = [(tuple((0, n) for n in grid), near)]
    while boxes:
        box, near = boxes.pop()
        there = look(box, near)
        if there is None:
            continue
        axis = max(range(len(box)), key=lambda i: box[i][1] - box[i][0])
        low, high = box[axis]
        if high - low == 1:
            found[tuple(slice(a, b) for a, b in box)] = True
            continue
        middle = (low + high) // 2
        boxes.append(((*box[:axis], (low, middle), *box[axis + 1 :]), there))
        boxes.append(((*box[:axis], (middle, high), *box[axis + 1 :]), there))
    return found


def _near(plan: Plan, wanted: Sequence[tuple[int, Region]], near: Near, known: Mapping[int, Stored]) -> Near | None:
    """The present chunks that some regions are made from, None where there are none."""
    needed = make_tasks(plan, wanted).regions()
    found: Near = {}
    anything = False
    for i, step in enumerate(plan.steps):
        if step.opened is None or i not in needed:
            continue
        if i not in known:
            anything = True
            continue
        keep = np.zeros(len(near[i]), bool)
        for region in needed[i]:
            low, high = _chunks_of(step, known[i], plan.unit, region)
            keep |= ((near[i] >= low) & (near[i] < high)).all(axis=1)
        found[i] = near[i][keep]
        anything |= bool(keep.any())
    # a source that is not needed for a box is not needed for a part of it
    return {**near, **found} if anything else None


def _box(made: Pass, box: Any) -> Region:
    return made.region([a for a, _ in box]).union(made.region([b - 1 for _, b in box]))


def _spatial(step: Step, found: Stored) -> np.ndarray[Any, Any]:
    assert step.opened is not None
    rows: np.ndarray[Any, Any] = np.unique(found.index[:, len(step.opened.nonspatial) :], axis=0)
    return rows


def _chunks_of(step: Step, found: Stored, unit: str, region: Region) -> tuple[list[int], list[int]]:
    """The range of chunks that a region touches, along the spatial axes."""
    assert step.opened is not None
    lead = len(step.opened.nonspatial)
    index = step.opened.index_of(region.whole(), step.meta, unit)[lead:]
    sizes = found.size[lead:]
    return (
        [part.start // size for part, size in zip(index, sizes, strict=True)],
        [-(-part.stop // size) for part, size in zip(index, sizes, strict=True)],
    )


def _gives_zero(plan: Plan, output: int, known: Mapping[int, Stored]) -> bool:
    """Whether an output is 0 where all the sources that it reads are absent."""
    values: dict[int, Any] = {}

    def value(index: int) -> Any:
        if index not in values:
            values[index] = _constant(plan, index, known, value)
        return values[index]

    try:
        found = value(output)
    except GpArraysError:
        return False
    return found is not None and not np.any(found)


def _constant(plan: Plan, index: int, known: Mapping[int, Stored], value: Any) -> Any:
    """One voxel of a step over absent chunks, with all its channels; None where there is no telling."""
    step = plan.steps[index]
    if step.opened is not None:
        return np.full(_one(step.meta), known[index].fill, step.meta.dtype) if index in known else None
    if not step.config.keeps_constant:
        return None
    region = _voxel(step.meta)
    blocks: list[Block | None] = []
    for part, source in zip(contexts(plan, index, region), step.sources, strict=True):
        if part is None:
            blocks.append(None)
            continue
        below = value(source)
        if below is None:
            return None
        meta = plan.steps[source].meta
        whole = part.whole()
        data = np.broadcast_to(below, meta.shape_of(whole))
        blocks.append(Block(Block(data, whole, meta).crop(part), part, meta))
    return run_step(step, region, blocks, lambda: plan.path(index))


def _one(meta: Meta) -> tuple[int, ...]:
    return tuple(axis.size for axis in meta.nonspatial or ()) + (1,) * meta.dims


def _voxel(meta: Meta) -> Region:
    begin = meta.region.begin
    return Region(begin, tuple(b + int(v) for b, v in zip(begin, meta.voxel_size, strict=True)))


def within_mask(plan: Plan, made: Pass) -> Grid:
    """Which blocks of a pass a mask reaches: those where it is not 0 throughout.

    The mask is the one output of its plan. It is read block by block, where its chunks exist.
    """
    (index,) = plan.outputs.values()
    meta = plan.steps[index].meta
    known = _known(plan)
    provable = _gives_zero(plan, index, known)
    near = {i: _spatial(plan.steps[i], found) for i, found in known.items()}

    def look(box: Any, near: Near) -> Near | None:
        # whole voxels of the mask, those at the edges included
        part = _box(made, box).snap([int(v) for v in meta.voxel_size], meta.origin).intersect(meta.region)
        found = None if part.empty else _near(plan, [(index, part)], near, known) if provable else near
        if found is not None and all(b - a == 1 for a, b in box) and not evaluate(plan, [(index, part)])[0].any():
            return None
        return found

    return search(made.grid, near, look)


def _known(plan: Plan) -> dict[int, Stored]:
    """The sources of which it is known which chunks exist."""
    stored = {i: step.opened.stored() for i, step in enumerate(plan.steps) if step.opened is not None}
    return {i: found for i, found in stored.items() if found is not None and found.fill is not None}
