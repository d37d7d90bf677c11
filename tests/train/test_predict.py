"""Predictions of networks as arrays: tiles, errors, files, jobs."""

import pickle
import shutil
import warnings

import numpy as np
import pytest

import gp_arrays as gpa

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

import networks  # noqa: E402

from gp_arrays.model.cache import CACHE  # noqa: E402
from gp_arrays.train.network import Network  # noqa: E402
from gp_arrays.train.predict import PredictArrayConfig  # noqa: E402

V = 4
CONTEXT = (5 * V,) * 3


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def raw(tmp_path):
    """37^3 grey values: tiles do not divide any axis."""
    data = np.random.default_rng(3).integers(0, 256, (37, 37, 37)).astype(np.uint8)
    roi = gpa.Roi((8, 0, -12), (37 * V,) * 3)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", roi, (V,) * 3, "uint8", chunks=(16, 16, 16))[:] = data
    return gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw"), data


def network_result(data, **options):
    with torch.inference_mode():
        return networks.unet(**options)(torch.from_numpy(data[np.newaxis, np.newaxis].astype(np.float32)))[0].numpy()


def predicted(config, **changes):
    options = {
        "model": "networks:unet",
        "tile_size": (12 * V,) * 3,
        "context_size": (6 * V,) * 3,
        "stride": (2 * V,) * 3,
        "channels": ["a", "b"],
    }
    return PredictArrayConfig("prediction", config, **{**options, **changes})


def test_it_is_the_bare_loop_over_the_same_tiles(raw):
    config, data = raw
    array = predicted(config).array()
    assert (array.shape, array.dtype, array.channels) == ((2, 24, 24, 24), np.float32, ("a", "b"))
    assert (array.roi.begin, array.voxel_size) == (gpa.Coordinate(32, 24, 12), (V, V, V))
    want = np.empty(array.shape, np.float32)
    for z in (0, 12):
        for y in (0, 12):
            for x in (0, 12):
                tile = network_result(data[z : z + 24, y : y + 24, x : x + 24])
                want[:, z : z + 12, y : y + 12, x : x + 12] = tile[:, 2:-2, 2:-2, 2:-2][:, :12, :12, :12]
    assert network_result(data[:24, :24, :24]).shape == (2, 16, 16, 16)
    np.testing.assert_array_equal(array[:], want)
    # tiles are multiples of the network's stride: one pass over all of it gives the same, but for rounding
    np.testing.assert_allclose(array[:], network_result(data[:36, :36, :36])[:, 2:-2, 2:-2, 2:-2], atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"padded": "reflect"}, {"padded": "zero", "batch_size": 3}])
def test_any_region_gives_the_same(raw, options):
    config, _ = raw
    array = predicted(config, **options).array()
    all_voxels = array[:]
    rng = np.random.default_rng(1)
    for _ in range(20):
        low = [int(rng.integers(0, n)) for n in array.shape[1:]]
        box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, array.shape[1:], strict=True))
        CACHE.clear()
        np.testing.assert_array_equal(array[(slice(None), *box)], all_voxels[(slice(None), *box)])


@pytest.mark.parametrize(("padded", "mode"), [("edge", "edge"), ("reflect", "reflect"), ("zero", "constant")])
def test_padding_keeps_the_extent(raw, padded, mode):
    config, data = raw
    array = predicted(config, padded=padded, stride=None, tile_size=(40 * V,) * 3, channels=2).array()
    assert array.roi == config.array().roi
    want = network_result(np.pad(data, ((6, 9),) * 3, mode=mode))[:, 2:-2, 2:-2, 2:-2]
    np.testing.assert_array_equal(array[:], want[:, :37, :37, :37])


def test_the_last_tile_is_moved_inward_by_a_multiple_of_the_stride(raw):
    config, data = raw
    array = predicted(config, tile_size=(10 * V,) * 3).array()
    assert array.shape == (2, 24, 24, 24)
    tile = network_result(data[14:36, 14:36, 14:36])
    np.testing.assert_array_equal(array[:, 20:, 20:, 20:], tile[:, 2:-2, 2:-2, 2:-2][:, 6:10, 6:10, 6:10])


def test_a_tile_is_computed_once(raw, monkeypatch):
    config, _ = raw
    CACHE.clear()
    array = predicted(config).array()
    runs = []
    run = Network.run
    monkeypatch.setattr(Network, "run", lambda self, batch, cast: runs.append(1) or run(self, batch, cast))
    for z in range(24):
        array[:, z]
    assert len(runs) == 8
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "0")
    CACHE.clear()
    array[:, 0], array[:, 1]
    assert len(runs) == 8 + 4 + 4


def test_voxels_that_change_are_predicted_again(raw):
    config, data = raw
    array = predicted(config).array()
    before = array[:]
    config.array(mode="r+")[:] = 255 - data
    assert not np.array_equal(array[:], before)
    config.array(mode="r+")[:] = data
    np.testing.assert_array_equal(array[:], before)


def test_scaled_integers(raw):
    config, _ = raw
    floats = predicted(config).array()[:]
    stored = predicted(config, dtype="uint8", output_scale=255).array()
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored[:], np.rint(floats.astype(np.float64) * 255).astype(np.uint8))
    halves = predicted(config, dtype="float16").array()[:]
    np.testing.assert_array_equal(halves, floats.astype(np.float16))


def test_weights_and_other_files(raw, tmp_path):
    config, _ = raw
    want = predicted(config, arguments={"seed": 7}).array()[:]
    network = networks.unet(seed=7)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    torch.save({"model_state_dict": network.state_dict(), "iteration": 5}, tmp_path / "train.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # such files exist all the same
        torch.jit.script(network.eval()).save(tmp_path / "script.pt")
    torch.export.save(torch.export.export(network.eval(), (torch.zeros(1, 1, 24, 24, 24),)), tmp_path / "model.pt2")
    for options in (
        {"checkpoint": tmp_path / "weights.pt"},
        {"checkpoint": tmp_path / "train.pt"},
        {"model": str(tmp_path / "script.pt")},
        {"model": str(tmp_path / "model.pt2")},
    ):
        np.testing.assert_allclose(predicted(config, **options).array()[:], want, atol=1e-6, err_msg=str(options))
    hashes = predicted(config, checkpoint=tmp_path / "weights.pt").fingerprints()
    assert sorted(name.split()[0] for name in hashes) == ["checkpoint", "function"]
    torch.save(networks.unet(seed=8).state_dict(), tmp_path / "weights.pt")
    changed = predicted(config, checkpoint=tmp_path / "weights.pt")
    assert {k for k in hashes if hashes[k] != changed.fingerprints()[k]} == {f"checkpoint {tmp_path / 'weights.pt'}"}
    assert not np.array_equal(changed.array()[:], want)


@pytest.mark.usefixtures("raw")
def test_a_tree_file_moves_with_its_weights(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copytree(tmp_path / "in.zarr", folder / "in.zarr")
    torch.save(networks.unet(seed=7).state_dict(), folder / "weights.pt")
    (folder / "tree.toml").write_text(
        '[raw]\n__type__ = "ZarrArrayConfig"\nfile_name = "in.zarr"\ndataset = "raw"\n'
        '[prediction]\n__type__ = "PredictArrayConfig"\nsource_array_config = "raw"\nmodel = "networks:unet"\n'
        'checkpoint = "weights.pt"\ntile_size = [48, 48, 48]\ncontext_size = [24, 24, 24]\nchannels = ["a", "b"]\n'
    )
    voxels = gpa.load_tree(folder / "tree.toml")["prediction"].array()[:]
    folder.rename(tmp_path / "there")
    moved = gpa.load_tree(tmp_path / "there" / "tree.toml")["prediction"]
    np.testing.assert_array_equal(moved.array()[:], voxels)
    moved.to_toml(tmp_path / "there" / "again.toml")
    assert gpa.load_tree(tmp_path / "there" / "again.toml")["prediction"] == moved
    copy = pickle.loads(pickle.dumps(moved))
    assert (copy, copy.array().meta) == (moved, moved.array().meta)


def test_a_thresholded_prediction_is_a_tree(raw):
    config, _ = raw
    array = gpa.ThresholdArrayConfig("mask", predicted(config), threshold=0.5).array()
    np.testing.assert_array_equal(array[:], predicted(config).array()[:] > 0.5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tile_size": None}, gpa.ConfigError, "tile_size is missing"),
        ({"padded": "yes"}, gpa.ConfigError, "'yes'.*'no', 'edge', 'reflect', 'zero'"),
        ({"dtype": "uint8"}, gpa.ConfigError, "output_scale"),
        ({"batch_size": 0}, gpa.ConfigError, "batch_size"),
        ({"context_size": (-4, 0, 0)}, gpa.ConfigError, "negative"),
        ({"channels": []}, gpa.ConfigError, "channels"),
        ({"autocast": "int8"}, gpa.ConfigError, "int8"),
        ({"tile_size": (200, 48, 48)}, gpa.TreeError, r"up to \(96, 48, 48\) nm"),
        ({"tile_size": (12, 48, 48)}, gpa.TreeError, r"multiples of \(8, 8, 8\) nm"),
        ({"tile_size": (48, 48)}, gpa.TreeError, "one whole length per spatial axis"),
        ({"context_size": (6, 8, 8)}, gpa.TreeError, "context_size is not whole voxels"),
        ({"context_size": (400, 8, 8)}, gpa.TreeError, "smaller than the context"),
        ({"model": "networks:nothing"}, gpa.TreeError, "no such function"),
        ({"model": "networks:no_network"}, gpa.TreeError, "a torch.nn.Module"),
        ({"model": "nowhere.pt"}, gpa.StoreError, "nowhere.pt"),
        ({"checkpoint": "nowhere.pt"}, gpa.StoreError, "nowhere.pt"),
        ({"channels": 3}, gpa.ComputeError, "found 2 channels.*allowed: 3 channels"),
        ({"context_size": (4, 4, 4)}, gpa.ComputeError, "context_size"),
        ({"model": "networks:wrong", "arguments": {"kind": "fails"}}, gpa.ComputeError, "out of memory"),
        ({"model": "networks:wrong", "arguments": {"kind": "tuple"}}, gpa.ComputeError, "one tensor"),
        (
            {
                "model": "networks:wrong",
                "arguments": {"kind": "nan"},
                "channels": 1,
                "dtype": "int16",
                "output_scale": 1,
            },
            gpa.ComputeError,
            "not finite",
        ),
    ],
)
def test_bad_values_and_combinations(raw, options, error, message):
    config, _ = raw
    with pytest.raises(error, match=message) as caught:
        predicted(config, **options).array()[:]
    assert caught.value.path[:1] == ("prediction",)
    assert "\n" not in str(caught.value)


def test_sources_that_a_network_does_not_read():
    ids = gpa.NumpyArrayConfig("ids", data=np.zeros((40, 40), np.uint64))
    times = gpa.NumpyArrayConfig("times", data=np.zeros((2, 40, 40), np.uint8), axes=["t", "y", "x"])
    for source, message in ((ids, "uint64"), (times, "found t")):
        with pytest.raises(gpa.TreeError, match=message):
            predicted(source, tile_size=(8, 8), context_size=None, stride=None, arguments={"dims": 2}).array()


def test_channels_and_flat_sources():
    data = np.random.default_rng(0).random((3, 30, 30)).astype(np.float32)
    source = gpa.NumpyArrayConfig("colour", data=data, axes=["c", "y", "x"])
    array = predicted(
        source,
        tile_size=(10, 10),
        context_size=(5, 5),
        stride=(2, 2),
        channels=None,
        arguments={"dims": 2, "in_channels": 3, "out_channels": 1},
    ).array()
    assert array.shape == (20, 20)
    with torch.inference_mode():
        want = networks.unet(dims=2, in_channels=3, out_channels=1)(torch.from_numpy(data[np.newaxis]))[0, 0]
    np.testing.assert_allclose(array[:], want.numpy()[1:-1, 1:-1][:20, :20], atol=1e-6)
