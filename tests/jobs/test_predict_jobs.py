"""Jobs that predict an array of 105 voxels along each axis, which is not a multiple of the tiles."""

import os
import signal
import threading

import numpy as np
import pytest
from gated import allow, gated
from job_helpers import done_of, wait_for, workers_of

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

import appended_nodes  # noqa: E402
import networks  # noqa: E402

N, TILE, CONTEXT, STRIDE = 105, 24, 6, 2
GRID = (4, 4, 4)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def raw(tmp_path):
    data = np.random.default_rng(3).integers(0, 256, (N, N, N)).astype(np.uint8)
    roi = gpa.Roi((8, 0, -12), (N * 4,) * 3)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", roi, (4, 4, 4), "uint8", chunks=(64, 64, 64))[:] = data
    stored = gpa.ZarrArrayConfig("stored", tmp_path / "in.zarr", "raw")
    return gpa.IntensitiesArrayConfig("raw", stored, min=0, max=255), data.astype(np.float32) / np.float32(255)


def sizes(**options):
    return {
        "tile_size": (TILE * 4,) * 3,
        "context_size": (CONTEXT * 4,) * 3,
        "stride": (STRIDE * 4,) * 3,
        "channels": ("a", "b"),
        **options,
    }


def predicted(source, folder):
    torch.save(networks.unet(seed=1).state_dict(), folder / "weights.pt")
    return gpa.PredictArrayConfig("out", source, "networks:unet", checkpoint=folder / "weights.pt", **sizes())


def stock(source, folder):
    # a stock node wants what the network computes to be all that is asked for
    return gpa.PipelineArrayConfig(
        "out",
        source,
        appended_nodes.add_predict,
        arguments={"seed": 1},
        dtype="float32",
        **sizes(context_size=(4 * 4,) * 3),
    )


def one_pass(data, margin):
    """The network on all of the volume at once, as far as whole strides reach."""
    count = (N - 2 * margin) // STRIDE * STRIDE
    cut = margin - 4
    with torch.inference_mode():
        volume = torch.from_numpy(data[None, None, : count + 2 * margin, : count + 2 * margin, : count + 2 * margin])
        result = networks.unet(seed=1)(volume)[0].numpy()
    return result[:, cut : cut + count, cut : cut + count, cut : cut + count]


@pytest.mark.parametrize(("make", "margin"), [(predicted, CONTEXT), (stock, 4)])
def test_every_region_is_equal_to_the_same_region_of_one_prediction(raw, tmp_path, make, margin):
    source, data = raw
    array = make(source, tmp_path).array()
    all_voxels = array[:]
    np.testing.assert_allclose(all_voxels, one_pass(data, margin), atol=1e-6)
    rng = np.random.default_rng(1)
    for number in range(20):
        if number % 5 == 0:
            CACHE.clear()
        low = [int(rng.integers(0, n)) for n in array.shape]
        # small ones and large ones, at odd places
        high = [min(n, a + int(rng.integers(1, 40))) for a, n in zip(low, array.shape, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        np.testing.assert_array_equal(array[box], all_voxels[box])


@pytest.mark.parametrize("make", [predicted, pytest.param(stock, marks=pytest.mark.slow)])
def test_predictions_are_the_same_if_a_worker_is_killed(raw, tmp_path, make):
    config = gated(make(raw[0], tmp_path), tmp_path / "gate", "copy")
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/copy"
    allow(tmp_path / "gate", 8)
    results = []
    options = {"num_workers": 2, "progress": False, "block": (TILE * 4,) * 3}
    job = threading.Thread(target=lambda: results.append(gpa.materialize(config, out, **options)))
    job.start()
    wait_for(lambda: done_of(state, "copy", GRID).sum() > 2)
    os.kill(workers_of(state)[0], signal.SIGKILL)
    allow(tmp_path / "gate")
    job.join()
    (result,) = results
    assert result.ok, result
    assert result.workers_lost == 1
    assert result.blocks == 64
    stored = gpa.open_zarr(out, "copy")
    assert stored.data.chunks == (1, TILE, TILE, TILE)
    np.testing.assert_array_equal(stored[:], config.array()[:])


def test_blocks_are_checked_with_the_threads_of_the_last_run(tmp_path):
    torch.set_num_threads(2)
    source = gpa.NumpyArrayConfig("raw", data=np.zeros((16, 16), np.float32))
    config = gpa.PredictArrayConfig("out", source, "networks_of_tests:threads", tile_size=(8, 8))
    workers = gpa.Workers(threads=3)
    result = gpa.materialize(config, tmp_path / "out.zarr", num_workers=1, progress=False, workers=workers)
    assert (gpa.open_zarr(tmp_path / "out.zarr", "out")[:] == 3).all()
    CACHE.clear()
    assert gpa.check_blocks(result.state, 4, trust=True).wrong == ()
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("one_process")
def test_another_checkpoint_is_refused(raw, tmp_path):
    source, _ = raw
    config = predicted(gpa.CropArrayConfig("part", source, gpa.Roi((8, 0, -12), (240, 240, 240))), tmp_path)
    config = gpa.ThresholdArrayConfig("border", config, threshold=0.5)
    out, options = tmp_path / "out.zarr", {"num_workers": 1, "progress": False, "block": (TILE * 4,) * 3}
    part = gpa.materialize(config, out, roi=gpa.Roi((32, 24, 12), (96, 96, 96)), **options)
    assert (part.blocks, part.ok) == (1, True)
    before = torch.load(tmp_path / "weights.pt")
    torch.save(networks.unet(seed=2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(gpa.GpArraysError, match="weights.pt"):
        gpa.materialize(config, out, **options)
    # the same again: a file that is written anew with the same content is no change
    torch.save(before, tmp_path / "weights.pt")
    assert gpa.materialize(config, out, **options).ok
    CACHE.clear()
    np.testing.assert_array_equal(gpa.open_zarr(out, "border")[:], config.array()[:])


@pytest.mark.usefixtures("one_process")
def test_another_function_is_refused(tmp_path, monkeypatch):
    module = tmp_path / "changing_network.py"
    module.write_text("import torch\ndef build():\n    return torch.nn.Identity()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    )
    source = gpa.NumpyArrayConfig("raw", data=np.arange(256, dtype=np.float32).reshape(16, 16))
    config = gpa.PredictArrayConfig("out", source, "changing_network:build", tile_size=(8, 8))
    out, options = tmp_path / "out.zarr", {"num_workers": 1, "progress": False, "block": (8, 8)}
    part = gpa.materialize(config, out, roi=gpa.Roi((0, 0), (8, 8)), **options)
    assert (part.blocks, part.ok) == (1, True)
    module.write_text("import torch\ndef build():\n    return torch.nn.ReLU()\n")
    with pytest.raises(gpa.GpArraysError, match="changing_network:build"):
        gpa.materialize(config, out, **options)
