"""Keys of remote stores, read and written through fsspec. Failures that may pass are tried again, all others are errors.

A key is absent only if the store says "not found". Refused access and a server that does
not reply or breaks off are errors that name the URL, without the secrets that it or a reply may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import attrs

from ...errors import StoreError
from ...model.urls import Url
from .filesystems import REFUSED, call, cause_text, filesystem_of, may_pass, status_of, time_of
from .retries import ATTEMPTS, asked_to_wait, pause
from .stamps import REMOTE_STAMPS

T = TypeVar("T")


class AccessError(StoreError):
    """The store refuses access, perhaps because the key does not exist."""


class Truncated(ConnectionError):
    """A reply that ended too early."""


@attrs.frozen(repr=False)
class RemotePath:
    """A key in a remote store, or a prefix of keys. It has the methods of a path on disk that are needed.

    Args:
        url: The URL, without a slash at its end.
        options: Of the fsspec file system; without secrets.
    """

    url: str
    options: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    def __truediv__(self, key: str) -> RemotePath:
        if not key:
            return self
        own_url, separator, chained = self.url.partition("::")
        if own_url.startswith(("http://", "https://")):
            key = quote(key)
        slash = "" if own_url.endswith("/") else "/"
        return attrs.evolve(self, url=f"{own_url}{slash}{key}{separator}{chained}")

    def joinpath(self, *parts: str) -> RemotePath:
        return self / "/".join(parts)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemotePath({self.url!r})"

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.partition("::")[0].rpartition("/")[2] or self.url.rpartition("/")[2]

    @property
    def listable(self) -> bool:
        """False for a web server: pages that name other pages are no lists of keys."""
        return not self.url.startswith(("http://", "https://"))

    def read(self, start: int = 0, stop: int | None = None) -> bytes | None:
        """The bytes from ``start`` to ``stop``, None if the store says that the key does not exist.

        A negative ``start`` counts from the end. Raises StoreError, also where there are fewer bytes up to ``stop``.
        """
        if stop is not None and 0 <= stop <= start:
            return b"" if self.exists() else None
        try:
            if start > 0 and stop is None:
                # a server that ignores ranges is then noticed by the length of its reply
                stop = int(self._do("read", "info")["size"])
            is_complete = (start, stop) == (0, None)

            def fetch(filesystem: Any, path: str) -> bytes:
                data = call(filesystem, "cat_file", path, start=None if is_complete else start, end=stop)
                return _cut(data, start, stop)

            return self._tried("read", fetch)
        except FileNotFoundError:
            return None

    def write(self, data: bytes) -> None:
        """Store bytes under this key, all of them or none. Raises StoreError."""
        try:
            self._do("write", "pipe_file", data)
        except FileNotFoundError as error:
            raise self._error("write", error) from None
        finally:
            REMOTE_STAMPS.forget(self.url)

    def remove_key(self) -> None:
        """Remove what has this key, and nothing else. Raises StoreError."""
        try:
            self._do("remove", "rm_file")
        except FileNotFoundError:
            return
        finally:
            REMOTE_STAMPS.forget(self.url)

    def remove(self) -> None:
        """Remove this key and those below it, where there are any. Raises StoreError."""

        def remove(filesystem: Any, path: str) -> None:
            call(filesystem, "rm", path, recursive=True)

        try:
            self._tried("remove", remove)
        except FileNotFoundError:
            return
        finally:
            REMOTE_STAMPS.forget()

    def exists(self) -> bool:
        """True if something has this key, or keys below it. Raises StoreError."""
        try:
            self._do("look for", "info")
        except FileNotFoundError:
            return False
        return True

    def stamp(self) -> Hashable:
        """A value that changes whenever that of the key changes; the store is asked once in ten seconds. Raises StoreError."""
        return REMOTE_STAMPS.stamp_of(self.url, self._modified)

    def _modified(self) -> float | None:
        """When its value was changed, in seconds; None where the store does not say, or it is gone."""
        try:
            return time_of(self._do("look for", "info"))
        except FileNotFoundError:
            return None

    def entries(self) -> Iterator[RemoteEntry]:
        """The entries below, as of ``os.scandir``. Raises StoreError."""
        if not self.listable:
            raise StoreError("a web server lists no keys", found=self.url, allowed="the path of an array in the store")

        def entries(filesystem: Any, path: str) -> list[RemoteEntry]:
            return [
                RemoteEntry(entry["name"].rstrip("/").rpartition("/")[2], str(self), entry["type"] == "directory")
                for entry in call(filesystem, "ls", path, detail=True)
                # some programs store an empty object in place of a folder
                if entry["name"].strip("/") != path.strip("/")
            ]

        try:
            yield from self._tried("list", entries)
        except FileNotFoundError:
            return

    def _do(self, verb: str, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._tried(verb, lambda filesystem, path: call(filesystem, method, path, *args, **kwargs))

    def _tried(self, verb: str, action: Callable[[Any, str], T]) -> T:
        """The result of an action, which is tried again if it failed for a reason that may pass.

        Raises:
            FileNotFoundError: The store says that the key does not exist.
            StoreError: For all else.
        """
        failure: Exception = OSError()
        for attempt in range(ATTEMPTS):
            pause(attempt, asked_to_wait(getattr(failure, "headers", None) or {}))
            try:
                return action(*filesystem_of(self.url, self.options))
            except (FileNotFoundError, StoreError):
                raise
            except Exception as error:  # each protocol has a library with errors of its own
                failure = error
                if not may_pass(error):
                    raise self._error(verb, error) from None
        raise self._error(verb, failure, f", {ATTEMPTS} times")

    def _error(self, verb: str, error: Exception, times: str = "") -> StoreError:
        status = status_of(error)
        cause = cause_text(error, status)
        found = f"{self.url}: {cause}{times}"
        if status in REFUSED or "Credentials" in type(error).__name__:
            return AccessError(
                "the store refuses access",
                found=found,
                allowed="credentials in the environment or in fsspec's configuration (or anon = true in storage_options "
                "of a public bucket); a bucket that may not be listed answers so where nothing is stored too",
            )
        return StoreError(f"cannot {verb} a key of the remote store", found=found)


@attrs.frozen
class RemoteEntry:
    """A key in a remote store, or a prefix of keys, with the attributes of ``os.DirEntry``."""

    name: str
    above: str
    is_folder: bool

    @property
    def path(self) -> str:
        return f"{self.above}/{self.name}"

    def is_dir(self) -> bool:
        return self.is_folder

    def is_file(self) -> bool:
        return not self.is_folder


#: Where a store is: a folder, or a URL.
StorePath: TypeAlias = Path | RemotePath


def is_listable(path: StorePath) -> bool:
    """True if the keys in a store can be listed."""
    return not isinstance(path, RemotePath) or path.listable


def store_path(store: Path | Url, options: Mapping[str, Any] | None) -> StorePath:
    """Where the store of a config is. Raises StoreError for options that it does not take."""
    if isinstance(store, Url):
        return RemotePath(store.text, options or {})
    if options:
        raise StoreError(
            "a store on disk takes no storage_options", found=", ".join(options), allowed="none, or an empty table"
        )
    return store


def _cut(data: bytes, start: int, stop: int | None) -> bytes:
    """The requested bytes: some servers ignore the range and send all. Raises Truncated if there are fewer."""
    if stop is None:
        return data[start:] if start < 0 else data
    if len(data) > stop - start:
        data = data[start:stop]
    if len(data) < stop - start:
        raise Truncated(f"{len(data)} bytes of {stop - start}")
    return data
