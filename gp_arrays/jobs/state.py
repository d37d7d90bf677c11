"""The state folder of a job: its lock, its document, its journals and bitmaps, and its failures."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..model.fields import to_path
from ..model.urls import to_store, to_store_options
from ..storage.access.files import replace_file, writing
from ..storage.access.remote import RemotePath, StorePath, store_path
from ..storage.journal import BOOT, EMPTY, JOURNALS, SAFE, STATES, Grid, read_bitmap, read_done, this_start
from ..storage.metadata.documents import read_json, require_on_disk
from . import document
from .geometry import Pass
from .processes import is_locked

LOGS = "logs"
FAILURES = "failures"
#: The folder with the description of the run, and for each worker how it reaches the scheduler.
RUN = "run"
SUMMARY = "summary.json"
CREATED = "created"
LOCK = "lock"

README = """This folder is the memory of a gp_arrays job: what the job writes, and which blocks are done.
Keep it beside the store, and move or copy both together. With this folder the same `materialize` call resumes the
job, and the finished blocks of an unfinished output can be read. Without it the job must start from the beginning.

job.json      the job: the tree, its outputs, how they are cut into blocks
journals/     the records of each worker: blocks started, done, failed
done/         blocks that would survive a power failure, one bit for each block
empty/        blocks that are known to be empty, one bit for each block
failures/     why blocks failed in the last run
logs/         what workers and the scheduler printed, one folder for each run
run/          the description of the current run
voxels/       arrays that were in memory
summary.json  the result of the last run
lock          is locked while the job is running
created       exists once all outputs exist
boot          the start of the machine at which the last run began
"""


def store_root(path: str | Path, options: Mapping[str, Any] | None = None) -> StorePath:
    """The URL or the absolute folder of a store. Links are resolved, so that one store has one state."""
    root = store_path(to_store(path), to_store_options(options))
    if isinstance(root, RemotePath):
        return root
    root = root.absolute()
    return root.resolve() if root.is_symlink() else root


def state_base(root: StorePath, folder: str | Path | None = None) -> Path:
    """The folder for the states of all jobs of a store: beside the store, or in ``folder``. Raises StoreError.

    >>> state_base(Path("data/out.zarr")).as_posix()
    'data/out.zarr.gp_arrays'
    """
    if folder is not None:
        require_on_disk(to_path(folder))
    if folder is None and isinstance(root, RemotePath):
        raise StoreError(
            "the state of a job must be on a disk, so it cannot be beside a URL",
            found=str(root),
            allowed="a folder given by state= or --state, on a disk that all workers see",
        )
    parent = root.parent if isinstance(root, Path) and folder is None else Path(folder or "").absolute()
    return parent / f"{root.name}{STATES}"


def other_run_error(process: str) -> StoreError:
    """The error for outputs that another process is writing."""
    return StoreError("another run is at work on these outputs", found=process, allowed="one run at a time")


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """A context that only one process at a time can be in, for the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # some network disks cannot lock folders; then workers notice if their output was replaced
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class State:
    """The folder of a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new_folders: list[Path] = []

    @property
    def exists(self) -> bool:
        return (self.folder / document.JOB).exists()

    @property
    def created(self) -> bool:
        """True if all its outputs were created."""
        return (self.folder / CREATED).exists()

    def require_state_folder(self) -> None:
        """Raises StoreError if the folder contains anything else than the state of a job."""
        if not (self.folder / LOCK).exists() and self.folder.exists() and any(self.folder.iterdir()):
            raise StoreError(
                "the folder for the state contains other files",
                found=str(self.folder),
                allowed="another folder for the state",
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder while the job is running. The lock ends with this process in any case.

        Other jobs with the same outputs notice the lock by the marks of the outputs. At the end the folder is removed if
        it contains no job. Raises StoreError with the process that has locked the folder.
        """
        path = self.folder / LOCK
        self._new_folders = [parent for parent in self.folder.parents if not parent.exists()]
        with contextlib.ExitStack() as lock, contextlib.ExitStack() as cleaning:
            cleaning.callback(self._remove_if_empty)
            with writing(path):
                self.folder.mkdir(parents=True, exist_ok=True)
                file = lock.enter_context(path.open("a+b", buffering=0))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # the folder belongs to another run
                    cleaning.pop_all()
                    raise other_run_error(self.holder() or str(path)) from None
                file.truncate(0)
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}".encode())
            yield

    def clear(self) -> None:
        """Remove everything but the lock."""
        with self.replaced():
            pass

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """A context in which the folder is empty but for the lock. If it fails, all earlier entries are put back."""
        with tempfile.TemporaryDirectory(prefix="earlier-", dir=self.folder) as folder:
            earlier, failed = Path(folder, "earlier"), Path(folder, "failed")
            # later the disk may be full
            earlier.mkdir()
            failed.mkdir()
            self._move_entries(self.folder, earlier)
            try:
                yield
            except BaseException:
                self._move_entries(self.folder, failed)
                self._move_entries(earlier, self.folder)
                raise

    def _move_entries(self, source: Path, target: Path) -> None:
        """Move all entries of a folder but the lock and the folder that the target is in."""
        for entry in source.iterdir():
            if entry.name != LOCK and entry != target.parent:
                entry.rename(target / entry.name)

    def holder(self) -> str | None:
        """The process that is running the job, None if there is none."""
        path = self.folder / LOCK
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if is_locked(path):
                return path.read_text(encoding="utf-8") or str(path)
        return None

    def _remove_if_empty(self) -> None:
        """Remove the folder if it contains no job."""
        if not self.exists:
            self.remove()

    def remove(self) -> None:
        """Remove the folder, and folders above it that were created for it and are empty now."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        for parent in dict.fromkeys([self.folder.parent, *self._new_folders]):
            # a folder of the user stays, even if it is empty
            if parent in self._new_folders or parent.name.endswith(STATES):
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def begin(self) -> None:
        """Create the folders of a run. Raises StoreError."""
        with writing(self.folder):
            shutil.rmtree(self.folder / FAILURES, ignore_errors=True)
            for name in (FAILURES, LOGS, JOURNALS):
                (self.folder / name).mkdir(exist_ok=True)
        replace_file(self.folder / "README", README)
        start = this_start()
        if start is not None:
            replace_file(self.folder / BOOT, start, durable=True)

    def announce(self, run: dict[str, Any], todo: Grid) -> None:
        """Save the description of the current run and its blocks. From now on workers of earlier runs write nothing.

        Only this user may read it, because it contains how workers reach the scheduler. Raises StoreError.
        """
        folder = self.folder / RUN
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            (self.folder / JOURNALS / run["pass"]).mkdir(exist_ok=True)
            np.save(folder / "blocks.npy", todo)
        replace_file(folder / "run.json", json.dumps(run))

    def end(self) -> None:
        """Remove the description of the run. From now on its workers write nothing."""
        # this works on a full disk too
        (self.folder / RUN / "run.json").unlink(missing_ok=True)

    def read_run(self) -> dict[str, Any] | None:
        """The description of the current run, None if there is none."""
        try:
            run: dict[str, Any] = json.loads((self.folder / RUN / "run.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return run

    def done(self, pass_: Pass) -> Grid:
        """A bool grid of the blocks of a pass that are done now."""
        return read_done(self.folder, pass_.name, pass_.grid)

    def empty(self, pass_: Pass) -> Grid:
        """A bool grid of the blocks of a pass that are known to be empty."""
        return read_bitmap(self.folder, EMPTY, pass_.name, pass_.grid)

    def save_bitmap(self, kind: str, name: str, grid: Grid, durable: bool = False) -> None:
        """Save a bool grid of the blocks of a pass; its kind is SAFE or EMPTY. Raises StoreError."""
        with writing(self.folder / kind):
            (self.folder / kind).mkdir(exist_ok=True)
        replace_file(self.folder / kind / name, np.packbits(grid).tobytes(), durable)

    def replace_journals(self, pass_: Pass, done: Grid) -> None:
        """Save ``done`` as the safe blocks of a pass and remove its journals. No worker may be running."""
        self.save_bitmap(SAFE, pass_.name, done, durable=True)
        # journals are removed last, because readers read the bitmap after the journals
        shutil.rmtree(self.folder / JOURNALS / pass_.name, ignore_errors=True)

    @property
    def threads(self) -> int | None:
        """How many threads the workers of the last run could use; None if no run has ended yet."""
        summary = read_json(self.folder / SUMMARY)
        return None if summary is None else int(summary["threads"])

    def failures(self) -> list[dict[str, Any]]:
        """The notes of workers about blocks that failed in the last run: the last note for each block."""
        notes = {}
        for path in sorted((self.folder / FAILURES).glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    note = json.loads(line)
                    notes[note["pass"], note["block"]] = note
        return list(notes.values())
