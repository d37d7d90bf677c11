"""Metadata documents: arrays and groups are found, and an error about a missing one suggests similar names."""

import json

import pytest

import gp_arrays as gpa
from gp_arrays.storage.access import chunk_files
from gp_arrays.storage.chunked.engine import FORMATS
from gp_arrays.storage.metadata.documents import ArrayNode, ancestors, datasets, find_node, read_node

ROI = gpa.Roi((0, 0), (8, 8))


def create(root, dataset, **fields):
    return gpa.create_zarr(root, dataset, ROI, (1, 1), "uint8", **fields)


def test_datasets_are_listed_nearest_first(tmp_path):
    for dataset in ("labels/neurons", "raw", "labels/deep/er"):
        create(tmp_path / "a.zarr", dataset)
    assert list(datasets(tmp_path / "a.zarr")) == ["raw", "labels/neurons", "labels/deep/er"]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_nodes(tmp_path, zarr_format):
    root = tmp_path / "a.zarr"
    create(root, "g/x", zarr_format=zarr_format, chunks=(4, 8))
    node = read_node(root, "g/x")
    assert (node.shape, node.chunks, str(node.dtype), node.format) == ((8, 8), (4, 8), "uint8", zarr_format)
    assert node.attrs["voxel_size"] == [1, 1]
    assert not isinstance(read_node(root, "g"), ArrayNode)
    assert read_node(root, "none") is None
    assert [(group.path, below) for group, below in ancestors(root, "g/x")] == [("g", "x"), ("", "g/x")]


def test_each_document_is_read_once_when_an_array_is_opened(tmp_path, monkeypatch):
    create(tmp_path / "a.zarr", "g/x/s0")
    config = gpa.ZarrArrayConfig("x", tmp_path / "a.zarr", "g/x")
    paths = []
    read = chunk_files.read_existing_file
    monkeypatch.setattr(
        chunk_files, "read_existing_file", lambda path, *part: (paths.append(path), read(path, *part))[1]
    )
    config.array()
    documents = {f"g/x/s0/{name}" for name in (".zarray", ".zattrs")}
    assert documents < {path.relative_to(tmp_path / "a.zarr").as_posix() for path in paths}
    assert len(paths) == len(set(paths))
    (tmp_path / "a.zarr/g/x/s0/.zarray").write_text("changed")
    with pytest.raises(gpa.StoreError, match="not JSON"):
        config.array()


@pytest.mark.skipif(3 not in FORMATS, reason="zarr 2 has no shards")
def test_chunks_within_shards(tmp_path):
    root = tmp_path / "a.zarr"
    create(root, "x", zarr_format=3, chunks=(2, 2), shards=(4, 8))
    node = read_node(root, "x")
    assert (node.chunks, node.shards) == ((2, 2), (4, 8))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("nuerons", "no such dataset; found 'nuerons' in {root}; allowed: neurons"),
        ("zzz", "no such dataset; found 'zzz' in {root}; allowed: neurons, raw"),
    ],
)
def test_missing_datasets_name_the_nearest(tmp_path, dataset, message):
    root = tmp_path / "a.zarr"
    create(root, "neurons")
    create(root, "raw")
    with pytest.raises(gpa.StoreError) as caught:
        find_node(root, dataset)
    assert str(caught.value) == message.format(root=root)


def test_missing_stores(tmp_path):
    create(tmp_path / "volume.zarr", "raw")
    with pytest.raises(gpa.StoreError, match="no such store; found .*volumes.zarr; allowed: .* has volume.zarr"):
        find_node(tmp_path / "volumes.zarr", "raw")
    (tmp_path / "file.zarr").write_text("")
    with pytest.raises(gpa.StoreError, match="is a file; allowed: a folder"):
        find_node(tmp_path / "file.zarr", "raw")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"shape": [4], "shape": [8]}', '{"shape": [4]}', '{"shape": [4], "chunks": [4], "dtype": "|V8"}'],
)
def test_malformed_documents_are_named(tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".zarray").write_text(text)
    with pytest.raises(gpa.StoreError, match=str(tmp_path)):
        read_node(tmp_path, "a")


def test_malformed_v3(tmp_path):
    (tmp_path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "array", "shape": [4]}))
    with pytest.raises(gpa.StoreError, match="malformed"):
        read_node(tmp_path, "")


def test_groups_are_not_taken_for_arrays(tmp_path):
    root = tmp_path / "a.zarr"
    create(root, "g/x")
    with pytest.raises(gpa.StoreError, match="a: a group, not an array; found 'g' in .*; allowed: g/x"):
        gpa.ZarrArrayConfig("a", root, "g").array()


def test_names_that_no_file_can_have(tmp_path):
    create(tmp_path / "a.zarr", "raw")
    for path, dataset in (
        (tmp_path / ("n" * 300), "raw"),
        (tmp_path / "a.zarr", "n" * 300),
        (tmp_path / "a.zarr", "\0"),
    ):
        good, reason = gpa.ZarrArrayConfig("a", path, dataset).verify()
        assert not good
        assert reason.startswith(("a: cannot read the store; found", "a: cannot read metadata; found"))


def test_urls_are_not_taken_for_folders(tmp_path):
    remote = gpa.ZarrArrayConfig("a", "s3://bucket/a.zarr", "raw")
    assert remote.located(tmp_path) == remote
    crop = gpa.CellMapArrayConfig("a", "s3://bucket/a.zarr", "crop1", ["mito"])
    assert crop.located(tmp_path) == crop
