"""Arrays of one constant: dtype rule, config, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, recorded
from gp_arrays.transforms.constant import smallest_dtype

RAW, ONE = gp.ArrayKey("CO_RAW"), gp.ArrayKey("CO_ONE")


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0, 0, "uint8"),
        (0, 255, "uint8"),
        (0, 256, "uint16"),
        (0, 2**32 - 1, "uint32"),
        (0, 2**64 - 1, "uint64"),
        (-1, 127, "int8"),
        (-1, 128, "int16"),
        (-129, 0, "int16"),
        (-(2**63), 2**63 - 1, "int64"),
        (0, 2**64, None),
        (-1, 2**63, None),
        (-(2**63) - 1, 0, None),
    ],
)
def test_smallest_dtype(low: int, high: int, want: str | None) -> None:
    assert smallest_dtype(low, high) == (None if want is None else np.dtype(want))


@pytest.mark.parametrize(
    ("value", "dtype", "want", "of"),
    [
        (1, None, 1, "uint8"),
        (300, None, 300, "uint16"),
        (-1, None, -1, "int8"),
        (2**64 - 1, None, 2**64 - 1, "uint64"),
        (0.5, None, 0.5, "float32"),
        (1, "float64", 1.0, "float64"),
        (3.0, "int16", 3, "int16"),
        (1, "bool", True, "bool"),
        (65504, "float16", 65504.0, "float16"),
        (np.uint8(7), None, 7, "uint8"),
        (2.5, ">f8", 2.5, "float64"),
    ],
)
def test_voxels(value: Any, dtype: Any, want: Any, of: str) -> None:
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((2, 3, 1), "f4"), axes=("c", "y", "x"), offset=(4, 5))
    array = gpa.ConstantArrayConfig("c", source, value, dtype).array()
    assert array.dtype == np.dtype(of)
    assert array[:].dtype == np.dtype(of)
    assert array[:].tolist() == [[[want]] * 3] * 2
    assert (array.axes, tuple(array.roi.begin), array.interpolatable) == (("c", "y", "x"), (4, 5), False)


def test_no_voxel_of_the_source_is_read() -> None:
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((2, 3)))
    config = gpa.ConstantArrayConfig("c", gpa.ThresholdArrayConfig("t", source, 1), 5)
    with recorded(config) as record:
        assert config.array()[0].tolist() == [5, 5, 5]
    assert record.reads == []
    assert [each.name for each, _ in record.computed] == ["c"]


def test_node(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (16, 12)).astype(np.uint8)
    check_node({RAW: data}, lambda: gpa.Constant(RAW, ONE, -5), ONE, lambda a: np.full(a.shape, -5, "i1"))


def test_like() -> None:
    like = gpa.Array.from_numpy(np.zeros((2, 3)), gpa.Roi((10, 20), (4, 9)), name="like")
    constant = gpa.constant_like(like, 7)
    assert (constant[:].tolist(), constant.roi, constant.dtype) == (
        [[7, 7, 7]] * 2,
        gpa.Roi((10, 20), (4, 9)),
        np.uint8,
    )


class TestLaws(ArrayTypeLaws):
    type = gpa.ConstantArrayConfig

    def configs(self, folder: Any) -> Any:
        source = gpa.NumpyArrayConfig(
            "raw", data=np.zeros((2, 3, 4)), axes=("c", "y", "x"), offset=(4, 5), voxel_size=(3, 2)
        )
        return [
            gpa.ConstantArrayConfig("a", source),
            gpa.ConstantArrayConfig("b", source, 2**64 - 1),
            gpa.ConstantArrayConfig("c", source, -2.5, "float16"),
        ]

    def refused(self) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        bad: list[Any] = [
            ("1",),
            (None,),
            (True,),
            (np.nan,),
            (np.inf,),
            (2**64,),
            (-(2**63) - 1,),
            (256, "uint8"),
            (-1, "uint8"),
            (0.5, "uint8"),
            (2, "bool"),
            (70000, "float16"),
            (1e39,),
            (1, "complex64"),
            (1, np.longdouble),
            (1, "U3"),
            (1, "nonsense"),
            (10**400,),
        ]
        return [lambda pair=pair: gpa.ConstantArrayConfig("c", raw, *pair) for pair in bad]
