"""Outputs in a bucket of a real S3 server: written, resumed, replaced; no file of a job contains a secret."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import wait_for

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE
from gp_arrays.storage.access import filesystems, retries

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles.faulty_server import FaultyServer

pytest.importorskip("s3fs")
server_of_moto = pytest.importorskip("moto.server")

ROI = gpa.Roi((0, 0, 0), (8, 8, 16))
VOXELS = np.arange(1024, dtype=np.uint16).reshape(8, 8, 16)
CUT: dict[str, Any] = {"chunks": (8, 8, 8), "block": (8, 8, 8), "num_workers": 1, "progress": False}
SECRET = "s3cr3t-0f-the-test"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """An S3 server with a bucket ``data``, behind a server that fails where a test says so."""
    moto = server_of_moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "of-the-test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with FaultyServer(f"http://{host}:{port}").running() as server:
            for name, value in {**environment, "AWS_ENDPOINT_URL": server.url}.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setattr(filesystems, "_filesystems", {})
            monkeypatch.setattr(retries, "FIRST_DELAY", 0.001)
            server.reply("PUT", "/data", {}, b"")
            yield server
    finally:
        moto.stop()


def test_an_array_in_a_bucket_is_written_and_read(bucket):
    array = gpa.create_zarr("s3://data/a.zarr", "raw", ROI, (1, 1, 1), "uint16", chunks=(8, 8, 8))
    array[:] = VOXELS
    bucket.faults = {"raw/0/0/1": ["drop", "cut", 503, "ok"]}
    array = gpa.open_zarr("s3://data/a.zarr", "raw")
    np.testing.assert_array_equal(array[:], VOXELS)
    CACHE.clear()
    bucket.faults = {"raw/0/0/1": [403]}
    with pytest.raises(gpa.StoreError, match="s3://data/a.zarr/raw/0/0/1: 403.*may not be listed"):
        array[:]
    bucket.faults = {}
    with pytest.raises(gpa.StoreError, match="is there already"):
        gpa.create_zarr("s3://data/a.zarr", "raw", ROI, (1, 1, 1), "uint8")
    smaller = gpa.create_zarr("s3://data/a.zarr", "raw", ROI, (1, 1, 1), "uint8", overwrite=True)
    assert smaller.dtype == np.uint8
    assert not smaller[:].any()
    with pytest.raises(gpa.StoreError, match="allowed: raw"):
        gpa.open_zarr("s3://data/a.zarr", "row")


@pytest.mark.slow
def test_a_killed_job_is_resumed_in_the_bucket(bucket, tmp_path):
    gpa.create_zarr("s3://data/in.zarr", "raw", ROI, (1, 1, 1), "uint16", chunks=(8, 8, 8))[:] = VOXELS
    raw = gpa.ZarrArrayConfig("raw", "s3://data/in.zarr", "raw")
    config = gpa.ThresholdArrayConfig("big", raw, threshold=500)
    with pytest.raises(gpa.StoreError, match="s3://data/out.zarr; allowed: .*--state"):
        gpa.materialize(config, "s3://data/out.zarr", **CUT)
    gpa.save_tree([config], tmp_path / "tree.toml")
    # the second block is never written
    bucket.faults = {"out.zarr/big/0/0/1": ["silent"]}
    command = [sys.executable, "-m", "gp_arrays", "materialize", "tree.toml", "big", "s3://data/out.zarr"]
    options = ["--state", "state", "--num-workers", "1", "--chunks", "8,8,8", "--block", "8,8,8", "--quiet"]
    run = subprocess.Popen([*command, *options], cwd=tmp_path, start_new_session=True)
    second = "out.zarr/big/0/0/1"
    wait_for(lambda: run.poll() is not None or any("PUT" in text and second in text for text in bucket.requests))
    assert run.poll() is None
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    bucket.faults = {}
    unfinished = gpa.open_zarr("s3://data/out.zarr", "big")
    with pytest.raises(gpa.StoreError, match="not written yet|not done"):
        unfinished[:]
    result = gpa.materialize(config, "s3://data/out.zarr", state=tmp_path / "state", **CUT)
    assert (result.ok, result.before) == (True, 1)
    np.testing.assert_array_equal(gpa.open_zarr("s3://data/out.zarr", "big")[:], VOXELS > 500)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_pyramid_replaces_an_array_in_the_bucket(bucket, tmp_path):
    config = gpa.NumpyArrayConfig("raw", VOXELS)
    for more in ({}, {"overwrite": True, "pyramid": "mean"}):
        result = gpa.materialize(config, "s3://data/out.zarr", state=tmp_path, **CUT, **more)
        assert result.ok
    finest = gpa.ZarrArrayConfig("raw", "s3://data/out.zarr", "raw").array()
    np.testing.assert_array_equal(finest[:], VOXELS)
    coarse = gpa.ZarrArrayConfig("raw", "s3://data/out.zarr", "raw", scale=1).array()
    mean = VOXELS.reshape(4, 2, 4, 2, 8, 2).astype(float).mean((1, 3, 5))
    np.testing.assert_array_equal(coarse[:], np.rint(mean).astype(np.uint16))
