"""Compiled plans: equal subtrees occur once, no voxel is read, errors name the path in the tree."""

import numpy as np
import pytest
from funlib.geometry import Roi

import gp_arrays as gpa
from gp_arrays.model.evaluate import evaluate, make_tasks
from gp_arrays.model.meta import Region


def source(name="n", shape=(8, 8), **fields):
    return gpa.NumpyArrayConfig(name, data=np.arange(np.prod(shape), dtype=np.uint8).reshape(shape), **fields)


def test_equal_subtrees_become_one_step():
    base = source()
    a = gpa.ThresholdArrayConfig("a", base, 3)
    b = gpa.ThresholdArrayConfig("b", base, 3)
    plan = gpa.compile_plan({"x": gpa.SumArrayConfig("sum", [a, b]), "y": b})
    assert [step.config.name for step in plan.steps] == ["n", "a", "sum"]
    assert plan.outputs == {"x": 2, "y": 1}
    assert plan.steps[2].sources == (1, 1)


def test_steps_are_in_topological_order():
    config = source()
    for i in range(30):
        config = gpa.SumArrayConfig(f"s{i}", [config, config], dtype="float64")
    plan = gpa.compile_plan({"top": config})
    assert len(plan.steps) == 31
    assert all(s < i for i, step in enumerate(plan.steps) for s in step.sources)


def test_each_of_a_thousand_nodes_is_visited_once(monkeypatch):
    base = source()
    chain = base
    for i in range(999):
        chain = gpa.ThresholdArrayConfig(f"c{i}", chain, 0)
    wide = gpa.SumArrayConfig("sum", [gpa.ThresholdArrayConfig(f"w{i}", base, i) for i in range(998)])
    looked = []
    infer = gpa.ThresholdArrayConfig.infer
    monkeypatch.setattr(gpa.ThresholdArrayConfig, "infer", lambda self, *s: looked.append(self.name) or infer(self, *s))
    for config, count in ((chain, 999), (wide, 998)):
        looked.clear()
        assert len(gpa.compile_plan({"top": config}).steps) == 1000
        assert len(looked) == len(set(looked)) == count
    assert chain.array()[:].sum() == 63
    expected = sum((np.arange(64) > i).astype(int) for i in range(998)).reshape(8, 8)
    assert np.array_equal(wide.array()[:], expected)


def test_one_name_for_two_contents():
    a, b = gpa.ThresholdArrayConfig("t", source(), 1), gpa.ThresholdArrayConfig("t", source("m"), 2)
    with pytest.raises(gpa.TreeError, match="two different arrays are named 't'"):
        gpa.SumArrayConfig("s", [a, b]).array()


def test_errors_carry_the_path():
    small, large = source("small"), source("large", voxel_size=(2, 2))
    inner = gpa.SumArrayConfig("inner", [small, large])
    outer = gpa.ThresholdArrayConfig("outer", inner, 1)
    with pytest.raises(gpa.TreeError) as caught:
        outer.array()
    assert str(caught.value) == (
        "outer > inner: voxel size of the sources differ; found small (1, 1), large (2, 2); allowed: the same for all sources"
    )


def test_the_unit_that_suits_all_arrays_of_the_tree_is_named():
    one = source("one", voxel_size=("5.24 nm", "4 nm"))
    two = source("two", voxel_size=("0.5 pm", "1 nm"))
    with pytest.raises(gpa.TreeError, match=r'both > one: its voxel_size is not a whole number of nm.*set unit = "fm"'):
        gpa.SumArrayConfig("both", [one, two]).array()


@pytest.mark.parametrize("size", [0, -4, "0 nm"])
def test_voxel_sizes_are_positive(size):
    with pytest.raises(gpa.ConfigError, match="n: voxel_size must be positive"):
        source(voxel_size=(size, 1))


def test_regions_are_requested_once_and_distant_ones_separately():
    base = source(shape=(100, 100))
    a, b = gpa.ThresholdArrayConfig("a", base, 3), gpa.ThresholdArrayConfig("b", base, 5)
    plan = gpa.compile_plan({"a": a, "b": b})
    near = make_tasks(plan, [(1, Region((0, 0), (10, 10))), (2, Region((0, 0), (10, 10)))]).regions()
    assert near[0] == [Region((0, 0), (10, 10))]
    far = make_tasks(plan, [(1, Region((0, 0), (10, 10))), (2, Region((90, 90), (100, 100)))]).regions()
    assert sorted(far[0], key=str) == [Region((0, 0), (10, 10)), Region((90, 90), (100, 100))]
    inside = make_tasks(plan, [(1, Region((0, 0), (10, 10))), (2, Region((2, 2), (4, 4)))]).regions()
    assert inside[0] == [Region((0, 0), (10, 10))]


def test_the_memory_of_blocks_is_freed_after_their_last_use(monkeypatch):
    import gc
    import weakref

    config = source(shape=(64, 64))
    for i in range(6):
        config = gpa.IntensitiesArrayConfig(f"i{i}", config, 0, 2)
    plan = gpa.compile_plan({"top": config})
    alive, most = [], 0
    kernel = gpa.IntensitiesArrayConfig.kernel

    def watched(self, dtype, *sources):
        nonlocal most
        out = kernel(self, dtype, *sources)
        alive.append(weakref.ref(out))
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
        return out

    monkeypatch.setattr(gpa.IntensitiesArrayConfig, "kernel", watched)
    evaluate(plan, [(plan.outputs["top"], plan.steps[-1].meta.region)])
    assert len(alive) == 6
    assert most <= 2


def test_a_type_that_breaks_its_word_is_told():
    import attrs

    from gp_arrays.model.registry import TYPES

    @attrs.frozen(eq=False, repr=False)
    class LiarArrayConfig(gpa.PointwiseConfig):
        source_array_config: gpa.ArrayConfig = attrs.field(metadata={"gp_arrays_source": True})

        def infer(self, *sources):
            return sources[0]

        def kernel(self, dtype, *sources):
            return sources[0].astype(np.float32)

    try:
        with pytest.raises(gpa.ComputeError, match=r"^liar: .*announced.*; found float32\(8, 8\)"):
            LiarArrayConfig("liar", source()).array()[:]
    finally:
        del TYPES["LiarArrayConfig"]


def test_a_kernel_that_fails_names_its_path_and_roi(monkeypatch):
    def broken(self, dtype, *sources):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(gpa.IntensitiesArrayConfig, "kernel", broken)
    inner = gpa.IntensitiesArrayConfig("inner", source(), 0, 1)
    with pytest.raises(gpa.ComputeError, match=r"outer > inner: ZeroDivisionError in \[0:8, 0:8\]: by nought"):
        gpa.ThresholdArrayConfig("outer", inner, 1).array()[Roi((0, 0), (8, 8))]


def test_verify_says_why_not(tmp_path):
    missing = gpa.ZarrArrayConfig("z", tmp_path / "no.zarr", "raw")
    good, reason = gpa.OnesArrayConfig("o", missing).verify()
    assert not good
    assert reason == f"o > z: no such store; found {tmp_path / 'no.zarr'}"
    assert gpa.ThresholdArrayConfig("t", source(), 1).verify() == (True, "ok")
    assert gpa.OnesArrayConfig("o", gpa.DummyArrayConfig("d")).verify() == (
        False,
        "o > d: a DummyArrayConfig stands for data that do not exist",
    )


def test_explain():
    base = source()
    a = gpa.ThresholdArrayConfig("a", base, 3)
    text = gpa.explain({"a": a, "one": gpa.OnesArrayConfig("one", base)})
    assert "1. n: NumpyArrayConfig" in text
    assert "computed once a request, used by 2 arrays" in text
    assert "needs of n just the region asked for" in text
    assert "needs of n its meta alone, no voxel" in text


def test_the_order_of_sources_does_not_move_a_resampled_array():
    coarse = gpa.NumpyArrayConfig("coarse", data=np.arange(8, dtype=np.uint8), voxel_size=[4], offset=[3], axes=["x"])
    fine = gpa.ResampledArrayConfig("fine", coarse, [4], [1], 0)  # from 3 in steps of 1
    other = gpa.NumpyArrayConfig("other", data=np.arange(40, dtype=np.uint8), axes=["x"])
    third = gpa.NumpyArrayConfig("third", data=np.arange(8, dtype=np.uint8), voxel_size=[8], offset=[7], axes=["x"])
    finer = gpa.ResampledArrayConfig("finer", third, [8], [1], 0)
    for sources, begin in (([fine, other], 3), ([fine, finer], 7)):
        for order in (sources, sources[::-1]):
            total = gpa.SumArrayConfig("sum", order)
            # on corners of source voxels, as a pipeline needs it
            assert gpa.ResampledArrayConfig("r", total, [1], [4], 0).array().roi.begin == (begin,)


def test_spatial_axes_in_another_order_are_other_axes():
    upright, turned = source("upright"), source("turned", axes=("x", "y"))
    for config in (
        gpa.SumArrayConfig("s", [upright, turned]),
        gpa.ConcatArrayConfig("s", ["a", "b"], {"a": upright, "b": turned}),
    ):
        with pytest.raises(
            gpa.TreeError, match="s: the spatial axes of the sources come in another order; found .* y,x"
        ):
            config.array()
    named = source("named", axes=("d0", "d1"))
    assert gpa.SumArrayConfig("s", [upright, named]).array().spatial_axes == ("y", "x")
