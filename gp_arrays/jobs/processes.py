"""Processes as their master sees them: what they print, which they started, their terminal and their script."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from multiprocessing import spawn
from pathlib import Path
from typing import Any

#: The size of a terminal that does not tell.
UNKNOWN = {"ncols": 80, "nrows": 20}


def main_module() -> dict[str, Any]:
    """What a worker needs to run the script of this process, as multiprocessing's spawn does."""
    data = spawn.get_preparation_data("gp_arrays")
    return {key: data[key] for key in ("init_main_from_name", "init_main_from_path") if key in data}


def keep_messages(messages: Any, log: Path) -> None:
    """Copy to a file what comes through a pipe, as far as there is space."""
    while data := messages.read1(1 << 16):
        with contextlib.suppress(OSError), log.open("ab", buffering=0) as file:
            file.write(data)


def children(parent: int) -> Iterable[int]:
    """The child processes of a process; none where the system does not tell."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(path.read_text(encoding="utf-8").rpartition(")")[2].split()[1]) == parent:
                yield int(path.parent.name)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def size_of(screen: Any) -> dict[str, int]:
    """What tqdm cannot see of a terminal's size: one that does not tell says 0, and tqdm shows nothing on it."""
    try:
        size = os.get_terminal_size(screen.fileno())
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return {}
    told = {"ncols": size.columns, "nrows": size.lines}
    return {name: UNKNOWN[name] for name, number in told.items() if not number}
