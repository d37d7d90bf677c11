"""Stores without a tree file on the command line: ``info``, ``view``, ``verify`` and ``init``."""

from __future__ import annotations

import functools
import json
import threading
import tomllib
from http import server as http_server
from pathlib import Path

import fsspec
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.viewer.shown import View


def call(capsys, *args):
    code = run([str(arg) for arg in args])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def table_of(text: str) -> dict[str, dict[str, str]]:
    """The rows of a printed table by their first cell; each row is a dict with the names of the header."""
    header, *lines = text.splitlines()
    titles = [title for title in header.split("  ") if title]
    begins = [header.index(title.strip()) for title in titles]
    ends = [*begins[1:], None]
    rows = [[line[a:b].strip() for a, b in zip(begins, ends, strict=True)] for line in lines if ": " not in line]
    return {row[0]: dict(zip(map(str.strip, titles), row, strict=True)) for row in rows}


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """Grey values of two levels at 5.24 nm, ids at 4 nm, a mask of an image's dtype, an array without metadata."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.zarr/em/raw").mkdir(parents=True)
    for level, size in enumerate((5240, 10480)):
        roi = gpa.Roi((10480, 0, 0), (4 * 5240,) * 3)
        gpa.create_zarr("a.zarr", f"em/raw/s{level}", roi, (size,) * 3, "uint8", unit="pm", chunks=(2, 2, 2))[:] = 7
    levels = [
        {"path": f"s{i}", "coordinateTransformations": [{"type": "scale", "scale": [5.24 * 2**i] * 3}]}
        for i in range(2)
    ]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    (tmp_path / "a.zarr/em/raw/.zattrs").write_text(
        json.dumps({"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]})
    )
    ids = gpa.create_zarr("a.zarr", "labels/ids", gpa.Roi((0, 0), (8, 8)), (4, 4), "uint64", compressor="blosc")
    ids[:] = 2**63
    gpa.create_zarr("a.zarr", "segmentation", gpa.Roi((0, 0), (8, 8)), (4, 4), "uint16")[:] = 3
    gpa.create_zarr("a.zarr", "other/ids", gpa.Roi((0, 0), (8, 8)), (4, 4), "uint64")
    return tmp_path / "a.zarr"


def test_info_shows_a_table(store, capsys):
    code, out, err = call(capsys, "info", "a.zarr")
    assert (code, err) == (0, "")
    rows = table_of(out)
    assert list(rows) == ["segmentation", "labels/ids", "other/ids", "raw"]
    raw = rows["raw"]
    assert (raw["dataset"], raw["dtype"], raw["shape"], raw["axes"]) == ("em/raw", "uint8", "4,4,4", "z,y,x")
    assert (raw["voxel size"], raw["offset"]) == ("5240,5240,5240 pm", "10480,0,0 pm")
    assert (raw["chunks"], raw["codec"], raw["kind"], raw["levels"]) == ("2,2,2", "zstd", "image", "2")
    assert raw["flipped bits"] == "are errors"
    ids = rows["labels/ids"]
    assert (ids["voxel size"], ids["kind"], ids["levels"]) == ("4000,4000 pm", "labels", "1")
    assert (ids["codec"], ids["flipped bits"]) == ("blosc (zstd)", "go unnoticed")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a.zarr/em", ["raw"]),
        ("a.zarr/em/raw", ["raw"]),
        ("a.zarr/em/raw/s1", ["raw/s1"]),
        ("a.zarr/labels", ["ids"]),
        ("a.zarr/other/ids", ["ids"]),
    ],
)
def test_info_and_verify_accept_a_part_of_a_store(store, capsys, path, names):
    assert list(table_of(call(capsys, "info", path)[1])) == names
    assert call(capsys, "verify", path)[:2] == (0, "".join(f"{name}: ok\n" for name in names))


def test_init_writes_a_tree_that_can_be_loaded_at_once(store, capsys, tmp_path):
    code, out, err = call(capsys, "init", "a.zarr")
    assert (code, err) == (0, "")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "tree.toml").write_text(out)
    assert gpa.load_tree("folder/tree.toml")["raw"].array()[0, 0, 0] == 7
    (tmp_path / "tree.toml").write_text(out)
    written = tomllib.loads(out)
    assert written["unit"] == "pm"
    assert {name: entry["dataset"] for name, entry in written.items() if name != "unit"} == {
        "segmentation": "segmentation",
        "labels/ids": "labels/ids",
        "other/ids": "other/ids",
        "raw": "em/raw",
    }
    assert {entry["file_name"] for name, entry in written.items() if name != "unit"} == {str(store)}
    assert "# a pyramid of 2 levels; this is the finest" in out
    code, out, _ = call(capsys, "info", "tree.toml")
    assert code == 0
    assert "raw: ZarrArrayConfig, uint8[4, 4, 4] z,y,x, roi [10480:31440, 0:20960, 0:20960]" in out
    assert call(capsys, "verify", "tree.toml")[0] == 0
    tree = gpa.load_tree("tree.toml")
    assert tree["raw"].array()[0, 0, 0] == 7
    # a mask of small integers, named as such
    assert not tree["segmentation"].array().interpolatable
    assert tree["raw"].array().interpolatable


@pytest.mark.parametrize(
    ("voxel_size", "unit", "expected"), [(4000, "nm", "um"), (40, "nm", "nm"), (5240, "pm", "pm"), (2, "mm", "mm")]
)
def test_init_chooses_the_largest_unit_in_which_all_lengths_are_integers(tmp_path, capsys, voxel_size, unit, expected):
    roi = gpa.Roi((0, 0), (4 * voxel_size,) * 2)
    gpa.create_zarr(tmp_path / "a.zarr", "raw", roi, (voxel_size,) * 2, "uint8", unit=unit)
    code, out, _ = call(capsys, "init", tmp_path / "a.zarr")
    assert (code, tomllib.loads(out)["unit"]) == (0, expected)


def test_arrays_that_cannot_be_opened_are_named_and_left_out(store, capsys):
    (store / "segmentation/.zarray").write_text("{")
    code, out, _ = call(capsys, "info", "a.zarr")
    assert code == 1
    assert list(table_of(out)) == ["labels/ids", "other/ids", "raw"]
    assert "segmentation: error: metadata is not JSON" in out
    code, out, err = call(capsys, "init", "a.zarr")
    assert code == 0
    assert err.startswith("segmentation: left out: metadata is not JSON")
    assert "# segmentation cannot be opened: metadata is not JSON" in out
    assert list(tomllib.loads(out)) == ["unit", "labels/ids", "other/ids", "raw"]


def test_info_lists_the_arrays_of_hdf5_and_tiff_files(tmp_path, capsys, monkeypatch):
    h5py, tifffile = pytest.importorskip("h5py"), pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    with h5py.File("cremi.hdf", "w") as file:
        for name, dtype in (("volumes/raw", "uint8"), ("volumes/labels/neuron_ids", "uint64")):
            file.create_dataset(name, data=np.zeros((3, 4, 5), dtype), chunks=(1, 4, 5), compression="gzip")
            file[name].attrs["resolution"] = (40.0, 4.0, 4.0)
        file["annotations/locations"] = np.zeros((9, 3))
        file["annotations/ids"] = np.zeros(9, "uint64")
    rows = table_of(call(capsys, "info", "cremi.hdf")[1])
    assert {name: row["kind"] for name, row in rows.items()} == {"neuron_ids": "labels", "raw": "image"}
    assert (rows["raw"]["voxel size"], rows["raw"]["codec"]) == ("40,4,4 nm", "gzip")
    assert list(table_of(call(capsys, "info", "cremi.hdf/volumes/labels")[1])) == ["neuron_ids"]
    (tmp_path / "tree.toml").write_text(call(capsys, "init", "cremi.hdf")[1])
    assert call(capsys, "verify", "tree.toml")[:2] == (0, "neuron_ids: ok\nraw: ok\n")
    for number in range(2):
        tifffile.imwrite(f"slice{number}.tif", np.zeros((4, 5), "uint8"))
    assert table_of(call(capsys, "info", "slice0.tif")[1])["slice0"]["shape"] == "4,5"
    assert table_of(call(capsys, "info", f"{tmp_path}/*.tif")[1])[tmp_path.name]["shape"] == "2,4,5"


@pytest.mark.parametrize("command", ["info", "init", "verify", "view"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing.zarr", "error: there is no such file or folder; found nothing.zarr; allowed: a store"),
        ("a.zarr/lables", "error: no such dataset; found 'lables' in a.zarr; allowed: labels/ids"),
        ("notes.txt", "error: not a store that is read; found notes.txt; allowed: a store"),
        ("empty", "error: the store holds no arrays; found empty; allowed: a store"),
    ],
)
def test_errors_name_the_kinds_of_stores_that_are_read(store, tmp_path, capsys, path, message, command):
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    code, out, err = call(capsys, command, path)
    assert (code, out) == (1, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_view_shows_a_store(store, capsys, monkeypatch):
    shown = []

    def serve(view):
        shown.append({name: str(array.unit) for name, array in view.arrays.items()})
        view.close()

    monkeypatch.setattr(View, "serve", serve)
    assert call(capsys, "view", "a.zarr/em/raw")[0] == 0
    assert shown == [{"raw": "pm"}]


def test_links_to_folders_above_are_not_followed(store, capsys):
    (store / "labels/up").symlink_to("..")
    (store / "other/itself").symlink_to(".")
    listed = [row["dataset"] for row in table_of(call(capsys, "info", "a.zarr")[1]).values()]
    assert sorted(listed) == ["em/raw", "labels/ids", "other/ids", "segmentation"]


@pytest.fixture
def http(store):
    """The URL of the folder of the store. A web server does not list its files."""
    handler = functools.partial(QuietHandler, directory=str(store.parent))
    with http_server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http_server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def memory(store):
    """The same store in memory, which is not a folder but lists its files."""
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(store), "/bucket/a.zarr", recursive=True)
    yield "memory://bucket"
    filesystem.rm("/bucket", recursive=True)


def test_info_lists_the_arrays_of_a_store_at_a_url(memory, capsys, tmp_path):
    rows = table_of(call(capsys, "info", f"{memory}/a.zarr")[1])
    assert {name: row["dataset"] for name, row in rows.items()} == {
        "segmentation": "segmentation",
        "labels/ids": "labels/ids",
        "other/ids": "other/ids",
        "raw": "em/raw",
    }
    assert list(table_of(call(capsys, "info", f"{memory}/a.zarr/em")[1])) == ["raw"]
    (tmp_path / "tree.toml").write_text(call(capsys, "init", f"{memory}/a.zarr")[1])
    assert gpa.load_tree("tree.toml")["raw"].array()[0, 0, 0] == 7
    code, _, err = call(capsys, "info", f"{memory}/nothing.zarr")
    assert (code, err[:31]) == (1, "error: the store holds no array")


@pytest.mark.parametrize("left", [["0/0"], ["0.1", ".zattrs"], ["c/0/1"], [".zattrs"]])
def test_chunks_without_an_array_at_a_url_are_replaced_only_with_overwrite(memory, left):
    place = f"{memory}/a.zarr/new"
    for key in left:
        fsspec.filesystem("memory").pipe_file(f"{place}/{key}".removeprefix("memory:/"), b"{}")
    arguments = (f"{memory}/a.zarr", "new", gpa.Roi((0, 0), (4, 4)), (1, 1), "uint8")
    with pytest.raises(gpa.StoreError, match="chunks without an array.*a.zarr/new.*overwrite=True"):
        gpa.create_zarr(*arguments)
    array = gpa.create_zarr(*arguments, overwrite=True)
    assert not array[:].any()
    fsspec.filesystem("memory").pipe_file("/bucket/a.zarr/notes/read.me", b"keep")
    with pytest.raises(gpa.StoreError, match="something that is not a Zarr array"):
        gpa.create_zarr(f"{memory}/a.zarr", "notes", *arguments[2:], overwrite=True)
    assert fsspec.filesystem("memory").cat("/bucket/a.zarr/notes/read.me") == b"keep"


def test_info_of_a_remote_volume_sends_one_request(http, tmp_path, capsys, monkeypatch):
    scale = {"key": "8_8_8", "size": [4, 3, 2], "resolution": [8, 8, 8], "encoding": "raw"}
    scale |= {"chunk_sizes": [[4, 4, 4]], "voxel_offset": [0, 0, 0]}
    (tmp_path / "volume").mkdir()
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    (tmp_path / "volume" / "info").write_text(json.dumps(info))
    asked = []
    monkeypatch.setattr(QuietHandler, "log_message", lambda handler, *_: asked.append(handler.path))
    code, out, _ = call(capsys, "info", f"{http}/volume")
    assert (code, list(table_of(out))) == (0, ["volume"])
    assert asked.count("/volume/info") == 1


def test_a_web_server_that_lists_no_files_needs_the_path_of_a_dataset(http, store, capsys):
    assert table_of(call(capsys, "info", f"{http}/a.zarr/em/raw")[1])["raw"]["levels"] == "2"
    assert list(table_of(call(capsys, "info", f"{http}/a.zarr/other/ids")[1])) == ["ids"]
    code, _, err = call(capsys, "info", f"{http}/a.zarr")
    assert (code, "allowed: URL/DATASET" in err) == (1, True)
    documents = {
        str(path.relative_to(store)): json.loads(path.read_text())
        for path in store.rglob(".z*")
        if path.name != ".zmetadata"
    }
    (store / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": documents}))
    assert set(table_of(call(capsys, "info", f"{http}/a.zarr")[1])) == {
        "segmentation",
        "labels/ids",
        "other/ids",
        "raw",
    }


def test_info_and_init_of_the_fib25_sample(fib25, capsys, tmp_path):
    rows = table_of(call(capsys, "info", fib25)[1])
    assert {name: row["kind"] for name, row in rows.items()} == {
        "raw": "image",
        "neurons": "labels",
        "supervoxels": "labels",
    }
    assert rows["neurons"]["voxel size"] == "10,10,10 nm"
    (tmp_path / "tree.toml").write_text(call(capsys, "init", fib25)[1])
    assert call(capsys, "verify", tmp_path / "tree.toml")[:2] == (0, "raw: ok\nneurons: ok\nsupervoxels: ok\n")
