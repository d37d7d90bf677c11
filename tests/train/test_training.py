"""Training pipelines: gunpowder's own nodes after a compiled tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gunpowder as gp
import numpy as np
import pytest
from training_run import IDS, MASK, RAW, pipeline, request_of

import gp_arrays as gpa


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_batches_computed_ahead_in_other_processes(start_method: str, tmp_path: Path) -> None:
    """In a process with a time limit: a deadlock after a fork must not stop the tests."""
    script = Path(__file__).with_name("training_run.py")
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(script), start_method, str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, output
    assert "four batches" in output
    assert len(list(tmp_path.glob("*.zarr"))) == 2, "two snapshots"


def test_a_network_trains(tmp_path: Path, monkeypatch: Any) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: the extra gp_arrays[torch]")
    train = pytest.importorskip("gunpowder.torch")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    prediction, target = gp.ArrayKey("PREDICTION"), gp.ArrayKey("TARGET")
    model = torch.nn.Sequential(torch.nn.Conv3d(1, 1, 1), torch.nn.Sigmoid())
    trained = (
        pipeline()
        + gpa.Threshold(IDS, target, 0)
        + gp.AsType(target, np.float32)
        + gp.Unsqueeze([RAW, target])
        + gp.Stack(2)
        + train.Train(
            model,
            torch.nn.BCELoss(),
            torch.optim.Adam(model.parameters(), lr=0.3),
            inputs={"input": RAW},
            outputs={0: prediction},
            loss_inputs={0: prediction, 1: target},
            save_every=10,
        )
    )
    request = request_of()
    request.add(prediction, request[RAW].roi.shape)
    request.add(target, request[RAW].roi.shape)
    with gp.build(trained):
        losses = [trained.request_batch(request).loss for _ in range(20)]
    assert np.mean(losses[-5:]) < 0.75 * losses[0], losses
    assert list(tmp_path.glob("model_checkpoint_*"))


def test_large_ids_pass_elastic_augmentation_as_dense_ones(tmp_path: Path) -> None:
    """gunpowder converts ids to floats there, which cannot hold 2^53 + 1; ids of a dense table are small."""
    ids = np.where(np.arange(24) < 12, 2**53 + 1, 2**53 + 3)[:, None].repeat(24, 1).astype(np.uint64)
    large = gpa.NumpyArrayConfig("large", data=ids)
    table = gpa.dense_table(large, tmp_path / "dense.npy")
    small = gpa.RelabelArrayConfig("small", large, table=table, dtype="uint16")
    seen = {}
    for name, config in (("large", large), ("small", small)):
        deformed = gpa.compile_pipeline({IDS: config}) + gp.RandomLocation()
        deformed += gp.DeformAugment((6, 6), (1, 1), spatial_dims=2, rotate=False)
        request = gp.BatchRequest(random_seed=1)
        request.add(IDS, (8, 8))
        with gp.build(deformed):
            seen[name] = {int(i) for _ in range(4) for i in np.unique(deformed.request_batch(request)[IDS].data)}
    assert seen["small"] <= {0, 1, 2}
    assert {1, 2} & seen["small"]
    assert np.load(table)[:, 0].tolist() == [2**53 + 1, 2**53 + 3]
    assert not seen["large"] & {2**53 + 1, 2**53 + 3}, "gunpowder keeps large ids now: the docs can say so"


def test_crops_around_points(tmp_path: Path) -> None:
    points, raw = gp.GraphKey("POINTS"), np.zeros((40, 40), np.uint8)
    places = np.array([[5, 5], [12, 30], [33, 21]])
    raw[tuple(places.T)] = 1
    np.savetxt(tmp_path / "points.csv", places + 0.5, delimiter=",")
    spec = gp.GraphSpec(gp.Roi((0, 0), raw.shape))
    source = gp.CsvPointsSource(str(tmp_path / "points.csv"), points, [0, 1], spec)
    sources = (gpa.compile_pipeline({RAW: gpa.NumpyArrayConfig("raw", data=raw)}), source)
    merged = sources + gp.MergeProvider() + gp.RandomLocation(ensure_nonempty=points) + gp.SimpleAugment()
    request = gp.BatchRequest()
    request.add(RAW, (9, 9))
    request.add(points, (9, 9))
    with gp.build(merged):
        for _ in range(8):
            batch = merged.request_batch(request)
            positions = {tuple(np.floor(node.location).astype(int)) for node in batch[points].nodes}
            assert positions
            assert positions == set(map(tuple, np.argwhere(batch[RAW].data)))


def test_gunpowders_own_random_location_takes_a_mask_of_a_tree() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[10:20, 12:26] = 1
    tree = gpa.NumpyArrayConfig("mask", data=mask)
    masked = gpa.compile_pipeline({MASK: tree}) + gp.RandomLocation(0.7, MASK)
    request = gp.BatchRequest()
    request.add(MASK, (6, 6))
    with gp.build(masked):
        assert min(masked.request_batch(request)[MASK].data.mean() for _ in range(10)) >= 0.7


@pytest.mark.slow
@pytest.mark.parametrize("data", ["precache", "torch"])
def test_the_loss_falls_on_real_data(fib25: Path, data: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed: the extra gp_arrays[torch]")
    script = Path(__file__).parents[2] / "examples" / "train_affinities.py"
    command = [sys.executable, str(script), "--store", str(fib25), "--batches", "100", "--data", data]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, last = (float(number) for number in done.stdout.split("loss ")[1].split(" to "))
    assert last < 0.8 * first, done.stdout
