"""Wrong arguments: the error is one of this library and shows the argument; it is never an error of Python or numpy."""

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa

A, B = gp.ArrayKey("TEST_MISTAKES_A"), gp.ArrayKey("TEST_MISTAKES_B")
ROI = gpa.Roi((0, 0), (4, 4))


def config():
    return gpa.NumpyArrayConfig("a", data=np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda path: gpa.Array(5), "not an array config; found 5"),
        (lambda path: gpa.explain(5), "not an array config; found 5"),
        (lambda path: gpa.explain({"a": 5}), "a: not an array config; found 5"),
        (lambda path: gpa.compile_plan(5), "the outputs are not array configs by name; found 5"),
        (lambda path: gpa.compile_pipeline(5), "not array configs by key; found 5"),
        (lambda path: gpa.ones_like(config()), "not an array; found Numpy"),
        (lambda path: gpa.constant_like(5, 1), "not an array; found 5"),
        (lambda path: config().array(mode="w"), "unknown mode; found 'w'; allowed: r, r\\+, a"),
        (lambda path: config().array(mode=5), "unknown mode; found 5"),
        (lambda path: config().array().to_ndarray(5), "a: not a roi; found 5"),
        (lambda path: gpa.Array.from_numpy(np.zeros((4, 4)), 5), "from_numpy: not a roi; found 5"),
        (lambda path: gpa.Array.from_gunpowder(np.zeros(4)), "not a gunpowder array"),
        (lambda path: gpa.load_tree(5), "not the path of a tree file; found 5"),
        (lambda path: gpa.save_tree(config(), path / "t.toml"), "not a list of array configs"),
        (lambda path: gpa.save_tree([5], path / "t.toml"), "not an array config; found 5"),
        (lambda path: gpa.create_zarr(path, "a", 5, (1, 1), "uint8"), "a: roi is not a bounded Roi; found 5"),
        (
            lambda path: gpa.create_zarr(path, "a", gpa.Roi((0, None), (4, None)), (1, 1), "uint8"),
            "a: roi is not a bounded Roi",
        ),
        (lambda path: gpa.create_zarr(path, "a", ROI, 5, "uint8"), "a: voxel_size: not a list of integers; found 5"),
        (lambda path: gpa.create_zarr(path, "a", ROI, (0.5, 1), "uint8"), "a: voxel_size: not an integer; found 0.5"),
        (
            lambda path: gpa.create_zarr(path, "a", ROI, (1, 1), "uint8", chunks=5),
            "a: chunks must be one positive number of voxels per axis; found 5",
        ),
        (lambda path: gpa.create_zarr(path, "a", ROI, (1, 1), "uint8", write_size=5), "a: write_size: not a list"),
        (lambda path: gpa.create_zarr(path, "a", ROI, (1, 1), "uint8", num_channels=0), "a: num_channels must be"),
        (lambda path: gpa.Concat([A], B), "sources must be array keys by name; found"),
        (lambda path: gpa.Sum(A, B), "sources must be a list of array keys"),
        (lambda path: gpa.MergeInstances(5, B), "sources must be a list of array keys; found 5"),
    ],
)
def test_mistakes(tmp_path, call, problem):
    with pytest.raises(gpa.GpArraysError, match=f"^{problem}"):
        call(tmp_path)
    # nothing half-made stays
    assert not list(tmp_path.iterdir())
