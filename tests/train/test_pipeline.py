"""Compiled pipelines: a linear chain, hidden inner keys, arrays off the grid, long chains, splits."""

import itertools
import random

import gunpowder as gp
import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

import gp_arrays as gpa
from gp_arrays.train.pipeline import LONGEST_CHAIN

COUNT = itertools.count()


def key(name="K"):
    return gp.ArrayKey(f"{name}_{next(COUNT)}")


def source(name="n", shape=(12, 12), seed=0, **fields):
    data = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    return gpa.NumpyArrayConfig(name, data=data, **fields)


def serve(pipeline, rois):
    wanted = gp.BatchRequest({k: gp.ArraySpec(roi=roi) for k, roi in rois.items()})
    with gp.build(pipeline):
        return pipeline.request_batch(wanted)


def test_it_provides_the_requested_keys_and_nothing_else():
    a, b = key("A"), key("B")
    base = source()
    pipeline = gpa.compile_pipeline({a: gpa.ThresholdArrayConfig("t", base, 100), b: base})
    with gp.build(pipeline):
        assert set(pipeline.spec.array_specs) == {a, b}
        assert pipeline.spec[a].dtype == np.uint8
        assert pipeline.spec[a].interpolatable is False
        assert pipeline.spec[b].interpolatable is True
    batch = serve(pipeline, {a: Roi((2, 2), (4, 4)), b: Roi((2, 2), (4, 4))})
    data = base.data.data[2:6, 2:6]
    assert np.array_equal(batch[a].data, data > 100)
    assert np.array_equal(batch[b].data, data)


def test_outputs_share_no_memory():
    a, b, c = key(), key(), key()
    base = source()
    crop = gpa.CropArrayConfig("crop", base, roi=[[0, 0], [12, 12]])
    pipeline = gpa.compile_pipeline({a: base, b: crop, c: base})
    batch = serve(pipeline, {k: Roi((0, 0), (12, 12)) for k in (a, b, c)})
    batch[a].data[...] = 0
    assert np.array_equal(batch[b].data, base.data.data)
    assert np.array_equal(batch[c].data, base.data.data)
    assert base.data.data.any()


def test_two_keys_of_one_array_at_two_rois():
    a, b = key(), key()
    base = source()
    pipeline = gpa.compile_pipeline({a: base, b: base})
    batch = serve(pipeline, {a: Roi((0, 0), (4, 4)), b: Roi((8, 8), (4, 4))})
    assert np.array_equal(batch[a].data, base.data.data[:4, :4])
    assert np.array_equal(batch[b].data, base.data.data[8:, 8:])


def test_two_pipelines_of_one_tree_merge():
    base = source()
    tree = gpa.ThresholdArrayConfig("t", base, 100)
    a, b = key(), key()
    merged = (gpa.compile_pipeline({a: tree}), gpa.compile_pipeline({b: tree})) + gp.MergeProvider()
    batch = serve(merged, {a: Roi((0, 0), (4, 4)), b: Roi((0, 0), (4, 4))})
    assert np.array_equal(batch[a].data, batch[b].data)


@pytest.mark.parametrize("length", [3, LONGEST_CHAIN - 2, LONGEST_CHAIN + 5, 999])
def test_chains_of_any_length(length):
    config = base = source()
    for i in range(length):
        config = gpa.IntensitiesArrayConfig(f"i{i}", config, min=0, max=1)
    k = key()
    pipeline = gpa.compile_pipeline({k: config})
    batch = serve(pipeline, {k: Roi((1, 2), (3, 4))})
    assert np.array_equal(batch[k].data, base.data.data[1:4, 2:6].astype(np.float32))


def test_thirty_levels_of_sharing():
    config = source()
    for i in range(30):
        config = gpa.SumArrayConfig(f"s{i}", [config, config], dtype="float64")
    k = key()
    batch = serve(gpa.compile_pipeline({k: config}), {k: Roi((0, 0), (2, 2))})
    base = source()
    assert np.array_equal(batch[k].data, base.data.data[:2, :2] * 2.0**30)


def test_a_shared_array_is_computed_once_a_request(monkeypatch):
    calls = []
    kernel = gpa.ThresholdArrayConfig.kernel
    monkeypatch.setattr(
        gpa.ThresholdArrayConfig, "kernel", lambda self, dtype, *s: calls.append(self.name) or kernel(self, dtype, *s)
    )
    shared = gpa.ThresholdArrayConfig("shared", source(), 100)
    top = gpa.SumArrayConfig("sum", [shared, gpa.CropArrayConfig("crop", shared, [[0, 0], [12, 12]])])
    k = key()
    serve(gpa.compile_pipeline({k: top}), {k: Roi((0, 0), (4, 4))})
    assert calls == ["shared"]


def test_far_apart_requests_are_split(monkeypatch):
    base = source(shape=(1000, 1000))
    read = []
    from gp_arrays.sources.numpy_ import NumpyOpened

    own = NumpyOpened.read
    monkeypatch.setattr(NumpyOpened, "read", lambda self, index: read.append(index) or own(self, index))
    a, b = key(), key()
    pipeline = gpa.compile_pipeline({a: gpa.ThresholdArrayConfig("t", base, 9), b: base})
    batch = serve(pipeline, {a: Roi((0, 0), (10, 10)), b: Roi((990, 990), (10, 10))})
    assert np.array_equal(batch[b].data, base.data.data[990:, 990:])
    assert sorted((i[0].start, i[0].stop) for i in read) == [(0, 10), (990, 1000)]


def test_sources_off_the_grid_are_shifted_together():
    base = source(offset=(7, 3), voxel_size=(10, 4))
    other = source("m", seed=1, offset=(17, 7), voxel_size=(10, 4))
    tree = gpa.SumArrayConfig("s", [base, other])
    k = key()
    pipeline = gpa.compile_pipeline({k: tree}, shift=(7, 3))
    with gp.build(pipeline):
        assert pipeline.spec[k].roi == Roi((10, 4), (110, 44))
    batch = serve(pipeline, {k: Roi((10, 4), (20, 8))})
    assert np.array_equal(batch[k].data, tree.array()[Roi((17, 7), (20, 8))])


def test_phases_that_differ_are_an_error_that_names_both():
    a, b = source("a", offset=(7, 0), voxel_size=(10, 4)), source("b", offset=(8, 0), voxel_size=(10, 4))
    with pytest.raises(gpa.TreeError) as caught:
        gpa.compile_pipeline({key(): a, key(): b})
    for part in ("a begins at (7, 0)", "b begins at (8, 0)", "offset="):
        assert part in str(caught.value)
    with pytest.raises(gpa.TreeError, match="shifted against each other.*a begins at.*b at.*offset="):
        gpa.SumArrayConfig("s", [a, b]).array()


def test_phases_of_different_voxel_sizes_that_agree():
    a, b = source("a", offset=(7, 0), voxel_size=(10, 1)), source("b", offset=(2, 0), voxel_size=(5, 1))
    ka, kb = key(), key()
    assert gpa.common_shift([a, b]) == gpa.common_shift([{ka: a, kb: b}]) == Coordinate(7, 0)
    pipeline = gpa.compile_pipeline({ka: a, kb: b}, shift="auto")
    batch = serve(pipeline, {ka: Roi((0, 0), (20, 3)), kb: Roi((0, 0), (20, 3))})
    assert np.array_equal(batch[ka].data, a.array()[Roi((7, 0), (20, 3))])
    assert np.array_equal(batch[kb].data, b.array()[Roi((7, 0), (20, 3))])


def test_training_pipeline():
    raw, labels = source("raw", (40, 40)), source("labels", (40, 40), interpolatable=False)
    kr, km = key("RAW"), key("MASKS")
    tree = gpa.compile_pipeline(
        {kr: gpa.IntensitiesArrayConfig("i", raw, 0, 255), km: gpa.BinarizeArrayConfig("m", labels, [("any", [])])}
    )
    pipeline = tree + gp.RandomLocation() + gp.SimpleAugment() + gp.PreCache(4, 2)
    wanted = gp.BatchRequest()
    wanted.add(kr, (16, 16))
    wanted.add(km, (8, 8))
    with gp.build(pipeline):
        for _ in range(4):
            batch = pipeline.request_batch(wanted)
            assert batch[kr].data.shape == (16, 16)
            assert batch[km].data.shape == (1, 8, 8)
            assert set(np.unique(batch[km].data)) <= {0, 1}


def test_random_seeds_reach_the_request():
    k = key()
    pipeline = gpa.compile_pipeline({k: source(shape=(100, 100))}) + gp.RandomLocation()
    wanted = gp.BatchRequest(random_seed=5)
    wanted.add(k, (10, 10))
    with gp.build(pipeline):
        first = pipeline.request_batch(wanted)[k]
        random.seed(99)
        second = pipeline.request_batch(wanted)[k]
    assert first.spec.roi == second.spec.roi
    assert np.array_equal(first.data, second.data)


@pytest.mark.parametrize(("arrays", "problem"), [({}, "no array to provide"), ({"K": source()}, "must be array keys")])
def test_trees_that_do_not_compile(arrays, problem):
    with pytest.raises(gpa.TreeError, match=problem):
        gpa.compile_pipeline(arrays)


def test_arrays_of_other_dimension():
    with pytest.raises(gpa.TreeError, match="different numbers of spatial axes"):
        gpa.compile_pipeline({key(): source(), key(): source("m", (4, 4, 4))})


@pytest.mark.parametrize("length", [3, LONGEST_CHAIN + 20])
def test_a_padded_request_wholly_outside(length):
    config = source(shape=(12, 12), voxel_size=(4, 4))
    for i in range(length):
        config = gpa.IntensitiesArrayConfig(f"i{i}", config, min=0, max=1)
    config = gpa.ResampledArrayConfig("top", config, (2, 2), (1, 1), 0)
    k, other = key(), key()
    pipeline = gpa.compile_pipeline({k: config, other: source("other")}) + gp.Pad(k, None)
    batch = serve(pipeline, {k: Roi((-8, -8), (8, 8)), other: Roi((0, 0), (2, 2))})
    assert batch[k].data.tolist() == [[0] * 4] * 4
    assert np.array_equal(batch[other].data, source("other").data.data[:2, :2])
    inside = serve(pipeline, {k: Roi((-4, 0), (8, 4))})[k].data
    first = np.float32(source(shape=(12, 12)).data.data[0, 0])
    assert inside.tolist() == [[0, 0], [0, 0], [first, first], [first, first]]


def test_a_long_tree_with_many_outputs():
    base = source()
    keys = [key() for _ in range(150)]
    configs = {k: gpa.ThresholdArrayConfig(f"t{i}", base, i) for i, k in enumerate(keys)}
    configs[key()] = total = gpa.SumArrayConfig("sum", list(configs.values()))
    batch = serve(gpa.compile_pipeline(configs), {k: Roi((2, 3), (5, 4)) for k in configs})
    data = base.data.data[2:7, 3:7]
    for i, k in enumerate(keys):
        assert np.array_equal(batch[k].data, data > i)
    assert np.array_equal(batch[list(configs)[-1]].data, sum((data > i).astype(int) for i in range(150)))
    assert np.array_equal(batch[list(configs)[-1]].data, total.array()[Roi((2, 3), (5, 4))])
