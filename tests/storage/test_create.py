"""Arrays are created completely or not at all, and other programs read them."""

import contextlib
import ctypes
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.storage.access import files
from gp_arrays.storage.chunked import create as module
from gp_arrays.storage.chunked.engine import FORMATS
from gp_arrays.storage.metadata.documents import datasets

COMPRESSORS = ("zstd", "gzip", "blosc", "none")
ROI = gpa.Roi((0, 0), (64, 64))


def create(root, dataset="raw", **fields):
    return gpa.create_zarr(root, dataset, **{"roi": ROI, "voxel_size": (1, 1), "dtype": "uint8", **fields})


def tree_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in Path(folder).rglob("*")}


def frames_with_checksum(folder):
    """For each zstd frame in a folder: True if it has a checksum, by its header (RFC 8878, 3.1.1.1)."""
    frames = [p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name[0] not in ".z"]
    assert all(frame[:4] == b"\x28\xb5\x2f\xfd" for frame in frames)
    return [bool(frame[4] & 0b100) for frame in frames]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_frames_carry_their_checksum_also_after_opening_again(tmp_path, zarr_format):
    data = np.random.default_rng(0).integers(0, 9, (64, 64), dtype=np.uint8)
    create(tmp_path, chunks=(32, 32), zarr_format=zarr_format)[:32] = data[:32]
    gpa.open_zarr(tmp_path, "raw", mode="r+")[32:] = data[32:]
    folder = tmp_path / "raw"
    assert frames_with_checksum(folder) == [True] * 4
    if zarr_format == 2:
        assert json.loads((folder / ".zarray").read_text())["compressor"] == {"id": "zstd", "level": 3}
    gpa.open_zarr(tmp_path, "raw", mode="r+").add_metadata({"note": 1})
    if zarr_format == 2:
        assert json.loads((folder / ".zarray").read_text())["compressor"] == {"id": "zstd", "level": 3}
    chunk = folder / ("0/1" if zarr_format == 2 else "c/0/1")
    intact = chunk.read_bytes()
    array = gpa.open_zarr(tmp_path, "raw")
    for bit in range(0, 8 * len(intact), 61):
        flipped = bytearray(intact)
        flipped[bit // 8] ^= 1 << bit % 8
        chunk.write_bytes(flipped)
        try:
            assert np.array_equal(array[:32, 32:], data[:32, 32:])  # some bits mean nothing
        except gpa.StoreError as error:
            assert "chunk" in str(error)  # noqa: PT017
    chunk.write_bytes(intact)
    assert np.array_equal(array[:], data)


@pytest.mark.parametrize(
    ("zarr_format", "compressor", "checked"),
    [
        (2, "zstd", True),
        (2, "gzip", True),
        (2, "blosc", False),
        (2, "none", False),
        *([(3, name, True) for name in ("zstd", "gzip", "blosc", "none")] if 3 in FORMATS else []),
    ],
)
def test_flipped_bits_are_errors_or_info_tells(tmp_path, zarr_format, compressor, checked):
    data = np.random.default_rng(0).integers(0, 9, (16, 16), dtype=np.uint8)
    roi = gpa.Roi((0, 0), (16, 16))
    shards = {"shards": (16, 16), "chunks": (8, 16)} if zarr_format == 3 else {}
    create(tmp_path, roi=roi, zarr_format=zarr_format, compressor=compressor, **shards)[:] = data
    config = gpa.ZarrArrayConfig("raw", tmp_path, "raw")
    assert ("no checksum" in gpa.explain(config)) == (not checked)
    [chunk] = (path for path in (tmp_path / "raw").rglob("*") if path.is_file() and path.name[0] not in ".z")
    intact, wrong = chunk.read_bytes(), 0
    for bit in range(0, 8 * len(intact), 67):
        flipped = bytearray(intact)
        flipped[bit // 8] ^= 1 << bit % 8
        chunk.write_bytes(flipped)
        with contextlib.suppress(gpa.StoreError):
            wrong += not np.array_equal(config.array()[:], data)
    assert (wrong == 0) == checked


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_tensorstore_opens_it(tmp_path, zarr_format):
    pytest.importorskip("tensorstore")
    data = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    for name in COMPRESSORS:
        create(tmp_path, name, dtype="uint16", zarr_format=zarr_format, chunks=(32, 32), compressor=name)[:] = data
    driver = "zarr" if zarr_format == 2 else "zarr3"
    code = (
        "import sys, tensorstore as ts\n"
        "for path in sys.argv[2:]:\n"
        "    spec = {'driver': sys.argv[1], 'kvstore': {'driver': 'file', 'path': path}}\n"
        "    print(ts.open(spec).result().read().result().tobytes().hex())\n"
    )
    paths = [f"{tmp_path}/{name}/" for name in COMPRESSORS]
    command = [sys.executable, "-c", code, driver, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.split() == [data.tobytes().hex()] * 4


def test_it_writes_the_same_metadata_as_materialize(tmp_path, one_process):
    array = create(tmp_path, num_channels=2, channel_names=["a", "b"], unit="um")
    array[:] = np.ones((2, 64, 64), np.uint8)
    gpa.materialize(array.config, tmp_path / "out.zarr", "raw", num_workers=1, unit="um", progress=False)
    one, other = (json.loads((f / "raw" / ".zattrs").read_text()) for f in (tmp_path, tmp_path / "out.zarr"))
    assert one["_ARRAY_DIMENSIONS"] == ["c", "y", "x"]
    assert one["dimension_units"] == ["", "1 um", "1 um"]
    assert {key: value for key, value in other.items() if key != "gp_arrays"} == one


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "w"},
        {"mode": None},
        {"attributes": {"a": object()}},
        {"attributes": {1: 2}},
        {"attributes": [1]},
        {"fill_value": 256},
        {"fill_value": -1},
        {"fill_value": "NaN"},
        {"fill_value": [1]},
        {"channel_names": [1, 2]},
        {"channel_names": ["a", "a"]},
        {"channel_names": "ab"},
        {"channel_names": 3},
        {"num_channels": 0},
        {"num_channels": "two"},
        {"write_size": (8,)},
        {"write_size": (8, 8, 8)},
        {"write_size": 8},
        {"chunks": (8, 0)},
        {"compressor": "zip"},
        {"compressor": None},
        {"zarr_format": 4},
        {"zarr_format": "2"},
        {"dtype": "complex64"},
        {"unit": "mile"},
        {"unit": 3},
        {"axes": "yx"},
        {"axes": 3},
        {"voxel_size": (3, 1)},
        {"voxel_size": None},
        {"roi": None},
        {"dataset": "raw/../other"},
        {"dataset": "a//b"},
        {"dataset": "nul\0"},
        {"dataset": None},
        {"dataset": 3},
        {"path": None},
        {"path": 3},
        {"path": ""},
        {"path": "unknown://bucket/a.zarr"},
        {"path": "https://host/a.zarr?token=x"},
        {"path": "s3://bucket/a.zarr", "storage_options": {"secret": "x"}},
    ],
)
def test_bad_arguments_are_refused_before_anything_is_changed(tmp_path, monkeypatch, fields):
    monkeypatch.chdir(tmp_path)
    create(tmp_path / "a.zarr")[:] = 3
    before = tree_of(tmp_path)
    fields = {"path": "a.zarr", "dataset": "raw", "roi": ROI, "voxel_size": (1, 1), "dtype": "uint8", **fields}
    with pytest.raises(gpa.GpArraysError) as caught:
        gpa.create_zarr(**fields, overwrite=True)
    assert "\n" not in str(caught.value)
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("url", ["s3://bucket/o.zarr", "memory://o.zarr"])
def test_states_tables_and_trees_at_urls_are_refused(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    config = gpa.NumpyArrayConfig("a", np.ones((4, 4), np.uint8))
    with pytest.raises(gpa.StoreError, match="state="):
        gpa.materialize(config, url, "a", num_workers=1)
    with pytest.raises(gpa.StoreError, match="local disk"):
        gpa.materialize(config, "o.zarr", "a", num_workers=1, state=url)
    with pytest.raises(gpa.StoreError, match="local disk"):
        gpa.dense_table(config, f"{url}/table.npy")
    with pytest.raises(gpa.StoreError, match="local disk"):
        gpa.save_tree([gpa.DummyArrayConfig("a")], f"{url}/tree.toml")
    assert list(tmp_path.iterdir()) == []


def test_storage_options_are_not_ignored(tmp_path):
    create(tmp_path)
    for options in (None, {}):
        assert gpa.open_zarr(tmp_path, "raw", storage_options=options).shape == (64, 64)
    with pytest.raises(gpa.StoreError, match="storage_options; found anon"):
        gpa.open_zarr(tmp_path, "raw", storage_options={"anon": True})


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("call", ["mkdir", "rename", "replace", "open"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, PermissionError])
def test_interrupted_at_any_moment(tmp_path, monkeypatch, call, error, swaps):
    """Either the old array is there with its voxels, or the new one; a new store is complete or absent."""
    root = tmp_path / "a.zarr"
    if not swaps:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    real = getattr(Path, call)
    for at in itertools.count():
        create(root, "g/raw", overwrite=True)[:] = 3
        count = itertools.count()

        def stop(*arguments, when=at, count=count, **options):
            if next(count) == when:
                raise error("stopped")
            return real(*arguments, **options)

        for target in (root, tmp_path / "new.zarr"):
            with monkeypatch.context() as patch:
                patch.setattr(Path, call, stop)
                with contextlib.suppress(KeyboardInterrupt, gpa.StoreError):
                    create(target, "g/raw", overwrite=True, dtype="uint16")
        array = gpa.open_zarr(root, "g/raw")
        assert (array.dtype, int(array[0, 0])) in (("uint8", 3), ("uint16", 0))
        assert [p.name for p in (root / "g").iterdir() if p.is_dir()] == ["raw"]
        if (tmp_path / "new.zarr").exists():
            assert gpa.open_zarr(tmp_path / "new.zarr", "g/raw").dtype == "uint16"
            module.shutil.rmtree(tmp_path / "new.zarr")
        if next(count) <= at:
            break  # no call was interrupted: there is no later moment
    assert at > 0


def test_killed_while_it_replaces(tmp_path):
    create(tmp_path)[:] = 3
    code = (
        "import sys, gp_arrays as gpa\n"
        "while True:\n"
        "    a = gpa.create_zarr(sys.argv[1], 'raw', gpa.Roi((0, 0), (64, 64)), (1, 1), 'uint8', overwrite=True)\n"
        "    a[:] = 3; print('made', flush=True)"
    )
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as child:
            for _ in range(3):
                child.stdout.readline()
            os.kill(child.pid, signal.SIGKILL)
        assert gpa.open_zarr(tmp_path, "raw")[0, 0] in (0, 3)
    assert list(datasets(tmp_path)) == ["raw"]
    create(tmp_path, overwrite=True)[:] = 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [".zgroup", "raw"]


def test_a_folder_that_cannot_be_created_leaves_no_files(tmp_path):
    (tmp_path / "file").write_text("x")
    before = tree_of(tmp_path)
    for path, dataset in ((tmp_path / "file", "raw"), (tmp_path / "file/a.zarr", "raw"), (tmp_path / "new", "n" * 300)):
        with pytest.raises(gpa.StoreError):
            create(path, f"g/{dataset}")
        assert tree_of(tmp_path) == before


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_replaced_files_keep_their_mode_and_links(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.replace_file(tmp_path / "new", "a")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o666 & ~mask
    (tmp_path / "new").chmod(0o640)
    (tmp_path / "link").symlink_to("new")
    files.replace_file(tmp_path / "link", "b")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new").read_text() == "b"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "new"]


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("uint8", 7),
        ("int64", -(2**63)),
        ("uint64", 2**64 - 1),
        ("bool", True),
        ("float32", 0.5),
        ("float64", np.nan),
        ("float16", -np.inf),
    ],
)
def test_fill_values(tmp_path, dtype, fill, zarr_format):
    array = create(tmp_path, dtype=dtype, fill_value=fill, zarr_format=zarr_format)
    np.testing.assert_array_equal(array[:2, :2], np.full((2, 2), fill, dtype))
