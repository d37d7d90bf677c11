"""Stores on a web server: temporary errors are tried again; only "not found" means absent."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE, reading_once
from gp_arrays.storage.access import filesystems, remote, retries, stamps
from gp_arrays.storage.access.remote import RemotePath
from gp_arrays.storage.chunked.engine import FORMATS

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles.faulty_server import FaultyServer

pytest.importorskip("aiohttp")

SHAPE = (4, 8, 8)
VOXELS = np.arange(1, 257, dtype=np.uint16).reshape(SHAPE)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between attempts; what is known of a remote store is believed for the whole test."""
    monkeypatch.setattr(retries, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(stamps, "BELIEVED", 1e9)
    monkeypatch.setattr(filesystems, "_filesystems", {})


@pytest.fixture(params=FORMATS)
def server(request: Any, tmp_path: Path) -> Iterator[Any]:
    roi = gpa.Roi((0, 0, 0), SHAPE)
    stored = gpa.create_zarr(
        tmp_path / "a.zarr", "raw", roi, (1, 1, 1), "uint16", chunks=(4, 4, 4), zarr_format=request.param
    )
    stored[:] = VOXELS
    with FaultyServer(tmp_path).running() as running:
        running.chunk = "raw/0/0/1" if request.param == 2 else "raw/c/0/0/1"  # type: ignore[attr-defined]
        running.document = "raw/.zarray" if request.param == 2 else "raw/zarr.json"  # type: ignore[attr-defined]
        yield running


def opened(server: FaultyServer) -> gpa.Array:
    return gpa.open_zarr(f"{server.url}/a.zarr", "raw")


def count(server: FaultyServer, ending: str) -> int:
    return sum(request.endswith(ending) for request in server.requests)


def test_voxels_are_those_on_disk(server):
    array = opened(server)
    assert len(server.requests) == len(set(server.requests))  # no document is requested twice
    np.testing.assert_array_equal(array[:], VOXELS)
    assert array.roi == gpa.Roi((0, 0, 0), SHAPE)


@pytest.mark.parametrize("faults", [["drop"], [500], [502], [503, 504], [429, 408], ["cut"]])
def test_temporary_errors_are_tried_again(server, faults):
    server.faults = {server.chunk: [*faults, "ok"]}
    np.testing.assert_array_equal(opened(server)[:], VOXELS)
    assert count(server, server.chunk) == len(faults) + 1


def test_a_server_that_is_silent_is_asked_again(server, monkeypatch):
    monkeypatch.setattr(filesystems, "SILENCE", 0.5)
    server.faults = {server.chunk: ["silent", "ok"]}
    np.testing.assert_array_equal(opened(server)[:], VOXELS)
    assert count(server, server.chunk) >= 2  # a busy machine may be silent once more


@pytest.mark.parametrize("fault", ["drop", 503, "cut"])
def test_permanent_errors_name_the_url(server, fault, monkeypatch):
    monkeypatch.setattr(remote, "ATTEMPTS", 3)
    array = opened(server)
    server.faults = {server.chunk: [fault]}
    with pytest.raises(gpa.StoreError, match=f"{server.url}/a.zarr/{server.chunk}.*3 times"):
        array[:]
    # on a reset connection the library below sends each request twice
    assert count(server, server.chunk) == (6 if fault == "drop" else 3)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_access_is_an_error_at_once(server, status):
    array = opened(server)
    server.faults = {server.chunk: [status]}
    with pytest.raises(gpa.StoreError, match=f"refuses access; found .*{server.chunk}: {status}"):
        array[:]
    assert count(server, server.chunk) == 1
    server.faults = {".json": [status], "raw/.zarray": [status], ".zgroup": [status]}
    with pytest.raises(gpa.StoreError, match=f"raw/.*{status}"):
        opened(server)


def test_absent_chunks_are_fill_value_as_long_as_the_array_is_there(server, monkeypatch):
    array = opened(server)
    server.faults = {server.chunk: [404]}
    expected = VOXELS.copy()
    expected[:, :4, 4:] = 0
    np.testing.assert_array_equal(array[:], expected)
    before = count(server, server.document)
    array[:]
    assert count(server, server.document) == before  # within ten seconds it is believed
    monkeypatch.setattr(stamps, "BELIEVED", -1.0)
    server.faults = {"": [404]}
    with pytest.raises(gpa.StoreError, match="vanished"):
        array[:]


@pytest.fixture
def keeping() -> Iterator[None]:
    CACHE.clear()
    gpa.set_cache_bytes(10**7)
    yield
    gpa.set_cache_bytes(None)
    CACHE.clear()


def test_chunks_that_were_read_are_not_requested_again(server, keeping):
    array = opened(server)
    np.testing.assert_array_equal(array[:, 1:7], VOXELS[:, 1:7])
    before = len(server.requests)
    for box in ((slice(0, 4), slice(0, 8), slice(0, 8)), (slice(1, 3), slice(2, 6), slice(5, 8))):
        np.testing.assert_array_equal(array[box], VOXELS[box])
    assert len(server.requests) == before
    again = opened(server)
    server.requests.clear()
    np.testing.assert_array_equal(again[:], VOXELS)  # two arrays of one dataset share the chunks that were read
    assert server.requests == []


def test_absent_chunks_are_not_requested_again(server, keeping):
    server.faults = {server.chunk: [404]}
    array = opened(server)
    assert (array[:, :4, 4:] == 0).all()
    server.requests.clear()
    assert (array[:2, 1:4, 4:] == 0).all()
    assert server.requests == []


def test_a_chunk_that_changed_is_read_again_after_ten_seconds(server, keeping, monkeypatch):
    array, file = opened(server), server.source / "a.zarr" / server.chunk
    array[:]
    changed = gpa.open_zarr(server.source / "a.zarr", "raw", mode="r+")
    changed[:, :4, 4:] = 7
    np.testing.assert_array_equal(array[:], VOXELS)  # within ten seconds it is believed
    monkeypatch.setattr(stamps, "BELIEVED", -1.0)
    expected = VOXELS.copy()
    expected[:, :4, 4:] = 7
    np.testing.assert_array_equal(array[:], expected)
    server.requests.clear()
    os.utime(file, (0, 0))
    np.testing.assert_array_equal(array[:], expected)
    # the server is asked when each chunk was changed, and only those are sent that may have been since
    requests = [request for request in server.requests if request.endswith(server.chunk)]
    assert requests == [f"HEAD /a.zarr/{server.chunk}"]


def test_voxels_that_this_process_writes_are_read_at_once(keeping):
    roi, url = gpa.Roi((0, 0), (8, 8)), "memory://written/a.zarr"
    written = gpa.create_zarr(url, "raw", roi, (1, 1), "uint8", chunks=(4, 4), overwrite=True)
    assert (written[:] == 0).all()
    assert CACHE.nbytes == 0  # chunks of an array that is open for writing are not cached
    read = gpa.open_zarr(url, "raw")
    assert (read[:] == 0).all()
    for value, rows in ((3, slice(0, 8)), (4, slice(0, 4)), (5, slice(4, 8))):
        written[rows] = value
        assert (read[rows] == value).all()
    assert CACHE.nbytes > 0


def test_a_pass_over_blocks_caches_nothing_of_a_server(server, keeping):
    gpa.count(gpa.ZarrArrayConfig("a", f"{server.url}/a.zarr", "raw"))
    assert CACHE.nbytes == 0


def test_several_requests_at_once(server, keeping):
    server.together = 4
    opened(server)[:]
    assert server.most_at_once == 4


def test_several_arrays_at_once(server, keeping):
    shutil.copytree(server.source / "a.zarr/raw", server.source / "a.zarr/copy")
    server.together = 5  # more than the chunks of one of them
    both = [gpa.ZarrArrayConfig(name, f"{server.url}/a.zarr", name) for name in ("raw", "copy")]
    array = gpa.SumArrayConfig("sum", both, dtype="uint16").array()
    with reading_once():
        np.testing.assert_array_equal(array[:], 2 * VOXELS)
    assert server.most_at_once >= 5
    assert CACHE.nbytes == 0  # the threads that read know that it is a pass over blocks
    server.faults = {server.chunk.replace("raw", "copy"): [404], server.chunk: [403]}
    with pytest.raises(gpa.StoreError, match="^sum.*raw"):
        array[:]


def test_a_chunk_with_another_separator_does_not_count_as_absent(tmp_path):
    roi = gpa.Roi((0, 0), (8, 8))
    gpa.create_zarr(tmp_path / "a.zarr", "raw", roi, (1, 1), "uint8", chunks=(8, 8))[:] = 1
    document = tmp_path / "a.zarr/raw/.zarray"
    document.write_text(document.read_text().replace('"dimension_separator": "/"', '"dimension_separator": "."'))
    with FaultyServer(tmp_path).running() as server, pytest.raises(gpa.StoreError, match="key of another kind"):
        opened(server)[:]


def test_ranges(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with FaultyServer(tmp_path).running() as server:
        path = RemotePath(server.url) / "file"
        assert path.read(10, 13) == b"\x0a\x0b\x0c"
        assert path.read(-2) == b"\x62\x63"
        assert path.read(97) == b"\x61\x62\x63"
        assert (RemotePath(server.url) / "other").read(10, 13) is None
        with pytest.raises(gpa.StoreError, match="1 bytes of 3"):
            path.read(99, 102)


SECRETS = [
    {"key": "AKIA"},
    {"secret": "s3cr3t"},
    {"token": "ya29.s3cr3t"},
    {"client_kwargs": {"aws_secret_access_key": "s3cr3t"}},
    {"client_kwargs": {"headers": {"Authorization": "Bearer s3cr3t"}}},
    {"s3": {"password": "s3cr3t"}},
    {"endpoint_url": "https://me:s3cr3t@host"},
]


@pytest.mark.parametrize("options", SECRETS)
def test_options_that_hold_secrets_are_refused_and_not_shown(options):
    with pytest.raises(gpa.ConfigError, match="environment") as caught:
        gpa.ZarrArrayConfig("a", "s3://bucket/a.zarr", "raw", storage_options=options)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://me:s3cr3t@host/a.zarr", "https://host/a.zarr?sig=s3cr3t"])
def test_urls_that_hold_secrets_are_refused_and_not_shown(url):
    with pytest.raises(gpa.ConfigError, match="environment") as caught:
        gpa.ZarrArrayConfig("a", url, "raw")
    assert "s3cr3t" not in str(caught.value)


def test_a_process_that_was_forked_after_a_read_reads(server):
    array = opened(server)
    array[:]
    child = os.fork()
    if child == 0:
        ok = False
        try:
            ok = bool((array[:] == VOXELS).all() and (opened(server)[:] == VOXELS).all())
        finally:
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_precache_reads_in_forked_processes(server):
    import gunpowder as gp

    raw = gpa.ZarrArrayConfig("raw", f"{server.url}/a.zarr", "raw")
    raw.array()[:]
    key = gp.ArrayKey("RAW")
    pipeline = gpa.compile_pipeline({key: raw}) + gp.PreCache(num_workers=1, cache_size=2)
    request = gp.BatchRequest()
    request[key] = gp.ArraySpec(roi=gpa.Roi((0, 0, 0), SHAPE))
    with gp.build(pipeline):
        np.testing.assert_array_equal(pipeline.request_batch(request)[key].data, VOXELS)


@pytest.mark.slow
def test_a_spawned_process_reads(server):
    code = f"import gp_arrays as gpa; print(int(gpa.open_zarr({server.url + '/a.zarr'!r}, 'raw')[:].sum()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert int(run.stdout) == int(VOXELS.sum())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(gpa.StoreError, match=r"gs://.*pip install 'gp_arrays\[gcs\]'"):
        gpa.open_zarr("gs://bucket/a.zarr", "raw")


def test_a_store_that_fails_is_not_logged(server, caplog):
    caplog.set_level(logging.INFO)
    server.faults = {server.chunk: [503, "ok"]}
    opened(server)[:]
    assert "a.zarr" not in caplog.text
