"""Runs the blocks of a job through daisy, and says how it went."""

from __future__ import annotations

import functools
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi
from tqdm.auto import tqdm

from ..errors import ConfigError, StoreError
from ..meta import Region
from ..storage.files import replace_file, writing
from .durable import Checkpoints
from .prepare import Job
from .result import Failed, Result
from .schedule import Schedule
from .screen import Observer, messages_to, voxels_of
from .state import LAUNCHERS, LOGS, SUMMARY, State
from .watch import Watchdog
from .worker import run as run_worker

LOCAL = "127.0.0.1"


@attrs.frozen
class Workers:
    """How the workers of a run are started and what they are allowed.

    Attributes:
        count: How many at once, for each pass.
        command: What starts one elsewhere, with ``{worker}`` for the worker's own command.
        host: The address that workers reach the master by; this machine alone by default,
            and with a command the one that other machines reach it by.
        retries: How often a failed block is tried again.
        timeout: Seconds after which a block counts as stuck, or None.
    """

    count: int = 2
    command: str | None = None
    host: str | None = None
    retries: int = 2
    timeout: float | None = 600

    def __attrs_post_init__(self) -> None:
        if self.count < 1 or self.retries < 0 or (self.timeout is not None and not self.timeout > 0):
            raise ConfigError("workers, retries and timeout are out of range",
                              found=f"num_workers={self.count}, retries={self.retries}, block_timeout={self.timeout}",
                              allowed="at least one worker, no negative retries, a timeout above 0 or None")  # fmt: skip
        if self.command is not None and "{worker}" not in self.command:
            raise ConfigError("the command starts no worker", found=repr(self.command),
                              allowed='{worker} in it, as in "srun -c 2 {worker}"')  # fmt: skip

    @property
    def patience(self) -> int:
        """How many workers may die one after another before a run is given up."""
        return 5 + 2 * self.count

    def start(self, state: State, run: str) -> Callable[[], Any]:
        """What daisy calls, in a process of its own, to have one worker."""
        folder = str(state.folder)
        if self.command is None:
            return functools.partial(run_worker, folder, run, os.getpid())
        worker = shlex.join([sys.executable, "-m", "gp_arrays.materialize.worker", folder, run])
        command = self.command.replace("{worker}", f'{worker} "$DAISY_CONTEXT"')
        # the shell becomes the command, so that its number is the one to end it by
        script = f'printf %s "$DAISY_CONTEXT" > "$0/$$"; exec {command}'
        launchers = str(state.folder / LAUNCHERS)
        return functools.partial(subprocess.check_call, ["sh", "-c", script, launchers], start_new_session=True)


def run_job(job: Job, state: State, schedule: Schedule, workers: Workers, progress: bool) -> Result:
    """Do what is missing. Raises KeyboardInterrupt where that is what happened."""
    started = time.monotonic()
    run = uuid.uuid4().hex
    state.begin(run)
    logs = state.folder / LOGS / time.strftime(f"%Y%m%d-%H%M%S-{run[:4]}")
    with writing(logs):
        logs.mkdir()
    watchdog = Watchdog(
        state, schedule, logs, workers.retries, workers.timeout, workers.command is not None, workers.patience
    )
    stopped: list[str] = []
    interrupted = False
    if any(schedule.missing(made.name).any() for made in job.passes):
        with Checkpoints(state, job.passes, job.root).kept():
            try:
                with messages_to(logs / "master.log") as screen:
                    _run_daisy(job, state, schedule, workers, run, watchdog, stopped, screen if progress else None)
            except KeyboardInterrupt:
                interrupted = not stopped
            except RuntimeError as error:
                # daisy gives a task up where its workers die too often
                stopped.append(str(error).strip().splitlines()[0])
            state.over()
    result = _report(job, state, schedule, watchdog, started, next(iter(stopped), None))
    try:
        replace_file(state.folder / SUMMARY, json.dumps(result.document(), indent=1))
    except StoreError as error:
        # what was done is done, and said below; the disk of the state may be full
        logging.getLogger(__name__).warning("the summary of the run was not kept: %s", error)
    if interrupted:
        logging.getLogger(__name__).warning("stopped: %s of %s blocks are done", result.done, result.blocks)
        raise KeyboardInterrupt
    return result


def _run_daisy(
    job: Job,
    state: State,
    schedule: Schedule,
    workers: Workers,
    run: str,
    watchdog: Watchdog,
    stopped: list[str],
    screen: Any,
) -> None:
    import daisy.v2 as daisy
    from daisy import logging as daisy_logging

    main = threading.current_thread() is threading.main_thread()
    start = workers.start(state, run)
    tasks = {}
    for made in job.passes:
        total = tuple(n * s for n, s in zip(made.grid, made.block, strict=True))
        box = Roi(made.begin, made.block)
        tasks[made.name] = daisy.Task(
            made.name, Roi(made.begin, total), box, box, start,
            read_write_conflict=False, fit="overhang", max_workers=max(1, min(workers.count, int(schedule.missing(made.name).sum()))), max_retries=workers.retries,
            timeout=workers.timeout, tracking_path=str(state.tracking(made.name)),
            # outside of the main thread nothing but daisy can give a run up
            max_worker_restarts=10**6 if main else workers.patience,
            skip_mask=~(schedule.chosen[made.name] & schedule.active[made.name]),
        )  # fmt: skip
    edges = [(tasks[made.after], tasks[made.name]) for made in job.passes if made.after is not None]

    def stop(why: str) -> None:
        if main:
            stopped.append(why)
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt(number: int, frame: Any) -> None:
        watchdog.stopping = watchdog.stopping or time.time()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt) if main else None
    before_logs = daisy_logging.get_log_basedir()
    daisy_logging.set_log_basedir(watchdog.logs)
    # its own messages about workers are for the watchdog; their logs say the rest
    messages = logging.getLogger("daisy")
    messages.addHandler(watchdog.deaths)
    propagate, messages.propagate = messages.propagate, False
    watchdog.stop = stop if main else None
    watchdog.start()
    host = workers.host or (LOCAL if workers.command is None else None)
    try:
        with tqdm(total=schedule.count(schedule.missing), unit="block", disable=screen is None, file=screen) as bar:
            observer = Observer(bar, job, schedule)
            daisy.Server().run_blockwise(
                daisy.Pipeline(list(tasks.values()), edges), progress=observer, host=host, summary=False
            )
    except (OSError, ValueError) as error:
        raise StoreError("the run cannot begin", found=f"{type(error).__name__}: {error}") from error
    finally:
        watchdog.end()
        daisy_logging.set_log_basedir(before_logs)
        messages.removeHandler(watchdog.deaths)
        messages.propagate = propagate
        if main:
            signal.signal(signal.SIGINT, before)


def _report(
    job: Job,
    state: State,
    schedule: Schedule,
    watchdog: Watchdog,
    started: float,
    stopped: str | None,
) -> Result:
    done = {made.name: state.done(made.name, made.grid) for made in job.passes}
    outputs = {made.name: tuple(o.dataset for o in made.outputs) for made in job.passes}
    failed = []
    given_up = {name: grid & ~done[name] for name, grid in watchdog.failed().items()}
    for note in state.failures():
        made = next(made for made in job.passes if made.name == note["pass"])
        region = Region(tuple(note["begin"]), tuple(note["end"]))
        position = tuple(s.start for s in made.within(region))
        if not done[made.name][position]:
            given_up[made.name][position] = False
            failed.append(Failed(outputs[made.name], region.roi, tuple(note["path"]), note["error"]))
    reason = "its worker died, or took longer than the block timeout, each time"
    if not watchdog.deaths.count:
        reason = f"why could not be kept in {state.folder}; is its disk full?"
    for made in job.passes:
        for block in np.argwhere(given_up[made.name]).tolist():
            failed.append(Failed(outputs[made.name], made.region(block).roi, (), reason))
    new = sum(voxels_of(p, schedule.missing(p.name) & done[p.name]) for p in job.passes)
    return Result(
        job.root,
        job.datasets,
        schedule.count(lambda name: schedule.chosen[name]),
        schedule.count(lambda name: schedule.chosen[name] & (done[name] | ~schedule.active[name])),
        schedule.count(lambda name: schedule.chosen[name] & schedule.active[name] & schedule.before[name]),
        schedule.count(lambda name: schedule.chosen[name] & ~schedule.active[name]),
        tuple(failed),
        new,
        time.monotonic() - started,
        watchdog.deaths.count,
        watchdog.logs,
        stopped,
    )
