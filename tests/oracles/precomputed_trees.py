"""Precomputed volumes as TensorStore writes and reads them, and random trees with such volumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from hypothesis import strategies as st

from gp_arrays.sources.precomputed import PrecomputedArrayConfig
from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.testing.strategies import voxels

from .trees import Pool, grows

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")


def write_volume(
    path: Path,
    data: np.ndarray[Any, Any],
    chunk: Sequence[int],
    resolution: Sequence[float] = (1, 1, 1),
    begin: Sequence[int] = (0, 0, 0),
    encoding: str = "raw",
    sharding: Mapping[str, Any] | None = None,
    kind: str = "image",
    key: str | None = None,
    **scale: Any,
) -> Any:
    """Write voxels (c, z, y, x or z, y, x) as one scale more of a volume; all lengths are z, y, x.

    Returns TensorStore's view of it, with the axes and the origin of ``data``.
    """
    channels = data.shape[0] if data.ndim == 4 else 1
    volume = data.reshape(channels, *data.shape[-3:])
    metadata: dict[str, Any] = {
        "size": volume.shape[:0:-1],
        "voxel_offset": begin[::-1],
        "chunk_size": chunk[::-1],
        "resolution": resolution[::-1],
        "encoding": encoding,
        **scale,
    }
    if key is not None:
        metadata["key"] = key
    if encoding == "compressed_segmentation":
        metadata.setdefault("compressed_segmentation_block_size", [8, 8, 8])
    if sharding is not None:
        metadata["sharding"] = sharding
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "multiscale_metadata": {"type": kind, "data_type": data.dtype.name, "num_channels": channels},
        "scale_metadata": metadata,
    }
    store = tensorstore.open(spec, create=True, open=True).result()
    view = store.transpose()[tensorstore.d[1:4].translate_to[0]]
    view.write(volume).result()
    return view if data.ndim == 4 else view[0]


@naive(PrecomputedArrayConfig)
def precomputed(config: PrecomputedArrayConfig, naive: Naive) -> Volume:
    info = json.loads((config.file_name / "info").read_text())
    keys = [scale["key"] for scale in info["scales"]]
    # only volumes of one scale are asked for a voxel size
    number = keys.index(config.scale) if config.scale in keys else config.scale if isinstance(config.scale, int) else 0
    kvstore = {"driver": "file", "path": f"{config.file_name}/"}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": kvstore, "scale_index": number}
    data = tensorstore.open(spec).result().read().result().transpose()
    several, labels = data.shape[0] > 1, info["type"] == "segmentation"
    scale = info["scales"][number]
    size = naive.lengths(config.voxel_size or scale["resolution"][::-1], config.unit or "nm")
    begin = [f"{b * v} {naive.unit}" for b, v in zip(scale["voxel_offset"][::-1], size, strict=True)]
    interpolatable = not labels and info["data_type"] in ("uint8", "int8", "uint16", "int16", "float32")
    return Volume(
        data if several else data[0],
        naive.lengths(config.offset or begin, config.unit),
        size,
        ("c",) if several else (),
        tuple(map(str, range(len(data)))) if several else None,
        interpolatable if config.interpolatable is None else config.interpolatable,
    )


SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "hash": "murmurhash3_x86_128",
    "minishard_bits": 1,
    "shard_bits": 2,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


@grows(PrecomputedArrayConfig)
def grown(pool: Pool, name: str) -> Any:
    if pool.dims != 3:
        return None
    shape = tuple(pool.draw(st.integers(1, 5)) for _ in range(3))
    dtype = pool.draw(st.sampled_from(DTYPES))
    data = pool.draw(voxels((*(pool.draw(st.sampled_from([(), (2,)]))), *shape), dtype))
    encodings = ["raw", *(["compressed_segmentation"] if dtype in ("uint32", "uint64") else [])]
    fields: dict[str, Any] = {
        "chunk": [pool.draw(st.integers(1, 4)) for _ in range(3)],
        "resolution": pool.voxel_size,
        "begin": [pool.draw(st.integers(-9, 9)) for _ in range(3)],
        "encoding": pool.draw(st.sampled_from(encodings)),
        "sharding": pool.draw(st.sampled_from([None, SHARDING])),
        "kind": pool.draw(st.sampled_from(["image", "segmentation"])),
    }
    content = repr((fields, data.dtype, data.shape)).encode()
    path = pool.folder / f"{hashlib.blake2b(data.tobytes() + content, digest_size=12).hexdigest()}.precomputed"
    if not path.exists():
        write_volume(path, data, **fields)
    return PrecomputedArrayConfig(name, path, offset=pool.place(shape))
