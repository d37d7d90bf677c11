"""Removing arrays in remote stores, where nothing can be renamed.

An array is there once its document is, which is written last; and it is removed document first. So a program that is
stopped leaves an array, or chunks without one, which no reader takes for an array.
"""

from __future__ import annotations

from ..access.remote import RemotePath
from ..metadata.pyramids import LEVEL
from .array_files import DOCUMENTS


def remove_array(folder: RemotePath) -> None:
    """Remove an array or a pyramid with its levels, and whatever else is below. Raises StoreError."""
    levels = [folder / entry.name for entry in folder.entries() if entry.is_dir() and LEVEL.fullmatch(entry.name)]
    for part in (folder, *levels):
        for name in DOCUMENTS:
            (part / name).remove_key()
    folder.remove()
