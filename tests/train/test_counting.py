"""Counts of ids and classes, against numpy on the whole volume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.model import absent
from gp_arrays.sources import zarr_opened
from gp_arrays.testing import write_plain_zarr


@pytest.fixture
def ids(tmp_path: Path) -> tuple[Any, np.ndarray[Any, Any]]:
    """Ids in chunks, some of them absent."""
    data = np.random.default_rng(0).integers(0, 5, (30, 40)).astype(np.uint64) * np.uint64(2**61 + 1)
    absent = [(0, 0), (2, 1)]
    write_plain_zarr(tmp_path / "ids", data, (8, 8), {"voxel_size": [2, 2]}, absent=absent)
    for z, y in absent:
        data[8 * z : 8 * z + 8, 8 * y : 8 * y + 8] = 0
    return gpa.ZarrArrayConfig("ids", tmp_path, "ids"), data


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("block", [50, 2**23])
def test_ids(ids: Any, monkeypatch: Any, workers: int, block: int) -> None:
    monkeypatch.setattr(absent, "BLOCK", block)
    config, data = ids
    values, counts = np.unique(data, return_counts=True)
    assert gpa.count(config, num_workers=workers) == dict(zip(values.tolist(), counts.tolist(), strict=True))
    values, counts = np.unique(data[2:10, :5], return_counts=True)
    assert gpa.count(config, gpa.Roi((4, 0), (16, 10))) == dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_channels(ids: Any) -> None:
    config, data = ids
    groups = [("two", [2 * (2**61 + 1)]), ("none", [77]), ("any", [])]
    counts = gpa.count(gpa.BinarizeArrayConfig("masks", config, groups))
    assert counts == {"two": int((data == 2 * (2**61 + 1)).sum()), "none": 0, "any": int((data != 0).sum())}


def test_absent_chunks_are_not_read(ids: Any, monkeypatch: Any) -> None:
    config, _ = ids
    read: list[Any] = []
    evaluate = absent.evaluate
    monkeypatch.setattr(absent, "evaluate", lambda plan, asked: (read.extend(asked), evaluate(plan, asked))[1])
    monkeypatch.setattr(absent, "BLOCK", 64)
    listed: list[Any] = []
    list_chunks = zarr_opened.list_chunks
    monkeypatch.setattr(zarr_opened, "list_chunks", lambda *array: (listed.append(array), list_chunks(*array))[1])
    gpa.count(config)
    assert len(listed) == 1
    assert len(read) == 4 * 5 - 2, "a chunk is a block"


def test_arrays_that_cannot_be_counted() -> None:
    floats = gpa.NumpyArrayConfig("floats", data=np.zeros((3, 3)))
    samples = gpa.NumpyArrayConfig("samples", data=np.zeros((2, 3, 3), np.uint8), axes=("s", "y", "x"))
    for config in (floats, samples):
        with pytest.raises(gpa.TreeError, match=config.name):
            gpa.count(config)
    with pytest.raises(gpa.ConfigError, match="num_workers"):
        gpa.count(floats, num_workers=0)
    with pytest.raises(gpa.ConfigError):
        gpa.count("floats")  # type: ignore[arg-type]


def test_the_command_writes_class_weights(ids: Any, tmp_path: Path, capsys: Any) -> None:
    config, data = ids
    masks = gpa.BinarizeArrayConfig("masks", config, [("two", [2 * (2**61 + 1)]), ("none", [7]), ("any", [])])
    gpa.save_tree([config, masks], tmp_path / "tree.toml")
    assert run(["count", str(tmp_path / "tree.toml"), "ids", "--top", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"0\t{(data == 0).sum()}"
    path = tmp_path / "weights.json"
    assert run(["count", str(tmp_path / "tree.toml"), "masks", "--weights", str(path)]) == 0
    document = json.loads(path.read_text())
    two, some = (data == 2 * (2**61 + 1)).sum(), (data != 0).sum()
    assert document["counts"] == {"two": two, "none": 0, "any": some}
    weights = document["weights"]
    assert weights["two"] * two == pytest.approx(weights["any"] * some)
    assert weights["none"] == 0
