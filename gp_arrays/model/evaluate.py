"""Direct evaluation of a plan: which regions are needed, then the voxels.

It keeps no state, so several threads may evaluate one plan at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import ComputeError, GpArraysError, RequestError
from .meta import Block, Region
from .plan import Plan, Step

Array = np.ndarray[Any, Any]


def demands(plan: Plan, wanted: Iterable[tuple[int, Region]]) -> list[list[Region]]:
    """The regions of every step that the wanted ones need, disjoint where that saves work.

    A region that several consumers want is computed once; regions far apart stay apart.
    """
    needed: list[list[Region]] = [[] for _ in plan.steps]
    for index, region in wanted:
        needed[index].append(region)
    for index in reversed(range(len(plan.steps))):
        if not needed[index]:
            continue
        step = plan.steps[index]
        if not step.config.supports_channel_subset:
            needed[index] = [region.whole() for region in needed[index]]
        needed[index] = coalesce(needed[index], step)
        for region in needed[index]:
            for source, part in zip(step.sources, contexts(plan, index, region), strict=True):
                if part is not None:
                    needed[source].append(part)
    return needed


def contexts(plan: Plan, index: int, region: Region) -> list[Region | None]:
    """What a step needs of each of its sources for a region."""
    step = plan.steps[index]
    metas = plan.metas(step)
    parts = list(step.config.context(region, step.meta, metas))
    for meta, part, source in zip(metas, parts, step.sources, strict=True):
        if part is not None and (not meta.region.contains(part.whole()) or not meta.on_grid(part)):
            raise ComputeError(
                f"{type(step.config).__name__} asks for a region that its source "
                f"{plan.steps[source].config.name} does not have",
                found=part,
                allowed=f"within {meta.region}, on its voxel grid",
                path=plan.path(index),
            )
    return parts


def coalesce(regions: list[Region], step: Step) -> list[Region]:
    """Merge regions of one step where one box costs no more than the parts.

    Of a chunked source also those that touch the same chunk, so that none is read twice.
    """
    merged: list[Region] = []
    for region in regions:
        # a union may reach others in turn, so start over with it until nothing joins
        joined = True
        while joined:
            joined = False
            for other in merged:
                if other.contains(region):
                    region = other
                elif not _belong_together(region, other, step):
                    continue
                merged.remove(other)
                region, joined = region.union(other), True
                break
        merged.append(region)
    return merged


def _belong_together(a: Region, b: Region, step: Step) -> bool:
    meta, union = step.meta, a.union(b)
    if meta.bytes_of(union) <= meta.bytes_of(a) + meta.bytes_of(b):
        return True
    if step.opened is None or step.opened.chunks is None:
        return False
    spatial = step.opened.chunks[len(step.opened.nonspatial) :]
    grid = [c * v for c, v in zip(spatial, meta.voxel_size, strict=True)]
    origin = [int(quantity.to(meta.unit)) for quantity in step.opened.offset]
    if a.snap(grid, origin).intersect(b.snap(grid, origin)).empty:
        return False
    lead = step.opened.chunks[: len(step.opened.nonspatial)]
    return all(
        max(p // c, r // c) < min(-(-q // c), -(-s // c))
        for (p, q), (r, s), c in zip(meta.nonspatial_ranges(a), meta.nonspatial_ranges(b), lead, strict=True)
    )


def evaluate(plan: Plan, wanted: Sequence[tuple[int, Region]]) -> list[Array]:
    """The voxels of some regions of some steps.

    Args:
        plan: The compiled tree.
        wanted: Steps, each with a region of it.

    Returns:
        The voxels of each: an array of its own, writable and contiguous.
    """
    needed = demands(plan, wanted)
    blocks: list[list[Block]] = [[] for _ in plan.steps]
    last_use = _last_uses(plan, needed, {index for index, _ in wanted})
    for index, step in enumerate(plan.steps):
        for region in needed[index]:
            blocks[index].append(Block(_compute(plan, index, region, blocks), region, step.meta))
        for done in last_use.get(index, ()):
            blocks[done] = []
    results: list[Array] = []
    for index, region in wanted:
        results.append(owned(covering(blocks[index], region).crop(region), results))
    return results


def _last_uses(plan: Plan, needed: list[list[Region]], wanted: set[int]) -> dict[int, list[int]]:
    last: dict[int, int] = {}
    for index, step in enumerate(plan.steps):
        if needed[index]:
            for source in step.sources:
                last[source] = index
    uses: dict[int, list[int]] = {}
    for source, index in last.items():
        if source not in wanted:
            uses.setdefault(index, []).append(source)
    return uses


def _compute(plan: Plan, index: int, region: Region, blocks: list[list[Block]]) -> Array:
    step = plan.steps[index]
    try:
        if step.opened is not None:
            return check(step.opened.read(step.opened.index_of(region, step.meta, plan.unit)), step, region)
        parts = [
            None if part is None else Block(covering(blocks[source], part).crop(part), part, plan.steps[source].meta)
            for source, part in zip(step.sources, contexts(plan, index, region), strict=True)
        ]
        return check(step.config.compute(region, step.meta, plan.metas(step), parts), step, region)
    except GpArraysError as error:
        raise plan.place(error, index) from error.__cause__
    except MemoryError:
        raise
    except Exception as error:
        problem = f"{type(error).__name__} in {region}: {error}"
        raise ComputeError(problem, path=plan.path(index)) from error


def check(data: Array, step: Step, region: Region) -> Array:
    """``data``, if it is what the step announced."""
    shape, dtype = step.meta.shape_of(region), step.meta.dtype
    if data.shape != shape or data.dtype != dtype:
        raise ComputeError(
            "delivered is not what was announced", found=f"{data.dtype}{data.shape}", allowed=f"{dtype}{shape}"
        )
    return data


def covering(blocks: list[Block], region: Region) -> Block:
    """The block that holds all of a region."""
    for block in blocks:
        if block.region.contains(region):
            return block
    raise RequestError("no block covers the region", found=region)


def owned(data: Array, others: Iterable[Array] = ()) -> Array:
    """``data``, copied unless it is contiguous, writable and shares no memory with anything."""
    own = data.base is None and data.flags.writeable and data.flags.c_contiguous
    if own and not any(np.may_share_memory(data, other) for other in others):
        return data
    return np.array(data, order="C", copy=True)
