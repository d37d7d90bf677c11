"""What people see, pixel by pixel, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from view_helpers import needs_browser, pixels

import gp_arrays as gpa
from gp_arrays.view.shown import View

pytestmark = needs_browser
SHAPE = (40, 200, 300)
BACKGROUND = (128, 128, 128)


def noise(*shape: int, dtype: Any = np.uint8, high: int = 256) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def test_image_of_a_crop(show: Callable[..., View]) -> None:
    data = noise(*SHAPE)
    raw = gpa.NumpyArrayConfig("raw", data=data, voxel_size=(8, 8, 8))
    crop = gpa.CropArrayConfig("crop", raw, roi=[[80, 0, 0], [160, 1600, 2400]])
    seen = pixels(show({"crop": crop}), (120, 80), [200, 150, 20.5])
    for channel in range(3):
        np.testing.assert_array_equal(seen[..., channel], data[20, 110:190, 140:260])


def test_intensities_span_the_grey_levels(show: Callable[..., View]) -> None:
    data = noise(*SHAPE)
    raw = gpa.NumpyArrayConfig("raw", data=data, voxel_size=(8, 8, 8))
    norm = gpa.IntensitiesArrayConfig("norm", raw, min=255, max=0)
    seen = pixels(show({"norm": norm}), (120, 80), [200, 150, 20.5]).astype(int)
    assert np.abs(seen[..., 0] - (255 - data[20, 110:190, 140:260].astype(int))).max() <= 1


def test_labels_with_ids_up_to_the_last(show: Callable[..., View]) -> None:
    ids = np.array([0, 1, 2**40 + 7, 2**64 - 1], np.uint64)
    which = noise(*SHAPE, high=4)
    labels = gpa.NumpyArrayConfig("labels", data=ids[which], voxel_size=(40, 8, 8))
    view = show({"labels": labels})
    colours = [BACKGROUND, (255, 0, 0), (0, 128, 64), (10, 20, 250)]
    with view.viewer.txn() as state:
        layer = state.layers["labels"].layer
        layer.segment_colors = {
            int(i): "#{:02x}{:02x}{:02x}".format(*c) for i, c in zip(ids[1:], colours[1:], strict=True)
        }
        layer.selected_alpha = layer.not_selected_alpha = 1
        layer.saturation = 1
    seen = pixels(view, (120, 80), [200, 150, 20.5])
    np.testing.assert_array_equal(seen, np.array(colours, np.uint8)[which[20, 110:190, 140:260]])


def test_channels_are_mixed(show: Callable[..., View]) -> None:
    data = noise(3, *SHAPE)
    config = gpa.NumpyArrayConfig("affinities", data=data, voxel_size=(8, 8, 8), axes=("c", "z", "y", "x"))
    seen = pixels(show({"affinities": config}), (120, 80), [200, 150, 20.5])
    np.testing.assert_array_equal(np.moveaxis(seen, -1, 0), data[:, 20, 110:190, 140:260])


def test_masks_are_tinted_channel_by_channel(show: Callable[..., View]) -> None:
    ids = noise(*SHAPE, dtype=np.uint32, high=4)
    labels = gpa.NumpyArrayConfig("labels", data=ids, voxel_size=(8, 8, 8))
    masks = gpa.BinarizeArrayConfig("masks", labels, groupings=[("pre-synapse", [1]), ("two", [2]), ("three", [3])])
    view = show({"masks": masks})
    with view.viewer.txn() as state:
        state.layers["masks"].layer.opacity = 1
    seen = pixels(view, (120, 80), [200, 150, 20.5])
    colours = np.array([BACKGROUND, (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    np.testing.assert_array_equal(seen, colours[ids[20, 110:190, 140:260]])


def test_fractional_voxel_size_and_an_offset_of_a_quarter_voxel(show: Callable[..., View]) -> None:
    data = noise(*SHAPE)
    ours = gpa.NumpyArrayConfig("ours", data=data, voxel_size=("20 nm", "5.24 nm", "5.24 nm"),
                                offset=("0 nm", "-2.62 nm", "1.31 nm"))  # fmt: skip
    view = show({"ours": ours}, unit="pm")
    # four pixels a voxel, the screen's origin at the world's
    seen = pixels(view, (120, 80), [50, 60, 20.5], scale=0.25)
    rows = (np.arange(80) + 2) // 4 + 50
    columns = (np.arange(120) - 1) // 4 + 35
    np.testing.assert_array_equal(seen[..., 0], data[20][np.ix_(rows, columns)])


def test_axes_are_x_y_z_on_screen_whatever_their_order_in_the_store(show: Callable[..., View]) -> None:
    data = noise(*SHAPE)
    turned = gpa.NumpyArrayConfig(
        "turned", data=np.ascontiguousarray(data.T), voxel_size=(8, 8, 8), axes=("x", "y", "z")
    )
    seen = pixels(show({"turned": turned}), (120, 80), [200, 150, 20.5])
    np.testing.assert_array_equal(seen[..., 0], data[20, 110:190, 140:260])


def test_a_plane_has_two_axes(show: Callable[..., View]) -> None:
    data = noise(200, 300)
    plane = gpa.NumpyArrayConfig("plane", data=data, voxel_size=(8, 8))
    seen = pixels(show({"plane": plane}), (120, 80), [200, 150])
    np.testing.assert_array_equal(seen[..., 0], data[110:190, 140:260])


def test_zoomed_out_a_pixel_shows_a_voxel_of_those_that_it_covers(show: Callable[..., View]) -> None:
    data = noise(64, 512, 512)
    raw = gpa.NumpyArrayConfig("raw", data=data, voxel_size=(8, 8, 8))
    seen = pixels(show({"raw": raw}), (60, 40), [256, 256, 34.5], scale=4)
    np.testing.assert_array_equal(seen[..., 0], data[33, 1::4, 1::4][64 - 20 : 64 + 20, 64 - 30 : 64 + 30])
