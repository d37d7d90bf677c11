"""Arrays with a time axis are exchanged with funlib.persistence in both directions and keep their position."""

import json

import numpy as np
import pytest
import zarr
from funlib.geometry import Coordinate, Roi
from funlib.persistence import open_ds, prepare_ds

import gp_arrays as gpa
from gp_arrays.storage.chunked.engine import FORMATS

ROI, VOXEL_SIZE = Roi((8, 16, 24), (32, 20, 24)), Coordinate(8, 4, 4)
VOXELS = np.random.default_rng(0).integers(1, 255, (2, 3, 4, 5, 6), dtype=np.uint8)
TYPES = ["time", "channel", "space", "space", "space"]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_funlib_opens_arrays_of_materialize(tmp_path, one_process, zarr_format):
    configs = {}
    for axes in ("tczyx", "tzyx", "stzyx"):
        voxels = VOXELS if len(axes) == 5 else VOXELS[:, 0]
        configs[axes] = gpa.NumpyArrayConfig(axes, voxels, voxel_size=VOXEL_SIZE, offset=ROI.offset, axes=tuple(axes))
    gpa.materialize(configs, tmp_path / "out.zarr", storage=gpa.Storage(zarr_format=zarr_format), progress=False)
    for axes, config in configs.items():
        stored, in_memory = open_ds(tmp_path / "out.zarr" / axes), config.array().to_funlib()
        for opened in (stored, in_memory):
            assert (opened.roi, opened.voxel_size, list(opened.units)) == (ROI, VOXEL_SIZE, ["nm"] * 3)
            assert np.array_equal(opened[ROI], VOXELS if len(axes) == 5 else VOXELS[:, 0])
        assert (list(stored.axis_names), list(stored.types)) == (list(in_memory.axis_names), list(in_memory.types))
        assert gpa.open_zarr(tmp_path / "out.zarr", axes).axes == tuple(axes)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_funlib_opens_arrays_of_create_zarr(tmp_path, zarr_format):
    array = gpa.create_zarr(
        tmp_path / "a.zarr",
        "a",
        ROI,
        VOXEL_SIZE,
        "uint8",
        ("t", "z", "y", "x"),
        num_channels=2,
        zarr_format=zarr_format,
    )
    array[:] = VOXELS[:, 0]
    opened = open_ds(tmp_path / "a.zarr" / "a")
    assert (opened.roi, opened.voxel_size, opened.axis_names[0]) == (ROI, VOXEL_SIZE, "t^")
    assert np.array_equal(opened[ROI], VOXELS[:, 0])
    assert array.axes == ("t", "z", "y", "x")


@pytest.mark.parametrize("units", [None, ["s", "nm", "nm", "nm"], ["s", "um", "um", "um"]])
@pytest.mark.parametrize(
    ("names", "axes"),
    [
        (["t", "c^", "z", "y", "x"], ("t", "c", "z", "y", "x")),
        (["t", "c", "z", "y", "x"], ("t", "c", "z", "y", "x")),
        (None, ("d0", "c0", "d1", "d2", "d3")),
    ],
)
def test_arrays_of_funlib_are_opened(tmp_path, units, names, axes):
    prepare_ds(
        tmp_path / "a.zarr" / "a",
        VOXELS.shape,
        Coordinate(7, *ROI.offset),
        Coordinate(3, *VOXEL_SIZE),
        axis_names=names,
        units=units,
        types=TYPES,
        dtype=np.uint8,
        mode="w",
    )
    zarr.open(str(tmp_path / "a.zarr" / "a"), mode="r+")[:] = VOXELS
    array = gpa.open_zarr(tmp_path / "a.zarr", "a")
    times = 1000 if units and "um" in units else 1
    assert (array.roi, array.voxel_size) == (ROI * times, VOXEL_SIZE * times)
    assert (array.axes, array.shape) == (axes, VOXELS.shape)
    assert np.array_equal(array[array.roi], VOXELS)


def test_time_between_the_axes_of_space(tmp_path):
    # the spatial lengths are not the last three
    types = ["space", "time", "channel", "space", "space"]
    prepare_ds(
        tmp_path / "a.zarr" / "a",
        VOXELS.shape,
        Coordinate(8, 7, 16, 24),
        Coordinate(8, 3, 4, 4),
        axis_names=["z", "t", "c^", "y", "x"],
        units=["nm", "s", "nm", "nm"],
        types=types,
        dtype=np.uint8,
        mode="w",
    )
    zarr.open(str(tmp_path / "a.zarr" / "a"), mode="r+")[:] = VOXELS
    array = gpa.open_zarr(tmp_path / "a.zarr", "a")
    assert (array.roi.offset, array.voxel_size, array.axes) == (ROI.offset, VOXEL_SIZE, ("t", "c", "z", "y", "x"))
    assert np.array_equal(array[:], VOXELS.transpose(1, 2, 0, 3, 4))


@pytest.mark.parametrize(
    ("types", "axes"),
    [
        (TYPES, ("t", "c", "z", "y", "x")),
        (["space", "space", "space", "time", "channel"], ("t", "c", "z", "y", "x")),
        (["channel", "channel", "space", "space", "space"], ("s", "c", "z", "y", "x")),
    ],
)
@pytest.mark.parametrize("names", [None, ["z", "y", "x"]])
def test_types_say_which_axes_are_of_space(tmp_path, types, axes, names):
    dataset = prepare_ds(tmp_path / "a.zarr" / "a", VOXELS.shape, types=types, dtype=np.uint8, mode="w")
    sizes = {"space": iter(VOXEL_SIZE), "time": iter([3])}
    dataset.attrs["voxel_size"] = [next(sizes[kind]) for kind in types if kind in sizes]
    dataset.attrs["axis_names"] = names
    array = gpa.open_zarr(tmp_path / "a.zarr", "a")
    assert (array.axes, array.voxel_size) == (axes, VOXEL_SIZE)
    assert np.prod(array.shape) == VOXELS.size
    order = [i for i, kind in enumerate(types) if kind != "space"]
    assert array.shape[:2] == tuple(VOXELS.shape[i] for i in order)


def test_a_time_axis_of_type_time_with_lengths_of_space_alone_is_still_read(tmp_path):
    # earlier versions of this library wrote this
    gpa.create_zarr(
        tmp_path,
        "a",
        ROI,
        VOXEL_SIZE,
        "uint8",
        ("t", "z", "y", "x"),
        num_channels=2,
        attributes={"types": ["time", "space", "space", "space"]},
    )
    assert json.loads((tmp_path / "a" / ".zattrs").read_text())["types"][0] == "time"
    array = gpa.open_zarr(tmp_path, "a")
    assert (array.roi, array.axes) == (ROI, ("t", "z", "y", "x"))
