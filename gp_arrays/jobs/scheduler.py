"""daisy's scheduler for one pass, in a process of its own: this module is its script, and what its master has of it.

daisy prints past Python, installs signal handlers, and ends with the process on a message that it does not understand.
Here that concerns nobody else: the master starts another scheduler for the blocks that are not recorded as done.
The script needs daisy and the standard library alone.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

#: Seconds until launchers that were told to end are ended, which takes them less.
PATIENCE = 6.0


class Scheduler:
    """The process of a scheduler.

    Args:
        state: The state folder, which tells what there is to do.
        log: The file for what the scheduler prints.
    """

    def __init__(self, state: Path, log: Path) -> None:
        # the scheduler and its launchers hold one end of this pipe, and nobody else: once they are gone, it is closed
        self._gone, held = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # a Ctrl-C in the terminal is for the master to handle
            start_new_session=True,
            pass_fds=(held,),
        )
        os.close(held)
        # not the file itself: a full disk would end the scheduler at its next message
        self._keeper = threading.Thread(target=_keep_messages, args=(self._process.stderr, log), daemon=True)
        self._keeper.start()

    def wait(self, seconds: float) -> bool:
        """True if the scheduler has ended, for which so long is waited."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def end(self) -> dict[str, Any] | None:
        """End the scheduler and its launchers. Returns what it said of its workers, None where it was stopped or broke down."""
        process = self._process
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            select.select([self._gone], [], [], PATIENCE)
            # what is frozen is in the group too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(self._gone)
            self._keeper.join(PATIENCE)
            lines = process.stdout.read().decode(errors="replace").splitlines()
        return json.loads(lines[-1]) if process.returncode == 0 and lines else None


def _keep_messages(messages: Any, log: Path) -> None:
    """Copy to a file what comes through a pipe, as far as there is space."""
    while data := messages.read1(1 << 16):
        with contextlib.suppress(OSError), log.open("ab", buffering=0) as file:
            file.write(data)


def main(state: str) -> None:
    """Have workers do the blocks that the run in a state folder is to do; print what became of the workers.

    daisy's blocks are the positions in the list of those that are missing.
    """
    threading.Thread(target=_end_with_master, daemon=True).start()
    import daisy.v2 as daisy
    from daisy import logging as daisy_logging

    run = json.loads(Path(state, "run", "run.json").read_text(encoding="utf-8"))
    daisy_logging.set_log_basedir(run["logs"])
    script = str(Path(__file__).with_name("launch.py"))
    start = functools.partial(os.execv, sys.executable, [sys.executable, "-IS", script, state, str(os.getpid())])
    task = daisy.Task(
        run["pass"],
        daisy.Roi((0,), (run["count"],)),
        daisy.Roi((0,), (1,)),
        daisy.Roi((0,), (1,)),
        start,
        read_write_conflict=False,
        max_workers=min(run["workers"], run["count"]),
        max_retries=run["retries"],
        timeout=run["timeout"],
        max_worker_restarts=run["patience"],
    )
    # workers elsewhere come by way of their launchers, which listen at the host that the user names
    host = None if run["command"] and not run["host"] else "127.0.0.1"
    states = daisy.Server().run_blockwise(daisy.Pipeline([task]), progress=None, host=host, summary=False)
    (outcome,) = states.values()
    words = [line.strip() for line in (outcome.last_worker_error or "").splitlines() if line.strip()]
    exits = [line for line in words if "exited with code" in line or "exceeded timeout" in line]
    error = ": ".join(dict.fromkeys([*exits[-1:], *words[-1:]]))
    print(json.dumps({"lost": outcome.worker_failure_count, "abandoned": outcome.abandoned, "error": error}))


def _end_with_master() -> None:
    """End this process once its master has closed the other end of the pipe, or has ended."""
    # not sys.stdin, whose lock would be held when the interpreter ends
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
