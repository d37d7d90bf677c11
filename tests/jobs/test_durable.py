"""Restarts of the machine: blocks whose voxels may not have reached the disk are done again."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from gated import allow, gated
from job_helpers import done_of, environment, masks_of, wait_for

import gp_arrays as gpa
from gp_arrays.jobs import records
from gp_arrays.jobs.state import State
from gp_arrays.storage.journal import DONE, Journal

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}


@pytest.fixture
def finished(labels, tmp_path):
    config, _ = labels
    assert gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT).ok
    state = State(tmp_path / "out.zarr.gp_arrays/masks")
    # as a run that was killed leaves them: blocks that only a journal knows
    (state.folder / "journals/masks").mkdir()
    journal = Journal(state.folder / "journals/masks/run-1.0")
    for block in range(24):
        journal.add(DONE, block)
    return masks_of(config), tmp_path / "out.zarr", state


def restart(state):
    (state.folder / records.BOOT).write_text("this machine, started at another time")


def forget(state, count):
    """As if the last checkpoint had been before the last ``count`` blocks."""
    done = np.ones(24, np.uint8)
    done[-count:] = 0
    (state.folder / records.SAFE / "masks").write_bytes(np.packbits(done).tobytes())


def test_no_block_is_done_again_if_the_machine_was_not_restarted(finished):
    masks, out, state = finished
    forget(state, 5)
    assert gpa.materialize(masks, out, **CUT).before == 24


def test_all_blocks_are_safe_after_a_run_has_ended(finished):
    masks, out, state = finished
    restart(state)
    assert gpa.materialize(masks, out, **CUT).before == 24


def test_after_a_restart_only_safe_blocks_count_as_done(finished, caplog):
    masks, out, state = finished
    forget(state, 5)
    restart(state)
    result = gpa.materialize(masks, out, **CUT)
    assert (result.ok, result.before) == (True, 19)
    assert "5 blocks may not have reached the disk" in caplog.text
    assert (state.folder / records.BOOT).read_text() == records.this_start()


def test_a_damaged_checkpoint_is_ignored(finished):
    masks, out, state = finished
    (state.folder / records.SAFE / "masks").write_bytes(b"\xff")
    restart(state)
    assert gpa.materialize(masks, out, **CUT).before == 0


SCRIPT = """
import sys
from pathlib import Path
import gp_arrays as gpa
from gp_arrays.jobs import master, records
from gated import gated

disk, outside = map(Path, sys.argv[1:])
force = records.force_to_disk

def unless_frozen(path):
    if (outside / "frozen").exists():
        raise OSError("the power is about to fail")
    force(path)

master.EVERY = 0.2
records.force_to_disk = unless_frozen
raw = gpa.ZarrArrayConfig("raw", outside / "in.zarr", "raw")
gpa.materialize(gated(raw, outside / "gate", "copy"), disk / "out.zarr", chunks=(16, 16, 16), block=(32, 32, 32),
                progress=False, num_workers=1)
"""


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file as a disk with a file system of its own that writes when it sees fit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not shutil.which("mount"):
        pytest.skip("only root mounts a disk")

    def mount(image):
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
        completed = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, check=False)
        if completed.returncode:
            pytest.skip(f"no loop devices here: {completed.stderr.decode().strip()}")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


@pytest.mark.slow
def test_after_a_power_failure_only_voxels_on_the_disk_count_as_done(mounted, tmp_path):
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    disk = mounted(image)
    data = np.random.default_rng(0).integers(1, 255, (64, 64, 64)).astype(np.uint8)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0, 0), (64,) * 3), (1, 1, 1), "uint8")[:] = data
    allow(tmp_path / "gate", 3)
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(disk), str(tmp_path)],
        stderr=subprocess.PIPE,
        env=environment(),
    )
    state = State(disk / "out.zarr.gp_arrays/copy")
    safe = state.folder / records.SAFE / "copy"
    try:
        wait_for(lambda: safe.exists() and np.unpackbits(np.fromfile(safe, np.uint8)).sum() == 3)
        (tmp_path / "frozen").touch()
        allow(tmp_path / "gate", 6)
        wait_for(lambda: done_of(state.folder, "copy", (2, 2, 2)).sum() == 6)
        # records reach the disk before voxels: no order is promised
        for path in (state.folder / "journals/copy").iterdir():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
    finally:
        run.send_signal(signal.SIGKILL)
        run.communicate()
    # what the image holds now is what a power failure would leave
    shutil.copy(image, tmp_path / "left")
    mounted(tmp_path / "left")
    marked = done_of(state.folder, "copy", (2, 2, 2))
    assert marked.sum() == 6
    lost = [box for box in boxes(marked) if not is_stored(disk / "out.zarr", box, data)]
    if not lost:
        pytest.skip("the system had written all by itself")
    restart(state)
    allow(tmp_path / "gate")
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    result = gpa.materialize(
        gated(raw, tmp_path / "gate", "copy"),
        disk / "out.zarr",
        chunks=(16, 16, 16),
        block=(32, 32, 32),
        progress=False,
        num_workers=1,
    )
    assert (result.ok, result.before) == (True, 3)
    np.testing.assert_array_equal(gpa.open_zarr(disk / "out.zarr", "copy")[:], data)


def boxes(marked):
    return [tuple(slice(32 * i, 32 * i + 32) for i in at) for at in np.argwhere(marked).tolist()]


def is_stored(out, box, data):
    try:
        return np.array_equal(gpa.open_zarr(out, "copy")[box], data[box])
    except gpa.StoreError:
        return False
