"""The logical or of channels: kernel, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.transforms.logical_or import logical_or

MASKS, ANY = gp.ArrayKey("L_MASKS"), gp.ArrayKey("L_ANY")


@pytest.mark.parametrize(
    ("data", "dtype", "axis", "want"),
    [
        ([[0, 2, 0], [0, 0, 256]], "uint16", 0, [0, 1, 1]),
        ([[0, 2, 0], [0, 0, 256]], "uint16", 1, [1, 1]),
        ([[0, 2, 0], [0, 0, 256]], "uint16", None, [[0, 1, 0], [0, 0, 1]]),
        ([[0, -1, 2**63 - 1]], "int64", 0, [0, 1, 1]),
        ([[0.0, -0.0, 1e-300, np.nan, np.inf]], "float64", 0, [0, 0, 1, 1, 1]),
        ([[0.0, 0.0], [-0.0, np.nan]], "float16", 0, [0, 1]),
        ([[False, True], [False, False]], "bool", 0, [0, 1]),
    ],
)
def test_kernel(data: Any, dtype: str, axis: int | None, want: Any) -> None:
    source = np.array(data, dtype)
    before = source.copy()
    result = logical_or(source, axis)
    assert (result.dtype, result.tolist()) == (np.uint8, want)
    np.testing.assert_array_equal(source, before)


def test_meta() -> None:
    data = np.zeros((2, 3, 4, 5), "u1")
    data[1, 2, 3, 4] = 9
    source = gpa.NumpyArrayConfig("masks", data=data, axes=("s", "c", "y", "x"), offset=(7, 8))
    array = gpa.LogicalOrArrayConfig("any", source).array()
    assert (array.dtype, array.axes, array.shape, array.channels) == (np.uint8, ("s", "y", "x"), (2, 4, 5), None)
    assert tuple(array.roi.begin) == (7, 8)
    assert not array.interpolatable
    assert array[1, 3].tolist() == [0, 0, 0, 0, 1]
    assert array[0].sum() == 0


def test_without_channels() -> None:
    source = gpa.NumpyArrayConfig("ids", data=np.array([[0, 2**64 - 1, 2**40]], "u8"))
    assert gpa.LogicalOrArrayConfig("any", source).array()[:].tolist() == [[0, 1, 1]]


def test_node(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 2, (2, 16, 12)).astype(np.uint8) * 4
    check_node(
        {MASKS: data}, lambda: gpa.LogicalOr(MASKS, ANY), ANY, lambda a: np.where(a[0] + a[1], 1, 0).astype("u1")
    )


def test_node_of_samples(ask: Any) -> None:
    data = np.zeros((2, 3, 1, 2), "u1")
    data[0, 1, 0, 1] = data[1, 2, 0, 0] = 1
    pipeline = gpa.NumpySource(MASKS, data, axes=("s", "c", "y", "x")) + gpa.LogicalOr(MASKS, ANY)
    assert ask(pipeline, {ANY: ((0, 0), (1, 2))})[ANY].data.tolist() == [[[0, 1]], [[1, 0]]]


def test_node_without_channels(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 2, (16, 12)).astype(np.uint64)
    check_node({MASKS: data}, lambda: gpa.LogicalOr(MASKS, ANY), ANY, lambda a: (a > 0).astype("u1"))


class TestLaws(ArrayTypeLaws):
    type = gpa.LogicalOrArrayConfig

    def configs(self, folder: Any) -> Any:
        rng = np.random.default_rng(0)
        masks = gpa.NumpyArrayConfig("masks", data=rng.integers(0, 2, (3, 4, 5)).astype("u1"), axes=("c", "y", "x"))
        floats = gpa.NumpyArrayConfig(
            "floats", data=np.array([[[np.nan, 0.0, -0.0]], [[0.0, 0.0, 1e-40]]], "f4"), axes=("c", "y", "x")
        )
        samples = gpa.NumpyArrayConfig("samples", data=rng.integers(0, 2, (2, 3, 4, 5)), axes=("s", "c", "y", "x"))
        plain = gpa.NumpyArrayConfig(
            "plain", data=rng.integers(0, 2, (4, 5, 6)), offset=(1, 0, 5), voxel_size=(2, 3, 4)
        )
        return [gpa.LogicalOrArrayConfig(f"any{i}", each) for i, each in enumerate([masks, floats, samples, plain])]
