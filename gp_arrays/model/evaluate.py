"""Evaluation: running the tasks of a request, which is the only way to voxels.

Nothing is kept between requests, so several threads may evaluate one plan at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..errors import ComputeError, GpArraysError
from .meta import Block, Region, Voxels
from .plan import Plan, Step
from .tasks import Task, Tasks, make_tasks


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
    for task in tasks.tasks:
        if provided is not None and task.step in provided:
            block = provided[task.step]
            blocks[task] = Block(block.crop(task.region), task.region, block.meta)
        else:
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
    own = data.base is None and data.flags.writeable and data.flags.c_contiguous
    if own and not any(np.may_share_memory(data, other) for other in others):
        return data
    return np.array(data, order="C", copy=True)
