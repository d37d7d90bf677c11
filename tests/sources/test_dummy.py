"""An array of zeros: voxels, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws

LATER = gp.ArrayKey("D_LATER")


def test_voxels_and_meta() -> None:
    array = gpa.DummyArrayConfig("later").array()
    assert (array.shape, array.dtype, array.axes) == ((100, 50, 50), np.float64, ("z", "y", "x"))
    assert (array.roi, tuple(array.voxel_size)) == (gpa.Roi((0, 0, 0), (100, 100, 100)), (1, 2, 2))
    part = array[gpa.Roi((99, 98, 0), (1, 2, 4))]
    assert part.tolist() == [[[0.0, 0.0]]]


def test_it_never_verifies() -> None:
    good, reason = gpa.DummyArrayConfig("later").verify()
    assert not good
    assert reason == "later: a DummyArrayConfig stands for data that do not exist"
    above = gpa.ThresholdArrayConfig("above", gpa.DummyArrayConfig("later"), 1)
    assert above.verify() == (False, "above > later: a DummyArrayConfig stands for data that do not exist")


def test_node(ask: Any) -> None:
    pipeline = gpa.DummySource(LATER) + gp.RandomLocation() + gp.SimpleAugment(transpose_only=[1, 2])
    result = ask(pipeline, {LATER: ((0, 0, 0), (10, 10, 10))})[LATER]
    assert (result.data.shape, result.data.dtype, result.data.any()) == ((10, 5, 5), np.float64, np.False_)


class TestLaws(ArrayTypeLaws):
    type = gpa.DummyArrayConfig

    def configs(self, folder: Any) -> Any:
        return [gpa.DummyArrayConfig("later")]
