"""Thresholds: kernel, config, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.transforms.threshold import threshold

RAW, MASK = gp.ArrayKey("T_RAW"), gp.ArrayKey("T_MASK")


@pytest.mark.parametrize(
    ("values", "dtype", "limit", "want"),
    [
        ([0, 127, 128, 255], "uint8", 127, [0, 0, 1, 1]),
        ([0, 127, 128, 255], "uint8", 127.5, [0, 0, 1, 1]),
        ([-3, -2, -1], "int8", -2.5, [0, 1, 1]),
        # through float64 the first three would be one number
        ([2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1], "uint64", 2**63, [0, 0, 1, 1]),
        ([2**53, 2**53 + 1], "int64", 2**53, [0, 1]),
        ([0, 255], "uint8", -1, [1, 1]),
        ([0, 255], "uint8", 256, [0, 0]),
        ([0, 255], "uint8", 2**70, [0, 0]),
        ([0, 1], "bool", 0, [0, 1]),
        ([0, 1], "bool", 2**63, [0, 0]),
        ([0, 1], "bool", -1, [1, 1]),
        ([1.0, np.nan, np.inf, -np.inf], "float32", 0.5, [1, 0, 1, 0]),
        # 0.1 means float32's 0.1 where the source is float32
        ([0.1, 0.2], "float32", 0.1, [0, 1]),
        # beyond what float16 holds, infinity still is above
        ([65504.0, np.inf, -np.inf, np.nan], "float16", 1e6, [0, 1, 0, 0]),
        ([-65504.0, np.inf, -np.inf, np.nan], "float16", -1e6, [1, 1, 0, 0]),
        ([1.0, np.inf], "float32", 1e300, [0, 1]),
        ([1.0, np.inf], "float32", 10**300, [0, 1]),
    ],
)
def test_kernel(values: list[Any], dtype: str, limit: float, want: list[int]) -> None:
    data = np.array(values, dtype)
    above, below = threshold(data, limit), threshold(data, limit, above=False)
    assert (above.dtype, below.dtype) == (np.uint8, np.uint8)
    assert above.tolist() == want
    assert below.tolist() == [0 if value != value else 1 - one for value, one in zip(values, want, strict=True)]


def test_meta() -> None:
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((2, 3, 4), "f4"), axes=("c", "y", "x"), offset=(5, 6))
    array = gpa.ThresholdArrayConfig("t", source, 0.5).array()
    assert (array.dtype, array.axes, array.shape, tuple(array.roi.begin)) == (
        np.uint8,
        ("c", "y", "x"),
        (2, 3, 4),
        (5, 6),
    )
    assert not array.interpolatable
    assert source.array().interpolatable


def test_node(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (16, 12)).astype(np.uint8)
    check_node(
        {RAW: data}, lambda: gpa.Threshold(RAW, MASK, 100), MASK, lambda a: np.where(a >= 101, 1, 0).astype("u1")
    )


def test_node_with_channels(check_node: Any) -> None:
    data = np.random.default_rng(0).normal(size=(3, 16, 12))
    check_node(
        {RAW: data},
        lambda: gpa.Threshold(RAW, MASK, 0, above=False),
        MASK,
        lambda a: np.where(a > 0, 0, 1).astype("u1"),
    )


def test_node_whose_source_is_its_target(ask: Any) -> None:
    data = np.array([[1, 5], [7, 2]], np.uint8)
    pipeline = gpa.NumpySource(RAW, data, axes=("y", "x")) + gpa.Threshold(RAW, RAW, 3)
    assert ask(pipeline, {RAW: ((0, 0), (2, 2))})[RAW].data.tolist() == [[0, 1], [1, 0]]
    assert data.tolist() == [[1, 5], [7, 2]]


def test_node_of_a_nonspatial_array(ask: Any, nonspatial: Any) -> None:
    pipeline = nonspatial(RAW, np.array([1.5, -2.0, np.nan])) + gpa.Threshold(RAW, MASK, 0)
    result = ask(pipeline, {MASK: None})[MASK]
    assert (result.data.tolist(), result.data.dtype, result.spec.nonspatial) == ([1, 0, 0], np.uint8, True)


class TestLaws(ArrayTypeLaws):
    type = gpa.ThresholdArrayConfig

    def configs(self, folder: Any) -> Any:
        wide = np.array([[[0, 2**64 - 1], [2**63, 2**63 + 1]]], np.uint64)
        floats = np.array([[np.nan, np.inf, -np.inf], [0.0, -0.0, 65504]], "f2")
        return [
            gpa.ThresholdArrayConfig("ids", gpa.NumpyArrayConfig("wide", data=wide, offset=(1, 2, 3)), 2**63),
            gpa.ThresholdArrayConfig("half", gpa.NumpyArrayConfig("f", data=floats), 1e6, above=False),
        ]

    def refused(self) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        bad = [np.nan, np.inf, "1", True, None, 10**400, [1]]
        return [
            *(lambda value=value: gpa.ThresholdArrayConfig("t", raw, value) for value in bad),
            lambda: gpa.ThresholdArrayConfig("t", raw, 1, above=1),
        ]
