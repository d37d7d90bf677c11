"""Arrays as channels: kernel, dtype rule, config, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, recorded
from gp_arrays.transforms.concat import common_dtype, concat

A, B, C, OUT = (gp.ArrayKey(f"C_{name}") for name in ("A", "B", "C", "OUT"))


def source(name: str, values: Any, dtype: str = "u1", axes: Any = None, **options: Any) -> gpa.NumpyArrayConfig:
    return gpa.NumpyArrayConfig(name, data=np.array(values, dtype), axes=axes, **options)


def test_kernel() -> None:
    parts = [np.array([1, 2], "u1"), None, np.array([3, 4], "i2"), np.array([5, 6], "i2")]
    result = concat(parts, (2,), np.dtype("i4"))
    assert (result.dtype, result.tolist()) == (np.int32, [[1, 2], [0, 0], [3, 4], [5, 6]])
    assert concat([None], (1, 2), np.dtype("f4")).tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("dtypes", "want"),
    [
        (["uint8", "int8"], "int16"),
        (["bool", "uint8"], "uint8"),
        (["uint32", "int32"], "int64"),
        (["uint64", "uint8"], "uint64"),
        (["int64", "uint32"], "int64"),
        (["float32", "uint16"], "float32"),
        (["float32", "int32"], "float64"),
        (["float16", "uint8"], "float16"),
        (["uint64", "bool"], "uint64"),
        (["uint64", "int64"], None),
        (["uint64", "int8"], None),
        (["int64", "float32"], None),
        (["uint64", "float64"], None),
    ],
)
def test_common_dtype(dtypes: list[str], want: str | None) -> None:
    named = {f"s{i}": np.dtype(name) for i, name in enumerate(dtypes)}
    if want is not None:
        assert common_dtype(named) == np.dtype(want)
        return
    with pytest.raises(gpa.TreeError, match="64-bit integers"):
        common_dtype(named)


def test_voxels_and_names() -> None:
    a = source("a", [[1, 2]])
    b = source("b", [[[3, 4]], [[5, 6]]], "i2", ("c", "y", "x"))
    masks = gpa.BinarizeArrayConfig("masks", a, [("one", [1]), ("two", [2])])
    array = gpa.ConcatArrayConfig("all", ["z", "b", "m", "a"], {"a": a, "b": b, "m": masks}).array()
    assert array.channels == ("z", "b/0", "b/1", "m/one", "m/two", "a")
    assert (array.dtype, array.axes) == (np.int16, ("c", "y", "x"))
    assert array[:].tolist() == [[[0, 0]], [[3, 4]], [[5, 6]], [[1, 0]], [[0, 1]], [[1, 2]]]


def test_the_default_gives_every_channel_that_has_no_source() -> None:
    a, rest = source("a", [[1, 2]]), source("rest", [[[3, 4]], [[5, 6]]], axes=("c", "y", "x"))
    array = gpa.ConcatArrayConfig("all", ["n", "a", "m"], {"a": a}, default_config=rest).array()
    assert array.channels == ("n/0", "n/1", "a", "m/0", "m/1")
    assert array[:, 0].tolist() == [[3, 4], [5, 6], [1, 2], [3, 4], [5, 6]]
    # parts of the axis that meet the default at both ends
    assert array[1:4, 0, 0].tolist() == [5, 1, 3]
    assert array[::-1, 0, 1].tolist() == [6, 4, 2, 6, 4]
    assert array[4, 0].tolist() == [5, 6]


def test_a_default_that_no_channel_needs_still_counts_for_the_roi() -> None:
    a = source("a", [[1, 2, 3]])
    rest = source("rest", [[7, 8]], offset=(0, 1))
    array = gpa.ConcatArrayConfig("all", ["a"], {"a": a}, default_config=rest).array()
    assert (array.roi, array[:].tolist()) == (gpa.Roi((0, 1), (1, 2)), [[[2, 3]]])


def test_only_requested_channels_are_read() -> None:
    a, b = source("a", [[1, 2]]), source("b", [[[3, 4]], [[5, 6]]], axes=("c", "y", "x"))
    config = gpa.ConcatArrayConfig("all", ["a", "b"], {"a": a, "b": b})
    with recorded(config) as record:
        assert config.array()[2].tolist() == [[5, 6]]
    assert [index for _, index in record.reads] == [(slice(1, 2), slice(0, 1), slice(0, 2))]


def test_ids_stay_exact() -> None:
    a, b = source("a", [[2**64 - 1, 2**53 + 1]], "u8"), source("b", [[1, 0]], "u1")
    array = gpa.ConcatArrayConfig("all", ["a", "b"], {"a": a, "b": b}).array()
    assert array[:].tolist() == [[[2**64 - 1, 2**53 + 1]], [[1, 0]]]


def test_meta() -> None:
    a = source("a", np.zeros((4, 5)), offset=(2, 3), voxel_size=(2, 3))
    b = source("b", np.zeros((4, 5)), offset=(4, 0), voxel_size=(2, 3), interpolatable=False)
    array = gpa.ConcatArrayConfig("all", ["a", "b"], {"a": a, "b": b}).array()
    assert (tuple(array.roi.begin), tuple(array.roi.end), array.shape) == ((4, 3), (10, 15), (2, 3, 4))
    assert not array.interpolatable
    assert gpa.ConcatArrayConfig("all", ["a"], {"a": a}).array().interpolatable


def test_node(check_node: Any) -> None:
    rng = np.random.default_rng(0)
    data = {A: rng.integers(0, 256, (16, 12)).astype("u1"), B: rng.normal(size=(16, 12)).astype("f4")}
    check_node(data, lambda: gpa.Concat({"a": A, "b": B}, OUT), OUT, lambda a, b: np.stack([a.astype("f4"), b]))


def test_node_in_another_order_with_zeros(check_node: Any) -> None:
    data = {A: np.ones((16, 12), "u1"), B: np.full((16, 12), 2, "u1")}
    check_node(
        data,
        lambda: gpa.Concat({"a": A, "b": B}, OUT, channels=["b", "zero", "a"]),
        OUT,
        lambda a, b: np.stack([b, 0 * a, a]),
    )


def test_node_with_channels_and_default(check_node: Any) -> None:
    rng = np.random.default_rng(0)
    data = {A: rng.integers(0, 256, (2, 16, 12)).astype("u1"), B: rng.integers(0, 256, (3, 16, 12)).astype("u1")}
    check_node(
        data, lambda: gpa.Concat({"a": A}, OUT, ["x", "a", "y"], default=B), OUT, lambda a, b: np.concatenate([b, a, b])
    )


class TestLaws(ArrayTypeLaws):
    type = gpa.ConcatArrayConfig

    def configs(self, folder: Any) -> Any:
        rng = np.random.default_rng(0)
        a = source("a", rng.integers(0, 256, (4, 5)), offset=(2, 3), voxel_size=(2, 3))
        b = source("b", rng.integers(0, 256, (3, 4, 5)), "u2", ("c", "y", "x"), offset=(4, 0), voxel_size=(2, 3))
        f = source("f", rng.normal(size=(4, 5)), "f4", offset=(2, 0), voxel_size=(2, 3))
        return [
            gpa.ConcatArrayConfig("x", ["a"], {"a": a}),
            gpa.ConcatArrayConfig("y", ["z", "b", "a", "n"], {"a": a, "b": b}),
            gpa.ConcatArrayConfig("w", ["n", "f", "m", "a"], {"a": a, "f": f}, default_config=b),
        ]

    def refused(self) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        return [
            lambda: gpa.ConcatArrayConfig("c", [], {"a": raw}),
            lambda: gpa.ConcatArrayConfig("c", None, {"a": raw}),
            lambda: gpa.ConcatArrayConfig("c", "a", {"a": raw}),
            lambda: gpa.ConcatArrayConfig("c", ["a", "a"], {"a": raw}),
            lambda: gpa.ConcatArrayConfig("c", ["a", 1], {"a": raw}),
            lambda: gpa.ConcatArrayConfig("c", ["a"], {}),
            lambda: gpa.ConcatArrayConfig("c", ["a"], [raw]),
            lambda: gpa.ConcatArrayConfig("c", ["a"], raw),
            lambda: gpa.ConcatArrayConfig("c", ["a"], {"b": raw}),
            lambda: gpa.ConcatArrayConfig("c", ["a"], {"a": "raw"}),
            lambda: gpa.ConcatArrayConfig("c", ["a"], {"a": raw}, default_config="raw"),
        ]

    def misfits(self, folder: Any) -> Any:
        base = source("base", np.zeros((4, 5)))
        others = [
            source("other", np.zeros((4, 5)), voxel_size=(2, 2)),
            source("other", np.zeros((4, 5)), offset=(9, 9)),
            source("other", np.zeros((4, 5, 6))),
            source("other", np.zeros((2, 4, 5)), axes=("t", "y", "x")),
        ]
        ids, floats = source("ids", np.zeros((4, 5)), "u8"), source("floats", np.zeros((4, 5)), "f4")
        signed = source("signed", np.zeros((4, 5)), "i1")
        masks = gpa.BinarizeArrayConfig("masks", base, [("b", [1])])
        return [
            *(gpa.ConcatArrayConfig("c", ["a", "b"], {"a": base, "b": other}) for other in others),
            *(gpa.ConcatArrayConfig("c", ["a", "d"], {"a": base}, default_config=other) for other in others),
            gpa.ConcatArrayConfig("c", ["a", "b"], {"a": ids, "b": floats}),
            gpa.ConcatArrayConfig("c", ["a", "b"], {"a": ids, "b": signed}),
            # two channels of one name, though those of the config differ
            gpa.ConcatArrayConfig("c", ["a/b", "a"], {"a/b": base, "a": masks}),
        ]
