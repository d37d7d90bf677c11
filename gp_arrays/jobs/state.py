"""What a job remembers on disk: what it is, which blocks are done, what failed, who is at work."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ..errors import StoreError
from ..model.fields import to_path
from ..storage.documents import require_on_disk
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
EMPTY = "empty"

#: Characters of a state's name; file systems allow 255 bytes.
LONGEST_NAME = 120

#: What daisy keeps of each block.
TRACKED = {"done": "u1", "failures": "<u4"}


def store_root(path: str | Path) -> Path:
    """The folder of a store, absolute: one store has one state, by whatever link it is named."""
    root = to_path(path)
    require_on_disk(root)
    root = root.absolute()
    return root.resolve() if root.is_symlink() else root


def state_base(root: Path, folder: str | Path | None = None) -> Path:
    """Where the jobs of a store keep their states: beside it, or in a folder.

    >>> state_base(Path("data/out.zarr")).as_posix()
    'data/out.zarr.gp_arrays'
    """
    place = root.parent if folder is None else Path(folder).absolute()
    return place / f"{root.name}{jobs.SUFFIX}"


def state_name(datasets: Sequence[str]) -> str:
    """The folder of a job within it: the names of its outputs, one folder for each choice of them.

    >>> state_name(["raw", "labels/masks"])
    'raw+labels%2Fmasks'
    """
    name = "+".join(quote(dataset, safe="") or "%" for dataset in datasets)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"
    return name


class _Held(StoreError):
    """Another run holds the lock of this very state, which is that run's to tidy."""


def _busy(who: str, kind: type[StoreError] = StoreError) -> StoreError:
    return kind("another run is at work on these outputs", found=who, allowed="one run at a time")


def overlap(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether a dataset of one job is, holds or lies in one of another."""
    return any(_holds(a, b) or _holds(b, a) for a in some for b in others)


def _holds(outer: str, inner: str) -> bool:
    return not outer or outer == inner or inner.startswith(f"{outer}/")


def _one_at_a_time(base: Path) -> int:
    """Wait until no other job of a store is about to begin; closing the handle lets the next one in."""
    handle = os.open(base, os.O_RDONLY)
    # some network disks lock no folders; the lock of each job holds there all the same
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


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
    def locked(self, datasets: Sequence[str]) -> Iterator[None]:
        """Keep masters of jobs with the same outputs out; the lock ends with this process, whatever ends it.

        Raises StoreError that says who holds it, or that the folder is not one of ours.
        """
        path = self.folder / LOCK
        if not path.exists() and self.folder.exists() and any(self.folder.iterdir()):
            raise StoreError(
                "a folder that is not the state of a job",
                found=str(self.folder),
                allowed="another folder for the state",
            )
        self._made = [parent for parent in self.folder.parents if not parent.exists()]
        with contextlib.ExitStack() as stack:
            try:
                with writing(path), contextlib.ExitStack() as start:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    start.callback(os.close, _one_at_a_time(self.folder.parent))
                    file = stack.enter_context(path.open("a+b", buffering=0))
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        raise _busy(self.holder() or str(path), _Held) from None
                    self._require_no_other(datasets)
                    now = time.strftime("%Y-%m-%d %H:%M:%S")
                    file.truncate(0)
                    who = f"process {os.getpid()} on {socket.gethostname()} since {now}"
                    file.write(f"{who}\n{json.dumps(list(datasets))}".encode())
            except _Held:
                raise
            except StoreError:
                self.tidy()
                raise
            yield

    def _require_no_other(self, datasets: Sequence[str]) -> None:
        """Raises StoreError where another job of the same store that shares an output is at work."""
        for folder in self.folder.parent.iterdir():
            other = State(folder)
            if folder != self.folder and (who := other.holder()) is not None:
                with contextlib.suppress(ValueError, IndexError):
                    if overlap(datasets, json.loads((folder / LOCK).read_text(encoding="utf-8").splitlines()[1])):
                        raise _busy(who)

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
            lines = (self.folder / LOCK).read_text(encoding="utf-8").splitlines()
            return lines[0] if lines else str(self.folder / LOCK)
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
            # the base of states is ours by its name; a folder of the user's stays, empty or not
            if parent in self._made or parent.name.endswith(jobs.SUFFIX):
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

    def keep(self, what: str, name: str, grid: np.ndarray[Any, Any], durable: bool = False) -> None:
        """Keep a bool grid of the blocks of a pass. Raises StoreError."""
        with writing(self.folder / what):
            (self.folder / what).mkdir(exist_ok=True)
        replace_file(self.folder / what / name, np.packbits(grid).tobytes(), durable)

    def kept(self, what: str, name: str, grid: Sequence[int]) -> np.ndarray[Any, Any]:
        """A bool grid as it was kept last; nothing is true where it was not, or is not whole."""
        count = math.prod(grid)
        try:
            packed = np.frombuffer((self.folder / what / name).read_bytes(), np.uint8)
        except FileNotFoundError:
            packed = np.zeros(0, np.uint8)
        if packed.size != -(-count // 8):
            return np.zeros(tuple(grid), bool)
        return np.unpackbits(packed, count=count).astype(bool).reshape(tuple(grid))

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
