"""What a job would cost: its blocks, bytes, memory and time, before anything is made."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import attrs
import numpy as np

from ..evaluate import demands, evaluate
from .geometry import BASE_MEMORY, Pass, block_bytes
from .prepare import Job
from .schedule import Schedule

#: How many blocks are measured, and for how long at most one goes on after the first.
MEASURED, SECONDS = 3, 20.0


@attrs.frozen
class Cost:
    """What a job would cost.

    Attributes:
        blocks: To be done.
        empty, before: Known to be empty; done already.
        read: Bytes of voxels that come from sources, context included.
        written: Bytes of voxels of all outputs, before compression.
        memory: Bytes that a worker holds.
        seconds: Of computing, with that many workers; writing and start-up apart. None where
            no block is left to measure.
        passes: For each pass its outputs, the shape of a block and how many there are.
    """

    blocks: int
    empty: int
    before: int
    read: int
    written: int
    memory: int
    seconds: float | None
    workers: int
    passes: tuple[tuple[tuple[str, ...], tuple[int, ...], int], ...]

    def __str__(self) -> str:
        lines = [f"{self.blocks} blocks to do ({self.before} done before, {self.empty} known to be empty)"]
        for outputs, block, count in self.passes:
            lines.append(f"  {', '.join(outputs)}: {count} blocks of {' x '.join(map(str, block))}")
        lines.append(f"reads {_size(self.read)}, writes {_size(self.written)} before compression")
        lines.append(f"about {_size(self.memory)} of memory a worker")
        if self.seconds is not None:
            lines.append(f"about {_time(self.seconds)} of computing with {self.workers} workers, writing apart")
        lines.append("nothing was made")
        return "\n".join(lines)


def estimate(job: Job, schedule: Schedule, workers: int, seed: int = 0) -> Cost:
    """What a job would cost, from its plan and a few blocks that are computed and thrown away."""
    choice = random.Random(seed)
    read = written = memory = 0
    seconds: float | None = 0.0
    blocks = 0
    for made in job.passes:
        missing = np.argwhere(schedule.missing(made.name))
        blocks += len(missing)
        if not len(missing):
            continue
        some = [tuple(missing[i].tolist()) for i in choice.sample(range(len(missing)), min(MEASURED, len(missing)))]
        if made.after is not None:
            # a level reads what is below it, about as many times its own voxels as it is coarser
            (level,) = [level for level in job.levels if level.made is made]
            size = sum(_bytes(made, at) for at in some) * len(missing) // len(some)
            written += size
            read += size * math.prod(level.factors)
            memory = max(memory, BASE_MEMORY + 2 * _bytes(made, some[0]) * (1 + math.prod(level.factors)))
            continue
        took, sizes, read_ = _measure(job, made, some)
        written += sizes * len(missing) // len(some)
        read += read_ * len(missing) // len(some)
        memory = max(memory, block_bytes(job.plan, made))
        assert seconds is not None
        seconds += took * len(missing) / workers
    return Cost(
        blocks,
        schedule.count(lambda name: schedule.chosen[name] & ~schedule.active[name]),
        schedule.count(lambda name: schedule.chosen[name] & schedule.active[name] & schedule.before[name]),
        read,
        written,
        memory,
        seconds if blocks else None,
        workers,
        tuple((tuple(o.dataset for o in p.outputs), p.block, int(schedule.missing(p.name).sum())) for p in job.passes),
    )


def _bytes(made: Pass, position: Any) -> int:
    return sum(output.meta.bytes_of(part) for output, part in made.wanted(made.region(position)))


def _measure(job: Job, made: Pass, some: list[tuple[int, ...]]) -> tuple[float, int, int]:
    """Seconds of one block, and the bytes that all of these write and read."""
    plan = job.plan
    written = read = done = 0
    began = time.perf_counter()
    for position in some:
        wanted = [(plan.outputs[o.dataset], part) for o, part in made.wanted(made.region(position))]
        written += sum(plan.steps[index].meta.bytes_of(part) for index, part in wanted)
        for step, regions in zip(plan.steps, demands(plan, wanted), strict=True):
            if step.opened is not None:
                read += sum(step.meta.bytes_of(region) for region in regions)
        if not done or time.perf_counter() - began < SECONDS:
            evaluate(plan, wanted)
            done += 1
    return (time.perf_counter() - began) / done, written, read


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} PiB"


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"
