"""Metadata as other programs write them, and the arrays that they describe."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.storage.metadata.dialects import DIALECTS

SPACE = {"type": "space", "unit": "micrometer"}


def array_v2(*shape: int, dtype: str = "|u1") -> dict[str, Any]:
    document = {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": dtype, "order": "C"}
    return {**document, "compressor": None, "fill_value": 0, "filters": None}


def array_v3(*shape: int, names: Sequence[str | None] | None = None, **attributes: Any) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": attributes,
        **({} if names is None else {"dimension_names": names}),
    }


def array_n5(*dimensions: int, **attributes: Any) -> dict[str, Any]:
    """The metadata of an N5 array, whose lists are in the order x, y, z."""
    own = {"dimensions": dimensions, "blockSize": dimensions, "dataType": "uint8", "compression": {"type": "raw"}}
    return {**own, **attributes}


def group_v3(**attributes: Any) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def write(root: Path, documents: Mapping[str, Any]) -> Path:
    """Write a store from documents by path. Groups of Zarr v2 get their documents here."""
    for path, document in documents.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        if path.endswith(".zattrs") and not any(
            f"{path.removesuffix('.zattrs')}.zarray" == other for other in documents
        ):
            (file.parent / ".zgroup").write_text('{"zarr_format": 2}')
    return root


def opened(root: Path, dataset: str, unit: str = "nm", **fields: Any) -> gpa.Array:
    return gpa.ZarrArrayConfig("a", root, dataset, **fields).array(unit=unit)


def dialect_of(array: gpa.Array) -> str | None:
    (step,) = array.plan.steps
    assert step.opened is not None
    return step.opened.dialect


def scale(*values: float) -> dict[str, Any]:
    return {"type": "scale", "scale": values}


def translation(*values: float) -> dict[str, Any]:
    return {"type": "translation", "translation": values}


def level(path: str, *transformations: dict[str, Any]) -> dict[str, Any]:
    return {"path": path, "coordinateTransformations": transformations}


# metadata of other programs, and their meaning: begin, voxel size (both in nm) and axes
STORES: dict[str, tuple[dict[str, Any], str, tuple[Any, Any, str], str]] = {
    # iohub: upper case, a channel and a time axis of one entry, noise of arithmetic
    "iohub": (
        {
            ".zattrs": {
                "multiscales": [
                    {
                        "version": "0.4",
                        "axes": [
                            {"name": "T", "type": "time", "unit": "second"},
                            {"name": "C", "type": "channel"},
                            *({"name": name, **SPACE} for name in "ZYX"),
                        ],
                        "datasets": [
                            level("0", scale(1, 1, 0.40000000000000004, 0.1, 0.1)),
                            level("1", scale(1, 1, 0.40000000000000004, 0.2, 0.2)),
                        ],
                        "name": "0",
                        "coordinateTransformations": [{"type": "identity"}],
                    }
                ],
                "omero": {"version": "0.4", "id": 1, "channels": [{"label": "DAPI"}, {"label": "GFP"}]},
            },
            "0/.zarray": array_v2(1, 2, 3, 4, 6),
            "1/.zarray": array_v2(1, 2, 3, 2, 3),
        },
        "1",
        ((0, 0, 0), (400, 200, 200), "czyx"),
        "OME-NGFF 0.4 or 0.5",
    ),
    # ome-zarr-py given one translation: it stands at every level
    "ome-zarr-py": (
        {
            ".zattrs": {
                "multiscales": [
                    {
                        "version": "0.4",
                        "axes": [{"name": name, **SPACE} for name in "zyx"],
                        "datasets": [
                            level("0", scale(0.04, 0.004, 0.004), translation(4, 0.4, 0.8)),
                            level("1", scale(0.04, 0.008, 0.008), translation(4, 0.4, 0.8)),
                        ],
                        "name": "/",
                    }
                ]
            },
            "0/.zarray": array_v2(3, 4, 6),
            "1/.zarray": array_v2(3, 2, 3),
        },
        "1",
        ((4000, 400, 800), (40, 8, 8), "zyx"),
        "OME-NGFF 0.4 or 0.5",
    ),
    "NGFF 0.5": (
        {
            "zarr.json": group_v3(
                ome={
                    "version": "0.5",
                    "multiscales": [
                        {
                            "axes": [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"],
                            "datasets": [
                                level("s0", scale(40, 4, 4), translation(0, 0, 80)),
                                level("s1", scale(40, 8, 8), translation(0, 2, 82)),
                            ],
                        }
                    ],
                }
            ),
            "s0/zarr.json": array_v3(3, 4, 6),
            "s1/zarr.json": array_v3(3, 2, 3),
        },
        "s1",
        ((0, 0, 80), (40, 8, 8), "zyx"),
        "OME-NGFF 0.4 or 0.5",
    ),
    # ngff-zarr: one sequence for each level, from its path to the coordinate system
    "NGFF 0.6": (
        {
            "zarr.json": group_v3(
                ome={
                    "version": "0.6",
                    "multiscales": [
                        {
                            "name": "image",
                            "coordinateSystems": [
                                {
                                    "name": "intrinsic",
                                    "axes": [{"name": "c", "type": "channel"}, *({"name": n, **SPACE} for n in "zyx")],
                                }
                            ],
                            "datasets": [
                                {
                                    "path": path,
                                    "coordinateTransformations": [
                                        {
                                            "type": "sequence",
                                            "input": {"path": path},
                                            "output": {"name": "intrinsic"},
                                            "transformations": [scale(1, *size), translation(0, *start)],
                                        }
                                    ],
                                }
                                for path, size, start in (
                                    ("scale0/image", (0.04, 0.004, 0.004), (1, 0, 0)),
                                    ("scale1/image", (0.04, 0.008, 0.008), (1, 0.002, 0.002)),
                                )
                            ],
                        }
                    ],
                    "omero": {"channels": [{"label": "em", "color": "ffffff"}, {"label": "er", "color": "ff0000"}]},
                }
            ),
            "scale0/image/zarr.json": array_v3(2, 3, 4, 6, names=["c", "z", "y", "x"]),
            "scale1/image/zarr.json": array_v3(2, 3, 2, 3, names=["c", "z", "y", "x"]),
        },
        "scale1/image",
        ((1000, 0, 0), (40, 8, 8), "czyx"),
        "OME-NGFF 0.6",
    ),
    # the specification's own example: the image leads from one system to the next
    "NGFF 0.6, two systems": (
        {
            "zarr.json": group_v3(
                ome={
                    "version": "0.6.dev2",
                    "multiscales": [
                        {
                            "coordinateSystems": [
                                {"name": name, "axes": [{"name": axis, **SPACE} for axis in "yx"]}
                                for name in ("physical", "intrinsic")
                            ],
                            "datasets": [
                                {
                                    "path": "0",
                                    "coordinateTransformations": [{**scale(1, 1), "input": "0", "output": "intrinsic"}],
                                }
                            ],
                            "coordinateTransformations": [{**scale(10, 5), "input": "intrinsic", "output": "physical"}],
                        }
                    ],
                }
            ),
            "0/zarr.json": array_v3(4, 6),
        },
        "0",
        ((0, 0), (10_000, 5000), "yx"),
        "OME-NGFF 0.6",
    ),
    # the array of each level carries what its group does
    "Paintera": (
        {
            "raw/.zattrs": {"painteraData": {"type": "raw"}},
            "raw/data/.zattrs": {"multiScale": True, "resolution": [4.0, 4.0, 40.0], "offset": [8.0, 16.0, 400.0]},
            "raw/data/s0/.zarray": array_v2(3, 4, 6),
            "raw/data/s0/.zattrs": {"resolution": [4.0, 4.0, 40.0], "offset": [8.0, 16.0, 400.0]},
            "raw/data/s1/.zarray": array_v2(3, 2, 3),
            "raw/data/s1/.zattrs": {
                "resolution": [4.0, 4.0, 40.0],
                "offset": [8.0, 16.0, 400.0],
                "downsamplingFactors": [2.0, 2.0, 1.0],
            },
        },
        "raw/data/s1",
        ((400, 16, 8), (40, 8, 8), "zyx"),
        "Paintera or pybdv",
    ),
    "Paintera, offsets of centres": (
        {
            "data/.zattrs": {"multiScale": True, "resolution": [4, 4, 40], "offset": [8, 16, 400], "unit": "um"},
            "data/s1/.zarray": array_v2(3, 2, 3),
            "data/s1/.zattrs": {"downsamplingFactors": [2, 2, 1], "offset": [10, 18, 400]},
        },
        "data/s1",
        ((400_000, 16_000, 8000), (40_000, 8000, 8000), "zyx"),
        "Paintera or pybdv",
    ),
    "pybdv": (
        {
            "setup0/.zattrs": {"downsamplingFactors": [[1, 1, 1], [2, 2, 1]], "dataType": "uint8"},
            "setup0/timepoint0/.zattrs": {"multiScale": True, "resolution": [4.0, 5.0, 40.0]},
            "setup0/timepoint0/s0/.zarray": array_v2(3, 4, 6),
            "setup0/timepoint0/s0/.zattrs": {"downsamplingFactors": [1, 1, 1]},
            "setup0/timepoint0/s1/.zarray": array_v2(3, 2, 3),
            "setup0/timepoint0/s1/.zattrs": {"downsamplingFactors": [2, 2, 1]},
        },
        "setup0/timepoint0/s1",
        ((0, 0, 0), (40, 10, 8), "zyx"),
        "Paintera or pybdv",
    ),
    "n5-viewer": (
        {
            "c0/s0/.zarray": array_v2(3, 4, 6),
            "c0/s0/.zattrs": {"pixelResolution": {"unit": "um", "dimensions": [0.004, 0.004, 0.04]}},
            "c0/s1/.zarray": array_v2(3, 2, 3),
            "c0/s1/.zattrs": {
                "pixelResolution": {"unit": "um", "dimensions": [0.004, 0.004, 0.04]},
                "downsamplingFactors": [2, 2, 1],
            },
        },
        "c0/s1",
        ((0, 0, 0), (40, 8, 8), "zyx"),
        "n5-viewer",
    ),
    "n5-viewer, of the group": (
        {
            ".zattrs": {"pixelResolution": [4, 4, 40], "scales": [[1, 1, 1], [2, 2, 1]]},
            "c0/s1/.zarray": array_v2(3, 2, 3),
        },
        "c0/s1",
        ((0, 0, 0), (40, 8, 8), "zyx"),
        "n5-viewer",
    ),
    "COSEM, of the array alone": (
        {
            "em/.zattrs": {},
            **{
                f"em/{path}": document
                for number, factor, start in ((0, 1, 0), (1, 2, 2))
                for path, document in (
                    (f"s{number}/.zarray", array_v2(4 // factor, 4 // factor, 8 // factor)),
                    (
                        f"s{number}/.zattrs",
                        {
                            "transform": {
                                "axes": ["z", "y", "x"],
                                "scale": [4 * factor] * 3,
                                "translate": [start] * 3,
                                "units": ["nm"] * 3,
                            },
                            "pixelResolution": {"dimensions": [4 * factor] * 3, "unit": "nm"},
                        },
                    ),
                )
            },
        },
        "em/s1",
        ((0, 0, 0), (8, 8, 8), "zyx"),
        "COSEM",
    ),
    "TensorStore": (
        {
            "zarr.json": array_v3(
                2, 3, 4, 6, names=["c", "z", "y", "x"], dimension_units=[None, "40 nm", "4e-9 m", "nm"]
            )
        },
        "",
        ((0, 0, 0), (40, 4, 1), "czyx"),
        "TensorStore",
    ),
    "TensorStore, channels last and without names": (
        {"zarr.json": array_v3(3, 4, 6, 2, dimension_units=["40 nm", "4 nm", "4 nm", None])},
        "",
        ((0, 0, 0), (40, 4, 4), "czyx"),
        "TensorStore",
    ),
    "funlib.persistence in N5": (
        {"a/attributes.json": array_n5(6, 4, 3, resolution=[4, 5, 40], offset=[8, 16, 400])},
        "a",
        ((400, 16, 8), (40, 5, 4), "zyx"),
        "funlib.persistence or DaCapo",
    ),
    "TensorStore in N5": (
        {
            "attributes.json": array_n5(
                6, 4, 3, axes=["x", "y", "z"], units=["nm", "nm", "um"], resolution=[4.0, 5.0, 0.04]
            )
        },
        "",
        ((0, 0, 0), (40, 5, 4), "zyx"),
        "funlib.persistence or DaCapo",
    ),
    "Paintera in N5": (
        {
            "raw/attributes.json": {"painteraData": {"type": "raw"}},
            "raw/data/attributes.json": {"multiScale": True, "resolution": [4, 5, 40], "offset": [8, 16, 400]},
            "raw/data/s0/attributes.json": array_n5(6, 4, 3, resolution=[4, 5, 40], offset=[8, 16, 400]),
            "raw/data/s1/attributes.json": array_n5(3, 2, 3, downsamplingFactors=[2, 2, 1]),
        },
        "raw/data/s1",
        ((400, 16, 8), (40, 10, 8), "zyx"),
        "Paintera or pybdv",
    ),
    # the groups of N5 need no document
    "n5-viewer in N5": (
        {
            "c0/s0/attributes.json": array_n5(6, 4, 3, pixelResolution=[4, 5, 40]),
            "c0/s1/attributes.json": array_n5(3, 2, 3, pixelResolution=[4, 5, 40], downsamplingFactors=[2, 2, 1]),
        },
        "c0/s1",
        ((0, 0, 0), (40, 10, 8), "zyx"),
        "n5-viewer",
    ),
    "COSEM in N5": (
        {
            "em/attributes.json": {
                "multiscales": [
                    {
                        "datasets": [
                            {"path": f"s{n}", "transform": {"axes": ["z", "y", "x"], "scale": size, "translate": at}}
                            for n, size, at in ((0, [40, 5, 4], [0, 0, 0]), (1, [40, 10, 8], [0, 2.5, 2]))
                        ]
                    }
                ]
            },
            "em/s1/attributes.json": array_n5(3, 2, 3, pixelResolution={"dimensions": [8, 10, 40], "unit": "nm"}),
        },
        "em/s1",
        ((0, 0, 0), (40, 10, 8), "zyx"),
        "COSEM",
    ),
    "funlib.persistence": (
        {
            ".zarray": array_v2(2, 3, 4, 6),
            ".zattrs": {
                "offset": [400, 16, 8],
                "voxel_size": [40, 4, 4],
                "axis_names": ["c^", "z", "y", "x"],
                "units": ["nm", "nm", "nm"],
                "types": ["channel", "space", "space", "space"],
            },
        },
        "",
        ((400, 16, 8), (40, 4, 4), "czyx"),
        "funlib.persistence or DaCapo",
    ),
}


@pytest.mark.parametrize("name", STORES)
def test_geometry(tmp_path: Path, name: str) -> None:
    documents, dataset, (begin, voxel_size, axes), dialect = STORES[name]
    array = opened(write(tmp_path, documents), dataset)
    assert (tuple(array.roi.begin), tuple(array.voxel_size), "".join(array.axes)) == (begin, voxel_size, axes)
    assert dialect_of(array) == dialect


def coordinates(values: Any, **attributes: Any) -> dict[str, Any]:
    """An array of coordinates, uncompressed, as one chunk."""
    data = np.asarray(values)
    return {".zarray": array_v2(*data.shape, dtype=data.dtype.str), ".zattrs": attributes, "0": data.tobytes()}


def write_xarray(root: Path, axes: Mapping[str, Any], dims: Sequence[str], shape: Sequence[int]) -> Path:
    write(root, {"raw/.zarray": array_v2(*shape), "raw/.zattrs": {"_ARRAY_DIMENSIONS": list(dims)}, ".zattrs": {}})
    for name, (values, unit) in axes.items():
        for file, content in coordinates(values, _ARRAY_DIMENSIONS=[name], units=unit).items():
            path = root / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return root


@pytest.mark.parametrize("dims", [["y", "x"], ["x", "y"]])
def test_multiscale_spatial_image(tmp_path: Path, dims: list[str]) -> None:
    """Its transformations give centres of voxels at all levels, in the order of the axes of the dataset."""
    datasets = []
    for number, (step, shape) in enumerate((((4, 2), (4, 6)), ((8, 4), (2, 3)))):
        y, x = (np.arange(n) * float(s) + s / 2 + 40 for n, s in zip(shape, step, strict=True))
        write_xarray(tmp_path / f"scale{number}", {"y": (y, "nm"), "x": (x, "nm")}, "yx", shape)
        by_name = {"y": (step[0], y[0]), "x": (step[1], x[0])}
        transformations = [scale(*(by_name[d][0] for d in dims)), translation(*(by_name[d][1] for d in dims))]
        datasets.append(level(f"scale{number}/raw", *transformations))
    axes = [{"name": name, "type": "space", "unit": "nm"} for name in dims]
    image = {"@type": "ngff:Image", "version": "0.4", "name": "raw", "axes": axes, "datasets": datasets}
    write(tmp_path, {".zattrs": {"multiscales": [image], "multiscaleSpatialImageVersion": 1}})
    for number, size in enumerate(((4, 2), (8, 4))):
        array = opened(tmp_path, "", scale=number)
        assert (array.axes, array.roi.begin, array.voxel_size) == (("y", "x"), (40, 40), size)
        assert dialect_of(array) == "multiscale-spatial-image"


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8"])
def test_coordinates_of_xarray_are_centres(tmp_path: Path, dtype: str) -> None:
    z, y, x = np.arange(3) * 40 + 420, np.arange(4) * 4 + 2, np.arange(6) * 4 + 2
    axes = {"z": (z.astype(dtype), "nm"), "y": (y.astype(dtype), "nm"), "x": (x.astype(dtype), "nanometer")}
    array = opened(write_xarray(tmp_path, axes, "zyx", (3, 4, 6)), "raw")
    assert (tuple(array.roi.begin), tuple(array.voxel_size)) == ((400, 0, 0), (40, 4, 4))
    assert dialect_of(array) == "xarray"
    # both given: the coordinates are not even read
    (tmp_path / "z" / "0").write_bytes(b"")
    assert opened(tmp_path, "raw", voxel_size=(1, 1, 1), offset=(0, 0, 0)).roi.shape == (3, 4, 6)


def test_coordinates_of_zarr_v3_with_a_checksum(tmp_path: Path) -> None:
    axes = {"y": (np.arange(3.0), "nm"), "x": (np.arange(6.0) * 4 + 2, "nm")}
    root = write_xarray(tmp_path, axes, "yx", (3, 6))
    values = np.array([10.0, 30.0, 50.0]).tobytes()
    document = {"zarr_format": 3, "node_type": "array", "shape": [3], "data_type": "float64", "fill_value": 0}
    document |= {
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3]}},
        "attributes": {"units": "nm"},
    }
    document |= {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]}
    document |= {"chunk_key_encoding": {"name": "default"}}
    # of the 24 bytes, by google-crc32c
    checksum = bytes.fromhex("c9453b6b")
    write(root, {"y/zarr.json": document})
    (root / "y/.zarray").unlink()
    (root / "y/c").mkdir()
    (root / "y/c/0").write_bytes(values + checksum)
    assert opened(root, "raw").voxel_size == (20, 4)
    (root / "y/c/0").write_bytes(values[:-1] + b"A" + checksum)
    with pytest.raises(gpa.StoreError, match="coordinates .*y: OSError: the checksum does not match"):
        opened(root, "raw")


def test_coordinates_with_the_noise_of_arithmetic(tmp_path: Path) -> None:
    """Fractions of a micrometer, as numpy computes them in float32: steps are 5.24 nm."""
    x = (np.arange(2000) * np.float32(0.00524) + np.float32(0.00262)).astype("<f4")
    axes = {"y": (np.linspace(0.05, 9.95, 100), "um"), "x": (x, "um")}
    array = opened(write_xarray(tmp_path, axes, "cyx", (2, 100, 2000)), "raw", unit="pm")
    assert (tuple(array.roi.begin), tuple(array.voxel_size)) == ((0, 0), (100_000, 5240))
    assert array.axes == ("c", "y", "x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 4, 9, 12], "coordinates x are not evenly spaced"),
        ([12.0, 8, 4, 0], "not ascending"),
        ([4.0, 4, 4, 4], "not ascending"),
        ([0.0, 4, np.nan, 12], "not evenly spaced"),
        ([np.nan, 4, 8, 12], "not a length"),
    ],
)
def test_coordinates_that_are_not_a_regular_grid_are_refused(tmp_path: Path, values: Any, message: str) -> None:
    root = write_xarray(tmp_path, {"y": (np.arange(3.0), "nm"), "x": (values, "nm")}, "yx", (3, 4))
    with pytest.raises(gpa.StoreError, match=f"^a: .*{message}.*`voxel_size=`"):
        opened(root, "raw")
    assert opened(root, "raw", voxel_size=(4, 4)).voxel_size == (4, 4)


XML = """<?xml version="1.0" encoding="UTF-8"?>
<SpimData version="0.2">
  <BasePath type="relative">.</BasePath>
  <SequenceDescription>
    <ImageLoader format="bdv.n5" version="1.0"><n5 type="relative">em.n5</n5></ImageLoader>
    <ViewSetups>
      <ViewSetup><id>0</id><size>6 4 3</size>
        <voxelSize><unit>micrometer</unit><size>0.004 0.005 0.04</size></voxelSize></ViewSetup>
      <ViewSetup><id>1</id><size>6 4 3</size>
        <voxelSize><unit>nm</unit><size>8.0 8.0 8.0</size></voxelSize></ViewSetup>
    </ViewSetups>
  </SequenceDescription>
  <ViewRegistrations>
    <ViewRegistration timepoint="0" setup="0">
      <ViewTransform type="affine"><affine>AFFINE</affine></ViewTransform>
    </ViewRegistration>
  </ViewRegistrations>
</SpimData>
"""
FACTORS = [[1, 1, 1], [2, 2, 1]]


@pytest.mark.parametrize(
    ("affine", "begin"),
    [
        ("0.004 0.0 0.0 0.0 0.0 0.005 0.0 0.0 0.0 0.0 0.04 0.0", (0, 0, 0)),
        ("0.004 0.0 0.0 0.8 0.0 0.005 0.0 1.0 0.0 0.0 0.04 4.0", (4000, 1000, 800)),
        # in voxels of the smallest size
        ("1 0 0 200 0 1.25 0 250 0 0 10 1000", (4000, 1000, 800)),
    ],
)
def test_sizes_from_the_xml_of_bigdataviewer(tmp_path: Path, affine: str, begin: tuple[int, ...]) -> None:
    (tmp_path / "em.xml").write_text(XML.replace("AFFINE", affine))
    (tmp_path / "other.xml").write_text("<html/>")
    documents = {
        "setup0/.zattrs": {"downsamplingFactors": FACTORS, "dataType": "uint8"},
        "setup0/timepoint0/s1/.zarray": array_v2(3, 2, 3),
        "setup1/timepoint0/s0/.zarray": array_v2(3, 4, 6),
        "setup1/timepoint0/s0/.zattrs": {"downsamplingFactors": [1, 1, 1]},
        "setup2/timepoint0/s0/.zarray": array_v2(3, 4, 6),
        "setup2/timepoint0/s0/.zattrs": {"downsamplingFactors": [1, 1, 1]},
    }
    root = write(tmp_path / "em.n5", documents)
    array = opened(root, "setup0/timepoint0/s1")
    assert (tuple(array.roi.begin), tuple(array.voxel_size)) == (begin, (40, 10, 8))
    assert dialect_of(array) == "BigDataViewer's XML"
    assert opened(root, "setup1/timepoint0/s0").voxel_size == (8, 8, 8)
    with pytest.raises(gpa.StoreError, match="no ViewSetup 2"):
        opened(root, "setup2/timepoint0/s0")
    (tmp_path / "em.xml").unlink()
    # its factors alone are not understood
    with pytest.raises(gpa.StoreError, match="not understood.*downsamplingFactors.*`voxel_size=`"):
        opened(root, "setup1/timepoint0/s0")
    assert opened(root, "setup1/timepoint0/s0", voxel_size=(8, 4, 4)).voxel_size == (8, 4, 4)


def test_an_xml_that_turns_or_is_damaged(tmp_path: Path) -> None:
    root = write(
        tmp_path / "em.n5",
        {
            "setup0/timepoint0/s0/.zarray": array_v2(3, 4, 6),
            "setup0/timepoint0/s0/.zattrs": {"downsamplingFactors": [1, 1, 1]},
        },
    )
    for text, ids in (
        (XML.replace("AFFINE", "1 0.5 0 0 0 1 0 0 0 0 1 0"), "does more than scale and translate"),
        (XML.replace("AFFINE", "1 0 0 9 0 1 0 0 0 0 1 0"), "whose scale is not that of voxelSize"),
        (XML[:300] + "em.n5", "cannot read the XML beside the store"),
        (XML.replace("0.004 0.005 0.04", "fine"), "not a length"),
    ):
        (tmp_path / "em.xml").write_text(text)
        with pytest.raises(gpa.StoreError, match=f"{ids}.*`voxel_size=`"):
            opened(root, "setup0/timepoint0/s0")
        assert opened(root, "setup0/timepoint0/s0", voxel_size=(4, 4, 4), offset=(0, 0, 8)).roi.begin == (0, 0, 8)


@pytest.mark.parametrize(
    ("axes", "shape", "names"),
    [
        (None, (1, 2, 3, 8, 8), "czyx"),
        (None, (3, 8, 8), "zyx"),
        (["z", "y", "x"], (3, 8, 8), "zyx"),
        (["c", "y", "x"], (2, 8, 8), "cyx"),
    ],
)
def test_the_first_versions_of_ngff_have_no_sizes(
    tmp_path: Path, axes: list[str] | None, shape: tuple[int, ...], names: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = {"version": "0.3", "datasets": [{"path": "0"}, {"path": "1"}]}
    small = (*shape[:-2], 4, 4)
    root = write(
        tmp_path,
        {
            ".zattrs": {"multiscales": [image if axes is None else {**image, "axes": axes}]},
            "0/.zarray": array_v2(*shape),
            "1/.zarray": array_v2(*small),
        },
    )
    fine, coarse = opened(root, "0"), opened(root, "1")
    assert "".join(fine.axes) == "".join(coarse.axes) == names
    assert set(fine.voxel_size) == {1}
    assert coarse.voxel_size[-2:] == (2, 2)
    assert coarse.roi == fine.roi
    assert "no voxel size: 1 nm assumed" in caplog.text
    config = gpa.ZarrArrayConfig("a", root, "0")
    assert config.verify() == (True, "ok, but a: no voxel size: 1 nm assumed")
    sizes = [40] * len(fine.voxel_size)
    assert config.with_fields(voxel_size=sizes).verify() == (True, "ok")


def test_metadata_without_geometry_are_reported(tmp_path: Path) -> None:
    config = gpa.ZarrArrayConfig("a", write(tmp_path, {".zarray": array_v2(3, 4, 6), ".zattrs": {"note": "x"}}), "")
    assert config.verify() == (True, "ok, but a: no voxel size: 1 nm assumed")
    assert config.with_fields(unit="um").verify() == (True, "ok, but a: no voxel size: 1 um assumed")


def test_voxels_that_are_packed_are_told(tmp_path: Path) -> None:
    attributes = {"voxel_size": [4] * 3, "scale_factor": 0.1, "add_offset": 5.0}
    config = gpa.ZarrArrayConfig("a", write(tmp_path, {".zarray": array_v2(3, 4, 6), ".zattrs": attributes}), "")
    assert config.verify() == (True, "ok, but a: voxels as they are stored, without scale_factor 0.1, add_offset 5.0")


@pytest.mark.parametrize("key", ["axes", "axis_names", "_ARRAY_DIMENSIONS"])
def test_names_of_axes_in_one_text(tmp_path: Path, key: str) -> None:
    attributes = {"voxel_size": [4, 5, 6], key: "xyz"}
    array = opened(write(tmp_path, {".zarray": array_v2(3, 4, 6), ".zattrs": attributes}), "")
    assert (array.axes, array.voxel_size) == (("x", "y", "z"), (4, 5, 6))


def test_axes_without_a_unit_beside_axes_with_one(tmp_path: Path) -> None:
    # bioformats2raw, of a file that tells the size of a pixel and no distance between planes
    axes = [{"name": "z", "type": "space"}, {"name": "y", **SPACE}, {"name": "x", **SPACE}]
    image = {"version": "0.4", "axes": axes, "datasets": [level("0", scale(1, 0.25, 0.25))]}
    root = write(tmp_path, {".zattrs": {"multiscales": [image]}, "0/.zarray": array_v2(3, 4, 6)})
    config = gpa.ZarrArrayConfig("a", root, "0")
    assert config.array().voxel_size == (1, 250, 250)
    assert config.verify() == (True, "ok, but a: no unit for z: nm assumed")
    assert config.with_fields(voxel_size=("40 nm", "250 nm", "250 nm")).verify() == (True, "ok")
    assert config.with_fields(unit="um").verify() == (True, "ok")


def test_more_than_three_spatial_axes_are_told(tmp_path: Path) -> None:
    image = {"version": "0.4", "datasets": [level("0", scale(1, 40, 4, 4))]}
    image["axes"] = [{"name": "angle", "unit": "nanometer"}, *({"name": name, **SPACE} for name in "zyx")]
    root = write(
        tmp_path,
        {
            "named/.zattrs": {"multiscales": [image]},
            "named/0/.zarray": array_v2(2, 3, 4, 6),
            "lengths/.zattrs": {"resolution": [1, 40, 4, 4]},
            "lengths/.zarray": array_v2(2, 3, 4, 6),
        },
    )
    for dataset, names in (("named/0", "angle, z, y, x"), ("lengths", "d0, d1, d2, d3")):
        config = gpa.ZarrArrayConfig("a", root, dataset)
        text = f"ok, but a: spatial axes {names}: `axes=` says if some are not"
        assert config.verify("pm") == (True, text)
        array = config.with_fields(axes=("s", "z", "y", "x"), voxel_size=(40, 4, 4), offset=(0, 0, 0)).array()
        assert (array.axes, array.voxel_size) == (("s", "z", "y", "x"), (40, 4, 4))


BAD = [
    # two keys that do not agree
    ({"resolution": [40, 4, 4], "voxel_size": [4, 4, 40]}, "voxel_size .*contradicts resolution"),
    ({"voxel_size": [4, 4, 4], "pixelResolution": [8, 8, 8]}, "contradict each other.*n5-viewer"),
    ({"voxel_size": [4, 4, 4], "units": ["nm"] * 3, "dimension_units": ["4 um"] * 3}, "contradict each other"),
    ({"voxel_size": [4, 4, 4], "axis_names": ["z", "y", "x"], "axistags": 5}, "TypeError.*`axes=`"),
    # keys of no known program
    ({"voxelSize": [4, 4, 4]}, "not understood; found voxelSize"),
    ({"pixel_size_nm": {"x": 4, "y": 4, "z": 40}}, "not understood; found pixel_size_nm"),
    ({"spacing": [4, 4, 4], "note": 1}, "not understood; found spacing"),
    ({"scale": 4.0}, "not understood; found scale"),
    ({"downsamplingFactors": [2, 2, 1]}, "not understood; found downsamplingFactors"),
    ({"voxel_size": [4, 4, 4], "voxel_unit": "um"}, "not understood; found voxel_unit"),
    ({"voxel_size": [4, 4, 4], "origin": [40, 0, 0]}, "not understood; found origin"),
    ({"pixelResolution": [4, 4, 4], "voxel_offset": [1, 2, 3]}, "not understood; found voxel_offset"),
    ({"Resolution": [4, 4, 4]}, "not understood; found Resolution"),
    ({"pixelWidth": 0.2, "pixelHeight": 0.2, "pixelDepth": 0.5, "pixelUnit": "um"}, "not understood; found pixelWidth"),
    # malformed
    ({"voxel_size": "large"}, "malformed geometry"),
    ({"voxel_size": []}, "malformed geometry"),
    ({"voxel_size": {"x": 4}}, "malformed geometry"),
    ({"voxel_size": 4}, "malformed geometry"),
    ({"voxel_size": [4, float("nan"), 4]}, "malformed geometry: not a length"),
    ({"voxel_size": [4, True, 4]}, "malformed geometry: not a length"),
    ({"voxel_size": [[4], [4], [4]]}, "malformed geometry: not a length"),
    ({"voxel_size": [4, 4, 4, 4, 4]}, "malformed geometry"),
    ({"voxel_size": [4, 4, 4], "units": ["second"] * 3}, "not a unit of length"),
    ({"voxel_size": [4, 4, 4], "units": 5}, "malformed geometry"),
    ({"pixelResolution": {"unit": "nm"}}, "no 'dimensions'"),
    ({"pixelResolution": [4, 4, 4], "downsamplingFactors": [2, 2]}, "malformed geometry"),
    ({"transform": {"axes": ["z", "y", "x"], "scale": [1, 2]}}, "malformed geometry"),
    ({"transform": 5}, "not understood; found transform"),
    ({"dimension_units": ["4 parsec"] * 3}, "not a unit of length"),
    ({"dimension_units": 7}, "malformed geometry"),
]


@pytest.mark.parametrize(("attributes", "message"), BAD)
def test_metadata_that_are_not_understood_are_errors_that_fields_override(
    tmp_path: Path, attributes: dict[str, Any], message: str
) -> None:
    root = write(tmp_path, {"a/.zarray": array_v2(3, 4, 6), "a/.zattrs": attributes})
    with pytest.raises(gpa.StoreError, match=f"^a: {'(?s:.*)'}{message}") as caught:
        opened(root, "a")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    if "axes=" not in message:
        assert "`voxel_size=`" in str(caught.value)
        assert "`offset=`" in str(caught.value)
    array = opened(root, "a", voxel_size=(40, 4, 4), offset=(0, 0, 8), axes=("z", "y", "x"))
    assert (array.roi.begin, array.voxel_size) == ((0, 0, 8), (40, 4, 4))
    assert opened(root, "a", voxel_size=(40, 4, 4), axes=("z", "y", "x")).voxel_size == (40, 4, 4)


def test_metadata_of_a_group_that_are_not_understood(tmp_path: Path) -> None:
    root = write(tmp_path, {"a/.zarray": array_v2(3, 4, 6), ".zattrs": {"resolution": [4, 4, 40]}})
    with pytest.raises(gpa.StoreError, match="not understood; found resolution of its group"):
        opened(root, "a")
    write(root, {".zattrs": {"multiscales": {"layout": []}}})
    with pytest.raises(gpa.StoreError, match="multiscales is not a list of images"):
        opened(root, "a")
    assert opened(root, "a", voxel_size=(4, 4, 4)).voxel_size == (4, 4, 4)


def test_empty_metadata_are_not_an_error(tmp_path: Path) -> None:
    attributes = {"scale": "linear", "origin": [0, 0, 0], "transform": "log", "intensity_unit": "counts", "spacing": {}}
    array = opened(
        write(tmp_path, {".zarray": array_v2(3, 4, 6), ".zattrs": {"voxel_size": [4] * 3, **attributes}}), ""
    )
    assert array.voxel_size == (4, 4, 4)
    write(tmp_path, {".zarray": array_v2(3, 4, 6), ".zattrs": {"voxel_size": [4] * 3, "unit": "um"}})
    assert opened(tmp_path, "").voxel_size == (4000, 4000, 4000)


IMAGES = [
    ({"datasets": [level("0", {"type": "affine", "affine": []})], "axes": ["y", "x"]}, "transformation 'affine'"),
    ({"datasets": [level("0", {"type": "rotation"})], "axes": ["y", "x"]}, "transformation 'rotation'"),
    ({"datasets": [level("0", scale(1, 2, 3))], "axes": ["y", "x"]}, r"scale \[1, 2, 3\] of 2 axes"),
    ({"datasets": [level("0", {"type": "scale", "path": "s"})], "axes": ["y", "x"]}, "no 'scale'"),
    ({"datasets": [level("0", {"scale": [1, 2]})], "axes": ["y", "x"]}, "no 'type'"),
    ({"datasets": [{"path": "0"}], "axes": [{"name": "y"}, {"name": "x"}]}, "no 'coordinateTransformations'"),
    ({"datasets": [level("0", scale(1, 2))], "axes": [{"type": "space"}] * 2}, "no 'name'"),
    (
        {
            "datasets": [level("0", {**scale(1, 2), "output": "a"})],
            "coordinateSystems": [{"name": "a", "axes": [{"name": "y"}, {"name": "x"}]}],
            "coordinateTransformations": [{"type": "rotation", "input": "a", "output": "b"}],
        },
        "no 'b'|transformation 'rotation'",
    ),
    (
        {
            "datasets": [level("0", {**scale(1, 2), "output": "a"})],
            "coordinateSystems": [{"name": "a", "axes": [{"name": "y"}, {"name": "x"}]}],
            "coordinateTransformations": [{**scale(2, 2), "input": "a", "output": name} for name in "bc"],
        },
        "2 coordinate transformations from 'a'",
    ),
]


@pytest.mark.parametrize(("image", "message"), IMAGES)
def test_malformed_images_are_errors_that_overrides_cure(tmp_path: Path, image: dict[str, Any], message: str) -> None:
    root = write(tmp_path, {".zattrs": {"multiscales": [image]}, "0/.zarray": array_v2(4, 6)})
    with pytest.raises(gpa.StoreError, match=f"^a: .*({message}).*`voxel_size=`"):
        opened(root, "0")
    array = opened(root, "", voxel_size=(4, 4), offset=(0, 8), axes=("y", "x"))
    assert (array.roi.begin, array.voxel_size) == ((0, 8), (4, 4))
    # without an offset it is not silently 0
    good, text = gpa.ZarrArrayConfig("a", root, "0", voxel_size=(4, 4), axes=("y", "x")).verify()
    assert good
    assert text == "ok, but a: no offset that can be read: 0 assumed"


def test_dialects_that_agree_are_one(tmp_path: Path) -> None:
    """Arrays of `materialize` have metadata of several conventions; one without a unit takes the unit of the others."""
    attributes = {"voxel_size": [40, 4.000000001, 4], "offset": [0, 0, 8], "dimension_units": ["40 um", "4 um", "4 um"]}
    array = opened(write(tmp_path, {".zarray": array_v2(3, 4, 6), ".zattrs": attributes}), "", unit="pm")
    assert (array.roi.begin[2], array.voxel_size[0]) == (8_000_000, 40_000_000)
    assert dialect_of(array) == "funlib.persistence or DaCapo"


@pytest.mark.parametrize(
    ("attributes", "axes", "names"),
    [
        ({"channel_names": ["a", "b"]}, "cyx", ("a", "b")),
        ({"channel_names": ["a", "a"]}, "cyx", ("0", "1")),
        ({"channel_names": ["a"]}, "cyx", ("0", "1")),
        ({"channel_names": ["a", None]}, "cyx", ("0", "1")),
        ({}, "cyx", ("0", "1")),
    ],
)
def test_names_of_channels_that_select_takes(
    tmp_path: Path, attributes: Any, axes: str, names: tuple[str, ...]
) -> None:
    attributes = {**attributes, "voxel_size": [4, 4], "axis_names": list(axes)}
    config = gpa.ZarrArrayConfig("a", write(tmp_path, {".zarray": array_v2(2, 4, 6), ".zattrs": attributes}), "")
    (config.file_name / "0.0.0").write_bytes(np.repeat(np.arange(2, dtype=np.uint8), 24).tobytes())
    assert config.array().channels == names
    stated = attributes.get("channel_names", ["a", None])
    told = stated != list(names) and None not in stated
    assert config.verify() == (True, f"ok, but a: channels without names: {stated!r} for 2 channels" if told else "ok")
    for number, name in enumerate(names):
        selected = gpa.SelectArrayConfig("s", config, channels=[name]).array()
        assert (selected[:] == number).all()


@pytest.mark.parametrize("key", ["omero", "ome"])
def test_names_of_channels_in_omero(tmp_path: Path, key: str) -> None:
    documents, dataset, _, _ = STORES["iohub" if key == "omero" else "NGFF 0.6"]
    config = gpa.ZarrArrayConfig("a", write(tmp_path, documents), dataset)
    names = ("DAPI", "GFP") if key == "omero" else ("em", "er")
    assert config.array().channels == names
    assert gpa.SelectArrayConfig("s", config, channels=[names[1]]).array().channels == names[1:]


def test_every_dialect_is_named_once() -> None:
    names = [dialect.name for dialect in DIALECTS]
    assert len(set(names)) == len(names)


def pyramid(root: Path, *sizes: Sequence[float], unit: str = "nanometer") -> Path:
    """Levels s0, s1, ... of voxel sizes along z, y, x."""
    axes = [{"name": name, "type": "space", "unit": unit} for name in "zyx"]
    levels = [level(f"s{number}", scale(*size)) for number, size in enumerate(sizes)]
    arrays = {
        f"em/s{number}/.zarray": array_v2(16 >> number, 16 >> number, 16 >> number) for number in range(len(sizes))
    }
    return write(root, {"em/.zattrs": {"multiscales": [{"axes": axes, "datasets": levels}]}, **arrays})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("16 nm", (40, 16, 16)),
        ("40 nm", (40, 16, 16)),
        ("0.04 um", (40, 16, 16)),
        (["40 nm", "15 nm", "15 nm"], (40, 8, 8)),
        ([40, 8, 8], (40, 8, 8)),
        (gpa.Coordinate(40, 4, 7), (40, 4, 4)),
        (["1 um", 16, 16], (40, 16, 16)),
        ("1 mm", (40, 16, 16)),
        (0, (40, 4, 4)),
        (2, (40, 16, 16)),
        (2.0, (40, 16, 16)),
        (None, (40, 4, 4)),
    ],
)
def test_a_level_by_its_voxel_size(tmp_path: Path, wanted: Any, expected: tuple[int, ...]) -> None:
    if wanted == "16 nm":
        expected = (16, 16, 16)
        root = pyramid(tmp_path, (8, 8, 8), (16, 16, 16), (32, 32, 32))
    else:
        root = pyramid(tmp_path, (40, 4, 4), (40, 8, 8), (40, 16, 16))
    config = gpa.ZarrArrayConfig("a", root, "em", scale=wanted)
    assert config.array().voxel_size == expected
    for file in ("tree.toml", "tree.yaml", "tree.json"):
        config.to_toml(tmp_path / file)
        loaded = gpa.ZarrArrayConfig.from_toml(tmp_path / file)
        assert loaded == config
        assert loaded.array().voxel_size == expected


def test_a_level_by_bare_numbers_is_in_the_unit_of_the_tree(tmp_path: Path) -> None:
    root = pyramid(tmp_path, (5.24, 4, 4), (10.48, 8, 8), (20.96, 16, 16))
    config = gpa.ZarrArrayConfig("a", root, "em", scale=[10480, 8000, 8000])
    assert config.array(unit="pm").voxel_size == (10480, 8000, 8000)
    (tmp_path / "tree.toml").write_text(
        'unit = "pm"\n[a]\n__type__ = "ZarrArrayConfig"\nfile_name = "."\ndataset = "em"\nscale = [10480, 8000, 8000]\n'
    )
    assert gpa.load_tree(tmp_path / "tree.toml")["a"].array().voxel_size == (10480, 8000, 8000)
    # in nm all levels are far below it: the coarsest one
    with pytest.raises(gpa.TreeError, match='set unit = "pm"'):
        config.array()
    assert gpa.ZarrArrayConfig("a", root, "em", scale="10.48 nm").array(unit="pm").voxel_size[0] == 10480


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            "3 nm",
            r"no level has voxels of that size or smaller; found 3 nm; allowed: 0: \(40, 4, 4\), 1: \(40, 8, 8\) nm",
        ),
        ([39, 100, 100], "no level has voxels of that size"),
        ([40, 4], "scale is not one length per spatial axis; found 40, 4; allowed: 3 lengths, or one"),
        (2, "the pyramid has no such scale; found 2; allowed: 0 to 1"),
        (-1, "the pyramid has no such scale"),
    ],
)
def test_levels_that_there_are_not(tmp_path: Path, wanted: Any, message: str) -> None:
    root = pyramid(tmp_path, (40, 4, 4), (40, 8, 8))
    with pytest.raises(gpa.StoreError, match=f"^a: {message}"):
        gpa.ZarrArrayConfig("a", root, "em", scale=wanted).array()


@pytest.mark.parametrize(
    "wanted", ["", "fine", "-4 nm", "0 nm", [], [4, 0, 4], [4, "x", 4], True, 2.5, {"z": 4}, "4 parsec"]
)
def test_arrays_that_are_not_scales(wanted: Any) -> None:
    with pytest.raises(gpa.ConfigError, match="scale"):
        gpa.ZarrArrayConfig("a", "a.zarr", "em", scale=wanted)


@pytest.mark.parametrize("name", ["Paintera", "pybdv", "n5-viewer", "n5-viewer in N5"])
def test_groups_of_numbered_levels_are_pyramids(tmp_path: Path, name: str) -> None:
    documents, dataset, (begin, size, _), _ = STORES[name]
    root, group = write(tmp_path, documents), dataset.removesuffix("/s1")
    if "N5" not in name:
        (root / group / ".zgroup").write_text('{"zarr_format": 2}')
    for scale_ in (1, f"{size[0]} nm"):
        array = opened(root, group, scale=scale_)
        assert (tuple(array.roi.begin), tuple(array.voxel_size)) == (begin, size)
    (step,) = opened(root, group).plan.steps
    assert step.opened is not None
    assert [tuple(int(each.to("nm")) for each in coarse.voxel_size) for coarse in step.opened.coarser()] == [size]


def fixed_text(codecs: Sequence[str], data: bytes) -> dict[str, Any]:
    """Two texts along an axis, in each encoding of Zarr v3."""
    kind = "string" if "vlen-utf8" in codecs else {"name": "fixed_length_utf32", "configuration": {"length_bytes": 8}}
    document = array_v3(2, names=["c"])
    document |= {"data_type": kind, "codecs": [{"name": name} for name in codecs], "fill_value": ""}
    return {"c/zarr.json": json.dumps(document).encode(), "c/c/0": data}


NAMES = np.array(["em", "er"])


@pytest.mark.parametrize(
    "files",
    [
        {"c/.zarray": json.dumps(array_v2(2, dtype="<U2")).encode(), "c/0": NAMES.tobytes()},
        {
            "c/.zarray": json.dumps(
                {**array_v2(2, dtype="|O"), "filters": [{"id": "vlen-utf8"}], "compressor": {"id": "zlib", "level": 1}}
            ).encode(),
            "c/0": zlib.compress(numcodecs.VLenUTF8().encode(NAMES.astype(object))),
        },
        fixed_text(["bytes"], NAMES.tobytes()),
        fixed_text(["bytes", "zstd"], numcodecs.Zstd().encode(NAMES.tobytes())),
        fixed_text(["bytes", "crc32c"], NAMES.tobytes() + bytes.fromhex("a7c32d7b")),
        fixed_text(["vlen-utf8", "gzip"], numcodecs.GZip().encode(numcodecs.VLenUTF8().encode(NAMES.astype(object)))),
        # a name that cannot be read is ignored
        fixed_text(["sharding_indexed"], b""),
        fixed_text(["bytes", "zstd"], b"damaged"),
    ],
)
def test_names_of_channels_along_their_axis(tmp_path: Path, files: dict[str, bytes]) -> None:
    known = b"damaged" not in files.values() and b"" not in files.values()
    axes = {"z": ([0.0, 40.0], "nm")}
    root = write_xarray(tmp_path, axes, ["c", "z"], (2, 2))
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    array = opened(root, "raw")
    assert array.channels == (("em", "er") if known else ("0", "1"))
    assert (array.roi.begin, array.voxel_size) == ((-20,), (40,))


def test_sizes_from_the_xml_beside_an_hdf5_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "em.xml").write_text(XML.replace("em.n5", "em.h5").replace("AFFINE", "1 0 0 0 0 1 0 0 0 0 1 0"))
    with h5py.File(tmp_path / "em.h5", "w") as file:
        file["s00/resolutions"] = np.array([[1, 1, 1], [2, 2, 1]], float)
        file["s00/subdivisions"] = np.array([[6, 4, 3], [3, 2, 3]])
        file["t00000/s00/0/cells"] = np.zeros((3, 4, 6), np.int16)
        file["t00000/s00/1/cells"] = np.zeros((3, 2, 3), np.int16)
    for level_, size in ((0, (40, 5, 4)), (1, (40, 10, 8))):
        config = gpa.HDF5ArrayConfig("a", tmp_path / "em.h5", f"t00000/s00/{level_}/cells")
        assert config.array().voxel_size == size
        assert config.verify() == (True, "ok")
    (tmp_path / "em.xml").unlink()
    with pytest.raises(gpa.StoreError, match="downsamplingFactors.*`voxel_size=`"):
        config.array()
