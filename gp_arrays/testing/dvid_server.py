"""A DVID server for tests: read-only, on this machine alone, as exact and as unkind as a real one.

It shares no code with the reader. Lists that it sends are in x, y, z; what tests give it is in z, y, x.

>>> import numpy as np, gp_arrays as gpa
>>> with DVIDServer() as server:
...     _ = server.add("raw", np.arange(6, dtype=np.uint8).reshape(1, 2, 3), begin=(0, 4, -1), voxel_size=(40, 8, 4))
...     array = gpa.DVIDArrayConfig("raw", (server.url, server.root, "raw")).array()
...     array, array[:].tolist()
(<gp_arrays.Array 'raw' uint8[1, 2, 3] axes=z,y,x roi=[0:40, 32:48, -4:8] voxel_size=(40, 8, 4) nm>, [[[0, 1, 2], [3, 4, 5]]])
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
import numpy as np

from ..model.cache import CACHE
from .dvid_instances import LABELS, FakeInstance, Refused

#: Servers that run in this process, by URL: for the meaning of a DVIDArrayConfig.
RUNNING: dict[str, DVIDServer] = {}

#: Requests after which a server stops by itself.
MOST_REQUESTS = 100_000
#: Larger bodies are sent in chunks without Content-Length.
CHUNKED = 2048


@attrs.frozen
class Seen:
    """A request as the server got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    connection: int

    @property
    def size(self) -> tuple[int, ...] | None:
        """Of a request for voxels: the shape, in z, y, x."""
        match = re.search(r"/(?:raw/0_1_2|subvolblocks)/(\d+)_(\d+)_(\d+)/", self.path)
        return None if match is None else tuple(map(int, reversed(match.groups())))


class DVIDServer:
    """A DVID server on 127.0.0.1, as a context manager. It stops at the end of the block.

    Attributes:
        url: Where it listens.
        root: The UUID of its first version.
        branches: By repository: versions of each branch, the newest first.
        versions: The instances of each version.
        open_versions: Those that are not locked, so that their voxels may still change.
        seen: The requests so far.
        faults: What happens to the next requests for voxels: a status, or ``"short"`` (a body that
            ends too early), ``"text"`` (an error text instead of its end), ``"long"`` (an error text
            after it), ``"drop"`` (the connection is lost half way).
        retry_after: What replies of status 503 say of the pause, where anything.
        busy: How many more requests with ``throttle=on`` are refused with 503.
        token: The token that requests must bear; ``dsg`` says how their lack is answered.
    """

    def __init__(self) -> None:
        self.root = "3f8ce0a1" + "5" * 24
        self.branches: list[dict[str, list[str]]] = [{"master": [self.root]}]
        self.versions: dict[str, dict[str, FakeInstance]] = {self.root: {}}
        self.open_versions: set[str] = set()
        self.seen: list[Seen] = []
        self.faults: list[str | int] = []
        self.retry_after = ""
        self.busy = 0
        self.token: str | None = None
        self.dsg = False
        self.url = ""

    def __enter__(self) -> DVIDServer:
        fake = self

        class Handler(_Handler):
            server_state = fake

        self._http = _HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        RUNNING[self.url] = self
        return self

    def __exit__(self, *_: Any) -> None:
        RUNNING.pop(self.url, None)
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join(10)

    def add(self, name: str, data: Any = None, uuid: str | None = None, **fields: Any) -> FakeInstance:
        """Add an instance to a version, the first by default. ``fields`` are those of FakeInstance."""
        if data is None:
            kind = fields.get("kind", "uint8blk")
            data = np.zeros((0, 0, 0), "uint64" if kind in LABELS else kind.removesuffix("blk"))
        instance = FakeInstance(data, **fields)
        self.versions[uuid or self.root][name] = instance
        CACHE.clear()  # another server may have had the same address
        return instance

    def commit(self, uuid: str, branch: str = "master", repo: int = 0) -> str:
        """Add a version to a branch, new or not, with the instances of the one before."""
        grown = self.branches[repo].setdefault(branch, [])
        parent = grown[0] if grown else self.branches[repo].get("master", [self.root])[0]
        grown.insert(0, uuid)
        self.versions[uuid] = dict(self.versions[parent]) if repo == 0 else {}
        return uuid

    def voxel_requests(self) -> list[Seen]:
        """The requests for voxels so far."""
        return [seen for seen in self.seen if seen.size is not None]

    def resolve(self, ref: str) -> tuple[str, int]:
        """The version that a reference names, and its repository."""
        prefix, colon, rest = ref.partition(":")
        if ":" in rest:
            raise Refused(400, f"bad UUID specification {ref!r}")
        repos = {uuid: i for i, repo in enumerate(self.branches) for each in repo.values() for uuid in each}
        matching = [uuid for uuid in repos if uuid.startswith(prefix)] if prefix else []
        if prefix and not matching:
            raise Refused(400, f"could not find UUID with partial match to {prefix}")
        if len(matching) > 1:
            raise Refused(400, f"more than one UUID matches {prefix}")
        if not prefix and len(self.branches) > 1:
            raise Refused(400, "branch without UUID needs a server with one repo")
        repo = repos[matching[0]] if matching else 0
        branch, _, back = rest.partition("~")
        if matching and not (colon and rest):
            return matching[0], repo
        versions = self.branches[repo].get(branch or "master")
        if versions is None:
            raise Refused(400, f'branch "{branch}" not found in repo {repo}')
        if int(back or 0) >= len(versions):
            raise Refused(400, f"no ancestor {back} of branch {branch}")
        return versions[int(back or 0)], repo

    def reply(self, seen: Seen) -> bytes:
        """The body of a reply. Raises Refused."""
        parts = seen.path.strip("/").split("/")
        if seen.method not in ("GET", "HEAD"):
            raise Refused(400, "Server in read-only mode will only accept GET or HEAD requests")
        if parts[:3] == ["api", "server", "info"]:
            return _json({"DVID Version": "fake", "Mode": "read only"})
        if self.token is not None and seen.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401 if self.dsg else 400, "no valid token in the request")
        if parts[:2] == ["api", "repo"] and len(parts) >= 4:
            _, repo = self.resolve(parts[2])
            if parts[3] == "branch-versions" and len(parts) == 5:
                if parts[4] not in self.branches[repo]:
                    raise Refused(400, f'branch "{parts[4]}" not found in repo {repo}')
                return _json(self.branches[repo][parts[4]])
            if parts[3:] == ["info"]:
                uuids = {uuid for each in self.branches[repo].values() for uuid in each}
                nodes = {uuid: {"UUID": uuid, "Locked": True} for uuid in uuids}
                instances = {name: instance.info() for uuid in uuids for name, instance in self.versions[uuid].items()}
                return _json({"DAG": {"Nodes": nodes}, "DataInstances": instances})
        if parts[:2] != ["api", "node"] or len(parts) < 4:
            raise Refused(404, "404 page not found")
        uuid, _ = self.resolve(parts[2])
        if parts[3:] == ["status"]:
            return _json({"Locked": uuid not in self.open_versions})
        if parts[3] not in self.versions[uuid]:
            raise Refused(400, "invalid data instance name")
        if len(parts) < 5:
            raise Refused(404, "404 page not found")
        instance, keyword, rest = self.versions[uuid][parts[3]], parts[4], parts[5:]
        if keyword == "info" and not rest:
            return _json(instance.info())
        if keyword == "raw" and len(rest) == 3:
            if seen.query.get("throttle") in ("true", "on") and self.busy > 0:
                self.busy -= 1
                raise Refused(503, "Server already running 1 throttled operations (max = 1)")
            return instance.raw(rest, seen.query)
        if keyword == "subvolblocks" and len(rest) == 2 and instance.kind not in LABELS:
            return instance.blocks(rest)
        raise Refused(400, f"Bad API call ({seen.path})")


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connections: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def close_connections(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of a test."""


class _Handler(BaseHTTPRequestHandler):
    server_state: DVIDServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Nothing is printed: ``seen`` has the requests."""

    def _serve(self) -> None:
        fake = self.server_state
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        seen = Seen(self.command, unquote(url.path), query, headers, id(self))
        fake.seen.append(seen)
        if len(fake.seen) >= MOST_REQUESTS:
            threading.Thread(target=self.server.shutdown, daemon=True).start()
        fault = fake.faults.pop(0) if fake.faults and seen.size is not None else None
        try:
            if isinstance(fault, int):
                raise Refused(fault, "DVID server is unavailable." if fault == 503 else "an error that was asked for")
            status, body = 200, fake.reply(seen)
        except Refused as refused:
            status, body = refused.args[0], f"{refused.args[1]} ({seen.path}).\n".encode()
        if fault == "short":
            body = body[: len(body) // 2]
        elif fault == "text":
            body = body[: len(body) // 2] + b"ERROR: the disk of the server is gone"
        elif fault == "long":
            body += b"ERROR: the disk of the server is gone"
        self.send_response(status)
        if status != 200:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            if status == 503 and fake.retry_after:
                self.send_header("Retry-After", fake.retry_after)
        if self.command not in ("GET", "HEAD"):
            self.send_header("Connection", "close")  # its body is not read
        chunked = len(body) > CHUNKED or fault == "drop"
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))))
        self.end_headers()
        if self.command == "HEAD":
            return
        if not chunked:
            self.wfile.write(body)
            return
        if fault == "drop":
            self.wfile.write(b"%x\r\n" % len(body) + body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(b"%x\r\n" % len(body))
        self.wfile.write(body)
        self.wfile.write(b"\r\n0\r\n\r\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
