"""Stores within a zip file (``.zip``, ``.ozx``), which are read as remote ones are."""

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

from ...errors import StoreError
from ...model.urls import Url
from .files import File
from .remote import RemoteEntry, RemotePath, StorePath, store_path

SUFFIXES = (".zip", ".ozx")
#: How a zip file begins: with an entry, or with its end.
BEGINNINGS = (b"PK\3\4", b"PK\5\6")
#: The header in front of an entry, of which the last two numbers are lengths of what stands between it and the data.
HEADER = struct.Struct("<4s22xHH")
#: The bit of an entry that says that it is encrypted.
ENCRYPTED = 1


@attrs.frozen
class Entry:
    """Where the data of an entry of a zip file are."""

    begin: int
    stored_size: int
    size: int
    compression: int
    checksum: int
    flags: int

    def read(self, file: BinaryIO, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` to ``stop``; a negative ``start`` counts from the end. Raises OSError."""
        file.seek(self.begin)
        header = file.read(HEADER.size)
        if len(header) < HEADER.size or not header.startswith(BEGINNINGS[0]):
            raise OSError("the zip file is damaged: no entry is where its directory says")
        if self.flags & ENCRYPTED or self.compression not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError("an entry of the zip file is encrypted, or compressed otherwise than by deflate")
        file.seek(sum(HEADER.unpack(header)[1:]), io.SEEK_CUR)
        first, last, _ = slice(start, stop).indices(self.size)
        part = self.compression == zipfile.ZIP_STORED and (first, last) != (0, self.size)
        if part:
            file.seek(first, io.SEEK_CUR)
        length = last - first if part else self.stored_size
        data = file.read(length)
        if len(data) < length:
            raise OSError("the zip file is truncated")
        if part:
            return data
        if self.compression == zipfile.ZIP_DEFLATED:
            try:
                # one byte more than there should be, so that what is longer is noticed
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.size + 1)
            except zlib.error as error:
                raise OSError(f"an entry of the zip file is damaged: {error}") from None
        if len(data) != self.size or zlib.crc32(data) != self.checksum:
            raise OSError("the checksum in the zip file says that the entry is damaged")
        return data[first:last]


@attrs.frozen(eq=False)
class Archive:
    """A zip file: its entries by their keys, and for each folder what is in it and is a folder itself."""

    file: File
    entries: Mapping[str, Entry]
    folders: Mapping[str, Mapping[str, bool]]


@functools.lru_cache(maxsize=16)
def read_archive(file: File) -> Archive:
    """The directory of a zip file. Raises StoreError."""
    entries: dict[str, Entry] = {}
    folders: dict[str, dict[str, bool]] = {"": {}}
    try:
        with file.open() as opened, zipfile.ZipFile(opened) as archive:
            for info in archive.infolist():
                key = info.filename.strip("/")
                if not info.is_dir():
                    entries[key] = Entry(
                        info.header_offset,
                        info.compress_size,
                        info.file_size,
                        info.compress_type,
                        info.CRC,
                        info.flag_bits,
                    )
                _add_to_folders(folders, key, info.is_dir())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError("cannot read the zip file", found=f"{file.path}: {error}") from None
    return Archive(file, entries, folders)


def _add_to_folders(folders: dict[str, dict[str, bool]], key: str, is_folder: bool) -> None:
    """Add a key to its folder, and the folders above it to theirs."""
    while key:
        above, _, name = key.rpartition("/")
        if is_folder:
            folders.setdefault(key, {})
        known = above in folders and name in folders[above]
        folders.setdefault(above, {})[name] = is_folder
        if known:
            return
        key, is_folder = above, True


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
        with io.BufferedReader(self.archive.file.open()) as file:  # it is still there, and the same
            entry = self.archive.entries.get(self.key)
            if entry is not None:
                return entry.read(file, start, stop)
        if self.key in self.archive.folders:
            raise IsADirectoryError(f"a folder, not a file: {self.url}")
        return None

    def exists(self) -> bool:
        return self.key in self.archive.entries or self.key in self.archive.folders

    def stamp(self) -> Hashable:
        self.archive.file.open().close()  # it is still there, and the same
        return self.archive.file, self.key

    def entries(self) -> Iterator[RemoteEntry]:
        for name, is_folder in self.archive.folders.get(self.key, {}).items():
            yield RemoteEntry(name, self.url, is_folder)


def is_zip(path: Path) -> bool:
    """True for a zip file, also for one that is damaged if its name says what it is. Raises OSError."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix.lower() in SUFFIXES or file.read(len(BEGINNINGS[0])) in BEGINNINGS


def locate_store(store: Path | Url, options: Mapping[str, Any] | None) -> StorePath:
    """Where the store of a config is: a folder, a zip file, or a URL. Raises StoreError."""
    location = store_path(store, options)
    try:
        if isinstance(location, Path) and is_zip(location):
            return ZipPath(str(location), archive=read_archive(File.of(location)))
    except (OSError, ValueError) as error:  # a ValueError for what no path can be
        if isinstance(error, StoreError):
            raise
        raise StoreError("cannot look into the store", found=f"{str(store)[:200]}: {error}") from None
    return location
