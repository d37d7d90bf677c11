"""Stores that create_zarr writes: other programs open them, and nothing is replaced without overwrite."""

import numpy as np
import pytest
import zarr
from funlib.geometry import Coordinate, Roi
from funlib.persistence import open_ds

import gp_arrays as gpa
from gp_arrays.storage.chunked.create import COMPRESSORS
from gp_arrays.storage.chunked.engine import FORMATS

ROI = Roi((20, 0, 8), (40, 24, 16))


def create(root, dataset="x", **fields):
    return gpa.create_zarr(root, dataset, **{"roi": ROI, "voxel_size": (10, 4, 8), "dtype": "uint16", **fields})


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_written_voxels_are_read(tmp_path, zarr_format, compressor):
    root = tmp_path / "a.zarr"
    array = create(root, num_channels=3, compressor=compressor, zarr_format=zarr_format, write_size=(20, 8, 8))
    values = np.random.default_rng(0).integers(0, 999, array.shape, dtype=np.uint16)
    array[array.roi] = values
    again = gpa.open_zarr(root, "x")
    assert (again.roi, again.voxel_size, again.axes) == (ROI, Coordinate(10, 4, 8), ("c", "z", "y", "x"))
    assert np.array_equal(again[:], values)
    plain = zarr.open(str(root), mode="r")["x"]
    assert np.array_equal(plain[:], values)
    assert plain.chunks == (1, 2, 2, 1)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_funlib_persistence_reads_it(tmp_path, zarr_format):
    create(tmp_path / "a.zarr", num_channels=2, zarr_format=zarr_format)[:] = 7
    opened = open_ds(tmp_path / "a.zarr" / "x")
    assert (opened.roi, opened.voxel_size) == (ROI, Coordinate(10, 4, 8))
    assert list(opened.axis_names) == ["c^", "z", "y", "x"]
    assert list(opened.units) == ["nm"] * 3
    assert np.all(opened[ROI] == 7)


@pytest.mark.skipif(3 not in FORMATS, reason="zarr 2 writes no Zarr v3")
@pytest.mark.parametrize("num_channels", [None, 2])
def test_dimensions_of_zarr_v3_are_named(tmp_path, num_channels):
    array = create(tmp_path / "a.zarr", num_channels=num_channels, zarr_format=3)
    named = zarr.open(str(tmp_path / "a.zarr"), mode="r")["x"].metadata.dimension_names
    assert tuple(named) == array.axes


@pytest.mark.skipif(3 not in FORMATS, reason="zarr 2 has no shards")
def test_shards(tmp_path):
    array = create(tmp_path / "a.zarr", zarr_format=3, chunks=(2, 3, 1), shards=(4, 6, 2))
    array[:] = 5
    assert np.all(gpa.open_zarr(tmp_path / "a.zarr", "x")[:] == 5)
    assert len([p for p in (tmp_path / "a.zarr" / "x").rglob("*") if p.is_file()]) == 2


@pytest.mark.skipif(3 not in FORMATS, reason="zarr 2 writes one format")
@pytest.mark.parametrize(("first", "second"), [(2, 3), (3, 2)])
def test_one_store_is_of_one_format(tmp_path, first, second):
    create(tmp_path / "a.zarr", "g/x", zarr_format=first)
    with pytest.raises(gpa.StoreError, match=f"the store is Zarr v{first}.*allowed: zarr_format {first}"):
        create(tmp_path / "a.zarr", "g/y", zarr_format=second)
    assert [path.name for path in (tmp_path / "a.zarr" / "g").iterdir() if path.is_dir()] == ["x"]


def test_channel_names_and_attributes(tmp_path):
    create(tmp_path / "a.zarr", channel_names=["a", "b"], attributes={"note": 1}, unit="um")
    array = gpa.open_zarr(tmp_path / "a.zarr", "x", unit="um")
    assert (array.channels, array.attrs, array.unit) == (("a", "b"), {"note": 1}, "um")


def test_nothing_is_replaced_without_overwrite(tmp_path):
    root = tmp_path / "a.zarr"
    create(root)[:] = 3
    with pytest.raises(gpa.StoreError, match="an array is there already"):
        create(root)
    assert np.all(gpa.open_zarr(root, "x")[:] == 3)
    with pytest.raises(gpa.ConfigError, match="unknown compressor"):
        create(root, overwrite=True, compressor="zip")
    with pytest.raises(gpa.ConfigError, match="JSON"):
        create(root, overwrite=True, attributes={"not": object()})
    assert np.all(gpa.open_zarr(root, "x")[:] == 3)
    assert [p.name for p in root.iterdir() if p.is_dir()] == ["x"]
    assert np.all(create(root, overwrite=True)[:] == 0)
    create(root, "g/y")
    for dataset in ("g", ""):
        with pytest.raises(gpa.StoreError, match="a group is there already"):
            create(root, dataset, overwrite=True)
    (root / "other").mkdir()
    (root / "other" / "file").write_text("precious")
    with pytest.raises(gpa.StoreError, match="not a Zarr array"):
        create(root, "other", overwrite=True)
    assert (root / "other" / "file").read_text() == "precious"
    (tmp_path / "file").write_text("precious")
    with pytest.raises(gpa.StoreError, match="not a folder"):
        create(tmp_path / "file")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"voxel_size": (10, 4)}, "one positive length per axis"),
        ({"voxel_size": (10, 0, 8)}, "one positive length per axis"),
        ({"roi": Roi((0, 0, 0), (41, 24, 16))}, "not a whole number of voxels"),
        ({"axes": ("c", "z", "y", "x")}, "axes do not fit"),
        ({"axes": ("z", "y", "c"), "num_channels": None}, "axes do not fit"),
        ({"num_channels": 3, "channel_names": ["a"]}, "channel_names must be"),
        ({"chunks": (0, 1, 1)}, "chunks must be"),
        ({"shards": (3, 8, 8), "chunks": (2, 2, 2), "zarr_format": 3}, "whole chunks"),
        ({"dtype": "object"}, "not a dtype of voxels"),
        ({"unit": "miles"}, "not a unit"),
        ({"compressor": "zip"}, "unknown compressor"),
        ({"shards": (4, 6, 2)}, "shards need Zarr v3"),
    ],
)
def test_bad_values_leave_no_files(tmp_path, fields, problem):
    with pytest.raises((gpa.ConfigError, gpa.StoreError), match=problem):
        create(tmp_path / "a.zarr", **fields)
    assert not (tmp_path / "a.zarr").exists()


def test_modes(tmp_path):
    root = tmp_path / "a.zarr"
    create(root)
    config = gpa.ZarrArrayConfig("x", root, "x")
    with pytest.raises(gpa.StoreError, match="x: opened read-only"):
        config.array()[:] = 1
    config.array(mode="r+")[:] = 1
    assert np.all(config.array()[:] == 1)
    assert gpa.ZarrArrayConfig("x", root, "x", mode="a").array().writable
    for mode in ("w", "w-", "x"):
        with pytest.raises(gpa.ConfigError, match="x: unknown mode"):
            gpa.ZarrArrayConfig("x", root, "x", mode=mode)


def test_add_metadata(tmp_path):
    array = create(tmp_path / "a.zarr")
    array.add_metadata({"labels": [{"value": 1}]})
    assert array.attrs == {"labels": [{"value": 1}]}
    assert gpa.open_zarr(tmp_path / "a.zarr", "x").attrs == {"labels": [{"value": 1}]}
    with pytest.raises(gpa.StoreError, match="read-only"):
        gpa.open_zarr(tmp_path / "a.zarr", "x").add_metadata({"a": 1})


def test_an_array_at_the_root_of_a_store(tmp_path):
    create(tmp_path / "a.zarr", "")[:] = 4
    assert np.all(gpa.open_zarr(tmp_path / "a.zarr", "")[:] == 4)
