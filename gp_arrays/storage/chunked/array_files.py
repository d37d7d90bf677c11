"""The files of an array, or its keys in a remote store, as readers of chunks and zarr ask for them."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Hashable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..access.chunk_files import (
    FolderNames,
    find_obstacle,
    read_existing_file,
    read_file,
    read_unless_absent,
    require_complete,
)
from ..access.remote import RemotePath, StorePath
from ..access.stamps import is_due, stamp_on_disk
from ..access.zip_files import is_remote
from ..metadata.documents import ChunkedNode
from ..metadata.keys import N5, ChunkKeys
from .n5_blocks import decode_block

#: Formats that the installed zarr reads and writes. It is imported only where it does: that takes half a second.
FORMATS = (2,) if version("zarr").split(".")[0] == "2" else (2, 3)

#: Keys with these endings hold metadata; all others hold chunks.
DOCUMENTS = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


class ArrayFiles:
    """The files of one array.

    The metadata document is the one that was read when the array was opened. A chunk that
    is there but cannot be read is an error, and absent ones are counted.
    """

    def __init__(self, root: StorePath, node: ChunkedNode) -> None:
        self.node, self.is_remote = node, is_remote(root)
        self.root, self.keys, self.other_rules = root, node.keys, node.keys.others()
        self.folder = str(root / node.path)
        self.prefix = f"{node.path}/" if node.path else ""
        self._names = FolderNames(self.folder)
        self._in_blosc = _in_blosc(node)
        self._blocks = node.document if node.format == N5 else None
        self._document = {
            f"{self.prefix}{'zarr.json' if node.format == 3 else '.zarray'}": json.dumps(served_document(node)).encode()
        }
        self._count = itertools.count(1)
        #: Another number after each absent chunk.
        self.misses = 0

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """The bytes under a key, None if nothing is there. Raises OSError if they cannot be read."""
        if key in self._document:
            return self._document[key]
        if key.endswith(DOCUMENTS):
            return read_file(self.root / key)
        if self._blocks is not None:
            return self._read_block(key)
        return self._read_chunk(key, start, stop)

    def _read_block(self, key: str) -> bytes | None:
        """The bytes of an N5 block as zarr asks for them: by the key of a Zarr chunk, without header and codec."""
        index = ChunkKeys(self.keys.ndim, "/").index(key.removeprefix(self.prefix))
        assert index is not None
        assert self._blocks is not None
        data = self._read_chunk(f"{self.prefix}{self.keys.key(index)}")
        return None if data is None else decode_block(data, self._blocks, index)

    def _read_chunk(self, key: str, start: int = 0, stop: int | None = None) -> bytes | None:
        value = self._bytes_of(key, start, stop)
        if value is None:
            self.note_absent()
        elif (start, stop) == (0, None):
            require_complete(value, self._in_blosc)
        return value

    def _bytes_of(self, key: str, start: int, stop: int | None) -> bytes | None:
        path = f"{self.root}/{key}"
        try:
            return read_existing_file(path, start, stop)
        except FileNotFoundError:
            return self._read_again(path, start, stop)

    def note_absent(self) -> None:
        """A chunk was absent, or may have been."""
        self.misses = next(self._count)

    def _read_again(self, path: str, start: int, stop: int | None) -> bytes | None:
        """Read a chunk that was not found: it is absent only if no file has its key, or the key of another rule."""
        if self._names.may_have(path):
            value = read_unless_absent(Path(path), start, stop)
            if value is not None:
                return value
        index = self.keys.index(path.removeprefix(f"{self.folder}/"))
        if index is not None:
            for rule in self.other_rules:
                other = f"{self.folder}/{rule.key(index)}"
                if self._names.may_have(other) and find_obstacle(Path(other)):
                    raise OSError(f"it is there under a key of another kind: {other}")
        return None

    def stamp(self, key: str) -> Hashable:
        """A value that changes whenever the file of a key changes; None if its content must not be cached. Raises StoreError."""
        return stamp_on_disk(f"{self.folder}/{key}")

    def must_look_again(self) -> bool:
        """True if the array must be looked for again, because chunks of it are absent."""
        return True

    def require_no_folder(self, key: str) -> None:
        """Raises OSError if a folder is in the place of a file that is to be written."""
        path = Path(f"{self.root}/{key}")
        if path.is_dir():
            raise IsADirectoryError(f"a folder, not a file: {path}")


class RemoteFiles(ArrayFiles):
    """The keys of one array in a remote store."""

    root: RemotePath
    _asked = -math.inf
    _absent = ""

    def stamp(self, key: str) -> Hashable:
        return (self.root / f"{self.prefix}{key}").stamp()

    def must_look_again(self) -> bool:
        """As for files, but once in ten seconds. Raises OSError if the absent chunk is stored under a key of another rule."""
        if not is_due(self._asked):
            return False
        self._look_for_others(self._absent)
        self._asked = time.monotonic()
        return True

    def _bytes_of(self, key: str, start: int, stop: int | None) -> bytes | None:
        value = (self.root / key).read(start, stop)
        if value is None:
            self._absent = key.removeprefix(self.prefix)
        return value

    def _look_for_others(self, key: str) -> None:
        index = self.keys.index(key)
        if index is None:
            return
        for rule in self.other_rules:
            other = self.root / f"{self.prefix}{rule.key(index)}"
            if other.exists():
                raise OSError(f"it is there under a key of another kind: {other}")


def served_document(node: ChunkedNode) -> dict[str, Any]:
    """The metadata document that zarr gets: it also tells what the one on disk leaves to the reader or writer."""
    document = dict(node.document)
    if node.format == N5:
        document["compressor"] = None
    if node.format == 2:
        document["dimension_separator"] = node.keys.separator
        compressor = document.get("compressor") or {}
        if compressor.get("id") == "zstd":
            # not on disk, where other readers refuse it; frames that are written then carry a checksum
            document["compressor"] = {**compressor, "checksum": True}
    return document


def _in_blosc(node: ChunkedNode) -> bool:
    """True if the bytes of a chunk are in Blosc's format."""
    document = node.document
    if node.format == 3:
        return str(document["codecs"][-1].get("name")).endswith("blosc")
    return node.format == 2 and (document.get("compressor") or {}).get("id") == "blosc"


def files_of(root: StorePath, node: ChunkedNode) -> ArrayFiles:
    """The files of an array on disk, or its keys in a remote store."""
    return ArrayFiles(root, node) if isinstance(root, Path) else RemoteFiles(root, node)
