"""The voxels of volumes in Neuroglancer's precomputed format."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import StoreError
from ...model.cache import CACHE
from ..access.chunk_files import read_file
from ..access.remote import StorePath
from ..metadata.documents import error_text
from .codecs import SUFFIXES, decode, uncompressed
from .info import Info, Scale, parse_info
from .shards import Sharding, chunk_number, chunk_ranges, minishard_range

Voxels = np.ndarray[Any, Any]

#: Files that one read asks a server for at the same time.
CONNECTIONS = 16

#: Fewer voxels than that are decoded by one thread.
FEW = 2**20
#: The most bytes of a chunk or an index that are read from a shard; an index that says more is taken as damaged.
LONGEST = 2**31


def read_info(root: StorePath) -> Info:
    """What a volume says of itself, by one request. Raises StoreError."""
    try:
        data = _read_file(root, "info")
        document = None if data is None else json.loads(uncompressed(data))
    except StoreError:
        raise
    except Exception as error:  # file systems and codecs have errors of many types
        raise StoreError("cannot read", found=error_text(root / "info", error)) from error
    if data is None:
        raise StoreError("no precomputed volume", found=f"no file 'info' in {root}")
    try:
        return parse_info(document)
    except StoreError as error:
        raise StoreError(error.problem, f"{error.found} in {root}/info", error.allowed) from None
    except KeyError as error:
        raise StoreError("malformed info", found=f"no {error} in {root}/info") from None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise StoreError("malformed info", found=f"{error} in {root}/info") from None


def read_box(root: StorePath, info: Info, scale: Scale, box: Sequence[slice]) -> tuple[Voxels, bool]:
    """The voxels of a box, channels first, and whether all its chunks are there; voxels of absent ones are 0.

    Args:
        root: Where the volume is.
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
            data = read_chunk(root, scale, position)
            if data is None:
                return False
            voxels = decode(data, scale.encoding, shape, info.dtype, scale.block, [box[0], *source])
        except Exception as error:  # file systems and codecs have errors of many types
            problem, text, allowed = "cannot read", f"{type(error).__name__}: {error}", None
            if isinstance(error, StoreError):
                problem, text, allowed = error.problem, str(error.found), error.allowed
            found = f"chunk {scale.chunk_key(position)} of {root}: {text}"
            raise StoreError(problem, found, allowed) from error
        out[(slice(None), *target)] = voxels
        return True

    touched = (range(part.start // c, -(-part.stop // c)) for part, c in zip(box[1:], scale.chunk, strict=True))
    positions = list(itertools.product(*touched))
    # on disk threads make neither copies faster nor the decoding of few voxels
    alone = scale.encoding == "raw" or out.size < FEW
    several = CONNECTIONS if not isinstance(root, Path) else 1 if alone else os.cpu_count() or 1
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


def read_chunk(root: StorePath, scale: Scale, position: Sequence[int]) -> bytes | None:
    """The bytes of a chunk, None if it is not there."""
    if scale.sharding is None:
        return _read_file(root, scale.chunk_key(position))
    number = chunk_number(position, scale.grid)
    shard, minishard = scale.sharding.locate(number)
    file = f"{scale.key}/{scale.sharding.file_name(shard)}"
    ranges = _ranges(root, scale.sharding, file, (shard, minishard))
    found = np.flatnonzero(ranges[0] == np.uint64(number))
    if not len(found):
        return None
    data = _read_part(root, file, *map(int, ranges[1:, found[0]]))
    return gzip.decompress(data) if scale.sharding.data_gzip else data


def _read_file(root: StorePath, key: str) -> bytes | None:
    """The bytes of a file, which on a disk may have the name of a compression after its own; None if it is not there."""
    for suffix in SUFFIXES if isinstance(root, Path) else ("",):
        data = read_file(root / (key + suffix))
        if data is not None:
            return uncompressed(data, suffix) if suffix else data
    return None


def _version(root: StorePath, key: str) -> tuple[int, int] | None:
    """What changes when a file on disk is written anew; None where that cannot be told at no cost."""
    try:
        status = (root / key).stat() if isinstance(root, Path) else None
    except OSError:  # reading it tells
        return None
    return status and (status.st_size, status.st_mtime_ns)


def _ranges(root: StorePath, sharding: Sharding, file: str, numbers: tuple[int, int]) -> Voxels:
    """Where in the file of a shard the chunks of a minishard are; ``numbers`` are those of both."""
    key = (root, file, _version(root, file), numbers[1])
    ranges = CACHE.find(key)
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
    return CACHE.add(key, ranges)


def _read_part(root: StorePath, file: str, begin: int, end: int) -> bytes:
    """Bytes that an index says to be in a shard."""
    if not 0 <= end - begin <= LONGEST:
        raise ValueError(f"the index of {file} is malformed")
    data = read_file(root / file, begin, end) if end > begin else b""
    if data is None or len(data) != end - begin:
        state = "gone" if data is None else "truncated"
        raise ValueError(f"{file} is {state}: its bytes {begin} to {end} are missing")
    return data
