"""The laws on random trees; and every array type is tested by them."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gunpowder as gp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import growing, trees

import gp_arrays as gpa
from gp_arrays.model.config import all_configs
from gp_arrays.testing import (
    assert_same,
    check_blocks,
    check_indexing,
    check_lost_stores,
    check_meaning,
    check_once,
    check_pipeline,
    check_purity,
    check_read_once,
    evaluate_naively,
    meanings,
    partitions,
    pipeline_voxels,
    recorded,
    regions,
    with_stored_sources,
    write_plain_zarr,
)

#: The types of this package.
OWN = {name: getattr(gpa, name) for name in gpa.ARRAY_TYPES}


def computable(config: Any) -> bool:
    """True if every array of a tree can be computed; sums may overflow."""
    try:
        for each in all_configs([config]):
            evaluate_naively(each)
    except gpa.ComputeError:
        return False
    return True


@given(st.data())
def test_random_trees_have_the_voxels_of_the_oracles(session_folder: Path, data: Any) -> None:
    config = data.draw(trees(session_folder))
    check_meaning(config)


@given(st.data())
def test_random_trees_stitch(session_folder: Path, data: Any) -> None:
    config = data.draw(trees(session_folder))
    assume(computable(config))
    array = config.array()
    roi = data.draw(regions(array))
    check_blocks(config, roi, data.draw(partitions(roi, array.voxel_size)))
    check_indexing(config)


@given(st.data())
def test_random_trees_are_the_same_in_a_pipeline(session_folder: Path, data: Any) -> None:
    config = data.draw(trees(session_folder))
    assume(computable(config))
    inner = data.draw(st.sampled_from(all_configs([config])))
    configs = [config, inner] if inner.array().voxel_size.dims == config.array().dims else [config]
    check_pipeline(configs, [data.draw(regions(each.array())) for each in configs])


@given(st.data())
def test_random_trees_read_once_and_change_nothing(session_folder: Path, data: Any) -> None:
    config = data.draw(trees(session_folder))
    assume(computable(config))
    roi = data.draw(regions(config.array()))
    check_purity(config, roi)
    check_read_once(config, roi)


@given(st.data())
def test_random_trees_survive_files_and_lost_stores(session_folder: Path, data: Any) -> None:
    config = data.draw(trees(session_folder))
    assume(computable(config))
    folder = session_folder / config.content
    stored = with_stored_sources(config, folder)
    suffix = data.draw(st.sampled_from(["toml", "yaml", "json"]))
    stored.to_toml(folder.with_suffix(f".{suffix}"))
    loaded = gpa.load_tree(folder.with_suffix(f".{suffix}"))[stored.name]
    assert (loaded, hash(loaded)) == (stored, hash(stored))
    assert_same(loaded.array().to_ndarray(), config.array().to_ndarray(), repr(config))
    check_lost_stores(loaded)


def test_every_array_type_has_a_meaning_and_grows() -> None:
    # predictions need torch: their oracle is in tests/train/test_predict_laws.py
    types = {name: cls for name, cls in OWN.items() if name != "PredictArrayConfig"}
    assert [name for name, cls in types.items() if cls not in meanings()] == []
    assert [name for name, cls in types.items() if cls not in growing()] == []


def test_every_array_type_runs_the_laws() -> None:
    covered = set()
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Laws") for base in node.bases):
                assert node.name.startswith("Test"), f"{path.name}: pytest does not collect {node.name}"
                covered |= {
                    ast.unparse(each.value).split(".")[-1]
                    for each in node.body
                    if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "type"
                }
    assert sorted(set(OWN) - covered) == []


def test_regions_far_apart_are_not_joined(tmp_path: Path) -> None:
    data = np.arange(400, dtype=np.uint16)[:, None] * np.ones((1, 4), np.uint16)
    write_plain_zarr(tmp_path / "long", data, (10, 4), {"voxel_size": [1, 1]})
    source = gpa.ZarrArrayConfig("long", tmp_path, "long")
    first = gpa.CropArrayConfig("first", source, [[0, 0], [20, 4]])
    last = gpa.CropArrayConfig("last", source, [[380, 0], [20, 4]])
    with recorded(gpa.ConcatArrayConfig("unused", ["a"], {"a": first})) as record:
        results = pipeline_voxels([first, last], [first.array().roi, last.array().roi])
    assert_same(results[0].data, data[:20], "first")
    assert_same(results[1].data, data[380:], "last")
    check_once(record)
    assert sum(part[0].stop - part[0].start for _, part in record.reads) == 40


def test_a_subtree_that_many_share_is_computed_once() -> None:
    raw = gpa.NumpyArrayConfig("raw", data=np.arange(24, dtype=np.uint8).reshape(4, 6))
    shared = gpa.ThresholdArrayConfig("shared", raw, 11)
    above = [gpa.ThresholdArrayConfig(f"t{i}", shared, 0, above=bool(i % 2)) for i in range(4)]
    total = gpa.SumArrayConfig("total", [*above, shared, shared])
    with recorded(total) as record:
        voxels = total.array()[:]
    assert [config.name for config, _ in record.computed].count("shared") == 1
    assert len(record.reads) == 1
    assert voxels.tolist() == [[2] * 6, [2] * 6, [4] * 6, [4] * 6]


def test_threads_read_one_array_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, (24, 24, 24)).astype(np.uint64)
    write_plain_zarr(tmp_path / "labels", labels, (8, 8, 8), {"voxel_size": [1, 1, 1]}, absent=[(0, 0, 0), (1, 1, 1)])
    for corner in (slice(0, 8), slice(8, 16)):
        labels[corner, corner, corner] = 0
    config = gpa.ZarrArrayConfig("labels", tmp_path, "labels")
    masks = gpa.BinarizeArrayConfig("masks", config, [("some", [1, 5, 7]), ("any", [])])
    array = masks.array()
    want = np.stack([np.isin(labels, [1, 5, 7]), labels != 0]).astype(np.uint8)
    wrong: list[str] = []
    start = threading.Barrier(8)

    def read(seed: int) -> None:
        own = np.random.default_rng(seed)
        start.wait(120)
        for _ in range(25):
            begin = own.integers(0, 16, 3)
            box = tuple(slice(int(b), int(b) + 8) for b in begin)
            try:
                assert_same(array[(slice(None), *box)], want[(slice(None), *box)], str(box))
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    assert wrong == []


@pytest.mark.parametrize("links", [3, 120])
def test_a_chain_of_any_length_is_padded_and_sampled(links: int) -> None:
    """Short chains are gunpowder nodes; beyond a hundred they are one node. Both work in a training pipeline."""
    raw = gpa.NumpyArrayConfig(
        "raw", data=np.arange(1, 25, dtype=np.uint8).reshape(4, 6), offset=(4, 0), voxel_size=(2, 2)
    )
    config: Any = raw
    for i in range(links):
        config = gpa.SumArrayConfig(f"s{i}", [config], dtype="uint8")
    key = gp.ArrayKey("CHAIN")
    pipeline = gpa.compile_pipeline({key: config}) + gp.Pad(key, None)
    with gp.build(pipeline):
        for offset, want in [((0, 0), [[0, 0], [0, 0]]), ((2, 2), [[0, 0], [2, 3]])]:
            request = gp.BatchRequest({key: gp.ArraySpec(roi=gp.Roi(offset, (4, 4)))})
            assert pipeline.request_batch(request)[key].data.tolist() == want


PRECACHED = """
import sys
import numpy as np, gunpowder as gp, gp_arrays as gpa

raw = gpa.ZarrArrayConfig("raw", sys.argv[1], "raw")
key, mask = gp.ArrayKey("RAW"), gp.ArrayKey("MASK")
pipeline = gpa.compile_pipeline({key: raw, mask: gpa.ThresholdArrayConfig("mask", raw, 200)})
pipeline += gp.RandomLocation()
pipeline += gp.SimpleAugment()
pipeline += gp.PreCache(cache_size=4, num_workers=2)
request = gp.BatchRequest()
request.add(key, (16, 16))
request.add(mask, (16, 16))
with gp.build(pipeline):
    for _ in range(6):
        batch = pipeline.request_batch(request)
        voxels = batch[key].data.astype(int)
        assert voxels.shape == (8, 8)
        # rows are 20 apart and columns 1, or the other way round where they were swapped
        assert {abs(voxels[1, 0] - voxels[0, 0]), abs(voxels[0, 1] - voxels[0, 0])} == {1, 20}
        assert np.array_equal(batch[mask].data, voxels > 200)
print("six batches")
"""


def test_a_training_pipeline_reads_in_forked_workers(tmp_path: Path) -> None:
    """In a process with a time limit: a deadlock after a fork must not stop the tests."""
    data = np.arange(1, 401, dtype=np.uint16).reshape(20, 20)
    write_plain_zarr(tmp_path / "raw", data, (8, 8), {"voxel_size": [2, 2]})
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRECACHED, str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        pytest.fail("the forked workers hang")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert output.splitlines()[-1] == "six batches", output
