"""Appended nodes that pool get requests of complete tiles on one grid."""

import appended_nodes
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE
from gp_arrays.train.pipeline_array import PipelineArrayConfig


def pooled(data, margin=2):
    """The result of ``Pooled`` for one input, computed by loops."""
    out = np.empty([n // 2 * 2 for n in data.shape], np.float32)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = data[y // 2 * 2 : y // 2 * 2 + 2, x // 2 * 2 : x // 2 * 2 + 2].astype(np.float32).mean()
    return out[margin:-margin, margin:-margin]


@pytest.fixture
def raw():
    data = np.random.default_rng(0).integers(0, 256, (45, 33)).astype(np.uint8)
    return gpa.NumpyArrayConfig("raw", data=data, offset=(8, -4), voxel_size=(4, 4)), data


def config(raw, **changes):
    options = {"context_size": (8, 8), "tile_size": (48, 40), "dtype": "float32", **changes}
    return PipelineArrayConfig("pooled", raw[0], appended_nodes.add_pooled, **options)


def test_it_has_the_voxels_of_a_loop_over_tiles(raw):
    array = config(raw).array()
    assert (array.shape, tuple(array.roi.begin)) == ((41, 29), (16, 4))
    want = np.full((41, 29), np.nan, np.float32)
    for y, first_row in ((0, 0), (12, 12), (24, 24), (29, 36)):
        for x, first_column in ((0, 0), (10, 10), (19, 20)):
            tile = pooled(raw[1][y : y + 16, x : x + 14])
            want[first_row : y + 12, first_column : x + 10] = tile[first_row - y :, first_column - x :]
    np.testing.assert_array_equal(array[:], want)


@pytest.mark.parametrize("changes", [{}, {"stride": (8, 8)}, {"tile_size": (160, 112)}])
def test_any_region_gives_the_same(raw, changes):
    array = config(raw, **changes).array()
    all_voxels = array[:]
    rng = np.random.default_rng(1)
    for _ in range(50):
        low = [int(rng.integers(0, n)) for n in array.shape]
        box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, array.shape, strict=True))
        CACHE.clear()
        np.testing.assert_array_equal(array[box], all_voxels[box])


def test_with_strides_it_has_the_voxels_of_one_pass(raw):
    array = config(raw, stride=(8, 8)).array()
    assert array.shape == (40, 28)
    np.testing.assert_array_equal(array[:], pooled(raw[1][:44, :32]))


def test_without_tiles_a_region_that_begins_elsewhere_differs(raw):
    """The fault that tiles prevent."""
    array = config(raw, tile_size=None).array()
    assert not np.array_equal(array[1:9, 1:9], array[:10, :10][1:9, 1:9])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tile_size": (400, 40)}, gpa.TreeError, r"tile_size \(400, 40\) nm.*up to \(164, 40\) nm"),
        ({"tile_size": (6, 8)}, gpa.TreeError, r"multiples of \(4, 4\) nm"),
        ({"context_size": (-8, 8)}, gpa.ConfigError, r"context_size is negative; found \(-8, 8\)"),
        ({"tile_size": None, "stride": (8, 8)}, gpa.ConfigError, "stride needs tile_size"),
        ({"interpolatable": "no"}, gpa.ConfigError, "interpolatable.*'no'"),
        ({"fingerprint": "weights.pt"}, gpa.ConfigError, "fingerprint: not a list of files"),
    ],
)
def test_bad_values_and_combinations(raw, changes, error, message):
    with pytest.raises(error, match=message):
        config(raw, **changes).array()


def test_files_that_decide_the_result(raw, tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"one")
    before = config(raw, fingerprint=[weights]).fingerprints()
    assert {f"file {weights}", "function appended_nodes:add_pooled"} <= set(before)
    weights.write_bytes(b"two")
    after = config(raw, fingerprint=[weights]).fingerprints()
    assert [name for name in before if before[name] != after[name]] == [f"file {weights}"]
    weights.unlink()
    with pytest.raises(gpa.StoreError, match="weights.pt"):
        config(raw, fingerprint=[weights]).fingerprints()


def test_modules_and_files_that_a_function_uses_decide_the_result(raw, tmp_path, monkeypatch):
    package = tmp_path / "tried_nodes"
    (package / "deep").mkdir(parents=True)
    files = {
        "__init__.py": "from . import outer",
        "outer.py": "import numpy\nfrom tried_helpers import scale\ndef add(pipeline, key, weights):\n"
        "    from .deep.inner import factor\n    return pipeline",
        "deep/__init__.py": "",
        "deep/inner.py": "factor = 1",
        "unused.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    (tmp_path / "tried_helpers.py").write_text("import tried_nodes\nscale = 1")
    (tmp_path / "weights.pt").write_bytes(b"one")
    monkeypatch.syspath_prepend(tmp_path)

    def hashes():
        arguments = {"weights": str(tmp_path / "weights.pt"), "scale": 2, "name": "a"}
        return PipelineArrayConfig("a", raw[0], "tried_nodes.outer:add", arguments=arguments).fingerprints()

    before = hashes()
    assert sorted(before) == [
        "argument weights",
        "function tried_nodes.outer:add",
        "module tried_helpers",
        "module tried_nodes",
        "module tried_nodes.deep",
        "module tried_nodes.deep.inner",
    ]
    (package / "deep/inner.py").write_text("factor = 2")
    (package / "unused.py").write_text("anything")
    (tmp_path / "weights.pt").write_bytes(b"two")
    after = hashes()
    assert sorted(name for name in before if before[name] != after[name]) == [
        "argument weights",
        "module tried_nodes.deep.inner",
    ]


def test_a_stock_predict_node(tmp_path):
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    import networks

    torch.set_num_threads(1)
    data = np.random.default_rng(0).random((30, 31, 33)).astype(np.float32)
    raw = gpa.NumpyArrayConfig("raw", data=data)
    array = PipelineArrayConfig(
        "prediction",
        raw,
        appended_nodes.add_predict,
        context_size=(4, 4, 4),
        tile_size=(10, 10, 10),
        stride=(2, 2, 2),
        dtype="float32",
        channels=("a", "b"),
    ).array()
    assert array.shape == (2, 22, 22, 24)
    all_voxels = array[:]
    with torch.inference_mode():
        result = networks.unet()(torch.from_numpy(data[np.newaxis, np.newaxis, :30, :30, :32]))[0].numpy()
    assert result.shape == all_voxels.shape
    np.testing.assert_allclose(all_voxels, result, atol=1e-6)
    CACHE.clear()
    np.testing.assert_array_equal(array[:, 3:8, 11:20, 1:22], all_voxels[:, 3:8, 11:20, 1:22])
