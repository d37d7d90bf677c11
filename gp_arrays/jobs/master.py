"""Runs the missing blocks of a job, pass by pass, and says how it went. "Done" is what workers recorded, and nothing else."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
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
from .document import Job
from .geometry import Pass
from .launch import LEAVE
from .making import mark_outputs
from .records import Checkpoints, Records
from .result import Failed, Result
from .schedule import Grid, Schedule, over, voxels_of
from .scheduler import Scheduler
from .settings import Crew
from .state import LOGS, SUMMARY, State
from .worker import main_module

#: Seconds between looks at the journals.
LOOK = 0.2
#: How often in a row a scheduler may end without one more block done or failed.
VAIN = 2
#: What is known of the workers of a scheduler that its master has ended.
ENDED_HERE = {"lost": 0, "abandoned": False, "error": ""}
#: The size of a terminal that does not tell.
UNKNOWN = {"ncols": 80, "nrows": 20}

logger = logging.getLogger(__name__)


class Run:
    """A run of a job: its schedulers, one after another for each pass, and what they and the journals say.

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
        #: The blocks that the run was to do, by pass.
        self.ready: dict[str, Grid] = {}
        #: How often a block of a pass was at work when a scheduler broke down, which is no fault of the block.
        self._forgiven: dict[str, Grid] = {}
        self._rounds = 0
        #: The pass and the number of its blocks that were done at the last look, and how many had failed then.
        self._progress: tuple[tuple[str, int], int] = (("", 0), 0)
        self._bar: Any = None

    def work(self) -> None:
        """Do what is missing. A pass begins where those below it are recorded."""
        self.state.begin()
        with writing(self.logs):
            self.logs.mkdir()
        total = self.schedule.count(self.schedule.missing)
        shown: dict[str, Any] = {"disable": not self.progress, **size_of(sys.stderr)}
        with tqdm(total=total, unit="block", **shown) as self._bar:
            for pass_ in self.job.passes:
                self._work_on(pass_)

    def _missing(self, pass_: Pass) -> Grid:
        """The missing blocks of a pass whose sources are all there."""
        missing = self.schedule.missing(pass_.name)
        if pass_.level is not None:
            below = self.job.pass_named(pass_.level.after)
            there = self.state.done(below) | ~self.schedule.active[below.name]
            missing = missing & over(pass_, below, there, np.all)
        return missing.ravel()

    def _records(self, pass_: Pass, run: str = "") -> Records:
        return Records.read(self.state, pass_, f"{self.id}{run}")

    def _work_on(self, pass_: Pass) -> None:
        retries = self.crew.limits.retries
        if self.stopped is not None:
            return
        ready = self.ready[pass_.name] = self._missing(pass_)
        self._forgiven[pass_.name] = np.zeros(pass_.count, np.int64)
        vain = 0
        records = self._records(pass_)
        while self.stopped is None and vain < VAIN:
            todo = ready & ~records.settled(retries) & ~self._tried(pass_, records)
            if not todo.any():
                return
            outcome = self._schedule(pass_, np.flatnonzero(todo))
            before, records = int(records.settled(retries).sum()), self._records(pass_)
            vain = 0 if int(records.settled(retries).sum()) > before else vain + 1
            if outcome is None:
                forgiven = self._forgiven[pass_.name]
                forgiven += np.maximum(records.started - records.failed - records.done - forgiven, 0)
                logger.warning("daisy's scheduler broke down, see %s; another one goes on", self.logs)
                continue
            # daisy may end before it hears of the last one
            journals = read_journals(self.state.folder, pass_.name, f"{self.id}-{self._rounds}.").values()
            silent = sum(not len(records) or int(records["kind"][-1]) != LEFT for records in journals)
            self.lost += max(outcome["lost"], 0 if self.stopped else silent)
            if vain and outcome["abandoned"] and self.stopped is None:
                self.stopped = (
                    f"{outcome['lost']} workers died one after another without finishing a block; "
                    f"the last: {outcome['error']}, see {self.logs}"
                )

    def _tried(self, pass_: Pass, records: Records) -> Grid:
        """The blocks that workers have begun as often as they may."""
        tried: Grid = records.started - self._forgiven[pass_.name] > self.crew.limits.retries
        return tried

    def _schedule(self, pass_: Pass, todo: Grid) -> dict[str, Any] | None:
        """Have one scheduler do some blocks of a pass. Returns what it says of its workers, None where it broke down."""
        self._rounds += 1
        crew, job = self.crew, self.job
        run: dict[str, Any] = {
            "run": f"{self.id}-{self._rounds}",
            "pass": pass_.name,
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
        return self._host_scheduler(pass_, run)

    def _host_scheduler(self, pass_: Pass, run: dict[str, Any]) -> dict[str, Any] | None:
        """Have a scheduler do the run that was announced, until it ends or has nothing more to wait for."""
        scheduler = Scheduler(self.state.folder, self.logs / "scheduler.log")
        ended = False
        try:
            ended = self._watch(scheduler, pass_, run["count"])
        finally:
            # workers end after the blocks that they are at, as long as these take few seconds
            self.state.end()
            until = time.monotonic() + LEAVE
            while self._busy(pass_) and time.monotonic() < until and not scheduler.wait(LOOK / 4):
                pass
            outcome = scheduler.end()
        return outcome if ended else ENDED_HERE

    def _watch(self, scheduler: Scheduler, pass_: Pass, count: int) -> bool:
        """True once a scheduler has ended, False where it waits in vain."""
        settled_at = None
        pause = LOOK
        begin = self._bar.n
        while True:
            ended = scheduler.wait(pause)
            began = time.monotonic()
            records = self._records(pass_, f"-{self._rounds}.")
            if new := begin + int((records.done > 0).sum()) - self._bar.n:
                failures = int(records.failed.sum())
                self._bar.set_postfix({"failures": failures} if failures else {}, refresh=False)
                self._bar.update(new)
            if ended:
                return True
            if int(records.settled(self.crew.limits.retries).sum()) == count:
                settled_at = settled_at or began
                if began - settled_at > LEAVE:
                    return False
            if self._all_fail(pass_):
                return False
            # a job of very many blocks is looked at less often
            pause = max(LOOK, 20 * (time.monotonic() - began))

    def _all_fail(self, pass_: Pass) -> bool:
        """True, with the reason kept, where too many failures were recorded with no block done between them."""
        records = self._records(pass_)
        done, failed = (pass_.name, int(records.done.sum())), int(records.failed.sum())
        if done != self._progress[0]:
            self._progress = done, failed
        failures = failed - self._progress[1]
        if failures < self.crew.limits.max_failed:
            return False
        notes = self.state.failures()
        last = f"; the last: {notes[-1]['error']}" if notes else ""
        self.stopped = f"{failures} failures with no block done between them{last}"
        return True

    def _busy(self, pass_: Pass) -> bool:
        journals = read_journals(self.state.folder, pass_.name, f"{self.id}-{self._rounds}.").values()
        return any(len(records) and records["kind"][-1] == STARTED for records in journals)

    def failed(self) -> Iterable[Failed]:
        """The blocks that failed, and why."""
        notes = {(note["pass"], note["block"]): note for note in self.state.failures()}
        for pass_ in self.job.passes:
            if pass_.name not in self.ready:
                continue
            records = self._records(pass_)
            missing = self.ready[pass_.name] & (records.done == 0)
            if self.stopped is not None:
                # others were never tried
                missing &= (records.failed > 0) | self._tried(pass_, records)
            for block in np.flatnonzero(missing).tolist():
                path: tuple[str, ...] = ()
                if (pass_.name, block) in notes:
                    note = notes[pass_.name, block]
                    path, reason = tuple(note["path"]), note["error"]
                elif records.failed[block]:
                    reason = f"why could not be kept in {self.state.folder}; is its disk full?"
                elif records.started[block]:
                    reason = "its worker died, or took longer than the block timeout, each time"
                else:
                    reason = "daisy called it done, but no worker has recorded it"
                yield Failed(tuple(output.dataset for output in pass_.outputs), pass_.block_of(block).roi, path, reason)


def size_of(screen: Any) -> dict[str, int]:
    """What tqdm cannot see of a terminal's size: one that does not tell says 0, and tqdm shows nothing on it."""
    try:
        size = os.get_terminal_size(screen.fileno())
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return {}
    told = {"ncols": size.columns, "nrows": size.lines}
    return {name: UNKNOWN[name] for name, number in told.items() if not number}


def run_job(job: Job, root: Path, state: State, schedule: Schedule, crew: Crew, progress: bool) -> Result:
    """Do what is missing. Raises KeyboardInterrupt, or what else stopped it, once what is done is kept."""
    started = time.monotonic()
    run = Run(job, state, schedule, crew, progress)
    interrupted: BaseException | None = None
    failed: tuple[Failed, ...] = ()
    if any(schedule.missing(pass_.name).any() for pass_ in job.passes):
        with Checkpoints(state, job.passes, root).during():
            try:
                run.work()
            except (KeyboardInterrupt, SystemExit) as error:
                interrupted = error
                run.stopped = "interrupted"
            failed = tuple(run.failed())
    done = {pass_.name: state.done(pass_) for pass_ in job.passes}
    result = Result(
        path=root,
        datasets=job.outputs,
        blocks=schedule.count(lambda name: schedule.chosen[name]),
        done=schedule.count(lambda name: schedule.chosen[name] & (done[name] | ~schedule.active[name])),
        before=schedule.count(lambda name: schedule.chosen[name] & schedule.active[name] & schedule.before[name]),
        empty=schedule.count(lambda name: schedule.chosen[name] & ~schedule.active[name]),
        failed=failed,
        voxels=sum(voxels_of(pass_, schedule.missing(pass_.name) & done[pass_.name]) for pass_ in job.passes),
        seconds=time.monotonic() - started,
        workers_lost=run.lost,
        state=state.folder,
        logs=run.logs,
        stopped=run.stopped,
    )
    try:
        mark_outputs(job, state)
        summary = {**result.document(), "threads": crew.limits.threads}
        replace_file(state.folder / SUMMARY, json.dumps(summary, indent=1))
    except StoreError as error:
        # the blocks are done all the same; a disk may be full
        logger.warning("the end of the run was not recorded, the same call again does so: %s", error)
    if interrupted is not None:
        logger.warning("stopped: %s of %s blocks are done", result.done, result.blocks)
        raise interrupted
    return result
