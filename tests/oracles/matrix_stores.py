"""The same two volumes in every format, written by the tools that people use, with metadata of every dialect.

``python matrix_stores.py FOLDER`` writes those of TensorStore, in a process that nobody forks.
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

SHAPE = (5, 7, 9)


@attrs.frozen
class Volume:
    """Voxels and their geometry in nanometers."""

    voxels: np.ndarray[Any, Any]
    voxel_size: tuple[float, ...]
    begin: tuple[int, ...]

    @property
    def offset(self) -> tuple[float, ...]:
        return tuple(round(n * size, 6) for n, size in zip(self.begin, self.voxel_size, strict=True))

    def in_pm(self, lengths: tuple[float, ...]) -> list[int]:
        return [round(1000 * length) for length in lengths]


_RNG = np.random.default_rng(0)
VOLUMES = {
    "image": Volume(_RNG.integers(0, 255, SHAPE, dtype=np.uint8), (40, 4, 4), (2, 1, 3)),
    "labels": Volume(_RNG.integers(2**64 - 9, 2**64 - 1, SHAPE, dtype=np.uint64), (5.24, 5.24, 5.24), (2, 0, 3)),
}

#: The group of each store below, and the array in the group.
GROUP, ARRAY = "g", "g/s0"


def _sharding(chunks: list[int]) -> list[dict[str, Any]]:
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd", "configuration": {"level": 1}}]
    index = [codecs[0], {"name": "crc32c"}]
    configuration = {"chunk_shape": chunks, "codecs": codecs, "index_codecs": index, "index_location": "end"}
    return [{"name": "sharding_indexed", "configuration": configuration}]


def write_with_tensorstore(folder: Path) -> None:
    """Zarr v2, v3, v3 in shards and N5 without a voxel size; precomputed volumes, which always have one."""
    import tensorstore

    def write(path: Path, driver: str, voxels: Any, **spec: Any) -> None:
        store = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, **spec}
        tensorstore.open(store, create=True).result()[...] = voxels

    for name, volume in VOLUMES.items():
        data, dtype = volume.voxels, volume.voxels.dtype
        v2 = {"shape": SHAPE, "chunks": (2, 3, 4), "dtype": dtype.str, "compressor": {"id": "zstd", "level": 1}}
        write(folder / "v2" / name / ARRAY, "zarr", data, metadata={**v2, "dimension_separator": "/"})
        v3 = {"shape": SHAPE, "data_type": dtype.name}
        grid = {"name": "regular", "configuration": {"chunk_shape": (4, 6, 8)}}
        for kind, codecs in (("v3", [{"name": "gzip"}]), ("shards", _sharding([2, 3, 4]))):
            metadata = {**v3, "chunk_grid": grid, "codecs": codecs}
            write(folder / kind / name / ARRAY, "zarr3", data, metadata=metadata)
        n5 = {
            "dimensions": SHAPE[::-1],
            "blockSize": (4, 3, 2),
            "dataType": dtype.name,
            "compression": {"type": "gzip"},
        }
        write(folder / "n5" / name / ARRAY, "n5", data.T, metadata=n5)
        for encoding, sharding in (("raw", False), ("raw", True), ("compressed_segmentation", False)):
            if encoding != "raw" and dtype == np.uint8:
                continue
            shards = {"@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 0, "minishard_bits": 1}
            shards |= {"shard_bits": 1, "hash": "identity", "data_encoding": "gzip"}
            scale = {
                "size": SHAPE[::-1],
                "voxel_offset": volume.begin[::-1],
                "resolution": volume.voxel_size[::-1],
                "chunk_size": (4, 3, 2),
                "encoding": encoding,
                **({"sharding": shards} if sharding else {}),
                **({"compressed_segmentation_block_size": (2, 2, 2)} if encoding != "raw" else {}),
            }
            metadata = {"type": "image" if name == "image" else "segmentation", "data_type": dtype.name}
            path = folder / f"precomputed {encoding}{' in shards' if sharding else ''}" / name
            driver = "neuroglancer_precomputed"
            multiscale = {**metadata, "num_channels": 1}
            write(path, driver, data.T[..., None], scale_metadata=scale, multiscale_metadata=multiscale)


def _funlib(volume: Volume) -> dict[str, Any]:
    size, offset = volume.in_pm(volume.voxel_size), volume.in_pm(volume.offset)
    return {ARRAY: {"voxel_size": size, "offset": offset, "units": ["pm"] * 3, "axis_names": ["z", "y", "x"]}}


def _dacapo(volume: Volume) -> dict[str, Any]:
    return {ARRAY: {"resolution": volume.voxel_size, "offset": volume.offset, "axes": ["z", "y", "x"]}}


def _ngff(volume: Volume) -> dict[str, Any]:
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    scale = {"type": "scale", "scale": volume.voxel_size}
    transformations = [scale, {"type": "translation", "translation": volume.offset}]
    return {
        GROUP: {
            "multiscales": [{"axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": transformations}]}]
        }
    }


def _ngff_04(volume: Volume) -> dict[str, Any]:
    (image,) = _ngff(volume)[GROUP]["multiscales"]
    return {GROUP: {"multiscales": [{"version": "0.4", **image}]}}


def _ngff_05(volume: Volume) -> dict[str, Any]:
    return {GROUP: {"ome": {"version": "0.5", **_ngff(volume)[GROUP]}}}


def _cosem(volume: Volume) -> dict[str, Any]:
    units = ["nm"] * 3
    lengths = {"scale": volume.voxel_size, "translate": volume.offset, "units": units}
    return {ARRAY: {"transform": {"axes": ["z", "y", "x"], **lengths}}}


def _paintera(volume: Volume) -> dict[str, Any]:
    lengths = {"resolution": volume.voxel_size[::-1], "offset": volume.offset[::-1]}
    return {GROUP: {"multiScale": True, **lengths}, ARRAY: {"downsamplingFactors": [1, 1, 1]}}


def _n5_viewer(volume: Volume) -> dict[str, Any]:
    return {ARRAY: {"pixelResolution": {"dimensions": volume.voxel_size[::-1], "unit": "nm"}}}


def _tensorstore(volume: Volume) -> dict[str, Any]:
    return {ARRAY: {"dimension_units": [f"{size} nm" for size in volume.voxel_size]}}


def _n5_of_zarr(described: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of the lengths of an array in the order of N5."""
    return {key: value[::-1] if isinstance(value, (list, tuple)) else value for key, value in described.items()}


#: The dialects, as attributes of groups and arrays; the containers that have them; whether they tell an offset.
DIALECTS: dict[str, tuple[Callable[[Volume], dict[str, Any]], tuple[str, ...], bool]] = {
    "funlib": (_funlib, ("v2", "v3", "shards", "n5"), True),
    "DaCapo": (_dacapo, ("v2", "v3", "shards", "n5"), True),
    "NGFF 0.4": (_ngff_04, ("v2",), True),
    "NGFF 0.5": (_ngff_05, ("v3", "shards"), True),
    "COSEM": (_cosem, ("v2", "v3", "n5"), True),
    "Paintera": (_paintera, ("n5", "v2"), True),
    "n5-viewer": (_n5_viewer, ("n5", "v2"), False),
    "TensorStore": (_tensorstore, ("v2", "v3", "shards"), False),
}
_GROUPS = {"v2": {"zarr_format": 2}, "n5": {"n5": "2.0.0"}}


def described_copy(source: Path, kind: str, dialect: str, volume: Volume, target: Path) -> Path:
    """A copy of a store with the attributes of a metadata convention."""
    shutil.copytree(source, target)
    documents = DIALECTS[dialect][0](volume)
    if kind == "n5" and dialect in ("funlib", "DaCapo"):
        documents = {path: _n5_of_zarr(attributes) for path, attributes in documents.items()}
    for path in ("", GROUP, ARRAY):
        _add_attributes(target / path, kind, documents.get(path, {}), is_array=path == ARRAY)
    return target


def _add_attributes(folder: Path, kind: str, attributes: dict[str, Any], is_array: bool) -> None:
    if kind == "v2":
        if not is_array:
            (folder / ".zgroup").write_text(json.dumps(_GROUPS["v2"]))
        (folder / ".zattrs").write_text(json.dumps(attributes))
        return
    document = folder / ("attributes.json" if kind == "n5" else "zarr.json")
    before = (
        json.loads(document.read_text()) if is_array else _GROUPS.get(kind, {"zarr_format": 3, "node_type": "group"})
    )
    added = attributes if kind == "n5" else {"attributes": attributes}
    document.write_text(json.dumps({**before, **added}))


def zipped(store: Path, target: Path) -> Path:
    """A store in an uncompressed zip file."""
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(store.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(store))
    return target


if __name__ == "__main__":
    write_with_tensorstore(Path(sys.argv[1]))
