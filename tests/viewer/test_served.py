"""What the server sends is ``array[roi]``, for every array type, and what it answers when that fails."""

from __future__ import annotations

import logging
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracles import growing, trees
from view_helpers import served

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE
from gp_arrays.model.config import all_configs
from gp_arrays.testing import evaluate_naively
from gp_arrays.viewer.shown import View

#: Dtypes that the browser does not know, and the dtypes that are sent instead.
SENT = {"bool": "uint8", "float16": "float32", "float64": "float32"}


@pytest.mark.parametrize("kind", sorted(growing(), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
@settings(
    max_examples=2,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_chunk_is_what_the_array_delivers(kind: Any, session_folder: Path, data: Any) -> None:
    only = {"source_types" if issubclass(kind, gpa.SourceConfig) else "types": [kind]}
    config = data.draw(trees(session_folder, most=4, **only))
    assume(any(isinstance(each, kind) for each in all_configs([config])))
    try:
        want = evaluate_naively(config).data
    except gpa.ComputeError:
        assume(False)
    view = gpa.view({"it": config}, quiet=True)
    try:
        got = served(view, "it", (0,) * want.ndim, want.shape)
    finally:
        view.close()
    if want.dtype == np.int64:
        labels = view.viewer.state.layers["it"].type == "segmentation"
        want = want.view(np.uint64) if labels else want.astype(np.float32)
    with np.errstate(over="ignore"):
        want = want.astype(SENT.get(want.dtype.name, want.dtype))
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def make_old(store: Path) -> None:
    """Chunks of which the files are new are never cached."""
    for file in store.rglob("*"):
        os.utime(file, (10**9, 10**9))


def test_voxels_that_are_written_while_the_view_is_open_are_shown(
    tmp_path: Path, show: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of an array that is open for writing are not cached."""
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "10000000")
    CACHE.clear()
    roi = gpa.Roi((0,) * 3, (16,) * 3)
    array = gpa.create_zarr(tmp_path / "a.zarr", "raw", roi, (1, 1, 1), "uint8", chunks=(8,) * 3)
    array[:] = 1
    make_old(tmp_path / "a.zarr")
    view = show({"raw": array})
    assert np.unique(served(view, "raw", (0, 0, 0), (8, 8, 8))).tolist() == [1]
    array[:] = 2
    assert np.unique(served(view, "raw", (0, 0, 0), (8, 8, 8))).tolist() == [2]
    assert CACHE.nbytes == 0


@pytest.mark.usefixtures("one_process")
def test_blocks_that_a_job_writes_while_the_view_is_open_are_shown(
    tmp_path: Path, show: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of an unfinished array are not cached, and blocks that are not written yet are errors."""
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "10000000")
    CACHE.clear()
    job = {"chunks": (8,) * 3, "block": (8,) * 3, "progress": False, "num_workers": 1}
    raw = gpa.NumpyArrayConfig("raw", data=np.full((16, 8, 8), 3, np.uint8))
    assert gpa.materialize(raw, tmp_path / "out.zarr", roi=gpa.Roi((0,) * 3, (8,) * 3), **job).ok
    make_old(tmp_path / "out.zarr")
    view = show({"raw": gpa.ZarrArrayConfig("raw", tmp_path / "out.zarr", "raw")})
    assert np.unique(served(view, "raw", (0, 0, 0), (8, 8, 8))).tolist() == [3]
    with pytest.raises(urllib.error.HTTPError) as failed:
        served(view, "raw", (8, 0, 0), (16, 8, 8))
    failed.value.close()
    assert CACHE.nbytes == 0
    assert gpa.materialize(raw, tmp_path / "out.zarr", **job).ok
    assert np.unique(served(view, "raw", (8, 0, 0), (16, 8, 8))).tolist() == [3]


def labels() -> Any:
    data = np.arange(4 * 6 * 8, dtype=np.uint64).reshape(4, 6, 8) % 5
    return gpa.NumpyArrayConfig("labels", data=data, voxel_size=(40, 4, 4), offset=(20, 2, 1))


def test_part_of_the_channels_zoomed_out(show: Callable[..., View]) -> None:
    masks = gpa.BinarizeArrayConfig("masks", labels(), groupings=[("one", [1]), ("two", [2]), ("any", [])])
    view = show({"masks": masks})
    got = served(view, "masks", (1, 0, 0, 2), (3, 4, 3, 4), (1, 1, 2, 2))
    ids = (np.arange(4 * 6 * 8).reshape(4, 6, 8) % 5)[:, ::2, ::2][..., 2:]
    np.testing.assert_array_equal(got, np.stack([ids == 2, ids != 0]).astype(np.uint8))


def test_int64_that_are_not_labels_are_sent_as_floats(show: Callable[..., View]) -> None:
    data = np.array([[-3, 2**40]], np.int64)
    view = show({"wide": gpa.NumpyArrayConfig("wide", data=data, interpolatable=True)})
    assert view.viewer.state.layers["wide"].type == "image"
    got = served(view, "wide", (0, 0), (1, 2))
    assert (got.dtype, got.tolist()) == (np.float32, [[-3.0, 2.0**40]])


def test_nothing_is_served_without_the_token(show: Callable[..., View]) -> None:
    view = show({"labels": labels()})
    volume = view.viewer.state.layers["labels"].source[0].url.rsplit("/", 1)[1]
    server = view.url.split("/v/")[0]
    token = "0" * 40
    for path in (
        f"v/{token}/",
        f"neuroglancer/info/{token}.{volume.split('.')[1]}",
        f"neuroglancer/mesh/{token}.{token}/1",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server}/{path}", timeout=30)
        assert refused.value.code == 404
        refused.value.close()
    assert server.startswith("http://127.0.0.1:")
    assert view.viewer.allow_credentials is False


def test_there_are_no_meshes(show: Callable[..., View]) -> None:
    """A mesh would need every voxel of the array."""
    view = show({"labels": labels()})
    volume = view.viewer.state.layers["labels"].source[0].url.rsplit("/", 1)[1]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{view.url.split('/v/')[0]}/neuroglancer/mesh/{volume}/1", timeout=30)
    assert refused.value.code == 405
    refused.value.close()


@pytest.mark.parametrize(
    ("start", "stop", "factors"),
    [
        ((0, 0), (1, 1), (1, 1)),
        ((0, 0, 0), (5, 1, 1), (1, 1, 1)),
        ((0, 0, 0), (1, 1, 1), (0, 1, 1)),
        ((2, 0, 0), (2, 1, 1), (1, 1, 1)),
    ],
)
def test_chunks_that_do_not_exist_are_refused(
    start: tuple[int, ...], stop: tuple[int, ...], factors: tuple[int, ...], show: Callable[..., View]
) -> None:
    view = show({"labels": labels()})
    with pytest.raises(urllib.error.HTTPError) as refused:
        served(view, "labels", start, stop, factors)
    assert refused.value.code == 400
    refused.value.close()


def test_a_failing_request_is_logged_with_its_path_and_the_viewer_stays_up(
    tmp_path: Path, show: Callable[..., View], caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "a.zarr"
    made = gpa.create_zarr(store, "raw", gpa.Roi((0,) * 3, (128, 64, 64)), (1, 1, 1), "uint8", chunks=(64,) * 3)
    made[:] = np.random.default_rng(0).integers(1, 255, (128, 64, 64), dtype=np.uint8)
    chunk = store / "raw" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    view = show({"norm": gpa.IntensitiesArrayConfig("norm", gpa.ZarrArrayConfig("raw", store, "raw"), 0, 255)})
    with caplog.at_level(logging.ERROR):
        for z in (100, 101):
            with pytest.raises(urllib.error.HTTPError) as failed:
                served(view, "norm", (z, 0, 0), (z + 1, 64, 64))
            failed.value.close()
    (record,) = [record for record in caplog.records if record.name.startswith("gp_arrays.viewer")]
    assert record.getMessage().startswith("norm > raw: cannot read; found chunk 1/0/0 of ")
    assert served(view, "norm", (0, 0, 0), (64, 64, 64)).shape == (64, 64, 64)


def test_each_cause_of_failures_is_shown_in_the_browser_once(tmp_path: Path, show: Callable[..., View]) -> None:
    store = tmp_path / "a.zarr"
    array = gpa.create_zarr(store, "raw", gpa.Roi((0, 0), (192, 64)), (1, 1), "uint8", chunks=(64, 64))
    array[:] = 7
    for name in ("0/0", "1/0"):
        (store / "raw" / name).write_bytes(b"damaged")
    view = show({"raw": gpa.ZarrArrayConfig("raw", store, "raw")})
    assert dict(view.viewer.config_state.state.status_messages) == {}

    def fail(row: int) -> None:
        with pytest.raises(urllib.error.HTTPError) as failed:
            served(view, "raw", (64 * row, 0), (64 * row + 64, 64))
        failed.value.close()

    fail(0)
    fail(1)
    (message,) = view.viewer.config_state.state.status_messages.values()
    assert message.startswith("raw: cannot read; found chunk 0/0 of ")
    shutil.rmtree(store)
    fail(2)
    first, second = view.viewer.config_state.state.status_messages.values()
    assert first == message
    assert second.startswith("raw: the array has vanished since it was opened")
