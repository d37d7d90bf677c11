"""How the chunks of an array are decoded, where its codecs are the common ones; zarr decodes all others."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numcodecs
import numpy as np
from numcodecs.compat import ensure_contiguous_ndarray

from .documents import ChunkedNode
from .keys import N5

Voxels = np.ndarray[Any, Any]
Step = Callable[..., Any]

#: Compressors of Zarr v3 that need no options to decode.
COMPRESSORS = frozenset(
    ["blosc", "gzip", "zstd", *(f"numcodecs.{name}" for name in ("blosc", "bz2", "gzip", "lz4", "zlib", "zstd"))]
)
#: Where the index of a shard has these, there is no chunk.
ABSENT = 2**64 - 1
#: How a frame of Zstandard begins, and the most bytes of its header.
ZSTD_MAGIC, ZSTD_HEADER = b"\x28\xb5\x2f\xfd", 18
#: Of the header of Blosc: the version of the format, flags, the bytes of the chunk and those of a block.
BLOSC_HEADER = struct.Struct("<BxBxII4x")
#: The version that ``needed_blocks`` knows, and the flag of data that are stored as they are.
BLOSC_VERSION, BLOSC_NOT_COMPRESSED = 2, 0b10


@attrs.frozen
class Codecs:
    """How a chunk becomes voxels.

    Attributes:
        shape: Of a chunk.
        dtype: Of its voxels, in the byte order in which they are stored.
        steps: What its bytes go through, in this order.
        order: The axes in the order in which voxels are stored, slowest first.
        in_blosc: True if its bytes are in Blosc's format.
        size_of: Tells how many bytes the data of a codec are decoded to, None where that is not known. Set where
            the codec is the only step and decodes into memory that it is given.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    steps: tuple[Step, ...]
    order: tuple[int, ...]
    in_blosc: bool
    size_of: Callable[[Any], int | None] | None = None

    @property
    def nbytes(self) -> int:
        """Of a decoded chunk."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_plain(self) -> bool:
        """True if voxels are stored as numpy has them."""
        return self.dtype.isnative and list(self.order) == sorted(self.order)

    def decode(self, data: Any, memory: Voxels, needed: Sequence[slice] | None = None) -> Voxels:
        """The voxels of a chunk. Raises OSError for another number of them, and whatever a codec raises.

        Args:
            data: The bytes of the chunk.
            memory: Contiguous and of a chunk's size. The voxels are decoded into it where the codec can.
            needed: Which voxels are needed, by default all. The others may have any value.
        """
        if self.size_of is not None and self.size_of(data) == self.nbytes:
            flat = memory.reshape(-1).view(np.uint8)
            span = slice(None)
            if needed is not None and self.in_blosc:
                rows, row = needed[self.order[0]], self.nbytes // self.shape[self.order[0]]
                data, span = needed_blocks(data, rows.start * row, rows.stop * row)
            (step,) = self.steps
            step(data, flat[span])
        else:
            for step in self.steps:
                data = step(data)
            flat = ensure_contiguous_ndarray(data)
        if flat.nbytes != self.nbytes:
            raise OSError(f"decoded to {flat.nbytes} bytes, not {self.nbytes}")
        voxels: Voxels = flat.view(self.dtype).reshape([self.shape[axis] for axis in self.order])
        return voxels if self.is_plain else voxels.transpose(np.argsort(self.order))


@attrs.frozen
class Shards:
    """How chunks lie in the files of shards.

    Attributes:
        grid: How many chunks a shard has along each axis.
        steps: What the bytes of the index go through.
        size: Of the index, in bytes as it is stored.
        at_end: True if the index ends the file; else it begins it.
        dtype: Of the numbers in the index.
    """

    grid: tuple[int, ...]
    steps: tuple[Step, ...]
    size: int
    at_end: bool
    dtype: np.dtype[Any]

    def index_of(self, data: Any) -> Voxels:
        """For each chunk of a shard where its bytes begin and how many they are. Raises OSError."""
        if len(data) != self.size:
            raise OSError(f"truncated: an index of {len(data)} bytes, not {self.size}")
        for step in self.steps:
            data = step(data)
        return np.frombuffer(data, self.dtype).reshape(*self.grid, 2)


def codecs_of(node: ChunkedNode) -> tuple[Codecs, Shards | None] | None:
    """The codecs of an array, None where zarr has to decode it."""
    try:
        if node.format == 3:
            return _codecs_v3(node)
        return _codecs_v2(node.document, node.chunks, node.format == N5), None
    except OtherCodecError:
        return None


class OtherCodecError(Exception):
    """A codec that is not among the common ones: its name."""


def _codecs_v2(document: Mapping[str, Any], chunks: tuple[int, ...], is_n5: bool) -> Codecs:
    # blocks of N5 come without their codec
    configs = [] if is_n5 else [document.get("compressor"), *reversed(document.get("filters") or [])]
    configs = [config for config in configs if config is not None]
    if not is_n5 and (document.get("zarr_format") != 2 or not all(isinstance(config, Mapping) for config in configs)):
        raise OtherCodecError("malformed")
    try:
        steps = tuple(numcodecs.get_codec(config).decode for config in configs)
    except Exception as error:  # whatever a codec has against its options, zarr says it better
        raise OtherCodecError(str(error)) from None
    axes = tuple(range(len(chunks)))
    order = axes[::-1] if document.get("order") == "F" else axes
    in_blosc = not is_n5 and (document.get("compressor") or {}).get("id") == "blosc"
    names = [str(config["id"]) for config in configs]
    return Codecs(chunks, np.dtype(document["dtype"]), steps, order, in_blosc, _size_of(names))


def _codecs_v3(node: ChunkedNode) -> tuple[Codecs, Shards | None]:
    document, chunks = node.document, node.chunks
    if document.get("storage_transformers"):
        raise OtherCodecError("storage_transformers")
    codecs, shards = document["codecs"], None
    if [_name(codec) for codec in codecs] == ["sharding_indexed"]:
        options = codecs[0]["configuration"]
        grid = tuple(s // c for s, c in zip(node.shards, chunks, strict=True))
        (*_, big_endian), steps = _chain(options["index_codecs"], len(grid) + 1, of_index=True)
        names = [_name(codec) for codec in options["index_codecs"]]
        if names not in (["bytes"], ["bytes", "crc32c"]):
            raise OtherCodecError(", ".join(names))
        size = 16 * math.prod(grid) + 4 * (len(names) - 1)
        at_end = options.get("index_location", "end") == "end"
        shards = Shards(grid, steps, size, at_end, np.dtype(">u8" if big_endian else "<u8"))
        codecs = options["codecs"]
    (*order, big_endian), steps = _chain(codecs, len(chunks))
    in_blosc, size_of = _name(codecs[-1]).endswith("blosc"), _size_of([_name(codecs[-1])] * len(steps))
    stored = node.dtype.newbyteorder(">" if big_endian else "<")
    return Codecs(chunks, stored, steps, tuple(order), in_blosc, size_of), shards


def _chain(codecs: Sequence[Any], ndim: int, of_index: bool = False) -> tuple[list[int], tuple[Step, ...]]:
    """Of a list of codecs: the order of axes, then 1 if numbers are big-endian, else 0; and the steps over bytes."""
    order, remaining = list(range(ndim)), list(codecs)
    if remaining and _name(remaining[0]) == "transpose":
        order = _options(remaining.pop(0)).get("order")  # type: ignore[assignment]
        if not isinstance(order, list) or sorted(order) != list(range(ndim)):
            raise OtherCodecError("transpose")
    if not remaining or _name(remaining[0]) != "bytes":
        raise OtherCodecError(", ".join(map(_name, remaining)))
    big_endian = int(_options(remaining.pop(0)).get("endian") == "big")
    return [*order, big_endian], byte_steps(remaining, of_index)


def byte_steps(codecs: Sequence[Any], few_bytes: bool = False) -> tuple[Step, ...]:
    """What decodes bytes that went through codecs of Zarr v3, which make bytes of bytes.

    Args:
        codecs: As metadata list them.
        few_bytes: True if they are so few that their checksum may be computed in Python.

    Raises:
        OtherCodecError: One is not among the common ones.
    """
    return tuple(_step(_name(codec), few_bytes) for codec in reversed(codecs))


def _step(name: str, few_bytes: bool) -> Step:
    if name in COMPRESSORS:
        return numcodecs.get_codec({"id": name.removeprefix("numcodecs.")}).decode  # type: ignore[no-any-return]
    if name == "crc32c" and (few_bytes or importlib.util.find_spec("google_crc32c") is not None):
        return _without_checksum
    raise OtherCodecError(name)


def _without_checksum(data: Any) -> Any:
    data = bytes(data)
    if _crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise OSError("the checksum does not match")
    return data[:-4]


def _crc32c(data: bytes) -> int:
    """The checksum of RFC 3720.

    >>> hex(_crc32c(b"123456789"))
    '0xe3069283'
    """
    with contextlib.suppress(ModuleNotFoundError):
        import google_crc32c

        return int(google_crc32c.value(data))
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC32C[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _remainder(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    return number


#: What each byte does to a CRC-32C.
CRC32C = tuple(map(_remainder, range(256)))


def _size_of(names: Sequence[str]) -> Callable[[Any], int | None] | None:
    sizes = {"blosc": _size_of_blosc, "zstd": _size_of_zstd}
    return sizes.get(names[0].removeprefix("numcodecs.")) if len(names) == 1 else None


def _size_of_blosc(data: Any) -> int | None:
    return int.from_bytes(data[4:8], "little")


def needed_blocks(data: Any, begin: int, end: int) -> tuple[Any, slice]:
    """Data in Blosc's format that are decoded to fewer bytes: to the blocks that hold some bytes of a chunk.

    Blosc compresses each block of a chunk by itself, and the header is followed by the position of each.

    Args:
        data: The complete chunk.
        begin, end: Which of its decoded bytes are needed.

    Returns:
        The data, and which bytes of the chunk they are decoded to.
    """
    version, flags, size, block = BLOSC_HEADER.unpack_from(data)
    first, last = begin // block, -(-end // block)
    count = last - first
    if version != BLOSC_VERSION or flags & BLOSC_NOT_COMPRESSED or size % block or count == size // block:
        return data, slice(0, size)
    blocks = bytearray(data)
    blocks[4:8] = (count * block).to_bytes(4, "little")
    at = BLOSC_HEADER.size
    blocks[at : at + 4 * count] = data[at + 4 * first : at + 4 * last]
    return blocks, slice(first * block, last * block)


def _size_of_zstd(data: Any) -> int | None:
    """What the header of a frame says."""
    if len(data) < ZSTD_HEADER or data[:4] != ZSTD_MAGIC:
        return None
    described = data[4]
    is_single = described >> 5 & 1
    at = 5 + (not is_single) + (0, 1, 2, 4)[described & 3]
    size = (is_single, 2, 4, 8)[described >> 6]
    if not size:
        return None
    return int.from_bytes(data[at : at + size], "little") + (256 if size == 2 else 0)


def _name(codec: Any) -> str:
    return codec if isinstance(codec, str) else str(codec["name"])


def _options(codec: Any) -> Mapping[str, Any]:
    return {} if isinstance(codec, str) else codec.get("configuration") or {}
