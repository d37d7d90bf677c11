"""Runs the missing blocks of a job, pass by pass. A block is done only if a worker has recorded that."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..errors import StoreError
from ..storage.access.files import replace_file, writing
from ..storage.access.remote import StorePath
from ..storage.journal import LEFT, STARTED, Grid
from ..train.network import threads_of_torch
from . import document
from .document import Job
from .geometry import Pass
from .outputs import mark_outputs
from .processes import LEAVE, LOOK, Scheduler
from .records import Records, take_checkpoint
from .result import Failed, Result
from .schedule import Schedule, combine_below, voxels_of
from .settings import Crew
from .state import LOGS, SUMMARY, State
from .worker import Worker, run_description

#: Seconds between checkpoints: after a power failure the work of so many seconds may have to be done again.
EVERY = 60.0
#: How many schedulers, one after another, may end without one more block done or failed.
IN_VAIN = 2
#: The outcome of a scheduler that the main process has ended.
ENDED_HERE = {"lost": 0, "abandoned": False, "error": ""}

logger = logging.getLogger(__name__)


class Run:
    """A run of a job. For each pass it starts a scheduler, or several one after another, and reads the journals of workers.

    Args:
        job: The job.
        root: The store.
        state: The state of the job.
        schedule: Which blocks are to be done.
        crew: The workers.
        progress: True if a progress bar is shown.
        here: True if this process may do blocks itself, as long as that takes less time than workers need to start.
    """

    def __init__(
        self, job: Job, root: StorePath, state: State, schedule: Schedule, crew: Crew, progress: bool, here: bool
    ) -> None:
        self.job, self.root, self.state, self.schedule, self.crew = job, root, state, schedule, crew
        self._here = here
        self.id = uuid.uuid4().hex
        self.logs = state.folder / LOGS / time.strftime(f"%Y%m%d-%H%M%S-{self.id[:4]}")
        self.stopped: str | None = None
        self.lost = 0
        #: The blocks that the run has to do, by pass.
        self.ready: dict[str, Grid] = {}
        self._rounds = 0
        #: How many blocks of the pass were done at the last look; and how many failures were recorded when that grew.
        self._done = self._failed = 0
        self._next_checkpoint = time.monotonic() + EVERY
        self._show_bar = progress
        self._bar: Any = None

    def work(self) -> None:
        """Do the missing blocks, pass by pass. A block of a level is done only if all blocks below it are recorded."""
        self.state.begin()
        with writing(self.logs):
            self.logs.mkdir()
        total = self.schedule.count(self.schedule.missing)
        with tqdm(total=total, unit="block", disable=not self._show_bar, **terminal_size()) as self._bar:
            for pass_ in self.job.passes:
                self._work_on(pass_)

    def _missing(self, pass_: Pass) -> Grid:
        """The missing blocks of a pass; of a level of a pyramid only those whose blocks below are done or empty."""
        missing = self.schedule.missing(pass_.name)
        if pass_.level is not None:
            below = self.job.pass_named(pass_.level.after)
            ready = self.state.done(below) | ~self.schedule.active[below.name]
            missing = missing & combine_below(pass_, below, ready, np.all)
        return missing.ravel()

    def records(self, pass_: Pass) -> Records:
        """What the workers of this run have recorded of a pass."""
        return Records.read(self.state, pass_, self.id)

    def _work_on(self, pass_: Pass) -> None:
        retries = self.crew.limits.retries
        if self.stopped is not None:
            return
        ready = self.ready[pass_.name] = self._missing(pass_)
        self._done = self._failed = in_vain = 0
        records = self.records(pass_)
        while self.stopped is None and in_vain < IN_VAIN:
            todo = ready & ~records.settled(retries) & (records.started <= retries)
            if not todo.any():
                return
            try:
                outcome = self._schedule(pass_, np.flatnonzero(todo))
            except StoreError as error:
                if self._rounds == 1:
                    raise
                # blocks that this run has done are reported although no more of the state can be saved
                self.stopped = str(error)
                return
            if outcome is None:
                logger.warning("daisy's scheduler broke down, see %s; another one continues", self.logs)
            settled, records = records.settled(retries).sum(), self.records(pass_)
            in_vain = 0 if records.settled(retries).sum() > settled else in_vain + 1
            if outcome is not None and self.stopped is None:
                # daisy may end before it has noticed the last worker that died
                self.lost += max(outcome["lost"], sum(kind != LEFT for kind in self._last_records(records)))
                if in_vain and outcome["abandoned"]:
                    self.stopped = (
                        f"{outcome['lost']} workers died one after another without finishing a block; "
                        f"the last: {outcome['error']}, see {self.logs}"
                    )

    @property
    def _journals(self) -> str:
        """What the names of the journals of the current scheduler's workers begin with."""
        return f"{self.id}-{self._rounds}."

    def _last_records(self, records: Records) -> list[int]:
        """The kinds of the last records of the workers of the current scheduler."""
        return [kind for name, kind in records.last.items() if name.startswith(self._journals)]

    def _schedule(self, pass_: Pass, todo: Grid) -> dict[str, Any] | None:
        """Have some blocks of a pass done. Returns the outcome of the scheduler, None if it broke down."""
        self._rounds += 1
        run = run_description(f"{self.id}-{self._rounds}", self.job, pass_.name, len(todo), self.crew, self.logs)
        self.state.announce(run, todo)
        return self._work_here(pass_, run, todo) if self._here else self._host_scheduler(pass_, todo)

    def _work_here(self, pass_: Pass, run: dict[str, Any], todo: Grid) -> dict[str, Any]:
        """Do blocks of a pass in this process with the code of workers, unless that takes longer than workers need to start."""
        worker = Worker(self.state, run, "here", self.logs / "here.err")
        before = self._bar.n - self._done
        try:
            with threads_of_torch(run["threads"]):
                self._here = worker.work_while_short(todo.tolist(), lambda: self._update(pass_, before)[1])
        finally:
            worker.close()
            self.state.end()
        return ENDED_HERE

    def _host_scheduler(self, pass_: Pass, todo: Grid) -> dict[str, Any] | None:
        """Have a scheduler do the blocks of the run that was announced, until it ends or no blocks are left."""
        scheduler = Scheduler(self.state.folder, self.logs / "scheduler.log")
        ended = False
        try:
            ended = self._watch(scheduler, pass_, todo)
        finally:
            # workers may finish their blocks, for a few seconds
            self.state.end()
            until = time.monotonic() + LEAVE
            while STARTED in self._last_records(self.records(pass_)) and time.monotonic() < until:
                if scheduler.wait(LOOK / 4):
                    break
            outcome = scheduler.end()
        return outcome if ended else ENDED_HERE

    def _watch(self, scheduler: Scheduler, pass_: Pass, todo: Grid) -> bool:
        """Wait for the scheduler. Returns True if it has ended, False if it runs although there is nothing left to do."""
        settled_at = None
        pause = LOOK
        before = self._bar.n - self._done
        while True:
            ended = scheduler.wait(pause)
            if time.monotonic() > self._next_checkpoint:
                take_checkpoint(self.state, self.job.passes, self.root)
                self._next_checkpoint = time.monotonic() + EVERY
            began = time.monotonic()
            records, failing = self._update(pass_, before)
            if ended:
                return True
            if records.settled(self.crew.limits.retries)[todo].all():
                settled_at = settled_at or began
                if began - settled_at > LEAVE:
                    return False
            if failing:
                return False
            # it takes time to read the journals of very many blocks, so they are read less often
            pause = max(LOOK, 20 * (time.monotonic() - began))

    def _update(self, pass_: Pass, before: int) -> tuple[Records, bool]:
        """Read the journals of a pass and show its progress, after ``before`` blocks of other passes.

        Returns:
            The records, and True if the run must end because too many blocks failed.
        """
        records = self.records(pass_)
        failing = self._too_many_failed(records)
        failures = int(records.failed.sum())
        self._bar.set_postfix({"failures": failures} if failures else {}, refresh=False)
        self._bar.update(before + self._done - self._bar.n)
        return records, failing

    def _too_many_failed(self, records: Records) -> bool:
        """True if too many failures were recorded with no block done between them. ``stopped`` is then set to the reason."""
        done, failed = int((records.done > 0).sum()), int(records.failed.sum())
        if done != self._done:
            self._done, self._failed = done, failed
        failures = failed - self._failed
        if failures < self.crew.limits.max_failed:
            return False
        notes = self.state.failures()
        last = f"; the last: {notes[-1]['error']}" if notes else ""
        self.stopped = f"{failures} failures with no block done between them{last}"
        return True

    def failed(self) -> Iterable[Failed]:
        """The blocks that failed, and why."""
        notes = {(note["pass"], note["block"]): note for note in self.state.failures()}
        for pass_ in self.job.passes:
            if pass_.name not in self.ready:
                continue
            records = self.records(pass_)
            missing = self.ready[pass_.name] & (records.done == 0)
            if self.stopped is not None:
                # the other missing blocks were never tried
                missing &= (records.failed > 0) | (records.started > self.crew.limits.retries)
            for block in np.flatnonzero(missing).tolist():
                path: tuple[str, ...] = ()
                if (pass_.name, block) in notes:
                    note = notes[pass_.name, block]
                    path, reason = tuple(note["path"]), note["error"]
                elif records.started[block] and not records.failed[block]:
                    reason = "its worker died, or took longer than the block timeout, each time"
                else:
                    # on a full disk nothing could be recorded of the block
                    reason = f"its workers could not write the reason to {self.state.folder}; is its disk full?"
                yield Failed(tuple(output.dataset for output in pass_.outputs), pass_.block_of(block).roi, path, reason)


def terminal_size() -> dict[str, Any]:
    """Options of tqdm, which shows nothing on a terminal that reports a width of 0."""
    return {"ncols": shutil.get_terminal_size((80, 20)).columns, "nrows": 20} if sys.stderr.isatty() else {}


def run_job(
    job: Job, root: StorePath, state: State, schedule: Schedule, crew: Crew, progress: bool, here: bool
) -> Result:
    """Run the missing blocks of a job. The arguments are those of ``Run``.

    KeyboardInterrupt and SystemExit are raised again after all records are saved.
    """
    started = time.monotonic()
    run = Run(job, root, state, schedule, crew, progress, here)
    interrupted: BaseException | None = None
    failed: tuple[Failed, ...] = ()
    if schedule.count(schedule.missing):
        try:
            run.work()
        except (KeyboardInterrupt, SystemExit) as error:
            interrupted = error
            run.stopped = "interrupted"
        finally:
            failed = tuple(run.failed())
            take_checkpoint(state, job.passes, root, last=True)
    done = {pass_.name: state.done(pass_) for pass_ in job.passes}
    result = Result(
        path=root,
        datasets=job.outputs,
        blocks=schedule.count(lambda name: schedule.chosen[name]),
        done=schedule.count(lambda name: schedule.chosen[name] & (done[name] | ~schedule.active[name])),
        before=schedule.count(schedule.done_before),
        empty=schedule.count(schedule.empty),
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
        summary = {**document.plain(result), "threads": crew.limits.threads}
        replace_file(state.folder / SUMMARY, json.dumps(summary, indent=1))
    except StoreError as error:
        # the blocks are done even if the disk is full now
        logger.warning("the end of the run could not be recorded, the same call again will record it: %s", error)
    if interrupted is not None:
        logger.warning("stopped: %s of %s blocks are done", result.done, result.blocks)
        raise interrupted
    return result
