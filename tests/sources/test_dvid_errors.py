"""Errors of DVID servers: a request is tried again, then an error reports it; tokens appear nowhere."""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
from typing import Any

import numpy as np
import pytest
import requests

import gp_arrays as gpa
from gp_arrays.storage.access import retries
from gp_arrays.storage.access.retries import FIRST_DELAY, LONGEST_DELAY
from gp_arrays.storage.dvid import http as dvid_http
from gp_arrays.testing import DVIDServer

SECRET = "s3cret-t0ken"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each pause between attempts, which are recorded instead of waited."""
    waited: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waited.append)
    return waited


@pytest.fixture
def server() -> Any:
    with DVIDServer() as running:
        running.add("raw", np.arange(8000, dtype=np.uint16).reshape(20, 20, 20), kind="uint16blk")
        running.add("seg", np.arange(8000, dtype=np.uint64).reshape(20, 20, 20), kind="labelmap")
        running.add("grid", np.arange(8000, dtype=np.uint16).reshape(20, 20, 20), kind="uint16blk", grid_store=True)
        yield running


def array_of(server: DVIDServer, name: str = "raw") -> Any:
    return gpa.DVIDArrayConfig(name, (server.url, server.root, name)).array()


@pytest.mark.parametrize("name", ["raw", "seg", "grid"])
@pytest.mark.parametrize("fault", [503, 429, 502, "drop"])
def test_temporary_errors_are_tried_again(server: DVIDServer, pauses: list[float], name: str, fault: Any) -> None:
    array = array_of(server, name)
    server.faults += [fault] * 3
    assert np.array_equal(array[:].ravel(), np.arange(8000))
    assert len(server.voxel_requests()) == 4
    assert len(pauses) == 3
    for pause, expected in zip(pauses, (1, 2, 4), strict=True):
        assert 0.75 <= pause / (FIRST_DELAY * expected) <= 1.25


@pytest.mark.parametrize(("fault", "word"), [(503, "503"), (429, "429"), (502, "502"), ("drop", "IncompleteRead")])
def test_attempts_have_an_end(server: DVIDServer, pauses: list[float], fault: Any, word: str) -> None:
    array = array_of(server)
    server.faults += [fault] * 100
    with pytest.raises(gpa.StoreError, match=rf"^raw: .*{word}.*6 times") as caught:
        array[:]
    assert len(server.voxel_requests()) == 6
    assert "\n" not in str(caught.value)
    server.faults.clear()
    assert array[0, 0, 1] == 1


@pytest.mark.parametrize("name", ["raw", "seg", "grid"])
@pytest.mark.parametrize("fault", [400, 404, 500, 504, "short", "text", "long"])
def test_permanent_errors_are_reported_at_once(server: DVIDServer, pauses: list[float], name: str, fault: Any) -> None:
    array = array_of(server, name)
    server.faults.append(fault)
    with pytest.raises(gpa.StoreError, match=f"^{name}: .*{server.url}/api/node/{server.root}/{name}/") as caught:
        array[:]
    text = str(caught.value)
    assert len(server.voxel_requests()) == 1
    assert pauses == []
    assert "\n" not in text
    if isinstance(fault, int):
        assert f"{fault}" in text
        assert "an error that was asked for" in text
    if fault == "long" or (fault, name) == ("text", "raw"):
        assert "ERROR: the disk of the server is gone" in text
    assert np.array_equal(array[:].ravel(), np.arange(8000)), "the connection serves on"


def test_a_reply_that_asks_for_a_pause_gets_it(server: DVIDServer, pauses: list[float], monkeypatch: Any) -> None:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "0")
    array = array_of(server)
    for header, pause in (("7", 7.0), ("3600", LONGEST_DELAY)):
        server.faults.append(503)
        server.retry_after = header
        array[:]
        assert pauses.pop() == pause


def test_a_server_that_is_not_there(pauses: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        good, reason = gpa.DVIDArrayConfig("a", (url, "3f8c", "a")).verify()
    assert not good
    assert "refused" in reason
    assert url in reason
    assert len(pauses) == 2


def test_a_name_that_no_server_has(pauses: list[float]) -> None:
    good, reason = gpa.DVIDArrayConfig("a", ("no-such-host.invalid", "3f8c", "a")).verify()
    assert not good
    assert "no-such-host.invalid" in reason
    assert len(reason) < 400


@pytest.mark.parametrize(
    ("name", "allowed"), [("rwa", "; allowed: raw"), ("zyx", "; allowed: grid, raw, seg"), ("unlisted", "")]
)
def test_an_unknown_instance_names_those_that_exist(
    server: DVIDServer, name: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("roi", np.zeros((1, 1, 1), np.uint8), kind="roi")
    if not allowed:
        reply = server.reply
        monkeypatch.setattr(server, "reply", lambda seen: b"{}" if seen.path.startswith("/api/repo") else reply(seen))
    with pytest.raises(gpa.StoreError) as caught:
        gpa.DVIDArrayConfig("a", (server.url, "3f8c", name)).array()
    assert str(caught.value) == f"a: no such instance; found {name!r} in version 3f8c of {server.url}{allowed}"


def test_a_server_that_never_replies(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvid_http, "TIMEOUT", (60, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        good, reason = gpa.DVIDArrayConfig("a", (url, "3f8c", "a")).verify()
    assert not good
    assert "time" in reason
    assert pauses == []


def test_a_server_that_stalls_within_a_reply(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvid_http, "TIMEOUT", (60, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def stall() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(ConnectionError):  # on a busy machine the client goes away earlier
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nonly some bytes")
                connection.recv(65536)  # until the client goes away

        server = threading.Thread(target=stall, daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/raw"
        with pytest.raises(gpa.StoreError, match=f"does not reply; found .*time.* for {url}"):
            dvid_http.fetch(url, lambda body: body.fill(np.empty(64, np.uint8)))
        server.join(100)
    assert not server.is_alive(), "the connection is closed"
    assert pauses == []


def speak(reply: bytes) -> tuple[socket.socket, str]:
    """A server that gives the same reply to every request."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):
                connection.recv(65536)
                connection.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<html>hi</html", "not JSON.*<html>hi"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "a document with Base"),
        (b"HTTP/1.1 301 M\r\nLocation: https://x/?secret=1\r\nContent-Length: 0\r\n\r\n", "redirected to https://x/'"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "403 Forbidden.*DVID_TOKEN"),
        (b"HTTP/1.1 500 E\r\nConnection: close\r\n\r\n" + b"\x00\xff\r\nx" * 9000, "500 E"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not reply"),
    ],
)
def test_a_server_that_is_not_dvid(pauses: list[float], reply: bytes, words: str) -> None:
    listening, url = speak(reply)
    with listening:
        config = gpa.DVIDArrayConfig("a", (url, "3f8c", "a"))
        with pytest.raises(gpa.StoreError, match=words) as caught:
            config.array()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 2500


BASE = {"TypeName": "uint8blk"}
EXTENDED = {"Values": [{"DataType": "uint8"}], "BlockSize": [8, 8, 8], "MinPoint": [0, 0, 0], "MaxPoint": [1, 1, 1]}


@pytest.mark.parametrize(
    "info",
    [
        {},
        [],
        {"Base": 5, "Extended": 5},
        {"Base": {}, "Extended": EXTENDED},
        {"Base": BASE, "Extended": []},
        {"Base": BASE, "Extended": {}},
        {"Base": BASE, "Extended": {**EXTENDED, "Values": []}},
        {"Base": BASE, "Extended": {**EXTENDED, "Values": [5]}},
        {"Base": BASE, "Extended": {**EXTENDED, "Values": [{"DataType": ["uint8"]}]}},
        {"Base": BASE, "Extended": {**EXTENDED, "Values": [{"DataType": "uint8"}, {"DataType": "uint16"}]}},
        {"Base": BASE, "Extended": {**EXTENDED, "BlockSize": [8, 8]}},
        {"Base": BASE, "Extended": {**EXTENDED, "BlockSize": [8, 0, 8]}},
        {"Base": BASE, "Extended": {**EXTENDED, "BlockSize": "8,8,8"}},
        {"Base": BASE, "Extended": {**EXTENDED, "MinPoint": [0, 0, 0.5]}},
        {"Base": BASE, "Extended": {**EXTENDED, "MinPoint": [0, 0, 2]}},
        {"Base": BASE, "Extended": EXTENDED},  # without a voxel size
    ],
)
def test_documents_that_are_not_understood(monkeypatch: pytest.MonkeyPatch, info: Any) -> None:
    monkeypatch.setattr("gp_arrays.storage.dvid.volumes.get_json", lambda url: info)
    with pytest.raises(gpa.StoreError, match=r"^a: ") as caught:
        gpa.DVIDArrayConfig("a", ("emdata", "3f8c", "a")).array()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("dsg", "status"), [(False, 400), (True, 401)])
def test_a_token_comes_from_the_environment(
    server: DVIDServer, monkeypatch: pytest.MonkeyPatch, dsg: bool, status: int
) -> None:
    server.token, server.dsg = SECRET, dsg
    config = gpa.DVIDArrayConfig("raw", (server.url, server.root, "raw"))
    good, reason = config.verify()
    assert not good
    assert f"{status}" in reason
    assert "DVID_TOKEN" in reason
    monkeypatch.setenv("DVID_TOKEN", f" {SECRET}\n")
    assert config.array()[0, 0, 5] == 5
    monkeypatch.setenv("DVID_TOKEN", "another")
    assert config.verify()[0] is False


def test_the_token_appears_nowhere(
    server: DVIDServer, monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Any, pauses: list[float]
) -> None:
    monkeypatch.setenv("DVID_TOKEN", SECRET)
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "0")
    caplog.set_level(logging.DEBUG)
    config = gpa.DVIDArrayConfig("raw", (server.url, server.root, "raw"))
    array = config.array()
    array[:]
    shown = [repr(config), repr(array), gpa.explain(config), repr(vars(config.open())), str(pickle.dumps(config))]
    for fault in (500, "short", "drop"):
        server.faults += [fault] * 6
        with pytest.raises(gpa.StoreError) as caught:
            array[:]
        server.faults.clear()
        shown.append(str(caught.value))
    config.to_toml(tmp_path / "a.toml")
    shown += [(tmp_path / "a.toml").read_text(), caplog.text]
    assert [text for text in shown if SECRET in text] == []
    assert all("admintoken" not in repr(seen) and "u" not in seen.query for seen in server.seen)


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9", "bell\a"])
def test_a_token_that_no_header_holds_is_not_repeated(
    server: DVIDServer, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("DVID_TOKEN", token)
    good, reason = gpa.DVIDArrayConfig("raw", (server.url, server.root, "raw")).verify()
    assert not good
    assert "DVID_TOKEN" in reason
    assert token not in reason
    assert "None" not in reason


def test_passwords_of_netrc_are_not_sent(server: DVIDServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    array_of(server)
    assert "authorization" not in server.seen[-1].headers
    monkeypatch.setenv("DVID_TOKEN", SECRET)
    array_of(server)
    assert server.seen[-1].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@emdata", "me:hunter2@emdata:80", "http://emdata/?admintoken=hunter2"]
)
def test_secrets_in_a_server_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(gpa.ConfigError) as caught:
        gpa.DVIDArrayConfig("raw", (url, "3f8c", "raw"))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(gpa.ConfigError) as caught:
        gpa.DVIDArrayConfig("raw", (url, "3f8c"))  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


def test_the_server_for_tests_is_as_unkind_as_a_real_one(server: DVIDServer) -> None:
    """The replies that are difficult for clients, without the client: status and body."""

    def get(path: str, method: str = "GET") -> tuple[int, bytes]:
        with requests.request(method, f"{server.url}/api/node/{server.root}{path}", timeout=10) as reply:
            return reply.status_code, reply.content

    server.add("seg", np.ones((64, 64, 64), np.uint64), kind="labelmap", block=(64, 64, 64), levels=1)
    assert get("/seg/raw/0_1_2/64_64_64/64_0_0?compression=gzip")[0] == 400
    assert get("/seg/raw/0_1_2/64_64_64/64_0_0") == (
        500,
        f"Panic detected on request: nil pointer dereference (/api/node/{server.root}/seg/raw/0_1_2/64_64_64/64_0_0).\n".encode(),
    )
    assert get("/seg/raw/0_1_2/65_64_64/64_0_0")[1] == bytes(65 * 64 * 64 * 8)
    assert get("/seg/raw/0_1_2/2_2_2/0_0_0?scale=5")[1] == bytes(64)
    assert (
        get("/raw/raw/0_1_2/2_2_2/0_0_0?scale=1&compression=gzip")[1]
        == np.array([0, 1, 20, 21, 400, 401, 420, 421], "<u2").tobytes()
    )
    assert get("/raw/raw/0_1_2/2_2_2/-1_-1_-1")[1] == bytes(16)
    assert get("/grid/raw/0_1_2/2_2_2/0_0_0")[0] == 400
    assert get("/raw/info", "POST")[0] == 400
    assert get("/raw/nonsense")[0] == 400
    assert get("/raw")[0] == 404
    server.busy = 1
    assert get("/raw/raw/0_1_2/2_2_2/0_0_0")[0] == 200
    assert get("/raw/raw/0_1_2/2_2_2/0_0_0?throttle=on")[0] == 503
    assert get("/raw/raw/0_1_2/2_2_2/0_0_0?throttle=on")[0] == 200
