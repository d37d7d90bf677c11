"""Which chunks of a stored array exist, found by listing its folders once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from ...errors import StoreError
from ..access.chunk_files import find_obstacle, leads_to, scan
from ..access.files import store_errors
from ..access.remote import RemoteEntry, RemotePath, StorePath
from ..metadata.documents import ChunkedNode, require_unchanged
from ..metadata.keys import LOOKED_AT, NUMBER, ChunkKeys

Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


#: The most chunks whose indices are held in memory; where there are more, boxes of chunks are.
MOST_CHUNKS = 2**19


def list_chunks(root: StorePath, node: ChunkedNode, most: int = MOST_CHUNKS) -> tuple[Indices, int]:
    """Where chunks (shards, where there are any) exist: indices, one row for each, and what they count.

    They count boxes of that many chunks along each axis: 1, and 2, 4 and so on where there are more than
    ``most``, so that memory is bounded. The time is that of the folders that exist, not that of the
    chunks there could be.

    Raises:
        StoreError: A chunk is there that cannot be read, or the array is not there any more.
    """
    chunks, ndim, factor = _chunks(root, node), len(node.shape), 1
    indices = np.empty((0, ndim), np.int64)
    while True:
        # not as a list of tuples, which would be ten times as large
        next_indices = np.fromiter(chain.from_iterable(islice(chunks, most)), np.int64).reshape(-1, ndim)
        if not len(next_indices):
            break
        indices = np.concatenate([indices, next_indices // factor])
        if factor > 1:
            indices = np.unique(indices, axis=0)
        while len(indices) > most:
            indices, factor = np.unique(indices // 2, axis=0), factor * 2
    require_unchanged(root, node)
    return indices, factor


def list_some_chunks(root: StorePath, node: ChunkedNode, count: int) -> Iterator[tuple[int, ...]]:
    """Indices of at most ``count`` chunks that exist. Raises StoreError."""
    return islice(_chunks(root, node), count)


def require_readable_chunks(root: StorePath, node: ChunkedNode) -> None:
    """Raises StoreError if one of the first chunks cannot be read. Looks at names, kinds and permissions alone."""
    if isinstance(root, RemotePath):
        return  # it would take a request for each
    for index in list_some_chunks(root, node, LOOKED_AT):
        path = root / node.path / node.keys.key(index)
        if not os.access(path, os.R_OK):
            raise StoreError("cannot read a chunk", found=f"{path} may not be read")


def _chunks(root: StorePath, node: ChunkedNode) -> Iterator[tuple[int, ...]]:
    keys, array = node.keys, root / node.path
    folder = keys.folder(array)
    if folder != array:
        for entry in _entries(array):
            _require_own_key(keys, array, entry.name)
    for numbers in _below(folder, keys, keys.ndim if keys.separator == "/" else 0, ()):
        index = keys.in_order(numbers) if keys.separator == "/" else numbers
        if all(i < n for i, n in zip(index, node.grid, strict=True)):
            yield index


def _below(folder: StorePath, keys: ChunkKeys, depth: int, above: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The numbers in the keys of chunks in a folder, nested ``depth`` times; 0 for one folder of all."""
    level = NUMBER if depth else keys
    for entry in _entries(folder):
        index = level.index(entry.name)
        if index is None:
            if not above:
                _require_own_key(keys, folder, entry.name)
        elif not leads_to(entry, folder=depth > 1):
            wanted = "a file" if depth <= 1 else "a folder of chunks"
            raise StoreError("cannot read a chunk", found=f"{entry.path} is not {wanted}")
        elif depth <= 1:
            yield above + index
        else:
            yield from _below(folder / entry.name, keys, depth - 1, above + index)


def _require_own_key(keys: ChunkKeys, folder: StorePath, name: str) -> None:
    if any(rule.begins(name) for rule in keys.others()):
        raise StoreError(
            "a chunk is stored under a key of another kind",
            found=str(folder / name),
            allowed=f"keys such as {keys.key((0,) * keys.ndim)}",
        )


def _entries(folder: StorePath) -> Iterator[os.DirEntry[str] | RemoteEntry]:
    """What is in a folder; nothing where it is not there. Raises StoreError."""
    with store_errors(folder, "cannot list chunks"):
        try:
            with scan(folder) as entries:
                yield from entries
        except FileNotFoundError:
            obstacle = find_obstacle(folder) if isinstance(folder, Path) else None
            if obstacle is not None:
                raise OSError(obstacle) from None
