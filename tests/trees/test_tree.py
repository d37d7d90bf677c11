"""Trees as TOML, YAML and JSON: a saved tree loads unchanged, and errors name the path."""

import json
import os

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.trees.document import tree_document
from gp_arrays.trees.tree import parse_tree

DUMMY = {"__type__": "DummyArrayConfig"}


def tree():
    raw = gpa.ZarrArrayConfig(
        "raw", file_name="/data/a.zarr", dataset="raw", snap_to_grid=(10, 10), voxel_size=["5.24 nm", 4]
    )
    labels = gpa.ZarrArrayConfig("labels", file_name="/data/a.zarr", dataset="labels", axes=("y", "x"), scale=1)
    masks = gpa.BinarizeArrayConfig("masks", labels, [("big", [2**64 - 1, 2]), ("any", [])])
    part = gpa.CropArrayConfig("part", masks, roi=[[0, "8 nm"], [100, 80]])
    norm = gpa.IntensitiesArrayConfig("norm", raw, min=-0.5, max=255, clip=True)
    return gpa.ConcatArrayConfig("all", ["p", "n"], {"n": norm, "p": part}, default_config=gpa.DummyArrayConfig("d"))


@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".yml", ".json"])
def test_round_trip(tmp_path, suffix):
    config = tree()
    path = tmp_path / f"tree{suffix}"
    config.to_toml(path)
    again = gpa.ConcatArrayConfig.from_toml(path)
    assert again == config
    assert hash(again) == hash(config)
    assert list(gpa.load_tree(path)) == ["raw", "norm", "labels", "masks", "part", "d", "all"]


def test_save_tree_keeps_all_roots(tmp_path):
    configs = {"a": gpa.DummyArrayConfig("a"), "t": gpa.ThresholdArrayConfig("t", gpa.DummyArrayConfig("b"), 1)}
    gpa.save_tree(configs, tmp_path / "t.toml")
    assert set(gpa.load_tree(tmp_path / "t.toml")) == {"a", "b", "t"}


def test_a_deep_chain_of_references(tmp_path):
    config = gpa.DummyArrayConfig("d")
    for i in range(1500):
        config = gpa.ThresholdArrayConfig(f"t{i}", config, threshold=i)
    document = tree_document([config])
    backwards = dict(reversed(document.items()))
    assert parse_tree(backwards)["t1499"] == config


def test_thirty_levels_of_sharing_stay_small(tmp_path):
    config = gpa.DummyArrayConfig("d")
    for i in range(30):
        config = gpa.SumArrayConfig(f"s{i}", [config, config], dtype="float32")
    config.to_toml(tmp_path / "s.toml")
    assert len(gpa.load_tree(tmp_path / "s.toml")) == 31
    assert gpa.SumArrayConfig.from_toml(tmp_path / "s.toml") == config


def test_dacapos_documents_load_as_they_are(tmp_path):
    document = {
        "__type__": "BinarizeArrayConfig",
        "name": "masks",
        "source_array_config": {
            "__type__": "ZarrArrayConfig",
            "name": "labels",
            "file_name": "/a.zarr",
            "dataset": "l",
            "snap_to_grid": None,
            "_axes": ["z", "y", "x"],
        },
        "groupings": [["axon", [115, 182]], ["any", []]],
        "background": 0,
    }
    path = tmp_path / "one.yaml"
    path.write_text(json.dumps(document))
    loaded = gpa.BinarizeArrayConfig.from_toml(path)
    labels = gpa.ZarrArrayConfig("labels", file_name="/a.zarr", dataset="l", axes=("z", "y", "x"))
    assert loaded == gpa.BinarizeArrayConfig("masks", labels, [("axon", [115, 182]), ("any", [])])


def test_nested_entries_may_go_without_a_name():
    loaded = parse_tree({"t": {"__type__": "ThresholdArrayConfig", "threshold": 1, "source_array_config": DUMMY}})
    assert loaded["t"].source_array_config.name == "t.source_array_config"


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "t.toml"
    path.write_text('[raw]\n__type__ = "ZarrArrayConfig"\nfile_name = "../a.zarr"\ndataset = "raw"\n')
    monkeypatch.chdir(tmp_path)
    loaded = gpa.load_tree("sub/t.toml")["raw"]
    assert loaded.file_name.is_absolute()
    assert os.path.normpath(loaded.file_name) == str(tmp_path / "a.zarr")


def test_the_unit_of_a_file(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('unit = "pm"\n[d]\n__type__ = "DummyArrayConfig"\n')
    config = gpa.load_tree(path)["d"]
    assert config.array().unit == "pm"
    with pytest.raises(gpa.TreeError, match="the parts of a tree have different units"):
        config.array(unit="nm")
    other = gpa.load_tree(path)["d"]
    gpa.save_tree([config], tmp_path / "u.toml")
    assert gpa.load_tree(tmp_path / "u.toml")["d"] == other
    assert config != gpa.DummyArrayConfig("d")


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], "a tree is a table of arrays; found list"),
        ({"a": 5}, "a: not an array config; found 5"),
        ({"a": {}}, "a: its type is not given by __type__"),
        (
            {"a": {"__type__": "DumyArrayConfig"}},
            "a: unknown array type; found 'DumyArrayConfig'; allowed: DummyArrayConfig",
        ),
        ({"a": {**DUMMY, "nmae": "a"}}, "a: DummyArrayConfig has no field 'nmae'; allowed: name"),
        ({"a": {**DUMMY, "name": "b"}}, "a: an entry's name is its key; found name 'b'; allowed: 'a'"),
        ({"a": {"__type__": "OnesArrayConfig"}}, "a: OnesArrayConfig lacks fields; found missing: source_array_config"),
        (
            {"raw": DUMMY, "t": {"__type__": "OnesArrayConfig", "source_array_config": "rwa"}},
            "t > source_array_config: no array of that name; found 'rwa'; allowed: raw",
        ),
        (
            {"t": {"__type__": "SumArrayConfig", "source_array_configs": [DUMMY, {"__type__": "Nope"}]}},
            "t > source_array_configs > 1: unknown array type",
        ),
        (
            {"t": {"__type__": "SumArrayConfig", "source_array_configs": [{**DUMMY, "x": 1}]}},
            "t > source_array_configs > 0: DummyArrayConfig has no field 'x'",
        ),
        (
            {"t": {"__type__": "ThresholdArrayConfig", "source_array_config": DUMMY, "threshold": "a"}},
            "t: threshold: not a number; found 'a'",
        ),
        ({"unit": "miles", "d": DUMMY}, "not a unit of length; found 'miles'"),
        (
            {"t": {"__type__": "ZarrArrayConfig", "file_name": "a", "dataset": "b", "axes": ["x"], "_axes": ["x"]}},
            "t: axes is given twice",
        ),
    ],
)
def test_errors_say_where(document, error):
    with pytest.raises((gpa.TreeError, gpa.ConfigError)) as caught:
        parse_tree(document)
    assert str(caught.value).startswith(error)


def test_cycles_are_errors():
    ones = {"__type__": "OnesArrayConfig"}
    with pytest.raises(gpa.TreeError, match="an array is computed from itself; found (a > b > a|b > a > b)$"):
        parse_tree({"a": {**ones, "source_array_config": "b"}, "b": {**ones, "source_array_config": "a"}})
    with pytest.raises(gpa.TreeError, match="found a > a"):
        parse_tree({"a": {**ones, "source_array_config": "a"}})


def test_loading_runs_no_code(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("a: !!python/object/apply:os.system ['touch hacked']\n")
    with pytest.raises(gpa.TreeError, match="not a YAML document"):
        gpa.load_tree(path)


@pytest.mark.parametrize(
    ("name", "text", "error", "match"),
    [
        ("t.toml", "a = = 1", gpa.TreeError, "not a TOML document"),
        ("t.json", "{", gpa.TreeError, "not a JSON document"),
        ("t.txt", "", gpa.TreeError, "not a tree file"),
        ("t.toml", None, gpa.StoreError, "cannot read the tree file"),
    ],
)
def test_files_that_are_none(tmp_path, name, text, error, match):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=match):
        gpa.load_tree(tmp_path / name)


def test_voxels_in_memory_are_not_written(tmp_path):
    config = gpa.ThresholdArrayConfig("t", gpa.NumpyArrayConfig("n", data=np.zeros((2, 2))), 1)
    with pytest.raises(gpa.ConfigError, match="n > data: voxels in memory cannot be written"):
        config.to_toml(tmp_path / "t.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_file_stays_as_it_was_where_writing_fails(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text("before")
    a, b = gpa.DummyArrayConfig("a"), gpa.OnesArrayConfig("a", gpa.DummyArrayConfig("b"))
    with pytest.raises(gpa.TreeError, match="two different arrays are named 'a'"):
        gpa.save_tree([a, b], path)
    assert path.read_text() == "before"
    with pytest.raises(gpa.StoreError, match="cannot write"):
        gpa.save_tree([a], tmp_path / "none" / "t.toml")


def test_from_toml_wants_one_root_of_its_type(tmp_path):
    gpa.save_tree([gpa.DummyArrayConfig("a"), gpa.DummyArrayConfig("b")], tmp_path / "t.toml")
    with pytest.raises(gpa.TreeError, match="does not hold one tree of type DummyArrayConfig"):
        gpa.DummyArrayConfig.from_toml(tmp_path / "t.toml")


def test_relative_paths_lead_to_the_same_store_from_wherever_the_file_is(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    raw = gpa.ZarrArrayConfig("raw", "a.zarr", "raw")
    both = gpa.SumArrayConfig("both", [raw, gpa.OnesArrayConfig("ones", raw)])
    for file in ("here.toml", "sub/there.json"):
        both.to_toml(file)
        assert gpa.load_tree(file)["raw"].file_name == tmp_path / "a.zarr"
    # beside the store it moves with it
    assert 'file_name = "a.zarr"' in (tmp_path / "here.toml").read_text()


def test_a_tree_moves_together_with_its_data(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    gpa.create_zarr(here / "data" / "a.zarr", "raw", gpa.Roi((0, 0), (2, 2)), (1, 1), "uint8")[:] = 7
    entries = {
        "raw": "data/a.zarr",
        "beside": "../b.zarr",
        "far": "/data/c.zarr",
        "url": "s3://bucket/d.zarr",
    }
    (here / "t.toml").write_text(
        "".join(
            f'[{name}]\n__type__ = "ZarrArrayConfig"\nfile_name = "{path}"\ndataset = "raw"\n'
            for name, path in entries.items()
        )
        + '[cells]\n__type__ = "CellMapArrayConfig"\nfile_name = "data/a.zarr"\ndataset = "c"\nclasses = ["er"]\n'
    )
    gpa.save_tree(gpa.load_tree(here / "t.toml"), here / "c.yaml")
    gpa.save_tree(gpa.load_tree(here / "c.yaml"), here / "c.json")
    document = json.loads((here / "c.json").read_text())
    assert {name: entry["file_name"] for name, entry in document.items()} == {
        "raw": "data/a.zarr",
        "beside": f"{here}/../b.zarr",
        "far": "/data/c.zarr",
        "url": "s3://bucket/d.zarr",
        "cells": "data/a.zarr",
    }
    assert gpa.load_tree(here / "c.json") == gpa.load_tree(here / "t.toml")
    # out of the folder above, and into one where the data are not
    gpa.save_tree(gpa.load_tree(here / "t.toml"), tmp_path / "up.json")
    document = json.loads((tmp_path / "up.json").read_text())
    assert document["raw"]["file_name"] == "here/data/a.zarr"
    assert document["beside"]["file_name"] == f"{here}/../b.zarr"
    (tmp_path / "aside").mkdir()
    gpa.save_tree(gpa.load_tree(here / "t.toml"), tmp_path / "aside" / "t.json")
    assert gpa.load_tree(tmp_path / "aside" / "t.json") == gpa.load_tree(here / "t.toml")
    here.rename(there)
    assert gpa.load_tree(there / "c.yaml")["raw"].array()[:].tolist() == [[7, 7], [7, 7]]


def test_paths_that_read_as_a_url_stay_absolute(tmp_path):
    config = gpa.ZarrArrayConfig("raw", tmp_path / "ab:" / "a.zarr", "raw")
    gpa.save_tree([config], tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["raw"]["file_name"] == f"{tmp_path}/ab:/a.zarr"
    assert gpa.load_tree(tmp_path / "t.json") == {"raw": config}


def test_keys_of_a_tree_are_names(tmp_path):
    masks = gpa.DummyArrayConfig("masks")
    with pytest.raises(gpa.TreeError) as caught:
        gpa.save_tree({"masks": masks, "other": masks}, tmp_path / "t.toml")
    assert str(caught.value) == "an entry's name is its key; found 'other' for the array 'masks'; allowed: 'masks'"
    assert list(tmp_path.iterdir()) == []


def test_values_that_a_format_cannot_hold(tmp_path):
    config = gpa.ZarrArrayConfig("a", "a.zarr", "raw", storage_options={"token": None})
    config.to_toml(tmp_path / "t.json")
    assert gpa.load_tree(tmp_path / "t.json")["a"].storage_options == {"token": None}
    with pytest.raises(gpa.TreeError, match="a value that TOML cannot hold"):
        config.to_toml(tmp_path / "t.toml")
    assert not (tmp_path / "t.toml").exists()


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("t.yaml", "a: {x: 1}\nb: {x: 1}\na: {x: 2}\n", "'a'"),
        ("t.yml", "a:\n  deep:\n  - {c: 1}\n  - b: 1\n    'b': 2\n", "'b'"),
        ("t.yaml", "a: {1: x, 0x1: y}", "1"),
        ("t.json", '{"a": {}, "b": {}, "a": {}}', "'a'"),
        ("t.json", '{"a": {"l": [{"c": 1}, {"b": 1, "b": 1}]}}', "'b'"),
    ],
)
def test_a_key_that_is_twice_in_a_table_is_refused(tmp_path, name, text, key):
    (tmp_path / name).write_text(text)
    with pytest.raises(gpa.TreeError) as caught:
        gpa.load_tree(tmp_path / name)
    assert f"{tmp_path / name}: the key {key} is given twice" in str(caught.value)
    (tmp_path / "t.toml").write_text("[a]\nb = 1\nb = 2\n")
    with pytest.raises(gpa.TreeError, match="not a TOML document"):
        gpa.load_tree(tmp_path / "t.toml")


@pytest.mark.parametrize(
    "text",
    [
        "a: &x\n  __type__: OnesArrayConfig\n  source_array_config: *x\n",
        "a: &l [1, 2]\nb: *l\n",
        "a: &l [1, 2]\nb: [*l, *l, *l]\nc: {<<: *l}\n",
    ],
)
def test_anchors_are_refused(tmp_path, text):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(gpa.TreeError, match="anchors are not read: refer to arrays by name"):
        gpa.load_tree(tmp_path / "t.yaml")


def test_nesting_without_end():
    entry = DUMMY
    for _ in range(5000):
        entry = {"__type__": "OnesArrayConfig", "source_array_config": entry}
    with pytest.raises(gpa.TreeError, match="nested too deeply in each other; allowed: references by name"):
        parse_tree({"a": entry})


@pytest.mark.parametrize("document", [{1: DUMMY}, {**DUMMY, "name": 5}, {**DUMMY, "name": {"a": 1}}])
def test_names_are_texts(document):
    with pytest.raises(gpa.TreeError, match="a name is not a text; found"):
        parse_tree(document)


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_all_files_that_a_tree_names_move_with_it(tmp_path, monkeypatch, one_process, suffix):
    """Paths of tables, weights, models and watched files are relative to the tree file, not to the working directory."""
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "files").mkdir(parents=True)
    ids = gpa.create_zarr(here / "a.zarr", "ids", gpa.Roi((0, 0), (1, 2)), (1, 1), "uint64")
    ids[:] = [[7, 8]]
    np.save(here / "files" / "table.npy", np.array([[7, 1], [8, 2]], np.uint64))
    monkeypatch.chdir(here)
    small = gpa.RelabelArrayConfig("small", gpa.ZarrArrayConfig("ids", "a.zarr", "ids"), table="files/table.npy")
    raw = gpa.ZarrArrayConfig("raw", "a.zarr", "raw")
    predicted = gpa.PredictArrayConfig(
        "predicted", raw, model="files/model.pt2", checkpoint="files/weights.pt", tile_size=(1, 1)
    )
    appended = gpa.PipelineArrayConfig("appended", raw, "gunpowder:Normalize", fingerprint=["files/helpers.py"])
    gpa.save_tree([small, predicted, appended], f"t.{suffix}")
    monkeypatch.chdir(tmp_path)
    here.rename(there)
    tree = gpa.load_tree(there / f"t.{suffix}")
    assert (tree["predicted"].model, tree["predicted"].checkpoint) == (
        there / "files/model.pt2",
        there / "files/weights.pt",
    )
    assert tree["appended"].fingerprint == (there / "files/helpers.py",)
    assert tree["small"].table == there / "files/table.npy"
    assert tree["small"].array()[:].tolist() == [[1, 2]]
    gpa.materialize(tree["small"], tmp_path / "out.zarr", num_workers=1, progress=False)
    assert gpa.open_zarr(tmp_path / "out.zarr", "small")[:].tolist() == [[1, 2]]
