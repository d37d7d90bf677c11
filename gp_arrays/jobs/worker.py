"""A worker takes blocks from the scheduler, computes and writes them, and records each block in its journal."""

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

#: Seconds between a failure and the next block: after the first failure, and at most.
PAUSE, LONGEST_PAUSE = 0.05, 2.0
#: About the seconds that worker processes need to start. Work that takes less time is done by the main process.
SHORT = 2.0
#: After so many blocks it is known how long the others will take.
FEW = 3
#: Seconds between two checks that the run is still running, and from the end of the run to the end of a worker.
OVER = 10.0
#: This variable is set in workers. A script that a worker imports must not begin a job.
WORKER = "GP_ARRAYS_WORKER"


class RunEnded(Exception):
    """Raised in a worker whose run has ended."""


class Worker:
    """Computes and writes the blocks of one pass of a job.

    Args:
        state: Of the job.
        run: The description of the run.
        worker_id: The number of the worker in the run.
        log: A file for the tracebacks of failed blocks; None for stderr.
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
        """The compiled pass. Raises StoreError, also if files that the voxels depend on are not as they were when the run began."""
        job = document.read(self.state.folder)
        work = document.load(self.state.folder, job, self.run["pass"])
        for step in work.plan.steps:
            files = step.config.fingerprints()
            if work.pass_.level is None and files != job.files.get(step.config.name, {}):
                raise StoreError(
                    "files that the voxels depend on have changed since the run began, or differ on this machine",
                    found=", ".join(files),
                    path=(step.config.name,),
                )
        return work

    def _writer(self, output: Output) -> Writer:
        if output.dataset not in self._writers:
            job = self.work.job
            self._writers[output.dataset] = Writer(self.work.root, output.dataset, output.meta, job.skip_empty, job.id)
        return self._writers[output.dataset]

    def require_current(self) -> None:
        """Raises RunEnded if the run has ended."""
        current = self.state.read_run()
        if current is None or current["run"] != self.run["run"]:
            raise RunEnded

    def exit_after_run(self) -> None:
        """End this process some time after the run: a worker that lost its connection would wait for a block for ever."""
        try:
            while True:
                time.sleep(OVER)
                self.require_current()
        except RunEnded:
            time.sleep(OVER)
            os._exit(1)

    def process(self, number: int) -> None:
        """Compute and write the outputs of a block, and record that it is done."""
        self.require_current()
        self.journal.add(STARTED, number)
        for output, part, voxels in self.work.evaluate(self.work.pass_.block_of(number)):
            writer = self._writer(output)
            self.require_current()
            writer.write(part, voxels)
        self.journal.add(DONE, number)

    def attempt(self, number: int) -> bool:
        """Do a block. If it fails, record that, set ``pause`` and return False. Raises RunEnded."""
        try:
            self.process(number)
        except RunEnded:
            raise
        except Exception as error:  # whatever the error is, the other blocks are done
            self._record(number, error)
            # a store that cannot be reached may come back
            may_pass = isinstance(error, (StoreError, OSError))
            self.pause = min(max(2 * self.pause, PAUSE), LONGEST_PAUSE) if may_pass else 0.0
            return False
        self.pause = 0.0
        return True

    def _record(self, number: int, error: Exception) -> None:
        """Record that a block failed, and why, if the disk has space for that."""
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
        """Do blocks until there are none left or the run has ended."""
        import daisy.v2 as daisy

        # prepare before the first block comes; an error is raised again, and recorded, by each block
        with contextlib.suppress(Exception):
            _ = self.work
        client = daisy.Client()
        while client.connected:
            with client.acquire_block() as block:
                if block is None:
                    break
                # without a status daisy would take the block for done
                block.status = daisy.BlockStatus.FAILED
                try:
                    if self.attempt(int(self.blocks[int(block.write_roi.begin[0])])):
                        block.status = daisy.BlockStatus.SUCCESS
                except RunEnded:
                    print("the run has ended: this worker ends too", file=sys.stderr)
                    break
                time.sleep(self.pause)

    def work_while_short(self, blocks: Sequence[int], stop: Callable[[], bool]) -> bool:
        """Do blocks in the main process, until it is known that they will take longer than workers need to start.

        A block that fails is tried again as often as the run allows.

        Args:
            blocks: The numbers of the blocks.
            stop: Called from time to time and after each failure. If it returns True, no further block is begun.

        Returns:
            True if all blocks were tried.
        """
        spent = first = 0.0
        last_stop = time.monotonic()
        for position, number in enumerate(blocks):
            if position >= FEW or spent > SHORT / 4:
                # the first block also opens files, so the others take less time
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
                if not done or now > last_stop + LOOK:
                    last_stop = now
                    if stop():
                        return False
                if done:
                    break
                time.sleep(self.pause)
            first = first or spent
        stop()
        return True

    def close(self) -> None:
        """Release the resources of all arrays, and record that this worker ended by itself."""
        for step in self.work.plan.steps if "work" in vars(self) else ():
            step.config.release()
        with contextlib.suppress(OSError):
            self.journal.add(LEFT)
        self.journal.close()


def run_description(name: str, job: document.Job, pass_name: str, count: int, crew: Crew, logs: Path) -> dict[str, Any]:
    """What the scheduler and the workers have to know of a run, and of the main process."""
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
        # the workers of this machine share its memory
        "cache_bytes": total_bytes() // crew.count,
        "patience": crew.patience,
        "logs": str(logs),
        "sys_path": [str(Path(path).absolute()) if path else str(Path.cwd()) for path in sys.path],
        "modules": list(job.modules),
        "main": {key: main[key] for key in ("init_main_from_name", "init_main_from_path") if key in main},
    }


def import_modules(run: dict[str, Any]) -> None:
    """Import the modules that the tree needs from where the main process has imported them.

    A script is imported under the name ``__mp_main__``, as multiprocessing does.
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
        # a command that starts workers may not pass on the environment
        os.environ.setdefault(name, str(run["threads"]))
    import_modules(run)
    worker = Worker(state, run, worker_id)
    threading.Thread(target=worker.exit_after_run, daemon=True).start()
    with threads_of_torch(run["threads"]):
        worker.loop()
    worker.close()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # threads and processes that libraries have left running must not delay the run
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
