"""A worker: takes blocks from the master, computes and writes them, survives those that fail."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ..errors import GpArraysError, StoreError
from ..model.meta import Region
from ..storage.files import reserve_file
from . import job as jobs
from .geometry import Output, Pass
from .outputs import Writer
from .state import FAILURES, RUN, WORKERS

#: Seconds between a failure and the next block, at first and at most: what has vanished may come back.
PAUSE, LONGEST_PAUSE = 0.05, 2.0
#: Bytes that the note of a failed block has room for on a full disk.
NOTE = 4096


class Stale(Exception):
    """The run that this worker belongs to is over."""


class Worker:
    """Computes and writes the blocks of one pass of a job.

    Args:
        folder: The job's.
        name: Of the pass.
        run: The run that it belongs to.
    """

    def __init__(self, folder: Path, name: str, run: str) -> None:
        self.folder, self.run = folder, run
        self.job = jobs.load(folder, name)
        self.made: Pass = self.job.made
        self._writers: dict[str, Writer] = {}

    def _writer(self, output: Output) -> Writer:
        if output.dataset not in self._writers:
            self._writers[output.dataset] = Writer(
                self.job.root, output.dataset, output.meta, self.job.skip_empty, self.job.id
            )
        return self._writers[output.dataset]

    def require_current(self) -> None:
        """Raises Stale where another run has begun since."""
        try:
            current = (self.folder / RUN).read_text(encoding="utf-8")
        except FileNotFoundError:
            current = None
        if current != self.run:
            raise Stale

    def process(self, block: Region) -> None:
        """Compute the outputs of a block and write them."""
        for output, part, voxels in self.job.evaluate(block):
            writer = self._writer(output)
            self.require_current()
            writer.write(part, voxels)


class Notes:
    """Notes of blocks that failed, for the master to report.

    Room for one is kept free, as a full disk is a reason to leave a note.
    """

    def __init__(self, folder: Path, name: str, worker_id: int) -> None:
        self.folder, self.name = folder / FAILURES, name
        self._spare = self.folder / f"{name}.{worker_id}.spare"
        self._reserve()

    def _reserve(self) -> None:
        with contextlib.suppress(StoreError):
            reserve_file(self._spare, NOTE)

    def leave(self, block: Region, error: Exception) -> None:
        """Leave a note. Raises OSError."""
        path = error.path if isinstance(error, GpArraysError) else ()
        text = str(error) if isinstance(error, GpArraysError) else f"{type(error).__name__}: {error}"
        said = {"pass": self.name, "begin": block.begin, "end": block.end, "path": path, "error": text}
        note = json.dumps(said).encode()
        if not self._spare.exists():
            reserve_file(self._spare, NOTE)
        with self._spare.open("r+b") as file:
            file.write(note)
            file.truncate()
        self._spare.replace(self.folder / f"{self.name}-{'_'.join(map(str, block.begin))}.json")
        self._reserve()


class Sign:
    """A file that tells the master what this worker does, and since when.

    On a disk too full for it the worker works without.
    """

    def __init__(self, folder: Path, task: str, worker_id: int) -> None:
        path = folder / WORKERS / f"{task}.{worker_id}"
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        with contextlib.suppress(OSError):
            os.write(self._file, f"- {os.getpid()} {socket.gethostname()}\n".encode())

    def busy(self, is_busy: bool) -> None:
        self._say(b"+" if is_busy else b"-")

    def out(self) -> None:
        """Say that this worker has nothing more to do, so that it did not vanish."""
        self._say(b".")

    def _say(self, what: bytes) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._file, what, 0)


def run(folder: str, run: str, master: int | None = None) -> None:
    """The loop of a worker. daisy's context is in the environment.

    Args:
        folder: The job's.
        run: The run that it works for.
        master: The process that it dies with, where that is its parent.
    """
    import daisy.v2 as daisy

    if master is not None:
        # a Ctrl-C in the terminal is the master's to handle: this ends between blocks, once the master is gone
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _die_with(master)
    client = daisy.Client()
    if not client.connected:
        return
    worker = Worker(Path(folder), client.task_id, run)
    notes = Notes(worker.folder, client.task_id, client.worker_id)
    sign = Sign(worker.folder, client.task_id, client.worker_id)
    pause = PAUSE
    while True:
        try:
            with client.acquire_block() as block:
                if block is None:
                    break
                sign.busy(True)
                region = Region.of(block.write_roi)
                try:
                    worker.require_current()
                    worker.process(region)
                    pause = PAUSE
                except Stale:
                    # returning from within would count as success
                    block.status = daisy.BlockStatus.FAILED
                    print("another run has begun: this worker ends", file=sys.stderr)
                    return
                except Exception as error:
                    block.status = daisy.BlockStatus.FAILED
                    # where neither fits on the disk the block has failed all the same
                    with contextlib.suppress(OSError):
                        traceback.print_exc()
                    with contextlib.suppress(OSError):
                        notes.leave(region, error)
                    if isinstance(error, (StoreError, OSError)):
                        time.sleep(pause)
                        pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            sign.busy(False)
    sign.out()


def _die_with(master: int) -> None:
    """End this process once its master has ended, however that came about."""

    def watch() -> None:
        while os.getppid() == master:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: Any = None) -> None:
    """``python -m gp_arrays.jobs.worker FOLDER RUN CONTEXT``: a worker started by some command."""
    folder, name, context = sys.argv[1:] if arguments is None else arguments
    os.environ["DAISY_CONTEXT"] = context
    run(folder, name)


if __name__ == "__main__":
    main()
