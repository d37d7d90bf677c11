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

from ...errors import StoreError, nearest, quoted
from ...model.fields import is_url
from ..access.chunk_files import is_there, leads_to, read_file, scan
from ..access.remote import AccessError, StorePath, is_listable
from . import n5
from .document_values import to_chunk_shape, to_fill_value, to_shape, to_voxel_dtype
from .keys import N5, ChunkKeys, keys_v2, keys_v3
from .other_formats import NotRead, file_format, folder_format

#: How many datasets are looked at to name the nearest ones in an error.
LISTED = 2000


@attrs.frozen
class Node:
    """An array or group of a store, as its metadata document says.

    Attributes:
        path: Within the store, without slashes at its ends.
        format: 2 or 3 of Zarr, or N5.
        attrs: The attributes. Those of N5 that are about axes list x first.
        shape, dtype, chunks: Of an array; None for a group. Chunks are what a read decodes.
        shards: What a write touches, where chunks lie in shards; else the chunks.
        keys: Where its chunks (shards, where there are any) are stored.
        document: The array's metadata document, as read; of N5, as Zarr v2 would write it.
    """

    path: str
    format: int | str
    attrs: Mapping[str, Any]
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    keys: ChunkKeys | None = None
    document: Mapping[str, Any] | None = None

    @property
    def is_array(self) -> bool:
        return self.shape is not None


def read_json(path: StorePath) -> dict[str, Any] | None:
    """A JSON object, None where there is no such file. Raises StoreError where it is unreadable."""
    try:
        data = read_file(path)
    except NotADirectoryError:
        return None
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        # a ValueError is a name that no file can have
        raise StoreError("cannot read metadata", found=error_text(path, error)) from error
    if data is None:
        return None
    try:
        value = json.loads(data, object_pairs_hook=_distinct_keys)
    except (ValueError, RecursionError) as error:
        raise StoreError("metadata is not JSON", found=f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise StoreError("metadata is not a JSON object", found=str(path))
    return value


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {quoted(next(key for key in keys if keys.count(key) > 1))} is there twice")
    return value


def error_text(path: StorePath, error: Exception) -> str:
    """What an error says of a path, which its own words may name already."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text if str(path) in text else f"{path}: {text}"


def read_node(root: StorePath, path: str) -> Node | None:
    """The array or group at a path, None where there is none."""
    folder = root / path if path else root
    refused: AccessError | None = None
    for name in ("zarr.json", ".zarray", ".zgroup", n5.ATTRIBUTES):
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


def _node_n5(attributes: dict[str, Any], path: str, folder: StorePath) -> Node:
    own = {key: value for key, value in attributes.items() if key not in n5.OWN_KEYS}
    if "dimensions" not in attributes:
        return Node(path, N5, own)
    with _well_formed(folder / n5.ATTRIBUTES):
        document = n5.document_v2(attributes)
        shape, dtype = to_shape(document["shape"]), to_voxel_dtype(document["dtype"])
        chunks = to_chunk_shape(document["chunks"], shape)
        keys = ChunkKeys(len(shape), "/", "", N5)
    return Node(path, N5, own, shape, dtype, chunks, chunks, keys, document)


def _node_of(name: str, document: dict[str, Any], path: str, folder: StorePath) -> Node:
    if name == "zarr.json":
        return _node_v3(document, path, folder)
    if name == ".zarray":
        return _array_v2(document, path, folder)
    if name == n5.ATTRIBUTES:
        return _node_n5(document, path, folder)
    return Node(path, 2, read_json(folder / ".zattrs") or {})


def _array_v2(document: dict[str, Any], path: str, folder: StorePath) -> Node:
    with _well_formed(folder / ".zarray"):
        shape, dtype = to_shape(document["shape"]), to_voxel_dtype(document["dtype"])
        chunks = to_chunk_shape(document["chunks"], shape)
        to_fill_value(document.get("fill_value"), dtype)
        if document.get("order", "C") not in ("C", "F"):
            raise ValueError(f"order {document['order']!r}")
        keys = keys_v2(document, folder, len(shape))
    return Node(path, 2, read_json(folder / ".zattrs") or {}, shape, dtype, chunks, chunks, keys, document)


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
    return Node(path, 3, attributes, shape, dtype, chunks, shards, keys, document)


@contextlib.contextmanager
def _well_formed(document: StorePath) -> Iterator[None]:
    try:
        yield
    except NotRead as error:
        raise StoreError(f"{error.what} is not read", found=str(document), allowed=error.remedy) from None
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, OverflowError) as error:
        text = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise StoreError("metadata of the array is malformed", found=f"{text} in {document}") from None


def require_on_disk(path: Path) -> None:
    """Raises StoreError for a URL: files and stores are on disk."""
    if is_url(path):
        raise StoreError("not a folder", found=str(path), allowed="a store on a local disk")


def find_node(root: StorePath, path: str) -> Node:
    """The array or group at a path. Raises StoreError that names the nearest existing ones."""
    try:
        return _find_node(root, path)
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        # a folder that may not be entered, a name that no file can have
        raise StoreError("cannot look into the store", found=f"{path!r} in {str(root)[:200]!r}: {error}") from error


def _find_node(root: StorePath, path: str) -> Node:
    if isinstance(root, Path):
        _require_folder(root)
    node = read_node(root, path)
    if node is None:
        other = isinstance(root, Path) and (folder_format(root / path) or folder_format(root))
        if other:
            raise StoreError("not a Zarr store", found=f"{root / path} is {other.name}", allowed=other.remedy)
        known = list(datasets(root))
        none = "the store holds no arrays" if is_listable(root) else "the path of an array: a web server lists none"
        near = nearest(path, known) or ", ".join(known[:8]) or none
        raise StoreError("no such dataset", found=f"{path!r} in {root}", allowed=near)
    return node


def _require_folder(root: Path) -> None:
    """Raises StoreError where no store can be."""
    if not root.exists():
        siblings = [p.name for p in root.parent.iterdir()] if root.parent.is_dir() else []
        near = nearest(root.name, siblings)
        raise StoreError("no such store", found=str(root), allowed=near and f"{root.parent} has {near}")
    if not root.is_dir():
        other = file_format(root)
        name, remedy = (other.name, other.remedy) if other else ("a file", "a folder")
        raise StoreError("not a Zarr store on disk", found=f"{root} is {name}", allowed=remedy)


def what_is_there(root: StorePath, dataset: str) -> str | None:
    """ "array" or "group" where a dataset is, or None. Raises StoreError where it cannot be one."""
    if isinstance(root, Path) and root.exists() and not root.is_dir():
        raise StoreError("not a folder", found=str(root), allowed="a folder for the store")
    node = read_node(root, dataset)
    folder = root / dataset
    if node is None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), scan(folder) as entries:
            if any(True for _ in entries):
                raise StoreError("there is something that is not a Zarr array", found=str(folder))
        return None
    return "array" if node.is_array else "group"


def has_folders(folder: StorePath) -> bool:
    """True if there are folders in a folder."""
    with scan(folder) as entries:
        return any(entry.is_dir() for entry in entries)


def datasets(root: StorePath, limit: int = LISTED, below: str = "") -> Iterator[str]:
    """Paths of the arrays in a store, or below a path in it, nearest first; it looks at no chunk."""
    if not is_listable(root):
        return
    frontier, looked = [below], 0
    folders = set[str]()
    for path in frontier:
        looked += 1
        if looked > limit:
            return
        folder = root / path if path else root
        if isinstance(folder, Path):
            location = os.path.realpath(folder)
            if location in folders:
                continue  # links may lead back to where they are
            folders.add(location)
        if is_there(folder / ".zarray") or _is_array_v3(folder) or _is_array_n5(folder):
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


def _is_array_v3(folder: StorePath) -> bool:
    return bool(_entry(folder / "zarr.json", "node_type") == "array")


def _is_array_n5(folder: StorePath) -> bool:
    return _entry(folder / n5.ATTRIBUTES, "dimensions") is not None


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
        if node is not None and not node.is_array:
            yield node, "/".join(parts[i:])
