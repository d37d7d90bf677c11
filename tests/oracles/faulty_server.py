"""A web server over a folder, or in front of another server, that fails where a test says so."""

from __future__ import annotations

import contextlib
import email.utils
import http.server
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from gp_arrays.model.cache import CACHE


class FaultyServer:
    """What it is asked for is counted in ``requests``; ``faults`` says what happens, in turn, to keys that end so.

    A fault is a status, ``"drop"`` (the connection is reset), ``"cut"`` (half of the body), ``"silent"`` (no reply
    until the client closes the connection) or ``"ok"``; the last one stays.
    """

    def __init__(self, source: Path | str) -> None:
        self.source, self.url = source, ""
        self.faults: dict[str, list[Any]] = {}
        self.requests: list[str] = []
        #: Requests of chunks wait (at most ten seconds) until so many of them have waited at the same time.
        self.together, self.most_at_once, self._waiting = 0, 0, 0
        self._condition = threading.Condition()

    def wait(self, path: str) -> None:
        if not path.rpartition("/")[2][:1].isdigit():
            return
        with self._condition:
            self._waiting += 1
            self.most_at_once = max(self.most_at_once, self._waiting)
            self._condition.notify_all()
            self._condition.wait_for(lambda: self.most_at_once >= self.together, timeout=10)
            self._waiting -= 1

    def fault(self, path: str) -> Any:
        for ending, faults in self.faults.items():
            if path.endswith(ending):
                return faults.pop(0) if len(faults) > 1 else faults[0]
        return "ok"

    def reply(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if isinstance(self.source, str):
            sent = {key: value for key, value in headers.items() if key.lower() != "host"}
            reply = requests.request(method, self.source + path, headers=sent, data=body, timeout=20, stream=True)
            kept = {k: v for k, v in reply.headers.items() if k.lower() not in ("connection", "transfer-encoding")}
            return reply.status_code, kept, reply.raw.read()
        file = self.source / path.lstrip("/")
        if not file.is_file():
            return 404, {}, b""
        data = file.read_bytes()
        begin, _, end = headers.get("Range", "").removeprefix("bytes=").partition("-")
        if begin:
            data = data[int(begin) : int(end) + 1]
        modified = email.utils.formatdate(file.stat().st_mtime, usegmt=True)
        return 206 if begin else 200, {"Last-Modified": modified}, data

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultyServer]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.requests.append(f"{self.command} {self.path}")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.wait(self.path)
                fault = server.fault(self.path.partition("?")[0])
                if fault == "silent":
                    self.connection.recv(1)
                if fault == "drop":
                    # linger of 0 seconds: the connection is reset
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if fault in ("silent", "drop"):
                    self.connection.close()
                    self.close_connection = True
                    return
                status, headers, data = server.reply(self.command, self.path, self.headers, body)
                if isinstance(fault, int):
                    status, headers, data = fault, {}, b""
                self.send_response(status)
                for key, value in headers.items():
                    if key.lower() not in ("content-length", "date", "server"):
                        self.send_header(key, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
                self.close_connection = self.close_connection or fault == "cut"

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that has given up

        httpd = Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        CACHE.clear()  # another server may have had the same address
        self.url = f"http://127.0.0.1:{httpd.server_port}"
        try:
            yield self
        finally:
            httpd.shutdown()
            httpd.server_close()
            thread.join()
