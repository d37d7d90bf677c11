"""Indexing selects the same voxels as numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

import gp_arrays as gpa
from gp_arrays.model.indexing import select

SHAPE = (3, 4, 5)
DATA = np.arange(60).reshape(SHAPE)


@given(basic_indices(SHAPE, allow_newaxis=False))
def test_any_basic_index_is_numpys(key):
    selection = select(key, SHAPE)
    box = DATA[tuple(slice(a, b) for a, b in selection.bounds)]
    expected = DATA[key]
    assert selection.shape == expected.shape
    if not selection.empty:
        assert np.array_equal(selection.apply(box), expected)


@given(st.slices(4))
def test_only_the_box_is_read(key):
    (low, high), *_ = select((key,), (4,)).bounds
    positions = range(4)[key]
    assert (high - low) == (max(positions) - min(positions) + 1 if len(positions) else 0)


@given(basic_indices(SHAPE, allow_newaxis=False))
def test_an_array_is_indexed_as_numpy_indexes_its_voxels(key):
    got, expected = gpa.NumpyArrayConfig("n", data=DATA, axes=("z", "y", "x")).array()[key], DATA[key]
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(got, expected)


HUGE = 10**15


@pytest.mark.parametrize(
    ("key", "bounds", "length"),
    [
        (slice(None), (0, HUGE), HUGE),
        (slice(None, None, -1), (0, HUGE), HUGE),
        (slice(5, None, 3), (5, HUGE - 1), (HUGE - 4) // 3),
        (slice(None, None, -7), (HUGE - 1 - (HUGE - 1) // 7 * 7, HUGE), (HUGE + 6) // 7),
        (slice(HUGE, 0, -HUGE), (HUGE - 1, HUGE), 1),
        (slice(0, HUGE, HUGE), (0, 1), 1),
        (slice(10**30, None), (0, 0), 0),
        (slice(7, 7), (0, 0), 0),
        (-1, (HUGE - 1, HUGE), None),
    ],
)
def test_the_cost_of_a_key_does_not_grow_with_the_shape(key, bounds, length):
    selection = select((key, ..., 3), (HUGE, HUGE, HUGE))
    assert selection.bounds == (bounds, (0, HUGE), (3, 4))
    assert selection.shape == ((length, HUGE) if length is not None else (HUGE,))


def huge(shape):
    """A large array that takes no memory: one value is repeated by strides of zero."""
    return gpa.NumpyArrayConfig("n", data=np.broadcast_to(np.uint8(7), shape)).array()


def test_a_few_voxels_of_a_huge_array():
    array = huge((HUGE,))
    assert array[-5:].tolist() == [7] * 5
    assert array[: HUGE - 9 : -3].tolist() == [7] * 3
    assert array[HUGE - 1 : 10 : -HUGE].tolist() == [7]
    assert array[3:3].shape == (0,)
    assert array[HUGE // 2] == 7
    assert np.asarray(array.to_ndarray(gpa.Roi((HUGE - 2,), (4,)), fill_value=1)).tolist() == [7, 7, 1, 1]


@pytest.mark.parametrize("shape", [(HUGE,), (10**5,) * 3])
@pytest.mark.parametrize("key", [..., slice(None), slice(None, None, 2)])
def test_all_of_a_huge_array_does_not_fit_into_memory(shape, key):
    with pytest.raises(gpa.RequestError, match="memory cannot hold"):
        huge(shape)[key]


@pytest.mark.parametrize(
    "key", [5, (0, 0, 0, 0), (..., ...), 1.5, "a", True, None, [0, 1], np.array([True, False, True]), slice("a", "b")]
)
def test_other_keys_are_refused(key):
    with pytest.raises(gpa.RequestError):
        select(key, SHAPE)
