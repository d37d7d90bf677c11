"""Names of arrays in tree files: any text except the two keys that a file uses itself."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gp_arrays as gpa
from gp_arrays.trees.document import tree_document
from gp_arrays.trees.tree import parse_tree

DUMMY = {"__type__": "DummyArrayConfig"}
ODD = [
    "type",
    "name",
    "file_name",
    "a.b",
    '"quoted"',
    "it's",
    "two\nlines",
    "a\r\nb",
    "ä µ 脳 🧠",
    "null",
    "1",
    "<<",
    "=",
]
ODD += ["[a]", "#", "a: b", "- a", "a\x00", "a\x85", "\x7f", "a\u2028", "n" * 10_000, "~", "t-2", " a ", "2001-01-01"]


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
@pytest.mark.parametrize("name", ODD)
def test_any_text_is_a_name(tmp_path, name, suffix):
    dummy = gpa.DummyArrayConfig(name)
    ones = gpa.OnesArrayConfig("ones", dummy)
    both = gpa.ConcatArrayConfig("both", [name, "other"], {name: dummy, "other": ones}, default_config=dummy)
    gpa.save_tree([both], tmp_path / f"t.{suffix}")
    loaded = gpa.load_tree(tmp_path / f"t.{suffix}")
    assert loaded["both"] == both
    assert list(loaded) == [name, "ones", "both"]
    assert loaded["both"].array().channels == (name, "other")


@given(names=st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=2, max_size=2, unique=True))
def test_trees_of_any_names_survive_a_document(names):
    first, second = names
    dummy = gpa.DummyArrayConfig(first)
    tree = gpa.ThresholdArrayConfig(second, gpa.SumArrayConfig(f"{first}{second}+", [dummy, dummy]), 1)
    if {first, second} & {"__type__", "unit"}:
        with pytest.raises(gpa.TreeError, match="cannot be named"):
            tree_document([tree])
    else:
        assert parse_tree(json.loads(json.dumps(tree_document([tree]))))[second] == tree


def test_type_is_a_name_at_any_depth():
    ones = {"__type__": "OnesArrayConfig"}
    nested = parse_tree({"type": {**ones, "source_array_config": {**DUMMY, "name": "type"}}})["type"]
    assert nested.array().dtype == bool
    channels = {"__type__": "ConcatArrayConfig", "channels": ["type"]}
    by_name = parse_tree({"type": DUMMY, "c": {**channels, "source_array_configs": {"type": "type"}}})["c"]
    in_place = parse_tree({"c": {**channels, "source_array_configs": {"type": DUMMY}}})["c"]
    assert by_name.array().channels == in_place.array().channels == ("type",)


def test_a_job_of_arrays_named_type(tmp_path, one_process):
    raw = gpa.create_zarr(tmp_path / "a.zarr", "type", gpa.Roi((0, 0), (8, 8)), (1, 1), "uint8", chunks=(4, 4))
    raw[:] = np.arange(64).reshape(8, 8)
    source = gpa.ZarrArrayConfig("type", tmp_path / "a.zarr", "type")
    channels = gpa.ConcatArrayConfig("name", ["type", "x"], {"type": source})
    gpa.materialize({"type": source, "name": channels}, tmp_path / "out.zarr", num_workers=1, progress=False)
    assert np.array_equal(gpa.open_zarr(tmp_path / "out.zarr", "name")[0], np.arange(64).reshape(8, 8))
    assert np.array_equal(gpa.open_zarr(tmp_path / "out.zarr", "type")[:], np.arange(64).reshape(8, 8))


@pytest.mark.parametrize("name", ["__type__", "unit"])
def test_keys_of_the_file_itself_are_refused(tmp_path, name):
    dummy = gpa.DummyArrayConfig(name)
    for tree in (dummy, gpa.OnesArrayConfig("ones", dummy)):
        with pytest.raises(gpa.TreeError, match=f"an array in a file cannot be named '{name}'"):
            tree.to_toml(tmp_path / "t.toml")
    with pytest.raises(gpa.TreeError, match=f"an array in a file cannot be named '{name}'"):
        parse_tree({name: DUMMY, "other": DUMMY})
    assert list(tmp_path.iterdir()) == []


def test_a_channel_with_the_key_of_types(tmp_path):
    tree = gpa.ConcatArrayConfig("c", ["__type__"], {"__type__": gpa.DummyArrayConfig("d")})
    with pytest.raises(gpa.TreeError, match="c > source_array_configs: .* cannot be named '__type__'"):
        tree.to_toml(tmp_path / "t.toml")


def test_nested_entries_of_one_name_and_different_contents_get_numbers():
    def threshold(value, source):
        return {"__type__": "ThresholdArrayConfig", "name": "t", "threshold": value, "source_array_config": source}

    document = {"t": threshold(3, threshold(2, threshold(1, DUMMY))), "t-2": DUMMY}
    for _ in range(2):
        tree = parse_tree(document)
        names = []
        config = tree["t"]
        while config.children():
            names.append((config.name, config.threshold))
            (config,) = config.children()
        assert names == [("t", 3), ("t-4", 2), ("t-3", 1)]
        # the dummy has the same content as t-2, and a name of its own
        assert config.content == tree["t-2"].content
        gpa.compile_plan(tree)


def test_entries_of_a_file_keep_their_names():
    nested = {"__type__": "OnesArrayConfig", "source_array_config": {**DUMMY, "name": "raw"}}
    tree = parse_tree({"a": nested, "raw": {**nested, "source_array_config": DUMMY}})
    assert tree["raw"].name == "raw"
    assert tree["a"].source_array_config.name == "raw-2"
    gpa.compile_plan(tree)


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_equal_arrays_whose_sources_have_other_names(tmp_path, one_process, suffix):
    """A tree that compiles can be saved, loaded unchanged and materialized."""

    def ones(source, dataset="raw"):
        config = gpa.ZarrArrayConfig(source, tmp_path / "a.zarr", dataset)
        return gpa.ThresholdArrayConfig("t", config, threshold=3)

    gpa.create_zarr(tmp_path / "a.zarr", "raw", gpa.Roi((0, 0), (4, 4)), (1, 1), "uint8")[:] = 5
    one, other = ones("x"), ones("y")
    assert one != other
    assert one.content == other.content
    both = gpa.SumArrayConfig("both", [one, other, gpa.LogicalOrArrayConfig("or", other)])
    assert both.array()[0, 0] == 3
    gpa.save_tree([both, one], tmp_path / f"t.{suffix}")
    assert gpa.load_tree(tmp_path / f"t.{suffix}")["both"] == both
    gpa.materialize({"a": both, "b": other}, tmp_path / "out.zarr", num_workers=1, progress=False)
    assert gpa.open_zarr(tmp_path / "out.zarr", "a")[0, 0] == 3
    assert gpa.open_zarr(tmp_path / "out.zarr", "b")[0, 0] == 1
    for wrong in (lambda tree: tree.array(), lambda tree: tree.to_toml(tmp_path / "no.toml")):
        with pytest.raises(gpa.TreeError, match="two different arrays are named 't'"):
            wrong(gpa.SumArrayConfig("both", [one, ones("z", "other")]))
