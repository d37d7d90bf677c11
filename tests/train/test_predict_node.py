"""The gunpowder node of a prediction, in pipelines written by hand."""

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

import networks  # noqa: E402

RAW, LABELS, OUT = gp.ArrayKey("RAW"), gp.ArrayKey("LABELS"), gp.ArrayKey("OUT")
DATA = np.random.default_rng(5).integers(0, 256, (48, 44)).astype(np.uint8)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def predict(**changes):
    options = {
        "model": "networks:unet",
        "arguments": {"dims": 2},
        "tile_size": (16, 16),
        "context_size": (8, 8),
        "channels": 2,
        **changes,
    }
    return gpa.Predict(RAW, OUT, **options)


def raw():
    return gpa.NumpySource(RAW, DATA, voxel_size=(2, 2))


def network_result(data):
    """The result of a network for a tile of 8 voxels with a context of 4."""
    with torch.inference_mode():
        return networks.unet(dims=2)(torch.from_numpy(data[None, None].astype(np.float32)))[0].numpy()


def request(**rois):
    wanted = gp.BatchRequest()
    for key in (RAW, LABELS, OUT):
        if key.identifier in rois:
            wanted[key] = gp.ArraySpec(gp.Roi(*rois[key.identifier]))
    return wanted


def test_after_a_source_it_is_the_array(ask):
    config = gpa.NumpyArrayConfig("raw", data=DATA, voxel_size=(2, 2))
    array = gpa.PredictArrayConfig(
        "p", config, "networks:unet", tile_size=(16, 16), context_size=(8, 8), channels=2, arguments={"dims": 2}
    ).array()
    batch = ask(raw() + predict(), {OUT: ((14, 10), (30, 20)), RAW: ((0, 0), (8, 8))})
    np.testing.assert_array_equal(batch[OUT].data, array[gpa.Roi((14, 10), (30, 20))])
    np.testing.assert_array_equal(batch[RAW].data, DATA[:4, :4])


def test_after_a_pad_it_reads_padded_voxels(ask):
    pipeline = raw() + gp.Pad(RAW, (8, 8), mode="reflect") + predict()
    batch = ask(pipeline, {OUT: ((0, 0), (16, 16))})
    want = network_result(np.pad(DATA, 4, mode="reflect")[:16, :16])
    np.testing.assert_array_equal(batch[OUT].data, want)


def test_after_a_random_location_tiles_lie_on_the_grid_through_0(ask):
    labels = gpa.NumpySource(LABELS, DATA, voxel_size=(2, 2))
    pipeline = (raw(), labels) + gp.MergeProvider() + gp.RandomLocation() + predict()
    batch = ask(pipeline, {OUT: ((16, 16), (24, 16)), RAW: ((8, 8), (48, 32)), LABELS: ((16, 16), (24, 16))})
    data = batch[RAW].data
    np.testing.assert_array_equal(batch[LABELS].data, data[4:16, 4:12])
    np.testing.assert_array_equal(batch[OUT].data[:, :8], network_result(data[:16, :16]))
    # half of the second tile
    np.testing.assert_array_equal(batch[OUT].data[:, 8:], network_result(data[8:24, :16])[:, :4])


def test_in_processes_of_a_cache(ask):
    # the parent has run the network already, with threads that its children do not have
    torch.set_num_threads(2)
    want = ask(raw() + predict(), {OUT: ((8, 8), (16, 16))})[OUT].data
    batch = ask(raw() + predict() + gp.PreCache(cache_size=2, num_workers=2), {OUT: ((8, 8), (16, 16))})
    np.testing.assert_allclose(batch[OUT].data, want, atol=1e-6)


def test_samples_are_predicted_one_by_one(ask):
    batch = ask(raw() + gp.Stack(3) + predict(batch_size=2), {OUT: ((8, 8), (16, 16))})
    assert batch[OUT].data.shape == (3, 2, 8, 8)
    # batches of two may be rounded otherwise
    np.testing.assert_allclose(batch[OUT].data[2], network_result(DATA[:16, :16]), atol=1e-6)
