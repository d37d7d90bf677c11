"""What people see, pixel by pixel, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from view_helpers import TIMEOUT, Counted, Counter, Endless, needs_browser, pixels

import gp_arrays as gpa
from gp_arrays.viewer import screenshot
from gp_arrays.viewer.shown import View

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_channels_are_mixed(show: Callable[..., View]) -> None:
    data = noise(3, *SHAPE)
    config = gpa.NumpyArrayConfig("affinities", data=data, voxel_size=(8, 8, 8), axes=("c", "z", "y", "x"))
    seen = pixels(show({"affinities": config}), (120, 80), [200, 150, 20.5])
    np.testing.assert_array_equal(np.moveaxis(seen, -1, 0), data[:, 20, 110:190, 140:260])


@pytest.mark.slow
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


@pytest.mark.slow
def test_fractional_voxel_size_and_an_offset_of_a_quarter_voxel(show: Callable[..., View]) -> None:
    data = noise(*SHAPE)
    ours = gpa.NumpyArrayConfig(
        "ours", data=data, voxel_size=("20 nm", "5.24 nm", "5.24 nm"), offset=("0 nm", "-2.62 nm", "1.31 nm")
    )
    view = show({"ours": ours}, unit="pm")
    # four pixels a voxel, the screen's origin at the world's
    seen = pixels(view, (120, 80), [50, 60, 20.5], scale=0.25)
    rows = (np.arange(80) + 2) // 4 + 50
    columns = (np.arange(120) - 1) // 4 + 35
    np.testing.assert_array_equal(seen[..., 0], data[20][np.ix_(rows, columns)])


@pytest.mark.slow
def test_axes_are_x_y_z_on_screen_whatever_their_order_in_the_store(show: Callable[..., View]) -> None:
    data = noise(*SHAPE)
    turned = gpa.NumpyArrayConfig(
        "turned", data=np.ascontiguousarray(data.T), voxel_size=(8, 8, 8), axes=("x", "y", "z")
    )
    seen = pixels(show({"turned": turned}), (120, 80), [200, 150, 20.5])
    np.testing.assert_array_equal(seen[..., 0], data[20, 110:190, 140:260])


@pytest.mark.slow
def test_a_plane_has_two_axes(show: Callable[..., View]) -> None:
    data = noise(200, 300)
    plane = gpa.NumpyArrayConfig("plane", data=data, voxel_size=(8, 8))
    seen = pixels(show({"plane": plane}), (120, 80), [200, 150])
    np.testing.assert_array_equal(seen[..., 0], data[110:190, 140:260])


@pytest.mark.parametrize("count", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_rows_that_lie_far_apart_each_open_in_their_middle(count: int, show: Callable[..., View]) -> None:
    rows, want = {}, []
    for i in range(count):
        data = np.full((10, 14, 18), 50 * (i + 1), np.uint8)
        offset = (8000 * i, -16000 * i, 24000 * i)
        rows[f"row {i}"] = {"raw": gpa.NumpyArrayConfig("raw", data=data, voxel_size=(8, 8, 8), offset=offset)}
        want.append([3000 * i + 9.5, -2000 * i + 7.5, 1000 * i + 5.5])
    view = show(rows)
    with view.viewer.txn() as state:
        state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
    picture = screenshot.take(view.viewer, (240 * count, 300), TIMEOUT)
    seen = np.asarray(picture.image_pixels)[..., 0]
    # panels of 120 x 150 pixels: xy, xz and yz, without the 3D panel
    centres = [(75, 60), (75, 180), (225, 180)]
    assert [[int(seen[y, x + 240 * i]) for y, x in centres] for i in range(count)] == [
        [50 * (i + 1)] * 3 for i in range(count)
    ]
    # the browser has sent its state back
    state = view.viewer.state
    assert list(state.position) == want[0]
    assert [list(panel.position.value) for panel in state.layout.children[1:]] == want[1:]


def test_masks_do_not_hide_labels(show: Callable[..., View]) -> None:
    ids = np.zeros((4, 20, 30), np.uint64)
    ids[:, :, :10], ids[:, :, 10:20] = 1, 2
    labels = gpa.NumpyArrayConfig("labels", data=ids)
    masks = {"labels": labels, "some": gpa.OnesArrayConfig("some", labels), "all": gpa.OnesArrayConfig("all", labels)}
    view = show(masks)
    with view.viewer.txn() as state:
        layer = state.layers["labels"].layer
        layer.segment_colors = {1: "#ff0000", 2: "#0000ff"}
        layer.saturation = 1
    seen = pixels(view, (60, 40), [15, 10, 2.5], scale=0.5).astype(int)
    first, second, mask = seen[20, 10], seen[20, 30], seen[20, 50]
    # labels have half of each pixel, whatever is below them; the masks have the rest
    assert np.abs(first - second - [128, 0, -128]).max() <= 2
    assert np.abs(first - (mask + np.array([255, 0, 0])) / 2).max() <= 2
    assert np.ptp(mask) > 50


def test_zoomed_out_a_pixel_shows_a_voxel_of_those_that_it_covers(show: Callable[..., View]) -> None:
    data = noise(4, 1024, 1024)
    raw = gpa.NumpyArrayConfig("raw", data=data, voxel_size=(8, 8, 8))
    seen = pixels(show({"raw": raw}), (60, 40), [512, 512, 3.5], scale=2)
    np.testing.assert_array_equal(seen[..., 0], data[2, ::2, ::2][256 - 20 : 256 + 20, 256 - 30 : 256 + 30])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pyramid", "scale", "most_read", "most_computed"),
    [
        # at full resolution, in fewer than 2**8 cubes of 64^3 voxels
        (8, 1, 2**31, 2**26),
        (1, 1, 2**33, 2**26),
        # sixteen times further out
        (8, 16, 2**31, 2**26),
        (1, 16, 2**31, 2**18),
    ],
)
def test_a_look_at_a_petavoxel_volume_is_cheap(
    pyramid: int,
    scale: int,
    most_read: int,
    most_computed: int,
    show: Callable[..., View],
    counters: tuple[Counter, Counter],
) -> None:
    """Four panels of together 1000 x 800 pixels in the middle of 10^15 voxels."""
    read, computed = counters
    view = show({"big": Counted("big", Endless("raw", pyramid=pyramid))})
    with view.viewer.txn() as state:
        assert list(state.position) == [50_000.5] * 3
        state.cross_section_scale = scale
    picture = screenshot.take(view.viewer, (1000, 800), TIMEOUT)
    assert np.asarray(picture.image_pixels)[..., :3].std() > 20
    print(
        f"pyramid {pyramid}, scale {scale}: {read.voxels} voxels read in {read.calls} boxes, {computed.voxels} computed"
    )
    assert 0 < read.voxels <= most_read
    assert 0 < computed.voxels <= most_computed


@pytest.mark.slow
def test_a_petavoxel_store_opens_at_once(tmp_path: Path, show: Callable[..., View]) -> None:
    """Nearly all of its 3.8 * 10^9 chunks are absent; those in the middle are 200."""
    made = gpa.create_zarr(
        tmp_path / "big.zarr", "raw", gpa.Roi((0,) * 3, (4 * 10**5,) * 3), (4,) * 3, "uint8", chunks=(64,) * 3
    )
    made[49984:50048, 49920:50048, 49920:50048] = 200
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "big.zarr", "raw")
    seen = pixels(show({"raw": raw}), (100, 80), [50_000, 50_000, 50_000.5])
    # voxels 49950 to 50050 and 49960 to 50040
    want = np.full((80, 100), 200)
    want[:, 98:] = 0
    np.testing.assert_array_equal(seen[..., 0], want)


def test_a_failure_ends_the_picture_and_names_its_path_in_the_tree(tmp_path: Path, show: Callable[..., View]) -> None:
    made = gpa.create_zarr(
        tmp_path / "a.zarr", "raw", gpa.Roi((0,) * 3, (64,) * 3), (1, 1, 1), "uint8", chunks=(32,) * 3
    )
    made[:] = noise(64, 64, 64)
    chunk = tmp_path / "a.zarr" / "raw" / "1" / "1" / "1"
    chunk.write_bytes(chunk.read_bytes()[:100])
    norm = gpa.IntensitiesArrayConfig("norm", gpa.ZarrArrayConfig("raw", tmp_path / "a.zarr", "raw"), 0, 255)
    view = show({"norm": norm})
    with pytest.raises(
        gpa.ComputeError, match="could not be computed; found norm > raw: cannot read; found chunk 1/1/1"
    ):
        view.screenshot(tmp_path / "a.png", timeout=TIMEOUT)
    assert not (tmp_path / "a.png").exists()


@pytest.mark.slow
def test_a_picture_leaves_the_view_as_it_was(tmp_path: Path, show: Callable[..., View]) -> None:
    view = show({"bright": gpa.ThresholdArrayConfig("bright", gpa.NumpyArrayConfig("raw", data=noise(8, 8, 8)), 128)})
    palettes = view.viewer.state.tool_palettes.to_json()
    view.screenshot(tmp_path / "a.png", size=(1200, 300), timeout=TIMEOUT)
    after = view.viewer.config_state.state
    assert view.viewer.state.tool_palettes.to_json() == palettes
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1200, 300)
    assert (after.show_ui_controls, after.show_panel_borders, after.viewer_size, after.screenshot) == (
        True,
        True,
        None,
        None,
    )


def test_real_data(fib25: Path, show: Callable[..., View]) -> None:
    raw = gpa.ZarrArrayConfig("raw", fib25, "raw")
    masks = gpa.BinarizeArrayConfig(
        "masks", gpa.ZarrArrayConfig("ids", fib25, "labels/neurons"), groupings=[("any", [])]
    )
    view = show({"raw": gpa.IntensitiesArrayConfig("norm", raw, 0, 255), "masks": masks})
    with view.viewer.txn() as state:
        state.layers["masks"].visible = False
    seen = pixels(view, (120, 80), [125, 125, 2725.5]).astype(int)
    assert np.abs(seen[..., 0] - raw.array()[125, 85:165, 65:185]).max() <= 1
