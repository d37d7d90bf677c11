"""A complete job on real data; and common mistakes: the error is one line and no incomplete files stay."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import gp_arrays as gpa
from gp_arrays.cli import run

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "fib25.zarr"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the real data are not beside the checkout")

GROUPS = {"a": [115, 182], "b": [2150], "c": [1, 2, 3], "d": [1028, 1699], "any": []}


def command_line(*args, cwd=None):
    """``gp-arrays`` as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "gp_arrays", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
    )


def plain(dataset):
    """The expected voxels, computed with numpy and zarr alone."""
    return np.asarray(zarr.open(str(DATA), mode="r")[dataset][:])


@needs_data
@pytest.mark.slow
def test_the_main_job(tmp_path):
    groups = json.dumps([[name, ids] for name, ids in GROUPS.items()])
    (tmp_path / "tree.toml").write_text(
        f"""
        [raw]
        __type__ = "ZarrArrayConfig"
        file_name = "{DATA}"
        dataset = "raw"
        [normalized]
        __type__ = "IntensitiesArrayConfig"
        source_array_config = "raw"
        min = 0
        max = 255
        [neurons]
        __type__ = "ZarrArrayConfig"
        file_name = "{DATA}"
        dataset = "labels/neurons"
        [groups]
        __type__ = "BinarizeArrayConfig"
        source_array_config = "neurons"
        groupings = {groups}
        [union]
        __type__ = "LogicalOrArrayConfig"
        source_array_config = "groups"
        """
    )
    for name in ("normalized", "groups", "union"):
        ran = command_line("materialize", "tree.toml", name, "out.zarr", "--num-workers", 2, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    out = zarr.open(str(tmp_path / "out.zarr"), mode="r")
    raw, neurons = plain("raw"), plain("labels/neurons")
    normalized = out["normalized"][:]
    assert normalized.dtype == np.float32
    assert np.array_equal(normalized, raw.astype(np.float32) / np.float32(255))
    expected = np.stack([np.isin(neurons, ids) if ids else neurons != 0 for ids in GROUPS.values()])
    stored = out["groups"][:]
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, expected)
    assert all(channel.any() for channel in expected[[0, 4]])
    assert np.array_equal(out["union"][:], expected.any(0))
    for name in ("normalized", "groups", "union"):
        assert list(out[name].attrs["offset"]) == [26000, 0, 0]
        assert list(out[name].attrs["voxel_size"]) == [10, 10, 10]
    assert list(out["groups"].attrs["channel_names"]) == list(GROUPS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("mistakes") / "a.zarr"
    roi = gpa.Roi((0, 0), (16, 16))

    def create(dataset, roi=roi, voxel_size=(1, 1), dtype="uint8", **fields):
        gpa.create_zarr(root, dataset, roi, voxel_size, dtype, **fields)[:] = 1

    create("raw")
    create("labels/neurons", dtype="uint8")
    create("coarse", voxel_size=(2, 2))
    create("elsewhere", roi=gpa.Roi((100, 100), (16, 16)))
    create("channels", num_channels=2)
    create("fractional")
    attributes = root / "fractional" / ".zattrs"
    attributes.write_text(json.dumps({"voxel_size": [5.24, 4], "resolution": [5.24, 4]}))
    return root


def zarr_entry(store, dataset, **fields):
    return {"__type__": "ZarrArrayConfig", "file_name": str(store), "dataset": dataset, **fields}


def mistakes(store):
    raw, labels = zarr_entry(store, "raw"), zarr_entry(store, "labels/neurons")

    def of(kind, **fields):
        return {"__type__": f"{kind}ArrayConfig", **fields}

    pair = {"channels": ["a", "b"]}
    return {
        "missing file": (
            {"out": zarr_entry(f"{store}x", "raw")},
            f"out: no such store; found {store}x; allowed: {store.parent} has a.zarr",
        ),
        "missing dataset": ({"out": zarr_entry(store, "zzzz")}, "out: no such dataset; found 'zzzz' in "),
        "wrong dataset name": (
            {"out": zarr_entry(store, "labels/nuerons")},
            f"out: no such dataset; found 'labels/nuerons' in {store}; allowed: labels/neurons",
        ),
        "mismatched voxel sizes": (
            {
                "a": raw,
                "b": zarr_entry(store, "coarse"),
                "out": of("Concat", **pair, source_array_configs={"a": "a", "b": "b"}),
            },
            "out: voxel size of the sources differ; found a (1, 1), b (2, 2)",
        ),
        "disjoint rois": (
            {"a": raw, "b": zarr_entry(store, "elsewhere"), "out": of("Sum", source_array_configs=["a", "b"])},
            "out: the rois of the sources do not overlap; found a [0:16, 0:16], b [100:116, 100:116]",
        ),
        "roi off the grid": (
            {"a": zarr_entry(store, "coarse"), "out": of("Crop", source_array_config="a", roi=[[1, 0], [4, 4]])},
            "out: the roi is not on the source's voxel grid; found [1:5, 0:4]; allowed: steps of (2, 2)",
        ),
        "channels where none may be": (
            {
                "a": zarr_entry(store, "channels"),
                "out": of("Binarize", source_array_config="a", groupings=[["x", [1]]]),
            },
            "out: Binarize takes a source without channels or other non-spatial axes; found axes c (2)",
        ),
        "duplicate channel names": (
            {"a": labels, "out": of("Binarize", source_array_config="a", groupings=[["x", [1]], ["x", [2]]])},
            "out: groupings: channel names are not unique; found x",
        ),
        "duplicate channels of a concat": (
            {"a": raw, "out": of("Concat", channels=["a", "a"], source_array_configs={"a": "a"})},
            "out: channel names are not unique; found a",
        ),
        "min == max": (
            {"a": raw, "out": of("Intensities", source_array_config="a", min=3, max=3)},
            "out: min and max are equal; found 3",
        ),
        "negative voxel size": (
            {"out": zarr_entry(store, "raw", voxel_size=[-1, 1])},
            "out: voxel_size must be positive; found (-1, 1)",
        ),
        "zero voxel size": (
            {"out": zarr_entry(store, "raw", voxel_size=[1, 0])},
            "out: voxel_size must be positive; found (1, 0)",
        ),
        "ids outside the dtype": (
            {"a": labels, "out": of("Binarize", source_array_config="a", groupings=[["x", [1, 256]]])},
            "out: ids beyond the source's dtype; found 256; allowed: 0 to 255 (uint8)",
        ),
        "a voxel size that is not whole": (
            {"a": zarr_entry(store, "fractional"), "out": of("Ones", source_array_config="a")},
            'out > a: its voxel_size is not a whole number of nm; found (5.24 nm, 4 nm); allowed: set unit = "pm"',
        ),
    }


@pytest.mark.parametrize("name", list(mistakes(Path("/x/a.zarr"))))
def test_mistakes_are_one_line_and_leave_no_files(store, tmp_path, name):
    document, message = mistakes(store)[name]
    (tmp_path / "tree.json").write_text(json.dumps(document))
    with pytest.raises(gpa.GpArraysError) as caught:
        gpa.materialize(gpa.load_tree(tmp_path / "tree.json")["out"], tmp_path / "out.zarr", progress=False)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["tree.json"]


@pytest.mark.parametrize("name", list(mistakes(Path("/x/a.zarr"))))
def test_mistakes_on_the_command_line(store, tmp_path, name, capsys, monkeypatch):
    document, message = mistakes(store)[name]
    (tmp_path / "tree.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    assert run(["materialize", "tree.json", "out", "out.zarr"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tree.json"]


def test_a_mistake_as_a_user_meets_it(store, tmp_path):
    document, message = mistakes(store)["missing file"]
    (tmp_path / "tree.json").write_text(json.dumps(document))
    ran = command_line("materialize", "tree.json", "out", "out.zarr", cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"error: {message}\n")
