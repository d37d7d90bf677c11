"""gunpowder nodes in the middle of a job."""

import random

import appended_nodes
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.materialize import PipelineArrayConfig


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
    result = gpa.materialize(
        config, tmp_path / "out.zarr", "pred", append=appended_nodes.add_mean,
        append_options={**OPTIONS, "arguments": {"scale": 0.5}}, chunks=(8, 8), block=(32, 64), progress=False,
    )  # fmt: skip
    assert result.ok
    assert result.blocks == 3 * 2
    written = gpa.open_zarr(tmp_path / "out.zarr", "pred")
    assert written.channels == ("mean", "less")
    assert written.roi == gpa.Roi((7, 5), (80, 112))
    np.testing.assert_array_equal(written[:], mean_of(data, 0.5))


def test_any_block_gives_the_same_and_chance_is_left_alone(raw):
    config, data = raw
    array = PipelineArrayConfig("mean", config, appended_nodes.add_mean, **OPTIONS).array()
    whole = array[:]
    np.testing.assert_array_equal(whole, mean_of(data))
    random.seed(5)
    expected = random.Random(5).random()
    np.testing.assert_array_equal(array[:, 3:9, 2:17], whole[:, 3:9, 2:17])
    assert random.random() == expected


def test_nodes_that_pad(raw):
    config, data = raw
    array = PipelineArrayConfig("mean", config, appended_nodes.add_padded_mean, **OPTIONS, padded=True).array()
    assert array.roi == gpa.Roi((7, 1), (80, 120))
    np.testing.assert_array_equal(array[:], mean_of(np.pad(data, ((0, 0), (1, 1)))))
    np.testing.assert_array_equal(array[:, :, 28:], mean_of(np.pad(data, ((0, 0), (1, 1))))[:, :, 28:])


def test_it_stands_in_a_tree_file(raw, tmp_path):
    config, _ = raw
    made = PipelineArrayConfig("mean", config, appended_nodes.add_mean, **OPTIONS, arguments={"scale": 2.0})
    made.to_toml(tmp_path / "tree.toml")
    assert PipelineArrayConfig.from_toml(tmp_path / "tree.toml") == made


def test_what_cannot_be(raw):
    config, _ = raw
    with pytest.raises(gpa.ConfigError, match="workers can import"):
        PipelineArrayConfig("mean", config, lambda pipeline, source, target: pipeline)
    with pytest.raises(gpa.TreeError, match="no such function"):
        PipelineArrayConfig("mean", config, "appended_nodes:nothing").array()
    with pytest.raises(gpa.TreeError, match="smaller than the context"):
        PipelineArrayConfig("mean", config, appended_nodes.add_mean, context_size=(0, 60)).array()
    with pytest.raises(gpa.TreeError, match="one whole length per spatial axis"):
        PipelineArrayConfig("mean", config, appended_nodes.add_mean, context_size=(0, "0.5 nm")).array()
    greedy = PipelineArrayConfig("mean", config, appended_nodes.add_greedy, **OPTIONS).array()
    with pytest.raises(gpa.ComputeError, match="mean: the appended nodes failed"):
        greedy[:]
