"""What a job reports at its end, and before it begins."""

from __future__ import annotations

from pathlib import Path

import attrs
from funlib.geometry import Roi

from ..errors import size_text
from ..model.meta import Region
from ..storage.access.remote import StorePath

#: The most failed blocks that are listed one by one.
SHOWN = 10


@attrs.frozen
class Cost:
    """What a job would cost.

    Attributes:
        blocks: How many blocks are to be done.
        empty: How many others are known to be empty.
        before: How many others are done already.
        read: Bytes of voxels that are read from sources, context included, and from levels of pyramids.
        written: Bytes of voxels of all outputs, before compression.
        memory: Bytes that a worker needs.
        seconds: To compute and write the blocks with ``workers`` workers, without the start of the workers. None if no
            block is to be done.
        workers: The number of workers.
        passes: For each pass its outputs, the shape of a block and the number of blocks to be done.
        stored: Bytes on disk, estimated from the blocks of the trial; None if the trial could not write any.
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
    stored: int | None = None

    def __str__(self) -> str:
        lines = [f"{counted(self.blocks)} to do ({self.before} done before, {self.empty} known to be empty)"]
        for outputs, block, count in self.passes:
            lines.append(f"  {', '.join(outputs)}: {counted(count)} of {' x '.join(map(str, block))}")
        stored = "" if self.stored is None else f", about {size_text(self.stored)} stored"
        lines.append(f"reads {size_text(self.read)}, writes {size_text(self.written)}{stored}")
        lines.append(f"about {size_text(self.memory)} of memory a worker")
        if self.seconds is not None:
            workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
            lines.append(f"{_time(self.seconds)} with {workers}, plus some seconds in which they start")
        lines.append("nothing was written")
        return "\n".join(lines)


def counted(blocks: int) -> str:
    """A count of blocks as text, such as ``1 block``."""
    return "1 block" if blocks == 1 else f"{blocks} blocks"


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.1f} {unit}"
    return "less than a second" if seconds < 1 else f"about {seconds:.0f} seconds"


@attrs.frozen
class Failed:
    """A block that could not be written.

    Attributes:
        outputs: The datasets that the block is a part of.
        roi: The region of the block, in world units.
        path: The names of the arrays from the output down to the one that failed; empty if that is not known.
        error: The message of the error.
    """

    outputs: tuple[str, ...]
    roi: Roi
    path: tuple[str, ...]
    error: str

    def __str__(self) -> str:
        return f"{', '.join(self.outputs)} {Region.of(self.roi)}: {self.error}"


@attrs.frozen
class Result:
    """The result of a run of a job.

    Attributes:
        path: The store.
        datasets: The outputs, levels of pyramids included.
        blocks: How many blocks the job has within the roi.
        done: How many of them are done or known to be empty now.
        before: How many of them were done before this run.
        empty: How many of them are known to be empty without being computed.
        state: The folder with the records of the job.
        logs: The folder with the logs of this run.
        failed: The blocks that failed.
        voxels: How many voxels of all outputs this run has written.
        seconds: How long the run took.
        workers_lost: How many workers died or were ended because they were stuck.
        stopped: Why the run ended although blocks were still to be tried, or None.
        cost: What the job would cost, after a dry run; then only this and the counts of blocks are set.
    """

    path: StorePath
    datasets: tuple[str, ...]
    blocks: int
    done: int
    before: int
    empty: int
    state: Path
    logs: Path
    failed: tuple[Failed, ...] = ()
    voxels: int = 0
    seconds: float = 0.0
    workers_lost: int = 0
    stopped: str | None = None
    cost: Cost | None = None

    @property
    def ok(self) -> bool:
        """True if every block within the roi is done."""
        return self.done == self.blocks

    def __str__(self) -> str:
        if self.cost is not None:
            return str(self.cost)
        parts = [f"{self.done} of {self.blocks} blocks done"]
        lost = "worker lost" if self.workers_lost == 1 else "workers lost"
        for count, what in (
            (self.before, "of them before"),
            (self.empty, "of them empty"),
            (len(self.failed), "failed"),
            (self.workers_lost, lost),
        ):
            if count:
                parts.append(f"{count} {what}")
        line = f"{self.path}: {', '.join(self.datasets)}: {', '.join(parts)}"
        if self.voxels:
            rate = self.voxels / max(self.seconds, 1e-9) / 1e6
            line += f"; {self.voxels} voxels in {self.seconds:.1f} s, {rate:.1f} million a second"
        lines = [line]
        lines += [f"  failed: {failed}" for failed in self.failed[:SHOWN]]
        if len(self.failed) > SHOWN:
            lines.append(f"  and {len(self.failed) - SHOWN} more")
        if self.stopped:
            lines.append(f"  stopped: {self.stopped}")
        if not self.ok:
            lines.append(f"  logs: {self.logs}; the same call again does only the missing blocks")
        return "\n".join(lines)
