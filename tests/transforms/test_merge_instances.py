"""Merged instances of several volumes: ids, ranges, overlaps, any request gives the same ids, laws."""

import itertools

import gunpowder as gp
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.transforms.merge_instances import invalid_id, merge, overlap_of

TOP = 2**64 - 1
ROOM = 2**40


def memory(name, data, dtype=np.uint64, **options):
    return gpa.NumpyArrayConfig(name, np.array(data, dtype), **options)


def dense(source, folder):
    """The source with ids 1, 2, 3, ..."""
    table = gpa.dense_table(source, folder / f"{source.name}.npy")
    return gpa.RelabelArrayConfig(f"dense {source.name}", source, table)


def loop(volumes, offsets, overlap="first"):
    """The definition, applied voxel by voxel with Python integers."""
    out = np.zeros(volumes[0].shape, np.uint64)
    for index in np.ndindex(*out.shape):
        ids = [offsets[k] + int(v[index]) for k, v in enumerate(volumes) if v[index] != 0]
        if ids:
            out[index] = ids[0] if overlap == "first" else ids[-1]
    return out


# kernels


@pytest.mark.parametrize(
    ("last", "offsets", "expected"),
    [
        (False, [0, 10, 20], [0, 1, 1, 12, 13, 29]),
        (True, [0, 10, 20], [0, 11, 28, 12, 13, 29]),
        (False, [5, 10, 0], [0, 6, 6, 12, 13, 9]),
        (True, [5, 10, 0], [0, 11, 8, 12, 13, 9]),
    ],
)
def test_merge(last, offsets, expected):
    labels = [
        np.array([0, 1, 1, 0, 0, 0], np.uint64),
        np.array([0, 1, 0, 2, 3, 0], np.int8),
        np.array([0, 0, 8, 0, 0, 9], np.uint16),
    ]
    merged = merge(labels, offsets, last)
    assert merged.tolist() == expected
    assert merged.dtype == np.uint64


def test_merge_at_the_largest_id():
    assert merge([np.array([TOP, 0], np.uint64), np.array([1, 2**63 - 1], np.int64)], [0, 2**63]).tolist() == [TOP, TOP]


def test_merge_does_not_modify_its_sources():
    a, b = np.array([[1, 0]], np.uint64), np.array([[0, 1]], np.uint64)
    for labels in (a, b):
        labels.flags.writeable = False
    assert merge([a, b], [7, 9]).tolist() == [[8, 10]]


def test_invalid_ids():
    assert invalid_id(np.array([[1, 2], [3, 9]], np.int32), 8) == (1, 1)
    assert invalid_id(np.array([[1, 2], [3, 9]], np.int32), 9) is None
    assert invalid_id(np.array([5, -1], np.int64), TOP) == (1,)
    assert invalid_id(np.array([255], np.uint8), 255) is None
    assert invalid_id(np.array([255], np.uint8), 254) == (0,)
    assert invalid_id(np.array([TOP], np.uint64), TOP - 1) == (0,)


def test_overlap_of():
    a, b, c = np.array([0, 1, 0]), np.array([1, 0, 0]), np.array([0, 2, 2])
    assert overlap_of([a, b]) is None
    assert overlap_of([a, b, c]) == ((1,), 0, 2)


# the array


def test_meta_and_voxels():
    a = memory("a", [[0, 1, 1], [0, 0, 2]], offset=(0, 10), voxel_size=(10, 10))
    b = memory("b", [[7, 7, 0], [7, 0, 7]], np.int16, offset=(0, 20), voxel_size=(10, 10))
    merged = gpa.MergeInstancesArrayConfig("merged", [a, b]).array()
    assert merged.dtype == np.uint64
    assert merged.roi == gpa.Roi((0, 20), (20, 20))
    assert not merged.interpolatable
    assert merged.channels is None
    assert merged.attrs == {}
    assert merged[:].tolist() == [[1, 1], [ROOM + 7, 2]]
    last = gpa.MergeInstancesArrayConfig("last", [a, b], overlap="last").array()
    assert last[:].tolist() == [[ROOM + 7, ROOM + 7], [ROOM + 7, 2]]


def test_one_source_keeps_its_attributes(tmp_path):
    array = gpa.create_zarr(
        tmp_path / "a.zarr",
        "ids",
        roi=gpa.Roi((0, 0), (2, 2)),
        voxel_size=(1, 1),
        dtype="uint64",
        attributes={"who": "me"},
    )
    assert gpa.MergeInstancesArrayConfig("one", [array.config]).array().attrs["who"] == "me"


@pytest.mark.parametrize(
    ("offsets", "largest"),
    [
        (None, (ROOM, ROOM, TOP - 2 * ROOM)),
        ([0, 5, 100], (5, 95, TOP - 100)),
        ([100, 0, 5], (TOP - 100, 5, 95)),
        ([TOP - 1, 0, 1], (1, 1, TOP - 2)),
    ],
)
def test_largest(offsets, largest):
    config = gpa.MergeInstancesArrayConfig("m", [memory(name, [[0]]) for name in "abc"], id_offsets=offsets)
    assert config.largest_ids == largest


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"id_offsets": [0, 0]}, "id_offsets are not all different; found [0, 0]"),
        ({"id_offsets": [0, -1]}, "an id offset is out of range; found [0, -1]"),
        ({"id_offsets": [0, TOP]}, f"an id offset is out of range; found [0, {TOP}]; allowed: 0 to {TOP - 1}"),
        ({"id_offsets": [0]}, "id_offsets does not have one offset per source; found 1 for a, b; allowed: 2"),
        ({"id_offsets": "01"}, "id_offsets: not a list of integers; found '01'"),
        ({"id_offsets": [0, 0.5]}, "id_offsets: not an integer; found 0.5"),
        ({"overlap": "sum"}, "unknown overlap; found 'sum'; allowed: 'first', 'last', 'error'"),
        ({"source_array_configs": []}, "source_array_configs is empty"),
        ({"source_array_configs": ["a"]}, "source_array_configs is not an array config; found 'a'"),
    ],
)
def test_bad_values_are_refused_when_the_config_is_created(fields, problem):
    good = {"source_array_configs": [memory("a", [[0]]), memory("b", [[0]])]}
    with pytest.raises(gpa.ConfigError) as caught:
        gpa.MergeInstancesArrayConfig("merged", **{**good, **fields})
    assert str(caught.value).startswith(f"merged: {problem}")


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (memory("b", [[0.0]], np.float32), "source b: MergeInstances reads ids; found dtype float32"),
        (memory("b", [[True]], bool), "source b: MergeInstances reads ids; found dtype bool"),
        (memory("b", [[[0]]], axes=("c", "y", "x")), "source b: MergeInstances takes a source without channels"),
        (memory("b", [[0]], voxel_size=(2, 2)), "voxel size of the sources differ; found a (1, 1), b (2, 2)"),
        (memory("b", [[0]], offset=(5, 5)), "the rois of the sources do not overlap"),
    ],
)
def test_bad_combinations_are_refused_when_the_tree_is_compiled(other, problem):
    top = gpa.OnesArrayConfig("top", gpa.MergeInstancesArrayConfig("merged", [memory("a", [[0]]), other]))
    with pytest.raises(gpa.TreeError) as caught:
        top.array()
    assert str(caught.value).startswith(f"top > merged: {problem}")


@pytest.mark.parametrize(
    ("data", "dtype", "offsets", "id"),
    [
        ([[0, 0], [0, 6]], np.uint64, [10, 15], 6),
        ([[0, 0], [0, -3]], np.int32, [15, 10], -3),
        ([[0, 0], [0, TOP]], np.uint64, [1, 0], TOP),
        ([[0, 0], [0, ROOM + 1]], np.uint64, None, ROOM + 1),
    ],
)
def test_an_id_beyond_its_range(data, dtype, offsets, id):
    a = memory("a", data, dtype, offset=(100, 200), voxel_size=(10, 20))
    b = memory("b", [[0, 0], [0, 0]], offset=(100, 200), voxel_size=(10, 20))
    merged = gpa.MergeInstancesArrayConfig("merged", [a, b], id_offsets=offsets).array()
    assert merged[0].tolist() == [0, 0]
    with pytest.raises(gpa.ComputeError) as caught:
        merged[:]
    text = str(caught.value)
    assert text.startswith(f"merged: an id of a is out of range; found {id} at (110, 220) nm")
    assert "id_offsets" in text
    assert "RelabelArrayConfig with a table of gp_arrays.dense_table" in text


def test_the_largest_ids_of_the_last_range():
    a, b = memory("a", [[TOP - 5, 0]]), memory("b", [[0, 5]])
    merged = gpa.MergeInstancesArrayConfig("merged", [a, b], id_offsets=[5, 0])
    assert merged.array()[:].tolist() == [[TOP, 5]]
    assert gpa.source_of_id(merged, TOP) == ("a", TOP - 5)
    alone = gpa.MergeInstancesArrayConfig("alone", [memory("t", [[TOP, TOP - 1]])])
    assert alone.array()[:].tolist() == [[TOP, TOP - 1]]


def test_overlap_error_names_the_position_and_both_ids():
    a = memory("a", [[0, 1], [3, 0]], offset=(100, 0), voxel_size=(10, 1))
    b = memory("b", [[2, 0], [2**39, 0]], offset=(100, 0), voxel_size=(10, 1))
    merged = gpa.MergeInstancesArrayConfig("merged", [a, b], [ROOM, 0], overlap="error").array()
    assert merged[0].tolist() == [2, ROOM + 1]
    with pytest.raises(
        gpa.ComputeError, match=rf"merged: instances overlap; found 3 of a and {2**39} of b at \(110, 0\) nm"
    ):
        merged[:]


def test_source_of_id(tmp_path):
    a, b = memory("a", [[0, 5]]), memory("b", [[2**59, 2**60]])
    merged = gpa.MergeInstancesArrayConfig("merged", [a, dense(b, tmp_path)])
    assert gpa.source_of_id(merged, 5) == ("a", 5)
    assert gpa.source_of_id(merged, np.uint64(ROOM)) == ("a", ROOM)
    assert gpa.source_of_id(merged, ROOM + 1) == ("dense b", 1)
    assert gpa.source_of_id(merged, ROOM + 2) == ("dense b", 2)
    assert np.load(tmp_path / "b.npy").tolist() == [[2**59, 1], [2**60, 2]]
    for none in (0, -1, TOP + 1):
        with pytest.raises(gpa.RequestError, match=f"merged: no source has that id; found {none}"):
            gpa.source_of_id(merged, none)
    gap = gpa.MergeInstancesArrayConfig("gap", [a], id_offsets=[10])
    with pytest.raises(gpa.RequestError):
        gpa.source_of_id(gap, 10)
    with pytest.raises(gpa.RequestError, match="not a MergeInstancesArrayConfig"):
        gpa.source_of_id(a, 1)


def test_every_id_is_traced_back(tmp_path):
    rng = np.random.default_rng(5)
    volumes = {
        "a": rng.integers(0, 4, (6, 6), np.uint64),
        "b": rng.integers(0, 4, (6, 6), np.uint64) * np.uint64(2**60 + 3),
        "c": rng.integers(0, 2, (6, 6), np.uint64) * np.uint64(TOP),
    }
    a, b, c = (memory(name, volume) for name, volume in volumes.items())
    merged = gpa.MergeInstancesArrayConfig("m", [a, dense(b, tmp_path), dense(c, tmp_path)])
    voxels = merged.array()[:]
    for index in np.ndindex(6, 6):
        there = [(name, int(volume[index])) for name, volume in volumes.items() if volume[index]]
        if not there:
            assert voxels[index] == 0
            continue
        name, id = gpa.source_of_id(merged, voxels[index])
        if name != "a":
            name = name.removeprefix("dense ")
            ids, results = np.load(tmp_path / f"{name}.npy").T.tolist()
            id = ids[results.index(id)]
        assert (name, id) == there[0]


def test_the_tree_file_keeps_it(tmp_path):
    sources = [
        gpa.create_zarr(tmp_path / "a.zarr", n, gpa.Roi((0, 0), (2, 2)), (1, 1), "uint64").config for n in ("p", "q")
    ]
    merged = gpa.MergeInstancesArrayConfig("merged", sources, id_offsets=[2**63, 5], overlap="last")
    for suffix in ("toml", "yaml", "json"):
        merged.to_toml(tmp_path / f"tree.{suffix}")
        assert gpa.MergeInstancesArrayConfig.from_toml(tmp_path / f"tree.{suffix}") == merged


# the laws


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_block_law(data):
    shape = (4, 5, 6)
    count = data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    pool = np.array([0, 0, 1, 2, 3], np.uint64)
    volumes = [rng.choice(pool, shape) for k in range(count)]
    overlap = data.draw(st.sampled_from(["first", "last"]))
    offsets = data.draw(st.permutations([0, 2**40, TOP - 10]))[:count]
    sources = [gpa.NumpyArrayConfig(f"s{k}", volume) for k, volume in enumerate(volumes)]
    merged = gpa.MergeInstancesArrayConfig("m", sources, offsets, overlap).array()
    expected = loop(volumes, offsets, overlap)
    low = [data.draw(st.integers(0, n - 1)) for n in shape]
    box = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(low, shape, strict=True))
    assert (merged[box] == expected[box]).all()
    assert (merged[:] == expected).all()


def test_any_partition_has_the_voxels_of_the_array():
    rng = np.random.default_rng(7)
    volumes = [rng.integers(0, 3, (6, 5, 4), np.uint64), rng.integers(0, 3, (6, 5, 4), np.uint64) << np.uint64(30)]
    sources = [gpa.NumpyArrayConfig(f"s{k}", volume) for k, volume in enumerate(volumes)]
    merged = gpa.MergeInstancesArrayConfig("m", sources).array()
    expected = loop(volumes, [0, ROOM])
    for axis, n in enumerate((6, 5, 4)):
        for plane in range(1, n):
            parts = []
            for part in (slice(plane, None), slice(None, plane)):
                parts.insert(0, merged[(slice(None),) * axis + (part,)])
            assert (np.concatenate(parts, axis) == expected).all()


def test_compiled_pipeline_and_node_after_random_augmentation():
    rng = np.random.default_rng(3)
    volumes = [rng.integers(0, 3, (12, 12, 12), np.uint64), rng.integers(0, 3, (12, 12, 12), np.uint16)]
    sources = [gpa.NumpyArrayConfig(f"s{k}", volume) for k, volume in enumerate(volumes)]
    expected = loop(volumes, [0, ROOM])
    a, b, merged = gp.ArrayKey("A"), gp.ArrayKey("B"), gp.ArrayKey("MERGED")
    compiled = gpa.compile_pipeline({merged: gpa.MergeInstancesArrayConfig("m", sources)})
    with gp.build(compiled):
        batch = compiled.request_batch(gp.BatchRequest({merged: gp.ArraySpec(roi=gp.Roi((1, 2, 3), (5, 6, 7)))}))
    assert (batch[merged].data == expected[1:6, 2:8, 3:10]).all()

    pipeline = (
        tuple(
            gpa.NumpySource(key, volume) + gp.Pad(key, gp.Coordinate(4, 4, 4))
            for key, volume in zip((a, b), volumes, strict=True)
        )
        + gp.MergeProvider()
        + gp.RandomLocation()
        + gp.SimpleAugment()
        + gpa.MergeInstances([a, b], merged, overlap="last")
    )
    request = gp.BatchRequest(random_seed=11)
    for key in (a, b, merged):
        request.add(key, (6, 6, 6))
    with gp.build(pipeline):
        for _ in range(4):
            batch = pipeline.request_batch(request)
            assert batch[merged].data.dtype == np.uint64
            assert (batch[merged].data == loop([batch[a].data, batch[b].data], [0, ROOM], "last")).all()


def test_errors_in_a_compiled_pipeline_name_the_path_and_the_world_position():
    # 103 and 205 are off the grid through zero, so gunpowder is served shifted coordinates
    source = memory("a", [[0, 0], [0, -1]], np.int64, offset=(103, 205), voxel_size=(10, 20))
    merged = gpa.MergeInstancesArrayConfig("merged", [source])
    key = gp.ArrayKey("TOP")
    pipeline = gpa.compile_pipeline({key: gpa.LogicalOrArrayConfig("top", merged)}, shift=(3, 5))
    request = gp.BatchRequest({key: gp.ArraySpec(roi=gp.Roi((100, 200), (20, 40)))})
    with gp.build(pipeline), pytest.raises(gp.PipelineRequestError) as caught:
        pipeline.request_batch(request)
    assert "top > merged: an id of a is out of range; found -1 at (113, 225) nm" in str(caught.value)


def test_node_in_an_unbounded_pad_and_errors_there():
    a, b, merged = gp.ArrayKey("A"), gp.ArrayKey("B"), gp.ArrayKey("MERGED")
    pipeline = (
        (gpa.NumpySource(a, np.array([[1, 0]], np.uint8)), gpa.NumpySource(b, np.array([[0, -1]], np.int32)))
        + gp.MergeProvider()
        + gp.Pad(a, None)
        + gp.Pad(b, None)
        + gpa.MergeInstances({"first": a, "second": b}, merged, id_offsets=[7, 0])
    )
    with gp.build(pipeline):
        batch = pipeline.request_batch(gp.BatchRequest({merged: gp.ArraySpec(roi=gp.Roi((0, -1), (2, 2)))}))
        assert batch[merged].data.tolist() == [[0, 8], [0, 0]]
        with pytest.raises(gp.PipelineRequestError, match=r"an id of B is out of range; found -1 at \(0, 1\) nm"):
            pipeline.request_batch(gp.BatchRequest({merged: gp.ArraySpec(roi=gp.Roi((0, 0), (1, 2)))}))


def test_more_ids_than_the_range_holds(tmp_path):
    a, b = memory("a", [[9, 8, 7]]), memory("b", [[0, 0, 0]])
    merged = gpa.MergeInstancesArrayConfig("merged", [dense(a, tmp_path), b], id_offsets=[0, 2]).array()
    assert merged[:, 1:].tolist() == [[2, 1]]
    with pytest.raises(gpa.ComputeError, match=r"merged: an id of dense a is out of range; found 3 at \(0, 0\) nm"):
        merged[:]


@pytest.mark.slow
def test_real_neurons_and_supervoxels_in_any_block_shape(fib25, tmp_path):
    neurons, supervoxels = (zarr.open(str(fib25), mode="r", path=f"labels/{n}")[:] for n in ("neurons", "supervoxels"))
    plain = np.where(neurons != 0, neurons, np.where(supervoxels != 0, supervoxels + np.uint64(ROOM), 0))
    ids, ranks = np.unique(neurons, return_inverse=True)
    assert ids[0] == 0  # so that ranks count from 1
    ranks = ranks.reshape(neurons.shape).astype(np.uint64)
    small = np.where(ranks != 0, ranks, supervoxels + np.uint64(10000))
    assert supervoxels.min() > 0
    sources = [gpa.ZarrArrayConfig(n, fib25, f"labels/{n}") for n in ("neurons", "supervoxels")]
    merged = gpa.MergeInstancesArrayConfig("merged", sources)
    other = gpa.MergeInstancesArrayConfig("other", [dense(sources[0], tmp_path), sources[1]], [0, 10000])
    for config, expected in ((merged, plain), (other, small)):
        array = config.array()
        assert array.shape == expected.shape
        assert np.array_equal(array[:], expected)
        block = (100, 67, 131)
        for corner in itertools.product(*(range(0, n, b) for n, b in zip(expected.shape, block, strict=True))):
            box = tuple(slice(a, min(a + b, n)) for a, b, n in zip(corner, block, expected.shape, strict=True))
            assert np.array_equal(array[box], expected[box])
    assert gpa.source_of_id(other, 10) == ("dense neurons", 10)
    assert np.load(tmp_path / "neurons.npy")[9].tolist() == [ids[10], 10]


class TestLaws(ArrayTypeLaws):
    type = gpa.MergeInstancesArrayConfig

    def configs(self, folder):
        rng = np.random.default_rng(8)
        grid = {"offset": (3, 10, 5), "voxel_size": (2, 10, 5)}
        small = gpa.NumpyArrayConfig("small", rng.choice(np.array([0, 0, 1, 5], np.uint8), (4, 5, 6)), **grid)
        signed = gpa.NumpyArrayConfig("signed", rng.choice(np.array([0, 0, 2**40]), (4, 5, 6)), **grid)
        large = gpa.NumpyArrayConfig("large", rng.choice(np.array([0, 9, 2**59, TOP], np.uint64), (4, 5, 6)), **grid)
        part = gpa.CropArrayConfig("part", signed, [[5, 20, 0], [100, 100, 100]])
        of = gpa.MergeInstancesArrayConfig
        return [
            of("first", [small, part, dense(large, folder)]),
            of("last", [dense(large, folder), small], id_offsets=[0, 2**62], overlap="last"),
            of("one", [large]),
            of("again", [of("inner", [small, signed]), small], id_offsets=[0, 2**62], overlap="last"),
        ]

    def refused(self):
        a, b = memory("a", [[0]]), memory("b", [[0]])
        return [
            lambda: gpa.MergeInstancesArrayConfig("m", [a, b], [1, 1]),
            lambda: gpa.MergeInstancesArrayConfig("m", [a, b], [0, -1]),
            lambda: gpa.MergeInstancesArrayConfig("m", [a, b], overlap="none"),
        ]

    def misfits(self, folder):
        a = memory("a", [[0]])
        others = [
            memory("b", [[0.0]], np.float32),
            memory("b", [[0]], voxel_size=(2, 2)),
            memory("b", [[0]], offset=(9, 9)),
        ]
        return [gpa.MergeInstancesArrayConfig("misfit", [a, other]) for other in others]
