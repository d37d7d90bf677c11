"""TIFF files as tifffile, ImageJ and others write them, and stacks of slices."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import gunpowder as gp
import numpy as np
import pytest
import tifffile
from PIL import Image

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws

RNG = np.random.default_rng(5)


def grey(*shape: int, dtype: Any = "uint8") -> np.ndarray[Any, Any]:
    """Voxels that compress, so that pieces have several lengths, but differ from plane to plane."""
    return (RNG.integers(0, 6, shape) * (1 + np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)))).astype(dtype)


def array_of(path: Any, **fields: Any) -> gpa.Array:
    return gpa.TiffArrayConfig("tiff", path, **fields).array()


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pages": {"contiguous": False, "metadata": None},
    "strips": {"rowsperstrip": 3},
    "tiles": {"tile": (16, 32)},
    "lzw": {"compression": "lzw", "rowsperstrip": 5},
    "deflate": {"compression": "zlib", "tile": (16, 16), "predictor": True},
    "zstd": {"compression": "zstd", "tile": (32, 16)},
    "big": {"bigtiff": True, "compression": "zlib"},
    "imagej": {"imagej": True},
    "volumes": {"tile": (2, 16, 16), "volumetric": True, "compression": "zlib"},
}


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32"])
@pytest.mark.parametrize("way", WAYS)
def test_layouts(tmp_path: Path, way: str, dtype: str) -> None:
    data = grey(5, 37, 41, dtype=dtype)
    options = {"metadata": {"axes": "ZYX"}, "photometric": "minisblack", "byteorder": ">" if dtype[0] == ">" else "<"}
    if way == "imagej":
        del options["byteorder"]
    tifffile.imwrite(tmp_path / "a.tif", data, **{**options, **WAYS[way]})
    array = array_of(tmp_path / "a.tif")
    assert (array.shape, array.axes, array.dtype) == ((5, 37, 41), ("z", "y", "x"), np.dtype(dtype).newbyteorder("="))
    assert np.array_equal(array[:], data)
    assert np.array_equal(array[1:4, 11:20, 15:33], data[1:4, 11:20, 15:33])
    assert np.array_equal(array[4, 36:, 40], data[4, 36:, 40])


@pytest.mark.parametrize(
    ("shape", "options", "axes", "order"),
    [
        ((3, 2, 20, 18), {"imagej": True, "metadata": {"axes": "ZCYX"}}, "czyx", (1, 0, 2, 3)),
        ((2, 3, 2, 9, 8), {"imagej": True, "metadata": {"axes": "TZCYX"}}, "tczyx", (0, 2, 1, 3, 4)),
        ((2, 3, 20, 18), {"ome": True, "metadata": {"axes": "CZYX"}}, "czyx", (0, 1, 2, 3)),
        ((5, 20, 18, 3), {"photometric": "rgb", "tile": (16, 16)}, "czyx", (3, 0, 1, 2)),
        ((3, 20, 18), {"photometric": "rgb", "planarconfig": "separate"}, "cyx", (0, 1, 2)),
        ((20, 18, 4), {"photometric": "rgb", "compression": "zlib"}, "cyx", (2, 0, 1)),
        ((20, 18), {}, "yx", (0, 1)),
        ((5, 20, 18), {"photometric": "minisblack"}, "zyx", (0, 1, 2)),
        ((5, 20, 18), {"photometric": "minisblack", "metadata": {"axes": "TYX"}}, "tyx", (0, 1, 2)),
        ((5, 1, 18), {"photometric": "minisblack", "compression": "zlib"}, "zyx", (0, 1, 2)),
    ],
)
def test_axes(tmp_path: Path, shape: Any, options: Any, axes: str, order: Any) -> None:
    data = grey(*shape)
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    array = array_of(tmp_path / "a.tif")
    assert "".join(array.axes) == axes
    want = data.transpose(order)
    assert np.array_equal(array[:], want)
    last = tuple(slice(n - 1, n) for n in want.shape)
    assert array[last].item() == want[last].item()


def test_the_axes_that_a_user_names_win(tmp_path: Path) -> None:
    data = grey(2, 5, 20, 18)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    with pytest.raises(gpa.StoreError, match=r"^tiff: the meaning of its axes is not known; found q, q, y, x.*`axes=`"):
        array_of(tmp_path / "a.tif")
    assert array_of(tmp_path / "a.tif", axes=["t", "z", "y", "x"]).axes == ("t", "z", "y", "x")
    array = array_of(tmp_path / "a.tif", axes=["z", "c^", "y", "x"], voxel_size=(5, 2, 2))
    assert array.axes == ("c", "z", "y", "x")
    assert np.array_equal(array[1, 1], data[1, 1])
    with pytest.raises(gpa.TreeError, match="axes do not fit"):
        array_of(tmp_path / "a.tif", axes=["z", "y", "x"])


CM = 10**7  # in nm
SIZES: dict[str, tuple[dict[str, Any], Any]] = {
    "imagej": (
        {"imagej": True, "resolution": (1 / 4, 1 / 8), "metadata": {"axes": "ZYX", "spacing": 40, "unit": "nm"}},
        (40, 8, 4),
    ),
    "imagej, micrometres": (
        {"imagej": True, "resolution": (250, 125), "metadata": {"axes": "ZYX", "spacing": 0.04, "unit": "um"}},
        (40, 8, 4),
    ),
    "imagej, escaped": (
        {"imagej": True, "resolution": (250, 125), "metadata": {"axes": "ZYX", "spacing": 0.04, "unit": r"\u00B5m"}},
        (40, 8, 4),
    ),
    "imagej, one": ({"imagej": True, "metadata": {"axes": "ZYX", "unit": "micron"}}, (1000, 1000, 1000)),
    "tags": ({"resolution": (CM / 4, CM / 8), "resolutionunit": "CENTIMETER"}, (None, 8, 4)),
    "tags, no unit": ({"resolution": (1 / 4, 1 / 8), "resolutionunit": "NONE"}, (None, 8, 4)),
    "tags, inch": ({"resolution": (2_540_000 / 4, 2_540_000 / 8), "resolutionunit": "INCH"}, (None, 80, 40)),
    "ome": (
        {
            "ome": True,
            "metadata": {
                "axes": "ZYX",
                "PhysicalSizeX": 4.0,
                "PhysicalSizeXUnit": "nm",
                "PhysicalSizeY": 0.008,
                "PhysicalSizeYUnit": "µm",
                "PhysicalSizeZ": 0.04000000000000001,
            },
        },
        (40, 8, 4),
    ),
    "ome beside tags": (
        {
            "ome": True,
            "resolution": (CM / 4, CM / 8),
            "resolutionunit": "CENTIMETER",
            "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.004, "PhysicalSizeY": 0.008},
        },
        (None, 8, 4),
    ),
    "nothing": ({}, (None, None, None)),
}


@pytest.mark.parametrize("dialect", SIZES)
def test_voxel_sizes(tmp_path: Path, dialect: str) -> None:
    options, want = SIZES[dialect]
    tifffile.imwrite(tmp_path / "a.tif", grey(3, 6, 5), **{"photometric": "minisblack", **options})
    config = gpa.TiffArrayConfig("tiff", tmp_path / "a.tif")
    array = config.array()
    assert tuple(array.voxel_size) == tuple(size or 1 for size in want)
    assert tuple(array.roi.begin) == (0, 0, 0)
    unknown = [axis for axis, size in zip("zyx", want, strict=True) if size is None]
    assert config.verify() == (
        True,
        f"ok, but tiff: voxel size along {', '.join(unknown)}: 1 nm assumed" if unknown else "ok",
    )
    other = config.with_fields(voxel_size=("7 nm", 3, 2), offset=(70, "0.003 um", 4))
    assert (other.array().roi, other.verify()) == (gpa.Roi((70, 3, 4), (21, 18, 10)), (True, "ok"))
    assert tuple(config.with_fields(units=["pm"] * 3, voxel_size=(7000, 3000, 2000)).array().voxel_size) == (7, 3, 2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 4, "PhysicalSizeXUnit": "parsec"}}, "parsec"),
        ({"imagej": True, "metadata": {"axes": "ZYX", "spacing": 4, "unit": "furlong"}}, "furlong"),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, "0.0352777778 'cm'"),
        (
            {
                "ome": True,
                "resolution": (CM / 4, CM / 4),
                "resolutionunit": "CENTIMETER",
                "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.005},
            },
            "4 nm|0.005 µm",
        ),
        ({"description": "<OME><Image><Pixels PhysicalSizeX='wide'/></Image></OME>"}, "wide"),
        ({"description": "<OME><Image><Pixels</Image></OME>", "metadata": None}, "malformed OME-XML"),
    ],
)
def test_voxel_sizes_that_are_not_understood_name_the_remedy(tmp_path: Path, options: Any, named: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey(3, 6, 5), **{"photometric": "minisblack", **options})
    with pytest.raises(gpa.StoreError, match=rf"^tiff: .*({named}).*a\.tif.*`voxel_size=`") as caught:
        array_of(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)
    assert tuple(array_of(tmp_path / "a.tif", voxel_size=(4, 4, 4)).voxel_size) == (4, 4, 4)


def test_channel_names(tmp_path: Path) -> None:
    metadata = {"axes": "CYX", "Channel": {"Name": ["dapi", "gfp"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", grey(2, 6, 5), photometric="minisblack", metadata=metadata)
    assert array_of(tmp_path / "a.ome.tif").channels == ("dapi", "gfp")


def bytes_read() -> int:
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]


@pytest.mark.parametrize(("way", "fraction"), [("plain", 0.05), ("tiles", 0.02), ("strips", 0.05), ("imagej", 0.05)])
def test_a_crop_reads_a_fraction_of_the_file(tmp_path: Path, way: str, fraction: float) -> None:
    options = {"tiles": {"tile": (64, 64)}, "strips": {"rowsperstrip": 16, "contiguous": False}}.get(way, WAYS[way])
    data = np.arange(256, dtype=np.uint8).reshape(256, 1, 1) + np.arange(512, dtype=np.uint8)
    path = tmp_path / "a.tif"
    metadata = {"axes": "ZYX"}
    tifffile.imwrite(
        path, np.broadcast_to(data, (256, 512, 512)), photometric="minisblack", metadata=metadata, **options
    )
    array = array_of(path)
    before = bytes_read()
    crop = array[100:164, 200:264, 300:364]
    read = bytes_read() - before
    assert np.array_equal(crop, np.broadcast_to(data, (256, 512, 512))[100:164, 200:264, 300:364])
    assert 64**3 <= read < fraction * path.stat().st_size
    before = bytes_read()
    array_of(path)
    assert bytes_read() - before < 0.05 * path.stat().st_size


def write_slices(folder: Path, data: np.ndarray[Any, Any], suffix: str, first: int = 8) -> None:
    folder.mkdir(exist_ok=True)
    for number, plane in enumerate(data, first):
        path = folder / f"s{number}.{suffix}"
        Image.fromarray(plane).save(path) if suffix == "png" else tifffile.imwrite(path, plane, compression="lzw")


@pytest.mark.parametrize(
    ("suffix", "dtype", "colours"),
    [("tif", "uint8", ()), ("tif", "float32", ()), ("png", "uint8", ()), ("png", "uint16", ())]
    + [("png", "bool", ()), ("tif", "uint8", (3,)), ("png", "uint8", (3,)), ("png", "uint8", (4,))],
)
def test_slices(tmp_path: Path, suffix: str, dtype: str, colours: Any) -> None:
    data = grey(5, 12, 10, *colours, dtype=dtype)
    write_slices(tmp_path / "[a]", data, suffix)
    array = array_of(tmp_path / "[a]" / f"s*.{suffix}", voxel_size=(40, 4, 4))
    want = np.moveaxis(data, -1, 0) if colours else data
    assert (array.axes[-3:], array.dtype, array.shape) == (("z", "y", "x"), np.dtype(dtype), want.shape)
    assert np.array_equal(array[:], want)
    assert np.array_equal(array[..., 1:3, 2:9, 3:4], want[..., 1:3, 2:9, 3:4])


def break_slices(folder: Path, how: str) -> None:
    path = folder / "s10.tif"
    if how == "missing":
        path.unlink()
    elif how == "shape":
        tifffile.imwrite(path, grey(12, 11))
    elif how == "dtype":
        tifffile.imwrite(path, grey(12, 10, dtype="uint16"))
    elif how == "truncated":
        os.truncate(path, path.stat().st_size - 20)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "text":
        path.write_text("not an image")
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        tifffile.imwrite(path, grey(2, 12, 10), photometric="minisblack", metadata={"axes": "ZYX"})


@pytest.mark.parametrize("how", ["missing", "shape", "dtype", "truncated", "empty", "text", "folder", "volume"])
def test_broken_slices_are_errors_that_name_them(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slices(tmp_path, grey(5, 12, 10), "tif")
    config = gpa.TiffArrayConfig("tiff", tmp_path / "s*.tif")
    before = config.array()
    break_slices(tmp_path, how)
    actions = [before.to_ndarray, config.array]
    if how != "missing":  # which is noticed by the names
        actions.append(lambda: config.array().to_ndarray())
    for number, action in enumerate(actions):
        if number == 2:  # slices of a long stack are checked when they are read
            monkeypatch.setattr("gp_arrays.sources.tiff.COMPARED", 1)
        with pytest.raises(gpa.StoreError, match=r"^tiff: .*s10\.tif|s9\.tif and s11\.tif") as caught:
            action()
        assert "\n" not in str(caught.value)
    assert not config.verify()[0]


@pytest.mark.parametrize("way", [*WAYS, "ome"])
def test_truncated_files_are_errors(tmp_path: Path, way: str) -> None:
    """A file that is truncated at any byte is an error, or all voxels are read correctly."""
    data, path = grey(5, 37, 41), tmp_path / "a.tif"
    options = {"metadata": {"axes": "ZYX"}, "photometric": "minisblack", **WAYS.get(way, {"ome": True})}
    tifffile.imwrite(path, data, **options)
    intact = path.read_bytes()
    refusals = []
    for size in sorted({0, 4, 20, 200, *range(300, len(intact), max(1, len(intact) // 40)), len(intact) - 1}):
        path.write_bytes(intact[:size])
        try:
            voxels = array_of(path).to_ndarray()
        except gpa.StoreError as error:
            refusals.append(str(error))
        else:
            assert np.array_equal(voxels, data), f"cut at {size} of {len(intact)}"
    assert len(refusals) > 30
    assert [text for text in refusals if str(path) not in text or "\n" in text] == []


def test_a_file_that_changes_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey(5, 20, 20))
    array = array_of(path)
    array.to_ndarray()
    before = array.plan.steps[0].opened.fingerprint()
    tifffile.imwrite(path, grey(5, 20, 20), compression="lzw")
    with pytest.raises(gpa.StoreError, match=r"^tiff: the file has changed since it was opened; found .*a\.tif"):
        array.to_ndarray()
    assert array_of(path).plan.steps[0].opened.fingerprint() != before


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(gpa.StoreError, match="there is no such file"):
        array_of(tmp_path / "a.tif")
    with pytest.raises(gpa.StoreError, match="no file matches"):
        array_of(tmp_path / "*.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.complex64))
    with pytest.raises(gpa.StoreError, match=r"complex64.*integers, floats"):
        array_of(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(grey(6, 5), contiguous=False)
        file.write(grey(7, 5), contiguous=False)
    with pytest.raises(gpa.StoreError, match=r"several images.*page 0 of .*\(6, 5\), page 1: uint8 \(7, 5\)"):
        array_of(tmp_path / "b.tif")
    Image.fromarray(grey(4, 5)).quantize(4).save(tmp_path / "palette.png")
    assert array_of(tmp_path / "palette.png").shape == (4, 5)


class TestTiffLaws(ArrayTypeLaws):
    type = gpa.TiffArrayConfig

    def configs(self, folder: Path) -> Any:
        tiled, stack = folder / "tiled.tif", folder / "stack"
        if not tiled.exists():
            tifffile.imwrite(tiled, grey(5, 20, 18, 3), photometric="rgb", tile=(16, 16), compression="zlib")
            write_slices(stack, grey(4, 6, 5), "png")
        return [
            gpa.TiffArrayConfig("tiled", tiled, voxel_size=(4, 2, 2), offset=(8, -2, 0)),
            gpa.TiffArrayConfig("stack", stack / "*.png", axes=["z", "y", "x"], units=["nm"] * 3),
        ]

    def refused(self) -> Any:
        return [
            lambda: gpa.TiffArrayConfig("a", "a.tif", voxel_size=(0, 1)),
            lambda: gpa.TiffArrayConfig("a", "a.tif", units=["parsec"]),
            lambda: gpa.TiffArrayConfig("a", ""),
        ]

    def misfits(self, folder: Path) -> Any:
        tifffile.imwrite(folder / "a.tif", grey(6, 5))
        config = gpa.TiffArrayConfig("a", folder / "a.tif")
        return [
            config.with_fields(voxel_size=(1, 1, 1)),
            config.with_fields(units=["nm"]),
            config.with_fields(axes=["z", "y", "x"]),
        ]


def test_the_node(tmp_path: Path) -> None:
    data = grey(5, 20, 18)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    key = gp.ArrayKey("TIFF")
    with gp.build(gpa.TiffSource(key, tmp_path / "a.tif", voxel_size=(2, 2, 2))) as source:
        batch = source.request_batch(gp.BatchRequest({key: gp.ArraySpec(roi=gp.Roi((2, 4, 6), (4, 6, 8)))}))
    assert np.array_equal(batch[key].data, data[1:3, 2:5, 3:7])
