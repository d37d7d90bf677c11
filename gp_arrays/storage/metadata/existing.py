"""What exists at the path of a dataset that is to be created."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from ...errors import StoreError
from ..access.chunk_files import scan
from ..access.remote import RemotePath, StorePath
from .documents import ArrayNode, read_node

#: Names in the folder of a remote array whose metadata document is missing.
_REMAINS_OF_ARRAY = re.compile(r"\d+(\.\d+)*|c|c(\.\d+)+|\.zattrs")


def existing_kind(root: StorePath, dataset: str) -> str | None:
    """ "array" or "group" where a dataset is, "chunks" where only chunks of a remote array are left, or None.

    Raises StoreError if anything else exists there.
    """
    if isinstance(root, Path) and root.exists() and not root.is_dir():
        raise StoreError("not a folder", found=str(root), allowed="a folder for the store")
    node = read_node(root, dataset)
    folder = root / dataset
    if node is not None:
        return "array" if isinstance(node, ArrayNode) else "group"
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), scan(folder) as entries:
        names = [entry.name for entry in entries]
    # nothing can be renamed in a remote store: a program that is stopped may leave an array without its document
    if isinstance(root, RemotePath) and names and all(map(_REMAINS_OF_ARRAY.fullmatch, names)):
        return "chunks"
    if names:
        raise StoreError("there is something that is not a Zarr array", found=str(folder))
    return None


def require_no_array(root: StorePath, dataset: str, overwrite: bool) -> str | None:
    """What exists there, as ``existing_kind`` returns it. Raises StoreError if it is an array that may not be replaced."""
    kind = existing_kind(root, dataset)
    if kind in ("array", "chunks") and not overwrite:
        raise StoreError(
            "an array is there already" if kind == "array" else "chunks without an array are there already",
            found=f"{root / dataset}",
            allowed="overwrite=True, which replaces it; another dataset name",
        )
    return kind


def folder_names(folder: StorePath) -> list[str]:
    """The names of the folders in a folder."""
    with scan(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir()]
