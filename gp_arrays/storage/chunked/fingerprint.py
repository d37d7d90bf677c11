"""Tells whether a stored array has changed, without reading its chunks."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

from ..access.remote import RemotePath, StorePath
from ..access.zip_files import ZipPath
from ..metadata.documents import ChunkedNode

#: The most folders of chunks that are checked; of more folders only the first ones are.
FOLDERS = 2000
DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", "attributes.json")


def fingerprint(root: StorePath, node: ChunkedNode) -> str:
    """A digest of where an array is, its documents and the times at which its folders changed.

    Chunks are written beside their place and moved there, which changes the time of their
    folder: so a rewritten chunk is noticed in any of the folders that are checked.
    """
    folder = root / node.path
    if isinstance(folder, RemotePath):
        # when chunks were written is not told without a request for each, but in a zip file
        location = f"{folder.archive.file} {folder.key}" if isinstance(folder, ZipPath) else str(folder)
        return hashlib.blake2b(json.dumps([location, node.document, node.attrs]).encode(), digest_size=16).hexdigest()
    parts: list[object] = [str(folder.resolve())]
    for path in (*(folder / name for name in DOCUMENTS), folder, *_chunk_folders(folder, node)):
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        size = status.st_size if path.suffix == ".json" or path.name.startswith(".z") else 0
        parts.append([str(path.relative_to(folder)), size, status.st_mtime_ns])
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _chunk_folders(folder: Path, node: ChunkedNode) -> Iterator[Path]:
    if node.keys.prefix and node.keys.separator == "/":
        folder /= node.keys.prefix
    yield folder
    if node.keys.separator != "/":
        return
    grid = node.keys.in_order(node.grid)
    most = FOLDERS
    for depth in range(1, len(grid)):
        for position in itertools.islice(itertools.product(*map(range, grid[:depth])), most):
            yield folder.joinpath(*map(str, position))
        most -= min(most, math.prod(grid[:depth]))
