"""Which kind of layer shows an array, in which colours, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import neuroglancer
import numpy as np
import pytest
from view_helpers import Counter, Endless

import gp_arrays as gpa
from gp_arrays.viewer.kinds import IMAGE, LABELS, MASK, contrast, kind
from gp_arrays.viewer.shown import View


def array_of(dtype: str) -> Any:
    data = np.random.default_rng(0).integers(0, 5, (4, 6, 8)).astype(dtype)
    return gpa.NumpyArrayConfig(dtype, data=data)


RAW, IDS = array_of("uint8"), array_of("uint64")
MASKS = gpa.BinarizeArrayConfig("masks", IDS, groupings=[("a", [1]), ("b", [2])])
SMALL_IDS = gpa.NumpyArrayConfig("ids8", data=np.zeros((4, 6, 8), np.uint8), interpolatable=False)


@pytest.mark.parametrize(
    ("config", "want"),
    [
        (RAW, IMAGE),
        (array_of("uint16"), IMAGE),
        (array_of("float64"), IMAGE),
        (array_of("int16"), IMAGE),
        (IDS, LABELS),
        (array_of("int32"), LABELS),
        (SMALL_IDS, LABELS),
        (gpa.CropArrayConfig("crop", SMALL_IDS, roi=[[0, 0, 0], [2, 2, 2]]), LABELS),
        (array_of("bool"), MASK),
        (MASKS, MASK),
        (gpa.LogicalOrArrayConfig("any", MASKS), MASK),
        (gpa.ThresholdArrayConfig("bright", RAW, 2), MASK),
        (gpa.OnesArrayConfig("ones", RAW), MASK),
        (gpa.ConstantArrayConfig("three", RAW, 3), MASK),
        (gpa.ConstantArrayConfig("half", RAW, 0.5), IMAGE),
        (gpa.SelectArrayConfig("one", MASKS, channels="b"), MASK),
        (gpa.ResampledArrayConfig("small", MASKS, (1, 1, 1), (2, 2, 2), interp_order=0), MASK),
        (
            gpa.ConcatArrayConfig(
                "both",
                ["x", "y"],
                {"x": gpa.LogicalOrArrayConfig("any", MASKS), "y": gpa.ThresholdArrayConfig("bright", RAW, 2)},
            ),
            MASK,
        ),
        (gpa.MergeInstancesArrayConfig("merged", [IDS]), LABELS),
        (gpa.IntensitiesArrayConfig("norm", RAW, 0, 4), IMAGE),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_kinds(config: Any, want: str) -> None:
    assert kind(config.array()) == want


def test_contrast() -> None:
    ramp = gpa.NumpyArrayConfig("ramp", data=np.linspace(-50, 50, 1001, dtype=np.float32).reshape(1, 1, 1001))
    cases = [
        (array_of("uint8"), (0, 255)),
        (array_of("int8"), (-128, 127)),
        # of the 32 voxels in the middle, from -1.6 to 1.5
        (ramp, (pytest.approx(-1.6 + 0.031, abs=1e-4), pytest.approx(1.5 - 0.031, abs=1e-4))),
        (gpa.IntensitiesArrayConfig("norm", ramp, -5, 5), (0, 1)),
        (gpa.CropArrayConfig("crop", gpa.IntensitiesArrayConfig("norm", ramp, -5, 5), [[0, 0, 0], [1, 1, 9]]), (0, 1)),
        (gpa.NumpyArrayConfig("flat", data=np.full((2, 2), 7, np.uint16)), (7, 8)),
        (gpa.NumpyArrayConfig("stored mask", data=np.eye(4, dtype=np.uint8)), (0, 1)),
        (gpa.NumpyArrayConfig("holes", data=np.full((2, 2), np.nan)), (0, 1)),
    ]
    for config, want in cases:
        assert contrast(config.array()) == want, config


def test_contrast_of_a_petavoxel_volume_reads_little(counters: tuple[Counter, Counter]) -> None:
    contrast(Endless("raw").array())
    assert 0 < counters[0].voxels <= 8 * 64**3


def test_a_chunk_that_cannot_be_read_does_not_keep_the_view_from_opening(
    tmp_path: Path, show: Callable[..., View], caplog: pytest.LogCaptureFixture
) -> None:
    made = gpa.create_zarr(
        tmp_path / "a.zarr", "raw", gpa.Roi((0,) * 3, (64,) * 3), (1, 1, 1), "uint8", chunks=(64,) * 3
    )
    made[:] = np.random.default_rng(0).integers(1, 255, (64,) * 3, dtype=np.uint8)
    chunk = tmp_path / "a.zarr" / "raw" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    view = show({"raw": gpa.ZarrArrayConfig("raw", tmp_path / "a.zarr", "raw")})
    assert view.viewer.state.layers["raw"].shader_controls["contrast"].to_json()["range"] == [0, 255]
    assert "raw: contrast is a guess" in caplog.text


def test_layers_of_a_tree(show: Callable[..., View]) -> None:
    norm = gpa.IntensitiesArrayConfig("norm", RAW, 0, 255)
    view = show({"masks": MASKS, "labels": IDS, "raw": RAW, "norm": norm, "ones": gpa.OnesArrayConfig("ones", RAW)})
    state = view.viewer.state
    assert [(layer.name, layer.type, layer.visible) for layer in state.layers] == [
        ("raw", "image", True),
        ("norm", "image", False),
        ("masks", "image", True),
        ("ones", "image", True),
        ("labels", "segmentation", True),
        ("roi", "annotation", True),
    ]
    assert state.layout.type == "4panel"
    shader = state.layers["masks"].shader
    assert 'color_a color(default="#ff0000")' in shader
    assert 'color_b color(default="#00ffff")' in shader
    # masks are told apart
    assert 'default="#ff0000"' not in state.layers["ones"].shader
    assert [s.subsources["default"].enabled for s in state.layers["labels"].source] == [True]
    assert state.layers["labels"].source[0].enable_default_subsources is False


def test_position_scale_and_boxes(show: Callable[..., View]) -> None:
    data = np.zeros((10, 20, 30), np.uint8)
    config = gpa.NumpyArrayConfig(
        "raw", data=data, voxel_size=("40 nm", "5.24 nm", "5.24 nm"), offset=("60 nm", "-2.62 nm", "0 nm")
    )
    view = show({"raw": config}, unit="pm")
    state = view.viewer.state
    assert list(state.dimensions.names) == ["x", "y", "z"]
    assert np.allclose(np.array(state.dimensions.scales) * 1e9, [5.24, 5.24, 40], rtol=1e-12)
    assert list(state.dimensions.units) == ["m", "m", "m"]
    assert list(state.position) == [15.5, 10, 7]
    transform = state.layers["raw"].source[0].transform
    assert list(transform.output_dimensions.names) == ["z", "y", "x"]
    assert transform.matrix[:, -1].tolist() == [1.5, -0.5, 0]
    (box,) = state.layers["roi"].layer.annotations
    assert (list(box.point_a), list(box.point_b), box.description) == ([0, -0.5, 1.5], [30, 19.5, 11.5], "raw")


def test_rows_side_by_side(show: Callable[..., View]) -> None:
    def crop(name: str, begin: int) -> Any:
        return gpa.CropArrayConfig(name, gpa.DummyArrayConfig(f"of {name}"), roi=[[begin, 0, 0], [10, 20, 20]])

    view = show({"train": {"raw": crop("a", 0), "other": crop("b", 0)}, "validate": {"raw": crop("c", 80)}})
    state = view.viewer.state
    assert list(view.arrays) == ["train/raw", "train/other", "validate/raw"]
    assert [layer.name for layer in state.layers] == [
        "train/raw",
        "train/other",
        "train/roi",
        "validate/raw",
        "validate/roi",
    ]
    first, second = state.layout.children
    assert state.layout.type == "row"
    assert list(first.layers) == ["train/raw", "train/other", "train/roi"]
    assert list(second.layers) == ["validate/raw", "validate/roi"]
    assert list(state.position) == [5.5, 5.5, 5.5]
    # elsewhere, and so at a position of its own
    assert (second.position.link, list(second.position.value)) == ("relative", [5.5, 5.5, 85.5])


def test_the_legend_is_open_where_colours_have_a_meaning(show: Callable[..., View]) -> None:
    channels = gpa.NumpyArrayConfig("affinities", data=np.zeros((3, 4, 4), np.float32), axes=("c", "y", "x"))
    for arrays, visible in (({"raw": RAW, "ids": IDS}, False), ({"masks": MASKS}, True), ({"a": channels}, True)):
        assert show(arrays).viewer.state.tool_palettes["colours"].visible is visible


def test_a_layer_for_another_viewer(show: Callable[..., View]) -> None:
    view = show({"raw": RAW})
    layer = MASKS.array().neuroglancer_layer(visible=False)
    with view.viewer.txn() as state:
        state.layers.append(layer)
    assert isinstance(layer, neuroglancer.ManagedLayer)
    assert (view.viewer.state.layers["masks"].visible, layer.type) == (False, "image")


@pytest.mark.parametrize(
    "given", [{}, [], 3, {"raw": 3}, {"train": {}}, {"train": {"raw": RAW}, "raw": RAW}, {"train": {"raw": "x"}}]
)
def test_objects_that_are_not_arrays_are_refused(given: Any) -> None:
    with pytest.raises(gpa.ConfigError):
        gpa.view(given, quiet=True)


def test_trees_that_do_not_fit_are_named(show: Callable[..., View]) -> None:
    with pytest.raises(gpa.TreeError, match="^masks: Binarize reads ids"):
        show({"masks": gpa.BinarizeArrayConfig("masks", array_of("float32"), groupings=[("a", [1])])})
