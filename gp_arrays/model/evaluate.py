"""Evaluation: what a request computes is decided as tasks, and running them is the only way to voxels.

Nothing is kept between requests, so several threads may evaluate one plan at once.
"""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import attrs
import numpy as np

from ..errors import ComputeError, GpArraysError
from .meta import Block, Region, Voxels
from .plan import Plan, Step
from .threads import run_each


def evaluate(plan: Plan, requests: Sequence[tuple[int, Region]]) -> list[Voxels]:
    """The voxels of some regions of some steps.

    Args:
        plan: The compiled tree.
        requests: Indices of steps, each with a region of it.

    Returns:
        The voxels of each region: an array of its own, writable and contiguous.
    """
    return run(make_tasks(plan, requests))


def run(tasks: Tasks, provided: Mapping[int, Block] | None = None) -> list[Voxels]:
    """The voxels of the requested regions, as ``evaluate`` returns them.

    A result is dropped after the last task that reads it.

    Args:
        tasks: What to compute.
        provided: Voxels of steps that are neither read nor computed here, by index, such as those of a gunpowder batch.
    """
    blocks: dict[Task, Block] = {}
    last_uses = tasks.last_uses()
    # a thread of the helpers has the context of the caller, which says what is kept
    ahead = [(task, contextvars.copy_context()) for task in tasks.read_ahead(provided or ())]

    def read(item: tuple[Task, contextvars.Context]) -> None:
        blocks[item[0]] = item[1].run(_run_task, tasks.plan, item[0], blocks)

    run_each(read, ahead, remote=True)
    for task in tasks.tasks:
        if provided is not None and task.step in provided:
            block = provided[task.step]
            blocks[task] = Block(block.crop(task.region), task.region, block.meta)
        elif task not in blocks:
            blocks[task] = _run_task(tasks.plan, task, blocks)
        for source in last_uses[task]:
            del blocks[source]
    results: list[Voxels] = []
    for part in tasks.results:
        results.append(owned(blocks[part.task].crop(part.region), results))
    return results


def _run_task(plan: Plan, task: Task, blocks: Mapping[Task, Block]) -> Block:
    step = plan.steps[task.step]
    parts = [
        None if part is None else Block(blocks[part.task].crop(part.region), part.region, meta)
        for part, meta in zip(task.parts, step.source_metas, strict=True)
    ]
    data = run_step(step, task.region, parts, functools.partial(plan.path, task.step))
    return Block(data, task.region, step.meta)


def run_step(step: Step, region: Region, blocks: Sequence[Block | None], path: Callable[[], tuple[str, ...]]) -> Voxels:
    """The voxels of one region of one step: a source is read, any other array type computes.

    Tasks and gunpowder nodes come here, and nothing else reads a source or computes.

    Args:
        step: What to compute. Its meta is complete: dtype and non-spatial axes are known.
        region: Of the step's array, on its voxel grid.
        blocks: For each source of the step, the voxels of the context of the region; None for
            a source that is not read.
        path: Tells the names from the root of the tree down to the step, for errors.

    Raises:
        GpArraysError: With the path. Any other exception of an array type, and voxels of another
            dtype or shape than the meta has, are a ComputeError.
    """
    expected = step.meta.shape_of(region)
    try:
        if region.empty:
            return np.zeros(expected, step.meta.dtype)
        if step.opened is not None:
            data = step.opened.read(step.opened.index_of(region, step.meta, step.meta.unit))
        else:
            data = step.config.compute(region, step.meta, step.source_metas, blocks)
        if data.shape != expected or data.dtype != step.meta.dtype:
            raise ComputeError(
                "the computed voxels do not have the announced dtype and shape",
                found=f"{data.dtype}{data.shape}",
                allowed=f"{step.meta.dtype}{expected}",
            )
        return data
    except GpArraysError as error:
        raise error.at(*path()) from error.__cause__
    except MemoryError:
        raise
    except Exception as error:
        # an array type may be a user's code: whatever it raises is reported with the path in the tree
        raise ComputeError(f"{type(error).__name__} in {region}: {error}", path=path()) from error


def owned(data: Voxels, others: Iterable[Voxels] = ()) -> Voxels:
    """``data``, copied unless it is contiguous, writable and shares no memory with anything."""
    base = data.base
    # a new array that was reshaped: nothing but `data` and this variable refers to its base
    is_alone = isinstance(base, np.ndarray) and base.base is None and sys.getrefcount(base) <= 3
    is_new = base is None or (is_alone and base.nbytes == data.nbytes)
    is_usable = is_new and data.flags.writeable and data.flags.c_contiguous
    if is_usable and not any(np.may_share_memory(data, other) for other in others):
        return data
    return np.array(data, order="C", copy=True)


@attrs.frozen(eq=False)
class Task:
    """One step of a plan, to be computed for one region.

    Attributes:
        step: The index of the step in the plan.
        region: The region to compute.
        parts: For each source of the step, where its voxels come from; None for a source
            that is not read.
    """

    step: int
    region: Region
    parts: list[Part | None] = attrs.field(factory=list)

    @property
    def sources(self) -> list[Task]:
        """The tasks whose results it reads."""
        return [part.task for part in self.parts if part is not None]


@attrs.frozen(eq=False)
class Part:
    """A region of the result of a task."""

    task: Task
    region: Region


@attrs.frozen(eq=False)
class Tasks:
    """All tasks of a request, sources first, and where the requested regions are in their results.

    Tasks that do not read each other are independent of each other.
    """

    plan: Plan
    tasks: Sequence[Task]
    results: Sequence[Part]

    def regions(self) -> dict[int, list[Region]]:
        """The regions that are computed of each step, by its index. Steps that are not needed are absent."""
        regions: dict[int, list[Region]] = {}
        for task in self.tasks:
            regions.setdefault(task.step, []).append(task.region)
        return regions

    def last_uses(self) -> dict[Task, set[Task]]:
        """For each task, the results that no later task reads and that were not requested."""
        read_later = {part.task for part in self.results}
        last_uses: dict[Task, set[Task]] = {}
        for task in reversed(self.tasks):
            last_uses[task] = set(task.sources) - read_later
            read_later.update(task.sources)
        return last_uses

    def read_ahead(self, provided: Container[int] = ()) -> list[Task]:
        """Reads of remote stores that are done side by side, before all else; none where there is but one."""
        tasks = [task for task in self.tasks if task.step not in provided and self._is_remote(task)]
        return tasks if len(tasks) > 1 else []

    def _is_remote(self, task: Task) -> bool:
        opened = self.plan.steps[task.step].opened
        return opened is not None and opened.is_remote

    def peak_bytes(self) -> int:
        """The largest number of bytes that the results held at once have, an estimate.

        While a task runs, its array type is assumed to hold as many bytes as the result has.
        """
        sizes = {task: self.plan.steps[task.step].meta.bytes_of(task.region) for task in self.tasks}
        ahead = set(self.read_ahead())
        held = peak = sum(sizes[task] for task in ahead)
        last_uses = self.last_uses()
        for task in self.tasks:
            held += 0 if task in ahead else sizes[task]
            peak = max(peak, held + sizes[task])
            held -= sum(sizes[source] for source in last_uses[task])
        return peak


@attrs.frozen(eq=False)
class _Need:
    """A needed region, and the list and position that get its part."""

    region: Region
    parts: list[Part | None]
    position: int


def make_tasks(plan: Plan, requests: Sequence[tuple[int, Region]], provided: Container[int] = ()) -> Tasks:
    """The tasks that some regions of some steps need.

    What several arrays need of one step is computed once; regions that are far apart stay apart.

    Args:
        plan: The compiled tree.
        requests: Indices of steps, each with a region of it.
        provided: Indices of steps whose voxels ``run`` gets: nothing is needed of their sources.
    """
    results: list[Part | None] = [None] * len(requests)
    needs: list[list[_Need]] = [[] for _ in plan.steps]
    for position, (index, region) in enumerate(requests):
        needs[index].append(_Need(region, results, position))
    tasks: list[Task] = []
    for index in reversed(range(len(plan.steps))):
        step = plan.steps[index]
        for region, members in _merge(needs[index], step):
            task = Task(index, region)
            for need in members:
                need.parts[need.position] = Part(task, need.region)
            if step.sources and index not in provided:
                for position, (source, part) in enumerate(
                    zip(step.sources, contexts(plan, index, region), strict=True)
                ):
                    task.parts.append(None)
                    if part is not None:
                        needs[source].append(_Need(part, task.parts, position))
            tasks.append(task)
    return Tasks(plan, tasks[::-1], [part for part in results if part is not None])


def contexts(plan: Plan, index: int, region: Region) -> list[Region | None]:
    """What a step needs of each of its sources for a region; None for a source that is not read."""
    step = plan.steps[index]
    parts = list(step.config.context(region, step.meta, step.source_metas))
    for meta, part, source in zip(step.source_metas, parts, step.sources, strict=True):
        if part is not None and (not meta.region.contains(part.whole()) or not meta.on_grid(part)):
            raise ComputeError(
                f"{type(step.config).__name__} asks for a region that its source "
                f"{plan.steps[source].config.name} does not have",
                found=str(part),
                allowed=f"within {meta.region}, on its voxel grid",
                path=plan.path(index),
            )
    return parts


def _merge(needs: Sequence[_Need], step: Step) -> list[tuple[Region, list[_Need]]]:
    """The regions to compute of one step, each with the needs that it serves.

    Needs are merged where one box costs no more than the parts, and, of a chunked source,
    where they touch the same chunk, so that no chunk is read twice.
    """
    merged: list[tuple[Region, list[_Need]]] = []
    for need in needs:
        region = need.region if step.config.supports_channel_subset else need.region.whole()
        members = [need]
        # a union may reach further regions, so start again after each
        while True:
            near = next((other for other in merged if _cheaper_together(region, other[0], step)), None)
            if near is None:
                break
            merged.remove(near)
            region, members = region.union(near[0]), near[1] + members
        merged.append((region, members))
    return merged


def _cheaper_together(a: Region, b: Region, step: Step) -> bool:
    meta, union = step.meta, a.union(b)
    if meta.bytes_of(union) <= meta.bytes_of(a) + meta.bytes_of(b):
        return True
    if step.opened is None or step.opened.chunks is None:
        return False
    nonspatial = len(step.opened.nonspatial)
    grid = [c * v for c, v in zip(step.opened.chunks[nonspatial:], meta.voxel_size, strict=True)]
    origin = [int(quantity.to(meta.unit)) for quantity in step.opened.offset]
    if a.snap(grid, origin).intersect(b.snap(grid, origin)).empty:
        return False
    ranges = zip(meta.nonspatial_ranges(a), meta.nonspatial_ranges(b), step.opened.chunks[:nonspatial], strict=True)
    return all(max(p // c, r // c) < min(-(-q // c), -(-s // c)) for (p, q), (r, s), c in ranges)
