"""Configs: compared by their fields, checked when they are created, pickled without recursion."""

import copy
import pickle

import attrs
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.config import all_configs
from gp_arrays.model.registry import TYPES, type_named
from gp_arrays.trees.tree import parse_tree


def dummy(name="d"):
    return gpa.DummyArrayConfig(name)


def test_configs_of_equal_fields_are_equal():
    a = gpa.ThresholdArrayConfig("t", dummy(), threshold=1)
    b = gpa.ThresholdArrayConfig("t", dummy(), threshold=1)
    assert a == b
    assert hash(a) == hash(b)
    assert a.content == b.content
    assert a != gpa.ThresholdArrayConfig("t", dummy(), threshold=2)
    assert a != "t"


def test_names_count_for_equality_but_not_for_content():
    a = gpa.ThresholdArrayConfig("t", dummy("x"), threshold=1)
    b = gpa.ThresholdArrayConfig("u", dummy("y"), threshold=1)
    assert a != b
    assert a.content == b.content


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 1.0), (True, False)])
def test_values_of_other_kinds_differ(one, other):
    field = "above" if isinstance(one, bool) else "threshold"
    values = {"threshold": 1}
    a = gpa.ThresholdArrayConfig("t", dummy(), **{**values, field: one})
    b = gpa.ThresholdArrayConfig("t", dummy(), **{**values, field: other})
    assert a.content != b.content


def test_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        dummy().name = "other"


@pytest.mark.parametrize("name", ["", "  ", None, 5])
def test_a_name_is_needed(name):
    with pytest.raises(gpa.ConfigError, match="needs a name"):
        gpa.DummyArrayConfig(name)


def test_errors_name_array_and_field():
    with pytest.raises(gpa.ConfigError) as caught:
        gpa.ThresholdArrayConfig("bright", dummy(), threshold="high")
    assert str(caught.value) == "bright: threshold: not a number; found 'high'"
    with pytest.raises(gpa.ConfigError, match=r"^bright: source_array_config is not an array config; found 'd'"):
        gpa.ThresholdArrayConfig("bright", "d", threshold=1)


def test_errors_pickle():
    error = gpa.TreeError("problem", "found", "allowed", ("a", "b"))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a > b: problem; found found; allowed: allowed"
    assert isinstance(again, ValueError)


def test_pickle_and_copy_of_a_deep_and_wide_tree():
    config = dummy()
    for i in range(2000):
        config = gpa.ThresholdArrayConfig(f"t{i}", config, threshold=0)
    for copied in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert copied == config
        assert len(all_configs([copied])) == 2001
    for i in range(40):  # 2**40 paths
        config = gpa.SumArrayConfig(f"s{i}", [config, config], dtype="float64")
    assert pickle.loads(pickle.dumps(config)) == config
    assert repr(config).startswith("SumArrayConfig('s39', source_array_configs=('s38', 's38')")


def test_walk_lists_sources_first_and_each_once():
    shared = dummy()
    a, b = (gpa.ThresholdArrayConfig(n, shared, threshold=i) for i, n in enumerate("ab"))
    top = gpa.SumArrayConfig("top", [a, b])
    assert [config.name for config in all_configs([top, a])] == ["d", "a", "b", "top"]


def test_with_fields():
    config = gpa.ThresholdArrayConfig("t", dummy(), threshold=1)
    assert config.with_fields(threshold=2).threshold == 2
    assert config.with_fields() == config


def test_numpy_configs_are_equal_by_the_voxels_they_hold():
    data = np.zeros((2, 2))
    a, b = gpa.NumpyArrayConfig("a", data=data), gpa.NumpyArrayConfig("a", data=data)
    assert a == b
    assert a != gpa.NumpyArrayConfig("a", data=data.copy())
    assert pickle.loads(pickle.dumps(a)) == a


def test_types_by_name():
    assert type_named("BinarizeArrayConfig") is gpa.BinarizeArrayConfig
    with pytest.raises(
        gpa.ConfigError, match="unknown array type; found 'BinariseArrayConfig'; allowed: BinarizeArrayConfig"
    ):
        type_named("BinariseArrayConfig")


def test_an_own_type_registers_itself():
    @attrs.frozen(eq=False, repr=False)
    class DoubledArrayConfig(gpa.PointwiseConfig):
        source_array_config: gpa.ArrayConfig = attrs.field(metadata={"gp_arrays_source": True})

        def infer(self, *sources):
            return sources[0]

        def kernel(self, dtype, *sources):
            return sources[0] * dtype.type(2)

    try:
        config = DoubledArrayConfig("twice", gpa.NumpyArrayConfig("n", data=np.array([[1, 2]], np.uint8)))
        assert config.array()[:].tolist() == [[2, 4]]
        assert type_named("DoubledArrayConfig") is DoubledArrayConfig
    finally:
        del TYPES["DoubledArrayConfig"]


def test_types_of_installed_packages(tmp_path, monkeypatch):
    (tmp_path / "people.py").write_text(
        "import attrs, gp_arrays as gpa\n"
        "@attrs.frozen(eq=False, repr=False)\n"
        "class PeoplesArrayConfig(gpa.OnesArrayConfig):\n"
        "    pass\n"
    )
    info = tmp_path / "people-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: people\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gp_arrays.types]\nPeoplesArrayConfig = people:PeoplesArrayConfig\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        document = {"ones": {"__type__": "PeoplesArrayConfig", "source_array_config": {"__type__": "DummyArrayConfig"}}}
        assert parse_tree(document)["ones"].array().dtype == bool
        with pytest.raises(gpa.ConfigError, match="allowed: PeoplesArrayConfig"):
            type_named("PeopleArrayConfig")
    finally:
        TYPES.pop("PeoplesArrayConfig", None)


def test_a_type_must_not_bring_its_own_equality():
    with pytest.raises(TypeError, match="eq=False"):

        @attrs.frozen
        class Wrong(gpa.ArrayConfig):
            pass


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("ZarrArrayConfig", {"voxel_size": np.array(5)}),
        ("ZarrArrayConfig", {"offset": {0, 8}}),
        ("ZarrArrayConfig", {"mode": np.zeros(3)}),
        ("ConstantArrayConfig", {"dtype": "8 nm"}),
        ("ConstantArrayConfig", {"dtype": {"a": [1]}}),
        ("ResampledArrayConfig", {"upsample": np.array(5)}),
        ("ResampledArrayConfig", {"downsample_by": np.zeros(3)}),
        ("MergeInstancesArrayConfig", {"id_offsets": np.array(5)}),
        ("MergeInstancesArrayConfig", {"overlap": np.zeros(3)}),
        ("MissingAnnotationsMaskConfig", {"sparse": np.zeros(3)}),
        ("CellMapArrayConfig", {"output": np.zeros(3)}),
    ],
)
def test_values_of_another_kind_are_config_errors(kind, fields):
    ids = gpa.NumpyArrayConfig("ids", data=np.zeros((4, 4), np.uint8))
    required = {
        "ZarrArrayConfig": {"file_name": "a.zarr", "dataset": "raw"},
        "ConstantArrayConfig": {"source_array_config": ids},
        "ResampledArrayConfig": {
            "source_array_config": ids,
            "upsample": [1, 1],
            "downsample": [2, 2],
            "interp_order": 0,
        },
        "MergeInstancesArrayConfig": {"source_array_configs": [ids]},
        "MissingAnnotationsMaskConfig": {"source_array_config": ids, "groupings": [("a", [1])]},
        "CellMapArrayConfig": {"file_name": "a.zarr", "dataset": "crop", "classes": ["a"]},
    }[kind]
    (field,) = fields
    with pytest.raises(gpa.ConfigError, match=f"(?s)a: .*{field}"):
        getattr(gpa, kind)("a", **{**required, **fields})


def _without_end():
    while True:
        yield 1


@pytest.mark.parametrize("value", [range(10**15), range(10**30), np.broadcast_to(1, 10**12)], ids=repr)
def test_lists_without_end_are_refused_at_once(value):
    dummy = gpa.DummyArrayConfig("dummy")
    for config in (
        lambda: gpa.ResampledArrayConfig("a", dummy, value, (1, 1, 1), 0),
        lambda: gpa.BinarizeArrayConfig("a", dummy, [("axon", value)]),
        lambda: gpa.MissingAnnotationsMaskConfig("a", dummy, [("axon", value)]),
        lambda: gpa.RelabelArrayConfig("a", dummy, mapping=value),
        lambda: gpa.MergeInstancesArrayConfig("a", [dummy], id_offsets=value),
        lambda: gpa.ZarrArrayConfig("a", "b.zarr", "raw", voxel_size=value),
        lambda: gpa.CropArrayConfig("a", dummy, [value, value]),
        lambda: gpa.PipelineArrayConfig("a", dummy, "gunpowder:Normalize", fingerprint=value),
    ):
        with pytest.raises(gpa.ConfigError, match="too many .*; allowed: at most"):
            config()
    with pytest.raises(gpa.ConfigError):
        gpa.SelectArrayConfig("a", dummy, channels=value)


def test_items_that_never_end():
    with pytest.raises(gpa.ConfigError, match="too many factors"):
        gpa.ResampledArrayConfig("a", gpa.DummyArrayConfig("dummy"), _without_end(), (1, 1, 1), 0)


@pytest.mark.parametrize(
    "dtype", ["a", "a5", ("a", [1, 2]), ("u1", 4), [("x", "u1")], {"names": ["x"], "formats": ["u1"]}]
)
def test_dtypes_that_voxels_cannot_have(dtype):
    with pytest.raises(gpa.ConfigError, match="dtype: not a dtype of voxels"):
        gpa.SumArrayConfig("a", [gpa.DummyArrayConfig("dummy")], dtype=dtype)
