"""Reads of 192 x 192 x 192 voxels of each format beside the format's own library, and opening a store of 10^9 chunks.

The voxels are uint64 labels that gzip or the format's own codec has compressed. No decoded chunk is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorstore
import tifffile
import zarr
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.cli.sample import make_voxels
from gp_arrays.storage.chunked.engine import FORMATS

N, CHUNK = 192, 64
Read = Callable[[], Any]


def opening(folder: Path) -> Iterator[tuple[str, Read, Read]]:
    """Stores of 1000 x 1000 x 1000 chunks, all of them absent, and the folders that they begin with."""
    v2 = {"zarr_format": 2, "shape": [64_000] * 3, "chunks": [64] * 3, "dtype": "|u1", "order": "C", "fill_value": 0}
    v2 |= {"compressor": None, "filters": None, "dimension_separator": "/"}
    v3 = {"zarr_format": 3, "node_type": "array", "shape": [64_000] * 3, "data_type": "uint8", "fill_value": 0}
    v3 |= {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64] * 3}}, "codecs": [{"name": "bytes"}]}
    v3 |= {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}}
    for version, document, content, prefix in ((2, ".zarray", v2, ""), (3, "zarr.json", v3, "c/")):
        if version not in FORMATS:
            continue
        store = folder / f"large-{version}"
        for i in range(10):
            (store / f"a/{prefix}{i}/0").mkdir(parents=True)
        (store / "a" / document).write_text(json.dumps(content))
        config = gpa.ZarrArrayConfig("a", store, "a", voxel_size=(4, 4, 4), offset=(0, 0, 0))
        yield (
            f"Zarr v{version}, open and read one voxel",
            lambda config=config: config.array()[5000, 5000, 5000],
            lambda store=store: zarr.open(str(store / "a"), mode="r")[5000, 5000, 5000],
        )


def formats(folder: Path, voxels: np.ndarray[Any, Any]) -> Iterator[tuple[str, Read, Read]]:
    """Each format with our read of it, and that of its own library."""

    def ours(config: Any) -> Read:
        array = config.array()
        return lambda: array[:]

    fields = {"voxel_size": (4, 4, 4), "offset": (0, 0, 0)}
    roi = gpa.Roi((0, 0, 0), (N * 4,) * 3)
    for version in FORMATS:
        for compressor in ("gzip", "zstd"):
            name = f"Zarr v{version}, {compressor}"
            options = {"chunks": (CHUNK,) * 3, "compressor": compressor, "zarr_format": version}
            array = gpa.create_zarr(folder / f"{name}.zarr", "a", roi, (4, 4, 4), voxels.dtype, **options)
            array[:] = voxels
            plain = zarr.open(str(folder / f"{name}.zarr"), mode="r")["a"]
            yield name, ours(array.config), lambda plain=plain: plain[:]
    if 3 in FORMATS:
        options = {"chunks": (32,) * 3, "shards": (96,) * 3, "zarr_format": 3}
        array = gpa.create_zarr(folder / "shards.zarr", "a", roi, (4, 4, 4), voxels.dtype, **options)
        array[:] = voxels
        plain = zarr.open(str(folder / "shards.zarr"), mode="r")["a"]
        yield "Zarr v3, shards", ours(array.config), lambda plain=plain: plain[:]
    metadata = {"dimensions": [N] * 3, "blockSize": [CHUNK] * 3, "dataType": voxels.dtype.name}
    metadata["compression"] = {"type": "gzip"}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/a.n5/a/"}, "metadata": metadata}
    opened = tensorstore.open(spec, create=True).result()
    opened[...] = voxels.T

    def of_tensorstore() -> Any:
        return np.ascontiguousarray(opened.read().result().T)

    yield "N5, gzip (TensorStore)", ours(gpa.ZarrArrayConfig("a", folder / "a.n5", "a", **fields)), of_tensorstore
    with h5py.File(folder / "a.hdf", "w") as file:
        file.create_dataset("a", data=voxels, chunks=(CHUNK,) * 3, compression="gzip", compression_opts=5)

    def of_h5py() -> Any:
        with h5py.File(folder / "a.hdf") as file:
            return file["a"][:]

    yield "HDF5, gzip (h5py)", ours(gpa.HDF5ArrayConfig("a", folder / "a.hdf", "a", **fields)), of_h5py
    path = folder / "a.tif"
    tifffile.imwrite(path, voxels, tile=(CHUNK, CHUNK), compression="zlib", photometric="minisblack", metadata=None)
    yield "TIFF, deflate (tifffile)", ours(gpa.TiffArrayConfig("a", path, **fields)), lambda: tifffile.imread(path)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    gpa.set_cache_bytes(0)
    for name, ours, peer in opening(settings.folder):
        yield Comparison("opening 10^9 chunks", name, "zarr", ours, peer)
    voxels = make_voxels((N, N, N), cells=60)["neurons"]
    for name, ours, peer in formats(settings.folder, voxels):
        yield Comparison("formats, 192^3 uint64", name, "the format's library", ours, peer)
