"""The position of a chunk in the shards of Neuroglancer's ``neuroglancer_uint64_sharded_v1``."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

_MASK = 0xFFFFFFFF


@attrs.frozen
class Sharding:
    """How the position of a chunk in the shards follows from its number.

    Attributes:
        preshift_bits: The lowest bits, which do not matter: neighbours are stored together.
        hashed: True if the rest is hashed.
        minishard_bits, shard_bits: How many of the lowest bits of that say the minishard, and then the shard.
        index_gzip, data_gzip: True if indices of minishards, or chunks, are compressed.
    """

    preshift_bits: int
    hashed: bool
    minishard_bits: int
    shard_bits: int
    index_gzip: bool
    data_gzip: bool

    def locate(self, number: Any) -> tuple[Any, Any]:
        """The numbers of the shard that holds a chunk and of the minishard in it; also of an array of chunks."""
        number = number >> self.preshift_bits
        if self.hashed:
            number = murmurhash3(number)
        shard = number >> self.minishard_bits & ((1 << self.shard_bits) - 1)
        return shard, number & ((1 << self.minishard_bits) - 1)

    def file_name(self, shard: int) -> str:
        """The name of the file of a shard."""
        return f"{shard:0{-(-self.shard_bits // 4)}x}.shard"

    @property
    def index_bytes(self) -> int:
        """The number of bytes of the index at the beginning of a shard."""
        return 16 << self.minishard_bits


def murmurhash3(number: Any) -> Any:
    """The lower 64 bits of MurmurHash3_x86_128, seed 0, of a number of 64 bits, or of each of an array.

    >>> hex(murmurhash3(0)), hex(murmurhash3(1))
    ('0x4772b084e028ae41', '0xe8bd67d616d4ce9a')
    """
    low, high = number & _MASK, number >> 32
    high = _rotated(high * 0xAB0E9789 & _MASK, 16) * 0x38B34AE5 & _MASK
    low = _rotated(low * 0x239B961B & _MASK, 15) * 0xAB0E9789 & _MASK
    # the length of the key, 8 bytes, is mixed into all four
    parts = _summed([low ^ 8, high ^ 8, 8, 8])
    mixed = []
    for part in parts:
        part = (part ^ part >> 16) * 0x85EBCA6B & _MASK
        part = (part ^ part >> 13) * 0xC2B2AE35 & _MASK
        mixed.append(part ^ part >> 16)
    first, second, *_ = _summed(mixed)
    return second << 32 | first


def _rotated(value: Any, bits: int) -> Any:
    return (value << bits | value >> (32 - bits)) & _MASK


def _summed(parts: Sequence[Any]) -> list[Any]:
    first = sum(parts) & _MASK
    return [first, *((part + first) & _MASK for part in parts[1:])]


def chunk_number(position: Sequence[int], grid: Sequence[int]) -> int:
    """The compressed Morton code of a chunk: the bits of its x, y, z in turn, of each axis as many as its grid needs.

    >>> chunk_number((1, 2, 0), (2, 4, 1)), chunk_number((1, 1, 1), (2, 2, 2))
    (6, 7)
    """
    number = out = 0
    bits = [(n - 1).bit_length() for n in grid]
    for bit in range(max(bits)):
        for value, count in zip(reversed(position), reversed(bits), strict=True):
            if bit < count:
                number |= (value >> bit & 1) << out
                out += 1
    return number


def minishard_range(entry: bytes, index_bytes: int) -> tuple[int, int]:
    """From where to where the index of a minishard is in its shard, by its entry in the index of the shard."""
    begin, end = struct.unpack("<QQ", entry)
    return index_bytes + begin, index_bytes + end


def chunk_ranges(data: bytes, index_bytes: int) -> np.ndarray[Any, Any]:
    """Of each chunk of a minishard its number, and from where to where it is in the shard: shape (3, n).

    Raises ValueError for an index that is malformed.
    """
    numbers, gaps, sizes = np.frombuffer(data, "<u8").reshape(3, -1)
    # in unsigned integers sums wrap round, as the format wants it
    ends = np.cumsum(gaps + sizes) + np.uint64(index_bytes)
    return np.stack([np.cumsum(numbers), ends - sizes, ends])
