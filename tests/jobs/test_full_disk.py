"""Full disks, that of the outputs and that of the state: the run says so, and nothing is lost."""

import itertools
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from gated import allow, count_begun
from job_helpers import done_of, environment, voxels_in, wait_for

import gp_arrays as gpa
from gp_arrays.jobs.state import State


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a small disk")
    completed = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if completed.returncode:
        pytest.skip(f"no tmpfs here: {completed.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_blocks_that_do_not_fit_on_the_disk_are_done_by_the_next_run(small_disk, tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (128, 128, 128)).astype(np.uint8)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0, 0), (128,) * 3), (1, 1, 1), "uint8")[:] = data
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    options = {"chunks": (32, 32, 32), "block": (64, 64, 64), "progress": False, "state": tmp_path / "state"}
    out = small_disk / "out.zarr"
    result = gpa.materialize(raw, out, workers=gpa.Workers(retries=0), **options)
    # 2 MiB that do not compress
    assert 0 < result.done < result.blocks == 8
    assert len(result.failed) == result.blocks - result.done
    assert all("cannot write" in failed.error for failed in result.failed)
    written = voxels_in(out, "raw")
    for position in np.argwhere(done_of(tmp_path / "state/out.zarr.gp_arrays/raw", "raw", (2, 2, 2))).tolist():
        box = tuple(slice(i * n, (i + 1) * n) for i, n in zip(position, (64, 64, 64), strict=True))
        np.testing.assert_array_equal(written[box], data[box])
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    again = gpa.materialize(raw, out, **options)
    assert (again.ok, again.before) == (True, result.done)
    np.testing.assert_array_equal(gpa.open_zarr(out, "raw")[:], data)


@pytest.fixture
def raw(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (64, 64, 64)).astype(np.uint8)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0, 0), (64,) * 3), (1, 1, 1), "uint8")[:] = data
    return gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw"), data


SMALL = {"chunks": (16, 16, 16), "block": (32, 32, 32), "progress": False}


def fill(disk):
    """Fill a disk to the last page."""
    for size in (64 * 1024, 4096, 1):
        for i in itertools.count():
            try:
                (disk / f"filler-{size}-{i}").write_bytes(bytes(size))
            except OSError:
                (disk / f"filler-{size}-{i}").unlink(missing_ok=True)
                break
            if size == 1 and i > 2000:
                raise AssertionError("a file of one byte takes no space there")


@pytest.mark.slow
def test_a_job_without_space_for_its_state_leaves_no_files(small_disk, raw, tmp_path):
    config, _ = raw
    fill(small_disk)
    before = sorted(small_disk.rglob("*"))
    with pytest.raises(gpa.StoreError, match="No space left"):
        gpa.materialize(config, tmp_path / "out.zarr", state=small_disk / "state", **SMALL)
    assert sorted(small_disk.rglob("*")) == before
    assert not (tmp_path / "out.zarr/raw").exists()


@pytest.mark.slow
def test_an_overwrite_without_space_for_its_state_leaves_the_earlier_state(small_disk, raw, tmp_path, one_process):
    config, data = raw
    options = {**SMALL, "state": small_disk / "state"}
    assert gpa.materialize(config, tmp_path / "out.zarr", roi=gpa.Roi((0, 0, 0), (32, 32, 32)), **options).ok
    large = gpa.NumpyArrayConfig("raw", data=np.zeros((128, 128, 128), np.uint8))
    with pytest.raises(gpa.StoreError, match="cannot write; found .*state.*voxels"):
        gpa.materialize(large, tmp_path / "out.zarr", overwrite=True, **options)
    result = gpa.materialize(config, tmp_path / "out.zarr", **options)
    assert (result.ok, result.before) == (True, 1)
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "raw")[:], data)


def create_files_without_end(folder):
    for i in itertools.count():
        (folder / str(i)).touch()


def test_the_earlier_state_is_put_back_if_no_file_can_be_created(small_disk):
    subprocess.run(["mount", "-o", "remount,nr_inodes=20", str(small_disk)], check=True)
    state = State(small_disk / "state")
    state.folder.mkdir()
    (state.folder / "job.json").write_text("earlier")
    with pytest.raises(OSError, match="No space left"), state.replaced():
        create_files_without_end(state.folder)
    assert [path.name for path in state.folder.iterdir()] == ["job.json"]
    assert (state.folder / "job.json").read_text() == "earlier"


@pytest.mark.slow
def test_blocks_are_recorded_although_the_disk_of_the_state_is_full(small_disk, raw, tmp_path):
    _, data = raw
    gate = tmp_path / "gate"
    script = (
        "import sys, gp_arrays as gpa\n"
        "from gated import gated\n"
        "a = gpa.ZarrArrayConfig('raw', sys.argv[1] + '/in.zarr', 'raw')\n"
        "config = gated(a, sys.argv[2], 'b')\n"
        "result = gpa.materialize(config, sys.argv[1] + '/out.zarr', state=sys.argv[3], chunks=(16, 16, 16),\n"
        "                         block=(32, 32, 32), progress=False, num_workers=1)\n"
        "print(result.done, result.blocks)\n"
    )
    allow(gate, 0)
    started = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(gate), str(small_disk / "state")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        wait_for(lambda: count_begun(gate))
        fill(small_disk)
        allow(gate)
        output, errors = started.communicate(timeout=180)
    finally:
        started.kill()
    # records are so small that they fit into the last page of a journal
    assert (started.returncode, output) == (0, "8 8\n"), errors
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "b")[:], data)
    assert done_of(small_disk / "state/out.zarr.gp_arrays/b", "b", (2, 2, 2)).all()


@pytest.mark.slow
def test_blocks_fail_and_are_done_later_if_the_disk_of_store_and_state_is_full(small_disk, raw):
    config, data = raw
    blocker = small_disk / "blocker"
    blocker.write_bytes(bytes(800 * 1024))
    out = small_disk / "out.zarr"
    result = gpa.materialize(config, out, workers=gpa.Workers(retries=1), **SMALL)
    if result.stopped:
        # the last workers took the space that another scheduler needs
        assert "No space left" in result.stopped
    else:
        assert 0 < len(result.failed) == 8 - result.done
    assert all("No space left" in failed.error or "is its disk full?" in failed.error for failed in result.failed)
    blocker.unlink()
    again = gpa.materialize(config, out, **SMALL)
    assert (again.ok, again.before) == (True, result.done)
    np.testing.assert_array_equal(gpa.open_zarr(out, "raw")[:], data)


@pytest.mark.slow
def test_messages_of_a_scheduler_need_no_space(small_disk, raw, tmp_path):
    config, _ = raw
    command = f"cat /dev/zero > {small_disk}/filler; exit 3; {{worker}}"
    result = gpa.materialize(config, tmp_path / "out.zarr", state=small_disk / "state", worker_command=command, **SMALL)
    assert "No space left" in result.stopped
