"""How far the jobs of a store are, read from what they remember."""

from __future__ import annotations

from pathlib import Path

import attrs

from ..errors import StoreError
from ..storage.documents import read_node
from . import job as jobs
from .outputs import job_of
from .state import EMPTY, State, state_base, store_root


@attrs.frozen
class Status:
    """How far a job is.

    Attributes:
        folder: Of its state.
        datasets: What it writes.
        blocks: How many blocks the whole job has, whatever the roi of its runs.
        done: How many are done.
        failed: How many failed in the last run and are not done.
        empty: How many others are known to be empty.
        running: Who is at work, or None.
        replaced: Whether what it wrote has been removed or replaced since.
    """

    folder: Path
    datasets: tuple[str, ...]
    blocks: int
    done: int
    failed: int
    empty: int
    running: str | None
    replaced: bool = False

    @property
    def missing(self) -> int:
        return self.blocks - self.done - self.failed - self.empty

    def __str__(self) -> str:
        text = (
            f"{', '.join(self.datasets)}: {self.done} of {self.blocks} blocks done, {self.empty} known to be empty, "
            f"{self.failed} failed, {self.missing} missing"
        )
        text += "; its outputs are gone, or another job's by now" if self.replaced else ""
        return text if self.running is None else f"{text}; at work: {self.running}"


def status(path: str | Path, state: str | Path | None = None) -> tuple[Status, ...]:
    """How far each job of a store is.

    Args:
        path: The store.
        state: Where its jobs remember what is done, where that is not beside the store.

    Raises:
        StoreError: No job has written there.
    """
    base = state_base(store_root(path), state)
    folders = sorted(folder.parent for folder in base.glob(f"*/{jobs.JOB}"))
    if not folders:
        raise StoreError(
            "no job has written there",
            found=f"{path}, state {base}",
            allowed="a store that materialize made; state= where its state lies elsewhere",
        )
    return tuple(_of(State(folder)) for folder in folders)


def _of(state: State) -> Status:
    job = jobs.read(state.folder)
    blocks = done = failed = empty = 0
    failures = state.failures()
    for made in job["passes"]:
        marks = state.done(made["name"], made["grid"])
        blocks += marks.size
        done += int(marks.sum())
        known = state.kept(EMPTY, made["name"], made["grid"]) & ~marks
        empty += int(known.sum())
        for note in failures:
            if note["pass"] == made["name"]:
                at = tuple((b - o) // s for b, o, s in zip(note["begin"], made["begin"], made["block"], strict=True))
                failed += not (marks | known)[at]
    root = jobs.store_of(state.folder, job)
    replaced = any(job_of(read_node(root, name)) != job["id"] for name in job["datasets"])
    datasets = tuple(o["dataset"] for made in job["passes"] for o in made["outputs"])
    return Status(state.folder, datasets, blocks, done, failed, empty, state.holder(), replaced)
