"""Reading the files of a store: their bytes, None if nothing is there, an error in all other cases.

Both zarrs return fill value for a chunk that they do not get, whatever the reason.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from .keys import ChunkKeys

KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# without O_NONBLOCK a named pipe would wait for whoever writes into it
FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def read_file(path: Path, start: int = 0, stop: int | None = None) -> bytes | None:
    """The bytes of a file from ``start`` to ``stop``, None if nothing is there.

    A negative ``start`` counts from the end.

    Raises:
        OSError: Something is there that cannot be read: a link whose target is missing (also
            in place of a folder above), a folder, a named pipe, a file that may not be read.
    """
    try:
        handle = os.open(path, FLAGS)
    except FileNotFoundError:
        obstacle = find_obstacle(path)
        if obstacle is None:
            return None
        try:
            handle = os.open(path, FLAGS)  # it may have been written meanwhile
        except FileNotFoundError:
            raise OSError(obstacle) from None
    with os.fdopen(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{KINDS[stat.S_IFMT(status.st_mode)]}, not a file: {path}")
        file.seek(start if start >= 0 else max(0, status.st_size + start))
        parts = []
        while part := file.read(-1 if stop is None else stop - file.tell()):
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def find_obstacle(path: Path) -> str | None:
    """What is there in place of a file that was not found, or of a folder above it; None if nothing is."""
    for place in (path, *path.parents):
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(mode) and not place.exists():
            return f"a link whose target is missing: {place}"
        return f"it cannot be opened: {place}" if place == path else None
    return None


def require_no_other_key(folder: Path, rules: Sequence[ChunkKeys], index: tuple[int, ...]) -> None:
    """Raises OSError if an absent chunk is there under the key that other rules give it."""
    for rule in rules:
        other = f"{folder}/{rule.key(index)}"
        if os.path.lexists(other):
            raise OSError(f"it is there under a key of another kind: {other}")
