"""The metadata of volumes in Neuroglancer's precomputed format: their ``info``.

The format counts in x, y, z, everything here in z, y, x: only ``parse_info`` and ``chunk_key`` turn one into the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ...errors import StoreError, quoted
from .codecs import ENCODINGS
from .shards import Sharding

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
#: The dtypes that an encoding is for, where it is not for all.
DTYPES_OF = {"compressed_segmentation": ("uint32", "uint64"), "jpeg": ("uint8",), "png": ("uint8", "uint16")}


@attrs.frozen
class Scale:
    """One scale of a volume, in z, y, x.

    Attributes:
        key: Its folder, as the volume names it.
        size: In voxels.
        begin: Its first voxel.
        chunk: Voxels of a chunk; those at the far edges have fewer.
        resolution: The size of a voxel, in nanometers, as stated.
        encoding: Of its chunks.
        block: Voxels of a block of ``compressed_segmentation``.
        sharding: How several chunks are stored in one file; None if each chunk has its own file.
    """

    key: str
    size: tuple[int, ...]
    begin: tuple[int, ...]
    chunk: tuple[int, ...]
    resolution: tuple[Any, ...]
    encoding: str
    block: tuple[int, ...] | None
    sharding: Sharding | None

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.size, self.chunk, strict=True))

    @property
    def has_checksums(self) -> bool:
        """True if a flipped bit in a chunk is noticed."""
        return self.encoding == "png" or (self.sharding is not None and self.sharding.data_gzip)

    def extent(self, position: Sequence[int]) -> list[tuple[int, int]]:
        """From where to where a chunk reaches, in voxels from the first one."""
        corners = zip(position, self.chunk, self.size, strict=True)
        return [(p * c, min((p + 1) * c, n)) for p, c, n in corners]

    def chunk_key(self, position: Sequence[int]) -> str:
        """The name of a chunk; where chunks have files of their own, that of its file."""
        ends = zip(self.extent(position), self.begin, strict=True)
        return f"{self.key}/{'_'.join(f'{a + b}-{z + b}' for (a, z), b in reversed(list(ends)))}"


@attrs.frozen
class Info:
    """The metadata of a volume.

    Attributes:
        dtype: Of the voxels, little-endian.
        channels: The number of values of a voxel.
        is_labels: True if it is a segmentation.
        scales: Finest first, as they are listed.
    """

    dtype: np.dtype[Any]
    channels: int
    is_labels: bool
    scales: tuple[Scale, ...]


def parse_info(document: Any) -> Info:
    """A volume from its document. Raises StoreError for what is not read, other errors for what is malformed."""
    kind = document.get("@type", "neuroglancer_multiscale_volume")
    if kind != "neuroglancer_multiscale_volume":
        raise StoreError("not a volume", found=quoted(kind), allowed="neuroglancer_multiscale_volume")
    dtype, (channels,) = document["data_type"], _integers([document["num_channels"]], 1, count=1)
    if dtype not in DTYPES:
        raise StoreError("cannot read this dtype", found=quoted(dtype), allowed=", ".join(DTYPES))
    scales = tuple(_scale(scale) for scale in document["scales"])
    if not scales:
        raise ValueError("no scales")
    return Info(np.dtype(dtype).newbyteorder("<"), channels, document.get("type") == "segmentation", scales)


def _scale(scale: Mapping[str, Any]) -> Scale:
    key, encoding = scale["key"], scale["encoding"]
    if not isinstance(key, str) or not key.strip("/"):
        raise ValueError(f"the key {quoted(key)} of a scale")
    block = scale.get("compressed_segmentation_block_size")
    if encoding == "compressed_segmentation" and block is None:
        raise KeyError("compressed_segmentation_block_size")
    resolution = scale["resolution"]
    if len(resolution) != 3:
        raise ValueError(f"resolution {quoted(resolution)}")
    return Scale(
        key.rstrip("/"),
        _integers(scale["size"], 1),
        _integers(scale.get("voxel_offset") or [0, 0, 0]),
        _integers(next(iter(scale["chunk_sizes"]), None), 1),
        tuple(reversed(resolution)),
        encoding,
        None if block is None else _integers(block, 1),
        None if scale.get("sharding") is None else _sharding(scale["sharding"]),
    )


def _sharding(document: Mapping[str, Any]) -> Sharding:
    encodings = [document.get(f"{part}_encoding", "raw") for part in ("minishard_index", "data")]
    for what, values, readable in (
        ("type", [document["@type"]], ("neuroglancer_uint64_sharded_v1",)),
        ("hash", [document["hash"]], ("identity", "murmurhash3_x86_128")),
        ("encodings", encodings, ("raw", "gzip")),
    ):
        if not set(values) <= set(readable):
            found = f"{what} {', '.join(map(quoted, values))}"
            raise StoreError("cannot read this sharding", found, ", ".join(readable))
    bits = [document[f"{part}_bits"] for part in ("preshift", "minishard", "shard")]
    shard, minishard, preshift = _integers(bits, 0)
    if max(preshift, minishard, shard, minishard + shard - 1) > 63:
        raise ValueError(f"sharding by {quoted(bits)} bits")
    index_gzip, data_gzip = (encoding == "gzip" for encoding in encodings)
    return Sharding(preshift, document["hash"] != "identity", minishard, shard, index_gzip, data_gzip)


def _integers(values: Any, least: float = -math.inf, count: int = 3) -> tuple[int, ...]:
    """Integers in reversed order. Raises ValueError."""
    if (
        not isinstance(values, list)
        or len(values) != count
        or any(type(value) not in (int, float) or value != int(value) or value < least for value in values)
    ):
        allowed = f"{count} integers" if least == -math.inf else f"{count} integers from {least}"
        raise ValueError(f"{quoted(values)} where {allowed} belong")
    return tuple(map(int, reversed(values)))


def require_encoding(info: Info, scale: Scale) -> None:
    """Raises StoreError where the chunks of a scale are in an encoding that is not read, or not for their dtype."""
    if scale.encoding not in ENCODINGS:
        found = f"encoding {quoted(scale.encoding)} of scale {scale.key!r}"
        raise StoreError("cannot read its chunks", found, ", ".join(ENCODINGS))
    allowed = DTYPES_OF.get(scale.encoding, DTYPES)
    if info.dtype.name not in allowed:
        found = f"{info.dtype.name} in encoding {scale.encoding!r} of scale {scale.key!r}"
        raise StoreError("cannot read its chunks", found, ", ".join(allowed))
