"""The position of stored voxels in every metadata convention, with values from its definition."""

import json

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

import gp_arrays as gpa
from gp_arrays.storage.chunked.create import NewArray, create_array
from gp_arrays.storage.chunked.engine import FORMATS
from gp_arrays.storage.metadata.axes import axis_roles


def write(root, path, attributes=None, shape=(4, 6, 8), dtype="|u1", group=False):
    """Write metadata documents directly, without this library."""
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    if group:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
    else:
        (folder / ".zarray").write_text(
            json.dumps(
                {
                    "zarr_format": 2,
                    "shape": shape,
                    "chunks": [4] * len(shape),
                    "dtype": dtype,
                    "compressor": None,
                    "fill_value": 0,
                    "filters": None,
                    "order": "C",
                }
            )
        )
    if attributes is not None:
        (folder / ".zattrs").write_text(json.dumps(attributes))


def opened(root, path="a", unit="nm", **fields):
    return gpa.ZarrArrayConfig("a", root, path, **fields).array(unit=unit)


def ngff(*levels, axes="zyx", unit="nanometer", **more):
    kinds = {"c": "channel", "t": "time"}
    return {
        "multiscales": [
            {
                "version": "0.4",
                "axes": [
                    {"name": a, "type": kinds[a]} if a in kinds else {"name": a, "type": "space", "unit": unit}
                    for a in axes
                ],
                "datasets": [
                    {
                        "path": path,
                        "coordinateTransformations": [{"type": "scale", "scale": scale}]
                        + ([] if translation is None else [{"type": "translation", "translation": translation}]),
                    }
                    for path, scale, translation in levels
                ],
                **more,
            }
        ]
    }


@pytest.mark.parametrize(
    ("attributes", "begin", "voxel_size"),
    [
        ({"offset": [40, 0, 8], "resolution": [4, 4, 8]}, (40, 0, 8), (4, 4, 8)),
        ({"offset": [40.0, 0, 8], "voxel_size": [4.0, 4, 8], "units": ["nm"] * 3}, (40, 0, 8), (4, 4, 8)),
        ({"voxel_size": [1, 2, 3], "units": ["um"] * 3}, (0, 0, 0), (1000, 2000, 3000)),
        ({"voxel_size": [1, 2, 3], "units": "angstrom", "offset": [10, 0, 0]}, None, None),
        ({}, (0, 0, 0), (1, 1, 1)),
    ],
)
def test_attributes(tmp_path, attributes, begin, voxel_size):
    write(tmp_path, "a", attributes)
    if begin is None:
        with pytest.raises(gpa.TreeError, match='not a whole number of nm.*set unit = "pm"'):
            opened(tmp_path)
        assert opened(tmp_path, unit="pm").voxel_size == Coordinate(100, 200, 300)
    else:
        array = opened(tmp_path)
        assert (tuple(array.roi.begin), tuple(array.voxel_size)) == (begin, voxel_size)


def test_floats_at_their_stored_precision(tmp_path):
    write(tmp_path, "a", {"resolution": [float(np.float32(5.24)), 4, 4], "offset": [float(np.float32(10.48)), 0, 0]})
    array = opened(tmp_path, unit="pm")
    assert array.voxel_size == Coordinate(5240, 4000, 4000)
    assert array.roi.begin == Coordinate(10480, 0, 0)


@pytest.mark.parametrize(
    ("sizes", "offset", "unit", "expected"),
    [
        (4.1000000000000005, 0.1 + 0.2, "nm", (4100, 300)),
        (8.000000000000002, 1000000.0000000001, "nm", (8000, 10**9)),
        (4, 3.9999999999999996, "nm", (4000, 4000)),
        (4, -1e-13, "nm", (4000, 0)),
        (0.7 - 0.6, 0.7 + 0.1 + 0.1, "um", (100_000, 900_000)),
    ],
)
def test_rounding_errors_of_floats_are_removed(tmp_path, caplog, sizes, offset, unit, expected):
    caplog.set_level("INFO", "gp_arrays")
    attributes = {"voxel_size": [sizes] * 3, "offset": [offset] * 3, "units": [unit] * 3}
    write(tmp_path, "a", attributes)
    write(tmp_path, "b")
    size, begin = Coordinate([expected[0]] * 3), Coordinate([expected[1]] * 3)
    for dataset, fields in (
        ("a", {}),
        ("b", {"voxel_size": [f"{sizes} {unit}"] * 3, "offset": [f"{offset} {unit}"] * 3}),
    ):
        array = opened(tmp_path, dataset, unit="pm", **fields)
        assert (array.voxel_size, array.roi.begin) == (size, begin)
        assert array[:1, :2, :3].shape == (1, 2, 3)
    assert "noise of arithmetic" in caplog.text


def test_fractions_larger_than_rounding_errors_stay(tmp_path):
    write(tmp_path, "a", {"voxel_size": [4.0000001, 4, 4], "units": ["nm"] * 3})
    with pytest.raises(gpa.TreeError, match="not a whole number of pm; found .4.0000001 nm"):
        opened(tmp_path, unit="pm")


def test_channels_anywhere_are_moved_first(tmp_path):
    write(tmp_path, "a", {"axis_names": ["z", "y", "x", "c^"], "voxel_size": [2, 3, 4]}, shape=(4, 6, 8, 2))
    array = opened(tmp_path)
    assert (array.axes, array.shape) == (("c", "z", "y", "x"), (2, 4, 6, 8))
    assert array.roi == Roi((0, 0, 0), (8, 18, 32))


def test_lengths_of_all_axes_are_stripped(tmp_path):
    attributes = {
        "axis_names": ["c^", "z", "y", "x"],
        "types": ["channel", "space", "space", "space"],
        "voxel_size": [1, 2, 3, 4],
        "offset": [0, 20, 0, 0],
        "units": ["", "nm", "nm", "nm"],
    }
    write(tmp_path, "a", attributes, shape=(2, 4, 6, 8))
    assert opened(tmp_path).roi == Roi((20, 0, 0), (8, 18, 32))


def test_axes_of_a_store_that_does_not_say(tmp_path):
    write(tmp_path, "a", shape=(2, 4, 6, 8))
    assert opened(tmp_path).axes == ("c", "z", "y", "x")
    write(tmp_path, "b", shape=(6, 8))
    assert opened(tmp_path, "b").axes == ("y", "x")
    assert opened(tmp_path, axes=("t", "z", "y", "x")).axes == ("t", "z", "y", "x")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("z", "y", "x"), r"3 axis names \['z', 'y', 'x'\] for 4 axes"),
        (("t", "c", "z", "y", "x"), "5 axis names .* for 4 axes"),
        (("c", "z", "z", "x"), "an axis is named twice: c, z, z, x"),
        (("s", "c", "t", "channels"), "no spatial axis among s, c, t, channels"),
    ],
)
@pytest.mark.parametrize("stored", ["nothing", "pyramid", "transform"])
def test_axes_of_the_config_that_do_not_fit(tmp_path, stored, axes, message):
    if stored == "pyramid":
        write(tmp_path, "", ngff(("a", [1, 4, 4, 4], None), axes="czyx"), group=True)
    transform = {"axes": list("czyx"), "scale": [1, 4, 4, 4]}
    write(tmp_path, "a", {"transform": transform} if stored == "transform" else None, shape=(2, 4, 6, 8))
    problem = f"^a: its axes do not fit the array's shape; found {message}; allowed: one name for each of 4 axes"
    with pytest.raises(gpa.TreeError, match=problem):
        opened(tmp_path, axes=axes)


def test_axes_of_the_store_that_do_not_fit_are_malformed(tmp_path):
    write(tmp_path, "a", {"axis_names": ["c^", "z", "y", "x"], "voxel_size": [4, 4, 4]})
    with pytest.raises(gpa.StoreError, match="^a: malformed geometry; found 4 axis names .* for 3 axes in"):
        opened(tmp_path)


def test_levels_of_a_pyramid_begin_at_the_same_position(tmp_path):
    # translations mark voxel centres: level k is (scale_k - scale_0) / 2 further than where it begins
    write(
        tmp_path,
        "p",
        ngff(("s0", [4, 4, 4], [40, 0, 0]), ("s1", [8, 8, 8], [42, 2, 2]), ("s2", [16, 16, 16], [46, 6, 6])),
        group=True,
    )
    for level, size in (("s0", 4), ("s1", 8), ("s2", 16)):
        write(tmp_path, f"p/{level}")
        array = opened(tmp_path, f"p/{level}")
        assert (tuple(array.roi.begin), tuple(array.voxel_size)) == ((40, 0, 0), (size,) * 3)


@pytest.mark.parametrize("last", [None, [46, 6, 6]])
def test_levels_without_translations_begin_where_the_finest_does(tmp_path, last):
    levels = ("0", [4, 4, 4], [40, 0, 0]), ("1", [8, 8, 8], None), ("2", [16, 16, 16], last)
    write(tmp_path, "p", ngff(*levels), group=True)
    for path, _, _ in levels:
        write(tmp_path, f"p/{path}")
        assert opened(tmp_path, f"p/{path}").roi.begin == Coordinate(40, 0, 0)


def test_transformations_of_the_image_apply_after_those_of_its_levels(tmp_path):
    outer = [{"type": "scale", "scale": [2, 2, 2]}, {"type": "translation", "translation": [100, 0, 0]}]
    write(tmp_path, "p", ngff(("0", [4, 4, 4], [10, 0, 0]), coordinateTransformations=outer), group=True)
    write(tmp_path, "p/0")
    array = opened(tmp_path, "p/0")
    assert (tuple(array.roi.begin), tuple(array.voxel_size)) == ((120, 0, 0), (8, 8, 8))


def test_ngff_05_and_units_and_squeezed_axes(tmp_path):
    inner = ngff(("0", [1, 1, 0.004, 0.004, 0.008], None), axes="tczyx", unit="micrometer")
    write(tmp_path, "p", {"ome": {"version": "0.5", **inner}}, group=True)
    write(tmp_path, "p/0", shape=(1, 1, 4, 6, 8))
    array = opened(tmp_path, "p/0")
    assert (array.axes, array.shape) == (("z", "y", "x"), (4, 6, 8))
    assert array.voxel_size == Coordinate(4, 4, 8)
    write(tmp_path, "p/0", shape=(3, 1, 4, 6, 8))
    assert opened(tmp_path, "p/0").axes == ("t", "z", "y", "x")


def test_a_pyramid_by_its_group(tmp_path):
    write(tmp_path, "em", ngff(("s0", [4, 4, 4], None), ("s1", [8, 8, 8], [2, 2, 2])), group=True)
    write(tmp_path, "em/s0", shape=(8, 8, 8))
    write(tmp_path, "em/s1", shape=(4, 4, 4))
    assert opened(tmp_path, "em").shape == (8, 8, 8)
    assert opened(tmp_path, "em", scale=1).voxel_size == Coordinate(8, 8, 8)
    with pytest.raises(gpa.StoreError, match="no such scale; found 2; allowed: 0 to 1"):
        opened(tmp_path, "em", scale=2)
    with pytest.raises(gpa.StoreError, match="scale picks a level of a pyramid"):
        opened(tmp_path, "em/s0", scale=1)


def test_cosem(tmp_path):
    def transform(scale, translate):
        return {"axes": ["z", "y", "x"], "scale": scale, "translate": translate, "units": ["nm"] * 3}

    levels = [("s0", [5.24, 4, 4], [0, 0, 0]), ("s1", [10.48, 8, 8], [2.62, 2, 2])]
    write(
        tmp_path,
        "v",
        {"multiscales": [{"datasets": [{"path": p, "transform": transform(s, t)} for p, s, t in levels]}]},
        group=True,
    )
    for path, scale, translate in levels:
        write(tmp_path, f"v/{path}", {"transform": transform(scale, translate)})
    fine, coarse = opened(tmp_path, "v/s0", "pm"), opened(tmp_path, "v/s1", "pm")
    assert fine.roi.begin == coarse.roi.begin == Coordinate(0, 0, 0)
    assert coarse.voxel_size == Coordinate(10480, 8000, 8000)
    write(tmp_path, "alone", {"transform": transform([4, 4, 4], [8, 0, 0])})
    assert opened(tmp_path, "alone").roi.begin == Coordinate(8, 0, 0)


def test_own_attributes_win_over_the_pyramid(tmp_path):
    write(tmp_path, "p", ngff(("s0", [4, 4, 4], [40, 0, 0])), group=True)
    write(tmp_path, "p/s0", {"voxel_size": [4, 4, 4], "offset": [12, 0, 0]})
    assert opened(tmp_path, "p/s0").roi.begin == Coordinate(12, 0, 0)


def test_overrides_win(tmp_path):
    write(tmp_path, "a", {"voxel_size": [4, 4, 4], "offset": [12, 0, 0], "units": ["nm"] * 3})
    array = opened(tmp_path, voxel_size=(8, 8, 8), offset=("0.01 um", 0, 0))
    assert (tuple(array.roi.begin), tuple(array.voxel_size)) == ((10, 0, 0), (8, 8, 8))
    assert gpa.ZarrArrayConfig("a", tmp_path, "a", unit="um").array().voxel_size == Coordinate(4000, 4000, 4000)


def test_snap_to_grid_shrinks(tmp_path):
    write(tmp_path, "a", {"voxel_size": [4, 4, 4], "offset": [4, 0, 0]}, shape=(10, 10, 10))
    assert opened(tmp_path, snap_to_grid=(8, 8, 8)).roi == Roi((8, 0, 0), (32, 40, 40))
    with pytest.raises(gpa.TreeError, match="a: no voxel is left"):
        opened(tmp_path, snap_to_grid=(400, 8, 8))
    write(tmp_path, "b", {"voxel_size": [4, 4, 4], "offset": [2, 0, 0]}, shape=(10, 10, 10))
    with pytest.raises(gpa.TreeError, match="does not agree with the voxel grid"):
        opened(tmp_path, "b", snap_to_grid=(8, 8, 8))


@pytest.mark.parametrize(
    ("path", "attributes", "expected"),
    [
        ("raw", {}, True),
        ("labels/neurons", {}, False),
        ("volumes/labels", {}, False),
        ("gt_labels", {}, False),
        ("unlabelled", {}, True),
        ("a", {"labels": []}, False),
        ("a", {"image-label": {}}, False),
        ("a", {"cellmap": {"annotation": {"class_name": "mito", "annotation_type": {}}}}, False),
    ],
)
def test_declared_labels_are_not_interpolatable(tmp_path, path, attributes, expected):
    write(tmp_path, path, attributes)
    assert opened(tmp_path, path).interpolatable is expected
    assert opened(tmp_path, path, interpolatable=not expected).interpolatable is not expected


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("|u1", True), ("<u2", True), ("<i2", True), ("<u4", False), ("<u8", False), ("<f4", True), ("|b1", False)],
)
def test_interpolatable_by_dtype(tmp_path, dtype, expected):
    write(tmp_path, "a", dtype=dtype)
    assert opened(tmp_path).interpolatable is expected


def test_attributes_pass_without_geometry(tmp_path):
    write(tmp_path, "a", {"voxel_size": [4, 4, 4], "offset": [0, 0, 0], "labels": [1], "note": "kept"})
    array = gpa.CropArrayConfig("c", gpa.ZarrArrayConfig("a", tmp_path, "a"), [[0, 0, 0], [8, 8, 8]]).array()
    assert array.attrs == {"labels": [1], "note": "kept"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"voxel_size": "large"},
        {"voxel_size": [4, 4, 4], "units": ["nm", "nm"]},
        {"voxel_size": [4, 4, 4], "units": ["parsec"] * 3},
        {"voxel_size": [4, None, 4]},
        {"transform": {"axes": ["z"]}},
    ],
)
def test_malformed_geometry_names_the_key(tmp_path, attributes):
    write(tmp_path, "a", attributes)
    with pytest.raises(gpa.StoreError, match=str(tmp_path)):
        opened(tmp_path)


@pytest.mark.parametrize("value", ["large", 5, {"z": 4}])
@pytest.mark.parametrize(
    "key", ["voxel_size", "offset", "element_size_um", "pixelResolution", "dimension_units", "downsamplingFactors"]
)
def test_lengths_that_are_no_list_are_named(tmp_path, key, value):
    attributes = {key: {"dimensions": value} if key == "pixelResolution" else value}
    write(tmp_path, "a", {"resolution": [4, 4, 4], **attributes} if key == "downsamplingFactors" else attributes)
    with pytest.raises(gpa.StoreError, match=rf"found {key} .* is not a list of lengths in .*`voxel_size=`"):
        opened(tmp_path)


@pytest.mark.parametrize("scale", [None, 4, "444", [4, 4]])
def test_a_scale_that_is_not_one_length_per_axis_is_named(tmp_path, scale):
    write(tmp_path, "a")
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    transformations = [{"type": "scale", "scale": scale}]
    image = {"version": "0.4", "axes": axes, "datasets": [{"path": "a", "coordinateTransformations": transformations}]}
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    with pytest.raises(gpa.StoreError, match=r"found scale .* of 3 axes in .*`voxel_size=`"):
        opened(tmp_path)


def test_fewer_lengths_than_axes_are_those_of_the_spatial_ones(tmp_path):
    write(tmp_path, "a", {"voxel_size": [4, 4]})
    assert opened(tmp_path).axes == ("c", "y", "x")


@pytest.mark.parametrize("sizes", [[0, 4, 4], [-4, 4, 4]])
def test_voxel_sizes_are_positive(tmp_path, sizes):
    write(tmp_path, "a", {"voxel_size": sizes})
    with pytest.raises(gpa.TreeError) as caught:
        opened(tmp_path)
    found = f"({', '.join(map(str, sizes))}) nm in {tmp_path}/a"
    assert str(caught.value) == f"a: its voxel_size must be positive; found {found}; allowed: lengths above 0"


def test_axis_roles():
    assert axis_roles(["sample", "channel", "y", "x"], 4) == (("s", "c", "y", "x"), (True, True, False, False))
    assert axis_roles(["z", "y", "x"], 4, 3) == (("c", "z", "y", "x"), (True, False, False, False))
    assert axis_roles(None, 5) == (("s", "c", "z", "y", "x"), (True, True, False, False, False))
    assert axis_roles(["a", "b"], 2, types=["channel", "space"]) == (("a", "b"), (True, False))
    assert axis_roles(None, 3, types=["space", "space", "channel"]) == (("y", "x", "c"), (False, False, True))


def test_one_translation_of_the_image_does_not_mean_centres(tmp_path):
    outer = [{"type": "scale", "scale": [1] * 3}, {"type": "translation", "translation": [100, 200, 300]}]
    metadata = ngff(("s0", [4] * 3, None), ("s1", [8] * 3, None), coordinateTransformations=outer)
    write(tmp_path, "p", metadata, group=True)
    for level, shape in (("s0", (4, 6, 8)), ("s1", (2, 3, 4))):
        write(tmp_path, f"p/{level}", shape=shape)
        assert opened(tmp_path, f"p/{level}").roi == Roi((100, 200, 300), (16, 24, 32))


@pytest.mark.parametrize("pyramid", [False, True])
def test_no_unit_is_logged(tmp_path, pyramid, caplog):
    caplog.set_level("INFO", "gp_arrays")
    if pyramid:
        write(tmp_path, "a", ngff(("s0", [4] * 3, None), unit=None), group=True)
        write(tmp_path, "a/s0")
    else:
        write(tmp_path, "a", {"voxel_size": [4] * 3})
    assert opened(tmp_path).voxel_size == (4, 4, 4)
    assert "says no unit: taken as nm" in caplog.text


@pytest.mark.skipif(3 not in FORMATS, reason="Zarr v3 needs zarr 3")
def test_names_of_dimensions_of_zarr_v3_are_those_of_axes(tmp_path):
    voxels = np.arange(48, dtype=np.uint8).reshape(2, 3, 4, 2)
    names = ["z", "y", "x", "c"]
    array = NewArray(voxels.shape, (2, 3, 4, 1), np.dtype("uint8"), {"voxel_size": [8, 4, 4]}, format=3, axes=names)
    create_array(tmp_path, "a", array)
    gpa.ZarrArrayConfig("w", tmp_path, "a", mode="r+").array()[:] = np.moveaxis(voxels, 3, 0)
    array = opened(tmp_path)
    assert array.axes == ("c", "z", "y", "x")
    assert np.array_equal(array[:], np.moveaxis(voxels, 3, 0))
    assert np.array_equal(array.data[:], voxels)


@pytest.mark.parametrize(
    ("translations", "begins"),
    [
        (([40, 8, 0], [40, 8, 0], [40, 8, 0]), ([40, 8, 0],) * 3),
        (([40, 8, 0], [42, 10, 2], [46, 14, 6]), ([40, 8, 0],) * 3),
        ((None, [2, 2, 2], [6, 6, 6]), ([0, 0, 0],) * 3),
        (([0, 0, 0], [0, 0, 0], [0, 0, 0]), ([0, 0, 0],) * 3),
        # one level that differs: all mark centres
        (([40, 8, 0], [40, 8, 0], [46, 14, 6]), ([40, 8, 0], [38, 6, -2], [40, 8, 0])),
    ],
)
@pytest.mark.parametrize("dialect", ["ngff", "ngff 0.5", "cosem"])
def test_one_translation_at_all_levels_is_a_corner(tmp_path, dialect, translations, begins):
    sizes = [[4] * 3, [8] * 3, [16] * 3]
    levels = list(zip(("s0", "s1", "s2"), sizes, translations, strict=True))
    if dialect == "ngff":
        write(tmp_path, "p", ngff(*levels), group=True)
    elif dialect == "ngff 0.5":
        write(tmp_path, "p", {"ome": {"version": "0.5", **ngff(*levels)}}, group=True)
    else:
        entries = [
            {"path": path, "transform": {"axes": list("zyx"), "scale": scale, "translate": t or [0] * 3}}
            for path, scale, t in levels
        ]
        write(tmp_path, "p", {"multiscales": [{"datasets": entries}]}, group=True)
    for (path, size, _), begin in zip(levels, begins, strict=True):
        write(tmp_path, f"p/{path}")
        array = opened(tmp_path, f"p/{path}")
        assert (list(array.roi.begin), list(array.voxel_size)) == (begin, size)
