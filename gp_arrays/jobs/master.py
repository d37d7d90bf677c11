"""Runs the missing blocks of a job, pass by pass, and says how it went. "Done" is what workers recorded, and nothing else."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..errors import StoreError
from ..storage.files import replace_file, writing
from ..storage.journal import LEFT, STARTED, read_journals
from . import scheduler
from .crew import Crew
from .document import Job
from .durable import Checkpoints
from .geometry import Pass
from .launch import ASKED, LEAVE
from .marks import mark_outputs
from .processes import children, is_alive, keep_messages, main_module, size_of
from .records import Records
from .result import Failed, Result
from .schedule import Grid, Schedule, over, voxels_of
from .state import LOGS, SUMMARY, State

#: Seconds between looks at the journals.
LOOK = 0.2
#: How often in a row a scheduler may end without one more block done or failed.
VAIN = 2

logger = logging.getLogger(__name__)


class Run:
    """A run of a job: its schedulers, one for each pass, and what they and the journals say.

    Args:
        job: The job.
        state: Its state.
        schedule: What there is to do.
        crew: The workers.
        progress: True if a bar is shown.
    """

    def __init__(self, job: Job, state: State, schedule: Schedule, crew: Crew, progress: bool) -> None:
        self.job, self.state, self.schedule, self.crew, self.progress = job, state, schedule, crew, progress
        self.id = uuid.uuid4().hex
        self.logs = state.folder / LOGS / time.strftime(f"%Y%m%d-%H%M%S-{self.id[:4]}")
        self.stopped: str | None = None
        self.lost = 0
        #: Blocks that were tried as often as they may, by pass, and those that no worker was seen to start.
        self.given_up: dict[str, Grid] = {}
        self.unseen: dict[str, Grid] = {}
        self.records: dict[str, Records] = {}
        self._rounds = 0
        self._before_failures = (0, 0)
        self._bar: Any = None

    def work(self) -> None:
        """Do what is missing. A pass begins where those below it are recorded."""
        self.state.begin()
        with writing(self.logs):
            self.logs.mkdir()
        total = self.schedule.count(self.schedule.missing)
        shown: dict[str, Any] = {"disable": not self.progress, **size_of(sys.stderr)}
        with tqdm(total=total, unit="block", **shown) as self._bar:
            for made in self.job.passes:
                if self.stopped is None:
                    self._work_on(made)

    def _ready(self, made: Pass) -> Grid:
        """The missing blocks of a pass whose sources are all there."""
        missing = self.schedule.missing(made.name)
        if made.level is None:
            return missing
        below = self.job.pass_named(made.level.after)
        there = self.state.done(below) | ~self.schedule.active[below.name]
        return missing & over(made, below, there, np.all)

    def _work_on(self, made: Pass) -> None:
        ready = self._ready(made).ravel()
        forgiven = np.zeros(made.count, np.int64)
        retries = self.crew.limits.retries
        vain = 0
        while self.stopped is None:
            records = self.records[made.name] = Records.read(self.state, made, self.id)
            tried = records.started - forgiven > retries
            todo = ready & ~records.settled(retries) & ~tried
            self.given_up[made.name] = (ready & (records.done == 0) & (tried | (records.failed > retries))).reshape(
                made.grid
            )
            self.unseen[made.name] = (todo & (records.started == 0)).reshape(made.grid)
            if not todo.any() or vain == VAIN:
                return
            settled = int(records.settled(retries).sum())
            outcome = self._schedule(made, np.flatnonzero(todo))
            records = self.records[made.name] = Records.read(self.state, made, self.id)
            vain = 0 if int(records.settled(retries).sum()) > settled else vain + 1
            if outcome is None:
                # blocks at work when a scheduler broke down have not failed
                forgiven += np.maximum(records.started - records.failed - records.done - forgiven, 0)
                logger.warning("daisy's scheduler broke down, see %s; another one goes on", self.logs)
            else:
                # daisy may end before it hears of the last one
                journals = read_journals(self.state.folder, made.name, f"{self.id}-{self._rounds}.").values()
                silent = sum(not len(records) or int(records["kind"][-1]) != LEFT for records in journals)
                self.lost += max(outcome["lost"], 0 if self.stopped else silent)
                if vain and outcome["abandoned"] and self.stopped is None:
                    self.stopped = (
                        f"{outcome['lost']} workers died one after another without finishing a block; "
                        f"the last: {outcome['error']}, see {self.logs}"
                    )

    def _schedule(self, made: Pass, todo: Grid) -> dict[str, Any] | None:
        """Have one scheduler do some blocks of a pass. Returns what it says of its workers, None where it broke down."""
        self._rounds += 1
        crew, job = self.crew, self.job
        run: dict[str, Any] = {
            "run": f"{self.id}-{self._rounds}",
            "pass": made.name,
            "count": len(todo),
            "workers": crew.count,
            "command": crew.command,
            "host": crew.host,
            "retries": crew.limits.retries,
            "timeout": crew.limits.timeout,
            "threads": crew.limits.threads,
            "patience": crew.patience,
            "logs": str(self.logs),
            "sys_path": [str(Path(path).absolute()) if path else str(Path.cwd()) for path in sys.path],
            "modules": list(job.modules),
            "main": main_module() if "__main__" in job.modules else {},
        }
        self.state.announce(run, todo)
        process = subprocess.Popen(
            [sys.executable, "-P", scheduler.__file__, str(self.state.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # a Ctrl-C in the terminal is for this process to handle
            start_new_session=True,
        )
        with process:
            # not the file itself: a full disk would end the scheduler at its next message
            keeper = threading.Thread(
                target=keep_messages, args=(process.stderr, self.logs / "scheduler.log"), daemon=True
            )
            keeper.start()
            try:
                self._watch(process, made, f"{run['run']}.", len(todo))
            finally:
                self._end(process, made, f"{run['run']}.")
            keeper.join(ASKED)
            assert process.stdout is not None
            lines = process.stdout.read().decode(errors="replace").splitlines()
            return json.loads(lines[-1]) if process.returncode == 0 and lines else None

    def _watch(self, process: subprocess.Popen[bytes], made: Pass, run: str, count: int) -> None:
        """Wait for a scheduler to end, and end it where it waits in vain."""
        settled_at = None
        pause = LOOK
        begin = self._bar.n
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(pause)
            began = time.monotonic()
            records = Records.read(self.state, made, run)
            settled = records.settled(self.crew.limits.retries)
            if new := begin + int((records.done > 0).sum()) - self._bar.n:
                failures = int(records.failed.sum())
                self._bar.set_postfix({"failures": failures} if failures else {}, refresh=False)
                self._bar.update(new)
            if process.returncode is not None:
                return
            if int(settled.sum()) == count:
                settled_at = settled_at or began
                if began - settled_at > LEAVE:
                    return
            if self._all_fail():
                return
            # a job of very many blocks is looked at less often
            pause = max(LOOK, 20 * (time.monotonic() - began))

    def _all_fail(self) -> bool:
        """True, with the reason kept, where too many failures were recorded with no block done between them."""
        records = [Records.read(self.state, made, self.id) for made in self.job.passes]
        done = sum(int(record.done.sum()) for record in records)
        failed = sum(int(record.failed.sum()) for record in records)
        if done != self._before_failures[0]:
            self._before_failures = done, failed
        if failed - self._before_failures[1] < self.crew.limits.max_failed:
            return False
        notes = self.state.failures()
        last = f"; the last: {notes[-1]['error']}" if notes else ""
        self.stopped = f"{failed - self._before_failures[1]} failures with no block done between them{last}"
        return True

    def _end(self, process: subprocess.Popen[bytes], made: Pass, run: str) -> None:
        """See that a scheduler and its workers are gone. Blocks at work are written, as long as that takes few seconds."""
        self.state.end()
        until = time.monotonic() + LEAVE
        while process.poll() is None and time.monotonic() < until and self._busy(made, run):
            time.sleep(LOOK / 4)
        launchers = list(children(process.pid))
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ASKED)
        process.kill()
        process.wait()
        until = time.monotonic() + 2 * ASKED
        while launchers := [pid for pid in launchers if is_alive(pid)]:
            if time.monotonic() > until:
                # frozen, or without a master's ear
                for pid in launchers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            time.sleep(LOOK / 4)

    def _busy(self, made: Pass, run: str) -> bool:
        journals = read_journals(self.state.folder, made.name, run).values()
        return any(len(records) and records["kind"][-1] == STARTED for records in journals)

    def failed(self) -> Iterable[Failed]:
        """The blocks that failed, and why."""
        notes = {(note["pass"], note["block"]): note for note in self.state.failures()}
        for made in self.job.passes:
            if made.name not in self.records:
                continue
            records, datasets = self.records[made.name], tuple(output.dataset for output in made.outputs)
            given_up, unseen = self.given_up[made.name].ravel(), self.unseen[made.name].ravel()
            for block in np.flatnonzero((given_up | unseen | (records.failed > 0)) & (records.done == 0)).tolist():
                note = notes.get((made.name, block))
                if note is not None:
                    path, reason = tuple(note["path"]), note["error"]
                elif records.failed[block]:
                    path, reason = (), f"why could not be kept in {self.state.folder}; is its disk full?"
                elif given_up[block]:
                    path, reason = (), "its worker died, or took longer than the block timeout, each time"
                elif self.stopped is None:
                    path, reason = (), "daisy called it done, but no worker has recorded it"
                else:
                    continue
                yield Failed(datasets, made.block_of(block).roi, path, reason)


def run_job(job: Job, root: Path, state: State, schedule: Schedule, crew: Crew, progress: bool) -> Result:
    """Do what is missing. Raises KeyboardInterrupt, or what else stopped it, once what is done is kept."""
    started = time.monotonic()
    run = Run(job, state, schedule, crew, progress)
    interrupted: BaseException | None = None
    failed: tuple[Failed, ...] = ()
    if any(schedule.missing(made.name).any() for made in job.passes):
        with Checkpoints(state, job.passes, root).during():
            try:
                run.work()
            except (KeyboardInterrupt, SystemExit) as error:
                interrupted = error
            failed = tuple(run.failed())
    mark_outputs(job, state)
    done = {made.name: state.done(made) for made in job.passes}
    result = Result(
        path=root,
        datasets=job.outputs,
        blocks=schedule.count(lambda name: schedule.chosen[name]),
        done=schedule.count(lambda name: schedule.chosen[name] & (done[name] | ~schedule.active[name])),
        before=schedule.count(lambda name: schedule.chosen[name] & schedule.active[name] & schedule.before[name]),
        empty=schedule.count(lambda name: schedule.chosen[name] & ~schedule.active[name]),
        failed=failed,
        voxels=sum(voxels_of(made, schedule.missing(made.name) & done[made.name]) for made in job.passes),
        seconds=time.monotonic() - started,
        workers_lost=run.lost,
        state=state.folder,
        logs=run.logs,
        stopped=run.stopped,
    )
    try:
        summary = {**result.document(), "threads": crew.limits.threads}
        replace_file(state.folder / SUMMARY, json.dumps(summary, indent=1))
    except StoreError as error:
        # what was done is done, and said below; the disk of the state may be full
        logger.warning("the summary of the run was not kept: %s", error)
    if interrupted is not None:
        logger.warning("stopped: %s of %s blocks are done", result.done, result.blocks)
        raise interrupted
    return result
