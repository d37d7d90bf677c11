"""Scaled intensities: kernel, config, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.transforms.intensities import normalize

RAW, NORM = gp.ArrayKey("I_RAW"), gp.ArrayKey("I_NORM")


@pytest.mark.parametrize(
    ("values", "dtype", "low", "high", "clip", "want"),
    [
        ([0, 64, 128, 255], "uint8", 0, 128, False, [0, 0.5, 1, 1.9921875]),
        ([0, 64, 128, 255], "uint8", 0, 128, True, [0, 0.5, 1, 1]),
        ([0, 64, 128], "uint8", 64, 128, False, [-1, 0, 1]),
        ([0, 64, 128], "uint8", 64, 128, True, [0, 0, 1]),
        ([0, 64, 128], "uint8", 128, 0, False, [1, 0.5, 0]),
        ([-128, 127], "int8", -128, 128, False, [0, 0.99609375]),
        ([0, 1], "bool", 0, 2, False, [0, 0.5]),
        # in float32 the two would be one number, 2**24 steps from zero
        ([2**24, 2**24 + 1], "uint32", 2**24, 2**24 + 2, False, [0, 0.5]),
        ([2**64 - 1, 0], "uint64", 0, 2**64, False, [1, 0]),
        ([np.nan, np.inf, -np.inf, 1], "float32", 0, 2, False, [np.nan, np.inf, -np.inf, 0.5]),
        ([np.nan, np.inf, -np.inf, 1], "float16", 0, 2, True, [np.nan, 1, 0, 0.5]),
        ([65504, -65504], "float16", 0, 65504, False, [1, -1]),
        # numbers that float32 would round to infinity or to nothing
        ([0, 1], "uint8", 0, 2.0**-140, False, [0, np.inf]),
        ([0, 255], "uint8", 0, 2.0**130, False, [0, 255 * 2.0**-130]),
        ([0, 255], "uint8", -(2.0**130), 0, False, [1, 1]),
        ([1e300], "float64", 0, 1, False, [np.inf]),
    ],
)
def test_kernel(values: list[Any], dtype: str, low: float, high: float, clip: bool, want: list[float]) -> None:
    data = np.array(values, dtype)
    result = normalize(data, low, high, clip)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.array(want, np.float32))
    np.testing.assert_array_equal(data, np.array(values, dtype))


def test_meta() -> None:
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((2, 3, 4), "u1"), axes=("c", "y", "x"), offset=(5, 6))
    array = gpa.IntensitiesArrayConfig("n", source, 0, 255).array()
    assert (array.dtype, array.axes, array.shape, tuple(array.roi.begin)) == (
        np.float32,
        ("c", "y", "x"),
        (2, 3, 4),
        (5, 6),
    )
    assert array.interpolatable
    ids = gpa.NumpyArrayConfig("ids", data=np.zeros((3, 4), "u8"))
    assert not gpa.IntensitiesArrayConfig("n", ids, 0, 255).array().interpolatable


def test_node(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (16, 12)).astype(np.uint8)
    check_node(
        {RAW: data},
        lambda: gpa.Intensities(RAW, NORM, 0, 64, clip=True),
        NORM,
        lambda a: np.minimum(a / np.float32(64), 1).astype("f4"),
    )


def test_node_whose_source_is_its_target(ask: Any) -> None:
    pipeline = gpa.NumpySource(RAW, np.array([[0, 5]], np.uint8), axes=("y", "x")) + gpa.Intensities(RAW, RAW, 0, 10)
    result = ask(pipeline, {RAW: ((0, 0), (1, 2))})[RAW]
    assert (result.data.tolist(), result.data.dtype, result.spec.dtype) == ([[0, 0.5]], np.float32, np.float32)


def test_node_of_a_nonspatial_array(ask: Any, nonspatial: Any) -> None:
    pipeline = nonspatial(RAW, np.array([1, 2], np.uint8)) + gpa.Intensities(RAW, NORM, 0, 4)
    assert ask(pipeline, {NORM: None})[NORM].data.tolist() == [0.25, 0.5]


class TestLaws(ArrayTypeLaws):
    type = gpa.IntensitiesArrayConfig

    def configs(self, folder: Any) -> Any:
        rng = np.random.default_rng(1)
        grey = gpa.NumpyArrayConfig("grey", data=rng.integers(0, 256, (5, 6, 7)).astype("u1"), voxel_size=(4, 2, 2))
        wide = gpa.NumpyArrayConfig("wide", data=rng.integers(0, 2**63, (2, 4, 5)), axes=("c", "y", "x"))
        half = gpa.NumpyArrayConfig("half", data=np.array([[np.nan, np.inf, -np.inf, 0.1], [1, 2, 3, -4]], "f2"))
        return [
            gpa.IntensitiesArrayConfig("a", grey, 3, 250.5),
            gpa.IntensitiesArrayConfig("b", wide, -1, 2**62, clip=True),
            gpa.IntensitiesArrayConfig("c", half, 0.1, -1, clip=True),
        ]

    def refused(self) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        bad = [(1, 1), (0, 0.0), (np.nan, 1), (0, np.inf), ("0", 1), (True, 2), (2**53, 2**53 + 1), (-1.7e308, 1.7e308)]
        return [
            *(lambda pair=pair: gpa.IntensitiesArrayConfig("n", raw, *pair) for pair in bad),
            lambda: gpa.IntensitiesArrayConfig("n", raw, 0, 1, clip="yes"),
        ]
