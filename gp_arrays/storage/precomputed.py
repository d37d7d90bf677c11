"""Volumes in Neuroglancer's precomputed format: what they say of themselves, and their voxels.

The format counts in x, y, z, everything here in z, y, x: only ``parse_info`` and ``chunk_key`` turn one into the other.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np

from ..errors import StoreError, quoted
from ..model.cache import CACHE
from .precomputed_codecs import ENCODINGS, SUFFIXES, decode, uncompressed
from .precomputed_files import Files
from .precomputed_shards import Sharding, chunk_number, chunk_ranges, minishard_range

Voxels = np.ndarray[Any, Any]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
#: The dtypes that an encoding is for, where it is not for all.
DTYPES_OF = {"compressed_segmentation": ("uint32", "uint64"), "jpeg": ("uint8",), "png": ("uint8", "uint16")}
#: Files that one read asks a server for at the same time.
CONNECTIONS = 16

#: The most bytes of a chunk or an index that are read from a shard; an index that says more is taken as damaged.
LONGEST = 2**31


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
        sharding: How chunks are put together in files, None where each is a file.
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
    """What a volume says of itself.

    Attributes:
        dtype: Of the voxels, little-endian.
        channels: The number of values of a voxel.
        is_labels: Whether it is a segmentation.
        scales: Finest first, as they are listed.
    """

    dtype: np.dtype[Any]
    channels: int
    is_labels: bool
    scales: tuple[Scale, ...]


def read_info(files: Files) -> Info:
    """What a volume says of itself, by one request. Raises StoreError."""
    data = _read_file(files, "info")
    if data is None:
        raise StoreError("no precomputed volume", found=f"no file 'info' in {files}")
    try:
        return parse_info(json.loads(uncompressed(data)))
    except StoreError as error:
        raise StoreError(error.problem, f"{error.found} in {files}/info", error.allowed) from None
    except KeyError as error:
        raise StoreError("malformed info", found=f"no {error} in {files}/info") from None
    except (
        ValueError,
        TypeError,
        EOFError,
        OSError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RecursionError,
    ) as error:
        raise StoreError("malformed info", found=f"{error} in {files}/info") from None


def parse_info(document: Mapping[str, Any]) -> Info:
    """A volume from its document. Raises StoreError for what is not read, other errors for what is malformed."""
    kind = document.get("@type", "neuroglancer_multiscale_volume")
    if kind != "neuroglancer_multiscale_volume":
        raise StoreError("not a volume", found=quoted(kind), allowed="neuroglancer_multiscale_volume")
    dtype, (channels,) = document["data_type"], _whole([document["num_channels"]], 1, count=1)
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
        _whole(scale["size"], 1),
        _whole(scale.get("voxel_offset") or [0, 0, 0]),
        _whole(scale["chunk_sizes"][0], 1),
        tuple(reversed(resolution)),
        encoding,
        None if block is None else _whole(block, 1),
        None if scale.get("sharding") is None else _sharding(scale["sharding"]),
    )


def _sharding(document: Mapping[str, Any]) -> Sharding:
    if document["@type"] != "neuroglancer_uint64_sharded_v1":
        raise StoreError("cannot read this sharding", quoted(document["@type"]), "neuroglancer_uint64_sharded_v1")
    if document["hash"] not in ("identity", "murmurhash3_x86_128"):
        raise StoreError("cannot read this sharding", f"hash {quoted(document['hash'])}", "murmurhash3_x86_128")
    encodings = [document.get(f"{part}_encoding", "raw") for part in ("minishard_index", "data")]
    if not set(encodings) <= {"raw", "gzip"}:
        raise StoreError("cannot read this sharding", f"encodings {quoted(encodings)}", "raw, gzip")
    bits = [document[f"{part}_bits"] for part in ("preshift", "minishard", "shard")]
    shard, minishard, preshift = _whole(bits, 0)
    if max(preshift, minishard, shard, minishard + shard - 1) > 63:
        raise ValueError(f"sharding by {quoted(bits)} bits")
    index_gzip, data_gzip = (encoding == "gzip" for encoding in encodings)
    return Sharding(preshift, document["hash"] != "identity", minishard, shard, index_gzip, data_gzip)


def _whole(values: Sequence[Any], least: int | None = None, count: int = 3) -> tuple[int, ...]:
    """Integers in reversed order. Raises ValueError."""
    numbers = tuple(int(value) for value in reversed(values))
    if len(numbers) != count or list(numbers) != list(reversed(values)) or (least is not None and min(numbers) < least):
        raise ValueError(f"{quoted(values)} where {count} integers belong")
    return numbers


def require_encoding(info: Info, scale: Scale) -> None:
    """Raises StoreError where the chunks of a scale are in an encoding that is not read, or not for their dtype."""
    if scale.encoding not in ENCODINGS:
        found = f"encoding {quoted(scale.encoding)} of scale {scale.key!r}"
        raise StoreError("cannot read its chunks", found, ", ".join(ENCODINGS))
    allowed = DTYPES_OF.get(scale.encoding, DTYPES)
    if info.dtype.name not in allowed:
        found = f"{info.dtype.name} in encoding {scale.encoding!r} of scale {scale.key!r}"
        raise StoreError("cannot read its chunks", found, ", ".join(allowed))


def read_box(files: Files, info: Info, scale: Scale, box: Sequence[slice]) -> tuple[Voxels, bool]:
    """The voxels of a box, channels first, and whether all its chunks are there; voxels of absent ones are 0.

    Args:
        files: Those of the volume.
        info, scale: What the volume says of itself.
        box: Ranges of channels, z, y and x, from the first voxel of the scale.

    Raises:
        StoreError: A chunk that is damaged or cannot be read.
    """
    out = np.zeros([part.stop - part.start for part in box], info.dtype)

    def read(position: tuple[int, ...]) -> bool:
        extent = scale.extent(position)
        shape = (info.channels, *(z - a for a, z in extent))
        inside = [slice(max(a, part.start), min(z, part.stop)) for (a, z), part in zip(extent, box[1:], strict=True)]
        target = [slice(i.start - part.start, i.stop - part.start) for i, part in zip(inside, box[1:], strict=True)]
        source = [slice(i.start - a, i.stop - a) for i, (a, _) in zip(inside, extent, strict=True)]
        try:
            data = read_chunk(files, scale, position)
            if data is None:
                return False
            voxels = decode(data, scale.encoding, shape, info.dtype, scale.block, [box[0], *source])
        except Exception as error:  # file systems and codecs have errors of many types
            problem, text, allowed = "cannot read", f"{type(error).__name__}: {error}", None
            if isinstance(error, StoreError):
                problem, text, allowed = error.problem, str(error.found), error.allowed
            found = f"chunk {scale.chunk_key(position)} of {files}: {text}"
            raise StoreError(problem, found, allowed) from error
        out[(slice(None), *target)] = voxels
        return True

    touched = (range(part.start // c, -(-part.stop // c)) for part, c in zip(box[1:], scale.chunk, strict=True))
    positions = list(itertools.product(*touched))
    # raw chunks on disk are copied, which threads do not make faster
    several = CONNECTIONS if not files.on_disk else 1 if scale.encoding == "raw" else os.cpu_count() or 1
    threads = min(len(positions), several)
    if threads < 2:
        present = [read(position) for position in positions]
        return out, all(present)
    with ThreadPoolExecutor(threads) as executor:
        futures = [executor.submit(read, position) for position in positions]
        try:
            present = [future.result() for future in futures]
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    return out, all(present)


def read_chunk(files: Files, scale: Scale, position: Sequence[int]) -> bytes | None:
    """The bytes of a chunk, None if it is not there."""
    if scale.sharding is None:
        return _read_file(files, scale.chunk_key(position))
    number = chunk_number(position, scale.grid)
    shard, minishard = scale.sharding.locate(number)
    file = f"{scale.key}/{scale.sharding.file_name(shard)}"
    ranges = _ranges(files, scale.sharding, file, (shard, minishard))
    found = np.flatnonzero(ranges[0] == np.uint64(number))
    if not len(found):
        return None
    data = _read_part(files, file, *map(int, ranges[1:, found[0]]))
    return gzip.decompress(data) if scale.sharding.data_gzip else data


def _read_file(files: Files, key: str) -> bytes | None:
    """The bytes of a file, which on a disk may have the name of a compression after its own; None if it is not there."""
    for suffix in SUFFIXES if files.on_disk else ("",):
        data = files.read(key + suffix)
        if data is not None:
            return uncompressed(data, suffix) if suffix else data
    return None


def _ranges(files: Files, sharding: Sharding, file: str, place: tuple[int, int]) -> Voxels:
    """Where in the file of a shard the chunks of a minishard are; ``place`` is the numbers of both."""
    key = (files, files.version(file), place)
    ranges = CACHE.find(key)
    if ranges is not None:
        return ranges
    nothing = np.empty((3, 0), np.uint64)
    entry = files.read(file, 16 * place[1], 16 * place[1] + 16)
    if entry is None:
        return nothing
    if len(entry) != 16:
        raise ValueError(f"{file} is truncated")
    begin, end = minishard_range(entry, sharding.index_bytes)
    if begin == end:
        return nothing
    data = _read_part(files, file, begin, end)
    data = gzip.decompress(data) if sharding.index_gzip else data
    ranges = chunk_ranges(data, sharding.index_bytes)
    shards, minishards = sharding.locate(ranges[0])
    if np.any(shards != place[0]) or np.any(minishards != place[1]):
        raise ValueError(f"the index of {file} is malformed")
    return CACHE.add(key, ranges)


def _read_part(files: Files, file: str, begin: int, end: int) -> bytes:
    """Bytes that an index says to be in a shard."""
    if not 0 <= end - begin <= LONGEST:
        raise ValueError(f"the index of {file} is malformed")
    data = files.read(file, begin, end) if end > begin else b""
    if data is None or len(data) != end - begin:
        state = "gone" if data is None else "truncated"
        raise ValueError(f"{file} is {state}: its bytes {begin} to {end} are missing")
    return data
