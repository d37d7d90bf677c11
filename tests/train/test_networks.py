"""Networks other than the U-Net of test_predict, and results beyond the range of a dtype."""

import warnings

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE
from gp_arrays.train.predict import scaled

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

import networks_of_tests  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


DATA = np.random.default_rng(0).random((37, 41)).astype(np.float32)
RAW = gpa.NumpyArrayConfig("raw", data=DATA)


def predicted(model, source=RAW, **options):
    options = {"tile_size": (8, 8), "context_size": (4, 4), **options}
    return gpa.PredictArrayConfig("p", source, f"networks_of_tests:{model}", **options).array()


def assert_regions_equal(array, count=20):
    all_voxels = array[:]
    rng = np.random.default_rng(1)
    for _ in range(count):
        low = [int(rng.integers(0, n)) for n in array.shape]
        box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, array.shape, strict=True))
        CACHE.clear()
        np.testing.assert_array_equal(array[box], all_voxels[box])
    return all_voxels


def run(model, data):
    with torch.inference_mode():
        return getattr(networks_of_tests, model)()(torch.from_numpy(data[None, None]))[0, 0].numpy()


def test_a_network_that_pools_by_4():
    array = predicted("pooling_by_4", stride=(4, 4))
    assert array.shape == (28, 32)
    all_voxels = assert_regions_equal(array)
    np.testing.assert_allclose(all_voxels, run("pooling_by_4", DATA[:36, :40])[4:-4, 4:-4], atol=1e-6)
    with pytest.raises(gpa.TreeError, match=r"tile_size.*\(10, 8\).*multiples of \(4, 4\)"):
        predicted("pooling_by_4", stride=(4, 4), tile_size=(10, 8))


@pytest.mark.parametrize("padded", ["edge", "reflect", "zero"])
def test_every_edge_is_padded(padded):
    array = predicted("pooling_by_4", padded=padded, tile_size=(16, 12), batch_size=4)
    assert array.shape == DATA.shape
    all_voxels = assert_regions_equal(array)
    mode = {"zero": "constant"}.get(padded, padded)
    # one tile at each corner; the last ones are moved inward
    data = np.pad(DATA, 4, mode=mode)
    for rows, columns in ((slice(0, 16), slice(0, 12)), (slice(21, 37), slice(29, 41))):
        tile = run("pooling_by_4", data[rows.start : rows.stop + 8, columns.start : columns.stop + 8])[4:-4, 4:-4]
        np.testing.assert_array_equal(all_voxels[rows, columns][-5:, -5:], tile[-5:, -5:])


def test_a_result_with_finer_voxels():
    raw = gpa.NumpyArrayConfig("raw", data=DATA, voxel_size=(2, 2))
    array = predicted("finer", raw, tile_size=(16, 16), context_size=(0, 0), voxel_size=(1, 1))
    assert array.shape == (74, 82)
    np.testing.assert_array_equal(assert_regions_equal(array), DATA.repeat(2, 0).repeat(2, 1))


def test_half_precision_of_a_network_is_float32_of_the_array():
    array = predicted("bfloat16", context_size=None)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array[:], DATA, atol=1e-2)


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        ("raises", {}, gpa.StoreError, "networks_of_tests:raises: ValueError: no such network"),
        ("unknown", {}, gpa.TreeError, "no such function.*unknown"),
        ("identity", {"device": "cuda"}, gpa.TreeError, "cannot use the device here; found device 'cuda'"),
        ("identity", {"device": "nonsense"}, gpa.TreeError, "nonsense"),
        ("mapping", {}, gpa.ComputeError, "one tensor; found dict"),
        ("no_channels", {}, gpa.ComputeError, "found 16 channels"),
        ("identity", {"source": gpa.NumpyArrayConfig("raw", data=DATA[:, :9])}, gpa.TreeError, "smaller than"),
    ],
)
def test_models_that_are_refused(model, options, error, message):
    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(error, match=message) as caught:
        predicted(model, **options)[:]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_weights_of_another_network(tmp_path):
    torch.save({"state_dict": torch.nn.Conv2d(1, 1, 3).state_dict()}, tmp_path / "other.pt")
    torch.save(torch.nn.Conv2d(1, 1, 3), tmp_path / "module.pt")
    (tmp_path / "no.pt").write_bytes(b"no weights")
    for name in ("other.pt", "module.pt", "no.pt"):
        with pytest.raises(gpa.StoreError, match=name) as caught:
            predicted("linear", checkpoint=tmp_path / name)[:]
        assert "\n" not in str(caught.value)


def test_results_are_clipped_to_what_a_dtype_holds():
    values = np.array([-1e6, -0.2, 0.5, 1e6], np.float32)
    assert scaled(values, 255, np.dtype("uint8")).tolist() == [0, 0, 128, 255]
    assert scaled(values, 1, np.dtype("int8")).tolist() == [-128, 0, 0, 127]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        halves = scaled(np.array([1e6, -1e6, np.inf, np.nan, 0.1], np.float32), None, np.dtype("float16"))
        singles = scaled(np.array([1e30], np.float32), 1e30, np.dtype("float32"))
    np.testing.assert_array_equal(halves, np.array([65504, -65504, np.inf, np.nan, 0.1], np.float16))
    assert singles.tolist() == [float(np.finfo("float32").max)]
    for value in (np.nan, np.inf):
        with pytest.raises(gpa.ComputeError, match="not finite"):
            scaled(np.array([value], np.float32), 255, np.dtype("uint8"))
