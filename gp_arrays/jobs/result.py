"""What a job reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from funlib.geometry import Roi

from ..model.meta import Region
from .dryrun import Cost

#: Failed blocks that a summary names one by one.
SHOWN = 10


@attrs.frozen
class Failed:
    """A block that could not be written: where, which array of the tree, and why.

    Attributes:
        outputs: The datasets that it is a part of.
        roi: Where it is, in world units.
        path: Names from the output down to the array that failed, where that is known.
        error: What went wrong.
    """

    outputs: tuple[str, ...]
    roi: Roi
    path: tuple[str, ...]
    error: str

    def __str__(self) -> str:
        return f"{', '.join(self.outputs)} {Region.of(self.roi)}: {self.error}"


@attrs.frozen
class Result:
    """How a job went.

    Attributes:
        path: The store.
        datasets: What was written, levels of pyramids included.
        blocks: How many blocks the job has within the roi.
        done: How many of them are done now, known to be empty ones included.
        before: How many were done before this run.
        empty: How many were known to be empty without being computed.
        failed: Those that failed.
        voxels: Of all outputs, written in this run.
        seconds: How long it took.
        workers_lost: How many workers died or were ended because they were stuck.
        state: The folder in which the job remembers what is done.
        logs: The folder of the logs of this run.
        stopped: Why the run ended before its end, or None.
        cost: What the job would cost, after a dry run; nothing else but counts is set then.
    """

    path: Path
    datasets: tuple[str, ...]
    blocks: int
    done: int
    before: int
    empty: int
    failed: tuple[Failed, ...]
    voxels: int
    seconds: float
    workers_lost: int
    state: Path
    logs: Path
    stopped: str | None = None
    cost: Cost | None = None

    @property
    def ok(self) -> bool:
        """Whether every block within the roi is done."""
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
            lines.append(f"  logs: {self.logs}; the same command again does only what is missing")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """The summary as plain data."""
        values: Mapping[str, Any] = attrs.asdict(self, recurse=False)
        return {
            **{key: value for key, value in values.items() if key != "cost"},
            "path": str(self.path),
            "state": str(self.state),
            "logs": str(self.logs),
            "failed": [
                {
                    "outputs": f.outputs,
                    "begin": list(f.roi.begin),
                    "end": list(f.roi.end),
                    "path": f.path,
                    "error": f.error,
                }
                for f in self.failed
            ],
        }
