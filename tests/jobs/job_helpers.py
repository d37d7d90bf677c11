"""Ways to make a job and to watch it from outside."""

import os
import time
from pathlib import Path

import gp_arrays as gpa


def masks_of(labels):
    return gpa.BinarizeArrayConfig("masks", labels, groupings=[("one", [1]), ("two", [2, 4])])


def wait_for(condition, seconds=60):
    """Wait until something is so; a bound for tests, not a measurement."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about in time")


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(state):
    """Process numbers of the workers that signed in."""
    found = []
    for path in (Path(state) / "workers").glob("*"):
        words = path.read_text().split()
        if len(words) == 3:
            found.append(int(words[1]))
    return [pid for pid in found if alive(pid)]


def stamps(folder):
    """Inode and time of every chunk of an array."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "zarr.json"
    }


def environment():
    """That of a child process which imports the package from here."""
    root = Path(gpa.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": str(root)}
