"""Reads the chunks of an array: each is decoded once by this process, a few at a time, and kept while there is space."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import mmap
import threading
import weakref
from collections.abc import Callable, Hashable, Sequence

import attrs
import numpy as np

from ...model.cache import CACHE
from ...model.threads import run_each, thread_count
from ..access.chunk_files import require_complete
from ..metadata.codecs import ABSENT, Codecs, Shards, codecs_of
from ..metadata.document_values import to_fill_value
from ..metadata.documents import ChunkedNode
from ..metadata.keys import N5, ChunkKeys
from .array_files import ArrayFiles
from .parts import NO_CHUNK, Part, Position, Voxels, parts_of

#: Voxels that are kept are copied by this thread alone where they are fewer bytes.
FEW_BYTES = 2**22
#: Codecs decode a tenth faster into memory at a multiple of so many bytes.
ALIGNED = 64
HUGE_PAGE = 2**21
#: Memory that no array uses any more, for the next chunks: to clear new memory takes as long as to decode a chunk into it.
SPARE: list[mmap.mmap] = []
#: The most bytes of spare memory.
MOST_SPARE = 2**26


class BrokenChunkError(Exception):
    """A chunk that cannot be read: its key. The cause says why."""


@attrs.frozen(eq=False)
class Request:
    """A box that is read.

    Attributes:
        out: Its voxels.
        keep: Whether decoded chunks are kept.
        stamps: For each file a value that changes whenever the file changes.
        indices: Of shards that were met, by their first chunks.
        decoding: Is held by a thread while it decodes: more of them may wait for a remote store.
    """

    out: Voxels
    keep: bool
    stamps: dict[str, Hashable] = attrs.field(factory=dict)
    indices: dict[Position, Voxels] = attrs.field(factory=dict)
    decoding: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(thread_count()))
    _memories: dict[int, Voxels] = attrs.field(factory=dict)

    def memory(self, nbytes: int) -> Voxels:
        """Memory to decode a chunk into, the same for all chunks of a thread: new memory costs as much as decoding."""
        thread = threading.get_ident()
        if thread not in self._memories:
            self._memories[thread] = new_memory(nbytes)
        return self._memories[thread]


def new_memory(nbytes: int) -> Voxels:
    """Memory to decode a chunk into, in huge pages where few bytes of the last one are unused: small ones take longer."""
    if -nbytes % HUGE_PAGE <= nbytes // 8 and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system may have none, or no more mappings for this process
            pages = _huge_pages(nbytes + HUGE_PAGE)
            # arrays that use the pages refer to this object, whatever views of them are made
            buffer = (ctypes.c_ubyte * len(pages)).from_buffer(pages)
            weakref.finalize(buffer, _keep_spare, pages).atexit = False
            return _aligned(np.frombuffer(buffer, np.uint8), nbytes, HUGE_PAGE)
    return _aligned(np.empty(nbytes + ALIGNED, np.uint8), nbytes, ALIGNED)


def _huge_pages(nbytes: int) -> mmap.mmap:
    """Spare pages of that size, else new ones."""
    with contextlib.suppress(IndexError):
        while len(pages := SPARE.pop()) != nbytes:
            pass
        return pages
    pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # all of it: neighbours that are advised alike become one mapping, of which a process has a limited number
    pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


def _keep_spare(pages: mmap.mmap) -> None:
    if len(pages) * (len(SPARE) + 1) <= MOST_SPARE:
        SPARE.append(pages)


def _aligned(memory: Voxels, nbytes: int, multiple: int) -> Voxels:
    begin = -memory.ctypes.data % multiple
    return memory[begin : begin + nbytes]


class ChunkReader:
    """Reads boxes of an array without zarr.

    A chunk that is kept is taken from memory as long as its file is the one that it was read from, with the
    same size and time of change; each read checks it. A remote store is asked once in ten seconds.

    Args:
        node: The array.
        files: Its files, which tell absent chunks from those that cannot be delivered.
        codecs: How its chunks are decoded.
        shards: How they lie in shards, where they do.
    """

    def __init__(self, node: ChunkedNode, files: ArrayFiles, codecs: Codecs, shards: Shards | None) -> None:
        self._files, self._codecs, self._shards = files, codecs, shards
        self._keys = node.keys
        # zarr and what stands in for it ask for blocks of N5 by these
        self._asked = ChunkKeys(node.keys.ndim, "/") if node.format == N5 else node.keys
        self._fill = to_fill_value(node.document.get("fill_value"), node.dtype)
        document = json.dumps(node.document, sort_keys=True, default=repr)
        self._identity = hashlib.blake2b(document.encode(), digest_size=16).hexdigest()

    @classmethod
    def of(cls, node: ChunkedNode, files: ArrayFiles) -> ChunkReader | None:
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
        parts = list(parts_of(box, self._codecs.shape))
        request = Request(out, keep and CACHE.keeps(len(parts) * self._codecs.nbytes))
        if request.keep and not self._files.is_remote and out.nbytes <= FEW_BYTES:
            parts = [part for part in parts if not self._paste_kept(part, request)]
        run_each(functools.partial(self._paste, request=request), parts, self._files.is_remote)

    def _paste_kept(self, part: Part, request: Request) -> bool:
        """Copy what a chunk that is kept has of a box. Returns whether there is one."""
        key = self._cache_key(part.position, request, self._decoded)
        voxels = None if key is None else CACHE.find(key)
        if voxels is None or voxels is NO_CHUNK:
            return False
        request.out[part.to] = voxels[part.of]
        return True

    def _paste(self, part: Part, request: Request) -> None:
        """Copy what a chunk has of a box, or decode it into its place."""
        target = request.out[part.to]
        try:
            if self._shards is not None and self._range_in_shard(part.position, request) is None:
                target[...] = self._fill
                return
            key = self._cache_key(part.position, request, self._decoded)
            if key is None:
                is_whole = target.nbytes == self._codecs.nbytes and self._codecs.is_plain and target.flags.c_contiguous
                memory = target if is_whole else request.memory(self._codecs.nbytes)
                voxels = self._decoded(part.position, request, memory, part.of)
            else:
                voxels = CACHE.get(key, functools.partial(self._decoded, part.position, request))
            if voxels is NO_CHUNK:
                self._files.note_absent()
                target[...] = self._fill
            elif not np.may_share_memory(voxels, target):
                target[...] = voxels[part.of]
        except Exception as error:  # codecs raise errors of many types
            raise BrokenChunkError(self._file_of(part.position)) from error

    def _decoded(
        self,
        position: Position,
        request: Request,
        memory: Voxels | None = None,
        needed: Sequence[slice] | None = None,
    ) -> Voxels:
        """The voxels of a chunk, in ``memory``, by default new one, where the codec can; NO_CHUNK for an absent one.

        Voxels that are not ``needed`` may have any value; by default all are needed.
        """
        data = self._bytes_of(position, request)
        if data is None:
            return NO_CHUNK
        with request.decoding:
            return self._codecs.decode(data, new_memory(self._codecs.nbytes) if memory is None else memory, needed)

    def _bytes_of(self, position: Position, request: Request) -> bytes | None:
        if self._shards is None:
            return self._files.read(f"{self._files.prefix}{self._asked.key(position)}")
        begin, end = self._range_in_shard(position, request) or (0, 0)
        data = self._files.read(f"{self._files.prefix}{self._file_of(position)}", begin, end)
        if data is not None:
            if len(data) != end - begin:
                raise OSError(f"truncated: {len(data)} bytes of {end - begin}")
            require_complete(data, self._codecs.in_blosc)
        return data

    def _range_in_shard(self, position: Position, request: Request) -> tuple[int, int] | None:
        """Where in the file of its shard the bytes of a chunk are; None for a chunk that is not there."""
        assert self._shards is not None
        first = tuple(p // n * n for p, n in zip(position, self._shards.grid, strict=True))
        if first not in request.indices:
            key = self._cache_key(first, request, self._index)
            read = functools.partial(self._index, first)
            request.indices[first] = read() if key is None else CACHE.get(key, read)
        index = request.indices[first]
        if index is NO_CHUNK:
            self._files.note_absent()
            return None
        begin, size = map(int, index[tuple(p - f for p, f in zip(position, first, strict=True))])
        return None if (begin, size) == (ABSENT, ABSENT) else (begin, begin + size)

    def _index(self, position: Position) -> Voxels:
        """The index of the shard that a chunk is in; NO_CHUNK for an absent shard."""
        shards = self._shards
        assert shards is not None
        begin, end = (-shards.size, None) if shards.at_end else (0, shards.size)
        data = self._files.read(f"{self._files.prefix}{self._file_of(position)}", begin, end)
        return NO_CHUNK if data is None else shards.index_of(data)

    def _file_of(self, position: Position) -> str:
        """The key of the file that a chunk is in."""
        if self._shards is not None:
            position = tuple(p // n for p, n in zip(position, self._shards.grid, strict=True))
        return self._keys.key(position)

    def _cache_key(self, position: Position, request: Request, compute: Callable[..., Voxels]) -> Hashable:
        """What the result of a method is kept under; None where it is not to be kept."""
        if not request.keep:
            return None
        file = self._file_of(position)
        if file not in request.stamps:
            request.stamps[file] = self._files.stamp(file)
        return request.stamps[file] and (compute.__name__, self._identity, request.stamps[file], position)
