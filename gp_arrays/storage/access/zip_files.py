"""Stores in a zip file (``.zip``, ``.ozx``). They have the interface of remote stores."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from ...model.urls import Url
from .files import SYSTEM_ERRORS, File, store_errors
from .remote import RemoteEntry, RemotePath, StorePath, store_path

SUFFIXES = (".zip", ".ozx")
#: How a zip file begins: with an entry, or with its end.
BEGINNINGS = (b"PK\3\4", b"PK\5\6")
#: The header in front of an entry, which ends in the lengths of what stands between it and the data.
HEADER = struct.Struct("<26xHH")
#: The bit of an entry that says that it is encrypted.
ENCRYPTED = 1


@attrs.frozen(eq=False)
class Archive:
    """A zip file: its entries by their keys; and for each folder the names in it, with True for those of folders."""

    file: File
    entries: Mapping[str, zipfile.ZipInfo]
    folders: Mapping[str, Mapping[str, bool]]


@functools.lru_cache(maxsize=16)
def read_archive(file: File) -> Archive:
    """The directory of a zip file. Raises StoreError."""
    folders: dict[str, dict[str, bool]] = {"": {}}
    errors = (*SYSTEM_ERRORS, zipfile.BadZipFile, NotImplementedError)
    with (
        store_errors(file.path, "cannot read the zip file", errors),
        file.open() as opened,
        zipfile.ZipFile(opened) as archive,
    ):
        entries = {entry.filename.strip("/"): entry for entry in archive.infolist()}
    for key, entry in entries.items():
        parts = key.split("/")
        for depth, name in enumerate(parts):
            is_folder = depth + 1 < len(parts) or entry.is_dir()
            folders.setdefault("/".join(parts[:depth]), {})[name] = is_folder
            if is_folder:
                folders.setdefault("/".join(parts[: depth + 1]), {})
    return Archive(file, {key: entry for key, entry in entries.items() if key not in folders}, folders)


def read_entry(file: BinaryIO, entry: zipfile.ZipInfo, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes of an entry from ``start`` to ``stop``; a negative ``start`` counts from the end. Raises OSError."""
    file.seek(entry.header_offset)
    header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(BEGINNINGS[0]):
        raise OSError("the zip file is damaged: no entry is where its directory says")
    if entry.flag_bits & ENCRYPTED:
        raise OSError("an entry of the zip file is encrypted")
    file.seek(sum(HEADER.unpack(header)), io.SEEK_CUR)
    first, last, _ = slice(start, stop).indices(entry.file_size)
    if entry.compress_type == zipfile.ZIP_STORED and (first, last) != (0, entry.file_size):
        # a part of a shard: its own checksum tells damage
        file.seek(first, io.SEEK_CUR)
        return file.read(last - first)
    try:
        with zipfile.ZipExtFile(file, "r", entry) as opened:
            data = opened.read()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise OSError(
            f"an entry of the zip file is damaged, or compressed in a way that is not read: {error}"
        ) from None
    return data[first:last]


@attrs.frozen(repr=False)
class ZipPath(RemotePath):
    """A key in a zip file on disk, or a folder in it. The file is open only while it is read."""

    archive: Archive = attrs.field(kw_only=True)

    @property
    def key(self) -> str:
        """The key of the entry."""
        return self.url.removeprefix(str(self.archive.file.path)).strip("/")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def listable(self) -> bool:
        return True

    def __truediv__(self, key: str) -> ZipPath:
        return attrs.evolve(self, url=f"{self.url}/{key}") if key else self

    def read(self, start: int = 0, stop: int | None = None) -> bytes | None:
        with io.BufferedReader(self.archive.file.open()) as file:  # raises if the file has changed
            entry = self.archive.entries.get(self.key)
            if entry is not None:
                return read_entry(file, entry, start, stop)
        if self.key in self.archive.folders:
            raise IsADirectoryError(f"a folder, not a file: {self.url}")
        return None

    def exists(self) -> bool:
        return self.key in self.archive.entries or self.key in self.archive.folders

    def stamp(self) -> Hashable:
        self.archive.file.open().close()  # raises if the file has changed
        return self.archive.file, self.key

    def entries(self) -> Iterator[RemoteEntry]:
        for name, is_folder in self.archive.folders.get(self.key, {}).items():
            yield RemoteEntry(name, self.url, is_folder)


def is_remote(path: StorePath) -> bool:
    """True if what is read there comes from a server."""
    return not isinstance(path, (Path, ZipPath))


def is_zip(path: Path) -> bool:
    """True for a zip file, and for a damaged one that has the suffix of zip files. Raises OSError."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix.lower() in SUFFIXES or file.read(len(BEGINNINGS[0])) in BEGINNINGS


def locate_store(store: Path | Url, options: Mapping[str, Any] | None) -> StorePath:
    """The location of the store of a config: a folder, a zip file, or a URL. Raises StoreError."""
    location = store_path(store, options)
    with store_errors(str(store)[:200], "cannot read the store"):
        if isinstance(location, Path) and is_zip(location):
            return ZipPath(str(location), archive=read_archive(File.of(location)))
    return location
