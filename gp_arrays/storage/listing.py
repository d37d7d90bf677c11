"""Which chunks of a stored array exist, found by listing its folders once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import StoreError
from .documents import Node, read_node

Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def list_chunks(root: Path, node: Node) -> Indices:
    """Indices of the chunks (shards, where there are any) that exist, one row for each.

    The cost is that of the folders that exist, not that of the chunks there could be.

    Raises:
        StoreError: The array is not there any more, so that nothing can be told.
    """
    assert node.shape is not None
    document = node.document or {}
    folder = root / node.path
    ndim = len(node.shape)
    if node.format == 2:
        separator = document.get("dimension_separator", ".")
        prefix = ""
    else:
        encoding = document.get("chunk_key_encoding", {})
        default = encoding.get("name", "default") == "default"
        separator = encoding.get("configuration", {}).get("separator", "/" if default else ".")
        prefix = "c" if default else ""
    if separator == "/":
        found = list(_nested(folder / prefix if prefix else folder, ndim))
    else:
        found = list(_flat(folder, ndim, separator, f"{prefix}{separator}" if prefix else ""))
    now = read_node(root, node.path)
    if now is None or now.shape != node.shape or now.chunks != node.chunks:
        raise StoreError("the array has vanished or changed since it was opened", found=str(folder))
    return np.array(found, np.int64).reshape(len(found), ndim)


def _nested(folder: Path, depth: int, above: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.isdigit()]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError("cannot list chunks", found=f"{folder}: {error.strerror}") from error
    for name in names:
        if depth == 1:
            yield (*above, int(name))
        else:
            yield from _nested(folder / name, depth - 1, (*above, int(name)))


def _flat(folder: Path, ndim: int, separator: str, prefix: str) -> Iterator[tuple[int, ...]]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    except OSError as error:
        raise StoreError("cannot list chunks", found=f"{folder}: {error.strerror}") from error
    for name in names:
        parts = name[len(prefix) :].split(separator)
        if len(parts) == ndim and all(part.isdigit() for part in parts):
            yield tuple(map(int, parts))
