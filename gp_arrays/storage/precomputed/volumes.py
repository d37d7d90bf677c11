"""The voxels of volumes in Neuroglancer's precomputed format."""

from __future__ import annotations

import gzip
import json
import math
import threading
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from ...errors import StoreError, quoted
from ...model.cache import CACHE
from ...model.threads import run_each, thread_count
from ..access.chunk_files import read_file, stamp_of
from ..access.files import store_errors
from ..access.remote import StorePath
from ..chunked.parts import NO_CHUNK, Part, Voxels, parts_of
from .codecs import SUFFIXES, decode, uncompressed
from .info import Info, Scale, parse_info
from .shards import Sharding, chunk_number, chunk_ranges, minishard_range

#: The most bytes of a chunk or an index that are read from a shard; an index that says more is taken as damaged.
LONGEST = 2**31


def read_info(root: StorePath) -> Info:
    """The metadata of a volume, by one request. Raises StoreError."""
    # file systems and codecs have errors of many types
    with store_errors(root / "info", "cannot read", (Exception,)):
        data = _read_file(root, "info")
        document = None if data is None else json.loads(uncompressed(data))
    if data is None:
        raise StoreError("no precomputed volume", found=f"no file 'info' in {root}")
    if not isinstance(document, dict):
        raise StoreError("malformed info", found=f"{quoted(document)} in {root}/info", allowed="a JSON object")
    try:
        return parse_info(document)
    except StoreError as error:
        raise StoreError(error.problem, f"{error.found} in {root}/info", error.allowed) from None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        text = f"no {error}" if isinstance(error, KeyError) else error
        raise StoreError("malformed info", found=f"{text} in {root}/info") from None


def read_box(root: StorePath, info: Info, scale: Scale, box: Sequence[slice]) -> tuple[Voxels, bool]:
    """The voxels of a box, channels first, and True if all its chunks exist; voxels of absent ones are 0.

    Args:
        root: Where the volume is.
        info, scale: Its metadata.
        box: Ranges of channels, z, y and x, from the first voxel of the scale.

    Raises:
        StoreError: A chunk that is damaged or cannot be read.
    """
    out = np.zeros([part.stop - part.start for part in box], info.dtype)
    chunks = info.channels, *scale.chunk
    parts = list(parts_of(box, chunks))
    keep = CACHE.keeps(len(parts) * math.prod(chunks) * info.dtype.itemsize)
    decoding = threading.Semaphore(thread_count())
    absent: list[Part] = []

    def decoded(part: Part, shape: Sequence[int], inside: Sequence[slice]) -> Voxels:
        data = read_chunk(root, scale, part.position[1:])
        if data is None:
            return NO_CHUNK
        with decoding:
            return decode(data, scale.encoding, shape, info.dtype, scale.block, inside)

    def read(part: Part) -> None:
        position = part.position[1:]
        shape = (info.channels, *(z - a for a, z in scale.extent(position)))
        try:
            stamp = _stamp(root, scale, position) if keep else None
            if stamp is None:
                voxels = decoded(part, shape, part.of)
            else:
                key = root, scale, info.dtype.str, stamp, position
                voxels = CACHE.get(key, lambda: decoded(part, shape, [slice(0, n) for n in shape]))
                voxels = voxels if voxels is NO_CHUNK else voxels[part.of]
        except Exception as error:  # file systems and codecs have errors of many types
            problem, text, allowed = "cannot read", f"{type(error).__name__}: {error}", None
            if isinstance(error, StoreError):
                problem, text, allowed = error.problem, str(error.found), error.allowed
            raise StoreError(problem, f"chunk {scale.chunk_key(position)} of {root}: {text}", allowed) from error
        if voxels is NO_CHUNK:
            absent.append(part)
        else:
            out[part.to] = voxels

    run_each(read, parts, remote=not isinstance(root, Path))
    return out, not absent


def read_chunk(root: StorePath, scale: Scale, position: Sequence[int]) -> bytes | None:
    """The bytes of a chunk, None if it does not exist."""
    if scale.sharding is None:
        return _read_file(root, scale.chunk_key(position))
    number = chunk_number(position, scale.grid)
    shard, minishard = scale.sharding.locate(number)
    file = f"{scale.key}/{scale.sharding.file_name(shard)}"
    ranges = _ranges(root, scale.sharding, file, (shard, minishard))
    rows = np.flatnonzero(ranges[0] == np.uint64(number))
    if not len(rows):
        return None
    data = _read_part(root, file, *map(int, ranges[1:, rows[0]]))
    return gzip.decompress(data) if scale.sharding.data_gzip else data


def _read_file(root: StorePath, key: str) -> bytes | None:
    """The bytes of a file, which on a disk may have the name of a compression after its own; None if it does not exist."""
    for suffix in SUFFIXES if isinstance(root, Path) else ("",):
        data = read_file(root / (key + suffix))
        if data is not None:
            return uncompressed(data, suffix) if suffix else data
    return None


def _stamp(root: StorePath, scale: Scale, position: Sequence[int]) -> Hashable:
    """A value that changes whenever the file of a chunk changes; None if its content must not be cached."""
    key = scale.chunk_key(position)
    if scale.sharding is not None:
        shard, _ = scale.sharding.locate(chunk_number(position, scale.grid))
        key = f"{scale.key}/{scale.sharding.file_name(shard)}"
    stamps = tuple(stamp_of(root / (key + suffix)) for suffix in _suffixes(root, scale))
    return stamps if any(stamps) else None


def _suffixes(root: StorePath, scale: Scale) -> Sequence[str]:
    return SUFFIXES if isinstance(root, Path) and scale.sharding is None else ("",)


def _ranges(root: StorePath, sharding: Sharding, file: str, numbers: tuple[int, int]) -> Voxels:
    """Where in the file of a shard the chunks of a minishard are; ``numbers`` are those of both."""
    stamp = stamp_of(root / file)
    key = root, file, stamp, numbers[1]
    ranges = None if stamp is None else CACHE.find(key)
    if ranges is not None:
        return ranges
    nothing = np.empty((3, 0), np.uint64)
    entry = read_file(root / file, 16 * numbers[1], 16 * numbers[1] + 16)
    if entry is None:
        return nothing
    if len(entry) != 16:
        raise ValueError(f"{file} is truncated")
    begin, end = minishard_range(entry, sharding.index_bytes)
    if begin == end:
        return nothing
    data = _read_part(root, file, begin, end)
    data = gzip.decompress(data) if sharding.index_gzip else data
    ranges = chunk_ranges(data, sharding.index_bytes)
    shards, minishards = sharding.locate(ranges[0])
    if np.any(shards != numbers[0]) or np.any(minishards != numbers[1]):
        raise ValueError(f"the index of {file} is malformed")
    return ranges if stamp is None else CACHE.add(key, ranges)


def _read_part(root: StorePath, file: str, begin: int, end: int) -> bytes:
    """Bytes that an index says to be in a shard."""
    if not 0 <= end - begin <= LONGEST:
        raise ValueError(f"the index of {file} is malformed")
    data = read_file(root / file, begin, end) if end > begin else b""
    if data is None or len(data) != end - begin:
        state = "gone" if data is None else "truncated"
        raise ValueError(f"{file} is {state}: its bytes {begin} to {end} are missing")
    return data
