"""Processes are killed at random moments: blocks recorded as done are right, the others are done later, once."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from gated import allow, count_begun, gated
from job_helpers import alive, done_of, environment, stamps, wait_for, wait_for_end_of_run, workers_of

import gp_arrays as gpa

MASTER = """
import sys, gated, gp_arrays as gpa
config = gpa.load_tree(sys.argv[1])["masks"]
result = gpa.materialize(config, sys.argv[2], chunks=(8, 8, 8), block=(8, 8, 8), progress=False,
                         num_workers=int(sys.argv[4]), workers=gpa.Workers(timeout=float(sys.argv[3])))
sys.exit(0 if result.ok else 1)
"""
#: The number of blocks of 8^3 voxels along each axis.
GRID = (6, 4, 8)


@pytest.fixture
def tree(tmp_path):
    """A tree file with an array of 192 blocks, which wait until they are allowed; and its voxels."""
    shape = tuple(8 * blocks for blocks in GRID)
    data = np.random.default_rng(3).integers(0, 9, shape).astype(np.uint64)
    gpa.create_zarr(tmp_path / "in.zarr", "ids", gpa.Roi((0, 0, 0), shape), (1, 1, 1), "uint64")[:] = data
    ids = gpa.ZarrArrayConfig("ids", tmp_path / "in.zarr", "ids")
    binary = gpa.BinarizeArrayConfig("binary", ids, groupings=[("odd", [1, 3, 5, 7]), ("any", [])])
    gpa.save_tree([gated(binary, tmp_path / "gate", "masks")], tmp_path / "tree.json")
    return tmp_path / "tree.json", np.stack([data % 2 == 1, data != 0]).astype(np.uint8)


def start(tree, out, timeout=60.0, workers=2):
    command = [sys.executable, "-c", MASTER, str(tree), str(out), str(timeout), str(workers)]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)


def done(state):
    return done_of(state, "masks", GRID)


def wait_for_more(state, gate, blocks):
    """Wait until so many more blocks are done, which goes on while the test acts, but not to the end of the job."""
    wanted = done(state).sum() + blocks
    allow(gate, count_begun(gate) + blocks + 10)
    wait_for(lambda: done(state).sum() >= wanted)


@pytest.mark.parametrize(("seed", "kills"), [(1, 1), pytest.param(2, 2, marks=pytest.mark.slow)])
def test_a_job_whose_main_process_was_killed_is_resumed(tree, tmp_path, seed, kills, one_process):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    moments = random.Random(seed)
    for _ in range(kills):
        allow(tmp_path / "gate", 0)
        master = start(tree, out, workers=kills)
        try:
            wait_for_more(state, tmp_path / "gate", moments.randrange(1, 60))
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
    allow(tmp_path / "gate")
    result = gpa.materialize(gpa.load_tree(tree)["masks"], out, chunks=(8, 8, 8), block=(8, 8, 8), progress=False)
    assert (result.ok, result.before) == (True, int(before.sum()))
    after = stamps(out / "masks")
    assert {key: after[key] for key in marked} == {key: chunks[key] for key in marked}
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)


@pytest.mark.slow
def test_a_job_continues_after_workers_are_killed(tree, tmp_path):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    moments = random.Random(5)
    allow(tmp_path / "gate", 0)
    master = start(tree, out)
    try:
        killed = set()
        for _ in range(3):
            wait_for_more(state, tmp_path / "gate", moments.randrange(1, 40))
            (victim, *_) = wait_for(lambda: [pid for pid in workers_of(state) if pid not in killed])
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)
        allow(tmp_path / "gate")
        assert master.wait(180) == 0
    finally:
        master.kill()
        master.communicate()
    assert done(state).all()
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)


@pytest.mark.slow
def test_a_frozen_worker_is_ended_and_another_one_does_its_block(tree, tmp_path):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    allow(tmp_path / "gate", 0)
    master = start(tree, out, timeout=5)
    try:
        wait_for_more(state, tmp_path / "gate", 20)
        (victim, *_) = workers_of(state)
        os.kill(victim, signal.SIGSTOP)
        allow(tmp_path / "gate")
        assert master.wait(180) == 0
        assert not alive(victim)
    finally:
        master.kill()
        master.communicate()
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)


@pytest.mark.slow
def test_a_job_that_ctrl_c_has_stopped_can_be_resumed(tree, tmp_path, one_process):
    tree, expected = tree
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    allow(tmp_path / "gate", 0)
    master = start(tree, out)
    try:
        wait_for_more(state, tmp_path / "gate", 20)
        workers = workers_of(state)
        master.send_signal(signal.SIGINT)
        wait_for_end_of_run(state)
        allow(tmp_path / "gate")
        assert master.wait(180) != 0
        wait_for(lambda: not any(map(alive, workers)))
    finally:
        master.kill()
        errors = master.communicate()[1].decode()
    assert "KeyboardInterrupt" in errors
    assert 0 < done(state).sum() < done(state).size
    result = gpa.materialize(gpa.load_tree(tree)["masks"], out, chunks=(8, 8, 8), block=(8, 8, 8), progress=False)
    assert result.ok
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected)
