"""How far the jobs of a store are, read from what they remember."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from ..errors import StoreError
from . import job as jobs
from .state import SUMMARY, State, state_base


@attrs.frozen
class Status:
    """How far a job is.

    Attributes:
        folder: Of its state.
        datasets: What it writes.
        blocks: How many blocks the whole job has, whatever the roi of its runs.
        done: How many are done.
        failed: How many failed in the last run and are not done.
        running: Who is at work, or None.
    """

    folder: Path
    datasets: tuple[str, ...]
    blocks: int
    done: int
    failed: int
    empty: int
    running: str | None

    @property
    def missing(self) -> int:
        return self.blocks - self.done - self.failed - self.empty

    def __str__(self) -> str:
        text = (
            f"{', '.join(self.datasets)}: {self.done} of {self.blocks} blocks done, {self.empty} known to be empty, "
            f"{self.failed} failed, {self.missing} missing"
        )
        return text if self.running is None else f"{text}; at work: {self.running}"


def status(path: str | Path, state: str | Path | None = None) -> tuple[Status, ...]:
    """How far each job of a store is.

    Args:
        path: The store.
        state: Where its jobs remember what is done, where that is not beside the store.

    Raises:
        StoreError: No job has written there.
    """
    base = state_base(Path(path).absolute()) if state is None else Path(state)
    folders = sorted(folder.parent for folder in base.glob(f"*/{jobs.JOB}"))
    if not folders:
        raise StoreError("no job has written there", found=str(path), allowed="a store that materialize made")
    return tuple(_of(State(folder)) for folder in folders)


def _of(state: State) -> Status:
    job = jobs.read(state.folder)
    blocks = done = failed = 0
    failures = state.failures()
    for made in job["passes"]:
        marks = state.done(made["name"], made["grid"])
        blocks += marks.size
        done += int(marks.sum())
        for note in failures:
            if note["pass"] == made["name"]:
                at = tuple((b - o) // s for b, o, s in zip(note["begin"], made["begin"], made["block"], strict=True))
                failed += not marks[at]
    last: dict[str, Any] = {}
    if (state.folder / SUMMARY).exists():
        last = json.loads((state.folder / SUMMARY).read_text(encoding="utf-8"))
    datasets = tuple(o["dataset"] for made in job["passes"] for o in made["outputs"])
    return Status(state.folder, datasets, blocks, done, failed, int(last.get("empty", 0)), state.holder())
