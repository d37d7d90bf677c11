"""Sums: kernel, dtype rule, config, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.transforms.sum import add, sum_dtype

A, B, OUT = gp.ArrayKey("S_A"), gp.ArrayKey("S_B"), gp.ArrayKey("S_OUT")
MOST = 2**64 - 1


@pytest.mark.parametrize(
    ("dtypes", "want"),
    [
        (["uint8"], "uint8"),
        (["uint8"] * 3, "uint16"),
        (["uint8"] * 257, "uint16"),
        (["uint8"] * 258, "uint32"),
        (["bool"], "uint8"),
        (["bool"] * 255, "uint8"),
        (["bool"] * 256, "uint16"),
        (["int8"], "int8"),
        (["int8"] * 2, "int16"),
        (["uint8", "int8"], "int16"),
        (["uint16", "int8"], "int32"),
        (["uint32"] * 2, "uint64"),
        (["int32"] * 2, "int64"),
        (["uint64"] * 2, "uint64"),
        (["int64"] * 2, "int64"),
        (["uint64", "int8"], "int64"),
        (["float32"], "float32"),
        (["float16"] * 2, "float32"),
        (["float32", "uint16"], "float32"),
        (["float16", "bool"], "float32"),
        (["float64", "uint8"], "float64"),
        (["float32", "uint32"], "float64"),
        (["float16", "int64"], "float64"),
        (["int32", "float32"], "float64"),
    ],
)
def test_sum_dtype(dtypes: list[str], want: str) -> None:
    assert sum_dtype([np.dtype(name) for name in dtypes]) == np.dtype(want)


@pytest.mark.parametrize(
    ("parts", "dtype", "want"),
    [
        ([([250], "uint8"), ([10], "uint8")], "uint16", [260]),
        ([([250], "uint8"), ([5], "uint8")], "uint8", [255]),
        ([([MOST - 1], "uint64"), ([1], "uint8")], "uint64", [MOST]),
        ([([2**63], "uint64"), ([2**63 - 1], "uint64")], "uint64", [MOST]),
        # a partial sum overflows, but the result does not
        ([([MOST], "uint64"), ([-(2**63)], "int64"), ([-1], "int8")], "int64", [2**63 - 2]),
        ([([2**63 - 1], "int64"), ([2**63 - 1], "int64"), ([-(2**63)], "int64")], "int64", [2**63 - 2]),
        ([([-(2**63)], "int64"), ([MOST], "uint64")], "uint64", [2**63 - 1]),
        ([([-1], "int8"), ([-1], "int8")], "int8", [-2]),
        ([([-(2**31)], "int32"), ([-(2**31)], "int32")], "int64", [-(2**32)]),
        ([([True], "bool"), ([True], "bool")], "uint8", [2]),
        ([([True, False], "bool"), ([False, False], "bool")], "bool", [True, False]),
        ([([3], "uint8")], "float32", [3.0]),
        ([([0.5, np.inf, np.nan], "float16"), ([1], "uint8")], "float32", [1.5, np.inf, np.nan]),
        ([([np.inf], "float32"), ([-np.inf], "float32")], "float32", [np.nan]),
        # from left to right, in the sum's own precision
        ([([1e30], "float32"), ([1.0], "float32"), ([-1e30], "float32")], "float32", [0.0]),
        ([([1e30], "float32"), ([-1e30], "float32"), ([1.0], "float32")], "float32", [1.0]),
        ([([1.0], "float64"), ([2.0**-25], "float64"), ([2.0**-25], "float64")], "float32", [1.0]),
        ([([2**53], "uint64"), ([0.5], "float64")], "float64", [2.0**53]),
    ],
)
def test_kernel(parts: Any, dtype: str, want: Any) -> None:
    arrays = [np.array(values, kind) for values, kind in parts]
    copies = [array.copy() for array in arrays]
    if len(arrays) > 1:
        arrays = list(np.broadcast_arrays(*arrays))
    result = add(arrays, np.dtype(dtype))
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result, np.array(want, dtype))
    for array, before in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, np.broadcast_to(before, array.shape))


@pytest.mark.parametrize(
    ("parts", "dtype", "total"),
    [
        ([([0, MOST], "uint64"), ([0, 1], "uint64")], "uint64", str(2**64)),
        ([([0, 2**63 - 1], "int64"), ([0, 1], "int8")], "int64", str(2**63)),
        ([([0, -(2**63)], "int64"), ([0, -1], "int8")], "int64", str(-(2**63) - 1)),
        ([([0, 0], "uint64"), ([0, -1], "int64")], "uint64", "-1"),
        ([([0, 200], "uint8"), ([0, 56], "uint8")], "uint8", "256"),
        ([([0, -100], "int8"), ([0, -29], "int8")], "int8", "-129"),
        ([([0, True], "bool"), ([0, True], "bool")], "bool", "2"),
        ([([0, MOST], "uint64")] * 5, "int64", str(5 * MOST)),
        ([([0, MOST], "uint64")] * 2, "uint8", str(2 * MOST)),
    ],
)
def test_kernel_where_a_sum_does_not_fit(parts: Any, dtype: str, total: str) -> None:
    with pytest.raises(gpa.ComputeError, match=f"does not fit {dtype}; found {total} at voxel .1,. of"):
        add([np.array(values, kind) for values, kind in parts], np.dtype(dtype))


@pytest.mark.parametrize(
    ("parts", "dtype"),
    [
        ([([60000.0], "float16"), ([60000.0], "float16")], "float16"),
        ([([3e38], "float32"), ([3e38], "float32")], "float32"),
        ([([1e300], "float64")], "float32"),
        ([([70000], "uint32")], "float16"),
        ([([3e38, 0, 0], "float32"), ([1e300, 0, 0], "float64")], "float32"),
    ],
)
def test_kernel_where_a_float_sum_becomes_infinite(parts: Any, dtype: str) -> None:
    with pytest.raises(gpa.ComputeError, match=f"does not fit {dtype}"):
        add([np.array(values, kind) for values, kind in parts], np.dtype(dtype))


def test_an_overflow_names_its_path_in_the_tree() -> None:
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[0, MOST]], np.uint64))
    total = gpa.SumArrayConfig("total", [ids, ids])
    mask = gpa.ThresholdArrayConfig("mask", total, 1)
    assert mask.array()[0, 0] == 0
    with pytest.raises(gpa.ComputeError, match="mask > total: a sum does not fit uint64"):
        mask.array()[:]


def test_meta() -> None:
    def source(name: str, offset: Any, dtype: str, **options: Any) -> Any:
        data = np.ones((2, 4, 5), dtype)
        return gpa.NumpyArrayConfig(name, data=data, axes=("c", "y", "x"), offset=offset, voxel_size=(2, 3), **options)

    a, b = source("a", (0, 0), "u1"), source("b", (4, -3), "u1")
    array = gpa.SumArrayConfig("s", [a, b]).array()
    assert (tuple(array.roi.begin), tuple(array.roi.end), array.shape) == ((4, 0), (8, 12), (2, 2, 4))
    assert (array.dtype, array.axes, array.interpolatable) == (np.uint16, ("c", "y", "x"), True)
    ids = source("ids", (0, 0), "u1", interpolatable=False)
    assert not gpa.SumArrayConfig("s", [a, ids]).array().interpolatable


def test_channels_of_other_names() -> None:
    """Requested channels are selected from every source by position, whatever their names."""
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[1, 2]], "u1"))
    masks = gpa.BinarizeArrayConfig("masks", ids, [("a", [1]), ("b", [2])])
    plain = gpa.NumpyArrayConfig("plain", data=np.array([[[10, 20]], [[30, 40]]], "u1"), axes=("c", "y", "x"))
    assert gpa.SumArrayConfig("s", [plain, masks]).array()[1].tolist() == [[30, 41]]
    assert gpa.SumArrayConfig("s", [masks, plain]).array()[:1].tolist() == [[[11, 20]]]


def test_node(check_node: Any) -> None:
    rng = np.random.default_rng(0)
    data = {A: rng.integers(0, 256, (16, 12)).astype("u1"), B: rng.integers(-100, 100, (16, 12)).astype("i2")}
    check_node(data, lambda: gpa.Sum([A, B], OUT), OUT, lambda a, b: a.astype("i4") + b)


def test_node_with_channels_and_one_source_twice(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (2, 16, 12)).astype("u1")
    check_node({A: data}, lambda: gpa.Sum([A, A, A], OUT, dtype="uint32"), OUT, lambda a: 3 * a.astype("u4"))


def test_node_whose_source_is_its_target(ask: Any) -> None:
    a = gpa.NumpySource(A, np.array([[1, 2]], np.uint8), axes=("y", "x"))
    b = gpa.NumpySource(B, np.array([[10, 20]], np.uint8), axes=("y", "x"))
    pipeline = (a, b) + gp.MergeProvider() + gpa.Sum([A, B], B)
    batch = ask(pipeline, {A: ((0, 0), (1, 2)), B: ((0, 0), (1, 2))})
    assert (batch[A].data.tolist(), batch[B].data.tolist()) == ([[1, 2]], [[11, 22]])


def test_node_of_nonspatial_arrays(ask: Any, nonspatial: Any) -> None:
    pipeline = (
        (nonspatial(A, np.array([1.5])), nonspatial(B, np.array([2], "u1"))) + gp.MergeProvider() + gpa.Sum([A, B], OUT)
    )
    result = ask(pipeline, {OUT: None})[OUT]
    assert (result.data.tolist(), result.data.dtype) == ([3.5], np.float64)


def test_node_of_sources_that_do_not_fit(ask: Any) -> None:
    a = gpa.NumpySource(A, np.zeros((2, 3), "u1"), axes=("y", "x"))
    b = gpa.NumpySource(B, np.zeros((2, 2, 3), "u1"), axes=("c", "y", "x"))
    with pytest.raises(Exception, match="non-spatial axes of the sources differ"):
        ask((a, b) + gp.MergeProvider() + gpa.Sum([A, B], OUT), {OUT: ((0, 0), (2, 3))})


def test_no_key_at_all() -> None:
    with pytest.raises(gpa.ConfigError, match="is empty"):
        gpa.Sum([], OUT)


class TestLaws(ArrayTypeLaws):
    type = gpa.SumArrayConfig

    def configs(self, folder: Any) -> Any:
        rng = np.random.default_rng(0)

        def source(name: str, dtype: str, offset: Any, high: int) -> Any:
            data = rng.integers(0, high, (4, 5), dtype="u8").astype(dtype)
            return gpa.NumpyArrayConfig(name, data=data, offset=offset, voxel_size=(2, 3))

        a, b, c = source("a", "u1", (1, 2), 256), source("b", "u8", (3, 5), 2**62), source("c", "i8", (-1, 2), 2**61)
        f = gpa.NumpyArrayConfig("f", data=rng.normal(size=(4, 5)), offset=(1, -1), voxel_size=(2, 3))
        h = gpa.NumpyArrayConfig("h", data=np.array([[[np.nan, np.inf]], [[-0.0, 1]]], "f2"), axes=("c", "y", "x"))
        g = gpa.NumpyArrayConfig("g", data=np.array([[[1, -np.inf]], [[-0.0, 2]]], "f4"), axes=("c", "y", "x"))
        return [
            gpa.SumArrayConfig("x", [a]),
            gpa.SumArrayConfig("y", [a, b, c, a]),
            gpa.SumArrayConfig("z", [f, a, b]),
            gpa.SumArrayConfig("w", [h, g], dtype="float16"),
        ]

    def refused(self) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        bad: list[Any] = [None, [], raw, "raw", {"a": raw}, [None], ["raw"], [raw, 1]]
        return [
            *(lambda value=value: gpa.SumArrayConfig("s", value) for value in bad),
            lambda: gpa.SumArrayConfig("s", [raw], dtype="complex128"),
            lambda: gpa.SumArrayConfig("s", [raw], dtype="nonsense"),
        ]

    def misfits(self, folder: Any) -> Any:
        def source(name: str, shape: Any, axes: Any = None, dtype: str = "u1", **options: Any) -> Any:
            return gpa.NumpyArrayConfig(name, data=np.zeros(shape, dtype), axes=axes, **options)

        base = source("base", (4, 5))
        others = [
            source("other", (4, 5), voxel_size=(1, 2)),
            source("other", (4, 5), offset=(4, 0)),
            source("other", (4, 5, 6)),
            source("other", (2, 4, 5), axes=("c", "y", "x")),
        ]
        c2, c3 = source("c2", (2, 4, 5), ("c", "y", "x")), source("c3", (3, 4, 5), ("c", "y", "x"))
        t2 = source("t2", (2, 4, 5), ("t", "y", "x"))
        coarse = source("coarse", (4, 5), voxel_size=(2, 2))
        shifted = source("shifted", (4, 5), voxel_size=(2, 2), offset=(1, 0))
        floats = source("floats", (4, 5), dtype="f4")
        return [
            *(gpa.SumArrayConfig("s", [base, other]) for other in others),
            gpa.SumArrayConfig("s", [c2, c3]),
            gpa.SumArrayConfig("s", [c2, t2]),
            gpa.SumArrayConfig("s", [coarse, shifted]),
            gpa.SumArrayConfig("s", [base, floats], dtype="int64"),
        ]
