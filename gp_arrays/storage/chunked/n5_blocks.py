"""Blocks of N5 arrays, decoded to the bytes of Zarr's chunks.

A block begins with a header, its numbers are big-endian, and at the end of the array it may be shorter than the others.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numcodecs
import numpy as np

from ..access.chunk_files import require_complete

#: How a frame of lz4-java begins, the length of its header, and its two ways to store data.
LZ4_MAGIC, LZ4_HEADER, LZ4_STORED, LZ4_COMPRESSED = b"LZ4Block", 21, 0x10, 0x20


def decode_block(data: bytes, document: Mapping[str, Any], index: Sequence[int]) -> bytes:
    """The bytes of an uncompressed chunk, of full size, from the file of a block.

    Args:
        data: What the file holds.
        document: What ``document_v2`` gives for the array.
        index: The index of the chunk, along z, y, x.

    Raises:
        OSError: A block that is cut short, is of another size, or is not one of voxels.
        Exception: What the codec raises for damaged data.
    """
    shape, chunks, dtype = document["shape"], document["chunks"], np.dtype(document["dtype"])
    header = struct.Struct(f">HH{len(shape)}I")
    if len(data) < header.size:
        raise OSError(f"truncated: {len(data)} bytes")
    mode, ndim, *sizes = header.unpack_from(data)
    if mode != 0:
        raise OSError(f"a block of mode {mode} (1 is varlength, as of label multisets): only mode 0 is read")
    if ndim != len(shape):
        raise OSError(f"a block of {ndim} axes in an array of {len(shape)}")
    block = tuple(reversed(sizes))
    inside = [min(c, n - i * c) for i, c, n in zip(index, chunks, shape, strict=True)]
    if any(not wanted <= size <= c for wanted, size, c in zip(inside, block, chunks, strict=True)):
        raise OSError(f"a block of {sizes} voxels along x, y, z in place of one of {inside[::-1]}")
    voxels = _decompress(data[header.size :], document["compressor"])
    size = math.prod(block) * dtype.itemsize
    if len(voxels) != size:
        raise OSError(f"decoded to {len(voxels)} bytes, not {size}")
    if list(block) == list(chunks):
        return voxels
    chunk = np.zeros(chunks, dtype)
    chunk[tuple(map(slice, block))] = np.frombuffer(voxels, dtype).reshape(block)
    return chunk.tobytes()


def _decompress(data: bytes, compressor: Mapping[str, Any] | None) -> bytes:
    if compressor is None:
        return data
    if data.startswith(LZ4_MAGIC) and compressor["id"] == "lz4":
        return b"".join(_lz4_frames(data))
    require_complete(data, compressor["id"] == "blosc")
    return bytes(numcodecs.get_codec(compressor).decode(data))


def _lz4_frames(data: bytes) -> Iterator[bytes]:
    """The decoded frames of lz4-java, whose last one is empty. numcodecs wants the decoded size in front of each."""
    begin = 0
    while True:
        header = data[begin : begin + LZ4_HEADER]
        if len(header) < LZ4_HEADER or not header.startswith(LZ4_MAGIC):
            raise OSError(f"truncated, or not of LZ4: byte {begin} of {len(data)}")
        kind, stored, size, _ = struct.unpack("<BIII", header[len(LZ4_MAGIC) :])
        if size == 0:
            return
        begin += LZ4_HEADER + stored
        frame = data[begin - stored : begin]
        if kind & 0xF0 == LZ4_STORED and len(frame) == size:
            yield frame
        elif kind & 0xF0 == LZ4_COMPRESSED and len(frame) == stored:
            yield bytes(numcodecs.LZ4().decode(struct.pack("<I", size) + frame))
        else:
            raise OSError(f"truncated, or not of LZ4: a frame of {len(frame)} bytes")
