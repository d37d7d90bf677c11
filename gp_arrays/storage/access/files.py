"""Files that are written completely or not at all, and files that must not change."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path

import attrs

from ...errors import GpArraysError, StoreError
from .remote import RemotePath, StorePath

#: Errors of the system; a ValueError for a text that no path can be.
SYSTEM_ERRORS = (OSError, ValueError)


@contextlib.contextmanager
def store_errors(location: object, problem: str, kinds: tuple[type[Exception], ...] = SYSTEM_ERRORS) -> Iterator[None]:
    """Turns errors in the block into a StoreError that names ``location``. Those of this library stay as they are.

    Args:
        location: Where something is read or written.
        problem: The first words of the message.
        kinds: The types of these errors. Libraries that decode files raise ``Exception`` of any type.
    """
    try:
        yield
    except GpArraysError:
        raise
    except kinds as error:
        raise StoreError(problem, found=error_text(location, error)) from error


def error_text(location: object, error: Exception) -> str:
    """The message of an error, with the location in front unless the message names it already."""
    text = getattr(error, "strerror", None) or str(error)
    if not isinstance(error, SYSTEM_ERRORS):
        text = f"{type(error).__name__}: {text}"
    return text if str(location) in text else f"{location}: {text}"


@contextlib.contextmanager
def needs_extra(extra: str, location: object) -> Iterator[None]:
    """Turns a package that is missing in the block into a StoreError that names the extra which brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        allowed = f"pip install 'gp_arrays[{extra}]'"
        raise StoreError(f"cannot read it without {error.name}", str(location), allowed) from None


def writing(path: Path, problem: str = "cannot write") -> AbstractContextManager[None]:
    """Turns errors of the system in the block into a StoreError that names ``path``."""
    return store_errors(path, problem)


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
    with store_errors(path, "cannot open"):
        try:
            return path.open("rb", buffering=0)
        except FileNotFoundError:
            raise StoreError("there is no such file", found=str(path)) from None
