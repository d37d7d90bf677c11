"""Ways to make a job and to watch it from outside."""

import os
import time
from pathlib import Path

import numpy as np
import zarr

import gp_arrays as gpa
from gp_arrays.storage.journal import read_done


def masks_of(labels):
    return gpa.BinarizeArrayConfig("masks", labels, groupings=[("one", [1]), ("two", [2, 4])])


def wait_for(condition, seconds=180):
    """Wait until ``condition`` returns something that is true, and return that. The limit only ends a test that hangs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"the condition was not met within {seconds} seconds")


def wait_for_end_of_run(state):
    """Wait until the master has ended its run, so that no worker writes any more."""
    wait_for(lambda: not (state / "run/run.json").exists())


def alive(pid):
    """True if a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(parent):
    """The child processes of a process."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        words = text_of(path).rpartition(")")[2].split()
        if words[1:2] == [str(parent)]:
            pids.append(int(path.parent.name))
    return pids


def text_of(path):
    """The text of a file, empty where it has gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def workers_of(state):
    """Process numbers of the workers of a job, on this machine."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = text_of(path).split("\0")
        # not the shell that starts one
        if words[1:4] == ["-m", "gp_arrays.jobs.worker", str(state)]:
            pids.append(int(path.parent.name))
    return [pid for pid in pids if alive(pid)]


def done_of(state, name, grid):
    """Which blocks of a pass are done, as the state folder has it."""
    return read_done(Path(state), name, grid)


def voxels_in(store, dataset):
    """The voxels of a stored array as zarr reads them, also of one that is not finished."""
    return np.asarray(zarr.open(str(store), mode="r")[dataset][:])


def stamps(folder):
    """Inode and time of every chunk of an array."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "zarr.json"
    }


def environment():
    """The environment of a child process that imports this package, and the modules beside the tests of jobs."""
    folders = Path(gpa.__file__).parents[1], Path(__file__).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
