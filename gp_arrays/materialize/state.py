"""What a job remembers on disk: what it is, which blocks are done, what failed, who is at work."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import StoreError
from ..storage.files import replace_file, reserve_file, writing
from . import job as jobs

TRACKING = "tracking"
LOGS = "logs"
FAILURES = "failures"
WORKERS = "workers"
LAUNCHERS = "launchers"
SUMMARY = "summary.json"
CREATED = "created"
RUN = "run"
LOCK = "lock"

#: What daisy keeps of each block.
TRACKED = {"done": "u1", "failures": "<u4"}


def state_base(root: Path) -> Path:
    """Where the jobs of a store keep their states: beside it.

    >>> state_base(Path("data/out.zarr")).as_posix()
    'data/out.zarr.gp_arrays'
    """
    return root.with_name(f"{root.name}.gp_arrays")


def state_name(datasets: Sequence[str]) -> str:
    """The folder of a job within it: the names of its outputs.

    >>> state_name(["raw", "labels/masks"])
    'raw+labels.masks'
    """
    return "+".join(name.replace("/", ".") or "root" for name in datasets)


class Held(StoreError):
    """Another run holds the lock."""


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise Held("another run is at work on these outputs", found=file.read().decode().strip() or str(path),
                   allowed="one run at a time") from None  # fmt: skip


class State:
    """The folder of a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Path] = []

    @property
    def exists(self) -> bool:
        return (self.folder / jobs.JOB).exists()

    @property
    def created(self) -> bool:
        """Whether its outputs were all made."""
        return (self.folder / CREATED).exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other masters out; the lock ends with this process, whatever ends it.

        Raises StoreError that says who holds it.
        """
        self._made = [parent for parent in self.folder.parents if not parent.exists()]
        path = self.folder / LOCK
        with contextlib.ExitStack() as stack:
            try:
                with writing(path):
                    self.folder.mkdir(parents=True, exist_ok=True)
                    file = stack.enter_context(path.open("a+b", buffering=0))
                    _lock(file, path)
                    file.truncate(0)
                    now = time.strftime("%Y-%m-%d %H:%M:%S")
                    file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}".encode())
            except Held:
                raise
            except StoreError:
                self.tidy()
                raise
            yield

    def clear(self) -> None:
        """Forget everything but the lock."""
        for entry in self.folder.iterdir():
            if entry.name == LOCK:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def holder(self) -> str | None:
        """Who is at work on the job, or None."""
        try:
            with (self.folder / LOCK).open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return (self.folder / LOCK).read_text(encoding="utf-8")
        return None

    def tidy(self) -> None:
        """Remove the folder where no job is in it."""
        if not self.exists:
            self.remove()

    def remove(self) -> None:
        """Remove the folder, and those above it that were made for it and hold nothing else."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        for parent in dict.fromkeys([self.folder.parent, *self._made]):
            with contextlib.suppress(OSError):
                parent.rmdir()

    def begin(self, run: str) -> None:
        """Announce a run: workers of earlier ones write nothing from now on."""
        with writing(self.folder):
            for name in (WORKERS, LAUNCHERS, FAILURES):
                shutil.rmtree(self.folder / name, ignore_errors=True)
                (self.folder / name).mkdir()
            (self.folder / TRACKING).mkdir(exist_ok=True)
            (self.folder / LOGS).mkdir(exist_ok=True)
        replace_file(self.folder / RUN, run)

    def over(self) -> None:
        """Announce the end of a run: nobody who is left over from it writes from now on."""
        # taking a file away needs no room on a full disk
        (self.folder / RUN).unlink(missing_ok=True)

    def reserve(self, name: str, grid: Sequence[int]) -> None:
        """Take the room that tracking the blocks of a pass needs. Raises StoreError.

        daisy maps these files into memory: a disk that is full when a block is done would end
        the process on the spot.
        """
        for what, dtype in TRACKED.items():
            reserve_file(self._tracked_file(name, what, grid), math.prod(grid) * np.dtype(dtype).itemsize)

    def tracking(self, name: str) -> Path:
        """Where daisy marks the blocks of a pass as done."""
        return self.folder / TRACKING / name

    def _tracked_file(self, name: str, what: str, grid: Sequence[int]) -> Path:
        return self.tracking(name) / what / "c" / "/".join("0" for _ in grid)

    def _tracked(self, name: str, what: str, grid: Sequence[int]) -> np.ndarray[Any, Any]:
        path, dtype = self._tracked_file(name, what, grid), TRACKED[what]
        try:
            values: np.ndarray[Any, Any] = np.fromfile(path, dtype)
        except FileNotFoundError:
            return np.zeros(tuple(grid), dtype)
        if values.size != np.prod(grid):
            raise StoreError(
                "the block tracking does not fit the job", found=str(path), allowed="overwrite starts anew"
            )
        return values.reshape(tuple(grid))

    def done(self, name: str, grid: Sequence[int]) -> np.ndarray[Any, Any]:
        """Which blocks of a pass are done, as a bool grid, read anew."""
        return self._tracked(name, "done", grid).astype(bool)

    def mark(self, name: str, done: np.ndarray[Any, Any]) -> None:
        """Replace which blocks of a pass are done; not while a run is at work."""
        marks = done.astype(TRACKED["done"])
        path = self._tracked_file(name, "done", done.shape)
        if not path.exists() or path.stat().st_size != marks.nbytes:
            self.reserve(name, done.shape)
        with path.open("r+b") as file:
            file.write(marks.tobytes())

    def attempts_failed(self, name: str, grid: Sequence[int]) -> np.ndarray[Any, Any]:
        """How often each block failed, over all runs."""
        return self._tracked(name, "failures", grid)

    def failures(self) -> list[dict[str, Any]]:
        """What workers noted of blocks that failed in the last run."""
        notes = []
        for path in sorted((self.folder / FAILURES).glob("*.json")):
            with contextlib.suppress(FileNotFoundError, ValueError):
                notes.append(json.loads(path.read_text(encoding="utf-8")))
        return notes
