"""Selected channels, samples and times: kernel, config, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, recorded

A, OUT = gp.ArrayKey("SE_A"), gp.ArrayKey("SE_OUT")


def stack(**options: Any) -> gpa.NumpyArrayConfig:
    """Times 0 to 3, channels 0 to 2: the value is 100 t + 10 c + x."""
    data = 100 * np.arange(4)[:, None, None, None] + 10 * np.arange(3)[:, None, None] + np.arange(2)
    return gpa.NumpyArrayConfig("stack", data=data.astype("u2"), axes=("t", "c", "y", "x"), **options)


def masks() -> gpa.BinarizeArrayConfig:
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[1, 2, 3]], "u1"))
    return gpa.BinarizeArrayConfig("masks", ids, [("a", [1]), ("b", [2]), ("c", [3])])


@pytest.mark.parametrize(
    ("channels", "at", "axes", "want"),
    [
        (None, {"t": 2}, "cyx", [[[200, 201]], [[210, 211]], [[220, 221]]]),
        (None, {"t": -1, "c": 1}, "yx", [[310, 311]]),
        (1, {"t": 0}, "yx", [[10, 11]]),
        (-1, {"t": 0}, "yx", [[20, 21]]),
        ([2, 0], {"t": 1}, "cyx", [[[120, 121]], [[100, 101]]]),
        ([1], None, "tcyx", [[[[10, 11]]], [[[110, 111]]], [[[210, 211]]], [[[310, 311]]]]),
        (0, None, "tyx", [[[0, 1]], [[100, 101]], [[200, 201]], [[300, 301]]]),
    ],
)
def test_voxels(channels: Any, at: Any, axes: str, want: Any) -> None:
    array = gpa.SelectArrayConfig("some", stack(offset=(5, 6)), channels, at).array()
    assert (array[:].tolist(), "".join(array.axes), tuple(array.roi.begin)) == (want, axes, (5, 6))


def test_channels_by_name() -> None:
    array = gpa.SelectArrayConfig("some", masks(), ["c", "a"]).array()
    assert (array.channels, array[:, 0].tolist()) == (("c", "a"), [[0, 0, 1], [1, 0, 0]])
    one = gpa.SelectArrayConfig("one", masks(), "b").array()
    assert (one.channels, one.axes, one[0].tolist()) == (None, ("y", "x"), [0, 1, 0])
    # channels that are selected by index keep their names
    assert gpa.SelectArrayConfig("some", masks(), [1, -1]).array().channels == ("b", "c")


def test_parts_of_the_selected_channels() -> None:
    array = gpa.SelectArrayConfig("some", stack(), [2, 0, 1]).array()
    assert array[3, 1:, 0, 0].tolist() == [300, 310]
    assert array[1:3, ::-2, 0, 1].tolist() == [[111, 121], [211, 221]]
    assert array[:, 0, 0, 0].tolist() == [20, 120, 220, 320]


def test_only_selected_channels_are_read() -> None:
    config = gpa.SelectArrayConfig("some", stack(), [2, 1], {"t": 3})
    with recorded(config) as record:
        config.array()[1]
    assert [index for _, index in record.reads] == [(slice(3, 4), slice(1, 2), slice(0, 1), slice(0, 2))]


def test_meta() -> None:
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((2, 3, 4), "f4"), axes=("c", "y", "x"))
    array = gpa.SelectArrayConfig("one", source, 1).array()
    assert (array.dtype, array.interpolatable, array.shape) == (np.float32, True, (3, 4))


def test_masks_of_one_channel_are_ids_again() -> None:
    ids = gpa.SelectArrayConfig("one", masks(), "b")
    again = gpa.BinarizeArrayConfig("again", ids, [("one", [1]), ("rest", [])])
    assert again.array()[:, 0].tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(("channels", "expected"), [(1, lambda a: a[1]), ([2, 0], lambda a: np.stack([a[2], a[0]]))])
def test_node(check_node: Any, channels: Any, expected: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (3, 16, 12)).astype("u1")
    check_node({A: data}, lambda: gpa.Select(A, OUT, channels), OUT, expected)


def test_node_of_samples_and_channels(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 12)).astype("u1")
    check_node(
        {A: data}, lambda: gpa.Select(A, OUT, [1], {"s": 1}), OUT, lambda a: a[1, 1:2], axes=("s", "c", "y", "x")
    )


def test_node_whose_source_is_its_target(ask: Any) -> None:
    source = gpa.NumpySource(A, np.arange(6, dtype="u1").reshape(3, 1, 2), axes=("c", "y", "x"))
    assert ask(source + gpa.Select(A, A, 2), {A: ((0, 0), (1, 2))})[A].data.tolist() == [[4, 5]]


class TestLaws(ArrayTypeLaws):
    type = gpa.SelectArrayConfig

    def configs(self, folder: Any) -> Any:
        return [
            gpa.SelectArrayConfig("u", stack(offset=(5, 6), voxel_size=(2, 4)), [2, 0], {"t": -2}),
            gpa.SelectArrayConfig("v", stack(), None, {"c": 1}),
            gpa.SelectArrayConfig("w", masks(), ["c", "a"]),
            gpa.SelectArrayConfig("x", masks(), "b"),
        ]

    def refused(self) -> Any:
        bad: list[Any] = [
            (None,),
            ([],),
            (1.0,),
            (True,),
            ([True],),
            ([None],),
            (None, {}),
            (None, {"t": 1.5}),
            (None, {1: 1}),
            (None, {"t": True}),
            (None, "t"),
            (1, {"c": 0}),
        ]
        return [lambda pair=pair: gpa.SelectArrayConfig("s", stack(), *pair) for pair in bad]

    def misfits(self, folder: Any) -> Any:
        plain = gpa.NumpyArrayConfig("plain", data=np.zeros((2, 3)))
        return [
            gpa.SelectArrayConfig("s", plain, 0),
            gpa.SelectArrayConfig("s", plain, None, {"t": 0}),
            gpa.SelectArrayConfig("s", stack(), 3),
            gpa.SelectArrayConfig("s", stack(), -4),
            gpa.SelectArrayConfig("s", stack(), [0, 0]),
            gpa.SelectArrayConfig("s", stack(), [0, -3]),
            gpa.SelectArrayConfig("s", stack(), "a"),
            gpa.SelectArrayConfig("s", stack(), None, {"z": 0}),
            gpa.SelectArrayConfig("s", stack(), None, {"t": 4}),
            gpa.SelectArrayConfig("s", masks(), "d"),
            gpa.SelectArrayConfig("s", masks(), ["a", 0]),
        ]


@pytest.mark.parametrize(("channels", "want"), [("2", 2), (["2", "0"], [2, 0]), (["1", 2], [1, 2])])
def test_channels_without_names_are_selected_by_the_names_that_the_array_shows(channels: Any, want: Any) -> None:
    data = np.arange(12).reshape(3, 2, 2)
    three = gpa.NumpyArrayConfig("three", data=data, axes=("c", "y", "x"))
    assert three.array().channels == ("0", "1", "2")
    assert np.array_equal(gpa.SelectArrayConfig("some", three, channels).array()[:], data[want])
    with pytest.raises(gpa.TreeError, match="no channel of that name; found '3'; allowed: 0, 1, 2"):
        gpa.SelectArrayConfig("some", three, "3").array()


def test_names_win_over_indices() -> None:
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[5, 6, 7]], np.uint8))
    named = gpa.BinarizeArrayConfig("named", ids, [("2", [5]), ("1", [6]), ("0", [7])])
    assert gpa.SelectArrayConfig("some", named, "2").array()[0].tolist() == [1, 0, 0]
    assert gpa.SelectArrayConfig("some", named, 2).array()[0].tolist() == [0, 0, 1]
    assert gpa.SelectArrayConfig("some", named, ["0", "2"]).array().channels == ("0", "2")
