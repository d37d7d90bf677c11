"""Metadata documents of Zarr v2 and v3 and of N5, read without opening an array."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ...errors import StoreError, nearest
from ...model.fields import is_url
from ..access.chunk_files import is_there, leads_to, read_file, scan
from ..access.files import store_errors
from ..access.remote import AccessError, StorePath, is_listable
from . import n5
from .document_values import to_chunk_shape, to_fill_value, to_shape, to_voxel_dtype, with_distinct_keys
from .keys import N5, ChunkKeys, keys_v2, keys_v3
from .other_formats import NotRead, file_format, folder_format

#: The most folders that are searched for datasets to name the nearest ones in an error.
LISTED = 2000
#: The names of the documents that make a folder an array or a group, in the order in which they are looked for.
NAMES = ("zarr.json", ".zarray", ".zgroup", n5.ATTRIBUTES)


@attrs.frozen
class Node:
    """A group or an array of a store, as its metadata document says.

    Attributes:
        path: Within the store, without slashes at its ends.
        format: 2 or 3 of Zarr, N5, or HDF5.
        attrs: The attributes. Those of N5 that are about axes list x first.
    """

    path: str
    format: int | str
    attrs: Mapping[str, Any]


@attrs.frozen
class ArrayNode(Node):
    """An array of a store.

    Attributes:
        shape, dtype: Of its voxels.
        document: Its metadata document, as read; of N5, as Zarr v2 would write it; empty for HDF5.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    document: Mapping[str, Any]


@attrs.frozen
class ChunkedNode(ArrayNode):
    """An array of Zarr or N5.

    Attributes:
        chunks: What a read decodes.
        shards: What a write touches, where chunks lie in shards; else the chunks.
        keys: Where its chunks (shards, where there are any) are stored.
    """

    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    keys: ChunkKeys

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of chunks (shards, where there are any) along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.shards, strict=True))


def read_json(path: StorePath) -> dict[str, Any] | None:
    """A JSON object, None where there is no such file. Raises StoreError where it is unreadable."""
    data = None
    with store_errors(path, "cannot read metadata"), contextlib.suppress(NotADirectoryError):
        data = read_file(path)
    if data is None:
        return None
    try:
        value = json.loads(data, object_pairs_hook=with_distinct_keys)
    except (ValueError, RecursionError) as error:
        raise StoreError("metadata is not JSON", found=f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise StoreError("metadata is not a JSON object", found=str(path))
    return value


def has_document(folder: StorePath) -> bool:
    """True if a folder is an array or a group."""
    return any(is_there(folder / name) for name in NAMES)


def read_node(root: StorePath, path: str) -> Node | None:
    """The array or group at a path, None where there is none."""
    folder = root / path if path else root
    refused: AccessError | None = None
    for name in NAMES:
        try:
            document = read_json(folder / name)
        except AccessError as error:
            # what is not there is refused too in a bucket that may not be listed: another name may be there
            refused = error
            continue
        if document is not None:
            return _node_of(name, document, path, folder)
    if refused is not None:
        raise refused
    return None


def _node_of(name: str, document: dict[str, Any], path: str, folder: StorePath) -> Node:
    if name == "zarr.json":
        return _node_v3(document, path, folder)
    format: int | str = 2
    if name == n5.ATTRIBUTES:
        format, attributes = N5, {key: value for key, value in document.items() if key not in n5.OWN_KEYS}
    else:
        attributes = read_json(folder / ".zattrs") or {}
    if name == ".zgroup" or (format == N5 and "dimensions" not in document):
        return Node(path, format, attributes)
    with _well_formed(folder / name):
        if format == N5:
            document = n5.document_v2(document)
        shape, dtype = to_shape(document["shape"]), to_voxel_dtype(document["dtype"])
        chunks = to_chunk_shape(document["chunks"], shape)
        to_fill_value(document.get("fill_value"), dtype)
        if document.get("order", "C") not in ("C", "F"):
            raise ValueError(f"order {document['order']!r}")
        keys = ChunkKeys(len(shape), "/", "", N5) if format == N5 else keys_v2(document, folder, len(shape))
    return ChunkedNode(path, format, attributes, shape, dtype, document, chunks, chunks, keys)


def _node_v3(document: dict[str, Any], path: str, folder: StorePath) -> Node:
    with _well_formed(folder / "zarr.json"):
        attributes = dict(document.get("attributes") or {})
        if document["node_type"] == "group":
            return Node(path, 3, attributes)
        shape, dtype = to_shape(document["shape"]), to_voxel_dtype(document["data_type"])
        grid = document["chunk_grid"]
        if grid["name"] != "regular":
            raise NotRead(f"a {grid['name']} chunk grid", "a copy with a regular grid, as xarray or zarr writes it")
        chunks = shards = to_chunk_shape(grid["configuration"]["chunk_shape"], shape)
        for codec in document["codecs"]:
            if codec["name"] == "sharding_indexed":
                chunks = to_chunk_shape(codec["configuration"]["chunk_shape"], shape)
        to_fill_value(document.get("fill_value"), dtype)
        keys = keys_v3(document, len(shape))
    return ChunkedNode(path, 3, attributes, shape, dtype, document, chunks, shards, keys)


@contextlib.contextmanager
def _well_formed(document: StorePath) -> Iterator[None]:
    try:
        yield
    except NotRead as error:
        raise StoreError(f"{error.what} is not read", found=str(document), allowed=error.remedy) from None
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, OverflowError) as error:
        text = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise StoreError("metadata of the array is malformed", found=f"{text} in {document}") from None


def require_unchanged(root: StorePath, node: ChunkedNode) -> ChunkedNode:
    """An array as its metadata are now. Raises StoreError if it is gone, or has another shape, dtype or chunks."""
    now = read_node(root, node.path)
    if not isinstance(now, ChunkedNode):
        raise StoreError("the array has vanished since it was opened", found=f"{root}/{node.path}")
    if (now.shape, now.dtype, now.chunks, now.shards) != (node.shape, node.dtype, node.chunks, node.shards):
        raise StoreError("the array has changed since it was opened", found=f"{root}/{node.path}")
    return now


def require_on_disk(path: Path) -> None:
    """Raises StoreError for a URL: files and stores are on disk."""
    if is_url(path):
        raise StoreError("not a folder", found=str(path), allowed="a store on a local disk")


def find_node(root: StorePath, path: str) -> Node:
    """The array or group at a path. Raises StoreError that names the nearest existing ones."""
    with store_errors(f"{path!r} in {str(root)[:200]!r}", "cannot read the store"):
        return _find_node(root, path)


def _find_node(root: StorePath, path: str) -> Node:
    if isinstance(root, Path):
        _require_folder(root)
    node = read_node(root, path)
    if node is None:
        other = isinstance(root, Path) and (folder_format(root / path) or folder_format(root))
        if other:
            raise StoreError("not a Zarr store", found=f"{root / path} is {other.name}", allowed=other.remedy)
        paths = list(datasets(root))
        none = "the store holds no arrays" if is_listable(root) else "the path of an array: a web server lists none"
        near = nearest(path, paths) or ", ".join(paths[:8]) or none
        raise StoreError("no such dataset", found=f"{path!r} in {root}", allowed=near)
    return node


def _require_folder(root: Path) -> None:
    """Raises StoreError if there is no folder, and so no store."""
    if not root.exists():
        siblings = [p.name for p in root.parent.iterdir()] if root.parent.is_dir() else []
        near = nearest(root.name, siblings)
        raise StoreError("no such store", found=str(root), allowed=near and f"{root.parent} has {near}")
    if not root.is_dir():
        other = file_format(root)
        name, remedy = (other.name, other.remedy) if other else ("a file", "a folder")
        raise StoreError("not a Zarr store on disk", found=f"{root} is {name}", allowed=remedy)


def datasets(root: StorePath, limit: int = LISTED, below: str = "") -> Iterator[str]:
    """Paths of the arrays in a store, or below a path in it, nearest first. No chunk is read."""
    if not is_listable(root):
        return
    frontier, count = [below], 0
    folders = set[str]()
    for path in frontier:
        count += 1
        if count > limit:
            return
        folder = root / path if path else root
        if isinstance(folder, Path):
            location = os.path.realpath(folder)
            if location in folders:
                continue  # links may lead back to where they are
            folders.add(location)
        is_array = (
            is_there(folder / ".zarray")
            or _entry(folder / "zarr.json", "node_type") == "array"
            or _entry(folder / n5.ATTRIBUTES, "dimensions") is not None
        )
        if is_array:
            yield path
            continue
        try:
            with scan(folder) as entries:
                # a hidden folder is one that a stopped program has left
                names = sorted(e.name for e in entries if leads_to(e, folder=True) and not e.name.startswith("."))
        except StoreError:
            raise
        except OSError:
            continue
        frontier.extend(f"{path}/{name}" if path else name for name in names)


def _entry(path: StorePath, key: str) -> Any:
    """An entry of a metadata document, None if there is no such entry or no readable document."""
    try:
        return (read_json(path) or {}).get(key)
    except StoreError:
        return None


def ancestors(root: StorePath, path: str) -> Iterator[tuple[Node, str]]:
    """The groups above a path, nearest first, each with the rest of the path below it."""
    parts = path.split("/") if path else []
    for i in range(len(parts) - 1, -1, -1):
        node = read_node(root, "/".join(parts[:i]))
        if node is not None and not isinstance(node, ArrayNode):
            yield node, "/".join(parts[i:])
