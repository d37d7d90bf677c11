"""GET requests to a DVID server: one pool of connections a process, repetitions of failures that may pass, bodies of an exact length."""

from __future__ import annotations

import functools
import json
import os
import re
import zlib
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from ...errors import StoreError
from ..access.filesystems import causes, may_pass
from ..access.retries import ATTEMPTS, METADATA_ATTEMPTS, asked_to_wait, pause

T = TypeVar("T")

#: Seconds to connect, and between two parts of a reply.
TIMEOUT = (3.05, 120)
#: Requests of one process to one server at the same time.
CONNECTIONS = 4
#: Replies of a server that is busy or restarts. All others are final.
RETRIED = (429, 502, 503)
#: The environment variable that holds the token of servers which want one.
TOKEN = "DVID_TOKEN"

#: Bytes that are read from a connection at once: each call costs, and more bytes do not fit into the processor's cache.
STEP = 1 << 22
#: Bytes of a reply that an error shows.
SHOWN = 1024


class NoSuchInstance(StoreError):
    """The server has no data instance of that name, or it has no such scale."""


def session() -> Any:
    """The ``requests.Session`` of this process: one that is forked must not share connections with its parent."""
    return _session_of(os.getpid())


@functools.cache
def _session_of(process: int) -> Any:
    import requests
    from requests.adapters import HTTPAdapter

    new = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=CONNECTIONS, pool_block=True)
    new.mount("http://", adapter)
    new.mount("https://", adapter)
    # no compression by a proxy: the server compresses labels itself if the query says so
    new.headers.update({"Accept-Encoding": "identity", "User-Agent": "gp_arrays"})
    # always set, because without it requests would send the passwords of ~/.netrc
    new.auth = _authorize
    return new


def _authorize(request: Any) -> Any:
    token = os.environ.get(TOKEN, "").strip()
    if token:
        if not (token.isascii() and token.isprintable()):
            raise StoreError(f"the token in {TOKEN} has characters that no token has", allowed="printable ASCII")
        request.headers["Authorization"] = f"Bearer {token}"
    return request


class Body:
    """The body of a reply, read in order.

    Args:
        response: A ``requests.Response`` that was not read yet.
        gunzip: True if the body is gzip although the headers do not say so.
    """

    def __init__(self, response: Any, gunzip: bool) -> None:
        self._raw = response.raw
        self._encoded = "content-encoding" in response.headers
        self._gzip = zlib.decompressobj(wbits=31) if gunzip else None
        self._count = 0
        self._last = b""

    def read(self, size: int) -> bytes:
        """The next bytes: ``size`` of them or fewer, none at the end."""
        data: bytes = self._gunzipped(size) if self._gzip else self._raw.read(size, decode_content=self._encoded)
        self._received(data)
        return data

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with the next bytes. Returns how many there were: fewer than it holds only at the end."""
        size = 0
        while size < len(buffer):
            if self._gzip is None and self._raw.chunked and not self._encoded:
                # urllib3 has no public way to read into memory of ours, and another copy takes as long as the transfer
                with self._raw._error_catcher():
                    count = self._raw._fp.readinto(buffer[size:])
                self._received(buffer[size : size + count])
            else:
                data = self.read(len(buffer) - size)
                count = len(data)
                buffer[size : size + count] = data
            if not count:
                break
            size += count
        return size

    def read_all(self) -> bytes:
        """All bytes."""
        return b"".join(iter(functools.partial(self.read, STEP), b""))

    def _received(self, data: bytes | memoryview) -> None:
        self._count += len(data)
        if data:
            self._last = bytes(data[-SHOWN:])

    def _gunzipped(self, size: int) -> bytes:
        assert self._gzip is not None
        while not self._gzip.eof:
            data = self._gzip.unconsumed_tail or self._raw.read(1 << 16, decode_content=self._encoded)
            try:
                plain = self._gzip.decompress(data, size)
            except zlib.error as error:
                raise StoreError("the reply is not gzip", found=f"{error}{ending(data)}") from None
            if plain:
                return plain
            if not data and not self._gzip.eof:
                raise StoreError("the gzip reply ends too early", found=f"{self._count} bytes")
        return b""

    def fill(self, array: np.ndarray[Any, Any]) -> None:
        """Fill a contiguous array with the next bytes. Raises StoreError where the body ends before that."""
        if self.read_into(memoryview(array.reshape(-1).view(np.uint8))) < array.nbytes:
            raise StoreError("the reply is too short", found=f"{self._count} bytes{ending(self._last)}")

    def require_end(self) -> None:
        """Raises StoreError where bytes are left: an error that the server met after it had begun to reply."""
        expected = self._count
        surplus = self.read(SHOWN)
        if self._gzip is not None and not surplus:
            surplus = self._gzip.unused_data or self._raw.read(SHOWN, decode_content=self._encoded)
        if surplus:
            raise StoreError(f"the reply is longer than {expected} bytes", found=f"more{ending(surplus)}")


def fetch(url: str, consume: Callable[[Body], T], gunzip: bool = False, attempts: int = ATTEMPTS) -> T:
    """Send a GET request and return what ``consume`` makes of the body, of which it must read all.

    Replies 429, 502 and 503 and dropped connections are tried again after a pause, up to
    ``attempts`` times; ``consume`` is then called anew. Every other failure is a StoreError with
    the status, the beginning of the body and the URL.
    """
    import requests
    import urllib3

    failure: StoreError | None = None
    wait = 0.0
    for attempt in range(attempts):
        pause(attempt, wait)
        wait = 0.0
        try:
            with session().get(url, stream=True, timeout=TIMEOUT, allow_redirects=False) as response:
                if response.status_code == 200:
                    body = Body(response, gunzip)
                    result = consume(body)
                    body.require_end()
                    return result
                failure = _refusal(response, url)
                if response.status_code not in RETRIED:
                    raise failure
                wait = asked_to_wait(response.headers)
        except StoreError as error:
            if error is failure:
                raise
            found = url if error.found is None else f"{error.found} from {url}"
            raise StoreError(error.problem, found, error.allowed) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = StoreError("the DVID server does not reply", found=f"{_cause(error)} for {url}")
            # a server that is silent for so long is not asked again
            if _is_timeout(error) or not may_pass(error):
                raise failure from None
    assert failure is not None
    raise StoreError(failure.problem, f"{failure.found}, {attempts} times", failure.allowed)


def get_json(url: str) -> Any:
    """The JSON document at a URL."""
    data = fetch(url, Body.read_all, attempts=METADATA_ATTEMPTS)
    try:
        return json.loads(data)
    except ValueError:
        text = f"{_one_line(data[:SHOWN])!r} from {url}"
        raise StoreError("the server's reply is not JSON", text, "the address of a DVID server") from None


def server_url(text: str) -> str:
    """The base URL of a server. Raises ValueError with what is wrong; the text of it holds no secret.

    >>> server_url("emdata:8900"), server_url("https://emdata.org/dvid/")
    ('http://emdata:8900', 'https://emdata.org/dvid')
    """
    url = text if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) else f"http://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("not the address of a server") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"it holds a user name or password; a token belongs in the environment variable {TOKEN}")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("it holds a query")
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError("not the address of a server")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme.lower()}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def _refusal(response: Any, url: str) -> StoreError:
    """The error for a reply that is not 200."""
    text = _one_line(response.raw.read(SHOWN, decode_content=True) or b"")
    status = response.status_code
    allowed = None
    if 300 <= status < 400:
        text = f"redirected to {response.headers.get('Location', '').partition('?')[0]}"
        allowed = "that address as the server, if you trust it"
    elif status in (401, 403) or "token" in text.lower() or "authoriz" in text.lower():
        allowed = f"a valid token in the environment variable {TOKEN}"
    kind = NoSuchInstance if "invalid data instance name" in text else StoreError
    return kind(f"the DVID server replies {status} {response.reason or ''}".rstrip(), f"{text!r} for {url}", allowed)


def _is_timeout(error: Exception) -> bool:
    import requests
    from urllib3.exceptions import TimeoutError

    return isinstance(error, (requests.Timeout, TimeoutError))


def _cause(error: Exception) -> str:
    """The error of the connection, for which libraries above it raised theirs."""
    *_, cause = (raised for raised in causes(error) if isinstance(raised, (OSError, HTTPException)))
    return f"{type(cause).__name__}: {cause}"


def _one_line(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def ending(data: bytes) -> str:
    """The text that binary data end in, which is where a server puts an error that comes late."""
    match = re.search(rb"[\x20-\x7e\s]{8,}\Z", data)
    return f", ending in {_one_line(match[0])!r}" if match else ""
