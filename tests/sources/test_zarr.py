"""Zarr on disk: every form of storage against bytes written by hand, config, losses, node, laws."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gunpowder as gp
import numcodecs
import numpy as np
import pytest
import zarr

import gp_arrays as gpa
from gp_arrays.testing import StoredSourceLaws, recorded, write_plain_zarr

V3 = int(zarr.__version__.split(".")[0]) >= 3
KEY = gp.ArrayKey("Z_KEY")
PLAIN = {"voxel_size": [2, 3], "offset": [4, -6]}


def ramp(*shape: int, dtype: str = "u2") -> np.ndarray[Any, Any]:
    """Voxels that are all different, and none of them zero."""
    return np.arange(1, 1 + int(np.prod(shape)), dtype=dtype).reshape(shape)


@pytest.mark.parametrize(
    "form", [{}, {"order": "F"}, {"separator": "."}, {"order": "F", "separator": "."}, {"zarr_format": 3}]
)
@pytest.mark.parametrize("dtype", ["bool", "<u2", ">u2", ">u8", "<i4", ">i2", "<f2", ">f4", "<f8", "|u1", "|i1"])
def test_every_form_of_storage(tmp_path: Path, form: Any, dtype: str) -> None:
    data = ramp(5, 7).astype(dtype)
    write_plain_zarr(tmp_path / "a", data, (2, 3), PLAIN, **form)
    array = gpa.ZarrArrayConfig("a", tmp_path, "a").array()
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    assert array.dtype.isnative
    assert array[:].dtype.isnative
    assert array[:].tolist() == data.tolist()
    assert array[1:5, 2:7].tolist() == data[1:5, 2:7].tolist()
    assert array[gpa.Roi((6, -3), (4, 9))].tolist() == data[1:3, 1:4].tolist()
    assert array[::-2, -1].tolist() == data[::-2, -1].tolist()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("stored", "axes"),
    [
        (("c", "y", "x"), "cyx"),
        (("y", "x", "c"), "cyx"),
        (("y", "c", "x"), "cyx"),
        (("y", "t", "x", "c"), "tcyx"),
        (("y^", "b", "a"), "yba"),
        (("channels", "row", "column"), ("c", "row", "column")),
    ],
)
def test_leading_axes_come_first(tmp_path: Path, order: str, stored: Any, axes: Any) -> None:
    sizes = {"c": 2, "channels": 2, "t": 3, "y^": 2, "y": 4, "x": 5, "b": 4, "a": 5, "row": 4, "column": 5}
    data = ramp(*(sizes[axis] for axis in stored))
    write_plain_zarr(tmp_path / "a", data, [2] * data.ndim, {**PLAIN, "axis_names": stored}, order=order)
    array = gpa.ZarrArrayConfig("a", tmp_path, "a", mode="r+").array()
    nonspatial = [i for i, name in enumerate(stored) if name in ("c", "channels", "t", "y^")]
    moved = data.transpose(nonspatial + [i for i in range(data.ndim) if i not in nonspatial])
    assert array.axes == tuple(axes)
    assert array[:].tolist() == moved.tolist()
    assert array[1, ..., 3].tolist() == moved[1, ..., 3].tolist()
    array[1, ..., 3:] = 0
    changed = moved.copy()
    changed[1, ..., 3:] = 0
    assert gpa.ZarrArrayConfig("b", tmp_path, "a").array()[:].tolist() == changed.tolist()


@pytest.mark.parametrize("dtype", [">u2", "<f4"])
def test_writing_keeps_the_stored_form(tmp_path: Path, dtype: str) -> None:
    folder = write_plain_zarr(tmp_path / "a", ramp(5, 7).astype(dtype), (2, 3), PLAIN, order="F", separator=".")
    array = gpa.ZarrArrayConfig("a", tmp_path, "a", mode="r+").array()
    array[gpa.Roi((4, -6), (4, 9))] = [[100, 200, 300], [400, 500, 600]]
    stored = np.frombuffer((folder / "0.0").read_bytes(), dtype).reshape((2, 3), order="F")
    assert stored.tolist() == [[100, 200, 300], [400, 500, 600]]
    assert json.loads((folder / ".zarray").read_text())["dtype"] == dtype


def test_a_read_only_array_is_not_written(tmp_path: Path) -> None:
    write_plain_zarr(tmp_path / "a", ramp(4, 4), (2, 2), PLAIN)
    array = gpa.ZarrArrayConfig("a", tmp_path, "a").array()
    with pytest.raises(gpa.StoreError, match="read-only"):
        array[0, 0] = 1
    with pytest.raises(gpa.StoreError, match="read-only"):
        array.add_metadata({"a": 1})
    assert gpa.ZarrArrayConfig("a", tmp_path, "a").array(mode="r+").writable


NGFF = {
    "version": "0.4",
    "axes": [
        {"name": "t", "type": "time"},
        {"name": "c", "type": "channel"},
        *({"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"),
    ],
    "datasets": [
        {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 8, 4, 4]}]},
        {
            "path": "s1",
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, 1, 8, 8, 8]},
                {"type": "translation", "translation": [0, 0, 0, 2, 2]},
            ],
        },
    ],
}


def test_singleton_leading_axes_of_pyramids_go(tmp_path: Path) -> None:
    group = tmp_path / "em"
    fine, coarse = ramp(1, 2, 2, 4, 4), ramp(1, 2, 2, 2, 2)
    write_plain_zarr(group / "s0", fine, (1, 1, 2, 2, 2), {})
    write_plain_zarr(group / "s1", coarse, (1, 1, 2, 2, 2), {})
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    (group / ".zattrs").write_text(json.dumps({"multiscales": [NGFF]}))
    finest = gpa.ZarrArrayConfig("em", tmp_path, "em", mode="r+").array()
    level = gpa.ZarrArrayConfig("em", tmp_path, "em", scale=1).array()
    assert (finest.axes, finest.shape, tuple(finest.voxel_size)) == (("c", "z", "y", "x"), (2, 2, 4, 4), (8, 4, 4))
    assert finest[:].tolist() == fine[0].tolist()
    assert (tuple(level.voxel_size), level.roi) == ((8, 8, 8), finest.roi)
    assert level[1, :, 0].tolist() == coarse[0, 1, :, 0].tolist()
    finest[1, 1, 2:] = 0
    fine[0, 1, 1, 2:] = 0
    assert np.asarray(zarr.open(str(group / "s0"), mode="r")[...]).tolist() == fine.tolist()


@pytest.mark.skipif(not V3, reason="shards need zarr 3")
def test_shards(tmp_path: Path) -> None:
    data = ramp(9, 10)
    stored = gpa.create_zarr(
        tmp_path, "a", gpa.Roi((0, 0), (18, 30)), (2, 3), "uint16", zarr_format=3, chunks=(2, 2), shards=(4, 6)
    )
    stored[...] = data
    config = gpa.ZarrArrayConfig("a", tmp_path, "a")
    with recorded(config) as record:
        assert config.array()[3:8, 1:9].tolist() == data[3:8, 1:9].tolist()
    assert record.reads[0][0].chunks == (2, 2)
    # a shard that lacks some chunks: they are fill value; one that is broken is an error
    stored[0:2, 0:2] = 0
    assert config.array()[0:3, 0:3].tolist() == [[0, 0, 3], [0, 0, 13], [21, 22, 23]]
    shard = tmp_path / "a" / "c" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:7])
    array = config.array()
    assert array[8, 9] == 90
    with pytest.raises(gpa.StoreError, match="cannot read"):
        array[:]


@pytest.mark.parametrize(
    ("fill", "dtype", "want"),
    [(7, "<u2", 7.0), ("NaN", "<f4", np.nan), ("-Infinity", "<f2", -np.inf), (None, "<u2", 0.0)],
)
def test_absent_chunks_are_fill_value(tmp_path: Path, fill: Any, dtype: str, want: float) -> None:
    """A fill value of null allows any value: it is always 0."""
    write_plain_zarr(tmp_path / "a", ramp(4, 4).astype(dtype), (2, 2), PLAIN, absent=[(0, 1), (1, 1)], fill_value=fill)
    array = gpa.ZarrArrayConfig("a", tmp_path, "a").array()
    for _ in range(3):
        np.full((64, 64), 9, dtype)  # memory that an uninitialized result would show
        np.testing.assert_array_equal(array[:, 2:], np.full((4, 2), want, dtype))
        assert array[:, :2].tolist() == [[1, 2], [5, 6], [9, 10], [13, 14]]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_chunk_that_may_not_be_read(tmp_path: Path) -> None:
    folder = write_plain_zarr(tmp_path / "a", ramp(4, 4), (2, 2), PLAIN)
    (folder / "0" / "1").chmod(0)
    with pytest.raises(gpa.StoreError, match="chunk 0/1 of"):
        gpa.ZarrArrayConfig("a", tmp_path, "a").array()[:]


def test_a_broken_chunk_is_named(tmp_path: Path) -> None:
    folder = write_plain_zarr(tmp_path / "a", ramp(4, 6), (2, 2), PLAIN)
    (folder / "1" / "2").write_bytes(b"abc")
    array = gpa.ZarrArrayConfig("a", tmp_path, "a").array()
    assert array[:, :4].tolist() == ramp(4, 6)[:, :4].tolist()
    with pytest.raises(gpa.StoreError, match="a: cannot read; found chunk 1/2 of"):
        array[:]


@pytest.mark.parametrize("zarr_format", [2, *([3] if V3 else [])])
@pytest.mark.parametrize("compressor", ["blosc", "zstd", "gzip", "none"])
def test_a_chunk_cut_short_is_an_error(tmp_path: Path, compressor: str, zarr_format: int) -> None:
    """Noise, which Blosc stores as it is: to decode less of it than there was it reads on in foreign memory."""
    data = np.random.default_rng(0).integers(0, 256, (32, 64), dtype="u1")
    stored = gpa.create_zarr(
        tmp_path,
        "a",
        gpa.Roi((0, 0), (32, 64)),
        (1, 1),
        "uint8",
        chunks=(32, 64),
        compressor=compressor,
        zarr_format=zarr_format,
    )
    stored[:] = data
    chunk = tmp_path / "a" / ("0/0" if zarr_format == 2 else "c/0/0")
    intact = chunk.read_bytes()
    array = gpa.ZarrArrayConfig("a", tmp_path, "a").array()
    for size in (0, 1, 16, len(intact) // 2, len(intact) - 1):
        chunk.write_bytes(intact[:size])
        with pytest.raises(gpa.StoreError, match="a: cannot read; found chunk"):
            array[:]
    # a valid chunk of another shape
    codec = {"blosc": numcodecs.Blosc(), "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip()}.get(compressor)
    for size in (1, 1024, 2047, 2049):
        other = np.resize(data.ravel(), size)
        chunk.write_bytes(other.tobytes() if codec is None else codec.encode(other))
        with pytest.raises(gpa.StoreError, match="a: cannot read; found chunk"):
            array[:]
    chunk.write_bytes(intact)
    assert np.array_equal(array[:], data)


@pytest.mark.parametrize(("field", "value"), [("shape", [4, 8]), ("chunks", [4, 4]), ("dtype", "<i2")])
def test_metadata_that_change_while_open_are_an_error(tmp_path: Path, field: str, value: Any) -> None:
    """Chunks of another layout are not where they were: what is absent then is no fill value."""
    folder = write_plain_zarr(tmp_path / "a", ramp(4, 4), (2, 2), PLAIN)
    array = gpa.ZarrArrayConfig("a", tmp_path, "a").array()
    document = json.loads((folder / ".zarray").read_text())
    (folder / ".zarray").write_text(json.dumps({**document, field: value}))
    (folder / "0" / "0").unlink()
    with pytest.raises(gpa.StoreError, match="has changed since it was opened"):
        array[:]


def test_a_file_where_a_store_is_expected(tmp_path: Path) -> None:
    write_plain_zarr(tmp_path / "s.zarr" / "a", ramp(4, 4), (2, 2), PLAIN)
    array = gpa.ZarrArrayConfig("a", tmp_path / "s.zarr", "a").array()
    (tmp_path / "s.zarr").rename(tmp_path / "elsewhere")
    (tmp_path / "s.zarr").write_text("not a folder")
    with pytest.raises(gpa.StoreError):
        array[:]


@pytest.mark.parametrize(
    ("fields", "begin", "end", "voxel_size"),
    [
        ({}, (4, -6), (14, 15), (2, 3)),
        ({"offset": (0, 0)}, (0, 0), (10, 21), (2, 3)),
        ({"voxel_size": ("1 um", "2 nm"), "offset": (5, 5)}, (5, 5), (5005, 19), (1000, 2)),
        ({"snap_to_grid": (4, 9)}, (4, 0), (12, 9), (2, 3)),
        ({"unit": "um"}, (4000, -6000), (14000, 15000), (2000, 3000)),
    ],
)
def test_fields_of_the_config_override_metadata(
    tmp_path: Path, fields: Any, begin: Any, end: Any, voxel_size: Any
) -> None:
    data = ramp(5, 7)
    write_plain_zarr(tmp_path / "a", data, (2, 3), PLAIN)
    array = gpa.ZarrArrayConfig("a", tmp_path, "a", **fields).array()
    assert (tuple(array.roi.begin), tuple(array.roi.end), tuple(array.voxel_size)) == (begin, end, voxel_size)
    if "snap_to_grid" in fields:
        assert array[:].tolist() == data[0:4, 2:5].tolist()
    else:
        assert array[:].tolist() == data.tolist()


def test_attributes_pass_through(tmp_path: Path) -> None:
    write_plain_zarr(tmp_path / "a", ramp(4, 6), (2, 2), {**PLAIN, "who": "fly", "units": ["nm", "nm"]})
    source = gpa.ZarrArrayConfig("a", tmp_path, "a")
    crop = gpa.CropArrayConfig("crop", source, [[4, -6], [4, 6]])
    mask = gpa.ThresholdArrayConfig("mask", crop, 1)
    assert source.array().attrs == crop.array().attrs == mask.array().attrs == {"who": "fly"}
    other = gpa.ConstantArrayConfig("one", source)
    assert gpa.SumArrayConfig("sum", [source, other]).array().attrs == {}
    assert gpa.SumArrayConfig("sum", [source]).array().attrs == {"who": "fly"}


def test_labels_are_not_interpolatable(tmp_path: Path) -> None:
    for path, attributes, may in [("raw", {}, True), ("labels/a", {}, False), ("b", {"image-label": {}}, False)]:
        write_plain_zarr(tmp_path / path, ramp(4, 6), (2, 2), {**PLAIN, **attributes})
        assert gpa.ZarrArrayConfig("a", tmp_path, path).array().interpolatable is may
        assert gpa.ZarrArrayConfig("a", tmp_path, path, interpolatable=not may).array().interpolatable is not may


def test_a_far_corner_of_a_vast_array(tmp_path: Path) -> None:
    """No cost may grow with the number of chunks, here 4 * 10^12."""
    attributes = {"voxel_size": [1, 1, 1]}
    folder = write_plain_zarr(tmp_path / "a", ramp(2, 2, 2), (2, 2, 2), attributes)
    document = json.loads((folder / ".zarray").read_text())
    (folder / ".zarray").write_text(json.dumps({**document, "shape": [10**6, 10**6, 32]}))
    corner = folder / "499999" / "499999" / "15"
    corner.parent.mkdir(parents=True)
    (folder / "0" / "0" / "0").rename(corner)
    masks = gpa.BinarizeArrayConfig("m", gpa.ZarrArrayConfig("a", tmp_path, "a"), [("seven", [7]), ("any", [])])
    assert masks.array()[1, -3:, -2:, -1].tolist() == [[0, 0], [1, 1], [1, 1]]
    assert masks.array()[0, -2:, -2:, -2:].tolist() == [[[0, 0], [0, 0]], [[0, 0], [1, 0]]]


@pytest.mark.parametrize("order", ["padded", "sampled", "augmented"])
def test_node(tmp_path: Path, ask: Any, order: str) -> None:
    data = ramp(8, 6)
    write_plain_zarr(tmp_path / "a", data, (3, 3), PLAIN)
    pipeline = gpa.ZarrSource(KEY, tmp_path, "a") + gp.Pad(KEY, None if order == "padded" else (2, 3))
    if order != "padded":
        pipeline += gp.RandomLocation()
    if order == "augmented":
        pipeline += gp.SimpleAugment(transpose_only=[])
    padded = np.pad(data, 1)
    result = ask(pipeline, {KEY: ((2, -9), (20, 24))})[KEY]
    turned = {padded.tobytes(), padded[::-1].tobytes(), padded[:, ::-1].tobytes(), padded[::-1, ::-1].tobytes()}
    assert result.data.tobytes() in (turned if order == "augmented" else {padded.tobytes()})


def test_real_data(fib25: Path, ask: Any) -> None:
    """A crop across chunks, compared with the chunks as zarr decodes them."""
    want = np.asarray(zarr.open(str(fib25 / "raw"), mode="r")[60:130, 10:75, 180:250])
    roi = gpa.Roi((26600, 100, 1800), (700, 650, 700))
    config = gpa.ZarrArrayConfig("raw", fib25, "raw")
    assert np.array_equal(config.array()[roi], want)
    result = ask(gpa.ZarrSource(KEY, fib25, "raw") + gp.Pad(KEY, None), {KEY: (roi.offset, roi.shape)})[KEY]
    assert np.array_equal(result.data, want)


class TestLaws(StoredSourceLaws):
    type = gpa.ZarrArrayConfig

    def configs(self, folder: Any) -> Any:
        store = folder / "laws.zarr"
        write_plain_zarr(store / "plain", ramp(5, 7), (2, 3), PLAIN, fill_value=3)
        last = {**PLAIN, "axis_names": ["y", "x", "c"], "channel_names": ["one", "two"]}
        write_plain_zarr(store / "last", ramp(5, 7, 2).astype(">f4"), (2, 3, 1), last, order="F", separator=".")
        three = {**PLAIN, "axis_names": ["c^", "y", "x"]}
        write_plain_zarr(store / "three", ramp(3, 5, 7).astype("f2"), (1, 2, 3), three, zarr_format=3, fill_value=5)
        return [
            gpa.ZarrArrayConfig("plain", store, "plain"),
            gpa.ZarrArrayConfig("last", store, "last", snap_to_grid=(4, 3)),
            gpa.ZarrArrayConfig("offset", store, "plain", offset=(0, "1 nm"), interpolatable=False),
            gpa.ZarrArrayConfig("three", store, "three"),
        ]

    def refused(self) -> Any:
        bad: list[Any] = [
            {"file_name": ""},
            {"file_name": 3},
            {"dataset": None},
            {"mode": "w"},
            {"mode": None},
            {"scale": "s0"},
            {"scale": 0.5},
            {"voxel_size": (0, 1)},
            {"voxel_size": (1, -1)},
            {"voxel_size": 4},
            {"voxel_size": ("x", 1)},
            {"offset": "1, 2"},
            {"snap_to_grid": (0, 1)},
            {"axes": "zyx"},
            {"unit": "light year"},
            {"interpolatable": "no"},
            {"interpolatable": 0},
            {"storage_options": "anon"},
        ]
        return [
            lambda f=f: gpa.ZarrArrayConfig(**{"name": "a", "file_name": "s.zarr", "dataset": "a", **f}) for f in bad
        ]

    def misfits(self, folder: Any) -> Any:
        # of three voxels from 4 to 10, what lies between multiples of 3 ends within a voxel
        write_plain_zarr(folder / "m.zarr" / "a", ramp(3, 6), (2, 2), PLAIN)
        bad: list[Any] = [
            {"voxel_size": ("5.24 nm", 4)},
            {"offset": (0.5, 0)},
            {"voxel_size": (2, 3, 4)},
            {"offset": (2,)},
            {"snap_to_grid": (100, 100)},
            {"snap_to_grid": (3, 3)},
            {"snap_to_grid": (2,)},
        ]
        return [gpa.ZarrArrayConfig("a", folder / "m.zarr", "a", **fields) for fields in bad]
