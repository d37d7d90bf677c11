"""Datasets of HDF5 files: conventions of attributes, lazy reading, broken files, laws."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE, reading_once
from gp_arrays.testing import ArrayTypeLaws

RNG = np.random.default_rng(6)


def write(path: Path, name: str, data: Any, attributes: Any = (), **options: Any) -> gpa.HDF5ArrayConfig:
    with h5py.File(path, "a") as file:
        file.create_dataset(name, data=data, **options).attrs.update(dict(attributes))
    return gpa.HDF5ArrayConfig("hdf5", path, name)


def numbered(*shape: int, dtype: Any = "uint16") -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


ILASTIK = json.dumps({"axes": [{"key": key, "typeFlags": 2, "resolution": 0} for key in "zyxc"]})


@pytest.mark.parametrize(
    ("shape", "attributes", "axes", "size", "begin"),
    [
        ((3, 4, 5), {"resolution": (40.0, 4.0, 4.0), "offset": (1520.0, 3644.0, 3644.0)}, "zyx", (40, 4, 4), True),
        ((3, 4, 5), {"voxel_size": [40, 4, 4], "axis_names": ["z", "y", "x"], "units": "nm"}, "zyx", (40, 4, 4), False),
        ((2, 3, 4, 5), {"resolution": np.array([40, 4, 4])}, "czyx", (40, 4, 4), False),
        ((3, 4, 5), {"element_size_um": np.float32([0.04, 0.005, 0.006])}, "zyx", (40, 5, 6), False),
        ((3, 4, 5, 2), {"axistags": ILASTIK}, "czyx", None, False),
        ((4, 5), {"resolution": (8, 6)}, "yx", (8, 6), False),
        ((3, 4, 5), {}, "zyx", None, False),
    ],
)
def test_dialects(tmp_path: Path, shape: Any, attributes: Any, axes: str, size: Any, begin: bool) -> None:
    data = numbered(*shape)
    config = write(tmp_path / "a.hdf", "volumes/raw", data, attributes, chunks=tuple(min(n, 2) for n in shape))
    array = config.array()
    want = np.moveaxis(data, -1, 0) if shape[-1] == 2 else data
    assert ("".join(array.axes), array.dtype, array.shape) == (axes, np.uint16, want.shape)
    assert tuple(array.voxel_size) == (size or (1,) * array.dims)
    assert tuple(array.roi.begin) == ((1520, 3644, 3644) if begin else (0,) * array.dims)
    assert np.array_equal(array[:], want)
    assert np.array_equal(array[..., 1:3, 2:4], want[..., 1:3, 2:4])
    assert config.verify() == (True, "ok" if size else "ok, but hdf5: no voxel size: 1 nm assumed")
    other = config.with_fields(voxel_size=("7 nm", 3, 2)[-array.dims :], offset=(70, 3, 4)[-array.dims :])
    assert tuple(other.array().voxel_size) == (7, 3, 2)[-array.dims :]
    assert tuple(other.array().roi.begin) == (70, 3, 4)[-array.dims :]


def test_voxel_sizes_of_ilastik(tmp_path: Path) -> None:
    sizes = {"z": 2.0, "y": 0.5, "x": 0.5, "c": 0}
    tags = json.dumps({"axes": [{"key": key, "typeFlags": 2, "resolution": size} for key, size in sizes.items()]})
    units = json.dumps({"z": "um", "y": "um", "x": "um", "c": ""})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.zeros((3, 4, 5, 2), np.uint8)
        file["a"].attrs.update({"axistags": tags, "axis_units": units})
        file["partly"] = np.zeros((3, 4, 5, 2), np.uint8)
        file["partly"].attrs.update({"axistags": tags.replace("2.0", "0")})
    config = gpa.HDF5ArrayConfig("a", tmp_path / "a.h5", "a")
    assert (config.array().shape, config.array().voxel_size) == ((2, 3, 4, 5), (2000, 500, 500))
    assert config.with_fields(axes=("z", "y", "x", "c")).array().voxel_size == (2000, 500, 500)
    with pytest.raises(gpa.StoreError, match="lengths of 2 of 3 spatial axes.*`voxel_size=`"):
        config.with_fields(dataset="partly").array()


def test_labels_of_dimensions_are_axes(tmp_path: Path) -> None:
    config = write(tmp_path / "a.h5", "a", numbered(3, 4, 2))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        for dimension, name in zip(file["a"].dims, "yxc", strict=True):
            dimension.label = name
    assert config.array().axes == ("c", "y", "x")
    assert config.with_fields(axes=["z", "y", "x"]).array().axes == ("z", "y", "x")


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"resolution": (40, 4, 4), "voxel_size": (4, 4, 40)}, "contradicts.*`voxel_size=`"),
        ({"resolution": np.array([b"wide", b"4", b"4"])}, "not a length.*wide"),
        ({"resolution": (40, 4, 4), "units": ["parsec"] * 3}, "parsec"),
        ({"axistags": "no json"}, "JSONDecodeError"),
    ],
)
def test_attributes_that_are_not_understood(tmp_path: Path, attributes: Any, named: str) -> None:
    config = write(tmp_path / "a.hdf", "raw", numbered(3, 4, 5), attributes)
    with pytest.raises(gpa.StoreError, match=rf"^hdf5: .*({named})") as caught:
        config.array()
    assert "\n" not in str(caught.value)
    if "resolution" in attributes and "units" not in attributes:
        assert tuple(config.with_fields(voxel_size=(9, 9, 9)).array().voxel_size) == (9, 9, 9)


def test_missing_datasets_are_named(tmp_path: Path) -> None:
    config = write(tmp_path / "a.hdf", "volumes/raw", numbered(3, 4, 5))
    for dataset, message in [("volumes", "'volumes' in .* is a group"), ("row", "'row' in .* is not there")]:
        with pytest.raises(gpa.StoreError, match=rf"no such dataset; found {message}; allowed: volumes/raw"):
            config.with_fields(dataset=dataset).array()
    with pytest.raises(gpa.StoreError, match="there is no such file"):
        config.with_fields(file_name=tmp_path / "b.hdf").array()
    (tmp_path / "text.hdf").write_text("text")
    with pytest.raises(gpa.StoreError, match=r"cannot read; found .*text\.hdf"):
        config.with_fields(file_name=tmp_path / "text.hdf").array()
    with pytest.raises(gpa.StoreError, match="not an array of voxels"):
        write(tmp_path / "a.hdf", "words", ["a", "b"]).array()


@pytest.mark.parametrize("how", ["truncated", "checksum", "changed", "virtual"])
def test_broken_files_are_errors(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.hdf"
    data = numbered(8, 8, 8)
    if how == "virtual":
        write(tmp_path / "source.hdf", "raw", data)
        layout = h5py.VirtualLayout(data.shape, data.dtype)
        layout[:] = h5py.VirtualSource(tmp_path / "source.hdf", "raw", data.shape)
        with h5py.File(path, "w") as file:
            file.create_virtual_dataset("raw", layout)
        config = gpa.HDF5ArrayConfig("hdf5", path, "raw")
    else:
        config = write(path, "raw", data, chunks=(4, 4, 4), fletcher32=True)
    array = config.array()
    assert np.array_equal(array[:], data)
    if how == "virtual":
        (tmp_path / "source.hdf").unlink()
    elif how == "truncated":
        os.truncate(path, path.stat().st_size - 100)
    elif how == "changed":
        write(path, "more", data)
    else:
        content = bytearray(path.read_bytes())
        content[content.index(data[:4, :4, :4].tobytes()) + 40] ^= 1
        path.write_bytes(content)
    for attempt in (array, config) if how != "changed" else (array,):
        with pytest.raises(gpa.StoreError, match=r"^hdf5: .*(a|source)\.hdf") as caught:
            (attempt if attempt is array else config.array())[:]
        assert "\n" not in str(caught.value)


def test_a_crop_reads_a_fraction_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf"
    data = RNG.integers(0, 255, (256, 256, 256), np.uint8)
    array = write(path, "raw", data, {"resolution": (1, 1, 1)}, chunks=(32, 32, 32)).array()

    def bytes_read() -> int:
        return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]

    before = bytes_read()
    assert np.array_equal(array[64:128, 96:160, 32:96], data[64:128, 96:160, 32:96])
    assert 64**3 <= bytes_read() - before < 0.05 * path.stat().st_size


class TestHDF5Laws(ArrayTypeLaws):
    type = gpa.HDF5ArrayConfig

    def configs(self, folder: Path) -> Any:
        path = folder / "sample.hdf"
        if not path.exists():
            attributes = {"resolution": (4.0, 2.0, 2.0), "offset": (8.0, -2.0, 0.0)}
            write(
                path, "volumes/raw", numbered(5, 6, 7, dtype="uint8"), attributes, chunks=(2, 3, 4), compression="gzip"
            )
            write(path, "masks", numbered(2, 6, 5, dtype=">f4"))
        return [
            gpa.HDF5ArrayConfig("raw", path, "volumes/raw"),
            gpa.HDF5ArrayConfig("masks", path, "masks", axes=["c", "y", "x"], voxel_size=(3, 2)),
        ]

    def refused(self) -> Any:
        return [
            lambda: gpa.HDF5ArrayConfig("a", "a.h5", "a", voxel_size=(0, 1)),
            lambda: gpa.HDF5ArrayConfig("a", "a.h5", "a", unit="parsec"),
        ]

    def misfits(self, folder: Path) -> Any:
        config = write(folder / "a.h5", "a", numbered(3, 4)).with_fields(name="a")
        return [config.with_fields(axes=["z", "y", "x"])]


@pytest.mark.parametrize("dtype", [">u2", "bool", "float32"])
def test_chunks_are_read_once(tmp_path: Path, dtype: str) -> None:
    CACHE.clear()
    data, path = numbered(5, 7, 9, dtype=dtype), tmp_path / "a.hdf"
    array = write(path, "raw", data, chunks=(2, 3, 4), compression="gzip").array()
    assert np.array_equal(array[:], data)
    assert CACHE.nbytes == 0  # it was changed a moment ago, and may change again
    os.utime(path, (0, 0))
    array = gpa.HDF5ArrayConfig("hdf5", path, "raw").array()
    assert np.array_equal(array[1:5, 2:7, :9], data[1:5, 2:7, :9])
    with mock.patch("h5py.File", side_effect=AssertionError):
        for box in ((slice(0, 5), slice(3, 7), slice(1, 9)), (slice(2, 3), slice(0, 7), slice(8, 9))):
            assert np.array_equal(array[box], data[box])
            assert array[box].dtype == data.dtype.newbyteorder("=")
    size = CACHE.nbytes
    with reading_once():
        array[:]
    assert CACHE.nbytes == size
    os.utime(path, (1, 1))
    with pytest.raises(gpa.StoreError, match="changed"):
        array[:]
    path.unlink()
    with pytest.raises(gpa.StoreError, match="no such file"):
        array[:]
