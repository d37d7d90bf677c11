"""Checking what is stored: blocks computed again, arrays compared, how far a job is, what it would cost."""

import numpy as np
import pytest
from job_helpers import masks_of

import gp_arrays as gpa
from gp_arrays.jobs import check_blocks, status
from gp_arrays.model.compare import compare, unequal

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}


def test_cost_status_and_check_of_a_job(labels, tmp_path):
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
    (job,) = status(out)
    assert (job.blocks, job.done, job.failed, job.missing, job.running) == (24, 1, 0, 23, None)
    cost = gpa.materialize(masks_of(config), out, dry_run=True, **CUT).cost
    assert (cost.blocks, cost.before) == (23, 1)

    result = gpa.materialize(masks_of(config), out, **CUT)
    (job,) = status(out)
    assert (job.done, job.missing) == (24, 0)
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


def test_the_cost_of_one_block_is_all_that_is_read_and_written(labels, tmp_path):
    cost = gpa.materialize(
        masks_of(labels[0]),
        tmp_path / "out.zarr",
        dry_run=True,
        block=(192, 256, 512),
        chunks=(16, 16, 16),
        progress=False,
    ).cost
    assert (cost.blocks, cost.read, cost.written) == (1, 40 * 30 * 50 * 8, 2 * 40 * 30 * 50)


def test_the_first_voxel_in_which_two_arrays_differ_is_named(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    other = gpa.BinarizeArrayConfig("others", config, groupings=[("one", [1]), ("two", [2])])
    gpa.materialize(masks_of(config), out, **CUT)
    gpa.materialize(other, out, **CUT)
    difference = compare(gpa.open_zarr(out, "masks"), gpa.open_zarr(out, "others"))
    assert difference.count == (data == 4).sum()
    position = tuple(np.argwhere(data == 4)[0].tolist())
    assert difference.first == tuple(o + i * v for o, i, v in zip((400, 0, -80), position, (4, 8, 8), strict=True))
    assert difference.values == (1, 0)


#: Around the limits of integer types, and where floats cannot hold every integer.
NUMBERS = [
    0,
    1,
    -1,
    7,
    2**24 + 1,
    2**53 - 1,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**63 - 1024,
    2**63 - 1,
    2**63,
    2**63 + 2048,
    2**64 - 2048,
    2**64 - 1,
    -(2**63),
    -(2**63) + 1,
]
FLOATS = [*map(float, NUMBERS), 2.0**64, 0.5, -0.5, -0.0, 7.25, float("nan"), float("inf"), -float("inf"), 1e300]


def held(values, dtype):
    """Those of the values that a dtype can hold, rounded if it is a float."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(values, "f8").astype(dtype)
    limits = np.iinfo(dtype)
    integers = [int(value) for value in values if abs(value) < 1e30 and value == int(value)]
    return np.array([value for value in integers if limits.min <= value <= limits.max], dtype)


@pytest.mark.parametrize("first", ["u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("second", ["u1", "i8", "u8", "f2", "f4", "f8"])
def test_values_are_compared_exactly_whatever_their_dtypes(first, second):
    a = held(NUMBERS if first[0] != "f" else FLOATS, np.dtype(first))
    b = held(NUMBERS if second[0] != "f" else FLOATS, np.dtype(second))
    one, other = a.repeat(len(b)).reshape(len(a), len(b)), np.tile(b, (len(a), 1))
    # Python compares integers with floats exactly
    want = [[x != y and not (x != x and y != y) for y in b.tolist()] for x in a.tolist()]
    difference = compare(gpa.NumpyArrayConfig("a", data=one).array(), gpa.NumpyArrayConfig("b", data=other).array())
    assert difference.count == sum(map(sum, want))
    assert unequal(one, other).tolist() == want


def test_a_difference_that_floats_cannot_show_is_found():
    many = gpa.NumpyArrayConfig("many", data=np.array([[2**53 + 1, 4]], np.uint64)).array()
    rounded = gpa.NumpyArrayConfig("rounded", data=np.array([[2**53, 4]], np.float64)).array()
    difference = compare(many, rounded)
    assert (difference.count, difference.total, difference.values) == (1, 2, (9007199254740993, 9007199254740992.0))
    assert str(difference).splitlines()[:3] == [
        "1 of 2 voxels differ, within [0:1, 0:1]",
        "first at 0,0: 9007199254740993 and 9007199254740992.0",
        "dtypes differ: uint64 and float64",
    ]
    signed = gpa.NumpyArrayConfig("signed", data=np.array([[2**53 + 1, 4]], np.int64)).array()
    assert compare(many, signed).count == 0
    assert str(compare(many, signed)) == "equal: 2 voxels\ndtypes differ: uint64 and int64"
    assert compare(many, many).dtypes is None


def test_equal_arrays_are_equal_and_other_shapes_are_refused(labels):
    config, _ = labels
    assert str(compare(config.array(), config.array())) == "equal: 60000 voxels"
    nan = gpa.NumpyArrayConfig("nan", data=np.array([[np.nan, 1.0]])).array()
    assert compare(nan, nan).count == 0
    flat = gpa.NumpyArrayConfig("flat", data=np.zeros((4, 4), np.uint8)).array()
    with pytest.raises(gpa.TreeError, match="dims of the sources differ"):
        compare(config.array(), flat)
    with pytest.raises(gpa.TreeError, match="other non-spatial axes"):
        compare(config.array(), masks_of(config).array())
    far = gpa.NumpyArrayConfig("far", data=np.zeros((4, 4), np.uint8), offset=(100, 0)).array()
    with pytest.raises(gpa.TreeError, match="do not overlap"):
        compare(flat, far)


@pytest.mark.parametrize(("block", "other"), [((4,), None), ((0, 4), None), (4, None), ("44", None), (None, "config")])
def test_invalid_arguments_of_compare_are_refused(block, other):
    config = gpa.NumpyArrayConfig("a", data=np.zeros((4, 4), np.uint8))
    with pytest.raises(gpa.ConfigError, match="not an array|not the shape of a block|not an integer"):
        compare(config.array(), config if other else config.array(), block)
