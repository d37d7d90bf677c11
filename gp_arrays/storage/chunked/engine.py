"""Opening a stored array through zarr 2 or zarr 3; what differs between them is here alone."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zarr
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy

from ...errors import StoreError
from ..access.chunk_files import (
    FolderNames,
    find_obstacle,
    read_existing_file,
    read_file,
    read_unless_absent,
    require_whole,
)
from ..access.remote import BELIEVED, RemotePath, StorePath
from ..metadata.documents import Node
from ..metadata.keys import N5, ChunkKeys
from .n5_blocks import decode_block
from .remote_zarr import RemoteStore
from .tensorstore_arrays import TensorStoreArray

MAJOR = int(zarr.__version__.split(".")[0])

#: Formats that the installed zarr reads and writes.
FORMATS = (2,) if MAJOR == 2 else (2, 3)

#: Keys that end so hold metadata; all others hold chunks.
DOCUMENTS = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


class ArrayFiles:
    """The files of one array, as zarr asks for them.

    The metadata document is the one that was read when the array was opened. A chunk that
    is there but cannot be read is an error, and absent ones are counted.
    """

    def __init__(self, root: StorePath, node: Node) -> None:
        assert node.keys is not None
        self.root, self.keys, self.other_rules = root, node.keys, node.keys.others()
        self.folder = str(root / node.path)
        self.prefix = f"{node.path}/" if node.path else ""
        self._names = FolderNames(self.folder)
        self._in_blosc = _in_blosc(node)
        self._blocks = node.document if node.format == N5 else None
        self._document = {
            f"{self.prefix}{'zarr.json' if node.format == 3 else '.zarray'}": json.dumps(_served(node)).encode()
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
            require_whole(value, self._in_blosc)
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
        """Read a chunk that was not found: it is absent only if no file has its key, nor the key that others give it."""
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

    def require_no_folder(self, key: str) -> None:
        """Raises OSError if a folder is in the place of a file that is to be written."""
        path = Path(f"{self.root}/{key}")
        if path.is_dir():
            raise IsADirectoryError(f"a folder, not a file: {path}")


class RemoteFiles(ArrayFiles):
    """The keys of one array in a remote store, as zarr asks for them."""

    root: RemotePath
    _looked = -math.inf

    def _bytes_of(self, key: str, start: int, stop: int | None) -> bytes | None:
        value = (self.root / key).read(start, stop)
        if value is None and time.monotonic() - self._looked > BELIEVED:
            self._look_for_others(key.removeprefix(self.prefix))
            self._looked = time.monotonic()
        return value

    def _look_for_others(self, key: str) -> None:
        """Raises OSError if something has one of the keys that others give an absent chunk."""
        index = self.keys.index(key)
        if index is None:
            return
        for rule in self.other_rules:
            other = self.root / f"{self.prefix}{rule.key(index)}"
            if other.exists():
                raise OSError(f"it is there under a key of another kind: {other}")


def _served(node: Node) -> dict[str, Any]:
    """The metadata document that zarr gets: it also tells what the one on disk leaves to the reader or writer."""
    assert node.document is not None
    assert node.keys is not None
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


def _in_blosc(node: Node) -> bool:
    """True if the bytes of a chunk are in Blosc's format."""
    document = node.document or {}
    if node.format == 3:
        return bool(document["codecs"][-1].get("name") == "blosc")
    return node.format == 2 and (document.get("compressor") or {}).get("id") == "blosc"


def files_of(root: StorePath, node: Node) -> ArrayFiles:
    """The files of an array on disk, or its keys in a remote store."""
    return ArrayFiles(root, node) if isinstance(root, Path) else RemoteFiles(root, node)


if MAJOR == 2:

    class CheckedStore(zarr.storage.DirectoryStore):  # type: ignore[misc]
        """The files of an array, for zarr 2."""

        files: ArrayFiles

        def __getitem__(self, key: str) -> bytes:
            value = self.files.read(key)
            if value is None:
                raise KeyError(key)
            return value

        def getitems(self, keys: Iterable[str], *, contexts: Any = None) -> dict[str, bytes]:
            values = {key: self.files.read(key) for key in keys}
            return {key: value for key, value in values.items() if value is not None}

        def __setitem__(self, key: str, value: Any) -> None:
            self.files.require_no_folder(key)  # zarr 2 would remove it
            super().__setitem__(key, value)

    class Exact:
        """A codec that refuses a chunk of another size: zarr 2 would leave the rest of it as memory is."""

        def __init__(self, codec: Any, size: int) -> None:
            self.codec, self.size = codec, size
            self.codec_id = codec.codec_id

        def encode(self, data: Any) -> Any:
            return self.codec.encode(data)

        def decode(self, data: Any, out: Any = None) -> Any:
            decoded = ensure_contiguous_ndarray(self.codec.decode(data))
            if decoded.nbytes != self.size:
                raise OSError(f"decoded to {decoded.nbytes} bytes, not {self.size}")
            return decoded if out is None else ndarray_copy(decoded, out)

        def get_config(self) -> Any:
            return self.codec.get_config()

    def open_array(root: StorePath, node: Node, writable: bool, write_empty: bool = True) -> tuple[Any, ArrayFiles]:
        """The zarr array of a node, and its files.

        Without ``write_empty`` chunks that are fill value throughout are left out.
        """
        if node.format == 3:
            if writable or not isinstance(root, Path):
                require_format(node.format, root / node.path)
            files = files_of(root, node)
            return TensorStoreArray(files, node), files
        store = CheckedStore(str(root)) if isinstance(root, Path) else RemoteStore(root, writable)
        store.files = files_of(root, node)
        array = zarr.Array(
            store, path=node.path, read_only=not writable, cache_attrs=False, write_empty_chunks=write_empty
        )
        if array.compressor is not None and not array.filters:
            array._compressor = Exact(array.compressor, math.prod(array.chunks) * array.dtype.itemsize)
        if array.fill_value is None:
            # zarr 2 leaves memory as it is where a chunk is absent: other voxels at every read
            array._fill_value = array.dtype.type(0)
        return array, store.files

else:
    from zarr.core.buffer import default_buffer_prototype

    from .remote_zarr import bounds

    class CheckedStore(zarr.storage.LocalStore):  # type: ignore[misc, no-redef]
        """The files of an array, for zarr 3.

        Its name must not be LocalStore: other codec pipelines (zarrs) read the files of such stores by themselves.
        """

        files: ArrayFiles

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

        def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
            value = self.files.read(key, *bounds(byte_range))
            return None if value is None else (prototype or default_buffer_prototype()).buffer.from_bytes(value)

    def open_array(root: StorePath, node: Node, writable: bool, write_empty: bool = True) -> tuple[Any, ArrayFiles]:
        """The zarr array of a node, and its files.

        Without ``write_empty`` chunks that are fill value throughout are left out.
        """
        store: Any = (
            CheckedStore(root, read_only=not writable) if isinstance(root, Path) else RemoteStore(root, writable)
        )
        store.files = files_of(root, node)
        array = zarr.open_array(
            store=store,
            path=node.path,
            mode="r+" if writable else "r",
            zarr_format=3 if node.format == 3 else 2,
            config={"write_empty_chunks": write_empty},
        )
        return array, store.files


def require_format(format: int | str, location: StorePath) -> None:
    """Raises StoreError for a format that the installed zarr does not have."""
    if format == 3 and format not in FORMATS:
        raise StoreError(
            f"Zarr v{format} needs another zarr",
            found=f"{location}, zarr {zarr.__version__}",
            allowed="zarr 3, on Python 3.12 or newer",
        )
