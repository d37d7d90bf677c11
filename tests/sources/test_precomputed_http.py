"""Precomputed volumes on a web server: which requests are sent, and how errors and missing files are reported."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from oracles.precomputed_trees import SHARDING, write_volume

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.model.cache import CACHE, reading_once
from gp_arrays.storage.access import stamps
from gp_arrays.testing import digest, read_in_fork

DATA = np.random.default_rng(8).integers(1, 255, (20, 20, 20), np.uint8)


class ManyConnections(ThreadingHTTPServer):
    request_queue_size = 64


class Server:
    """A web server of a folder; it records the requests and can answer some of them with an error status."""

    def __init__(self, folder: Path) -> None:
        CACHE.clear()  # another server may have had the same address
        self.requests: list[tuple[str, str | None]] = []
        self.statuses: dict[str, int] = {}
        self.knows_ranges = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.requests.append((self.path, wanted))
                path = folder / self.path.strip("/")
                status = next((code for part, code in server.statuses.items() if part in self.path), 200)
                body = path.read_bytes() if path.is_file() and status == 200 else b"no"
                if status == 200 and not path.is_file():
                    status = 404
                if status == 200 and wanted and server.knows_ranges:
                    first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups()  # type: ignore[union-attr]
                    status, body = 206, body[int(first) : int(last) + 1]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ManyConnections(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_volume(tmp_path / "files", DATA, (8, 8, 8), (40, 4, 4), encoding="png", key="s0")
    write_volume(tmp_path / "shards", DATA, (8, 8, 8), (40, 4, 4), sharding=SHARDING, key="s0")
    running = Server(tmp_path)
    yield running
    running.close()


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_crop_requests_its_chunks_alone(server: Server, knows_ranges: bool) -> None:
    server.knows_ranges = knows_ranges
    files = gpa.PrecomputedArrayConfig("files", f"precomputed://{server.url}/files")
    assert files.verify() == (True, "ok")
    assert server.requests == [("/files/info", None)]
    server.requests.clear()
    assert run(["info", f"precomputed://{server.url}/files"]) == 0
    assert {path for path, _ in server.requests} == {"/files/info"}
    array = files.array()
    server.requests.clear()
    assert np.array_equal(array[8:16, 2:9, :8], DATA[8:16, 2:9, :8])
    assert sorted(server.requests) == [("/files/s0/0-8_0-8_8-16", None), ("/files/s0/0-8_8-16_8-16", None)]
    shards = gpa.PrecomputedArrayConfig("shards", f"{server.url}/shards/").array()
    server.requests.clear()
    assert np.array_equal(shards[:8, :8, :8], DATA[:8, :8, :8])
    assert len(server.requests) == 3  # where the index is, the index, the chunk
    assert {path for path, wanted in server.requests if wanted} == {server.requests[0][0]}
    with reading_once():
        assert np.array_equal(shards[:8, :8, :4], DATA[:8, :8, :4])
    assert len(server.requests) == 4  # the index is kept
    assert np.array_equal(shards[:], DATA)


@pytest.mark.parametrize("name", ["files", "shards"])
def test_chunks_that_were_read_are_not_requested_again(server: Server, name: str) -> None:
    array = gpa.PrecomputedArrayConfig(name, f"{server.url}/{name}").array()
    server.statuses = {"/8-16_": 404}
    want = array[:]
    assert name == "shards" or not want[:, :, 8:16].any()
    server.requests.clear()
    assert np.array_equal(array[3:9, 1:], want[3:9, 1:])
    with reading_once():
        assert np.array_equal(array[:8, :8, :8], want[:8, :8, :8])
    assert len(server.requests) == 1


def test_a_forked_process_reads_with_its_own_connections(server: Server) -> None:
    array = gpa.PrecomputedArrayConfig("shards", f"{server.url}/shards").array()
    assert np.array_equal(array[:], DATA)
    assert read_in_fork(array) == digest(DATA)


@pytest.mark.parametrize("name", ["files", "shards"])
def test_errors_of_a_server_are_not_read_as_zeros(server: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "BELIEVED", 1e9)
    array = gpa.PrecomputedArrayConfig(name, f"{server.url}/{name}").array()
    server.statuses = {"/s0/": 403}
    with pytest.raises(gpa.StoreError, match=rf"^{name}: the store refuses access; found chunk s0/.*{server.url}.*403"):
        array[:]
    server.statuses = {"/s0/": 404}
    assert not array[:].any()
    server.statuses = {"": 404}
    assert not array[:].any()  # for some time it is believed
    monkeypatch.setattr(stamps, "BELIEVED", -1.0)
    with pytest.raises(gpa.StoreError, match=rf"^{name}: no precomputed volume; found no file 'info' in {server.url}"):
        array[:]
    with pytest.raises(gpa.StoreError, match=rf"^{name}: no precomputed volume"):
        array.config.array()


def test_any_file_system_of_fsspec_has_volumes(tmp_path: Path) -> None:
    write_volume(tmp_path / "volume", DATA, (8, 8, 8))
    fsspec.filesystem("memory").put(str(tmp_path / "volume"), "/precomputed-test/", recursive=True)
    config = gpa.PrecomputedArrayConfig("volume", "precomputed://memory://precomputed-test/volume")
    assert np.array_equal(config.array()[3:9], DATA[3:9])
    assert str(gpa.PrecomputedArrayConfig("a", "precomputed://gs://bucket/b").file_name) == "gs://bucket/b"
    with pytest.raises(gpa.ConfigError, match="secret"):
        config.with_fields(storage_options={"secret": "x"})
