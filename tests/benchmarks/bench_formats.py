"""What it costs to open a store of 10^9 chunks, and to read 192 x 192 x 192 voxels of each format.

    python tests/benchmarks/bench_formats.py

Reads are medians of runs taken in turn, of uint64 labels that gzip or the format's own codec has compressed, without our
cache of decoded chunks. Ratios are to the format's own library in the same run.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["GP_ARRAYS_CACHE_BYTES"] = "0"

import h5py
import numpy as np
import tensorstore
import tifffile
import zarr
from timing import medians

import gp_arrays as gpa
from gp_arrays.cli.sample import make_voxels
from gp_arrays.storage.chunked.engine import FORMATS

N, CHUNK = 192, 64
Read = Callable[[], Any]


def opening(folder: Path) -> None:
    """Stores of 1000 x 1000 x 1000 chunks, all of them absent, and the folders that they begin with."""
    shape, chunk = [64_000] * 3, [64] * 3
    v2 = {"zarr_format": 2, "shape": shape, "chunks": chunk, "dtype": "|u1", "order": "C", "fill_value": 0}
    v2 |= {"compressor": None, "filters": None, "dimension_separator": "/"}
    n5 = {"dimensions": shape, "blockSize": chunk, "dataType": "uint8", "compression": {"type": "raw"}}
    v3 = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint8", "fill_value": 0}
    v3 |= {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}}, "codecs": [{"name": "bytes"}]}
    v3 |= {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}}
    kinds: tuple[tuple[str, str, dict[str, Any], str], ...] = (
        ("Zarr v2", ".zarray", v2, ""),
        ("Zarr v3", "zarr.json", v3, "c/"),
        ("N5", "attributes.json", n5, ""),
    )
    print(f"{'10^9 chunks':28} {'open':>10} {'with a voxel':>13} {'again':>10}")
    for name, document, content, prefix in kinds:
        store = folder / name
        for i in range(10):
            (store / f"a/{prefix}{i}/0").mkdir(parents=True)
        (store / "a" / document).write_text(json.dumps(content))
        config = gpa.ZarrArrayConfig("a", store, "a", voxel_size=(4, 4, 4), offset=(0, 0, 0))
        (first,) = medians(config.array, runs=1)
        opened, voxel = medians(config.array, lambda config=config: config.array()[5000, 5000, 5000])
        print(f"{name:28} {first:7.1f} ms {voxel:10.1f} ms {opened:7.1f} ms")


def formats(folder: Path, voxels: np.ndarray[Any, Any]) -> Iterator[tuple[str, Read, Read]]:
    """Each format with our read of it, and that of its own library."""

    def ours(config: Any) -> Read:
        array = config.array()
        return lambda: array[:]

    def of_tensorstore(driver: str, path: Path, **metadata: Any) -> Read:
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, **metadata}
        opened = tensorstore.open(spec, create=True).result()
        opened[...] = voxels.T[..., None] if driver.startswith("neuro") else voxels.T if driver == "n5" else voxels
        return lambda: np.ascontiguousarray(np.asarray(opened.read().result()).T)

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
    n5 = {
        "dimensions": [N] * 3,
        "blockSize": [CHUNK] * 3,
        "dataType": voxels.dtype.name,
        "compression": {"type": "gzip"},
    }
    peer = of_tensorstore("n5", folder / "a.n5/a", metadata=n5)
    yield "N5, gzip (TensorStore)", ours(gpa.ZarrArrayConfig("a", folder / "a.n5", "a", **fields)), peer
    with h5py.File(folder / "a.hdf", "w") as file:
        file.create_dataset("a", data=voxels, chunks=(CHUNK,) * 3, compression="gzip", compression_opts=5)

    def of_h5py() -> Any:
        with h5py.File(folder / "a.hdf") as file:
            return file["a"][:]

    yield "HDF5, gzip (h5py)", ours(gpa.HDF5ArrayConfig("a", folder / "a.hdf", "a", **fields)), of_h5py
    path = folder / "a.tif"
    tifffile.imwrite(path, voxels, tile=(CHUNK, CHUNK), compression="zlib", photometric="minisblack", metadata=None)
    yield "TIFF, deflate (tifffile)", ours(gpa.TiffArrayConfig("a", path, **fields)), lambda: tifffile.imread(path)
    for encoding in ("raw", "compressed_segmentation"):
        scale = {"size": [N] * 3, "resolution": [4] * 3, "chunk_size": [CHUNK] * 3, "encoding": encoding}
        scale |= {"compressed_segmentation_block_size": [8] * 3} if encoding != "raw" else {}
        multiscale = {"type": "segmentation", "data_type": voxels.dtype.name, "num_channels": 1}
        metadata = {"scale_metadata": scale, "multiscale_metadata": multiscale}
        peer = of_tensorstore("neuroglancer_precomputed", folder / encoding, **metadata)
        config = gpa.PrecomputedArrayConfig("a", folder / encoding)
        yield f"precomputed, {encoding[:14]} (TensorStore)", ours(config), peer


def main() -> None:
    voxels = make_voxels((N, N, N), cells=60)["neurons"]
    with tempfile.TemporaryDirectory() as folder:
        opening(Path(folder))
        print(f"\n{'192 x 192 x 192 uint64':44} {'ours':>9} {'library':>10} {'ratio':>6}")
        for name, ours, peer in formats(Path(folder), voxels):
            assert np.array_equal(ours(), voxels)
            a, b = medians(ours, peer, runs=3)
            print(f"{name:44} {a:6.0f} ms {b:7.0f} ms {a / b:6.2f}")
            sys.stdout.flush()


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"\n{time.perf_counter() - began:.0f} s in all")
