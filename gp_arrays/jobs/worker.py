"""A worker: takes blocks from the scheduler, computes and writes them, and records what became of each."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GpArraysError, StoreError
from ..model.cache import total_bytes
from ..storage.journal import DONE, FAILED, JOURNALS, LEFT, STARTED, Journal
from ..train.network import threads_of_torch
from . import document
from .geometry import Output
from .outputs import Writer
from .processes import LOOK, THREADS
from .settings import Crew
from .state import FAILURES, RUN, State

#: Seconds between a failure and the next block, at first and at most.
PAUSE, LONGEST_PAUSE = 0.05, 2.0
#: Seconds that worker processes take to start, about: work that takes no longer is done by the process of the master.
SHORT = 2.0
#: After how many blocks it is known how long the others take.
FEW = 3
#: Seconds between checks that the run is still running, and until a worker is ended after it.
OVER = 10.0
#: Set in workers: a script that they run under another name must not begin a job of its own.
WORKER = "GP_ARRAYS_WORKER"


class RunEnded(Exception):
    """The run that this worker belongs to is over."""


class Worker:
    """Computes and writes the blocks of one pass of a job.

    Args:
        state: Of the job.
        run: The run that it belongs to.
        worker_id: Its number in the run.
        log: A file for the tracebacks of blocks that failed; None for stderr.
    """

    def __init__(self, state: State, run: dict[str, Any], worker_id: str, log: Path | None = None) -> None:
        self.state, self.run, self.log = state, run, log
        self.journal = Journal(state.folder / JOURNALS / run["pass"] / f"{run['run']}.{worker_id}")
        self.notes = state.folder / FAILURES / f"{run['run']}.{worker_id}.jsonl"
        self.blocks = np.load(state.folder / RUN / "blocks.npy", mmap_mode="r")
        self._writers: dict[str, Writer] = {}
        self.pause = 0.0

    @functools.cached_property
    def work(self) -> document.Work:
        """The pass, compiled. Raises StoreError, also where files that decide the voxels are not those of the master."""
        job = document.read(self.state.folder)
        work = document.load(self.state.folder, job, self.run["pass"])
        for step in work.plan.steps:
            now = step.config.fingerprints()
            if work.pass_.level is None and now != job.files.get(step.config.name, {}):
                raise StoreError(
                    "files that decide the voxels have changed since the run began, or are others here",
                    found=", ".join(now),
                    path=(step.config.name,),
                )
        return work

    def _writer(self, output: Output) -> Writer:
        if output.dataset not in self._writers:
            job = self.work.job
            self._writers[output.dataset] = Writer(self.work.root, output.dataset, output.meta, job.skip_empty, job.id)
        return self._writers[output.dataset]

    def require_current(self) -> None:
        """Raises RunEnded where the run is over, or another has begun since."""
        now = self.state.read_run()
        if now is None or now["run"] != self.run["run"]:
            raise RunEnded

    def exit_after_run(self) -> None:
        """End this process after the run: one whose connection was cut would wait for its next block for ever."""
        try:
            while True:
                time.sleep(OVER)
                self.require_current()
        except RunEnded:
            time.sleep(OVER)
            os._exit(1)

    def process(self, number: int) -> None:
        """Compute the outputs of a block, write them, and record that."""
        self.require_current()
        self.journal.add(STARTED, number)
        for output, part, voxels in self.work.evaluate(self.work.pass_.block_of(number)):
            writer = self._writer(output)
            self.require_current()
            writer.write(part, voxels)
        self.journal.add(DONE, number)

    def attempt(self, number: int) -> bool:
        """Do a block. Returns False where it failed, once that is recorded; then ``pause`` follows. Raises RunEnded."""
        try:
            self.process(number)
        except RunEnded:
            raise
        except Exception as error:  # whatever a block fails of, the others are done
            self._record(number, error)
            # what has vanished may come back
            vanished = isinstance(error, (StoreError, OSError))
            self.pause = min(max(2 * self.pause, PAUSE), LONGEST_PAUSE) if vanished else 0.0
            return False
        self.pause = 0.0
        return True

    def _record(self, number: int, error: Exception) -> None:
        """Record that a block failed, and why, as far as the disk has space for it."""
        path = error.path if isinstance(error, GpArraysError) else ()
        text = str(error) if isinstance(error, GpArraysError) else f"{type(error).__name__}: {error}"
        note = json.dumps({"pass": self.run["pass"], "block": number, "path": path, "error": text})
        with contextlib.suppress(OSError):
            self.journal.add(FAILED, number)
        with contextlib.suppress(OSError), self.notes.open("a", encoding="utf-8") as file:
            file.write(f"{note}\n")
        with contextlib.suppress(OSError):
            if self.log is None:
                traceback.print_exc()
            else:
                with self.log.open("a", encoding="utf-8") as file:
                    traceback.print_exc(file=file)

    def loop(self) -> None:
        """Do blocks until there are none, or the run is over."""
        import daisy.v2 as daisy

        # before a block is waited for; what fails here is recorded with each block that fails of it
        with contextlib.suppress(Exception):
            _ = self.work
        client = daisy.Client()
        while client.connected:
            with client.acquire_block() as block:
                if block is None:
                    break
                # leaving this block of code in any other way would count as success
                block.status = daisy.BlockStatus.FAILED
                try:
                    if self.attempt(int(self.blocks[int(block.write_roi.begin[0])])):
                        block.status = daisy.BlockStatus.SUCCESS
                except RunEnded:
                    print("the run is over: this worker ends", file=sys.stderr)
                    break
                time.sleep(self.pause)

    def work_while_short(self, blocks: Sequence[int], stop: Callable[[], bool]) -> bool:
        """Do blocks in the process of the master, each as often as it may fail, unless they take longer than workers to start.

        Args:
            blocks: Their numbers.
            stop: Called now and then, and after each failure; True ends this.

        Returns:
            True if all blocks were tried.
        """
        spent = first = 0.0
        looked = time.monotonic()
        for position, number in enumerate(blocks):
            if position >= FEW or spent > SHORT / 4:
                # the first block also opens files, so it does not tell how long the others take
                seconds = spent if position == 1 else (spent - first) / (position - 1)
                if seconds * (len(blocks) - position) > SHORT:
                    return False
            for _ in range(self.run["retries"] + 1):
                began = time.monotonic()
                try:
                    done = self.attempt(number)
                except RunEnded:
                    return False
                now = time.monotonic()
                spent += now - began
                if not done or now > looked + LOOK:
                    looked = now
                    if stop():
                        return False
                if done:
                    break
                time.sleep(self.pause)
            first = first or spent
        stop()
        return True

    def leave(self) -> None:
        """Release the resources of all arrays, and record that this worker left by itself."""
        for step in self.work.plan.steps if "work" in vars(self) else ():
            step.config.release()
        with contextlib.suppress(OSError):
            self.journal.add(LEFT)
        self.journal.close()


def run_description(name: str, job: document.Job, pass_name: str, count: int, crew: Crew, logs: Path) -> dict[str, Any]:
    """What the scheduler and the workers of a run have to know of it, and of the process of the master."""
    main = spawn.get_preparation_data("gp_arrays") if "__main__" in job.modules else {}
    return {
        "run": name,
        "pass": pass_name,
        "count": count,
        "workers": crew.count,
        "command": crew.command,
        "host": crew.host,
        "retries": crew.limits.retries,
        "timeout": crew.limits.timeout,
        "threads": crew.limits.threads,
        # of workers beside each other; those elsewhere have memory of their own
        "cache_bytes": total_bytes() // crew.count,
        "patience": crew.patience,
        "logs": str(logs),
        "sys_path": [str(Path(path).absolute()) if path else str(Path.cwd()) for path in sys.path],
        "modules": list(job.modules),
        "main": {key: main[key] for key in ("init_main_from_name", "init_main_from_path") if key in main},
    }


def import_modules(run: dict[str, Any]) -> None:
    """Import what the tree needs, as the process of the master has it.

    A script is run under the name ``__mp_main__``, as multiprocessing does.
    """
    sys.path[:0] = [path for path in run["sys_path"] if path not in sys.path]
    for module in run["modules"]:
        if module == "__main__":
            spawn.prepare(run["main"])
        else:
            importlib.import_module(module)


def main(folder: str, worker_id: str) -> None:
    """``python -m gp_arrays.jobs.worker STATE NUMBER``."""
    state = State(Path(folder))
    os.environ[WORKER] = worker_id
    with contextlib.suppress(FileNotFoundError):
        os.environ["DAISY_CONTEXT"] = (state.folder / RUN / f"worker-{worker_id}").read_text(encoding="utf-8")
    run = state.read_run()
    if run is None:
        return
    for name in THREADS:
        # a worker elsewhere may have lost what its launcher has set
        os.environ.setdefault(name, str(run["threads"]))
    import_modules(run)
    worker = Worker(state, run, worker_id)
    threading.Thread(target=worker.exit_after_run, daemon=True).start()
    with threads_of_torch(run["threads"]):
        worker.loop()
    worker.leave()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # what libraries have left running, threads and processes, holds up no run
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
