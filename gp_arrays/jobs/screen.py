"""What a run shows: a bar of its blocks, and daisy's messages kept out of its way."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .geometry import Pass
from .prepare import Job
from .schedule import Schedule

#: Seconds that the last messages of a run are waited for.
LAST_MESSAGES = 2.0
#: The size of a terminal that does not tell.
UNKNOWN = {"ncols": 80, "nrows": 20}


class _Shared:
    """The redirection of a process, which its runs share: it begins with the first and lasts until the last ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs = 0
        self.kept = contextlib.ExitStack()
        self.screen: Any = None


_shared = _Shared()


@contextlib.contextmanager
def messages_to(log: Path) -> Iterator[Any]:
    """Send to a file what daisy's scheduler writes past Python; gives what is the screen meanwhile.

    Of several runs at once in one process, the first one's file gets the messages of all.
    """
    with _shared.lock:
        if not _shared.runs:
            _shared.screen = _shared.kept.enter_context(_redirected(log))
        _shared.runs += 1
    try:
        yield _shared.screen
    finally:
        with _shared.lock:
            _shared.runs -= 1
            if not _shared.runs:
                _shared.kept.close()


@contextlib.contextmanager
def _redirected(log: Path) -> Iterator[Any]:
    try:
        own = sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        own = False
    if not own:
        yield sys.stderr
        return
    sys.stderr.flush()
    kept, before = os.dup(2), sys.stderr
    read, write = os.pipe()
    # not the file itself: a full disk would end the scheduler at its next message
    keeper = threading.Thread(target=_keep, args=(read, log), daemon=True, name="gp_arrays messages")
    keeper.start()
    with os.fdopen(kept, "w", buffering=1, encoding="utf-8", errors="replace") as screen:
        os.dup2(write, 2)
        os.close(write)
        sys.stderr = screen
        try:
            yield screen
        finally:
            sys.stderr = before
            os.dup2(kept, 2)
            # a worker that is still there may hold the other end
            keeper.join(LAST_MESSAGES)


def _keep(read: int, log: Path) -> None:
    """Copy to a file what comes through a pipe, as far as there is room."""
    with os.fdopen(read, "rb", buffering=0) as messages:
        while said := messages.read(1 << 16):
            with contextlib.suppress(OSError), log.open("ab", buffering=0) as file:
                file.write(said)


def size_of(screen: Any) -> dict[str, int]:
    """What tqdm cannot see of a terminal's size: one that does not tell says 0, and tqdm shows nothing on it."""
    try:
        size = os.get_terminal_size(screen.fileno())
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return {}
    told = {"ncols": size.columns, "nrows": size.lines}
    return {name: UNKNOWN[name] for name, found in told.items() if not found}


class Observer:
    """Shows daisy's counts as one bar."""

    def __init__(self, bar: Any, job: Job, schedule: Schedule) -> None:
        self.bar = bar
        blocks = schedule.count(schedule.missing)
        self.voxels = sum(voxels_of(p, schedule.missing(p.name)) for p in job.passes) / max(blocks, 1)
        self.started = time.monotonic()

    def on_start(self, states: Mapping[str, Any]) -> None:
        self.on_progress(states)

    def on_progress(self, states: Mapping[str, Any]) -> None:
        missing = sum(s.total_block_count - s.completed_count for s in states.values())
        done = max(self.bar.n, self.bar.total - missing)
        rate = done * self.voxels / max(time.monotonic() - self.started, 1e-9)
        shown = {"Mvoxel/s": f"{rate / 1e6:.1f}"}
        for what, count in (
            ("failed", sum(s.failed_count for s in states.values())),
            ("workers lost", sum(s.worker_failure_count for s in states.values())),
        ):
            if count:
                shown[what] = str(count)
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(done - self.bar.n)

    def on_finish(self, states: Mapping[str, Any]) -> None:
        self.on_progress(states)


def voxels_of(made: Pass, blocks: np.ndarray[Any, Any]) -> int:
    """How many voxels some blocks of a pass have, as a bool grid tells them, in all its outputs."""
    return sum(made.voxels(output, blocks) for output in made.outputs)
