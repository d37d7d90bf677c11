"""Keys select what numpy would."""

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
    taken = range(4)[key]
    assert (high - low) == (max(taken) - min(taken) + 1 if len(taken) else 0)


@pytest.mark.parametrize(
    "key", [5, (0, 0, 0, 0), (..., ...), 1.5, "a", True, None, [0, 1], np.array([True, False, True]), slice("a", "b")]
)
def test_other_keys_are_refused(key):
    with pytest.raises(gpa.RequestError):
        select(key, SHAPE)
