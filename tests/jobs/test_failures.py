"""Disks that fill, sources that vanish, workers that die: no wrong voxel is ever marked as done."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from job_helpers import masks_of, voxels_in, wait_for

import gp_arrays as gpa
from gp_arrays.jobs.outputs import Writer

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}


@pytest.mark.slow
def test_workers_that_cannot_start_stop_the_run(labels, tmp_path):
    result = gpa.materialize(
        masks_of(labels[0]), tmp_path / "out.zarr", worker_command="false {worker}", host="127.0.0.1", **CUT
    )
    assert not result.ok
    assert result.done == 0
    assert "workers died one after another without finishing a block" in result.stopped
    assert "workers died" in str(result)


@pytest.mark.slow
def test_errors_of_a_worker_command_are_shown_also_in_a_thread(labels, tmp_path):
    results = []
    options = {"worker_command": "echo no such partition >&2; false {worker}", "host": "127.0.0.1", **CUT}
    thread = threading.Thread(
        target=lambda: results.append(gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", **options))
    )
    thread.start()
    thread.join()
    assert not results[0].ok
    assert "exited with code 1: no such partition" in results[0].stopped


@pytest.mark.slow
def test_workers_are_started_by_the_worker_command(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    log = tmp_path / "commands"
    result = gpa.materialize(
        masks_of(config),
        out,
        worker_command=f"sh -c 'echo started >> {log}; exec {{worker}}'".replace("'", '"'),
        host="127.0.0.1",
        **CUT,
    )
    assert result.ok
    assert log.read_text() == "started\n"
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], (data == 1).astype(np.uint8))


@pytest.mark.slow
def test_workers_of_a_command_get_voxels_in_memory(tmp_path):
    memory = gpa.NumpyArrayConfig("memory", data=np.arange(16, dtype=np.uint8).reshape(4, 4))
    assert gpa.materialize(
        memory, tmp_path / "out.zarr", worker_command="{worker}", host="127.0.0.1", num_workers=1, progress=False
    ).ok
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "memory")[:], memory.data.data)
    assert not list(tmp_path.rglob("*.pickle"))


def test_blocks_are_tried_again_if_the_source_is_missing_when_a_worker_starts(labels, tmp_path):
    config, data = labels
    source, away, out = tmp_path / "in.zarr/ids", tmp_path / "away", tmp_path / "out.zarr"

    def come_back():
        wait_for(lambda: list((tmp_path / "out.zarr.gp_arrays/masks/failures").glob("*.jsonl")))
        away.rename(source)

    thread = threading.Thread(target=come_back)
    thread.start()
    # the first worker takes it away before it looks for it; it is back once a failure is recorded
    command = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; mv {source} {away}; }}; {{worker}}"
    limits = gpa.Workers(retries=6)
    result = gpa.materialize(masks_of(config), out, worker_command=command, host="127.0.0.1", workers=limits, **CUT)
    thread.join()
    assert (result.ok, result.failed, result.workers_lost) == (True, (), 0)
    expected = np.stack([data == 1, (data == 2) | (data == 4)]).astype(np.uint8)
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)


@pytest.mark.usefixtures("one_process")
def test_writing_to_a_removed_output_is_an_error(labels, tmp_path):
    config, _ = labels
    out = tmp_path / "out.zarr"
    gpa.materialize(masks_of(config), out, **CUT)
    meta = masks_of(config).array().meta
    writer = Writer(out, "masks", meta)
    (out / "masks").rename(tmp_path / "away")
    with pytest.raises(gpa.StoreError, match="has vanished"):
        writer.write(meta.region, np.ones(meta.shape, np.uint8))
    assert not (out / "masks").exists()


@pytest.mark.slow
def test_a_block_that_kills_its_workers_is_reported(tmp_path):
    module = tmp_path / "deadly.py"
    module.write_text(
        "import os, signal, attrs\n"
        "from gp_arrays.model.base import PointwiseConfig\n"
        "from gp_arrays.model.config import SOURCE\n"
        "@attrs.frozen(eq=False, repr=False)\n"
        "class DeadlyArrayConfig(PointwiseConfig):\n"
        "    source: object = attrs.field(metadata=SOURCE)\n"
        "    def infer(self, source):\n"
        "        return source\n"
        "    def kernel(self, dtype, source):\n"
        "        if (source == 77).any():\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return source.copy()\n"
    )
    data = np.zeros((4, 40), np.uint8)
    data[2, 13] = 77
    gpa.create_zarr(tmp_path / "in.zarr", "a", gpa.Roi((0, 0), (4, 40)), (1, 1), "uint8")[:] = data
    script = (
        "import sys, gp_arrays as gpa, deadly\n"
        "a = gpa.ZarrArrayConfig('a', sys.argv[1] + '/in.zarr', 'a')\n"
        "result = gpa.materialize(deadly.DeadlyArrayConfig('b', a), sys.argv[1] + '/out.zarr', chunks=(4, 10),\n"
        "                         block=(4, 10), progress=False, num_workers=1, workers=gpa.Workers(retries=1))\n"
        "print(result)\n"
        "sys.exit(0 if result.ok else 1)\n"
    )
    root = Path(gpa.__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"},
    )
    assert ran.returncode == 1, ran.stderr
    assert "3 of 4 blocks done, 1 failed, 2 workers lost" in ran.stdout
    assert "b [0:4, 10:20]: its worker died" in ran.stdout
    assert not voxels_in(tmp_path / "out.zarr", "b")[:, 10:20].any()
    # what the scheduler writes is in a log, not on the screen
    assert ran.stderr == ""


def test_the_traceback_of_a_block_is_in_the_log_of_its_worker(labels, tmp_path):
    config, _ = labels
    broken = tmp_path / "in.zarr/ids/0/0/0"
    broken.write_bytes(b"no chunk")
    result = gpa.materialize(masks_of(config), tmp_path / "out.zarr", workers=gpa.Workers(retries=0), **CUT)
    logs = [path for path in result.logs.rglob("*.err") if "0/0/0" in path.read_text()]
    assert len(logs) == 1
    assert "StoreError" in logs[0].read_text()
