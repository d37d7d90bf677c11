"""Each running worker has a number, its slot, a GPU by that number, and a number of threads."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import reporting

import gp_arrays as gpa
from gp_arrays.jobs import processes


@pytest.fixture
def job(tmp_path):
    def run(victim, **options):
        folder = tmp_path / "reports"
        folder.mkdir()
        zeros = gpa.NumpyArrayConfig("zeros", data=np.zeros((24, 8), np.uint8))
        config = reporting.ReportingArrayConfig("out", zeros, folder=str(folder), victim=victim)
        result = gpa.materialize(
            config, tmp_path / "out.zarr", chunks=(2, 8), block=(2, 8), progress=False, num_workers=2, **options
        )
        assert result.ok
        assert result.workers_lost == 1
        return result, reporting.reports(folder)

    return run


@pytest.mark.slow
def test_each_worker_on_this_machine_has_a_gpu_and_one_thread(job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-7")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    result, reports = job(victim="GPU-7")
    # the worker after the one that was killed has its place
    assert sorted(report["CUDA_VISIBLE_DEVICES"] for report in reports) == ["5", "GPU-7", "GPU-7"]
    assert {(report["OMP_NUM_THREADS"], report["BLOSC_NTHREADS"]) for report in reports} == {("1", "1")}
    assert json.loads((result.state / "summary.json").read_text())["threads"] == 1


@pytest.mark.slow
def test_a_worker_command_gets_the_slot_of_its_worker(job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    _, reports = job(
        victim="0",
        worker_command="SLOT={slot} BLOSC_NTHREADS=2 {worker}",
        host="127.0.0.1",
        workers=gpa.Workers(threads=3),
    )
    assert sorted(report["SLOT"] for report in reports) == ["0", "0", "1"]
    # what the command says counts, and the GPU is its business
    assert {tuple(report.values())[1:] for report in reports} == {("5,7", "3", "2")}


@pytest.mark.parametrize(
    ("named", "files", "devices"),
    [
        ("2,3", 0, ["2", "3", "2"]),
        ("", 4, [None, None, None]),
        ("-1", 0, ["-1", "-1", "-1"]),
        (None, 2, ["0", "1", "0"]),
        (None, 0, [None, None, None]),
    ],
)
def test_slots_take_the_visible_gpus_in_turn(named, files, devices, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "DEVICE_FILES", tmp_path)
    for number in range(files):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert [processes.device_of(slot) for slot in range(3)] == devices


#: The launcher needs the standard library alone.
HOLD = """
import pathlib, runpy, sys
take_slot = runpy.run_path(sys.argv[1])["take_slot"]
print(take_slot(pathlib.Path(sys.argv[2]), 2), flush=True)
input()
"""


def test_a_slot_is_free_once_its_process_is_killed(tmp_path):
    holders = []
    for expected in ("0", "1", "None"):
        command = [sys.executable, "-IS", "-c", HOLD, processes.__file__, str(tmp_path)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout.readline().strip() == expected
    os.kill(holders[0].pid, signal.SIGKILL)
    holders[0].wait()
    assert processes.take_slot(tmp_path, 2) == 0
    for holder in holders:
        holder.kill()
        holder.communicate()


def test_a_number_of_threads_below_one_is_refused():
    with pytest.raises(gpa.ConfigError, match="threads=0.*threads of at least 1"):
        gpa.Workers(threads=0)
