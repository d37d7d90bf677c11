"""Eroded labels, compared with gunpowder's GrowBoundary."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest
from target_helpers import IDS, OUT, blobs, check_target_node

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, assert_same
from gp_arrays.transforms.erode import erode

MASK = gp.ArrayKey("MASK")


def by_gunpowder(ask: Any, ids: np.ndarray[Any, Any], mask: Any = None, **options: Any) -> np.ndarray[Any, Any]:
    pipeline: Any = gpa.NumpySource(IDS, ids.copy())
    if mask is not None:
        pipeline = (pipeline, gpa.NumpySource(MASK, mask)) + gp.MergeProvider()
    pipeline += gp.GrowBoundary(IDS, None if mask is None else MASK, **options)
    roi = ((0,) * ids.ndim, ids.shape)
    return np.asarray(ask(pipeline, {IDS: roi, **({} if mask is None else {MASK: roi})})[IDS].data)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("only_xy", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_it_equals_the_node_of_gunpowder(ask: Any, steps: int, only_xy: bool, masked: bool) -> None:
    ids = blobs((12, 25, 24), steps)
    mask = (blobs(ids.shape, 9) != 1).astype(np.uint8) if masked else None
    config = gpa.NumpyArrayConfig("ids", data=ids)
    known = gpa.NumpyArrayConfig("known", data=mask) if masked else None
    got = gpa.ErodeArrayConfig("eroded", config, steps, only_xy, known).array()[:]
    assert_same(got, by_gunpowder(ask, ids, mask, steps=steps, only_xy=only_xy), f"{steps} {only_xy} {masked}")
    if steps == 1:
        assert 0.1 < (got != 0).mean() < (ids != 0).mean()


def test_flat(ask: Any) -> None:
    ids = blobs((30, 31), 3)
    config = gpa.ErodeArrayConfig("eroded", gpa.NumpyArrayConfig("ids", data=ids), 2)
    assert_same(config.array()[:], by_gunpowder(ask, ids, steps=2), "2D")


def test_ids_do_not_pass_through_floats() -> None:
    ids = np.array([2**53, 2**53 + 1, 2**53 + 1, 2**53 + 1, 2**64 - 1, 2**64 - 1], np.uint64)
    assert erode(ids, 1, [0]).tolist() == [0, 0, 2**53 + 1, 0, 0, 2**64 - 1]


def test_the_edge_of_the_roi_is_not_a_boundary_and_neighbouring_blocks_are_read() -> None:
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[3] * 6 + [4] * 6], np.uint8))
    array = gpa.ErodeArrayConfig("eroded", ids, 2).array()
    assert array[0, 4:8].tolist() == [0, 0, 0, 0]
    assert array[0].tolist() == [3, 3, 3, 3, 0, 0, 0, 0, 4, 4, 4, 4]
    assert not gpa.ErodeArrayConfig("eroded", ids, 10**12).array()[:].any()


def test_node() -> None:
    check_target_node(lambda: gpa.Erode(IDS, OUT, steps=2), lambda ids: gpa.ErodeArrayConfig("e", ids, 2), 2)


class TestLaws(ArrayTypeLaws):
    type = gpa.ErodeArrayConfig

    def configs(self, folder: Any) -> Any:
        ids = gpa.NumpyArrayConfig("ids", data=blobs((6, 7, 8)), offset=(3, 4, 5), voxel_size=(2, 3, 4))
        flat = gpa.NumpyArrayConfig("flat", data=blobs((9, 10), 2, dtype="int16") - 1)
        mask = gpa.NumpyArrayConfig("mask", data=blobs((12, 9), 3).astype("f4") - 1, offset=(-1, 2))
        return [
            gpa.ErodeArrayConfig("one", ids),
            gpa.ErodeArrayConfig("two", ids, 2, only_xy=True),
            gpa.ErodeArrayConfig("masked", flat, 3, mask_array_config=mask),
        ]

    def refused(self) -> Any:
        ids = gpa.DummyArrayConfig("ids")
        bad: list[Any] = [0, -1, 0.5, "1", None, True]
        return [
            *(lambda value=value: gpa.ErodeArrayConfig("e", ids, value) for value in bad),
            lambda: gpa.ErodeArrayConfig("e", ids, only_xy=1),
        ]

    def misfits(self, folder: Any) -> Any:
        floats = gpa.NumpyArrayConfig("floats", data=np.zeros((3, 3, 3)))
        flat = gpa.NumpyArrayConfig("flat", data=np.zeros((3, 3), np.uint8))
        apart = gpa.NumpyArrayConfig("apart", data=np.zeros((3, 3), np.uint8), offset=(9, 9))
        return [
            gpa.ErodeArrayConfig("a", floats),
            gpa.ErodeArrayConfig("b", flat, only_xy=True),
            gpa.ErodeArrayConfig("c", flat, mask_array_config=apart),
        ]
