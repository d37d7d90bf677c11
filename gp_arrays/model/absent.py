"""What absent chunks prove: where an array is 0 without a voxel being read."""

from __future__ import annotations

import collections
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ..errors import GpArraysError
from .cache import reading_once
from .evaluate import contexts, evaluate, make_tasks, run_step
from .meta import Block, Region, Voxels
from .opened import Stored
from .plan import Plan, Step

T = TypeVar("T")

#: Values that each thread of ``map_blocks`` reads at once, about.
BLOCK = 2**21

#: The present chunks of sources, by the index of the source's step, along its spatial axes.
Chunks = dict[int, Voxels]
#: The blocks of a box, along each axis.
Box = tuple[range, ...]


def boxes_with_voxels(
    plan: Plan,
    stored: Mapping[int, Stored] | None,
    grid: Sequence[int],
    regions: Callable[[Box], Sequence[tuple[int, Region]]],
) -> Iterator[Box]:
    """Boxes of blocks that may hold a value other than 0: outside of them some steps are 0. No voxel is read.

    A block is left out if all its sources are absent chunks there, and such voxels give 0. Boxes of blocks are halved
    until each is left out or a single block: the cost grows with the blocks that are not, not with all blocks.

    Args:
        plan: The compiled tree.
        stored: The ``known_chunks`` of the steps.
        grid: The number of blocks along each axis.
        regions: The regions of the steps that a box covers. Without any the box is left out.
    """
    every_block = tuple(range(n) for n in grid)
    if stored is None:
        yield every_block
        return
    boxes = [(every_block, {i: _spatial(plan.steps[i], chunks) for i, chunks in stored.items()})]
    while boxes:
        box, around = boxes.pop()
        chunks = _chunks_of_regions(plan, regions(box), around, stored)
        if chunks is None:
            continue
        axis = max(range(len(box)), key=lambda i: len(box[i]))
        half = len(box[axis]) // 2
        if not half:
            yield box
            continue
        boxes += [((*box[:axis], part, *box[axis + 1 :]), chunks) for part in (box[axis][half:], box[axis][:half])]


def _chunks_of_regions(
    plan: Plan, regions: Sequence[tuple[int, Region]], around: Chunks, stored: Mapping[int, Stored]
) -> Chunks | None:
    """Those of the chunks ``around`` that some regions are computed from; None if all of theirs are absent."""
    chunks = dict(around)
    all_absent = True
    for i, needed in make_tasks(plan, regions).regions().items():
        step = plan.steps[i]
        if i in stored:
            touched = np.zeros(len(around[i]), bool)
            for region in needed:
                low, high = _range_of_chunks(step, stored[i], plan.unit, region)
                touched |= ((around[i] >= low) & (around[i] < high)).all(axis=1)
            chunks[i] = around[i][touched]
            all_absent &= not touched.any()
        elif step.opened is not None:
            all_absent = False
    # a source that is not needed for a box is not needed for a part of it
    return None if all_absent else chunks


def _spatial(step: Step, stored: Stored) -> Voxels:
    assert step.opened is not None
    lead = len(step.opened.nonspatial)
    rows: Voxels = np.unique(stored.index[:, lead:], axis=0) if lead else stored.index
    return rows


def _range_of_chunks(step: Step, stored: Stored, unit: str, region: Region) -> tuple[list[int], list[int]]:
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
    value = functools.cache(lambda index: _constant(plan, index, known, value))
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


def known_chunks(plan: Plan, indices: Sequence[int]) -> dict[int, Stored] | None:
    """The chunks that exist, of each source that tells; None unless some steps are 0 where they are absent."""
    listed = {i: step.opened.stored() for i, step in enumerate(plan.steps) if step.opened is not None}
    stored = {i: chunks for i, chunks in listed.items() if chunks is not None and chunks.fill is not None}
    return stored if all(gives_zero(plan, index, stored) for index in indices) else None


def nonzero_blocks(plan: Plan, index: int, multiple: Sequence[int], limit: int) -> Iterator[Region]:
    """Regions that cover all voxels of a step which may be other than 0; no voxel is read.

    Args:
        plan: The compiled tree.
        index: The step.
        multiple: The size of a region is a multiple of it, in voxels along each spatial axis, save at the far edges.
        limit: About the most voxels of a region; one chunk may be more.
    """
    meta, stored = plan.steps[index].meta, known_chunks(plan, [index])
    # where chunks may be absent a smaller region holds less of them
    block = block_shape(plan, index, multiple, limit if stored is None else limit // 8)

    def region(box: Box) -> Region:
        ranges = [(part.start * n, part.stop * n) for part, n in zip(box, block, strict=True)]
        return meta.region_at(ranges).intersect(meta.region)

    grid = [-(-n // b) for n, b in zip(meta.spatial_shape, block, strict=True)]
    for box in boxes_with_voxels(plan, stored, grid, lambda box: [(index, region(box))]):
        for position in itertools.product(*box):
            yield region(tuple(range(i, i + 1) for i in position))


def block_shape(plan: Plan, index: int, multiple: Sequence[int], limit: int) -> tuple[int, ...]:
    """The shape of a block to read at once: whole chunks of all sources if they fit, else of the first source.

    Args:
        plan: The compiled tree.
        index: The step.
        multiple: The shape is a multiple of it, in voxels along each spatial axis.
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
    # about as long along each axis: a long and thin block reaches more chunks that need not be read
    growing = [axis for axis in range(meta.dims) if size[axis] < full[axis]]
    while growing and 2 * math.prod(size) <= limit:
        axis = min(growing, key=lambda i: size[i])
        size[axis] *= 2
        growing = [i for i in growing if size[i] < full[i]]
    return tuple(min(s, f) for s, f in zip(size, full, strict=True))


def map_blocks(
    plan: Plan,
    index: int,
    function: Callable[[Region, Voxels], T],
    num_workers: int,
    multiple: Sequence[int] | None = None,
) -> Iterator[T]:
    """The results of a function for all blocks of a step that may hold a value other than 0, in the order of the blocks.

    Args:
        plan: The compiled tree.
        index: The step.
        function: Called with the region of a block and its voxels, by several threads.
        num_workers: How many threads read blocks and call it.
        multiple: As in ``nonzero_blocks``.
    """

    def run(region: Region) -> T:
        with reading_once():
            (voxels,) = evaluate(plan, [(index, region)])
        return function(region, voxels)

    meta = plan.steps[index].meta
    limit = BLOCK // math.prod(axis.size for axis in meta.nonspatial or ())
    running: collections.deque[Future[T]] = collections.deque()
    executor = ThreadPoolExecutor(num_workers)
    try:
        for region in nonzero_blocks(plan, index, multiple or (1,) * meta.dims, limit):
            running.append(executor.submit(run, region))
            # so many are ahead that no thread waits, and no more are held in memory
            if len(running) > 2 * num_workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
