"""gunpowder nodes as an array of a tree, also in a job."""

import random

import appended_nodes
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.train.pipeline_array import PipelineArrayConfig


@pytest.fixture
def raw(tmp_path):
    data = np.random.default_rng(2).integers(0, 200, (20, 30)).astype(np.uint8)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((7, 1), (80, 120)), (4, 4), "uint8", chunks=(8, 8))[:] = data
    return gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw"), data


def mean_of(data, scale=1.0):
    wide = data.astype(np.float32)
    mean = (wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]) / 3 * np.float32(scale)
    return np.stack([mean, -mean])


OPTIONS = {"context_size": (0, 4), "dtype": "float32", "channels": ("mean", "less")}


def test_a_blockwise_prediction(raw, tmp_path, monkeypatch):
    config, data = raw
    monkeypatch.syspath_prepend(str(tmp_path.parent))
    mean = PipelineArrayConfig("mean", config, appended_nodes.add_mean, **OPTIONS, arguments={"scale": 0.5})
    # the same with an explicit voxel size, which equals that of the source
    sized = PipelineArrayConfig("sized", config, appended_nodes.add_mean, **OPTIONS, voxel_size=(4, 4))
    result = gpa.materialize(
        {"pred": mean, "sized": sized},
        tmp_path / "out.zarr",
        chunks=(8, 8),
        block=(32, 64),
        progress=False,
    )
    assert result.ok
    assert result.blocks == 3 * 2
    written = gpa.open_zarr(tmp_path / "out.zarr", "pred")
    assert written.channels == ("mean", "less")
    assert written.roi == gpa.Roi((7, 5), (80, 112))
    np.testing.assert_array_equal(written[:], mean_of(data, 0.5))
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "sized")[:], mean_of(data))


def test_any_block_gives_the_same_and_the_random_state_is_unchanged(raw):
    config, data = raw
    array = PipelineArrayConfig("mean", config, appended_nodes.add_mean, **OPTIONS).array()
    all_voxels = array[:]
    np.testing.assert_array_equal(all_voxels, mean_of(data))
    random.seed(5)
    expected = random.Random(5).random()
    np.testing.assert_array_equal(array[:, 3:9, 2:17], all_voxels[:, 3:9, 2:17])
    assert random.random() == expected


def test_nodes_that_pad(raw):
    config, data = raw
    array = PipelineArrayConfig("mean", config, appended_nodes.add_padded_mean, **OPTIONS, padded=True).array()
    assert array.roi == gpa.Roi((7, 1), (80, 120))
    np.testing.assert_array_equal(array[:], mean_of(np.pad(data, ((0, 0), (1, 1)))))
    np.testing.assert_array_equal(array[:, :, 28:], mean_of(np.pad(data, ((0, 0), (1, 1))))[:, :, 28:])


def test_a_voxel_size_that_is_the_sources_own(raw):
    config, data = raw
    options = {**OPTIONS, "voxel_size": (4, 4)}
    array = PipelineArrayConfig("mean", config, appended_nodes.add_mean, **options).array()
    assert (array.roi, array.voxel_size) == (gpa.Roi((7, 5), (80, 112)), (4, 4))
    np.testing.assert_array_equal(array[:], mean_of(data))


@pytest.mark.parametrize(
    ("offset", "begin", "first"),
    [
        # off the world's grid by less than a voxel: both grids begin where the source does
        ((2, -3), (2, 1), (0, 1)),
        ((7, 13), (11, 17), (1, 1)),
        # on the world's grid of the source, not on that of the result
        ((4, 8), (8, 8), (1, 0)),
        ((-4, 0), (0, 0), (1, 0)),
    ],
)
def test_voxels_twice_as_large(offset, begin, first):
    data = np.arange(7 * 9, dtype="uint8").reshape(7, 9)
    raw = gpa.NumpyArrayConfig("raw", data=data, offset=offset, voxel_size=(4, 4))
    half = PipelineArrayConfig("half", raw, appended_nodes.add_sized, voxel_size=(8, 8))
    want = data[first[0] : first[0] + 6 : 2, first[1] : first[1] + 8 : 2]
    array = half.array()
    assert (tuple(array.roi.begin), array.voxel_size, array.shape) == (begin, (8, 8), (3, 4))
    np.testing.assert_array_equal(array[:], want)
    np.testing.assert_array_equal(array[1:3, 1:2], want[1:3, 1:2])
    # arrays computed from it are on the same grid as gp_arrays' own arrays of that voxel size
    own = gpa.ResampledArrayConfig("own", raw, (1, 1), (2, 2), 0)
    assert own.array().roi == array.roi
    assert gpa.SumArrayConfig("sum", [half, own], dtype="int64").array().shape == (3, 4)
    again = PipelineArrayConfig("again", half, appended_nodes.add_sized, voxel_size=(16, 16)).array()
    twice = gpa.ResampledArrayConfig("twice", own, (1, 1), (2, 2), 0).array()
    assert again.roi == twice.roi
    skipped = [(b - o) // 8 for b, o in zip(again.roi.begin, begin, strict=True)]
    np.testing.assert_array_equal(again[:], want[skipped[0] :: 2, skipped[1] :: 2][: again.shape[0], : again.shape[1]])


@pytest.mark.parametrize("offset", [(0, 0), (2, -3), (4, 12)])
def test_voxels_half_as_large(offset):
    data = np.arange(5 * 4, dtype="uint8").reshape(5, 4)
    raw = gpa.NumpyArrayConfig("raw", data=data, offset=offset, voxel_size=(8, 8))
    fine = PipelineArrayConfig("fine", raw, appended_nodes.add_sized, voxel_size=(4, 4), arguments={"finer": True})
    array = fine.array()
    assert (array.roi, array.voxel_size) == (gpa.Roi(offset, (40, 32)), (4, 4))
    want = [[data[y // 2, x // 2] for x in range(8)] for y in range(10)]
    np.testing.assert_array_equal(array[:], want)
    np.testing.assert_array_equal(array[3:6, 1:2], np.array(want)[3:6, 1:2])


def test_a_tree_file_holds_it(raw, tmp_path):
    config, _ = raw
    mean = PipelineArrayConfig("mean", config, appended_nodes.add_mean, **OPTIONS, arguments={"scale": 2.0})
    mean.to_toml(tmp_path / "tree.toml")
    assert PipelineArrayConfig.from_toml(tmp_path / "tree.toml") == mean


def test_bad_values_and_combinations(raw):
    config, _ = raw
    with pytest.raises(gpa.ConfigError, match="workers can import"):
        PipelineArrayConfig("mean", config, lambda pipeline, source, target: pipeline)
    with pytest.raises(gpa.TreeError, match="no such function"):
        PipelineArrayConfig("mean", config, "appended_nodes:nothing").array()
    with pytest.raises(gpa.TreeError, match="smaller than the context"):
        PipelineArrayConfig("mean", config, appended_nodes.add_mean, context_size=(0, 60)).array()
    with pytest.raises(gpa.TreeError, match="one whole length per spatial axis"):
        PipelineArrayConfig("mean", config, appended_nodes.add_mean, context_size=(0, "0.5 nm")).array()
    with pytest.raises(gpa.TreeError, match=r"one voxel of both sizes; found .*, voxels \(88, 8\)"):
        PipelineArrayConfig("half", config, appended_nodes.add_sized, voxel_size=(88, 8)).array()
    greedy = PipelineArrayConfig("mean", config, appended_nodes.add_greedy, **OPTIONS).array()
    with pytest.raises(gpa.ComputeError, match="mean: the appended nodes failed"):
        greedy[:]
