"""Which voxels a view shows at which zoom, and what that costs."""

from __future__ import annotations

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import trees
from view_helpers import Blurred, Broken, Counted, Counter, Endless, value

import gp_arrays as gpa
from gp_arrays.testing import evaluate_naively
from gp_arrays.train.pipeline_array import PipelineArrayConfig
from gp_arrays.viewer.sampling import EXACT, PLANE_TO_CUBE, SPARSE, Sampler


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def middles(n: int, factor: int) -> list[int]:
    """What order 0 keeps of n voxels, by its definition: index ceil((2i + 1) d / 2) - 1, within the array."""
    return [min(-(-(2 * i + 1) * factor // 2) - 1, n - 1) for i in range(-(-n // factor))]


@given(st.data())
def test_random_trees_zoomed_out_show_the_middle_voxels(session_folder: Path, data: Any) -> None:
    config = data.draw(trees(session_folder))
    try:
        want = evaluate_naively(config)
    except gpa.ComputeError:
        assume(False)
    factors = [data.draw(st.sampled_from([1, 2, 3, 4])) for _ in range(want.dims)]
    kept = want.data[(..., *np.ix_(*[middles(n, f) for n, f in zip(want.shape, factors, strict=True)]))]
    bounds = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in kept.shape]
    start, stop = zip(*bounds, strict=True)
    got = Sampler(config.array()).read(start, stop, [1] * len(want.nonspatial) + factors)
    np.testing.assert_array_equal(got, kept[tuple(slice(*b) for b in bounds)])


def test_one_sample_of_what_is_computed_for_all() -> None:
    data = np.zeros((3, 2, 4, 4), np.uint8)
    data[1, 1] = 5
    masks = gpa.NumpyArrayConfig("masks", data=data, axes=("s", "c", "y", "x"))
    sampler = Sampler(gpa.LogicalOrArrayConfig("any", masks).array())
    got = [sampler.read((s, 0, 0), (s + 1, 2, 2), (1, 2, 2)) for s in range(3)]
    assert [(one.shape, np.unique(one).tolist()) for one in got] == [
        ((1, 2, 2), [0]),
        ((1, 2, 2), [1]),
        ((1, 2, 2), [0]),
    ]


def test_only_the_samples_are_computed(counters: tuple[Counter, Counter]) -> None:
    _, computed = counters
    config = Counted("inverted", Endless("raw"))
    got = Sampler(config.array()).read((5, 0, 0), (6, 512, 512), (2, 2, 2))
    index = np.ix_([10], np.arange(512) * 2, np.arange(512) * 2)
    np.testing.assert_array_equal(got, 255 - value(*index))
    assert computed.voxels == 512 * 512


@pytest.mark.parametrize(("factor", "repeat"), [(8, 64), (64, 64), (1024, 16)])
def test_without_a_pyramid_few_voxels_are_read_and_shown_larger(
    factor: int, repeat: int, counters: tuple[Counter, Counter]
) -> None:
    read, computed = counters
    size = min(512, 10**5 // factor)
    sampler = Sampler(Counted("inverted", Endless("raw")).array())
    got = sampler.read((5, 0, 0), (6, size, size), (factor,) * 3)
    assert got.shape == (1, size, size)
    assert 0 < read.voxels <= SPARSE
    assert computed.voxels == (-(-size // repeat)) ** 2
    # the voxel that is shown lies in the middle of those for which it stands, to a voxel of the screen
    last = -(-(10**5) // factor) - 1
    at = (np.arange(size) // repeat * repeat + (repeat - 1) // 2).clip(max=last) * factor + (factor - 1) // 2
    np.testing.assert_array_equal(got, 255 - value(*np.ix_([5 * factor + (factor - 1) // 2], at, at)))


def test_samples_that_are_cheap_enough_are_exact(counters: tuple[Counter, Counter]) -> None:
    read, _ = counters
    got = Sampler(Endless("raw", size=2048).array()).read((5, 0, 0), (6, 512, 512), (4, 4, 4))
    at = np.arange(512) * 4 + 1
    np.testing.assert_array_equal(got, value(*np.ix_([21], at, at)))
    assert read.voxels == 2048 * 2048 * 64 == EXACT
    # cubes are smaller, and so are their limits
    for factor, most in ((4, 256**3), (8, SPARSE // PLANE_TO_CUBE)):
        read.voxels = 0
        got = Sampler(Endless("raw").array()).read((64, 64, 64), (128, 128, 128), (factor,) * 3)
        assert 0 < read.voxels <= most
        at = np.arange(64, 128) * factor + (factor - 1) // 2
        assert (got == value(*np.ix_(at, at, at))).all() == (factor == 4)


@pytest.mark.parametrize(("factor", "level"), [(2, 1), (4, 2), (16, 4), (64, 6), (128, 6)])
def test_a_pyramid_is_read_at_the_level_of_the_zoom(factor: int, level: int, counters: tuple[Counter, Counter]) -> None:
    read, computed = counters
    config = Counted("inverted", Endless("raw", pyramid=7))
    size = min(512, 10**5 // factor)
    got = Sampler(config.array()).read((5, 0, 0), (6, size, size), (factor,) * 3)
    at = (np.arange(size) * factor + (factor - 1) // 2) >> level << level
    z = (5 * factor + (factor - 1) // 2) >> level << level
    np.testing.assert_array_equal(got, 255 - value(*np.ix_([z], at, at)))
    assert computed.voxels == size * size
    # planes, in chunks 64 deep
    assert read.voxels <= 64 * (512 + 64) ** 2 * (2 if factor < 128 else 5)


def pyramid(folder: Path, translations: bool = True, dtypes: tuple[str, ...] = ("uint8",) * 3) -> Path:
    """An NGFF image of 64^3 voxels of 8 nm, in which voxels of level k hold k, 10 nm from the origin."""
    store = folder / "pyramid.zarr"
    datasets = []
    for k, dtype in enumerate(dtypes):
        n, size = 64 >> k, 8 << k
        array = gpa.create_zarr(
            store, f"image/s{k}", gpa.Roi((0,) * 3, (n * size,) * 3), (size,) * 3, dtype, chunks=(16,) * 3
        )
        array[:] = np.full((n,) * 3, k, dtype)
        (store / "image" / f"s{k}" / ".zattrs").unlink()
        moves = [{"type": "scale", "scale": [size] * 3}]
        if translations:
            moves.append({"type": "translation", "translation": [10 + (size - 8) / 2] * 3})
        datasets.append({"path": f"s{k}", "coordinateTransformations": moves})
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    (store / "image" / ".zattrs").write_text(
        json.dumps({"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]})
    )
    return store


@pytest.mark.parametrize("translations", [True, False])
def test_a_stored_pyramid_is_used_under_a_tree(tmp_path: Path, translations: bool) -> None:
    store = pyramid(tmp_path, translations)
    begin = 10 if translations else 0
    raw = gpa.ZarrArrayConfig("raw", store, "image/s0")
    # begins in the middle of voxels of the coarser levels
    crop = gpa.CropArrayConfig("crop", raw, roi=[[begin + 24] * 3, [320] * 3])
    total = gpa.SumArrayConfig("total", [crop, gpa.ConstantArrayConfig("ten", crop, 10)])
    sampler = Sampler(total.array())
    for factor, level in [(1, 0), (2, 1), (4, 2), (8, 2)]:
        got = sampler.read((0, 0, 0), (40 // factor,) * 3, (factor,) * 3)
        assert np.unique(got).tolist() == [10 + level]
    # no axis coarser than it is looked at
    assert np.unique(sampler.read((0, 0, 0), (40, 10, 10), (1, 4, 4))).tolist() == [10]


def test_a_pyramid_is_found_by_scale_too_and_from_a_level_on(tmp_path: Path) -> None:
    store = pyramid(tmp_path)
    first = Sampler(gpa.ZarrArrayConfig("raw", store, "image", scale=1).array())
    assert [np.unique(first.read((0, 0, 0), (32 // f,) * 3, (f,) * 3)).tolist() for f in (1, 2)] == [[1], [2]]


def test_a_level_of_another_dtype_and_an_array_elsewhere_are_no_pyramid(tmp_path: Path) -> None:
    other = Sampler(
        gpa.ZarrArrayConfig("raw", pyramid(tmp_path, dtypes=("uint8", "float32", "uint8")), "image/s0").array()
    )
    assert [np.unique(other.read((0, 0, 0), (64 // f,) * 3, (f,) * 3)).tolist() for f in (2, 4)] == [[0], [2]]
    moved = gpa.ZarrArrayConfig("raw", tmp_path / "pyramid.zarr", "image/s0", offset=(0, 0, 0))
    assert np.unique(Sampler(moved.array()).read((0, 0, 0), (16,) * 3, (4, 4, 4))).tolist() == [0]


def test_a_broken_pyramid_is_named_and_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = pyramid(tmp_path)
    shutil.rmtree(store / "image" / "s1")
    crop = gpa.CropArrayConfig("crop", gpa.ZarrArrayConfig("raw", store, "image/s0"), roi=[[10] * 3, [512] * 3])
    with caplog.at_level(logging.WARNING):
        got = Sampler(crop.array()).read((0, 0, 0), (16,) * 3, (4, 4, 4))
    assert np.unique(got).tolist() == [0]
    assert "crop > raw: its pyramid is not used" in caplog.text


def test_a_resampled_array_is_exact_where_it_can_be_computed(counters: tuple[Counter, Counter]) -> None:
    half = gpa.ResampledArrayConfig("half", Endless("raw", size=1024), (1, 1, 1), (2, 2, 2), interp_order=1)
    got = Sampler(half.array()).read((3, 0, 0), (4, 256, 256), (2, 2, 2))
    fine = value(*np.ix_([12, 13], np.arange(1024), np.arange(1024))).astype(int)
    mean = np.round(fine.reshape(1, 2, 512, 2, 512, 2).sum((1, 3, 5)) / 8)
    np.testing.assert_array_equal(got, mean[:, ::2, ::2])


def test_a_resampled_array_far_out_shows_its_source_at_the_same_place(counters: tuple[Counter, Counter]) -> None:
    half = gpa.ResampledArrayConfig("half", Endless("raw", pyramid=8), (1, 1, 1), (2, 2, 2), interp_order=1)
    got = Sampler(Counted("inverted", half).array()).read((5, 0, 0), (6, 512, 512), (32, 32, 32))
    # samples of 64 voxels of the source: its level 6
    np.testing.assert_array_equal(got, 255 - value(*np.ix_([5 * 64], np.arange(512) * 64, np.arange(512) * 64)))
    read, computed = counters
    assert computed.voxels == 512 * 512
    assert read.voxels <= 64 * 576 * 576


def test_planes_where_they_are_cheap_and_cubes_where_they_decode_less(tmp_path: Path) -> None:
    def stored(size: int, chunks: tuple[int, ...]) -> Any:
        name = f"raw{size}-{chunks[0]}"
        roi = gpa.Roi((0,) * 3, (8 * size,) * 3)
        gpa.create_zarr(tmp_path / "a.zarr", name, roi, (8,) * 3, "uint8", chunks=chunks)
        return gpa.ZarrArrayConfig("raw", tmp_path / "a.zarr", name)

    def planes(config: Any) -> bool:
        return Sampler(config.array()).planes

    large, flat = stored(1024, (64,) * 3), stored(1024, (1, 512, 512))
    # a plane decodes chunks that are 64 voxels deep, most of them out of sight
    assert not planes(large)
    assert not planes(gpa.ThresholdArrayConfig("high", large, 128))
    assert planes(flat)
    assert planes(gpa.ThresholdArrayConfig("high", flat, 128))
    memory = Endless("raw", size=1024, chunk=1)
    assert planes(memory)
    assert not planes(Blurred("blurred", memory))
    # planes of a small array are many small requests
    assert not planes(Endless("raw", size=250, chunk=1))


def test_a_deep_context_is_read_where_it_is_cheap_and_thinned_where_not(counters: tuple[Counter, Counter]) -> None:
    read, _ = counters
    sampler = Sampler(Blurred("blurred", Endless("raw")).array())
    got = sampler.read((100, 100, 100), (104, 104, 104), (2, 2, 2))
    whole = Blurred("blurred", Endless("raw")).array()[200:208, 200:208, 200:208]
    np.testing.assert_array_equal(got, whole[::2, ::2, ::2])
    read.voxels = 0
    got = sampler.read((0, 0, 0), (64, 64, 64), (64, 64, 64))
    assert got.shape == (64, 64, 64)
    assert 0 < read.voxels <= SPARSE


def test_constants_read_nothing(counters: tuple[Counter, Counter]) -> None:
    ones = gpa.OnesArrayConfig("ones", Endless("raw"))
    assert Sampler(ones.array()).read((0, 0, 0), (9, 9, 9), (1024,) * 3).all()
    assert counters[0].voxels == 0


def test_several_threads_read_at_once() -> None:
    sampler = Sampler(Counted("inverted", Endless("raw", pyramid=5)).array())
    boxes = [((i, 0, 0), (i + 1, 64, 64), (f, f, f)) for i in range(8) for f in (1, 2, 8)]
    alone = [sampler.read(*box) for box in boxes]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(lambda box: sampler.read(*box), boxes), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_failure_names_its_place_in_the_tree(tmp_path: Path) -> None:
    made = gpa.create_zarr(
        tmp_path / "a.zarr", "raw", gpa.Roi((0,) * 3, (256,) * 3), (4,) * 3, "uint8", chunks=(64,) * 3
    )
    made[:] = noise(64, 64, 64)
    chunk = tmp_path / "a.zarr" / "raw" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    norm = gpa.IntensitiesArrayConfig("norm", gpa.ZarrArrayConfig("raw", tmp_path / "a.zarr", "raw"), 0, 255)
    sampler = Sampler(norm.array())
    for factor in (1, 2):
        with pytest.raises(gpa.StoreError, match=r"^norm > raw: .*0/0/0"):
            sampler.read((0, 0, 0), (4, 4, 4), (factor,) * 3)


def test_coarse_overviews_are_explained_once(caplog: pytest.LogCaptureFixture) -> None:
    sampler = Sampler(Counted("inverted", Endless("raw")).array())
    for z in range(3):
        sampler.read((z, 0, 0), (z + 1, 97, 97), (1024,) * 3)
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["inverted > raw: zoomed so far out"]


def test_errors_of_kernels_name_the_array_at_any_zoom() -> None:
    config = Broken("broken", gpa.DummyArrayConfig("dummy"))
    for factor in (1, 2):
        with pytest.raises(gpa.ComputeError, match="^broken: ZeroDivisionError"):
            Sampler(config.array()).read((0, 0, 0), (4, 4, 4), (factor,) * 3)


def test_samples_of_arrays_of_appended_nodes() -> None:
    """Off the world's grid, here and there, at several zooms: on grids of their own, each."""
    data = np.arange(3 * 64, dtype=np.int8).reshape(3, 64)
    ids = gpa.NumpyArrayConfig("ids", data=data, voxel_size=(1, 2), offset=(0, 3), axes=("y", "x"))
    signed = PipelineArrayConfig("signed", ids, "oracles.appended:add_sign", dtype="int8")
    again = PipelineArrayConfig("again", signed, "oracles.appended:add_sign", dtype="int8")
    whole = again.array()[:]
    assert whole.any()
    sampler = Sampler(again.array())
    for factor in (1, 2, 4):
        for start in range(0, 64 // factor, 4):
            kept = whole[:, middles(64, factor)][:, start : start + 4]
            np.testing.assert_array_equal(sampler.read([0, start], [3, start + 4], [1, factor]), kept)


def test_arrays_that_are_computed_in_tiles_are_not_sampled() -> None:
    raw = gpa.NumpyArrayConfig("raw", data=noise(16, 16))
    tiled = PipelineArrayConfig("tiled", raw, "appended_nodes:add_pooled", (2, 2), tile_size=(4, 4), dtype="float32")
    sampler = Sampler(gpa.ThresholdArrayConfig("high", tiled, threshold=100).array())
    want = gpa.ThresholdArrayConfig("high", tiled, threshold=100).array()[2:5, 3:9]
    np.testing.assert_array_equal(sampler.read((2, 3), (5, 9), (1, 1)), want)
    with pytest.raises(gpa.ComputeError, match="high > tiled: zoom in"):
        sampler.read((0, 0), (2, 2), (4, 4))
