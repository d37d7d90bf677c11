"""Format by dialect: the same volumes, written by the tools of others, have the same voxels and the same meta.

They are read through a tree file by one new process: where the installed zarr has no Zarr v3, TensorStore reads it,
and later tests fork this process.
"""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from funlib.persistence import prepare_ds
from oracles import matrix_stores as stores
from oracles.matrix_stores import ARRAY, DIALECTS, VOLUMES, Volume

from gp_arrays.storage.chunked.engine import FORMATS

READER = """
import pickle, sys
import gp_arrays as gpa
found = {}
for name, config in gpa.load_tree(sys.argv[1]).items():
    try:
        array = config.array()
        meta = array.dtype.name, array.axes, tuple(array.voxel_size), tuple(array.roi.offset), array.interpolatable
        found[name] = *meta, array.plan.steps[0].opened.dialect, array[:]
    except gpa.GpArraysError as error:
        found[name] = str(error)
pickle.dump(found, open(sys.argv[2], "wb"))
"""


def of_zarr(path: Path | str, dataset: str = ARRAY, **fields: Any) -> dict[str, Any]:
    return {"__type__": "ZarrArrayConfig", "file_name": str(path), "dataset": dataset, **fields}


def zarr_like(folder: Path, base: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """Zarr v2, v3, shards and N5 of TensorStore in each dialect that they have, some of them in zip files."""
    trees = {}
    for dialect, (_, kinds, _) in DIALECTS.items():
        for kind in kinds:
            for name, volume in VOLUMES.items():
                target = folder / f"{kind} {dialect} {name}.{'n5' if kind == 'n5' else 'zarr'}"
                store = stores.described_copy(base / kind / name, kind, dialect, volume, target)
                trees[kind, dialect, name] = of_zarr(store)
                if dialect.startswith("NGFF"):
                    archive = stores.zipped(store, folder / f"{target.stem}.zip")
                    trees[f"{kind} in a zip at a URL", dialect, name] = of_zarr(f"zip://::file://{archive}")
                    trees[f"{kind} in a zip", dialect, name] = of_zarr(archive)
    return trees


def own_writers(folder: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """Arrays that zarr itself, funlib.persistence and xarray have written."""
    trees = {}
    for name, volume in VOLUMES.items():
        size, offset = volume.in_pm(volume.voxel_size), volume.in_pm(volume.offset)
        path = folder / f"funlib {name}.zarr" / "a"
        options = {"axis_names": ["z", "y", "x"], "units": ["pm"] * 3, "types": ["space"] * 3}
        options |= {"mode": "w", "chunk_shape": (2, 3, 4)}
        dataset = prepare_ds(path, volume.voxels.shape, offset, size, dtype=volume.voxels.dtype, **options)
        dataset[dataset.roi] = volume.voxels
        trees["funlib.persistence", "its own", name] = of_zarr(path.parent, "a")
        group = zarr.open_group(str(folder / f"plain {name}.zarr"), mode="w", **ZARR_2)
        create = group.create_array if hasattr(group, "create_array") else group.create_dataset
        array = create("a", shape=volume.voxels.shape, chunks=(2, 3, 4), dtype=volume.voxels.dtype)
        array[:] = volume.voxels
        lengths = {"voxel_size": volume.voxel_size, "offset": volume.offset}
        trees["zarr", "none", name] = of_zarr(folder / f"plain {name}.zarr", "a", **in_words(lengths))
        if 3 in FORMATS:  # xarray writes no store with zarr 2 any more
            trees |= of_xarray(folder, name, volume)
    return trees


#: Of zarr 3: what zarr 2 writes.
ZARR_2 = {"zarr_format": 2} if 3 in FORMATS else {}


def of_xarray(folder: Path, name: str, volume: Volume) -> dict[tuple[str, ...], dict[str, Any]]:
    xarray = pytest.importorskip("xarray")
    centres = {
        axis: (axis, [begin + size / 2 + i * size for i in range(count)], {"units": "nm"})
        for axis, begin, size, count in zip("zyx", volume.offset, volume.voxel_size, stores.SHAPE, strict=True)
    }
    data = xarray.Dataset({"a": (("z", "y", "x"), volume.voxels)}, centres)
    trees = {}
    for version in (2, 3):
        store = folder / f"xarray {version} {name}.zarr"
        data.to_zarr(store, zarr_format=version, consolidated=False)
        trees[f"v{version}", "xarray", name] = of_zarr(store, "a")
    return trees


def in_words(lengths: dict[str, tuple[float, ...]]) -> dict[str, list[str]]:
    return {key: [f"{value} nm" for value in values] for key, values in lengths.items()}


def files(folder: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """HDF5 and TIFF files."""
    trees: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, volume in VOLUMES.items():
        path = folder / f"{name}.hdf"
        with h5py.File(path, "w") as file:
            for key in ("cremi", "fiji", "ilastik"):
                file.create_dataset(key, data=volume.voxels, chunks=(2, 3, 4), compression="gzip")
            file["cremi"].attrs.update({"resolution": volume.voxel_size, "offset": volume.offset})
            file["fiji"].attrs["element_size_um"] = [size / 1000 for size in volume.voxel_size]
            tags = {"axes": [{"key": axis, "typeFlags": 2} for axis in "zyx"]}
            file["ilastik"].attrs["axistags"] = json.dumps(tags)
        entry = {"__type__": "HDF5ArrayConfig", "file_name": str(path)}
        lengths = in_words({"voxel_size": volume.voxel_size, "offset": volume.offset})
        trees["HDF5", "CREMI", name] = {**entry, "dataset": "cremi"}
        trees["HDF5", "Fiji", name] = {**entry, "dataset": "fiji", "offset": lengths["offset"]}
        trees["HDF5", "ilastik", name] = {**entry, "dataset": "ilastik", **lengths}
        trees |= tiffs(folder, name, volume)
    return trees


def tiffs(folder: Path, name: str, volume: Volume) -> dict[tuple[str, ...], dict[str, Any]]:
    z, y, x = volume.voxel_size
    ome = {"axes": "ZYX", "PhysicalSizeZ": z, "PhysicalSizeY": y, "PhysicalSizeX": x}
    ome |= {f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}
    offset = in_words({"offset": volume.offset})
    written: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "TIFF": ({"metadata": None}, in_words({"voxel_size": volume.voxel_size})),
        "BigTIFF in tiles": ({"bigtiff": True, "tile": (16, 16)}, in_words({"voxel_size": volume.voxel_size})),
    }
    if name == "image":  # neither has integers of 64 bits
        spacing = {"axes": "ZYX", "spacing": z, "unit": "nm"}
        written["ImageJ"] = {"imagej": True, "resolution": (1 / x, 1 / y), "metadata": spacing}, {}
        written["OME-TIFF"] = {"ome": True, "metadata": ome}, {}
    trees = {}
    for kind, (options, fields) in written.items():
        path = folder / f"{kind} {name}.tif"
        tifffile.imwrite(path, volume.voxels, photometric="minisblack", **options)
        dialect = "none" if fields else "its own"
        trees[kind, dialect, name] = {"__type__": "TiffArrayConfig", "file_name": str(path), **offset, **fields}
    return trees


def precomputed(base: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    return {
        (path.name, "its own", name): {"__type__": "PrecomputedArrayConfig", "file_name": str(path / name)}
        for path in sorted(base.glob("precomputed*"))
        for name in VOLUMES
        if (path / name).exists()
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Any]:
    """The result of reading each store, by format, metadata convention and volume."""
    pytest.importorskip("tensorstore")
    folder = tmp_path_factory.mktemp("matrix")
    base = folder / "base"
    subprocess.run([sys.executable, stores.__file__, str(base)], check=True, timeout=200)
    trees = zarr_like(folder, base) | own_writers(folder) | files(folder) | precomputed(base)
    document = {"unit": "pm", **{" | ".join(key): entry for key, entry in trees.items()}}
    (folder / "tree.json").write_text(json.dumps(document))
    result = folder / "found.pickle"
    command = [sys.executable, "-c", READER, str(folder / "tree.json"), str(result)]
    subprocess.run(command, check=True, timeout=200)
    read = pickle.loads(result.read_bytes())
    shutil.rmtree(folder)
    return {tuple(name.split(" | ")): value for name, value in read.items()}


WITHOUT_OFFSET = [dialect for dialect, (_, _, has_offset) in DIALECTS.items() if not has_offset]


def test_every_store_has_the_same_voxels_and_meta(found: dict[tuple[str, ...], Any]) -> None:
    wrong = {}
    for (kind, dialect, name), value in found.items():
        volume = VOLUMES[name]
        offset = (0, 0, 0) if dialect in WITHOUT_OFFSET else tuple(volume.in_pm(volume.offset))
        size = tuple(volume.in_pm(volume.voxel_size))
        expected = volume.voxels.dtype.name, ("z", "y", "x"), size, offset, name == "image"
        if isinstance(value, str):
            wrong[kind, dialect, name] = value
        elif value[:5] != expected:
            wrong[kind, dialect, name] = f"{value[:5]} is not {expected}"
        elif not np.array_equal(value[-1], volume.voxels):
            wrong[kind, dialect, name] = "other voxels"
    assert not wrong, "\n".join(f"{' | '.join(key)}: {text}" for key, text in wrong.items())


def test_every_format_is_in_the_matrix(found: dict[tuple[str, ...], Any]) -> None:
    kinds = {kind for kind, _, _ in found}
    assert {
        "v2",
        "v3",
        "shards",
        "n5",
        "v2 in a zip",
        "v2 in a zip at a URL",
        "HDF5",
        "TIFF",
        "precomputed raw in shards",
    } <= kinds
