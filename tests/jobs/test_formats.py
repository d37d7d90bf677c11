"""What is stored: formats, attributes in every dialect, pyramids."""

import json
from fractions import Fraction

import numpy as np
import pytest
import zarr
from job_helpers import masks_of, voxels_in

import gp_arrays as gpa
from gp_arrays.jobs.pyramid import default_method, factors
from gp_arrays.storage.chunked.engine import FORMATS

pytestmark = pytest.mark.usefixtures("one_process")

needs_v3 = pytest.mark.skipif(3 not in FORMATS, reason="the installed zarr writes no Zarr v3")


def attributes(folder):
    if (folder / "zarr.json").exists():
        return json.loads((folder / "zarr.json").read_text())["attributes"]
    return json.loads((folder / ".zattrs").read_text())


@pytest.mark.parametrize("format", FORMATS)
def test_attributes_are_written_as_different_readers_expect_them(labels, tmp_path, format):
    config, _ = labels
    out = tmp_path / "out.zarr"
    gpa.materialize(masks_of(config), out, "seg/masks", storage=gpa.Storage(zarr_format=format), progress=False)
    values = attributes(out / "seg/masks")
    assert values["offset"] == [400, 0, -80]
    assert values["voxel_size"] == values["resolution"] == [4, 8, 8]
    assert values["units"] == ["nm", "nm", "nm"]
    assert values["axis_names"] == ["c^", "z", "y", "x"]
    assert values["types"] == ["channel", "space", "space", "space"]
    assert values["_ARRAY_DIMENSIONS"] == ["c", "z", "y", "x"]
    assert values["dimension_units"] == ["", "4 nm", "8 nm", "8 nm"]
    assert values["channel_names"] == ["one", "two"]
    provenance = values["gp_arrays"]
    assert provenance["array"] == "masks"
    assert provenance["hash"] == masks_of(config).content
    assert provenance["tree"]["masks"]["groupings"] == [["one", [1]], ["two", [2, 4]]]
    assert provenance["tree"]["ids"]["dataset"] == "ids"
    assert provenance["versions"]["zarr"] == zarr.__version__
    assert provenance["interpolatable"] is False
    assert provenance["date"].startswith("20")
    if format == 3:
        assert json.loads((out / "seg/masks/zarr.json").read_text())["dimension_names"] == ["c", "z", "y", "x"]


@pytest.mark.slow
def test_the_tree_in_the_attributes_gives_the_same_voxels(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    gpa.materialize(masks_of(config), out, progress=False)
    (tmp_path / "again.json").write_text(json.dumps(attributes(out / "masks")["gp_arrays"]["tree"]))
    again = gpa.load_tree(tmp_path / "again.json")["masks"]
    np.testing.assert_array_equal(again.array()[0], (data == 1).astype(np.uint8))


@pytest.mark.parametrize("format", FORMATS)
def test_written_masks_are_not_interpolated_when_read_again(labels, tmp_path, format):
    gpa.materialize(
        masks_of(labels[0]), tmp_path / "out.zarr", "m", storage=gpa.Storage(zarr_format=format), progress=False
    )
    assert not gpa.open_zarr(tmp_path / "out.zarr", "m").interpolatable


def test_funlib_reads_the_same_geometry_and_voxels(labels, tmp_path):
    from funlib.persistence import open_ds

    config, data = labels
    gpa.materialize(config, tmp_path / "out.zarr", "copy", progress=False)
    array = open_ds(str(tmp_path / "out.zarr/copy"))
    assert tuple(array.voxel_size) == (4, 8, 8)
    assert array.roi == gpa.Roi((400, 0, -80), (160, 240, 400))
    assert list(array.axis_names) == ["z", "y", "x"]
    assert list(array.units) == ["nm", "nm", "nm"]
    np.testing.assert_array_equal(np.asarray(array[array.roi]), data)


@needs_v3
def test_blocks_must_be_multiples_of_shards(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    options = {"chunks": (8, 8, 8), "storage": gpa.Storage(zarr_format=3, shards=(16, 16, 16)), "progress": False}
    with pytest.raises(gpa.ConfigError, match="multiples of"):
        gpa.materialize(config, out, "copy", block=(32, 64, 64), **options)
    assert gpa.materialize(config, out, "copy", block=(64, 128, 128), **options).ok
    np.testing.assert_array_equal(gpa.open_zarr(out, "copy")[:], data)
    document = json.loads((out / "copy/zarr.json").read_text())
    assert document["chunk_grid"]["configuration"]["chunk_shape"] == [16, 16, 16]
    assert len([path for path in (out / "copy/c").rglob("*") if path.is_file()]) == 3 * 2 * 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"storage": gpa.Storage(shards=(16, 16, 16))}, "shards need Zarr v3"),
        ({"pyramid": "median"}, "pyramid.*median.* allowed: auto, mean, mode, nearest"),
        ({"pyramid": "mean"}, "no mean"),
        ({"pyramid": {"other": "mode"}}, "pyramid given for an unknown output"),
    ],
)
def test_impossible_formats_are_refused(labels, tmp_path, options, says):
    with pytest.raises(gpa.ConfigError, match=says):
        gpa.materialize(labels[0], tmp_path / "out.zarr", progress=False, **options)
    assert not list(tmp_path.glob("out.zarr*"))


def halved(data):
    """Exact means of up to 2 x 2 x 2 voxels, ties to even; at an odd edge of those that there are."""
    out = np.empty([-(-n // 2) for n in data.shape], np.uint8)
    for z, y, x in np.ndindex(out.shape):
        values = data[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist()
        out[z, y, x] = round(Fraction(sum(values), len(values)))
    return out


@pytest.mark.parametrize("format", FORMATS)
def test_a_pyramid_of_intensities(tmp_path, format):
    data = np.random.default_rng(1).integers(0, 255, (21, 24, 27)).astype(np.uint8)
    roi = gpa.Roi((6, 1, 3), (21 * 4, 24 * 4, 27 * 4))
    gpa.create_zarr(tmp_path / "in.zarr", "raw", roi, (4, 4, 4), "uint8")[:] = data
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    out = tmp_path / "out.zarr"
    result = gpa.materialize(
        raw, out, "em/raw", chunks=(8, 8, 8), pyramid="auto", storage=gpa.Storage(zarr_format=format), progress=False
    )
    assert result.ok
    assert result.datasets == ("em/raw/s0", "em/raw/s1", "em/raw/s2")
    expected = [data, halved(data), halved(halved(data))]
    for level, voxels in enumerate(expected):
        array = gpa.ZarrArrayConfig("level", out, "em/raw", scale=level).array()
        np.testing.assert_array_equal(array[:], voxels)
        assert tuple(array.voxel_size) == (4 * 2**level,) * 3
        assert tuple(array.roi.begin) == (6, 1, 3)
    values = attributes(out / "em/raw")
    described = values if format == 2 else values["ome"]
    (image,) = described["multiscales"]
    assert (image if format == 2 else described)["version"] == ("0.4" if format == 2 else "0.5")
    assert image["axes"] == [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    # centres of voxels: 2 nm further in at 8 nm, 6 nm at 16 nm
    assert [level["coordinateTransformations"] for level in image["datasets"]] == [
        [{"type": "scale", "scale": [4.0] * 3}, {"type": "translation", "translation": [6.0, 1.0, 3.0]}],
        [{"type": "scale", "scale": [8.0] * 3}, {"type": "translation", "translation": [8.0, 3.0, 5.0]}],
        [{"type": "scale", "scale": [16.0] * 3}, {"type": "translation", "translation": [12.0, 7.0, 9.0]}],
    ]
    # a reader that knows nothing but OME-NGFF finds the same corners
    for level in range(3):
        path = out / f"em/raw/s{level}" / (".zattrs" if format == 2 else "zarr.json")
        document = json.loads(path.read_text())
        plain = {} if format == 2 else {**document, "attributes": {}}
        path.write_text(json.dumps(plain))
        array = gpa.ZarrArrayConfig("level", out, "em/raw", scale=level).array()
        assert tuple(array.roi.begin) == (6, 1, 3)


@pytest.mark.parametrize("format", FORMATS)
def test_a_level_of_a_pyramid_covers_all_of_the_level_below(tmp_path, format):
    """65 voxels become 33, 17 and so on: the last of them are made of what there is."""
    data = np.random.default_rng(1).integers(0, 3, (5, 65, 33)).astype(np.uint64) + 2**60
    ids = gpa.NumpyArrayConfig("ids", data, voxel_size=(40, 4, 4), offset=(3, 2, 1))
    storage = gpa.Storage(zarr_format=format)
    options = {"chunks": (8, 16, 16), "block": (320, 128, 128), "progress": False, "storage": storage}
    assert gpa.materialize(ids, tmp_path / "out.zarr", pyramid="mode", **options).ok
    below = data
    for level, shape in enumerate([(5, 65, 33), (5, 33, 17), (5, 17, 9), (5, 9, 5)]):
        array = gpa.ZarrArrayConfig("ids", tmp_path / "out.zarr", "ids", scale=level).array()
        assert (array.shape, tuple(array.roi.begin)) == (shape, (3, 2, 1))
        if level:
            expected = np.empty(shape, np.uint64)
            for z, y, x in np.ndindex(shape):
                values, counts = np.unique(below[z, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2], return_counts=True)
                expected[z, y, x] = values[counts.argmax()]
            below = expected
        np.testing.assert_array_equal(array[:], below)


@pytest.mark.parametrize("format", FORMATS)
def test_lengths_with_fractions_are_written_in_nanometers(tmp_path, format):
    """In the tree they are 5240 pm; readers that ignore units show 5.24."""
    raw = gpa.NumpyArrayConfig("raw", np.zeros((16, 16), np.uint8), voxel_size=(40000, 5240), offset=(0, 10480))
    options = {"chunks": (8, 8), "pyramid": "mean", "unit": "pm", "storage": gpa.Storage(zarr_format=format)}
    gpa.materialize(raw, tmp_path / "out.zarr", progress=False, **options)
    values = attributes(tmp_path / "out.zarr/raw")
    (image,) = (values if format == 2 else values["ome"])["multiscales"]
    assert [axis["unit"] for axis in image["axes"]] == ["nanometer"] * 2
    assert [level["coordinateTransformations"] for level in image["datasets"][:2]] == [
        [{"type": "scale", "scale": [40.0, 5.24]}, {"type": "translation", "translation": [0.0, 10.48]}],
        [{"type": "scale", "scale": [40.0, 10.48]}, {"type": "translation", "translation": [0.0, 13.1]}],
    ]
    assert attributes(tmp_path / "out.zarr/raw/s0")["dimension_units"] == ["40 nm", "5.24 nm"]
    # whole numbers, as funlib.persistence wants them
    assert attributes(tmp_path / "out.zarr/raw/s0")["voxel_size"] == [40000, 5240]
    array = gpa.ZarrArrayConfig("raw", tmp_path / "out.zarr", "raw", scale=1).array(unit="pm")
    assert (tuple(array.voxel_size), tuple(array.roi.begin)) == ((40000, 10480), (0, 10480))


@pytest.mark.slow
def test_pyramids_of_labels_and_of_masks_are_written_in_one_run(tmp_path):
    data = np.random.default_rng(1).integers(0, 3, (32, 32, 32)).astype(np.uint64) + (2**60)
    roi = gpa.Roi((0, 0, 0), (32, 32, 32))
    gpa.create_zarr(tmp_path / "in.zarr", "ids", roi, (1, 1, 1), "uint64")[:] = data
    ids = gpa.ZarrArrayConfig("ids", tmp_path / "in.zarr", "ids")
    masks = gpa.BinarizeArrayConfig("masks", ids, groupings=[("a", [2**60]), ("b", [2**60 + 1])])
    out = tmp_path / "out.zarr"
    pyramid = {"ids": "mode", "masks": "nearest"}
    assert gpa.materialize({"ids": ids, "masks": masks}, out, chunks=(16, 16, 16), pyramid=pyramid, progress=False).ok
    cubes = data.reshape(16, 2, 16, 2, 16, 2).transpose(0, 2, 4, 1, 3, 5).reshape(16, 16, 16, 8)
    counts = np.stack([(cubes == 2**60 + i).sum(-1) for i in range(3)])
    np.testing.assert_array_equal(gpa.open_zarr(out, "ids/s1")[:], counts.argmax(0).astype(np.uint64) + 2**60)
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks/s1")[0], (data[::2, ::2, ::2] == 2**60).astype(np.uint8))
    assert attributes(out / "masks")["omero"]["channels"][1]["label"] == "b"
    assert "image-label" in attributes(out / "ids")


def test_pyramids_whose_names_differ_only_in_a_dot(tmp_path):
    rng = np.random.default_rng(1)
    voxels = {name: rng.integers(0, 255, (4, 32, 32)).astype(np.uint8) for name in ("x/y", "x.y")}
    arrays = {name: gpa.NumpyArrayConfig(name, data=data) for name, data in voxels.items()}
    result = gpa.materialize(arrays, tmp_path / "out.zarr", chunks=(4, 16, 16), pyramid="mean", progress=False)
    assert result.ok
    for name, data in voxels.items():
        np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", f"{name}/s0")[:], data)
        np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", f"{name}/s1")[:], halved(data))


@pytest.mark.parametrize(
    ("axes", "rule"),
    [
        ("x", "has 2 or 3 spatial axes"),
        ("wzyx", "has 2 or 3 spatial axes"),
        ("ctzyx", "begins with time"),
        ("sczyx", "one axis between time and space at most"),
        ("tsczyx", "one axis between time and space at most"),
    ],
)
def test_axes_that_ome_ngff_does_not_allow_are_refused(tmp_path, axes, rule):
    data = np.zeros((4,) * len(axes), np.uint8)
    dims = len([axis for axis in axes if axis in "wxyz"])
    config = gpa.NumpyArrayConfig("a", data=data, axes=tuple(axes), voxel_size=(1,) * dims)
    with pytest.raises(gpa.ConfigError, match=rule) as raised:
        gpa.materialize(config, tmp_path / "out.zarr", "em/a", pyramid="auto", progress=False)
    assert raised.value.path == ("em/a",)
    assert raised.value.found == f"axes {', '.join(axes)}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("axes", ["yx", "cyx", "szyx", "tczyx"])
def test_axes_that_ome_ngff_allows_are_accepted(tmp_path, axes):
    data = np.zeros((4,) * len(axes), np.uint8)
    dims = len([axis for axis in axes if axis in "xyz"])
    config = gpa.NumpyArrayConfig("a", data=data, axes=tuple(axes), voxel_size=(1,) * dims)
    options = {"chunks": (2,) * dims, "pyramid": "auto", "dry_run": True, "progress": False}
    assert gpa.materialize(config, tmp_path / "out.zarr", **options).cost.blocks > 0


def test_a_block_of_a_level_is_computed_once_all_blocks_below_are_done(tmp_path):
    data = np.random.default_rng(1).integers(1, 255, (64, 16, 16)).astype(np.uint8)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0, 0), (64, 16, 16)), (1, 1, 1), "uint8")[:] = data
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    out = tmp_path / "out.zarr"
    options = {"chunks": (16, 16, 16), "block": (16, 16, 16), "pyramid": "mean", "progress": False, "num_workers": 1}
    part = gpa.materialize(raw, out, roi=gpa.Roi((0, 0, 0), (48, 16, 16)), **options)
    # three blocks of s0, one of s1 (0 to 32); 32 to 64 has to wait, and so has all of s2
    assert (part.blocks, part.ok) == (4, True)
    assert not voxels_in(out, "raw/s1")[16:].any()
    rest = gpa.materialize(raw, out, **options)
    assert (rest.before, rest.done, rest.ok) == (4, rest.blocks, True)
    np.testing.assert_array_equal(gpa.open_zarr(out, "raw/s1")[:], halved(data))
    np.testing.assert_array_equal(gpa.open_zarr(out, "raw/s2")[:], halved(halved(data)))


def test_axes_with_smaller_voxels_are_made_coarser_first():
    def meta(shape, voxel_size):
        data = np.zeros(shape, np.uint8)
        return gpa.NumpyArrayConfig("a", data=data, voxel_size=voxel_size).array().meta

    assert factors(meta((64, 64, 64), (40, 4, 4)), (16, 16, 16)) == (1, 2, 2)
    assert factors(meta((64, 64, 64), (6, 4, 4)), (16, 16, 16)) == (2, 2, 2)
    assert factors(meta((1, 64, 64), (1, 4, 4)), (1, 16, 16)) == (1, 2, 2)
    assert factors(meta((64, 16, 16), (40, 4, 4)), (64, 16, 16)) is None


def test_the_default_method_of_a_pyramid(labels):
    config, _ = labels
    raw = gpa.NumpyArrayConfig("raw", data=np.zeros((4, 4), np.uint8))
    grey = gpa.IntensitiesArrayConfig("grey", raw, min=0, max=4)
    assert default_method(grey.array().meta, grey) == "mean"
    assert default_method(config.array().meta, config) == "mode"
    big = gpa.ThresholdArrayConfig("big", config, 2)
    assert default_method(big.array().meta, big) == "nearest"
