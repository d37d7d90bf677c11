"""Resampled arrays: every order and method, compared with the oracle."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from oracles.resampled import weights
from resample_helpers import CASES, IDS, RNG, WAYS, numpy_source, random_voxels, resampled

import gp_arrays as gpa
from gp_arrays.testing import DTYPES, ArrayTypeLaws, assert_same, evaluate_naively


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_voxels_are_those_of_the_oracle(case, dtype):
    shape, up, down = case
    offset = [3 * u for u in up]
    source = numpy_source(random_voxels(shape, dtype), up, offset=offset)
    # each dtype is resampled in every way, half of them in each case
    for order, by in WAYS[(CASES.index(case) + DTYPES.index(dtype)) % 2 :: 2]:
        config = resampled(source, up, down, order, by)
        array, want = config.array(), evaluate_naively(config)
        assert (tuple(array.roi.begin), array.shape) == (want.begin, want.data.shape)
        assert_same(array[:], want.data, repr(config))


def run(data, up, down, order, by=None, **fields):
    return resampled(numpy_source(np.array(data)[None], (1, up), **fields), (1, up), (1, down), order, by).array()[0]


@pytest.mark.parametrize(
    ("data", "up", "down", "order", "by", "want"),
    [
        # of two voxels at the same distance the lower one is taken
        ([10, 11, 12, 13], 1, 2, 0, None, [10, 12]),
        ([10, 11, 12, 13, 14, 15], 1, 3, 0, None, [11, 14]),
        ([10, 11], 3, 1, 0, None, [10, 10, 10, 11, 11, 11]),
        # 3 voxels over 2: centres at 1/3, 1, 5/3 of a voxel
        ([10, 11], 3, 2, 0, None, [10, 10, 11]),
        ([10, 11, 12], 2, 3, 0, None, [10, 12]),
        # 1.5 and 2.5 are as near to 2 as to 1 and 3
        ([1, 2, 2, 3], 1, 2, 1, None, [2, 2]),
        ([-1, -2, -2, -3], 1, 2, 1, None, [-2, -2]),
        # 3 voxels to 2: the middle one counts half for each
        ([0, 6, 12], 2, 3, 1, None, [2, 10]),
        # at -1/4, 1/4, 3/4, 5/4
        ([0, 100], 2, 1, 1, None, [0, 25, 75, 100]),
        # at -1/3, 0, 1/3, 2/3, ...
        ([0, 30], 3, 1, 1, None, [0, 0, 10, 20, 30, 30]),
        # Keys at 1/4: (-9, 111, 29, -3) / 128
        ([0, 128, 0, 0], 2, 1, 3, None, [-9, 29, 111, 111, 29, -9, -3, 0]),
        ([7, 7, 5, 9, 5, 9], 1, 3, 0, "mode", [7, 9]),
        ([7, 8, 9, 8], 1, 4, 0, "mode", [8]),
        ([3, 2, 1, 1], 1, 2, 0, "mode", [2, 1]),
        # two whole voxels and two halves to two of one and a half
        ([5, 9, 9], 2, 3, 0, "mode", [5, 9]),
        ([1, 4, 6, 9], 1, 2, 0, "mean", [2, 8]),
        ([1, 4, 6, 9], 1, 2, 1, "nearest", [1, 6]),
        ([1, 4, 6, 9], 2, 2, 3, "mean", [1, 4, 6, 9]),
    ],
)
def test_voxels_computed_by_hand(data, up, down, order, by, want):
    for dtype in (np.int16, np.int64, np.float32):
        if dtype == np.float32 and order == 1 and data in ([1, 2, 2, 3], [-1, -2, -2, -3]):
            continue  # floats are not rounded
        if dtype == np.float32 and by == "mean" and down == 2 and up == 1:
            continue
        got = run(np.array(data, dtype), up, down, order, by)
        assert got.dtype == dtype
        assert got.tolist() == want


def test_clipped_to_the_dtype():
    assert run(np.array([0, 128, 0, 0], np.uint8), 2, 1, 3).tolist() == [0, 29, 111, 111, 29, 0, 0, 0]
    # 255 + 32 * 255 / 128 and less than nothing
    top = run(np.array([0, 255, 255, 0], np.uint8), 2, 1, 3)
    assert top[3] == top[4] == 255
    assert run(np.array([0, 2**64 - 1, 2**64 - 1, 0], np.uint64), 2, 1, 3)[3:5].tolist() == [2**64 - 1] * 2
    assert run(np.array([0, -(2**63), -(2**63), 0], np.int64), 2, 1, 3)[3:5].tolist() == [-(2**63)] * 2
    most = np.finfo(np.float32).max
    assert run(np.array([0, most, most, 0], np.float32), 2, 1, 3)[3:5].tolist() == [most] * 2


def test_zero_counts_as_one():
    config = resampled(numpy_source(np.arange(8).reshape(2, 4), (1, 2)), (0, 2), (1, 0))
    assert (config.upsample, config.downsample) == ((1, 2), (1, 1))
    assert config == resampled(config.source_array_config, (1, 2), (0, 1))


def test_common_divisors_make_no_difference():
    source = numpy_source(random_voxels((6, 6), "uint16"), (2, 2))
    plain, same = resampled(source, (1, 2), (3, 1)).array(), resampled(source, (2, 6), (6, 3)).array()
    assert plain.voxel_size == same.voxel_size == gpa.Coordinate(6, 1)
    assert np.array_equal(plain[:], same[:])


def test_true_and_false_are_orders():
    source = numpy_source(random_voxels((6, 6), "uint8"), (2, 2))
    assert resampled(source, (1, 1), (2, 2), True) == resampled(source, (1, 1), (2, 2), 1)
    assert resampled(source, (1, 1), (2, 2), False).interp_order == 0


def test_ids_are_not_changed():
    ids = RNG.choice(IDS, (6, 8, 4))
    source = numpy_source(ids, (2, 2, 2), interpolatable=None)
    assert np.array_equal(resampled(source, (1, 1, 1), (2, 2, 2), 0).array()[:], ids[::2, ::2, ::2])
    fine = resampled(source, (2, 2, 2), (1, 1, 1), 0).array()[:]
    assert np.array_equal(fine, np.kron(ids, np.ones((2, 2, 2), np.uint64)))
    by_mode = resampled(source, (1, 1, 1), (2, 4, 2), 0, "mode").array()[:]
    for z, y, x in np.ndindex(*by_mode.shape):
        values, counts = np.unique(ids[2 * z : 2 * z + 2, 4 * y : 4 * y + 4, 2 * x : 2 * x + 2], return_counts=True)
        assert by_mode[z, y, x] == values[np.argmax(counts)]


def test_means_of_the_largest_ids():
    top = 2**64 - 1
    data = np.array([[top, top, top - 1, top, top, top - 1, 0, top]], np.uint64)
    half = resampled(numpy_source(data, (1, 1)), (1, 1), (1, 2)).array()[0].tolist()
    # top - 1/2 twice: even is top - 1; half of top is not whole: even is 2^63
    assert half == [top, top - 1, top - 1, 2**63]
    low = -(2**63)
    data = np.array([[low, low, low, low + 1, -1, 0, 2**63 - 1, low]], np.int64)
    half = resampled(numpy_source(data, (1, 1)), (1, 1), (1, 2)).array()[0].tolist()
    assert half == [low, low, 0, 0]


def test_mode_of_floats():
    nan, inf = np.nan, np.inf
    data = np.array([[nan, nan, 1, -0.0, 0.0, 0.0, nan, -inf, inf, -2, -3, -2]], np.float32)
    got = resampled(numpy_source(data, (1, 1)), (1, 1), (1, 3), 0, "mode").array()[0]
    assert np.isnan(got[0])
    assert got[1:].tolist() == [0.0, -inf, -2.0]
    assert not np.signbit(got[1])
    # of any sign and payload
    several = np.array([[0x7FC00000, 0x7FC00001, 0xFFC00002, 0, 0]], np.uint32).view(np.float32)
    assert np.isnan(resampled(numpy_source(several, (1, 1)), (1, 1), (1, 5), 0, "mode").array()[0, 0])


def test_the_largest_floats_do_not_overflow():
    most = np.finfo(np.float64).max
    row = np.array([most, most, most, -most, -most, most], np.float64)
    assert run(row, 1, 3, 1).tolist() == [most, -most / 3]
    assert run(row, 1, 2, 1).tolist() == [most, 0, 0]
    assert run(row, 3, 1, 1)[1:8].tolist() == [most] * 7
    assert np.isfinite(run(row, 2, 1, 3)).all()
    assert run(row, 2, 1, 3)[3:5].tolist() == [most] * 2


def test_infinities_and_nan_stay_where_they_are():
    data = np.array([[1.0, 1.0, np.inf, 1.0, np.nan, 1.0, 1.0, 1.0]], np.float32)
    half = resampled(numpy_source(data, (1, 1)), (1, 1), (1, 2)).array()[0]
    assert np.array_equal(half, [1, np.inf, np.nan, 1], equal_nan=True)
    third = resampled(numpy_source(data, (1, 3)), (1, 3), (1, 1)).array()[0]
    # the middle one of three lies on a source voxel, whose neighbours have weight 0
    assert np.array_equal(third[1::3], data[0], equal_nan=True)


class TestLaws(ArrayTypeLaws):
    type = gpa.ResampledArrayConfig

    def configs(self, folder):
        ways = itertools.cycle(WAYS)
        made = []
        for shape, up, down in CASES:
            for dtype in ("bool", "uint64", "float32"):
                order, by = next(ways)
                source = numpy_source(random_voxels(shape, dtype), up, offset=[u + 1 for u in up])
                made.append(resampled(source, up, down, order, by, name=f"r{len(made)}"))
        return made

    def refused(self):
        source = numpy_source(np.zeros((4, 4)), (2, 2))
        return [
            lambda: resampled(source, (-1, 1), (1, 1)),
            lambda: resampled(source, (1, 1), (1, 1, 1)),
            lambda: resampled(source, (1, 1), (1, 1), 2),
            lambda: resampled(source, (1, 1), (1, 1), 0, "max"),
        ]

    def misfits(self, folder):
        source = numpy_source(np.zeros((4, 4)), (2, 2), interpolatable=False)
        return [
            resampled(source, (1,), (2,), 0),
            resampled(source, (4, 1), (1, 1), 0),
            resampled(source, (1, 1), (5, 1), 0),
            resampled(source, (1, 1), (2, 2), 1),
        ]


def refused(source, up, down, order=1, by=None):
    with pytest.raises(gpa.TreeError) as caught:
        resampled(source, up, down, order, by).array()
    assert caught.value.path == ("r",)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"upsample": (-1, 2)}, "r: upsample: a factor is negative"),
        ({"upsample": 2}, "r: upsample: not a list of factors; found 2"),
        ({"downsample": "22"}, "r: downsample: not a list of factors"),
        ({"downsample": (1.5, 2)}, "r: downsample: not an integer; found 1.5"),
        ({"downsample": (True, 2)}, "r: downsample: not an integer; found True"),
        ({"downsample": (2,)}, "different numbers of factors"),
        ({"interp_order": 2}, "r: interp_order: unknown order of interpolation; found 2; allowed: 0, 1 or 3"),
        ({"interp_order": None}, "r: interp_order: not an integer"),
        (
            {"downsample_by": "median"},
            "unknown downsample_by; found 'median'; allowed: None, 'mean', 'nearest', 'mode'",
        ),
        ({"source_array_config": None}, "source_array_config is not an array config"),
    ],
)
def test_bad_values(fields, text):
    good = {"source_array_config": numpy_source(np.zeros((4, 4)), (1, 1)), "upsample": (1, 1), "downsample": (2, 2)}
    with pytest.raises(gpa.ConfigError) as caught:
        gpa.ResampledArrayConfig("r", **{**good, "interp_order": 0, **fields})
    assert text in str(caught.value)


def test_bad_combinations():
    source = numpy_source(np.zeros((4, 4), np.uint8), voxel_size=(5, 4))
    assert "one per spatial axis: y, x" in refused(source, (1, 1, 1), (2, 2, 2))
    assert '(2.5, 2); allowed: set unit = "pm"' in refused(source, (2, 2), (1, 1))
    assert "(5/3, 4); allowed: factors that divide the voxel size" in refused(source, (3, 1), (1, 1))
    assert "no voxel is left" in refused(source, (1, 1), (5, 1))
    in_pm = resampled(numpy_source(np.zeros((4, 4)), voxel_size=("5 nm", "4 nm")), (2, 2), (1, 1)).array(unit="pm")
    assert in_pm.voxel_size == gpa.Coordinate(2500, 2000)


def test_ids_are_not_averaged():
    ids = gpa.NumpyArrayConfig("ids", np.zeros((4, 4), np.uint64), voxel_size=(2, 2))
    for up, down, order, by in (((1, 2), (2, 1), 0, "mean"), ((2, 1), (1, 1), 1, None), ((1, 1), (1, 2), 3, None)):
        text = refused(ids, up, down, order, by)
        assert "not interpolatable" in text
        assert "interp_order=0" in text
        assert 'downsample_by="mode"' in text
    grey = numpy_source(np.zeros((4, 4), np.uint8), (2, 2))
    for up, down, order, by, averaged in (
        ((1, 2), (2, 1), 0, None, False),
        ((1, 2), (2, 1), 0, "mode", False),
        ((2, 1), (2, 1), 3, None, False),
        ((1, 1), (2, 2), 1, "mode", False),
        ((1, 2), (2, 1), 0, "mean", True),
        ((1, 1), (1, 2), 1, None, True),
        ((1, 2), (1, 1), 3, "mode", True),
    ):
        config = resampled(grey, up, down, order, by)
        assert config.array().meta.averaged is averaged
        masks = gpa.BinarizeArrayConfig("masks", config, [("a", [1])])
        assert masks.verify()[0] is not averaged
        again = resampled(config, (1, 1), (1, 1), 0, name="again")
        assert again.array().meta.averaged is averaged
    assert resampled(ids, (1, 1), (2, 2), 1, "mode").verify() == (True, "ok")


def test_round_trip(tmp_path):
    config = resampled(gpa.ZarrArrayConfig("z", tmp_path / "a.zarr", "raw"), (1, 0), (2, 1), True, "mode")
    config.to_toml(tmp_path / "tree.toml")
    assert gpa.ResampledArrayConfig.from_toml(tmp_path / "tree.toml") == config


def test_real_neurons(fib25):
    neurons = gpa.ZarrArrayConfig("neurons", fib25, "labels/neurons")
    all_voxels = neurons.array()
    middle = all_voxels.roi.begin + all_voxels.roi.shape / 2
    roi = gpa.Roi(middle, all_voxels.voxel_size * 48).snap_to_grid(all_voxels.voxel_size * 2, mode="shrink")
    ids = all_voxels[roi]
    half = resampled(neurons, (1, 1, 1), (2, 2, 2), 0).array()
    begin = (roi.begin - half.roi.begin) / half.voxel_size
    at = tuple(slice(b, b + 8) for b in begin)
    assert np.array_equal(half[roi], ids[::2, ::2, ::2])
    assert np.array_equal(half[at], ids[:16:2, :16:2, :16:2])
    by_mode = resampled(neurons, (1, 1, 1), (2, 2, 2), 0, "mode").array()[roi]
    assert set(np.unique(by_mode)) <= set(np.unique(ids))


def test_exact_to_the_last_bit():
    """The result differs from the exact fraction by at most one rounding, whatever the order of additions."""
    data = RNG.normal(size=(1, 24)).astype(np.float32)
    for up, down, order in ((1, 3, 1), (3, 1, 1), (2, 1, 3), (2, 3, 1)):
        got = resampled(numpy_source(data, (1, up)), (1, up), (1, down), order).array()[0]
        exact = [[Fraction(v) for v in data[0].tolist()]]
        want = exact_row(exact[0], up, down, order)
        for value, fraction in zip(got.tolist(), want, strict=True):
            assert abs(Fraction(value) - fraction) <= Fraction(float(np.spacing(np.float32(abs(value))))) / 2 * (
                1 + Fraction(1, 2**20)
            )


def exact_row(row, up, down, order):
    method = "mean" if down > up else {1: "linear", 3: "cubic"}[order]
    return [
        sum(row[min(max(j, 0), len(row) - 1)] * share for j, share in weights(method, up, down, i).items())
        for i in range(len(row) * up // down)
    ]
