"""Hosts daisy's scheduler for one pass: a script, in a process of its own whose output and end are its master's to handle.

daisy prints past Python, installs signal handlers, and ends with the process on a message that it does not understand.
Here that concerns nobody else: the master starts another scheduler for the blocks that are not recorded as done.
It needs daisy and the standard library alone.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
from pathlib import Path


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
