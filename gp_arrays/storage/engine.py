"""What differs between zarr 2 and zarr 3: opening and creating arrays, and missed chunks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numcodecs
import zarr
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy

from ..errors import StoreError
from .documents import Node

MAJOR = int(zarr.__version__.split(".")[0])

#: Formats that the installed zarr reads and writes.
FORMATS = (2,) if MAJOR == 2 else (2, 3)

COMPRESSORS = ("zstd", "blosc", "gzip", "none")


class MissCounter:
    """Tells whether a read met a chunk that is not there. Each miss writes a value of its own."""

    def __init__(self) -> None:
        self._next = itertools.count(1)
        self.last = 0

    def missed(self) -> None:
        self.last = next(self._next)


#: Keys that end so hold metadata; all others hold chunks.
DOCUMENTS = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")

#: A chunk in Blosc's format begins with that many bytes; the last four tell how many it has in all.
BLOSC_HEADER = 16


def blosc(node: Node) -> bool:
    """Whether what is stored of a chunk is in Blosc's format."""
    document = node.document or {}
    if node.format == 2:
        return (document.get("compressor") or {}).get("id") == "blosc"
    return bool(document["codecs"][-1].get("name") == "blosc")


def require_whole(size: int, header: bytes, in_blosc: bool) -> None:
    """Raises OSError for a chunk whose file is cut short.

    zarr and the codecs tell most such chunks themselves. Blosc reads on in memory that is
    not the chunk's, and zarr 2 leaves memory as it is for an empty one in gzip.
    """
    expected = int.from_bytes(header[12:16], "little") if in_blosc and size >= BLOSC_HEADER else 1
    if size < max(expected, BLOSC_HEADER if in_blosc else 1):
        raise OSError(f"truncated: {size} bytes")


if MAJOR == 2:

    class LocalStore(zarr.storage.DirectoryStore):  # type: ignore[misc]
        """A folder whose unreadable chunks are errors and whose absent ones are counted."""

        misses: MissCounter
        blosc = False

        def __getitem__(self, key: str) -> bytes:
            try:
                value = Path(self.path, self._normalize_key(key)).read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                self.misses.missed()
                raise KeyError(key) from None
            if not key.endswith(DOCUMENTS):
                require_whole(len(value), value[:BLOSC_HEADER], self.blosc)
            return value

        def getitems(self, keys: Iterable[str], *, contexts: Any = None) -> dict[str, bytes]:
            found = {}
            for key in keys:
                try:
                    found[key] = self[key]
                except KeyError:
                    continue
            return found

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

    def open_array(root: Path, node: Node, writable: bool, write_empty: bool = True) -> tuple[Any, MissCounter]:
        """The zarr array of a node, and what counts its absent chunks.

        Without ``write_empty`` chunks that are fill value throughout are left out.
        """
        _refuse_format(node.format, str(root / node.path))
        store = LocalStore(str(root))
        store.misses, store.blosc = MissCounter(), blosc(node)
        array = zarr.Array(
            store, path=node.path, read_only=not writable, cache_attrs=False, write_empty_chunks=write_empty
        )
        if array.compressor is not None and not array.filters:
            array._compressor = Exact(array.compressor, math.prod(array.chunks) * array.dtype.itemsize)
        if array.fill_value is None:
            # zarr 2 leaves memory as it is where a chunk is absent: other voxels at every read
            array._fill_value = array.dtype.type(0)
        return array, store.misses

    def _compressor(name: str, format: int) -> Any:
        return _codec(name)

else:

    class LocalStore(zarr.storage.LocalStore):  # type: ignore[misc, no-redef]
        """A folder whose unreadable chunks are errors and whose absent ones are counted."""

        misses: MissCounter
        blosc = False

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            return self._checked(key, await super().get(key, prototype, byte_range), byte_range)

        def get_sync(self, key: str, **options: Any) -> Any:
            return self._checked(key, super().get_sync(key, **options), options.get("byte_range"))

        def _checked(self, key: str, value: Any, byte_range: Any) -> Any:
            if value is None:
                self.misses.missed()
            elif byte_range is None and not key.endswith(DOCUMENTS):
                require_whole(len(value), value[:BLOSC_HEADER].to_bytes(), self.blosc)
            return value

    def open_array(root: Path, node: Node, writable: bool, write_empty: bool = True) -> tuple[Any, MissCounter]:
        """The zarr array of a node, and what counts its absent chunks.

        Without ``write_empty`` chunks that are fill value throughout are left out.
        """
        store = LocalStore(root, read_only=not writable)
        store.misses, store.blosc = MissCounter(), blosc(node)
        array = zarr.open_array(
            store=store,
            path=node.path,
            mode="r+" if writable else "r",
            zarr_format=node.format,
            config={"write_empty_chunks": write_empty},
        )
        return array, store.misses

    def _compressor(name: str, format: int) -> Any:
        if format == 2:
            return _codec(name)
        codecs = {
            "zstd": zarr.codecs.ZstdCodec(level=3),
            "gzip": zarr.codecs.GzipCodec(level=5),
            "blosc": zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle"),
        }
        return codecs.get(name)


def _codec(name: str) -> Any:
    codecs = {
        "zstd": numcodecs.Zstd(level=3),
        "gzip": numcodecs.GZip(level=5),
        "blosc": numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE),
    }
    return codecs.get(name)


def _refuse_format(format: int, place: str) -> None:
    if format not in FORMATS:
        raise StoreError(
            f"Zarr v{format} needs another zarr",
            found=f"{place}, zarr {zarr.__version__}",
            allowed="zarr 3, on Python 3.12 or newer",
        )


def create_array(
    root: Path,
    path: str,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: Any,
    attributes: Mapping[str, Any],
    compressor: str = "zstd",
    format: int = 2,
    shards: Sequence[int] | None = None,
    fill_value: Any = 0,
    dimension_names: Sequence[str] | None = None,
) -> None:
    """Create an array where there is none, with the groups above it.

    Chunk keys are nested (``0/1/2``), so that no folder holds every chunk. Names of
    dimensions have a place of their own in Zarr v3 only; elsewhere they are attributes.
    """
    place = str(root / path)
    _refuse_format(format, place)
    _refuse_mixed(root, path, format)
    if compressor not in COMPRESSORS:
        raise StoreError("unknown compressor", found=repr(compressor), allowed=", ".join(COMPRESSORS))
    options: dict[str, Any] = {"shape": tuple(shape), "chunks": tuple(chunks), "dtype": dtype, "fill_value": fill_value}
    if MAJOR == 2:
        store = zarr.storage.DirectoryStore(str(root))
        if path and not _exists(root, ""):
            zarr.storage.init_group(store, path="")
        array = zarr.create(
            store=store,
            path=path,
            compressor=_compressor(compressor, 2),
            dimension_separator="/",
            overwrite=False,
            **options,
        )
    else:
        store = zarr.storage.LocalStore(root)
        if not _exists(root, "") and path:
            zarr.create_group(store=store, zarr_format=format)
        array = zarr.create_array(
            store=store,
            name=path or None,
            zarr_format=format,
            overwrite=False,
            shards=shards,
            compressors=_compressor(compressor, format),
            dimension_names=dimension_names if format == 3 else None,
            chunk_key_encoding={"name": "v2" if format == 2 else "default", "separator": "/"},
            **options,
        )
    array.attrs.update(dict(attributes))


def make_group(root: Path, path: str, format: int) -> None:
    """Create a group where there is none, with those above it."""
    _refuse_mixed(root, path, format)
    parts = path.split("/") if path else []
    for i in range(len(parts) + 1):
        above = "/".join(parts[:i])
        if not _exists(root, above):
            if MAJOR == 2:
                zarr.storage.init_group(zarr.storage.DirectoryStore(str(root)), path=above)
            else:
                zarr.create_group(store=zarr.storage.LocalStore(root), path=above, zarr_format=format)


def _refuse_mixed(root: Path, path: str, format: int) -> None:
    """Raises StoreError where a store is of the other format: readers would miss a part of it."""
    parts = path.split("/") if path else []
    for i in range(len(parts) + 1):
        folder = root.joinpath(*parts[:i])
        there = 3 if (folder / "zarr.json").exists() else 2 if (folder / ".zgroup").exists() else format
        if there != format:
            raise StoreError(
                f"the store is Zarr v{there}",
                found=f"zarr_format {format} for {root / path}",
                allowed=f"zarr_format {there}; another store",
            )


def _exists(root: Path, path: str) -> bool:
    folder = root / path
    return any((folder / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))


def update_attributes(root: Path, node: Node, attributes: Mapping[str, Any]) -> None:
    """Add attributes to an array or group."""
    mode = "r+"
    opened = zarr.open(str(root), mode=mode, path=node.path) if node.path else zarr.open(str(root), mode=mode)
    opened.attrs.update(dict(attributes))
