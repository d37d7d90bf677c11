"""Checking what is stored: blocks computed again, arrays compared, how far a job is, what it would cost."""

import numpy as np
import pytest
from job_helpers import masks_of

import gp_arrays as gpa
from gp_arrays.materialize import check_blocks, compare, status

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}


def test_a_job_from_its_cost_to_its_check(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    cost = gpa.materialize(masks_of(config), out, dry_run=True, **CUT).cost
    assert not list(tmp_path.glob("out.zarr*"))
    assert (cost.blocks, cost.before, cost.empty) == (24, 0, 0)
    assert cost.seconds > 0
    assert cost.passes == ((("masks",), (64, 128, 128), 24),)
    assert "24 blocks to do" in str(cost)
    with pytest.raises(gpa.StoreError, match="no job has written"):
        status(out)

    part = gpa.materialize(masks_of(config), out, roi=gpa.Roi((400, 0, -80), (4, 8, 8)), **CUT)
    assert (part.blocks, part.done) == (1, 1)
    (found,) = status(out)
    assert (found.blocks, found.done, found.failed, found.missing, found.running) == (24, 1, 0, 23, None)
    cost = gpa.materialize(masks_of(config), out, dry_run=True, **CUT).cost
    assert (cost.blocks, cost.before) == (23, 1)

    result = gpa.materialize(masks_of(config), out, **CUT)
    (found,) = status(out)
    assert (found.done, found.missing) == (24, 0)
    assert check_blocks(result.state, 100).wrong == ()
    assert check_blocks(result.state, 100).blocks == 24
    assert check_blocks(result.state, 5, seed=1).blocks == 5

    # one voxel of one chunk is altered: z 32, y 17, x 3
    stored = gpa.open_zarr(out, "masks", mode="r+")
    stored[1:2, 32:33, 17:18, 3:4] = 9
    wrong = check_blocks(result.state, 100).wrong
    assert wrong == (("masks", gpa.Roi((528, 128, -80), (32, 112, 128))),)

    difference = compare(stored, masks_of(config).array())
    assert difference.count == 1
    assert difference.total == 2 * 40 * 30 * 50
    assert difference.first == (400 + 32 * 4, 17 * 8, -80 + 3 * 8)
    assert difference.channel == (1,)
    assert difference.values == (9, int(data[32, 17, 3] in (2, 4)))
    assert difference.roi == gpa.Roi(difference.first, (4, 8, 8))
    assert "a source has changed since, or a file was altered" in str(difference)


def test_a_full_read_costs_what_it_reads(labels, tmp_path):
    cost = gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", dry_run=True, block=(192, 256, 512),
                           chunks=(16, 16, 16), progress=False).cost  # fmt: skip
    assert (cost.blocks, cost.read, cost.written) == (1, 40 * 30 * 50 * 8, 2 * 40 * 30 * 50)


def test_where_two_trees_part(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    other = gpa.BinarizeArrayConfig("others", config, groupings=[("one", [1]), ("two", [2])])
    gpa.materialize(masks_of(config), out, **CUT)
    gpa.materialize(other, out, **CUT)
    found = compare(gpa.open_zarr(out, "masks"), gpa.open_zarr(out, "others"))
    assert found.count == (data == 4).sum()
    place = tuple(np.argwhere(data == 4)[0].tolist())
    assert found.first == tuple(o + i * v for o, i, v in zip((400, 0, -80), place, (4, 8, 8), strict=True))
    assert found.values == (1, 0)
    assert found.blame == ("masks: 0 1 and not in the tree", "others: not in the tree and 0 0")


def test_equal_arrays_and_incomparable_ones(labels):
    config, _ = labels
    assert str(compare(config.array(), config.array())) == "equal: 60000 voxels"
    nan = gpa.NumpyArrayConfig("nan", data=np.array([[np.nan, 1.0]])).array()
    assert compare(nan, nan).count == 0
    flat = gpa.NumpyArrayConfig("flat", data=np.zeros((4, 4), np.uint8)).array()
    with pytest.raises(gpa.TreeError, match="dims of the arrays differ"):
        compare(config.array(), flat)
    with pytest.raises(gpa.TreeError, match="other channels"):
        compare(config.array(), masks_of(config).array())
    far = gpa.NumpyArrayConfig("far", data=np.zeros((4, 4), np.uint8), offset=(100, 0)).array()
    with pytest.raises(gpa.TreeError, match="do not overlap"):
        compare(flat, far)
