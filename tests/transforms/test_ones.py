"""Arrays of ones: meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, recorded

RAW, ONES = gp.ArrayKey("O_RAW"), gp.ArrayKey("O_ONES")


def test_voxels_and_meta() -> None:
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((2, 1, 3), "f4"), axes=("c", "y", "x"), offset=(4, 5))
    config = gpa.OnesArrayConfig("ones", source)
    array = config.array()
    with recorded(config) as record:
        assert array[:].tolist() == [[[True, True, True]]] * 2
    assert record.reads == []
    assert (array.dtype, array.axes, tuple(array.roi.begin)) == (np.dtype(bool), ("c", "y", "x"), (4, 5))
    assert not array.interpolatable


def test_node(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (16, 12)).astype(np.uint8)
    check_node({RAW: data}, lambda: gpa.Ones(RAW, ONES), ONES, lambda a: np.ones(a.shape, bool))


def test_where_a_source_is(ask: Any) -> None:
    """Ones, padded with zeros: a mask of voxels that come from the source, also after augmentation."""
    source = gpa.NumpySource(RAW, np.full((2, 3), 9, np.uint8), axes=("y", "x"))
    pipeline = source + gpa.Ones(RAW, ONES) + gp.Pad(ONES, None)
    result = ask(pipeline, {ONES: ((-1, -1), (4, 5))})[ONES].data
    assert result.astype(int).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]


def test_like() -> None:
    like = gpa.Array.from_numpy(np.zeros((2, 3)), gpa.Roi((10, 20), (4, 9)), name="like")
    ones = gpa.ones_like(like)
    assert (ones[:].tolist(), ones.roi, ones.dtype) == ([[True] * 3] * 2, gpa.Roi((10, 20), (4, 9)), np.dtype(bool))


class TestLaws(ArrayTypeLaws):
    type = gpa.OnesArrayConfig

    def configs(self, folder: Any) -> Any:
        source = gpa.NumpyArrayConfig(
            "raw", data=np.zeros((2, 3, 4)), axes=("c", "y", "x"), offset=(4, 5), voxel_size=(3, 2)
        )
        return [gpa.OnesArrayConfig("a", source), gpa.OnesArrayConfig("b", gpa.OnesArrayConfig("c", source))]
