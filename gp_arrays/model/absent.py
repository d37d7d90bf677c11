"""What absent chunks prove: where an array is 0 without a voxel being read."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ..errors import GpArraysError
from .cache import reading_once
from .evaluate import run_step
from .meta import Block, Region, Voxels
from .opened import Stored
from .plan import Plan, Step
from .tasks import contexts, make_tasks

T = TypeVar("T")

#: Present chunks, by the step of the source, that may matter to a box of blocks.
Near = dict[int, Voxels]
#: The range of blocks along each axis.
Box = tuple[tuple[int, int], ...]


def search(grid: Sequence[int], near: Near, look: Callable[[Box, Near], Near | None]) -> Iterator[tuple[int, ...]]:
    """The blocks of a grid for which ``look`` does not return None.

    Boxes of blocks are halved until ``look(box, near)`` returns None, or a box is one block: the cost grows with the
    blocks that are returned, not with all blocks.
    """
    boxes: list[tuple[Box, Near]] = [(tuple((0, n) for n in grid), near)]
    while boxes:
        box, near = boxes.pop()
        nearer = look(box, near)
        if nearer is None:
            continue
        axis = max(range(len(box)), key=lambda i: box[i][1] - box[i][0])
        low, high = box[axis]
        if high - low == 1:
            yield tuple(a for a, _ in box)
            continue
        middle = (low + high) // 2
        boxes.append(((*box[:axis], (middle, high), *box[axis + 1 :]), nearer))
        boxes.append(((*box[:axis], (low, middle), *box[axis + 1 :]), nearer))


def chunks_below(plan: Plan, known: Mapping[int, Stored]) -> Near:
    """The present chunks of all sources, along their spatial axes."""
    return {i: _spatial(plan.steps[i], stored) for i, stored in known.items()}


def near_chunks(
    plan: Plan, wanted: Sequence[tuple[int, Region]], near: Near, known: Mapping[int, Stored]
) -> Near | None:
    """The present chunks that some regions are computed from; None if there are none."""
    needed = make_tasks(plan, wanted).regions()
    nearer: Near = {}
    anything = False
    for i, step in enumerate(plan.steps):
        if step.opened is None or i not in needed:
            continue
        if i not in known:
            anything = True
            continue
        touched = np.zeros(len(near[i]), bool)
        for region in needed[i]:
            low, high = _chunks_of(step, known[i], plan.unit, region)
            touched |= ((near[i] >= low) & (near[i] < high)).all(axis=1)
        nearer[i] = near[i][touched]
        anything |= bool(touched.any())
    # a source that is not needed for a box is not needed for a part of it
    return {**near, **nearer} if anything else None


def _spatial(step: Step, stored: Stored) -> Voxels:
    assert step.opened is not None
    lead = len(step.opened.nonspatial)
    rows: Voxels = np.unique(stored.index[:, lead:], axis=0) if lead else stored.index
    return rows


def _chunks_of(step: Step, stored: Stored, unit: str, region: Region) -> tuple[list[int], list[int]]:
    """The range of chunks that a region touches, along the spatial axes."""
    assert step.opened is not None
    lead = len(step.opened.nonspatial)
    index = step.opened.index_of(region.whole(), step.meta, unit)[lead:]
    sizes = stored.size[lead:]
    return (
        [part.start // size for part, size in zip(index, sizes, strict=True)],
        [-(-part.stop // size) for part, size in zip(index, sizes, strict=True)],
    )


def gives_zero(plan: Plan, output: int, known: Mapping[int, Stored]) -> bool:
    """True if an output is 0 where the chunks of all the sources that it reads are absent."""
    values: dict[int, Any] = {}

    def value(index: int) -> Any:
        if index not in values:
            values[index] = _constant(plan, index, known, value)
        return values[index]

    try:
        constant = value(output)
    except GpArraysError:
        return False
    return constant is not None and not np.any(constant)


def _constant(plan: Plan, index: int, known: Mapping[int, Stored], value: Any) -> Any:
    """One voxel of a step over absent chunks, with all its channels; None where that is not known."""
    step = plan.steps[index]
    region = step.meta.region_at([(0, 1)] * step.meta.dims)
    if step.opened is not None:
        return np.full(step.meta.shape_of(region), known[index].fill, step.meta.dtype) if index in known else None
    if not step.config.keeps_constant:
        return None
    blocks: list[Block | None] = []
    for part, source in zip(contexts(plan, index, region), step.sources, strict=True):
        if part is None:
            blocks.append(None)
            continue
        below = value(source)
        if below is None:
            return None
        meta = plan.steps[source].meta
        region_below = part.whole()
        data = np.broadcast_to(below, meta.shape_of(region_below))
        blocks.append(Block(Block(data, region_below, meta).crop(part), part, meta))
    return run_step(step, region, blocks, lambda: plan.path(index))


def known_chunks(plan: Plan) -> dict[int, Stored]:
    """The sources of which it is known which chunks exist."""
    stored = {i: step.opened.stored() for i, step in enumerate(plan.steps) if step.opened is not None}
    return {i: chunks for i, chunks in stored.items() if chunks is not None and chunks.fill is not None}


def nonzero_blocks(plan: Plan, index: int, multiple: Sequence[int], limit: int) -> Iterator[Region]:
    """Regions that cover all voxels of a step which may be other than 0; no voxel is read.

    Args:
        plan: The compiled tree.
        index: The step.
        multiple: The size of a region is a multiple of it, in voxels along each spatial axis, save at the far edges.
        limit: About the most voxels of a region; one chunk may be more.
    """
    meta = plan.steps[index].meta
    known = known_chunks(plan)
    provable = gives_zero(plan, index, known)
    # where chunks may be absent a smaller region holds less of them
    block = block_shape(plan, index, multiple, limit // 8 if provable else limit)

    def region(box: Box) -> Region:
        ranges = [(low * n, high * n) for (low, high), n in zip(box, block, strict=True)]
        return meta.region_at(ranges).intersect(meta.region)

    def look(box: Box, near: Near) -> Near | None:
        return near_chunks(plan, [(index, region(box))], near, known) if provable else near

    grid = [-(-n // b) for n, b in zip(meta.spatial_shape, block, strict=True)]
    for at in search(grid, chunks_below(plan, known), look):
        yield region(tuple((i, i + 1) for i in at))


def block_shape(plan: Plan, index: int, multiple: Sequence[int], limit: int) -> tuple[int, ...]:
    """Voxels of a block to read at once: whole chunks of the sources where they fit, of the first at least.

    Args:
        plan: The compiled tree.
        index: The step.
        multiple: Voxels that the block is to be a multiple of, along each spatial axis.
        limit: About the most voxels of a block; one chunk may be more.
    """
    meta = plan.steps[index].meta
    chunks = [step.opened.chunks for step in plan.steps if step.opened is not None and step.opened.chunks is not None]
    size = [math.lcm(m, *(c[i - meta.dims] for c in chunks)) for i, m in enumerate(multiple)]
    if math.prod(size) > limit and chunks:
        # a smaller block would read each chunk many times
        size = [-(-chunks[0][i - meta.dims] // m) * m for i, m in enumerate(multiple)]
    full = [-(-n // m) * m for n, m in zip(meta.spatial_shape, multiple, strict=True)]
    size = [min(s, f) for s, f in zip(size, full, strict=True)]
    # about as long along each axis: of a long and thin block more is read in vain where chunks are absent
    growing = [axis for axis in range(meta.dims) if size[axis] < full[axis]]
    while growing and 2 * math.prod(size) <= limit:
        axis = min(growing, key=lambda i: size[i])
        size[axis] *= 2
        growing = [i for i in growing if size[i] < full[i]]
    return tuple(min(s, f) for s, f in zip(size, full, strict=True))


def map_blocks(
    plan: Plan, index: int, multiple: Sequence[int], limit: int, function: Callable[[Region], T], num_workers: int
) -> Iterator[T]:
    """The results of a function for each of ``nonzero_blocks``, in their order; ``num_workers`` threads call it."""
    running: collections.deque[Future[T]] = collections.deque()
    executor = ThreadPoolExecutor(num_workers)
    try:
        for region in nonzero_blocks(plan, index, multiple, limit):
            running.append(executor.submit(_once, function, region))
            # so many are ahead that no thread waits, and no more are held in memory
            if len(running) > 2 * num_workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _once(function: Callable[[Region], T], region: Region) -> T:
    with reading_once():
        return function(region)
