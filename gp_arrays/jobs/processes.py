"""The processes of a run besides its workers: daisy's scheduler for one pass, and a launcher for each worker.

Both run this file as a script, so it imports only the standard library, and daisy in the scheduler.

daisy prints without Python, installs signal handlers, and ends its process if it receives a message that it does not
understand. Therefore it has a process of its own. If that ends, the main process starts another scheduler for the blocks
that are not recorded as done. daisy takes a launcher for a worker. The launcher starts the worker and waits for it, ends
it if it is stuck or if the scheduler has ended, and tells by its exit code whether the worker ended by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

#: Seconds between two looks at a process or a file.
LOOK = 0.2
#: Seconds from asking a command to end until it is killed.
ASKED = 3.0
#: Seconds that a block may take longer than its timeout, because the journal may be on a slow disk.
GRACE = 3.0
#: Seconds that a worker may take to end after its last block.
LEAVE = 10.0
#: Seconds that launchers may take to end their workers. They need four if a worker is frozen, and more on a busy machine.
PATIENCE = 10.0

#: The layout of a record in a journal, and two kinds of records; ``storage.journal`` writes them.
RECORD = struct.Struct("<QII")
STARTED, LEFT = 1, 4

#: The variables that tell libraries how many threads they may start. They read them when they are imported.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLOSC_NTHREADS")
#: The variable that tells a worker how many bytes its cache may use.
CACHE_BYTES = "GP_ARRAYS_CACHE_BYTES"
#: The variable that tells which GPUs a process may use, and the folder with a file for each GPU.
DEVICES = "CUDA_VISIBLE_DEVICES"
DEVICE_FILES = Path("/dev")


class Scheduler:
    """The process of a scheduler.

    Args:
        state: The state folder, which describes the run.
        log: The file for what the scheduler prints.
    """

    def __init__(self, state: Path, log: Path) -> None:
        self._folder = state / "run"
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, "schedule", str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # a Ctrl-C in the terminal is for the master to handle
            start_new_session=True,
        )
        self._saving = threading.Thread(target=_save_messages, args=(self._process.stderr, log), daemon=True)
        self._saving.start()

    def wait(self, seconds: float) -> bool:
        """Wait so long for the scheduler. Returns True if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def end(self) -> dict[str, Any] | None:
        """End the scheduler and its launchers. Returns its report of its workers, None if it was killed or broke down."""
        process = self._process
        with process:
            assert process.stdout is not None
            # launchers whose scheduler has ended end their workers, and then themselves
            process.kill()
            until = time.monotonic() + PATIENCE
            while any(map(is_locked, self._folder.glob("slot-*"))) and time.monotonic() < until:
                time.sleep(LOOK / 4)
            # launchers that are frozen do not end by themselves
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._saving.join()
            lines = process.stdout.read().decode(errors="replace").splitlines()
        return json.loads(lines[-1]) if process.returncode == 0 and lines else None


def _save_messages(messages: BinaryIO, log: Path) -> None:
    """Append messages to a log. What does not fit on a full disk is dropped: daisy breaks down if it cannot print."""
    for line in messages:
        with contextlib.suppress(OSError), log.open("ab") as file:
            file.write(line)


def schedule(state: str) -> None:
    """Have workers do the blocks of the run in a state folder. Print a report of the workers.

    The blocks of daisy are positions in the list of missing blocks.
    """
    threading.Thread(target=_end_with_master, daemon=True).start()
    import daisy.v2 as daisy
    from daisy import logging as daisy_logging

    run = json.loads(Path(state, "run", "run.json").read_text(encoding="utf-8"))
    daisy_logging.set_log_basedir(run["logs"])
    command = [sys.executable, "-IS", __file__, "launch", state, str(os.getpid())]
    task = daisy.Task(
        run["pass"],
        daisy.Roi((0,), (run["count"],)),
        daisy.Roi((0,), (1,)),
        daisy.Roi((0,), (1,)),
        functools.partial(os.execv, sys.executable, command),
        read_write_conflict=False,
        max_workers=min(run["workers"], run["count"]),
        max_retries=run["retries"],
        timeout=run["timeout"],
        max_worker_restarts=run["patience"],
    )
    # with a host, workers on other machines connect to their launchers, which listen at that host
    host = None if run["command"] and not run["host"] else "127.0.0.1"
    (outcome,) = daisy.Server().run_blockwise(daisy.Pipeline([task]), progress=None, host=host, summary=False).values()
    lines = [line.strip() for line in (outcome.last_worker_error or "").splitlines() if line.strip()]
    exits = [line for line in lines if "exited with code" in line or "exceeded timeout" in line]
    error = ": ".join(dict.fromkeys([*exits[-1:], *lines[-1:]]))
    report = {"lost": outcome.worker_failure_count, "abandoned": outcome.abandoned, "error": error}
    print(json.dumps(report), flush=True)


def _end_with_master() -> None:
    """End this process once the main process has ended, which closes the other end of the pipe."""
    # not sys.stdin: the interpreter could not end while this thread has its lock
    while os.read(0, 1):
        pass
    os._exit(1)


def launch(state: str, scheduler: str) -> int:
    """Start the worker that daisy's context in the environment describes, and wait for it.

    Args:
        state: The state folder of the job.
        scheduler: The number of the scheduler's process. If that ends, the worker is ended.

    Returns:
        0 if the worker ended by itself, else the exit code of the command, or 1.
    """
    context = dict(part.split("=", 1) for part in os.environ["DAISY_CONTEXT"].split(":") if "=" in part)
    try:
        run = json.loads(Path(state, "run", "run.json").read_text(encoding="utf-8"))
        while (slot := take_slot(Path(state, "run"), run["workers"])) is None:
            if os.getppid() != int(scheduler):
                return 1
            time.sleep(LOOK)
    except OSError:
        return 0  # the run has ended
    worker = context["worker_id"]
    if run["command"] and run["host"]:
        context["hostname"], context["port"] = run["host"], str(forward(run["host"], int(context["port"])))
    os.environ["DAISY_CONTEXT"] = ":".join(f"{key}={value}" for key, value in context.items())
    os.environ.update(dict.fromkeys(THREADS, str(run["threads"])))
    if run["command"]:
        # the command may drop the environment, and all users could read arguments
        with contextlib.suppress(OSError):
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
            with os.fdopen(os.open(Path(state, "run", f"worker-{worker}"), flags, 0o600), "w") as file:
                file.write(os.environ["DAISY_CONTEXT"])
    else:
        os.environ[CACHE_BYTES] = str(run["cache_bytes"])
        if (device := device_of(slot)) is not None:
            os.environ[DEVICES] = device
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: terminated.set())
    signal.signal(signal.SIGINT, lambda number, frame: None)
    worker_command = shlex.join([sys.executable, "-m", "gp_arrays.jobs.worker", state, worker])
    command = (run["command"] or "exec {worker}").replace("{slot}", str(slot)).replace("{worker}", worker_command)
    process = subprocess.Popen(["sh", "-c", command], start_new_session=True)
    journal = Path(state, "journals", run["pass"], f"{run['run']}.{worker}")
    code = None
    while code is None:
        try:
            code = process.wait(LOOK)
        except subprocess.TimeoutExpired:
            if terminated.is_set() or os.getppid() != int(scheduler) or is_stuck(journal, run["timeout"]):
                end(process)
    if code:
        # a frozen worker is still there when its shell has ended
        end(process)
    if last_record(journal) == LEFT:
        return 0
    if not code and not terminated.is_set():
        remedy = "it must wait for its worker, as sbatch --wait and bsub -K do"
        print(f"the worker command returned before its worker had ended; {remedy}", file=sys.stderr)
    return 1 if not code else code if code > 0 else 128 - code


def take_slot(folder: Path, count: int) -> int | None:
    """The first number below ``count`` that no other launcher has. This process has it until it ends, even if it is killed."""
    for slot in range(count):
        file = os.open(folder / f"slot-{slot}", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return slot
        except BlockingIOError:
            os.close(file)
    return None


def is_locked(path: Path) -> bool:
    """True if a process has locked a file. Raises FileNotFoundError."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def device_of(slot: int) -> str | None:
    """The GPU for a slot, of those that this process may use; None if there is none."""
    visible = os.environ.get(DEVICES)
    if visible is None:
        # CUDA numbers the GPUs that a container sees from 0, whatever the names of their files are
        devices = [str(number) for number, _ in enumerate(DEVICE_FILES.glob("nvidia[0-9]*"))]
    else:
        devices = [name.strip() for name in visible.split(",") if name.strip()]
    return devices[slot % len(devices)] if devices else None


def last_record(journal: Path) -> int:
    """The kind of the last record of a journal; 0 if there is none."""
    with contextlib.suppress(OSError):
        data = journal.read_bytes()
        for _, kind, _ in reversed(list(RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]))):
            if kind:
                return int(kind)
    return 0


def is_stuck(journal: Path, timeout: float | None) -> bool:
    """True if a worker has worked on one block for longer than the timeout."""
    with contextlib.suppress(OSError):
        kind, age = last_record(journal), time.time() - journal.stat().st_mtime
        return timeout is not None and kind == STARTED and age > timeout + GRACE
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group. They are asked to end first, because commands such as srun must end processes elsewhere."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        asked = time.monotonic()
        while time.monotonic() - asked < ASKED:
            time.sleep(LOOK)
            # a process that has ended stays in its group until this is noticed
            process.poll()
            os.killpg(process.pid, 0)
        os.killpg(process.pid, signal.SIGKILL)


def forward(host: str, port: int) -> int:
    """Listen at a host for the worker, and pass its messages on to daisy's port on this machine. Returns the port."""
    family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
    server = socket.create_server((host, 0), family=family)

    def accept() -> None:
        while True:
            incoming, _ = server.accept()
            outgoing = socket.create_connection(("127.0.0.1", port))
            for source, target in ((incoming, outgoing), (outgoing, incoming)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(server.getsockname()[1])


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end_ in (source, target):
        with contextlib.suppress(OSError):
            end_.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    roles: dict[str, Callable[..., int | None]] = {"schedule": schedule, "launch": launch}
    # an ordinary exit has the code 120 where messages do not fit on a full disk
    os._exit(roles[sys.argv[1]](*sys.argv[2:]) or 0)
