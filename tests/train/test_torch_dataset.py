"""Datasets of torch: workers, ranks, seeds and grids."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa

RAW, IDS = gp.ArrayKey("raw"), gp.ArrayKey("ids")


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed: the extra gp_arrays[torch]")


def tree(shape: tuple[int, ...] = (30, 40), dtype: str = "uint64") -> dict[str, Any]:
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    raw = gpa.NumpyArrayConfig("raw", data=data.astype(np.float32), voxel_size=(2, 2), offset=(4, 2))
    return {"raw": raw, "ids": gpa.NumpyArrayConfig("ids", data=data, voxel_size=(2, 2), offset=(4, 2))}


SIZES = {"raw": (16, 16), "ids": (8, 8)}


def mirrored(keys: Any) -> Any:
    return [gp.RandomLocation(), gp.SimpleAugment(transpose_only=[])]


def a_pipeline() -> Any:
    configs = tree()
    return gpa.compile_pipeline({RAW: configs["raw"], IDS: configs["ids"]}) + gp.RandomLocation()


def first_ids(samples: Any) -> list[int]:
    return [int(sample["ids"].reshape(-1)[0]) for sample in samples]


def loaded(torch: Any, dataset: Any, **options: Any) -> list[Any]:
    return list(torch.utils.data.DataLoader(dataset, batch_size=None, **options))


def test_samples_are_contiguous_tensors_of_one_position(torch: Any) -> None:
    data = np.arange(1200).reshape(30, 40)
    for sample in gpa.TorchDataset(tree(), SIZES, length=5):
        raw, ids = sample["raw"], sample["ids"]
        assert (raw.dtype, ids.dtype) == (torch.float32, torch.int64)
        assert (tuple(raw.shape), tuple(ids.shape)) == ((8, 8), (4, 4))
        assert raw.is_contiguous()
        assert ids.is_contiguous()
        assert raw[2:6, 2:6].long().equal(ids), "centered on one point"
        z, y = divmod(int(ids[0, 0]), 40)
        assert np.array_equal(ids.numpy(), data[z : z + 4, y : y + 4])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_samples_that_one_process_gives(torch: Any, context: str) -> None:
    dataset = gpa.TorchDataset(tree(), SIZES, seed=3, length=9, nodes=mirrored)
    alone = first_ids(loaded(torch, dataset))
    assert len(set(alone)) > 5
    assert first_ids(loaded(torch, dataset)) == alone, "the same each time"
    workers = first_ids(loaded(torch, dataset, num_workers=2, multiprocessing_context=context))
    assert sorted(workers) == sorted(alone)
    assert first_ids(loaded(torch, gpa.TorchDataset(tree(), SIZES, seed=4, length=9))) != alone


def test_epochs_differ_also_for_workers_that_live_on(torch: Any) -> None:
    dataset = gpa.TorchDataset(tree(), SIZES, length=6)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1, persistent_workers=True)
    epochs = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        epochs.append(first_ids(loader))
    assert epochs[0] == epochs[2] != epochs[1]


def test_ranks_share_the_samples(torch: Any) -> None:
    everything = first_ids(gpa.TorchDataset(tree(), SIZES, length=10))
    parts = [first_ids(gpa.TorchDataset(tree(), SIZES, length=10, rank=r, num_ranks=3)) for r in range(3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert [parts[i % 3][i // 3] for i in range(10)] == everything
    with pytest.raises(gpa.ConfigError, match="rank.*3.*0 to 2"):
        gpa.TorchDataset(tree(), SIZES, rank=3, num_ranks=3)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("source", ["pipeline", "function"])
def test_pipelines_and_functions_that_make_them(torch: Any, context: str, source: str) -> None:
    request = {RAW: (16, 16), IDS: (8, 8)}
    dataset = gpa.TorchDataset(a_pipeline() if source == "pipeline" else a_pipeline, request, length=4)
    assert sorted(first_ids(loaded(torch, dataset, num_workers=2, multiprocessing_context=context))) == sorted(
        first_ids(gpa.TorchDataset(tree(), SIZES, length=4))
    )


def test_batches_are_collated(torch: Any) -> None:
    loader = torch.utils.data.DataLoader(gpa.TorchDataset(tree(), SIZES), batch_size=3)
    batch = next(iter(loader))
    assert tuple(batch["raw"].shape) == (3, 8, 8)


def test_random_states_of_the_process_stay(torch: Any) -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    want = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    samples = iter(gpa.TorchDataset(tree(), SIZES))
    next(samples)
    assert (random.random(), np.random.random()) == want  # noqa: NPY002


@pytest.mark.parametrize(
    ("dtype", "want"),
    [
        ("bool", "bool"),
        ("uint8", "uint8"),
        ("uint16", "int32"),
        ("uint32", "int64"),
        ("uint64", "int64"),
        ("f2", "float16"),
    ],
)
def test_dtypes(torch: Any, dtype: str, want: str) -> None:
    (sample,) = gpa.TorchDataset(tree(dtype=dtype), SIZES, length=1)
    assert sample["ids"].dtype == getattr(torch, want)


def test_ids_that_torch_has_not_are_an_error(torch: Any) -> None:
    large = gpa.NumpyArrayConfig("ids", data=np.full((4, 4), 2**63, np.uint64))
    with pytest.raises(gpa.ComputeError, match="ids.*9223372036854775808.*Relabel"):
        next(iter(gpa.TorchDataset({"ids": large}, {"ids": (2, 2)})))


def test_bad_arguments_are_refused(torch: Any) -> None:
    for source, sizes, options in [
        (tree(), {"raw": (16, 16)}, {}),
        (tree(), None, {}),
        ({"raw": "no config"}, {"raw": (1, 1)}, {}),
        ({}, {}, {}),
        (3, {RAW: (1, 1)}, {}),
        (a_pipeline, {"raw": (1, 1)}, {}),
        (a_pipeline, {RAW: (2, 2)}, {"nodes": mirrored}),
        (tree(), SIZES, {"seed": "x"}),
        (tree(), SIZES, {"length": 1.5}),
        (tree(), SIZES, {"length": -1}),
    ]:
        with pytest.raises(gpa.ConfigError):
            gpa.TorchDataset(source, sizes, **options)
    with pytest.raises(gpa.ConfigError, match="NONE.*raw, ids"):
        next(iter(gpa.TorchDataset(a_pipeline, {gp.ArrayKey("NONE"): (1, 1)})))


def test_a_grid_covers_all_that_the_arrays_give(torch: Any) -> None:
    configs = tree((13, 18))
    grid = gpa.TorchGridDataset(configs, SIZES)
    data = np.arange(13 * 18).reshape(13, 18)
    seen = np.zeros((13, 18), int)
    for sample in torch.utils.data.DataLoader(grid, batch_size=None, num_workers=2):
        z, y = ((sample["begin"].numpy() - (4, 2)) // 2).tolist()
        assert np.array_equal(sample["ids"].numpy(), data[z : z + 4, y : y + 4])
        assert np.array_equal(sample["raw"].numpy(), data[z - 2 : z + 6, y - 2 : y + 6])
        seen[z : z + 4, y : y + 4] += 1
    assert (seen[2:-2, 2:-2] > 0).all()
    assert seen.sum() == seen[2:-2, 2:-2].sum() == 16 * len(grid)
    part = gpa.TorchGridDataset(configs, SIZES, stride=(4, 8), roi=gpa.Roi((8, 6), (12, 8)))
    assert [sample["begin"].tolist() for sample in part] == [[8, 6], [12, 6]]


def test_a_grid_lies_on_the_voxels_of_the_coarser_array(torch: Any) -> None:
    raw = gpa.NumpyArrayConfig("raw", data=np.zeros((13, 10), np.uint8), offset=(2, 0), voxel_size=(2, 2))
    ids = gpa.NumpyArrayConfig("ids", data=np.zeros((5, 4), np.uint8), offset=(2, -2), voxel_size=(6, 6))
    grid = gpa.TorchGridDataset({"raw": raw, "ids": ids}, {"raw": (10, 10), "ids": (6, 6)})
    # raw gives 4 to 26 and 2 to 18 around its margin; voxels of ids begin at 2, 8, ... and at -2, 4, ...
    assert [sample["begin"].tolist() for sample in grid] == [[8, 4], [8, 10], [14, 4], [14, 10], [20, 4], [20, 10]]


def test_grids_that_do_not_fit(torch: Any) -> None:
    for options in ({"roi": gpa.Roi((0, 0), (8, 8))}, {"roi": gpa.Roi((8, 6), (4, 4))}, {"stride": (3, 4)}):
        with pytest.raises(gpa.RequestError):
            gpa.TorchGridDataset(tree((13, 18)), SIZES, **options)
    for size in ((400, 16), (15, 16), (16, 16, 16), (0, 16)):
        with pytest.raises(gpa.RequestError, match="raw"):
            gpa.TorchGridDataset(tree((13, 18)), {**SIZES, "raw": size})
    with pytest.raises(gpa.ConfigError):
        gpa.TorchGridDataset(tree(), {"raw": (16, 16)})
    with pytest.raises(IndexError):
        gpa.TorchGridDataset(tree(), SIZES)[10_000]


def test_torch_is_imported_by_those_who_use_it() -> None:
    code = "import sys, gp_arrays as gpa; gpa.compile_plan, gpa.count; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["False"]


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(gpa.TreeError, match=r"gp_arrays\[torch\]"):
        gpa.TorchDataset(tree(), SIZES)
    with pytest.raises(gpa.TreeError, match=r"gp_arrays\[torch\]"):
        gpa.TorchGridDataset(tree(), SIZES)
