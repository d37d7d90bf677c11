"""Looks after the workers of a run: ends those that are stuck, and the run where all of them die."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .schedule import Schedule
from .state import LAUNCHERS, WORKERS, State

#: Seconds between looks, seconds beyond the block timeout that a worker is given, and seconds
#: that workers are given to leave once nothing is left to do or the run was stopped.
LOOK, GRACE, LEAVE = 0.5, 3.0, 10.0


class Watchdog(threading.Thread):
    """Kills workers that a run would wait for in vain.

    daisy gives the block of a frozen worker to another, but waits for its process to end. A
    worker counts as stuck if it has been at one block for longer than the timeout, or still
    lives some time after nothing is left to do.
    """

    def __init__(self, state: State, schedule: Schedule, retries: int, timeout: float | None, by_command: bool) -> None:
        super().__init__(daemon=True, name="gp_arrays watchdog")
        self.state, self.schedule, self.retries, self.timeout = state, schedule, retries, timeout
        self.by_command = by_command
        self.failed_before = {p.name: state.attempts_failed(p.name, p.grid) for p in schedule.passes}
        self.stopping: float | None = None
        self._over = threading.Event()
        self._settled: float | None = None

    def run(self) -> None:
        while not self._over.wait(LOOK):
            with contextlib.suppress(OSError):
                self.look(time.time())

    def end(self) -> None:
        self._over.set()
        self.join()

    def look(self, now: float) -> None:
        """Kill what is stuck."""
        if self.timeout is not None:
            for path, pid in self._workers(busy=True):
                with contextlib.suppress(FileNotFoundError):
                    if now - path.stat().st_mtime > self.timeout + GRACE:
                        self._kill(path.name, pid)
        if self.settled():
            self._settled = self._settled or now
        began = self.stopping or self._settled
        if began is not None and now - began > LEAVE:
            for path, pid in self._workers(busy=False):
                self._kill(path.name, pid)

    def failed(self) -> dict[str, Any]:
        """The blocks that failed in this run as often as they may."""
        return {
            p.name: (self.state.attempts_failed(p.name, p.grid) - self.failed_before[p.name]) > self.retries
            for p in self.schedule.passes
        }

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

    def _kill(self, worker_id: str, pid: int) -> None:
        if not self.by_command:
            if _parent(pid) == os.getpid():
                os.kill(pid, signal.SIGKILL)
            return
        # what runs elsewhere is out of reach; the command that started it is not
        for launcher in (self.state.folder / LAUNCHERS).iterdir():
            said = launcher.read_text(encoding="utf-8").split(":")
            command = int(launcher.name)
            if f"worker_id={worker_id}" in said and _parent(_parent(command) or 0) == os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(command, signal.SIGKILL)


def _parent(pid: int) -> int | None:
    """The parent of a process; None where there is none of that id, or no way to tell."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


class Breaker:
    """Stops a run whose workers die one after another without finishing a block."""

    def __init__(self, limit: int, stop: Callable[[str], None]) -> None:
        self.limit, self.stop = limit, stop
        self._deaths = self._finished = 0
        self.broken = False

    def look(self, states: Mapping[str, Any]) -> None:
        deaths = sum(s.worker_failure_count for s in states.values())
        finished = sum(s.completed_count + s.failed_count for s in states.values())
        if finished > self._finished:
            self._finished, self._deaths = finished, deaths
        elif deaths - self._deaths >= self.limit and not self.broken:
            self.broken = True
            said = next((s.last_worker_error for s in states.values() if s.last_worker_error), None)
            last = (said or "").strip().splitlines()
            why = f"; the last said: {last[-1]}" if last else ""
            self.stop(f"{deaths - self._deaths} workers died one after another without finishing a block{why}")
