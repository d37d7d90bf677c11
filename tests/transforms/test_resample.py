"""Resampling: every order and way against the definition, any block against the whole."""

import itertools
from fractions import Fraction
from pathlib import Path

import gunpowder as gp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gp_arrays as gpa
from gp_arrays.meta import Region
from gp_arrays.testing import (
    DTYPES,
    ArrayTypeLaws,
    assert_same,
    check_pipeline,
    evaluate_naively,
    partitions,
    regions,
    voxels,
)

FIB25 = Path(__file__).parents[3] / "shared" / "data" / "fib25.zarr"
RNG = np.random.default_rng(5)
WAYS = list(itertools.product((0, 1, 3), (None, "mean", "nearest", "mode")))
#: Shape, upsample, downsample: 2D and 3D, channels, both factors on an axis, up and down mixed.
CASES = [
    ((4, 9), (2, 1), (1, 3)),
    ((7, 8), (3, 4), (2, 1)),
    ((9, 4, 6), (1, 2, 2), (3, 1, 3)),
    ((3, 7, 4), (3, 2, 1), (1, 3, 2)),
    ((2, 4, 10, 4), (2, 3, 2), (2, 5, 1)),
]


def random_voxels(shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return RNG.random(shape) < 0.5
    if dtype.kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    extremes = np.array([info.min, info.max, info.max - 1, info.max // 2, 0, 1, 3], object)
    return RNG.choice(extremes, shape).astype(dtype)


def numpy_source(data, up=None, voxel_size=None, offset=None, **fields):
    """Voxels in memory, of a size that ``up`` divides; whatever their dtype, they may be averaged."""
    dims = len(up or voxel_size)
    axes = ("c", *"zyx"[-dims:]) if data.ndim > dims else None
    fields = {"interpolatable": True, **fields}
    return gpa.NumpyArrayConfig("n", data, offset=offset, voxel_size=voxel_size or up, axes=axes, **fields)


def resampled(source, up, down, order=1, by=None, name="r"):
    return gpa.ResampledArrayConfig(name, source, up, down, order, by)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_definition(case, dtype):
    shape, up, down = case
    offset = [3 * u for u in up]
    source = numpy_source(random_voxels(shape, dtype), up, offset=offset)
    for order, by in WAYS:
        config = resampled(source, up, down, order, by)
        array, want = config.array(), evaluate_naively(config)
        assert (tuple(array.roi.begin), array.shape) == (want.begin, want.data.shape)
        assert_same(array[:], want.data, repr(config))


def run(data, up, down, order, by=None, **fields):
    return resampled(numpy_source(np.array(data)[None], (1, up), **fields), (1, up), (1, down), order, by).array()[0]


@pytest.mark.parametrize(
    ("data", "up", "down", "order", "by", "want"),
    [
        # the lower one of two that are equally near
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
def test_by_hand(data, up, down, order, by, want):
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


IDS = np.array([2**64 - 1, 2**64 - 2, 2**63, 2**53 + 1, 2**59 + 7, 5], np.uint64)


def test_ids_stay_what_they_are():
    ids = RNG.choice(IDS, (6, 8, 4))
    source = numpy_source(ids, (2, 2, 2), interpolatable=None)
    assert np.array_equal(resampled(source, (1, 1, 1), (2, 2, 2), 0).array()[:], ids[::2, ::2, ::2])
    fine = resampled(source, (2, 2, 2), (1, 1, 1), 0).array()[:]
    assert np.array_equal(fine, np.kron(ids, np.ones((2, 2, 2), np.uint64)))
    by_mode = resampled(source, (1, 1, 1), (2, 4, 2), 0, "mode").array()[:]
    for z, y, x in np.ndindex(*by_mode.shape):
        found, counts = np.unique(ids[2 * z : 2 * z + 2, 4 * y : 4 * y + 4, 2 * x : 2 * x + 2], return_counts=True)
        assert by_mode[z, y, x] == found[np.argmax(counts)]


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
    # the middle one of three lies on a source voxel and takes nothing of its neighbours
    assert np.array_equal(third[1::3], data[0], equal_nan=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "float32"])
@pytest.mark.parametrize(("order", "by"), [(0, None), (1, None), (3, None), (3, "mode"), (1, "nearest")], ids=str)
def test_no_seam_at_any_plane(dtype, order, by):
    shape, up, down = (8, 7, 9), (3, 1, 2), (2, 2, 3)
    array = resampled(numpy_source(random_voxels(shape, dtype), up), up, down, order, by).array()
    whole = array[:]
    assert whole.shape == (12, 3, 6)
    for axis in range(3):
        for cut in range(1, whole.shape[axis]):
            at = [slice(None)] * 3
            parts = []
            for part in (slice(0, cut), slice(cut, None)):
                at[axis] = part
                parts.append(array[tuple(at)])
            assert_same(np.concatenate(parts, axis), whole, f"cut at {cut} of axis {axis}")


def test_no_seam_in_long_rows_of_floats():
    # as long as what numpy adds pairwise, or several at once
    data = (RNG.normal(size=(3, 700)) * 10.0 ** RNG.integers(-8, 8, (3, 700))).astype(np.float32)
    for up, down, order in ((1, 7, 1), (2, 1, 3), (3, 1, 1), (3, 5, 1)):
        array = resampled(numpy_source(data, (1, up)), (1, up), (1, down), order).array()
        whole = array[:]
        for first in range(0, whole.shape[1] - 17, 13):
            assert_same(array[1:2, first : first + 17], whole[1:2, first : first + 17], f"{up}/{down} at {first}")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_block_law(data):
    draw = data.draw
    dims = draw(st.integers(2, 3))
    up = [draw(st.integers(1, 4)) for _ in range(dims)]
    down = [draw(st.integers(1, 4)) for _ in range(dims)]
    shape = [2 * d + draw(st.integers(0, 3)) for d in down]
    leading = draw(st.sampled_from([(), (2,)]))
    voxel_size = [u * draw(st.integers(1, 2)) for u in up]
    offset = [draw(st.integers(-9, 9)) for _ in range(dims)]
    values = draw(voxels((*leading, *shape)))
    order, by = draw(st.sampled_from(WAYS))
    config = resampled(numpy_source(values, voxel_size=voxel_size, offset=offset), up, down, order, by)
    array = config.array()
    whole = array[:]
    assert_same(whole, evaluate_naively(config).data, repr(config))
    roi = draw(regions(array))
    lead = (slice(None),) * len(leading)

    def place(part):
        return lead + tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(part.begin, part.end, array.roi.begin, array.voxel_size, strict=True)
        )

    for part in draw(partitions(roi, array.voxel_size)):
        assert_same(array[part], whole[place(part)], f"{config!r} {part}")


CONTEXTS = [
    # up, down, order, by, wanted voxels, source voxels that they are made of
    (1, 2, 0, None, (1, 3), (2, 5)),
    (2, 1, 0, None, (1, 4), (0, 2)),
    (1, 3, 1, None, (1, 2), (3, 6)),
    (2, 3, 1, None, (1, 2), (1, 3)),
    (1, 2, 0, "mode", (2, 3), (4, 6)),
    (2, 1, 1, None, (2, 4), (0, 3)),
    (2, 1, 1, None, (2, 3), (0, 2)),
    (3, 1, 1, None, (4, 5), (1, 2)),
    (2, 1, 3, None, (4, 6), (0, 5)),
    (2, 1, 3, None, (4, 5), (0, 4)),
    (3, 1, 3, None, (4, 5), (1, 2)),
    (3, 1, 3, None, (4, 6), (0, 4)),
    # as far as the source, not as the result
    (1, 2, 1, None, (4, 5), (8, 10)),
    (2, 1, 3, None, (0, 1), (0, 2)),
    (2, 1, 3, None, (21, 22), (9, 11)),
]


@pytest.mark.parametrize(("up", "down", "order", "by", "wanted", "made_of"), CONTEXTS, ids=str)
def test_context(up, down, order, by, wanted, made_of):
    size = 6
    source = numpy_source(np.zeros((1, 11)), voxel_size=(1, size), offset=(0, 36))
    array = resampled(source, (1, up), (1, down), order, by).array()
    v = int(array.voxel_size[1])
    region = Region((0, 36 + wanted[0] * v), (1, 36 + wanted[1] * v))
    (metas,) = [array.plan.metas(array.plan.steps[-1])]
    (part,) = array.config.context(region, array.meta, metas)
    assert (part.begin[1], part.end[1]) == tuple(36 + j * size for j in made_of)


@pytest.mark.parametrize(("up", "down", "order"), [(1, 2, 0), (2, 3, 0), (3, 5, 1), (2, 1, 1), (5, 3, 3), (3, 1, 3)])
def test_every_plane_of_the_context_matters(up, down, order):
    data = RNG.normal(size=(15, 15))
    array = resampled(numpy_source(data, (up, up)), (up, up), (down, down), order).array()
    v = array.voxel_size
    for first, last in itertools.combinations(range(0, array.shape[0] + 1, 2), 2):
        region = Region((first * v[0], first * v[1]), (last * v[0], last * v[1]))
        (part,) = array.config.context(region, array.meta, array.plan.metas(array.plan.steps[-1]))
        low, high = (part.begin[0] // up, part.end[0] // up)
        assert part.begin[0] == part.begin[1]
        want = array[region.roi]
        outside = np.full_like(data, np.nan)
        outside[low:high, low:high] = data[low:high, low:high]
        assert_same(with_data(array, outside)[region.roi], want, "what lies outside is not read")
        for axis, plane in itertools.product((0, 1), (low, high - 1)):
            poisoned = data.copy()
            poisoned[(slice(None),) * axis + (plane,)] = np.nan
            assert np.isnan(with_data(array, poisoned)[region.roi]).any()


def with_data(array, data):
    source = numpy_source(data, array.config.upsample)
    return array.config.with_fields(source_array_config=source).array()


def test_only_the_channels_asked_for_are_read():
    data = np.full((3, 4, 4), np.nan, np.float32)
    data[1] = 2
    array = resampled(numpy_source(data, (1, 1)), (1, 1), (2, 2)).array()
    (metas,) = [array.plan.metas(array.plan.steps[-1])]
    (part,) = array.config.context(Region((0, 0), (2, 4), ((1, 2),)), array.meta, metas)
    assert part == Region((0, 0), (2, 4), ((1, 2),))
    assert array[1].tolist() == [[2, 2], [2, 2]]
    assert array.channels == ("0", "1", "2")


def test_the_roi_shrinks_to_both_grids():
    source = numpy_source(np.zeros((11, 11), np.uint8), voxel_size=(4, 4), offset=(4, 8))
    array = resampled(source, (1, 2), (2, 1)).array()
    # (4, 48) to whole 8s; the other axis has no reason to
    assert array.roi == gpa.Roi((8, 8), (40, 44))
    assert array.voxel_size == gpa.Coordinate(8, 2)
    both = resampled(source, (2, 2), (3, 3)).array()
    assert both.roi == gpa.Roi((12, 12), (36, 36))


def test_off_the_grid():
    data = np.arange(100, dtype=np.float32).reshape(10, 10)
    off = numpy_source(data, voxel_size=(4, 4), offset=(3, -5))
    array = resampled(off, (1, 1), (2, 2)).array()
    # the corners 3 + 8 k
    assert array.roi == gpa.Roi((3, -5), (40, 40))
    assert array[:].tolist() == data.reshape(5, 2, 5, 2).mean((1, 3)).tolist()
    later = resampled(numpy_source(data, voxel_size=(4, 4), offset=(7, -1)), (1, 1), (2, 2)).array()
    assert later.roi == gpa.Roi((11, 3), (32, 32))
    cropped = gpa.CropArrayConfig("crop", off, [[7, -1], [36, 36]])
    assert np.array_equal(resampled(cropped, (1, 1), (2, 2)).array()[:], array[1:, 1:])


def test_there_and_back_off_the_grid():
    data = random_voxels((6, 6), "uint8")
    for offset in ((3, 2), (2, -2), (0, 1)):
        source = numpy_source(data, voxel_size=(4, 4), offset=offset)
        fine = resampled(source, (2, 4), (1, 1), 0, name="fine")
        back = resampled(fine, (1, 1), (2, 4), 0, name="back")
        assert back.array().roi == source.array().roi
        assert np.array_equal(back.array()[:], data)
        check_pipeline([fine, back], [fine.array().roi, back.array().roi])


def test_chain():
    data = random_voxels((12, 10, 8), "uint8")
    source = numpy_source(data, voxel_size=(6, 4, 4), offset=(6, 2, 0))
    half = resampled(source, (1, 1, 1), (2, 1, 2), 1, name="half")
    chain = resampled(half, (3, 2, 1), (1, 1, 2), 3, name="chain")
    assert_same(chain.array()[:], evaluate_naively(chain).data, "chain")
    roi = gpa.Roi((28, 12, 16), (16, 14, 16))
    want = evaluate_naively(chain)
    assert_same(chain.array()[roi], want.part(tuple(roi.begin), tuple(roi.end)), "part of a chain")
    check_pipeline([chain], [roi])
    assert chain.array().meta.averaged


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
        ({"downsample_by": "median"}, "unknown downsample_by; found 'median'; allowed: None, mean, nearest, mode"),
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
    if np.dtype(np.longdouble).itemsize > 8:
        wide = numpy_source(np.ones((4, 4), np.longdouble), (1, 1))
        assert "64 bits at most" in refused(wide, (1, 1), (2, 2), 0, "mode")
        assert resampled(wide, (1, 1), (2, 2)).array()[:].tolist() == [[1, 1], [1, 1]]
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


RAW, LABELS, OUT, IDS_OUT = (gp.ArrayKey(f"TEST_RESAMPLE_{name}") for name in ("RAW", "LABELS", "OUT", "IDS_OUT"))


def by_hand(raw, labels, *after):
    sources = (
        gpa.NumpySource(RAW, raw, voxel_size=(4, 4, 4)),
        gpa.NumpySource(LABELS, labels, voxel_size=(4, 4, 4)),
    )
    pipeline = sources + gp.MergeProvider()
    for node in after:
        pipeline += node
    pipeline += gpa.Resample(RAW, OUT, upsample=(2, 2, 2), downsample=(1, 1, 1), interp_order=1)
    return pipeline + gpa.Resample(
        LABELS, IDS_OUT, upsample=(1, 1, 1), downsample=(2, 2, 2), interp_order=0, downsample_by="mode"
    )


def test_nodes_by_hand():
    raw, labels = random_voxels((12, 12, 12), "uint8"), RNG.choice(IDS, (12, 12, 12))
    pipeline = by_hand(raw, labels)
    fine = resampled(numpy_source(raw, (4, 4, 4)), (2, 2, 2), (1, 1, 1)).array()
    coarse = resampled(numpy_source(labels, (4, 4, 4)), (1, 1, 1), (2, 2, 2), 0, "mode").array()
    roi = gp.Roi((8, 0, 16), (32, 16, 32))
    with gp.build(pipeline):
        assert pipeline.spec[OUT].voxel_size == gp.Coordinate(2, 2, 2)
        assert pipeline.spec[OUT].roi == fine.roi
        assert pipeline.spec[IDS_OUT].dtype == np.uint64
        batch = pipeline.request_batch(
            gp.BatchRequest({OUT: gp.ArraySpec(roi=roi), IDS_OUT: gp.ArraySpec(roi=roi), RAW: gp.ArraySpec(roi=roi)})
        )
    assert_same(batch[OUT].data, fine[roi], "linear")
    assert_same(batch[IDS_OUT].data, coarse[roi], "mode")
    assert np.array_equal(batch[RAW].data, raw[2:10, 0:4, 4:12])


def test_nodes_after_augmentation():
    raw, labels = random_voxels((16, 16, 16), "uint8"), RNG.choice(IDS, (16, 16, 16))
    pipeline = by_hand(
        raw, labels, gp.RandomLocation(), gp.SimpleAugment(), gp.Pad(RAW, None), gp.Pad(LABELS, None)
    )  # fmt: skip
    roi, around = gp.Roi((0, 0, 0), (24, 24, 24)), gp.Roi((-8, -8, -8), (40, 40, 40))
    asked = {OUT: roi, IDS_OUT: roi, RAW: around, LABELS: around}
    with gp.build(pipeline):
        assert pipeline.spec[OUT].roi.unbounded
        for seed in range(1, 5):
            request = gp.BatchRequest(random_seed=seed)
            for key, wanted in asked.items():
                request[key] = gp.ArraySpec(roi=wanted)
            batch = pipeline.request_batch(request)
            # the voxels that were augmented, resampled: there is nothing else to know of them
            for key, source, up, down, order, by in (
                (OUT, RAW, (2, 2, 2), (1, 1, 1), 1, None),
                (IDS_OUT, LABELS, (1, 1, 1), (2, 2, 2), 0, "mode"),
            ):
                seen = numpy_source(batch[source].data, voxel_size=(4, 4, 4), offset=(-8, -8, -8))
                assert_same(batch[key].data, resampled(seen, up, down, order, by).array()[roi], str(key))


def test_unbounded_sources_have_no_edge():
    raw = np.full((1, 8), 100, np.uint8)
    pipeline = gpa.NumpySource(RAW, raw, voxel_size=(2, 2)) + gp.Pad(RAW, None)
    pipeline += gpa.Resample(RAW, OUT, (1, 2), (1, 1), 1)
    with gp.build(pipeline):
        request = gp.BatchRequest({OUT: gp.ArraySpec(roi=gp.Roi((0, -2), (2, 6)))})
        # the padding's zeros count: a quarter of 100 beyond the edge, three quarters within it
        assert pipeline.request_batch(request)[OUT].data.tolist() == [[0, 25, 75, 100, 100, 100]]


@pytest.mark.skipif(not FIB25.exists(), reason="the data set is not here")
def test_real_neurons():
    neurons = gpa.ZarrArrayConfig("neurons", FIB25, "labels/neurons")
    whole = neurons.array()
    middle = whole.roi.begin + whole.roi.shape / 2
    roi = gpa.Roi(middle, whole.voxel_size * 48).snap_to_grid(whole.voxel_size * 2, mode="shrink")
    ids = whole[roi]
    half = resampled(neurons, (1, 1, 1), (2, 2, 2), 0).array()
    begin = (roi.begin - half.roi.begin) / half.voxel_size
    at = tuple(slice(b, b + 8) for b in begin)
    assert np.array_equal(half[roi], ids[::2, ::2, ::2])
    assert np.array_equal(half[at], ids[:16:2, :16:2, :16:2])
    by_mode = resampled(neurons, (1, 1, 1), (2, 2, 2), 0, "mode").array()[roi]
    assert set(np.unique(by_mode)) <= set(np.unique(ids))


def test_exact_to_the_last_bit():
    """Independent of how floats are added up: no more than one rounding of each dtype away from the fraction."""
    data = RNG.normal(size=(1, 24)).astype(np.float32)
    for up, down, order in ((1, 3, 1), (3, 1, 1), (2, 1, 3), (2, 3, 1)):
        got = resampled(numpy_source(data, (1, up)), (1, up), (1, down), order).array()[0]
        exact = [[Fraction(v) for v in data[0].tolist()]]
        want = exact_row(exact[0], up, down, order)
        for value, fraction in zip(got.tolist(), want, strict=True):
            assert abs(Fraction(value) - fraction) <= Fraction(float(np.spacing(np.float32(abs(value))))) / 2 * (1 + Fraction(1, 2**20))  # fmt: skip


def exact_row(row, up, down, order):
    from gp_arrays.testing.resampled import weights

    method = "mean" if down > up else {1: "linear", 3: "cubic"}[order]
    return [
        sum(row[min(max(j, 0), len(row) - 1)] * share for j, share in weights(method, up, down, i).items())
        for i in range(len(row) * up // down)
    ]
