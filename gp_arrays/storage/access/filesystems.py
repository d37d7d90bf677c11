"""File systems of fsspec, one in each process for each server and its options; and the meaning of their errors."""

from __future__ import annotations

import email.utils
import json
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from ...errors import GpArraysError, StoreError
from ...model.urls import without_secrets

#: Seconds to connect, between two parts of a reply, and for all of it.
CONNECT, SILENCE, LONGEST = 10.0, 30.0, 600.0
#: Replies of a server that is busy or restarts.
PASSING = (408, 429, 500, 502, 503, 504)
REFUSED = (401, 403)
#: Errors of the libraries below fsspec, by the names of their classes or base classes: a connection that fails may work again.
_LOST = frozenset(
    [
        "ConnectionError",
        "TimeoutError",
        "ClientConnectionError",
        "ClientPayloadError",
        "HTTPClientError",
        "IncompleteRead",
        "IncompleteReadError",
        "ResponseStreamingError",
        "ProtocolError",
        "ContentLengthError",
        "TransferEncodingError",
    ]
)
#: These errors stay: a wrong certificate, a host that does not exist.
_FINAL = frozenset(
    ["ClientSSLError", "SSLError", "ClientConnectorDNSError", "gaierror", "ProxyConnectionError", "InvalidURL"]
)
#: The extra that reads a kind of URL.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}

#: Where file systems say when something was changed.
_TIMES = ("LastModified", "Last-Modified", "updated", "mtime", "created")

_filesystems: dict[tuple[str, ...], Any] = {}
_lock = threading.Lock()
# fsspec reads an archive, such as a zip file, through one open file, which threads must not share
_archive_lock = threading.Lock()
# those of a parent process: kept, as closing them could wait for its thread, which a forked process does not have
_inherited: list[Any] = []


def _forget_filesystems() -> None:
    """A forked process does not have the thread of its parent's event loop, and must not use its connections."""
    global _filesystems, _lock, _archive_lock
    _inherited.append(_filesystems)
    _filesystems, _lock, _archive_lock = {}, threading.Lock(), threading.Lock()


os.register_at_fork(after_in_child=_forget_filesystems)


def call(filesystem: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of a file system, with a timeout if it is asynchronous."""
    from fsspec.archive import AbstractArchiveFileSystem
    from fsspec.asyn import sync

    if isinstance(filesystem, AbstractArchiveFileSystem):
        with _archive_lock:
            return getattr(filesystem, method)(*args, **kwargs)
    if not getattr(filesystem, "async_impl", False):
        return getattr(filesystem, method)(*args, **kwargs)
    return sync(filesystem.loop, getattr(filesystem, f"_{method}"), *args, timeout=LONGEST, **kwargs)


def filesystem_of(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of a URL, created once in each process, and the path in it. Raises StoreError."""
    own_url, separator, chained = url.partition("::")
    protocol, _, below = own_url.partition("://")
    server = "" if separator else below.partition("/")[0]
    key = (protocol, server, chained, json.dumps(options, sort_keys=True, default=repr))
    with _lock:
        if key not in _filesystems:
            _filesystems[key] = _new_filesystem(
                url, protocol, {} if separator else _defaults(protocol, options), options
            )
        filesystem = _filesystems[key]
    return filesystem, filesystem._strip_protocol(own_url)


def _new_filesystem(url: str, protocol: str, defaults: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    from fsspec.asyn import sync
    from fsspec.core import url_to_fs

    try:
        filesystem, _ = url_to_fs(url, **{**options, **defaults, "skip_instance_cache": True})
        if protocol in ("http", "https", "s3", "s3a"):
            # now, because two threads that read at once would each create one
            sync(filesystem.loop, filesystem.set_session, timeout=LONGEST)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        raise StoreError(
            f"a package that reads {protocol}:// is not installed",
            found=url,
            allowed=str(error) if extra is None else f"pip install 'gp_arrays[{extra}]'",
        ) from None
    except (TypeError, ValueError) as error:
        raise StoreError("cannot open the URL", found=f"{url}: {without_secrets(str(error))}") from None
    if "s3" in protocol:
        filesystem.retries = 1  # ours are enough
    return filesystem


def _defaults(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with timeouts, without repetitions, which this library does itself, and without a cache of listings."""
    if protocol in ("http", "https"):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
        return {"client_kwargs": {"timeout": timeout, **options.get("client_kwargs", {})}}
    if protocol in ("s3", "s3a"):
        bounds = {"connect_timeout": CONNECT, "read_timeout": SILENCE, "retries": {"max_attempts": 0}}
        return {
            "config_kwargs": {**bounds, **options.get("config_kwargs", {})},
            "use_listings_cache": False,
            "max_concurrency": 1,
        }
    return {"use_listings_cache": False} if protocol in ("gs", "gcs") else {}


def time_of(info: Mapping[str, Any]) -> float | None:
    """When something was changed, in seconds, as a file system tells it; None where it does not.

    >>> time_of({"Last-Modified": "Thu, 01 Jan 1970 00:01:00 GMT"}), time_of({"updated": "1970-01-01T00:01:00Z"})
    (60.0, 60.0)
    """
    value = next((info[name] for name in _TIMES if info.get(name)), None)
    if isinstance(value, str):
        try:
            value = email.utils.parsedate_to_datetime(value) if "," in value else datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        value = value.timestamp()
    return float(value) if isinstance(value, (int, float)) else None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised for."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, GpArraysError):  # the caller may handle one of ours
        yield cause
        cause = cause.__cause__ or cause.__context__


def status_of(error: Exception) -> int | None:
    """The status of the server's reply, None if there was no reply."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, Mapping):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            # "code" is the status in errors of gcsfs; in those of aiohttp on broken replies it is another number
            status = getattr(cause, "code" if type(cause).__name__ == "HttpError" else "status", None)
        if isinstance(status, int):
            return status
    return 403 if isinstance(error, PermissionError) else None


def may_pass(error: Exception) -> bool:
    """True for a lost connection, a reply that ends too early, no reply in time, and a busy server."""
    names = {kind.__name__ for cause in causes(error) for kind in type(cause).__mro__}
    status = status_of(error)
    return status in PASSING if status is not None else bool(names & _LOST) and not names & _FINAL


def cause_text(error: Exception, status: int | None) -> str:
    text = without_secrets(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    if status is None:
        return text
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status}, {text}"
