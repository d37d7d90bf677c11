"""Runs the blocks of a job through daisy, and says how it went."""

from __future__ import annotations

import functools
import json
import logging
import os
import shlex
import signal
import socket
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
from ..model.meta import Region
from ..storage.files import replace_file, writing
from . import launch
from .durable import Checkpoints
from .prepare import Job
from .result import Failed, Result
from .schedule import Schedule
from .screen import Observer, messages_to, size_of, voxels_of
from .state import LAUNCHERS, LOGS, SUMMARY, WORKERS, State
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
            raise ConfigError(
                "workers, retries and timeout are out of range",
                found=f"num_workers={self.count}, retries={self.retries}, block_timeout={self.timeout}",
                allowed="at least one worker, no negative retries, a timeout above 0 or None",
            )
        if self.command is not None:
            if "{worker}" not in self.command:
                raise ConfigError(
                    "the command starts no worker",
                    found=repr(self.command),
                    allowed='{worker} in it, as in "srun -c 2 {worker}"',
                )
            try:
                shlex.split(self.command)
            except ValueError as error:
                raise ConfigError("no shell takes the worker command", found=f"{self.command!r}: {error}") from None
        if self.host:
            _require_host(self.host, self.command is None)

    @property
    def patience(self) -> int:
        """How many workers may die one after another before a run is given up."""
        return 5 + 2 * self.count

    def start(self, state: State, run: str) -> Callable[[], Any]:
        """What daisy calls, in a process of its own, to have one worker; it lasts as long as the worker."""
        folder = str(state.folder)
        if self.command is None:
            return functools.partial(run_worker, folder, run, os.getpid())
        worker = shlex.join([sys.executable, "-m", "gp_arrays.jobs.worker", folder, run])
        command = self.command.replace("{worker}", f'{worker} "$DAISY_CONTEXT"')
        folders = [str(state.folder / LAUNCHERS), str(state.folder / WORKERS)]
        script = [launch.__file__, *folders, command, str(os.getpid())]
        # not a function of ours: to import this package takes each of many workers seconds and memory on this machine
        return functools.partial(os.execv, sys.executable, [sys.executable, "-IS", *script])


def _require_host(host: str, here: bool) -> None:
    """Raises ConfigError for a host that is not known, or where workers are ``here`` is none of this machine."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "the host is not known",
            found=f"{host!r}: {error}",
            allowed="the address that workers reach this machine by",
        ) from None
    refused: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as tried:
                tried.bind(address)
                return
        except OSError as error:
            refused = error
    if here:
        raise ConfigError(
            "the host is not this machine",
            found=f"{host!r}: {refused}",
            allowed="the address that workers reach this machine by",
        )
    # daisy listens at all addresses and only tells workers this one: it may be translated on the way
    logging.getLogger(__name__).warning("host %r is no address of this machine; workers elsewhere are told it", host)


def run_job(job: Job, state: State, schedule: Schedule, workers: Workers, progress: bool) -> Result:
    """Do what is missing. Raises KeyboardInterrupt where that is what happened, SystemExit after a SIGTERM."""
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
    interrupted: BaseException | None = None
    if any(schedule.missing(made.name).any() for made in job.passes):
        with Checkpoints(state, job.passes, job.root).kept():
            try:
                with messages_to(logs / "master.log") as screen:
                    _run_daisy(job, state, schedule, workers, run, watchdog, stopped, screen if progress else None)
            except KeyboardInterrupt as error:
                interrupted = None if stopped else error
            except SystemExit as error:
                interrupted = error
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
    if interrupted is not None:
        logging.getLogger(__name__).warning("stopped: %s of %s blocks are done", result.done, result.blocks)
        raise interrupted
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
            made.name,
            Roi(made.begin, total),
            box,
            box,
            start,
            read_write_conflict=False,
            fit="overhang",
            max_workers=max(1, min(workers.count, int(schedule.missing(made.name).sum()))),
            max_retries=workers.retries,
            timeout=workers.timeout,
            tracking_path=str(state.tracking(made.name)),
            # outside of the main thread nothing but daisy can give a run up
            max_worker_restarts=10**6 if main else workers.patience,
            skip_mask=~(schedule.chosen[made.name] & schedule.active[made.name]),
        )
    edges = [(tasks[made.after], tasks[made.name]) for made in job.passes if made.after is not None]

    def stop(why: str) -> None:
        if main:
            stopped.append(why)
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt(number: int, frame: Any) -> None:
        watchdog.stopping = watchdog.stopping or time.time()
        raise KeyboardInterrupt

    def terminate(number: int, frame: Any) -> None:
        terminated.append(number)
        # timeout(1), for one, sends it twice: to the process and to its group
        if len(terminated) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    terminated: list[int] = []
    before: dict[int, Any] = {}
    if main:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
        # what a program does about it by itself is left to it
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # by way of the one signal that daisy looks for
            before[signal.SIGTERM] = signal.signal(signal.SIGTERM, terminate)
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
        shown = {"disable": screen is None, "file": screen, **size_of(screen)}
        with tqdm(total=schedule.count(schedule.missing), unit="block", **shown) as bar:
            observer = Observer(bar, job, schedule)
            states = daisy.Server().run_blockwise(
                daisy.Pipeline(list(tasks.values()), edges), progress=observer, host=host, summary=False
            )
        if watchdog.stopping is not None and not stopped:
            # in the last moment: the blocks were done, what comes after the run is not
            raise KeyboardInterrupt
        if any(task.abandoned for task in states.values()):
            stopped.append(f"workers died too often; the last: {watchdog.deaths.last}, see {watchdog.logs}")
    except KeyboardInterrupt:
        if terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    except (OSError, ValueError) as error:
        raise StoreError("the run cannot begin", found=f"{type(error).__name__}: {error}") from error
    finally:
        watchdog.end()
        daisy_logging.set_log_basedir(before_logs)
        messages.removeHandler(watchdog.deaths)
        messages.propagate = propagate
        for number, handler in before.items():
            signal.signal(number, handler)


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
