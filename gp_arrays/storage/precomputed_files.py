"""The files of a store on disk or behind a URL: their bytes, or a part of them."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..model.fields import is_url
from .chunk_files import read_existing_file, read_unless_absent


class Files:
    """The files below a folder on disk or a URL that fsspec knows.

    Args:
        root: The folder or URL.
        options: Of fsspec's file system, for a URL.
    """

    def __init__(self, root: Path, options: Mapping[str, Any]) -> None:
        # a path keeps one of the slashes of a URL
        self.url = re.sub(r"^([^/]+):/+", r"\1://", str(root)) if is_url(root) else str(root)
        self.on_disk = not is_url(root)
        self._options = options

    def __str__(self) -> str:
        return self.url

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """The bytes of a file from ``start`` to ``stop``; None if it is not there. Raises StoreError."""
        try:
            return self._read_on_disk(key, start, stop) if self.on_disk else self._read_remote(key, start, stop)
        except FileNotFoundError:
            return None
        except Exception as error:  # file systems have errors of many types
            raise StoreError("cannot read", found=f"{self}/{key}: {error or type(error).__name__}") from error

    def version(self, key: str) -> tuple[int, int] | None:
        """What changes when a file on disk is written anew; None where that cannot be told at no cost."""
        try:
            status = Path(self.url, key).stat() if self.on_disk else None
        except OSError:
            return None
        return status and (status.st_size, status.st_mtime_ns)

    def _read_on_disk(self, key: str, start: int, stop: int | None) -> bytes | None:
        path = os.path.normpath(os.path.join(self.url, key))  # noqa: PTH118
        try:
            return read_existing_file(path, start, stop)
        except FileNotFoundError:
            return read_unless_absent(Path(path), start, stop)

    def _read_remote(self, key: str, start: int, stop: int | None) -> bytes:
        system, root = _file_system(os.getpid(), self.url, tuple(self._options.items()))
        path = f"{root.rstrip('/')}/{key}"
        if stop is None:
            return bytes(system.cat_file(path))
        # a server that knows no ranges sends all of the file
        data = bytes(system.cat_file(path, start, stop))
        return data if len(data) <= stop - start else data[start:stop]


@functools.lru_cache(maxsize=64)
def _file_system(process: int, url: str, options: tuple[Any, ...]) -> tuple[Any, str]:
    """fsspec's file system for a URL and the path in it; a forked process needs its own."""
    import fsspec

    return fsspec.core.url_to_fs(url, **dict(options))  # type: ignore[no-any-return]
