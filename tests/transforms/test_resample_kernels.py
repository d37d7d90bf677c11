"""The kernels of resampling: each fast implementation equals the general one."""

import math
from fractions import Fraction

import numpy as np
import pytest

from gp_arrays.transforms import resample_axes, resample_kernels, resample_mode
from gp_arrays.transforms.resample_axes import Axis, Sampling
from gp_arrays.transforms.resample_kernels import resample, round_half_even
from gp_arrays.transforms.resample_mode import mode, most_frequent

RNG = np.random.default_rng(7)
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")


def extremes(shape, dtype):
    info = np.iinfo(dtype)
    values = [info.min, info.max, info.max - 1, info.max // 2, info.min // 2, 0, 1]
    return RNG.choice(np.array(values, object), shape).astype(dtype)


@pytest.mark.parametrize("method", ["linear", "cubic", "mean", "mode", "nearest"])
@pytest.mark.parametrize(("up", "down"), [(2, 1), (3, 1), (3, 2), (5, 3), (1, 2), (1, 3), (2, 3), (3, 5), (7, 4)])
def test_weights_add_up(method, up, down):
    if (method in ("linear", "cubic")) != (up > down) and method != "nearest":
        return
    sampling = Sampling(method, up, down)
    expected = down if method == "mode" else sampling.denominator
    for i in range(-3 * up, 3 * up):
        taps = sampling.taps(i)
        assert [j for j, _ in taps] == list(range(taps[0][0], taps[-1][0] + 1))
        assert all(numerator for _, numerator in taps)
        assert sum(numerator for _, numerator in taps) == expected
        assert sum(abs(numerator) for _, numerator in taps) <= sampling.gain or method == "mode"
        # one period further the weights are the same
        assert sampling.taps(i + up) == [(j + down, numerator) for j, numerator in taps]
        reached = [j for k in range(i, i + 4) for j, _ in sampling.taps(k)]
        assert sampling.reach(i, i + 4) == (min(reached), max(reached) + 1)


@pytest.mark.parametrize("denominator", [2, 3, 4, 6, 7, 8, 128, 1000])
def test_rounding(denominator):
    values = list(range(-3 * denominator, 3 * denominator + 1))
    for dtype in (np.int16, np.int64, np.object_):
        got = round_half_even(np.array(values, dtype), denominator).tolist()
        assert got == [round(Fraction(value, denominator)) for value in values]
    got = round_half_even(np.array(values[len(values) // 2 :], np.uint16), denominator).tolist()
    assert got == [round(Fraction(value, denominator)) for value in values[len(values) // 2 :]]


#: up, down and method for each of three axes
WEIGHED = [
    (("mean", 1, 2), ("mean", 1, 2), ("mean", 1, 2)),
    (("mean", 2, 3), ("linear", 2, 1), ("linear", 3, 2)),
    (("cubic", 2, 1), ("mean", 1, 3), ("cubic", 3, 1)),
    (("cubic", 8, 1), ("cubic", 7, 2), ("cubic", 6, 1)),
]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("ways", WEIGHED, ids=str)
def test_any_width_of_accumulator(ways, dtype, monkeypatch):
    samplings = [Sampling(*way) for way in ways]
    data = extremes((6, 6, 6), dtype)
    first, shape = [0, 0, 0], [min(6 * s.up // s.down, 9) for s in samplings]
    want = resample(data, samplings, [0, 0, 0], first, shape)
    assert want.dtype == dtype

    monkeypatch.setattr(resample_kernels, "_accumulator", lambda *_: None)
    assert np.array_equal(resample(data, samplings, [0, 0, 0], first, shape), want)

    monkeypatch.setattr(resample_kernels, "_accumulator", lambda *_: np.object_)
    assert np.array_equal(resample(data, samplings, [0, 0, 0], first, shape), want)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "bool"])
@pytest.mark.parametrize("ways", WEIGHED[:3], ids=str)
def test_any_thickness_of_slabs(ways, dtype, monkeypatch):
    samplings = [Sampling(*way) for way in ways]
    data = (RNG.normal(size=(2, 14, 5, 6)) * 9).astype(dtype)
    first = [1, 0, 1]
    shape = [n * s.up // s.down - f for n, s, f in zip(data.shape[1:], samplings, first, strict=True)]
    want = resample(data, samplings, [0, 0, 0], first, shape)
    monkeypatch.setattr(resample_kernels, "THINNEST", 1)
    for voxels in (1, 150, 400):
        monkeypatch.setattr(resample_kernels, "VOXELS", voxels)
        assert np.array_equal(resample(data, samplings, [0, 0, 0], first, shape), want)


def test_accumulators_are_the_smallest_that_hold_the_sums():
    accumulator_of = resample_kernels._accumulator
    assert accumulator_of(0, 255, 8, 8, False) is np.uint16
    assert accumulator_of(0, 255, 256, 255, False) is np.uint16
    assert accumulator_of(0, 255, 256, 256, False) is np.uint32
    assert accumulator_of(-128, 127, 8, 8, False) is np.int16
    assert accumulator_of(0, 255, 160, 128, True) is np.int32
    assert accumulator_of(0, 2**64 - 1, 2, 2, False) is None


def test_factors_beyond_any_word():
    """Numerators with so many bits that only Python's integers hold them."""
    samplings = [Sampling("cubic", 1001, 1)] * 2
    data = extremes((3, 3), "uint64")
    first = [700, 1400]
    got = resample(data, samplings, [0, 0], first, [2, 2])
    for (y, x), value in np.ndenumerate(got):
        total = sum(
            a * b * int(data[min(max(i, 0), 2), min(max(j, 0), 2)])
            for i, a in samplings[0].taps(first[0] + y)
            for j, b in samplings[1].taps(first[1] + x)
        )
        exact = round(Fraction(total, math.prod(s.denominator for s in samplings)))
        assert value == min(max(exact, 0), 2**64 - 1)


@pytest.mark.parametrize("down", [2, 3, 5])
def test_slices_give_the_same_as_index_lists(down):
    data = extremes((4, 31), "uint64")
    count = 31 // down - 1
    axis = Axis(1, Sampling("nearest", 1, down), 0, 1, count)
    index = [axis.sampling.taps(i)[0][0] for i in range(1, 1 + count)]
    assert np.array_equal(axis.nearest(data[:, : index[-1] + 1]), data[:, index])


@pytest.mark.parametrize("count", range(1, 40))
def test_the_most_frequent_of_many_votes(count):
    for dtype in ("uint8", "int64", "uint64"):
        rows = RNG.integers(0, 4, (count, 300)).astype(dtype)
        rows[:, ::7] = np.iinfo(dtype).max
        got = most_frequent(rows)
        for value, column in zip(got, rows.T, strict=True):
            values, counts = np.unique(column, return_counts=True)
            assert value == values[np.argmax(counts)]


def test_more_votes_than_a_byte_counts():
    rows = np.concatenate([np.full((300, 2), 9), np.full((299, 2), 4)]).astype(np.uint64)
    assert most_frequent(rows).tolist() == [9, 9]


@pytest.mark.parametrize("slab", [1, 100, 1 << 20])
def test_counted_in_slabs(slab, monkeypatch):
    mostly = np.zeros((3, 6, 8, 10), np.uint32)
    mostly[:, 2:4, 5:] = RNG.integers(0, 3, (3, 2, 3, 10))
    for data in (mostly, RNG.integers(0, 3, (3, 6, 8, 10)).astype(np.uint32)):
        votes = [data[:, z::2, y::2, x::2] for z in (0, 1) for y in (0, 1) for x in (0, 1)]
        want = most_frequent(np.stack([vote.reshape(-1) for vote in votes])).reshape(votes[0].shape)
        with monkeypatch.context() as patch:
            patch.setattr(resample_mode, "SLAB", slab)
            assert np.array_equal(mode(votes), want)


def test_inputs_stay_as_they_are():
    for dtype in ("uint8", "float32", "bool"):
        data = (RNG.random((6, 6)) * 9).astype(dtype)
        before = data.copy()
        data.flags.writeable = False
        for method, up, down in (("mean", 1, 2), ("mode", 1, 2), ("linear", 2, 1), ("cubic", 2, 1), ("nearest", 2, 1)):
            resample(data, [Sampling(method, up, down)] * 2, [0, 0], [0, 0], [3, 3])
        assert np.array_equal(data, before)


def test_a_block_larger_than_needed():
    data = extremes((20,), "uint16")
    cubic = [Sampling("cubic", 2, 1)]
    all_voxels = resample(data, cubic, [0], [0], [40])
    assert np.array_equal(resample(data[3:], cubic, [3], [20], [8]), all_voxels[20:28])
    assert resample_axes.Sampling("cubic", 2, 1).reach(20, 28) == (8, 16)
