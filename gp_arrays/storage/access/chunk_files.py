"""Reads files of a store: returns their bytes, or None if nothing exists under that name; all else is an error.

zarr 2 and zarr 3 return fill values for a chunk that cannot be read, whatever the reason.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import islice
from pathlib import Path

from .remote import RemoteEntry, RemotePath, StorePath
from .stamps import stamp_on_disk

#: A chunk in Blosc's format begins with that many bytes; the last four tell how many it has in all.
BLOSC_HEADER = 16

KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: Seconds for which the names in a folder are remembered.
REMEMBERED = 1
#: The number of folders whose names are remembered, and the number of names that such a folder may have.
MAX_FOLDERS, MAX_NAMES = 256, 2000

# what was read of each file while an array is opened, which needs most metadata documents several times
_documents: ContextVar[dict[StorePath, bytes | None] | None] = ContextVar("documents", default=None)


@contextmanager
def documents_read_once() -> Iterator[None]:
    """In the block each file, or key of a remote store, is read once. Only metadata should be read in it."""
    outer = _documents.get()
    token = _documents.set({} if outer is None else outer)
    try:
        yield
    finally:
        _documents.reset(token)


def read_file(path: StorePath, start: int = 0, stop: int | None = None) -> bytes | None:
    """The bytes of a file, or of a key in a remote store, from ``start`` to ``stop``; None if it does not exist.

    A negative ``start`` counts from the end.

    Raises:
        OSError: It exists and cannot be read: a link whose target is missing (also
            in place of a folder above), a folder, a named pipe, a file that may not be read. Or a
            remote store does not say whether the key exists.
    """
    documents = _documents.get()
    if documents is None or (start, stop) != (0, None):
        return _read(path, start, stop)
    if path not in documents:
        documents[path] = _read(path)
    return documents[path]


def _read(path: StorePath, start: int = 0, stop: int | None = None) -> bytes | None:
    if isinstance(path, RemotePath):
        return path.read(start, stop)
    try:
        return read_existing_file(path, start, stop)
    except FileNotFoundError:
        return read_unless_absent(path, start, stop)


def stamp_of(path: StorePath) -> Hashable:
    """A value that changes whenever a file, or a key in a remote store, changes; None if its content must not be cached. Raises StoreError."""
    return path.stamp() if isinstance(path, RemotePath) else stamp_on_disk(str(path))


def scan(folder: StorePath) -> AbstractContextManager[Iterator[os.DirEntry[str] | RemoteEntry]]:
    """What is in a folder, or below a key of a remote store, as ``os.scandir`` gives it. Raises OSError."""
    return nullcontext(folder.entries()) if isinstance(folder, RemotePath) else os.scandir(folder)


def leads_to(entry: os.DirEntry[str] | RemoteEntry, folder: bool) -> bool:
    """True if an entry, or what it links to, is a folder; without ``folder`` if it is a file."""
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def is_there(path: StorePath) -> bool:
    """True if something has that name, even a link whose target is missing. Raises OSError."""
    return path.exists() if isinstance(path, RemotePath) else os.path.lexists(path)


def read_existing_file(path: str | Path, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes of a file from ``start`` to ``stop``; a negative ``start`` counts from the end. Raises OSError."""
    # the system's own calls: a chunk is often so small that a file object costs more
    # without O_NONBLOCK a named pipe would wait for whoever writes into it
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{KINDS[stat.S_IFMT(status.st_mode)]}, not a file: {path}")
        begin, end, _ = slice(start, stop).indices(status.st_size)
        return read_at(file, begin, max(0, end - begin))
    finally:
        os.close(file)


def read_at(file: int, begin: int, count: int) -> bytes:
    """The bytes of an open file from ``begin`` on: fewer than ``count`` only where it ends before."""
    data = os.pread(file, count, begin)
    while len(data) < count and (next_bytes := os.pread(file, count - len(data), begin + len(data))):
        data += next_bytes
    return data


def read_unless_absent(path: Path, start: int = 0, stop: int | None = None) -> bytes | None:
    """The bytes of a file that was not found; None if neither it nor anything in place of a folder above it exists."""
    obstacle = find_obstacle(path)
    if obstacle is None:
        return None
    try:
        return read_existing_file(path, start, stop)  # it may have been written meanwhile
    except FileNotFoundError:
        raise OSError(obstacle) from None


def require_complete(data: bytes, in_blosc: bool) -> None:
    """Raises OSError for a chunk whose file is truncated.

    zarr and the codecs notice most such chunks themselves. Blosc reads beyond the end of the
    chunk, and zarr 2 returns uninitialised memory for an empty chunk in gzip.
    """
    size = len(data)
    expected = int.from_bytes(data[12:16], "little") if in_blosc and size >= BLOSC_HEADER else 1
    if size < max(expected, BLOSC_HEADER if in_blosc else 1):
        raise OSError(f"truncated: {size} bytes")


def find_obstacle(path: Path) -> str | None:
    """What exists in place of a file that was not found, or of a folder above it; None if nothing does."""
    for part in (path, *path.parents):
        try:
            mode = os.lstat(part).st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(mode) and not part.exists():
            return f"a link whose target is missing: {part}"
        return f"it cannot be opened: {part}" if part == path else None
    return None


class FolderNames:
    """The names in a folder and in those below it. With them absent files cost one listing of their folder per second.

    Links are among the names, also those whose targets are missing. Threads share an object
    without a lock: at worst two of them list the same folder.
    """

    def __init__(self, top: str) -> None:
        self._top = top
        self._listings: dict[str, tuple[float, frozenset[str] | None]] = {}

    def may_have(self, path: str) -> bool:
        """False if nothing was at a path below the top folder, at most a second ago."""
        folder, _, name = path.rpartition("/")
        names = self._names(folder)
        return names is None or name in names

    def _names(self, folder: str) -> frozenset[str] | None:
        """The names in a folder, None if they are not known."""
        now = time.monotonic()
        listed, names = self._listings.get(folder, (-math.inf, None))
        if now - listed < REMEMBERED:
            return names
        if folder != self._top and not self.may_have(folder):
            return frozenset()
        if len(self._listings) >= MAX_FOLDERS:
            self._listings.clear()
        names = _list_names(folder)
        self._listings[folder] = now, names
        return names


def _list_names(folder: str) -> frozenset[str] | None:
    """The names in a folder, None if they are too many or it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = frozenset(entry.name for entry in islice(entries, MAX_NAMES + 1))
    except OSError:
        return None
    return names if len(names) <= MAX_NAMES else None
