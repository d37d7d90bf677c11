"""Killed at random moments: what is marked as done is right, what is not is done later, once."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from job_helpers import alive, done_of, environment, stamps, wait_for, workers_of

import gp_arrays as gpa

MASTER = """
import sys, gp_arrays as gpa
config = gpa.load_tree(sys.argv[1])["masks"]
result = gpa.materialize(config, sys.argv[2], chunks=(8, 8, 8), block=(8, 8, 8), progress=False,
                         num_workers=int(sys.argv[4]), workers=gpa.Workers(timeout=float(sys.argv[3])))
sys.exit(0 if result.ok else 1)
"""
#: The number of blocks of 8^3 voxels along each axis.
GRID = (6, 4, 8)
#: So many that the job is not over before three workers are killed.
LARGE = (12, 8, 8)


@pytest.fixture
def tree(tmp_path, request):
    shape = tuple(8 * blocks for blocks in getattr(request, "param", GRID))
    data = np.random.default_rng(3).integers(0, 9, shape).astype(np.uint64)
    gpa.create_zarr(tmp_path / "in.zarr", "ids", gpa.Roi((0, 0, 0), shape), (1, 1, 1), "uint64")[:] = data
    ids = gpa.ZarrArrayConfig("ids", tmp_path / "in.zarr", "ids")
    masks = gpa.BinarizeArrayConfig("masks", ids, groupings=[("odd", [1, 3, 5, 7]), ("any", [])])
    gpa.save_tree([masks], tmp_path / "tree.json")
    return tmp_path / "tree.json", np.stack([data % 2 == 1, data != 0]).astype(np.uint8)


def start(tree, out, timeout=60.0, workers=2):
    command = [sys.executable, "-c", MASTER, str(tree), str(out), str(timeout), str(workers)]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)


def done(state, grid=GRID):
    return done_of(state, "masks", grid)


@pytest.mark.parametrize(("seed", "kills"), [(1, 1), pytest.param(2, 2, marks=pytest.mark.slow)])
def test_the_master_is_killed_and_the_job_resumed(tree, tmp_path, seed, kills, one_process):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    moments = random.Random(seed)
    for _ in range(kills):
        already = int(done(state).sum())
        master = start(tree, out, workers=kills)
        try:
            wanted = already + moments.randrange(1, 60)
            wait_for(lambda wanted=wanted: done(state).sum() >= wanted)
            time.sleep(moments.random() * 0.01)
            workers = workers_of(state)
        finally:
            master.kill()
            master.communicate()
        assert workers
        wait_for(lambda workers=workers: not any(map(alive, workers)))
    before = done(state)
    assert 0 < before.sum() < before.size
    marked = {f"{c}/{z}/{y}/{x}" for z, y, x in np.argwhere(before) for c in range(2)}
    chunks = stamps(out / "masks")
    assert marked <= set(chunks)
    result = gpa.materialize(gpa.load_tree(tree)["masks"], out, chunks=(8, 8, 8), block=(8, 8, 8), progress=False)
    assert (result.ok, result.before) == (True, int(before.sum()))
    after = stamps(out / "masks")
    assert {key: after[key] for key in marked} == {key: chunks[key] for key in marked}
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)


@pytest.mark.slow
@pytest.mark.parametrize("tree", [LARGE], indirect=True)
def test_workers_are_killed_and_the_job_goes_on(tree, tmp_path):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    moments = random.Random(5)
    master = start(tree, out)
    try:
        killed = set()
        for _ in range(3):
            wanted = done(state, LARGE).sum() + moments.randrange(1, 60)
            wait_for(lambda wanted=wanted: done(state, LARGE).sum() >= wanted)
            (victim, *_) = wait_for(lambda: [pid for pid in workers_of(state) if pid not in killed])
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)
        assert master.wait(120) == 0
    finally:
        master.kill()
        master.communicate()
    assert done(state, LARGE).all()
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)


@pytest.mark.slow
def test_a_frozen_worker_is_ended_and_its_block_done_by_another(tree, tmp_path):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    master = start(tree, out, timeout=2)
    try:
        (victim, *_) = wait_for(lambda: done(state).sum() > 20 and workers_of(state))
        os.kill(victim, signal.SIGSTOP)
        assert master.wait(120) == 0
        assert not alive(victim)
    finally:
        master.kill()
        master.communicate()
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)


@pytest.mark.slow
def test_ctrl_c_stops_cleanly(tree, tmp_path, one_process):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    master = start(tree, out)
    try:
        workers = wait_for(lambda: done(state).sum() > 20 and workers_of(state))
        master.send_signal(signal.SIGINT)
        assert master.wait(60) != 0
        wait_for(lambda: not any(map(alive, workers)))
    finally:
        master.kill()
        errors = master.communicate()[1].decode()
    assert "KeyboardInterrupt" in errors
    assert 0 < done(state).sum() < done(state).size
    result = gpa.materialize(gpa.load_tree(tree)["masks"], out, chunks=(8, 8, 8), block=(8, 8, 8), progress=False)
    assert result.ok
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)
