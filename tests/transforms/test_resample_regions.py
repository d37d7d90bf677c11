"""Any block of a resampled array equals that part of the array, and reads no more than it needs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resample_helpers import RNG, WAYS, numpy_source, random_voxels, resampled

import gp_arrays as gpa
from gp_arrays.model.meta import Region
from gp_arrays.testing import assert_same, check_pipeline, evaluate_naively, partitions, regions, voxels


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "float32"])
@pytest.mark.parametrize(("order", "by"), [(0, None), (1, None), (3, None), (3, "mode"), (1, "nearest")], ids=str)
def test_no_seam_at_any_plane(dtype, order, by):
    shape, up, down = (8, 7, 9), (3, 1, 2), (2, 2, 3)
    array = resampled(numpy_source(random_voxels(shape, dtype), up), up, down, order, by).array()
    all_voxels = array[:]
    assert all_voxels.shape == (12, 3, 6)
    for axis in range(3):
        for cut in range(1, all_voxels.shape[axis]):
            at = [slice(None)] * 3
            parts = []
            for part in (slice(0, cut), slice(cut, None)):
                at[axis] = part
                parts.append(array[tuple(at)])
            assert_same(np.concatenate(parts, axis), all_voxels, f"cut at {cut} of axis {axis}")


def test_no_seam_in_long_rows_of_floats():
    # as long as what numpy adds pairwise, or several at once
    data = (RNG.normal(size=(3, 700)) * 10.0 ** RNG.integers(-8, 8, (3, 700))).astype(np.float32)
    for up, down, order in ((1, 7, 1), (2, 1, 3), (3, 1, 1), (3, 5, 1)):
        array = resampled(numpy_source(data, (1, up)), (1, up), (1, down), order).array()
        all_voxels = array[:]
        for first in range(0, all_voxels.shape[1] - 17, 13):
            assert_same(array[1:2, first : first + 17], all_voxels[1:2, first : first + 17], f"{up}/{down} at {first}")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_block_law(data):
    draw = data.draw
    dims = draw(st.integers(2, 3))
    up = [draw(st.integers(1, 4)) for _ in range(dims)]
    down = [draw(st.integers(1, 4)) for _ in range(dims)]
    shape = [2 * d + draw(st.integers(0, 3)) for d in down]
    nonspatial = draw(st.sampled_from([(), (2,)]))
    voxel_size = [u * draw(st.integers(1, 2)) for u in up]
    offset = [draw(st.integers(-9, 9)) for _ in range(dims)]
    values = draw(voxels((*nonspatial, *shape)))
    order, by = draw(st.sampled_from(WAYS))
    config = resampled(numpy_source(values, voxel_size=voxel_size, offset=offset), up, down, order, by)
    array = config.array()
    all_voxels = array[:]
    assert_same(all_voxels, evaluate_naively(config).data, repr(config))
    roi = draw(regions(array))
    lead = (slice(None),) * len(nonspatial)

    def place(part):
        return lead + tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(part.begin, part.end, array.roi.begin, array.voxel_size, strict=True)
        )

    for part in draw(partitions(roi, array.voxel_size)):
        assert_same(array[part], all_voxels[place(part)], f"{config!r} {part}")


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
    (metas,) = [array.plan.steps[-1].source_metas]
    (part,) = array.config.context(region, array.meta, metas)
    assert (part.begin[1], part.end[1]) == tuple(36 + j * size for j in made_of)


@pytest.mark.parametrize(("up", "down", "order"), [(1, 2, 0), (2, 3, 0), (3, 5, 1), (2, 1, 1), (5, 3, 3), (3, 1, 3)])
def test_every_plane_of_the_context_matters(up, down, order):
    data = RNG.normal(size=(15, 15))
    array = resampled(numpy_source(data, (up, up)), (up, up), (down, down), order).array()
    v = array.voxel_size
    for first, last in itertools.combinations(range(0, array.shape[0] + 1, 4), 2):
        region = Region((first * v[0], first * v[1]), (last * v[0], last * v[1]))
        (part,) = array.config.context(region, array.meta, array.plan.steps[-1].source_metas)
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


def test_only_requested_channels_are_read():
    data = np.full((3, 4, 4), np.nan, np.float32)
    data[1] = 2
    array = resampled(numpy_source(data, (1, 1)), (1, 1), (2, 2)).array()
    (metas,) = [array.plan.steps[-1].source_metas]
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
