"""Reads the chunks of an array: each is decoded once by this process, a few at a time, and kept while there is space."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from ...model.cache import CACHE
from ..access.chunk_files import require_whole
from ..metadata.document_values import to_fill_value
from ..metadata.documents import Node
from ..metadata.keys import N5, ChunkKeys
from .codecs import ABSENT, Codecs, Shards, codecs_of
from .threads import run_each

if TYPE_CHECKING:
    from .engine import ArrayFiles

Voxels = np.ndarray[Any, Any]
Position = tuple[int, ...]

#: Nanoseconds: what was changed as recently may change again without another time of change.
RECENT = 100_000_000
#: Voxels that are kept are copied by this thread alone where they are fewer bytes.
FEW_BYTES = 2**22


class BrokenChunkError(Exception):
    """A chunk that cannot be read: its key. The cause says why."""


@attrs.frozen(eq=False)
class Part:
    """A chunk, and what it has of a box.

    Attributes:
        position: Of the chunk in the grid of chunks.
        to: Where its voxels go.
        of: Which of its voxels these are.
    """

    position: Position
    to: tuple[slice, ...]
    of: tuple[slice, ...]


@attrs.frozen(eq=False)
class Request:
    """A box that is read.

    Attributes:
        out: Its voxels.
        keep: Whether decoded chunks are kept.
        stamps: What changes when a file does, of each file.
        indices: Of shards that were met, by their first chunks.
    """

    out: Voxels
    keep: bool
    stamps: dict[str, Hashable] = attrs.field(factory=dict)
    indices: dict[Position, Voxels] = attrs.field(factory=dict)
    _memories: dict[int, Voxels] = attrs.field(factory=dict)

    def memory(self, nbytes: int) -> Voxels:
        """Memory to decode a chunk into, the same for all chunks of a thread: new memory costs as much as decoding."""
        thread = threading.get_ident()
        if thread not in self._memories:
            self._memories[thread] = np.empty(nbytes, np.uint8)
        return self._memories[thread]


class ChunkReader:
    """Reads boxes of an array on disk without zarr.

    A chunk that is kept is taken from memory as long as its file is the one that it was read from, with the
    same size and time of change; that is looked at with each read.

    Args:
        node: The array.
        files: Its files, which tell absent chunks from those that cannot be delivered.
        codecs: How its chunks are decoded.
        shards: How they lie in shards, where they do.
    """

    def __init__(self, node: Node, files: ArrayFiles, codecs: Codecs, shards: Shards | None) -> None:
        assert node.keys is not None
        assert node.dtype is not None
        self._files, self._codecs, self._shards = files, codecs, shards
        self._keys = node.keys
        # zarr and what stands in for it ask for blocks of N5 by these
        self._asked = ChunkKeys(node.keys.ndim, "/") if node.format == N5 else node.keys
        self._fill = to_fill_value((node.document or {}).get("fill_value"), node.dtype)
        document = json.dumps(node.document, sort_keys=True, default=repr)
        self._identity = hashlib.blake2b(document.encode(), digest_size=16).hexdigest()

    @classmethod
    def of(cls, node: Node, files: ArrayFiles) -> ChunkReader | None:
        """A reader of an array, None where its codecs are not the common ones."""
        codecs = codecs_of(node)
        return None if codecs is None else cls(node, files, *codecs)

    def read(self, box: Sequence[slice], out: Voxels, keep: bool) -> None:
        """Read the voxels of a box. Raises BrokenChunkError.

        Args:
            box: A slice for each axis of the array.
            out: Where they go, with as many axes, in native byte order.
            keep: Whether decoded chunks may be kept.
        """
        parts = list(self._parts(box))
        request = Request(out, keep and CACHE.keeps(len(parts) * self._codecs.nbytes))
        if request.keep and out.nbytes <= FEW_BYTES:
            parts = [part for part in parts if not self._paste_kept(part, request)]
        run_each(functools.partial(self._paste, request=request), parts)

    def _parts(self, box: Sequence[slice]) -> Iterator[Part]:
        axes = []
        for part, size in zip(box, self._codecs.shape, strict=True):
            spans = []
            for number in range(part.start // size, -(-part.stop // size)):
                begin, end = max(part.start, number * size), min(part.stop, (number + 1) * size)
                to, of = slice(begin - part.start, end - part.start), slice(begin - number * size, end - number * size)
                spans.append((number, to, of))
            axes.append(spans)
        for chunk in itertools.product(*axes):
            position, to, of = zip(*chunk, strict=True)
            yield Part(position, to, of)

    def _paste_kept(self, part: Part, request: Request) -> bool:
        """Copy what a chunk that is kept has of a box. Returns whether there is one."""
        key = self._cache_key(part.position, request, self._decoded)
        voxels = None if key is None else CACHE.find(key)
        if voxels is not None:
            request.out[part.to] = voxels[part.of]
        return voxels is not None

    def _paste(self, part: Part, request: Request) -> None:
        """Copy what a chunk has of a box, or decode it into its place."""
        try:
            key = self._cache_key(part.position, request, self._decoded)
            if key is None:
                target = request.out[part.to]
                is_whole = target.nbytes == self._codecs.nbytes and self._codecs.is_plain and target.flags.c_contiguous
                memory = target if is_whole else request.memory(self._codecs.nbytes)
                voxels = self._decoded(part.position, request, memory)
                if np.may_share_memory(voxels, target):
                    return
            else:
                voxels = CACHE.get(key, functools.partial(self._decoded, part.position, request))
            request.out[part.to] = voxels[part.of]
        except _AbsentError:
            request.out[part.to] = self._fill
        except Exception as error:  # codecs raise errors of many types
            raise BrokenChunkError(self._file_of(part.position)) from error

    def _decoded(self, position: Position, request: Request, memory: Voxels | None = None) -> Voxels:
        """The voxels of a chunk, in ``memory`` where it is given and the codec can. Raises _AbsentError."""
        return self._codecs.decode(self._bytes_of(position, request), memory)

    def _bytes_of(self, position: Position, request: Request) -> bytes:
        if self._shards is None:
            return self._read(self._asked.key(position))
        first = tuple(p // n * n for p, n in zip(position, self._shards.grid, strict=True))
        if first not in request.indices:
            key = self._cache_key(first, request, self._index)
            read = functools.partial(self._index, first)
            request.indices[first] = read() if key is None else CACHE.get(key, read)
        begin, size = map(int, request.indices[first][tuple(p - f for p, f in zip(position, first, strict=True))])
        if (begin, size) == (ABSENT, ABSENT):
            raise _AbsentError
        data = self._read(self._file_of(position), begin, begin + size)
        if len(data) != size:
            raise OSError(f"truncated: {len(data)} bytes of {size}")
        require_whole(data, self._codecs.in_blosc)
        return data

    def _index(self, position: Position) -> Voxels:
        """The index of the shard that a chunk is in. Raises _AbsentError."""
        shards = self._shards
        assert shards is not None
        begin, end = (-shards.size, None) if shards.at_end else (0, shards.size)
        return shards.index_of(self._read(self._file_of(position), begin, end))

    def _read(self, key: str, begin: int = 0, end: int | None = None) -> bytes:
        data = self._files.read(f"{self._files.prefix}{key}", begin, end)
        if data is None:
            raise _AbsentError
        return data

    def _file_of(self, position: Position) -> str:
        """The key of the file that a chunk is in."""
        grid = self._shards.grid if self._shards is not None else (1,) * len(position)
        return self._keys.key([p // n for p, n in zip(position, grid, strict=True)])

    def _cache_key(self, position: Position, request: Request, compute: Callable[..., Voxels]) -> Hashable:
        """What the result of a method is kept under; None where it is not to be kept."""
        if not request.keep:
            return None
        file = self._file_of(position)
        if file not in request.stamps:
            request.stamps[file] = _stamp(f"{self._files.folder}/{file}")
        return request.stamps[file] and (compute.__name__, self._identity, request.stamps[file], position)


class _AbsentError(Exception):
    """There is no such chunk."""


def _stamp(path: str) -> Hashable:
    """What changes when a file does; None for one that is not there, or was changed just now."""
    try:
        # opening it makes a network's file system look whether it has changed, which asking for its status does not
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(file)
    finally:
        os.close(file)
    if not stat.S_ISREG(status.st_mode) or time.time_ns() - status.st_mtime_ns < RECENT:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
