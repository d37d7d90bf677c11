"""Keys of chunks: the path, below the folder of an array, of the file that holds a chunk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from ...errors import StoreError
from ..access.chunk_files import scan
from ..access.files import store_errors
from ..access.remote import StorePath, is_listable

#: The format of N5 containers, beside 2 and 3 of Zarr.
N5 = "n5"

#: How many entries of a folder are read to find the separator of its keys.
LOOKED_AT = 2000


@attrs.frozen
class ChunkKeys:
    """The rule by which the index of a chunk becomes its key.

    Attributes:
        ndim: The number of axes.
        separator: ``"/"`` for nested folders, or ``"."`` for one folder.
        prefix: What stands before the numbers: ``"c"`` by default in Zarr v3, nothing in v2.
        format: The format of the array: 2 or 3 of Zarr, or N5, whose keys have the last axis first.

    >>> ChunkKeys(3, ".").key((0, 1, 20)), ChunkKeys(3, "/", "c").key((0, 1, 20)), ChunkKeys(3, "/", "", N5).key((0, 1, 20))
    ('0.1.20', 'c/0/1/20', '20/1/0')
    >>> ChunkKeys(3, ".").index("0.1.20"), ChunkKeys(2, ".").index("0.1.20"), ChunkKeys(2, ".").index("0.01")
    ((0, 1, 20), None, None)
    """

    ndim: int
    separator: str
    prefix: str = ""
    format: int | str = 2

    def key(self, index: Sequence[int]) -> str:
        """The key of a chunk."""
        numbers = [str(int(number)) for number in self.in_order(index)]
        return self.separator.join([self.prefix] * bool(self.prefix) + numbers)

    def in_order(self, index: Sequence[int]) -> tuple[int, ...]:
        """One number for each axis, in the order of the axes in a key; and back again."""
        return tuple(reversed(index)) if self.format == N5 else tuple(index)

    def index(self, key: str) -> tuple[int, ...] | None:
        """The index of the chunk that has this key, None if no chunk has it."""
        numbers = re.findall("[0-9]+", key)
        index = self.in_order(tuple(map(int, numbers))) if len(numbers) == self.ndim else None
        return index if index is not None and self.key(index) == key else None

    def folder(self, array: StorePath) -> StorePath:
        """The folder in which the keys begin, given the folder of the array."""
        return array / self.prefix if self.prefix and self.separator == "/" else array

    def begins(self, name: str) -> bool:
        """True if a key may begin with this file or folder."""
        if self.separator == ".":
            return self.index(name) is not None
        return name == self.prefix if self.prefix else NUMBER.index(name) is not None

    def others(self) -> tuple[ChunkKeys, ...]:
        """The other rules of the format: chunks of this array are not looked for under their keys."""
        if self.format == N5:
            return ()
        prefixes = ("",) if self.format == 2 else ("c", "")
        rules = [ChunkKeys(self.ndim, separator, prefix, self.format) for prefix in prefixes for separator in "/."]
        origin = (0,) * self.ndim
        return tuple(rule for rule in rules if rule.key(origin) != self.key(origin))


#: The rule of a part of a nested key.
NUMBER = ChunkKeys(1, ".")


def keys_v2(document: Mapping[str, Any], folder: StorePath, ndim: int) -> ChunkKeys:
    """The rule of an array in Zarr v2. Its keys on disk tell it where the metadata do not."""
    separator = document.get("dimension_separator")
    if separator is None:
        separator = _separator_on_disk(folder, ndim)
    if separator not in ("/", "."):
        raise ValueError(f"dimension_separator {separator!r}")
    return ChunkKeys(ndim, separator)


def keys_v3(document: Mapping[str, Any], ndim: int) -> ChunkKeys:
    """The rule of an array in Zarr v3."""
    encoding = document.get("chunk_key_encoding", "default")
    name = encoding if isinstance(encoding, str) else encoding["name"]
    options = {} if isinstance(encoding, str) else encoding.get("configuration") or {}
    if name not in ("default", "v2"):
        raise ValueError(f"chunk_key_encoding {name!r}")
    separator = options.get("separator", "/" if name == "default" else ".")
    if separator not in ("/", "."):
        raise ValueError(f"separator {separator!r}")
    return ChunkKeys(ndim, separator, "c" if name == "default" else "", 3)


def _separator_on_disk(folder: StorePath, ndim: int) -> str:
    if not is_listable(folder):
        return "."  # the default; where chunks are absent, the other keys are looked for
    flat, nested = ChunkKeys(ndim, "."), ChunkKeys(ndim, "/")
    separators = set()
    with store_errors(folder, "cannot list chunks"), scan(folder) as entries:
        for entry in islice(entries, LOOKED_AT):
            if flat.index(entry.name) is not None:
                separators.add(".")
            elif nested.begins(entry.name):
                separators.add("/")
    if len(separators) > 1:
        raise StoreError(
            'chunks under keys of both separators, "." and "/"',
            found=str(folder),
            allowed="a dimension_separator in .zarray, and chunks under its keys alone",
        )
    return separators.pop() if separators else "."
