"""Arrays: their attributes, indexing, writing, and conversion to other libraries."""

import random
import threading

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

import gp_arrays as gpa

DATA = np.arange(2 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 4, 5, 6)


def source(**fields):
    return gpa.NumpyArrayConfig("n", data=DATA, offset=(40, 0, 9), voxel_size=(10, 5, 3), **fields)


def test_attributes():
    array = source(axes=("c", "z", "y", "x")).array()
    assert array.roi == Roi((40, 0, 9), (40, 25, 18))
    assert array.voxel_size == Coordinate(10, 5, 3)
    assert (array.unit, array.axes, array.spatial_axes) == ("nm", ("c", "z", "y", "x"), ("z", "y", "x"))
    assert (array.dims, array.ndim, array.shape, array.dtype) == (3, 4, (2, 4, 5, 6), np.uint16)
    assert (array.num_channels, array.channels) == (2, ("0", "1"))
    assert (array.name, array.attrs, array.interpolatable) == ("n", {}, True)
    assert array.config == source(axes=("c", "z", "y", "x"))
    assert array.sources == ()
    assert repr(array).startswith("<gp_arrays.Array 'n' uint16[2, 4, 5, 6] axes=c,z,y,x")


def test_sources():
    first = source()
    top = gpa.SumArrayConfig("sum", [first, gpa.ThresholdArrayConfig("t", first, 3)]).array()
    assert [array.name for array in top.sources] == ["n", "t"]
    assert np.array_equal(top.sources[1][:], (DATA > 3).astype(np.uint8))


def test_rois_and_indices_give_the_same_voxels():
    array = source().array()
    roi = Roi((50, 5, 12), (20, 10, 3))
    assert np.array_equal(array[roi], DATA[:, 1:3, 1:3, 1:2])
    assert np.array_equal(array[:, 1:3, 1:3, 1:2], array[roi])
    assert np.array_equal(array[1, ..., ::-2], DATA[1, ..., ::-2])
    assert array[1, 2, 3, 4] == DATA[1, 2, 3, 4]
    assert array[:, 3:3].shape == (2, 0, 5, 6)


def test_all_voxels_of_an_array():
    array = source().array()
    assert np.array_equal(np.asarray(array), DATA)
    assert np.asarray(array, dtype=np.float32).dtype == np.float32
    assert np.array_equal(array.to_ndarray(), DATA)
    with pytest.raises(ValueError, match="computed"):
        np.array(array, copy=False)


def test_padding():
    array = source().array()
    padded = array.to_ndarray(Roi((30, -5, 9), (30, 10, 6)), fill_value=9)
    expected = np.full((2, 3, 2, 2), 9, np.uint16)
    expected[:, 1:, 1:, :] = DATA[:, :2, :1, :2]
    assert np.array_equal(padded, expected)
    assert np.all(array.to_ndarray(Roi((400, 0, 9), (10, 5, 3)), fill_value=7) == 7)
    with pytest.raises(gpa.RequestError, match=r"n: the roi reaches outside"):
        array.to_ndarray(Roi((30, 0, 9), (30, 5, 3)))


@pytest.mark.parametrize(
    ("roi", "problem"),
    [
        (Roi((41, 0, 9), (10, 5, 3)), "not on the voxel grid"),
        (Roi((40, 0, 9), (11, 5, 3)), "not on the voxel grid"),
        (Roi((40, 0), (10, 5)), "not on the voxel grid"),
        (Roi((30, 0, 9), (10, 5, 3)), "reaches outside"),
        (Roi((40, 0, 9), (0, 5, 3)), "is empty"),
        (Roi((40, 0, 9), (None, 5, 3)), "unbounded"),
    ],
)
def test_rois_that_it_does_not_have(roi, problem):
    with pytest.raises(gpa.RequestError, match=problem):
        source().array()[roi]


def test_results_are_the_callers_own():
    array = source().array()
    first = array[:]
    assert first.flags.writeable
    first[...] = 0
    assert np.array_equal(array[:], DATA)
    assert not np.may_share_memory(array[:], DATA)


def test_random_states_are_left_alone():
    array = gpa.IntensitiesArrayConfig("i", source(), 0, 100).array()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    array[:]
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002


def test_several_threads_at_once(tmp_path):
    roi = Roi((0, 0, 0), (32, 32, 32))
    voxels = np.random.default_rng(0).integers(0, 9, (32, 32, 32), dtype=np.uint64)
    gpa.create_zarr(tmp_path / "a.zarr", "labels", roi, (1, 1, 1), "uint64", write_size=(8, 8, 8))[roi] = voxels
    config = gpa.ZarrArrayConfig("labels", tmp_path / "a.zarr", "labels")
    array = gpa.BinarizeArrayConfig("m", config, [("a", [3]), ("any", [])]).array()
    expected = np.stack([voxels == 3, voxels != 0]).astype(np.uint8)
    wrong = []

    def read(seed):
        numbers = np.random.default_rng(seed)
        for _ in range(20):
            a, b = sorted(numbers.integers(0, 33, 2))
            if a < b and not np.array_equal(array[:, a:b], expected[:, a:b]):
                wrong.append((a, b))

    threads = [threading.Thread(target=read, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_writing():
    data = np.zeros((4, 5), np.uint8)
    array = gpa.Array.from_numpy(data, Roi((0, 0), (8, 5)), axes=("y", "x"))
    assert array.voxel_size == Coordinate(2, 1)
    assert array.writable
    array[Roi((2, 1), (4, 2))] = [[1, 2], [3, 4]]
    array[0] = 9
    array[3, 4] = np.uint8(5)
    assert data.tolist() == [[9, 9, 9, 9, 9], [0, 1, 2, 0, 0], [0, 3, 4, 0, 0], [0, 0, 0, 0, 5]]
    with pytest.raises(gpa.RequestError, match="do not fit the region"):
        array[0:2] = [1, 2, 3]
    with pytest.raises(gpa.RequestError, match="complete boxes"):
        array[::2] = 1
    array[1] = np.full(5, 7.0)
    assert data[1].tolist() == [7] * 5
    for unheld in (256, -1, 0.5, np.nan):
        with pytest.raises(gpa.StoreError, match="what uint8 holds exactly"):
            array[0] = unheld


@pytest.mark.parametrize("value", [10**30, -(10**30), "7", None, 1j, b"a", [[1], [2, 3]], np.datetime64(1, "s"), {}])
def test_numbers_beyond_64_bits_are_refused(value):
    data = np.zeros((4, 5), np.uint8)
    for dtype in (np.uint8, np.int64, np.float32):
        array = gpa.Array.from_numpy(data.astype(dtype), name="n")
        for key in (0, (0, 0), slice(0, 2), Roi((0, 0), (2, 2))):
            with pytest.raises(gpa.StoreError, match=r"\An: .*\Z"):
                array[key] = value


def test_values_that_cannot_be_written():
    data = np.zeros((4, 5), np.uint8)
    data.flags.writeable = False
    with pytest.raises(gpa.StoreError, match="read-only"):
        gpa.Array.from_numpy(data)[0] = 1
    computed = gpa.ThresholdArrayConfig("t", source(), 1).array()
    assert not computed.writable
    with pytest.raises(gpa.StoreError, match="t: ThresholdArrayConfig cannot be written; allowed: its sources: n"):
        computed[0] = 1
    with pytest.raises(gpa.StoreError, match="has no data of its own"):
        _ = computed.data
    with pytest.raises(gpa.StoreError, match="takes no metadata"):
        computed.add_metadata({})


def test_data_is_the_sources_own():
    assert source().array().data is DATA


def test_from_numpy_refuses_data_that_do_not_fit_the_roi():
    with pytest.raises(gpa.RequestError, match="whole number of voxels"):
        gpa.Array.from_numpy(np.zeros((3, 4)), Roi((0, 0), (4, 4)))
    with pytest.raises(gpa.RequestError, match="do not agree"):
        gpa.Array.from_numpy(np.zeros((3, 4)), Roi((0, 0), (6, 8)), (1, 1))


def test_from_gunpowder():
    import gunpowder as gp

    spec = gp.ArraySpec(Roi((4, 6), (4, 3)), voxel_size=(2, 1))
    array = gpa.Array.from_gunpowder(gp.Array(np.arange(12).reshape(2, 2, 3), spec))
    assert array.axes == ("c", "y", "x")
    assert array[Roi((6, 7), (2, 2))].tolist() == [[[4, 5]], [[10, 11]]]
    with pytest.raises(gpa.RequestError, match="no position"):
        gpa.Array.from_gunpowder(gp.Array(np.zeros(3), gp.ArraySpec(nonspatial=True)))


def test_to_funlib():
    array = source().array()
    handed = array.to_funlib()
    assert (handed.roi, handed.voxel_size) == (array.roi, array.voxel_size)
    assert list(handed.axis_names) == ["c^", "z", "y", "x"]
    assert list(handed.units) == ["nm", "nm", "nm"]
    roi = Roi((50, 5, 12), (20, 10, 3))
    assert np.array_equal(handed[roi], array[roi])


def test_ones_and_constants_like():
    array = source().array()
    ones, threes = gpa.ones_like(array), gpa.constant_like(array, 3)
    assert ones.dtype == bool
    assert ones.roi == array.roi
    assert ones.shape == array.shape
    assert np.all(threes[:] == 3)
    assert threes.dtype == np.uint8


def test_unit_of_the_array():
    fine = gpa.NumpyArrayConfig("f", data=DATA, voxel_size=("5.24 nm", "4 nm", "4 nm"))
    with pytest.raises(
        gpa.TreeError,
        match=r'f: its voxel_size is not a whole number of nm; found \(5.24 nm, 4 nm, 4 nm\); allowed: set unit = "pm"',
    ):
        fine.array()
    assert fine.array(unit="pm").voxel_size == Coordinate(5240, 4000, 4000)
    assert fine.array(unit="pm").unit == "pm"


@pytest.mark.parametrize("fill", [-1, 256, 0.5, np.nan, "1", [1, 2], None])
def test_a_fill_value_that_the_dtype_does_not_hold(fill):
    array = gpa.NumpyArrayConfig("a", data=np.ones((2, 3), "u1")).array()
    with pytest.raises(gpa.GpArraysError):
        array.to_ndarray(Roi((-1, -1), (2, 2)), fill_value=fill)


def test_a_roi_of_negative_size():
    array = gpa.NumpyArrayConfig("a", data=np.ones((2, 3), "u1")).array()
    with pytest.raises(gpa.RequestError, match="negative"):
        array.to_ndarray(Roi((0, 0), (-2, 1)), fill_value=0)


@pytest.mark.parametrize("key", ["k" * 10**6, ("k\n" * 10**5, 0), np.ones((2, 3)), [[0]], 10**5000], ids=range(5))
def test_errors_of_keys_are_one_short_line(key):
    array = gpa.NumpyArrayConfig("a", data=np.ones((2, 3), "u1")).array()
    for use in (lambda: array[key], lambda: array.__setitem__(key, 1), lambda: array.to_ndarray(key)):
        with pytest.raises(gpa.RequestError) as caught:
            use()
        assert str(caught.value).startswith("a: ")
        assert len(str(caught.value)) < 1000
        assert "\n" not in str(caught.value)


def test_an_unbounded_roi():
    array = gpa.NumpyArrayConfig("a", data=np.ones((2, 3), "u1")).array()
    with pytest.raises(gpa.RequestError, match="unbounded"):
        array.to_ndarray(Roi((None, None), (None, None)), fill_value=0)


def test_more_voxels_than_memory_are_refused_at_once(tmp_path):
    roi = gpa.Roi((0,), (10**15,))
    array = gpa.create_zarr(tmp_path / "a.zarr", "a", roi, (1,), "uint8", chunks=(2**20,))
    for ask in (
        lambda: array[:],
        lambda: array[:: 10**14],
        lambda: array[roi],
        lambda: array.to_ndarray(gpa.Roi((-(10**18),), (3 * 10**18,)), fill_value=0),
        lambda: array.__setitem__(slice(None), 1),
    ):
        with pytest.raises(gpa.RequestError, match="a: memory cannot hold the voxels"):
            ask()
    assert array[-3:].tolist() == [0, 0, 0]
