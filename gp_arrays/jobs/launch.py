"""Starts a worker by a command, and is there as long as the command: a script that takes the place of daisy's helper.

There is one for each worker, all on the master's machine, so it needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

#: Seconds between looks at the master, seconds from asking a command to end to ending it, and
#: seconds that a worker has to show up once its command has returned. The last also keeps
#: commands that only submit jobs from doing so in quick succession.
LOOK, ASKED, LATE = 0.2, 3.0, 5.0

#: How what is said of a command that did not wait for its worker begins.
VAIN = "the worker command returned"
REMEDY = "it must last as long as its worker, as with sbatch --wait or bsub -K"


def main(launchers: str, signs: str, command: str, master: str) -> int:
    """Run the command for the worker that daisy's context in the environment describes.

    Args:
        launchers: The folder for a file that says which process group is the command's.
        signs: The folder where workers sign in.
        command: For a shell.
        master: The process that this one ends with.

    Returns:
        The exit code of the command; 1 where it was well but its worker was not.
    """
    context = os.environ["DAISY_CONTEXT"]
    said = dict(part.split("=", 1) for part in context.split(":") if "=" in part)
    # a Ctrl-C in the terminal is the master's to handle; ignored outright, the command would not get to know of any
    signal.signal(signal.SIGINT, lambda number, frame: None)
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: terminated.set())
    process = subprocess.Popen(["sh", "-c", command], start_new_session=True)
    threading.Thread(target=_attend, args=(process, terminated, int(master))).start()
    # on a full disk the command runs all the same
    with contextlib.suppress(OSError):
        Path(launchers, str(process.pid)).write_text(context, encoding="utf-8")
    code = process.wait()
    if code:
        # a worker that is frozen outlives the shell that was asked to end
        _end(process.pid)
        return code if code > 0 else 128 - code
    problem = _in_vain(Path(signs, f"{said['task_id']}.{said['worker_id']}"), said["hostname"], int(said["port"]))
    if problem and not terminated.is_set():
        print(f"{VAIN} {problem}; {REMEDY}", file=sys.stderr)
        return 1
    return 0


def _attend(process: subprocess.Popen[bytes], terminated: threading.Event, master: int) -> None:
    """End the command where this process is asked to end, or the master has ended."""
    while process.returncode is None:
        if terminated.wait(LOOK) or os.getppid() != master:
            _end(process.pid)
            return


def _end(group: int) -> None:
    """End a process group. It is asked first: a command such as srun has something to end elsewhere."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        asked = time.monotonic()
        while time.monotonic() - asked < ASKED:
            time.sleep(LOOK)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


def _in_vain(sign: Path, host: str, port: int) -> str | None:
    """What went wrong where a command returned although its worker has not come and gone."""
    end = time.monotonic() + LATE
    while True:
        try:
            state = sign.read_text(encoding="utf-8")[:1]
        except OSError:
            state = None
        # a sign that a full disk had no room for is empty; who comes after the end of a run leaves none
        if state in ("", ".") or not _listens(host, port):
            return None
        if time.monotonic() > end:
            break
        time.sleep(LOOK)
    return f"without its worker having connected to {host}:{port}" if state is None else "before its worker had ended"


def _listens(host: str, port: int) -> bool:
    """Whether the master still does; others may know this machine by an address that it does not have."""
    for address in (host, "127.0.0.1"):
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return True
    return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
