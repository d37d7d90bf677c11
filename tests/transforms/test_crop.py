"""Cropped arrays: config, meta, node, laws."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws

RAW, PART = gp.ArrayKey("CR_RAW"), gp.ArrayKey("CR_PART")


def raw(**options: Any) -> gpa.NumpyArrayConfig:
    """Voxels 0 to 23 as 4 x 6, of (2, 10), at (3, -20)."""
    options = {"offset": (3, -20), "voxel_size": (2, 10), **options}
    return gpa.NumpyArrayConfig("raw", data=np.arange(24, dtype=np.uint8).reshape(4, 6), **options)


@pytest.mark.parametrize(
    ("roi", "begin", "want"),
    [
        ([[5, 0], [2, 20]], (5, 0), [[8, 9]]),
        (gpa.Roi((5, 0), (4, 10)), (5, 0), [[8], [14]]),
        # the part outside of the source is cut off
        ([[-7, 20], [12, 1000]], (3, 20), [[4, 5]]),
        ([["0.005 um", "30nm"], ["2 nm", 10]], (5, 30), [[11]]),
    ],
)
def test_voxels(roi: Any, begin: tuple[int, ...], want: list[list[int]]) -> None:
    array = gpa.CropArrayConfig("part", raw(), roi).array()
    assert array[:].tolist() == want
    assert tuple(array.roi.begin) == begin


def test_meta() -> None:
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((2, 3, 4), "f4"), axes=("c", "y", "x"))
    array = gpa.CropArrayConfig("part", source, [[1, 1], [1, 2]]).array()
    assert (array.dtype, array.axes, array.shape, array.interpolatable) == (
        np.float32,
        ("c", "y", "x"),
        (2, 1, 2),
        True,
    )


def test_crops_of_one_source_share_no_memory() -> None:
    source = raw()
    first = gpa.CropArrayConfig("part", source, [[3, -20], [8, 60]])
    total = gpa.SumArrayConfig("twice", [first, source])
    assert total.array()[:].tolist() == (2 * np.arange(24).reshape(4, 6)).tolist()
    voxels = first.array()[:]
    voxels[...] = 0
    assert first.array()[:].tolist() == np.arange(24).reshape(4, 6).tolist()


def test_node(ask: Any) -> None:
    data = np.arange(24, dtype=np.uint8).reshape(4, 6)
    source = gpa.NumpySource(RAW, data, voxel_size=(2, 10))
    node = gpa.Crop(RAW, PART, gp.Roi((2, 20), (4, 30)))
    batch = ask(source + node, {PART: ((2, 20), (4, 30)), RAW: ((0, 0), (8, 60))})
    assert batch[PART].data.tolist() == [[8, 9, 10], [14, 15, 16]]
    assert batch[RAW].data.tolist() == data.tolist()
    assert not np.may_share_memory(batch[PART].data, batch[RAW].data)


@pytest.mark.parametrize("pad", [None, (4, 40)])
def test_node_of_a_padded_array(ask: Any, pad: Any) -> None:
    """The source is larger than the crop; after the node only the roi is left, also after sampling."""
    source = gpa.NumpySource(RAW, np.arange(24, dtype=np.uint8).reshape(4, 6), voxel_size=(2, 10))
    pipeline = source + gp.Pad(RAW, pad) + gpa.Crop(RAW, PART, [[-2, 20], [4, 30]]) + gp.Pad(PART, None, value=9)
    result = ask(pipeline, {PART: ((-2, 10), (6, 50))})[PART]
    assert result.data.tolist() == [[9, 0, 0, 0, 9], [9, 2, 3, 4, 9], [9, 9, 9, 9, 9]]


@pytest.mark.parametrize("order", ["sampled", "augmented"])
def test_node_after_sampling(ask: Any, order: str) -> None:
    """After RandomLocation the source has no fixed position: the crop limits the requested roi."""
    source = gpa.NumpySource(RAW, np.arange(24, dtype=np.uint8).reshape(4, 6), voxel_size=(2, 10))
    pipeline = source + gp.RandomLocation()
    if order == "augmented":
        pipeline += gp.SimpleAugment(transpose_only=[])
    pipeline += gpa.Crop(RAW, PART, [[0, 0], [4, 30]])
    batch = ask(pipeline, {PART: ((0, 0), (4, 30)), RAW: ((0, 0), (4, 30))})
    assert batch[PART].data.tolist() == batch[RAW].data.tolist()


def test_node_whose_source_is_its_target(ask: Any) -> None:
    source = gpa.NumpySource(RAW, np.arange(24, dtype=np.uint8).reshape(4, 6), voxel_size=(2, 10))
    pipeline = source + gpa.Crop(RAW, RAW, [[2, 20], [4, 30]]) + gp.Pad(RAW, None)
    assert ask(pipeline, {RAW: ((0, 20), (4, 20))})[RAW].data.tolist() == [[0, 0], [8, 9]]


class TestLaws(ArrayTypeLaws):
    type = gpa.CropArrayConfig

    def configs(self, folder: Any) -> Any:
        channels = gpa.NumpyArrayConfig(
            "channels", data=np.random.default_rng(0).normal(size=(2, 4, 5, 6)), offset=(1, 2, 3), voxel_size=(4, 3, 2)
        )
        inner = gpa.CropArrayConfig("inner", channels, [[5, 2, 3], [8, 12, 8]])
        return [
            gpa.CropArrayConfig("a", raw(), [[5, -100], [4, 130]]),
            gpa.CropArrayConfig("b", inner, [[9, 5, 5], [100, 6, 4]]),
        ]

    def refused(self) -> Any:
        bad: list[Any] = [
            None,
            [],
            5,
            "roi",
            [[0, 0]],
            [[0, 0], [1]],
            [[0, 0], [1, 0]],
            [[0, 0], [1, -1]],
            [[0], "1"],
            [[], []],
            [[0, np.nan], [1, 1]],
            [[0, "1 apple"], [1, 1]],
            [[True, 0], [1, 1]],
            gpa.Roi((None, None), (None, None)),
        ]
        return [lambda value=value: gpa.CropArrayConfig("part", raw(), value) for value in bad]

    def misfits(self, folder: Any) -> Any:
        bad: list[Any] = [
            [[0, 0], [2, 10]],  # off the grid, whose phase is 1
            [[5, 0], [3, 10]],
            [[5, 0, 0], [2, 10, 10]],
            [[1000, 0], [2, 10]],  # wholly outside
            [[11, -20], [2, 10]],  # begins where the source ends
            [["5 nm", "0.5 nm"], [2, 10]],
        ]
        return [gpa.CropArrayConfig("part", raw(), roi) for roi in bad]
