"""Blocks that need no work: proven empty by absent chunks, or left out by a mask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..model.absent import Box, Near, chunks_below, gives_zero, known_chunks, near_chunks, search
from ..model.evaluate import evaluate
from ..model.meta import Region
from ..model.plan import Plan
from .geometry import Pass

Grid = np.ndarray[Any, Any]


def not_empty(plan: Plan, pass_: Pass) -> Grid:
    """Which blocks of a pass may hold anything but 0, as a bool grid; no voxel is read.

    A block is empty if all that it is made from lies in absent chunks and such
    voxels give 0. Boxes of blocks are halved until each is empty or a single block, so
    the cost grows with the blocks that are not, rather than with all.
    """
    known = known_chunks(plan)
    if not all(gives_zero(plan, plan.outputs[output.dataset], known) for output in pass_.outputs):
        return np.ones(pass_.grid, bool)
    near = chunks_below(plan, known)

    def look(box: Box, near: Near) -> Near | None:
        wanted = [(plan.outputs[output.dataset], part) for output, part in pass_.wanted(_box(pass_, box))]
        return near_chunks(plan, wanted, near, known)

    return _marked(pass_, search(pass_.grid, near, look))


def _marked(pass_: Pass, blocks: Iterable[tuple[int, ...]]) -> Grid:
    grid = np.zeros(pass_.grid, bool)
    for block in blocks:
        grid[block] = True
    return grid


def _box(pass_: Pass, box: Box) -> Region:
    return pass_.region([a for a, _ in box]).union(pass_.region([b - 1 for _, b in box]))


def within_mask(plan: Plan, pass_: Pass) -> Grid:
    """Which blocks of a pass a mask reaches: those where it is not 0 throughout.

    The mask is the one output of its plan. It is read block by block, where its chunks exist.
    """
    (index,) = plan.outputs.values()
    meta = plan.steps[index].meta
    known = known_chunks(plan)
    provable = gives_zero(plan, index, known)
    near = chunks_below(plan, known)

    def look(box: Box, near: Near) -> Near | None:
        # whole voxels of the mask, those at the edges included
        part = _box(pass_, box).snap([int(v) for v in meta.voxel_size], meta.origin).intersect(meta.region)
        found = None if part.empty else near_chunks(plan, [(index, part)], near, known) if provable else near
        if found is not None and all(b - a == 1 for a, b in box) and not evaluate(plan, [(index, part)])[0].any():
            return None
        return found

    return _marked(pass_, search(pass_.grid, near, look))
