"""Looks after the workers of a run: ends those that are stuck, and the run where all of them die."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

from .launch import ASKED, VAIN
from .schedule import Schedule
from .state import LAUNCHERS, WORKERS, State

#: Seconds between looks, seconds beyond the block timeout that a worker is given, and seconds
#: that workers are given to leave once nothing is left to do or the run was stopped.
LOOK, GRACE, LEAVE = 0.5, 3.0, 10.0
#: Characters of a line that a worker has left.
SHOWN = 200


class Deaths(logging.Handler):
    """Counts the workers that ended badly, as daisy logs them, and keeps what the last one said.

    Those count as in vain whose command did not wait for them.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = self.in_vain = 0
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith("worker function"):
            # logged while daisy handles the error, which also has the end of what the worker wrote
            error = str(sys.exc_info()[1] or said)
            lines = [line.strip()[:SHOWN] for line in error.splitlines() if line.strip()]
            self.count += 1
            self.in_vain += lines[-1].startswith(VAIN)
            self.last = lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1]}"


class Watchdog(threading.Thread):
    """Kills workers that a run would wait for in vain, and stops a run that goes nowhere.

    daisy gives the block of a frozen worker to another, but waits for its process to end. A
    worker counts as stuck if it has been at one block for longer than the timeout, or still
    lives some time after nothing is left to do. A run goes nowhere if worker after worker
    is started and no block is settled, or if the command that starts them does not wait for them.

    Args:
        state, schedule: Of the run.
        logs: Where daisy keeps a file for each worker that it starts.
        retries: How often a failed block is tried again.
        timeout: Seconds that a block may take, or None.
        by_command: Whether workers are started by a command.
        patience: How many workers may die one after another.
    """

    def __init__(
        self,
        state: State,
        schedule: Schedule,
        logs: Path,
        retries: int,
        timeout: float | None,
        by_command: bool,
        patience: int,
    ) -> None:
        super().__init__(daemon=True, name="gp_arrays watchdog")
        self.state, self.schedule, self.logs = state, schedule, logs
        self.retries, self.timeout, self.by_command, self.patience = retries, timeout, by_command, patience
        self.stop: Callable[[str], None] | None = None
        self.deaths = Deaths()
        self.failed_before = {p.name: state.attempts_failed(p.name, p.grid) for p in schedule.passes}
        self.stopping: float | None = None
        self._over = threading.Event()
        self._settled: float | None = None
        self._reached = self._begun = 0
        self._asked: dict[int, float] = {}

    def run(self) -> None:
        pause = LOOK
        while not self._over.wait(pause):
            began = time.monotonic()
            with contextlib.suppress(OSError):
                self.look(time.time())
            # a job of very many blocks is looked at less often
            pause = max(LOOK, 20 * (time.monotonic() - began))

    def end(self) -> None:
        self._over.set()
        self.join()

    def look(self, now: float) -> None:
        """Kill what is stuck."""
        if self.timeout is not None:
            for path, pid in self._workers(busy=True):
                with contextlib.suppress(FileNotFoundError):
                    if now - path.stat().st_mtime > self.timeout + GRACE:
                        self._kill(pid, path.name)
        if self.settled():
            self._settled = self._settled or now
        else:
            self._look_for_progress()
        began = self.stopping or self._settled
        if began is not None and now - began > LEAVE:
            if self.by_command:
                # also those whose worker never came, as it waits in a queue, or has left
                self._end_commands()
            else:
                for path, pid in self._workers(busy=False):
                    self._kill(pid, path.name)

    def failed(self) -> dict[str, Any]:
        """The blocks that failed in this run as often as they may."""
        return {
            p.name: self.state.attempts_failed(p.name, p.grid) > self.failed_before[p.name] + self.retries
            for p in self.schedule.passes
        }

    def _look_for_progress(self) -> None:
        """Stop the run where workers are started in vain."""
        if self.deaths.in_vain >= self.patience:
            # blocks that get done meanwhile are no reason to submit ever more jobs
            self._give_up(f"{self.deaths.in_vain} times a worker was started in vain")
        progress = sum(int(self.state.done(p.name, p.grid).sum()) for p in self.schedule.passes)
        progress += sum(int(failed.sum()) for failed in self.failed().values())
        if progress != self._reached:
            self._reached, self._begun = progress, self.deaths.count
        elif self.deaths.count - self._begun >= self.patience:
            self._give_up(f"{self.deaths.count - self._begun} workers died one after another without finishing a block")

    def _give_up(self, why: str) -> None:
        if self.stop is not None and self.stopping is None:
            self.stopping = time.time()
            self.stop(f"{why}; the last: {self.deaths.last}, see {self.logs}")

    def settled(self) -> bool:
        """Whether every block is done, has failed, or waits for one that has."""
        dead = self.schedule.dead(self.failed())
        return not any(
            (self.schedule.missing(p.name) & ~self.state.done(p.name, p.grid) & ~dead[p.name]).any()
            for p in self.schedule.passes
        )

    def _workers(self, busy: bool) -> list[tuple[Path, int]]:
        found = []
        for path in (self.state.folder / WORKERS).iterdir():
            with contextlib.suppress(OSError, ValueError):
                sign, pid, host = path.read_text(encoding="utf-8").split()
                if self.by_command or host == socket.gethostname():
                    if busy and sign != "+":
                        continue
                    found.append((path, int(pid)))
        return found

    def _kill(self, pid: int, name: str) -> None:
        if self.by_command:
            # what runs elsewhere is out of reach; the command that started it is not
            task, _, worker_id = name.rpartition(".")
            self._end_commands({f"worker_id={worker_id}", f"task_id={task}"})
        elif _parent(pid) == os.getpid():
            os.kill(pid, signal.SIGKILL)

    def _end_commands(self, of: Set[str] = frozenset()) -> None:
        """End the commands that started workers: ask first, so that one like srun can end what runs elsewhere."""
        for launcher in (self.state.folder / LAUNCHERS).iterdir():
            command = int(launcher.name)
            if not of <= set(launcher.read_text(encoding="utf-8").split(":")):
                continue
            starter = _parent(command) or 0
            if _parent(starter) != os.getpid():
                continue
            asked = self._asked.get(command)
            with contextlib.suppress(ProcessLookupError):
                if asked is None:
                    self._asked[command] = time.monotonic()
                    os.killpg(command, signal.SIGTERM)
                elif time.monotonic() - asked > ASKED:
                    os.killpg(command, signal.SIGKILL)
                    if time.monotonic() - asked > 2 * ASKED:
                        # what started it has not noticed: it is frozen itself
                        os.kill(starter, signal.SIGKILL)


def _parent(pid: int) -> int | None:
    """The parent of a process; None where there is none of that id, or no way to tell."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
