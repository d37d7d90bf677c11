"""Files that are written completely or not at all, and files that must not change."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import attrs

from ...errors import GpArraysError, StoreError
from .remote import RemotePath, StorePath


@contextlib.contextmanager
def writing(path: Path, problem: str = "cannot write") -> Iterator[None]:
    """Turns errors of the system in the block into a StoreError that names ``path``."""
    try:
        yield
    except GpArraysError:
        raise
    except (OSError, ValueError) as error:  # a ValueError for what no path can be
        raise StoreError(problem, found=f"{path}: {getattr(error, 'strerror', None) or error}") from error


def replace_file(path: StorePath, content: str | bytes, durable: bool = False, problem: str = "cannot write") -> None:
    """Write a file, or a key in a remote store, in one step: a reader sees the old content or the new one.

    The new file has the mode of the old one, if there is one. A link stays a link, to the new
    file. No other file is left. With ``durable`` all this also holds after a power failure.
    Raises StoreError, whose first words are ``problem``.
    """
    data = content.encode() if isinstance(content, str) else content
    if isinstance(path, RemotePath):
        path.write(data)
        return
    with writing(path, problem):
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".{target.name[:200]}-{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                if target.exists():
                    temporary.chmod(stat.S_IMODE(target.stat().st_mode))
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(target)
            if durable:
                _force_entries(target.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _force_entries(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@attrs.frozen
class File:
    """A file in the state in which it was first opened.

    Attributes:
        path: The file.
        size: In bytes.
        modified: When it was last changed, in nanoseconds.
    """

    path: Path
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> File:
        """Raises StoreError for a file that cannot be opened."""
        with _open(path) as file:
            status = os.fstat(file.fileno())
        return cls(path, status.st_size, status.st_mtime_ns)

    def open(self) -> FileIO:
        """The opened file, for one thread. Raises StoreError if it has changed."""
        file = _open(self.path)
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
            file.close()
            raise StoreError("the file has changed since it was opened", found=str(self.path))
        return file


def _open(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        raise StoreError("there is no such file", found=str(path)) from None
    except (OSError, ValueError) as error:  # a ValueError for what no path can be
        raise StoreError("cannot open", found=f"{path}: {getattr(error, 'strerror', error)}") from None
