"""Shifts: merged pipelines lie on one grid; otherwise the error names the shifts that are possible."""

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa

RAW, LABELS = gp.ArrayKey("TEST_SHIFT_RAW"), gp.ArrayKey("TEST_SHIFT_LABELS")


def source(name, offset, voxel_size, shape=(40, 40), **fields):
    # each voxel holds its position in the world along the first axis
    rows = offset[0] + voxel_size[0] * np.arange(shape[0])
    data = np.broadcast_to(rows[:, None], shape).astype(np.int32)
    return gpa.NumpyArrayConfig(name, data, offset=offset, voxel_size=voxel_size, **fields)


def test_merged_pipelines_are_aligned():
    raw, labels = source("raw", (2, 0), (4, 4)), source("labels", (10, 0), (16, 16))
    shift = gpa.common_shift([raw, labels])
    assert shift == (10, 0)
    merged = tuple(gpa.compile_pipeline({k: c}, shift=shift) for k, c in ((RAW, raw), (LABELS, labels)))
    pipeline = merged + gp.MergeProvider() + gp.Crop(RAW, gp.Roi((0, 0), (64, 64)))
    request = gp.BatchRequest({key: gp.ArraySpec(roi=gp.Roi((0, 0), (32, 32))) for key in (RAW, LABELS)})
    with gp.build(pipeline):
        batch = pipeline.request_batch(request)
    assert batch[RAW].data[:, 0].tolist() == [10, 14, 18, 22, 26, 30, 34, 38]
    assert batch[LABELS].data[:, 0].tolist() == [10, 26]


def test_a_tree_off_the_grid_needs_a_shift():
    raw = source("raw", (2, 0), (4, 4))
    for shift in (None, (1, 0), (2, 1), "2 nm", (2,), ("2.5 nm", 0)):
        with pytest.raises(gpa.GpArraysError) as caught:
            gpa.compile_pipeline({RAW: raw}, shift=shift)
        assert "\n" not in str(caught.value)
        if shift is None or shift == (1, 0):
            for part in ("(2 modulo 4, 0 modulo 4) nm", "one shift and one unit", "common_shift"):
                assert part in str(caught.value)
    for shift in ("auto", (2, 0), (-2, 4), ("0.002 um", 0), gp.Coordinate(6, 0)):
        assert gpa.compile_pipeline({RAW: raw}, shift=shift) is not None


def test_a_tree_on_the_grid_needs_none():
    assert gpa.compile_pipeline({RAW: source("raw", (8, 0), (4, 4))}) is not None


def test_a_shift_is_in_the_unit_of_the_tree():
    raw = source("raw", (5240, 0), (5240, 5240), unit="pm")
    assert gpa.common_shift([raw], unit="pm") == (0, 0)
    fine = source("fine", (1, 0), (5240000, 5240000), unit="fm")
    coarse = source("coarse", (5240001, 0), (20960000, 20960000), unit="fm")
    assert gpa.common_shift([fine, coarse], unit="fm") == (5240001, 0)


@pytest.mark.parametrize("seed", range(30))
def test_shifts_against_a_walk(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 40, 3)
    offsets = rng.integers(0, 60, 3)
    configs = [source(f"s{i}", (int(o), 0), (int(v), 1)) for i, (o, v) in enumerate(zip(offsets, sizes, strict=True))]
    suits = [
        n
        for n in range(int(np.lcm.reduce(sizes)))
        if all((o - n) % v == 0 for o, v in zip(offsets, sizes, strict=True))
    ]
    if suits:
        assert gpa.common_shift(configs) == (suits[0], 0)
    else:
        with pytest.raises(gpa.TreeError, match=r"s\d begins at .* s\d begins at .*offset="):
            gpa.common_shift(configs)


def test_large_coprime_voxel_sizes_take_no_walk():
    sizes = (5240000000003, 7919000000017, 10**12 + 39)
    configs = [source(f"s{i}", (i, 0), (size, 1), shape=(2, 2), unit="fm") for i, size in enumerate(sizes)]
    shift = gpa.common_shift(configs, unit="fm")
    assert [int(shift[0]) % size for size in sizes] == [0, 1, 2]


def test_trees_that_cannot_share_a_shift():
    raw = source("raw", (0, 0), (4, 4))
    with pytest.raises(gpa.TreeError, match="one unit"):
        gpa.common_shift([raw, source("pm", (0, 0), (4, 4)).in_unit("pm")])
    with pytest.raises(gpa.TreeError, match="different numbers of spatial axes"):
        gpa.common_shift([raw, gpa.DummyArrayConfig("d")])
    for wrong in (raw, [], "raw", 5, [5]):
        with pytest.raises(gpa.GpArraysError):
            gpa.common_shift(wrong)
