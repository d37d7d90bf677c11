"""Masks of usable voxels of label volumes, from the metadata that are stored with them."""

import logging

import gunpowder as gp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, write_plain_zarr
from gp_arrays.transforms.missing_annotations import parse_labels, usable_voxels

VOLUME = np.array([[0, 3, 7, 3]], np.uint8)


def item(value, present, annotated, **more):
    return {"value": value, "annotationState": {"present": present, "annotated": annotated}, **more}


# one volume described in each convention: 3 present and annotated, 5 present and missing, 30 absent
BOOLS = [item(3, True, True), item(5, True, False), item(30, False, False)]
STRINGS = [item(3, True, "dense"), item(5, True, "empty"), item(30, False, "empty")]
SCHEMAS = [{**said, "name": {"long": "a", "short": "a"}, "count": None} for said in STRINGS]
DIALECTS = {"bools": BOOLS, "strings": STRINGS, "schemas": SCHEMAS, "wrapped": {"labels": STRINGS}}

GROUPS = [("3", [3]), ("5", [5]), ("30", [30]), ("3 and 5", [3, 5]), ("unlisted", [7]), ("all", [])]
TABLE = [[0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]


@pytest.fixture
def stored(tmp_path):
    """A function that stores a label volume with a ``labels`` attribute, or without one, and returns its config."""

    def make(labels=None, volume=VOLUME, name="labels_volume"):
        array = gpa.create_zarr(
            tmp_path / f"{name}.zarr",
            name,
            roi=gpa.Roi((0,) * volume.ndim, volume.shape),
            voxel_size=(1,) * volume.ndim,
            dtype=volume.dtype,
            attributes={} if labels is None else {"labels": labels},
        )
        array[:] = volume
        return array.config

    return make


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_table(stored, dialect):
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(DIALECTS[dialect]), GROUPS).array()
    assert mask[:, 0].tolist() == TABLE
    assert mask.dtype == np.uint8
    assert mask.channels == ("3", "5", "30", "3 and 5", "unlisted", "all")
    assert not mask.interpolatable


def test_the_list_is_found_through_a_crop(stored):
    part = gpa.CropArrayConfig("part", stored(STRINGS), [[0, 1], [1, 2]])
    again = gpa.CropArrayConfig("again", part, [[0, 1], [1, 1]])
    assert gpa.MissingAnnotationsMaskConfig("mask", part, GROUPS).array()[:, 0].tolist() == [r[1:3] for r in TABLE]
    assert gpa.MissingAnnotationsMaskConfig("m", again, GROUPS).array()[:, 0].tolist() == [r[1:2] for r in TABLE]


def test_the_list_is_found_through_resampling(stored):
    finer = gpa.ResampledArrayConfig("finer", stored(STRINGS), (1, 2), (1, 1), 0)
    mask = gpa.MissingAnnotationsMaskConfig("mask", gpa.CropArrayConfig("part", finer, [[0, 0], [1, 3]]), GROUPS)
    with pytest.raises(gpa.TreeError, match="not a whole number"):
        mask.array()
    coarser = gpa.ResampledArrayConfig("coarser", stored(STRINGS, name="again"), (1, 1), (1, 2), 0)
    mask = gpa.MissingAnnotationsMaskConfig("mask", gpa.CropArrayConfig("part", coarser, [[0, 0], [1, 4]]), GROUPS)
    assert mask.array()[:, 0].tolist() == [r[::2] for r in TABLE]


@pytest.mark.parametrize(
    ("sparse", "expected"),
    [
        ("labelled", [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]]),
        ("ids", [[0, 1, 0, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]]),
    ],
)
def test_sparse_annotation(stored, sparse, expected):
    labels = [item(3, True, "sparse"), item(7, True, "dense"), item(9, False, "sparse")]
    groups = [("3", [3]), ("7", [7]), ("both", [3, 7]), ("absent", [9]), ("all", [])]
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(labels), groups, sparse=sparse)
    assert mask.array()[:, 0].tolist() == expected


def test_sparse_ids_of_an_empty_group_are_the_listed_ones(stored):
    labels = [item(3, True, "sparse"), item(300, False, False)]
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(labels), [("all", [])], sparse="ids")
    assert mask.array()[:, 0].tolist() == [[0, 1, 0, 1]]


def test_missing_wins_over_sparse(stored):
    labels = [item(3, True, "sparse"), item(5, True, False)]
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(labels), [("both", [3, 5])], sparse="ids")
    assert not mask.array()[:].any()


def test_without_metadata_labels_above_zero_and_one_warning(stored, caplog):
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(), [("a", [3]), ("b", [])])
    with caplog.at_level(logging.WARNING, "gp_arrays"):
        for _ in range(3):
            assert mask.array()[:, 0].tolist() == [[0, 1, 1, 1], [0, 1, 1, 1]]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "mask: labels_volume has no attribute 'labels'" in warnings[0]


def test_channels_that_are_0_throughout_are_told(stored, caplog):
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(STRINGS), GROUPS)
    top = gpa.LogicalOrArrayConfig("top", mask)
    with caplog.at_level(logging.WARNING, "gp_arrays"):
        assert mask.array()[:].any(axis=(1, 2)).tolist() == [True, False, True, False, True, False]
        mask.array()
    expected = [
        "channel '5' is 0 throughout: listed as present and not annotated: 5",
        "channel '3 and 5' is 0 throughout: listed as present and not annotated: 5",
        "channel 'all' is 0 throughout: listed as present and not annotated: 5 (a group without ids is all listed ids)",
    ]
    assert [record.getMessage() for record in caplog.records] == [f"mask: {remark}" for remark in expected]
    assert mask.verify() == (True, "ok, but " + "; ".join(f"mask: {remark}" for remark in expected))
    assert top.verify() == (True, "ok, but " + "; ".join(f"top > mask: {remark}" for remark in expected))
    assert [line.strip() for line in gpa.explain(top).splitlines() if "throughout" in line] == expected


def test_the_mask_without_metadata_tells_so(stored):
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(None), GROUPS)
    remark = "labels_volume has no attribute 'labels': every voxel above 0 counts as annotated for every group"
    assert mask.verify() == (True, f"ok, but mask: {remark}")
    assert remark in gpa.explain(mask)


def test_with_metadata_no_warning(stored, caplog):
    with caplog.at_level(logging.WARNING, "gp_arrays"):
        gpa.MissingAnnotationsMaskConfig("mask", stored([]), [("a", [3])]).array()[:]
    assert not caplog.records


MALFORMED = {
    "labels": ["mito", 3],
    "labels.labels": [{}, {"label": []}, {"labels": 5}],
    "labels[0]": [["a"], [3], [[]]],
    "labels[0].value": [
        [{"annotationState": {}}],
        [item("3", True, True)],
        [item(3.5, True, True)],
        [item(True, True, True)],
        [item(None, True, True)],
    ],
    "labels[1].value": [[item(3, True, True), item(3, True, False)]],
    "labels[0].annotationState": [[{"value": 3}], [{"value": 3, "annotationState": "dense"}]],
    "labels[0].annotationState.present": [
        [{"value": 3, "annotationState": {"annotated": True}}],
        [item(3, 1, True)],
        [item(3, "yes", True)],
        [item(3, None, "dense")],
    ],
    "labels[2].annotationState.annotated": [
        [item(3, True, True), item(4, True, True), {"value": 5, "annotationState": {"present": True}}],
        *([item(3, True, True), item(4, True, True), item(5, True, bad)] for bad in ("Dense", "", 1, 0, None, [], {})),
    ],
}


@pytest.mark.parametrize(("key", "labels"), [(key, labels) for key, bad in MALFORMED.items() for labels in bad])
def test_malformed_metadata_name_path_and_key(stored, key, labels):
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(labels), [("a", [3])])
    with pytest.raises(gpa.TreeError) as caught:
        mask.array()
    assert str(caught.value).startswith(f"mask: malformed annotation metadata at {key};")
    top = gpa.LogicalOrArrayConfig("top", mask)
    assert top.verify()[1].startswith("top > mask: malformed")


def test_null_is_malformed():
    with pytest.raises(gpa.TreeError, match="at labels;"):
        parse_labels(None)


def test_an_id_listed_twice_with_the_same_state_is_accepted():
    assert parse_labels([item(3, True, False), item(3, True, "empty")]).missing == {3}


def test_kernel():
    labels = np.array([-1, 0, 1, 2**62], np.int64)
    assert usable_voxels(labels, [False, True, {2**62, -1}, True, set()]).tolist() == [
        [0, 0, 0, 0],
        [0, 0, 1, 1],
        [0, 0, 0, 1],
        [0, 0, 1, 1],
        [0, 0, 0, 0],
    ]


def test_ids_at_the_end_of_the_dtype(stored):
    top = 2**64 - 1
    listed = [item(top, True, "sparse"), item(top - 1, True, "dense")]
    labels = stored(listed, np.array([[0, top, top - 1]], np.uint64))
    groups = [("top", [top]), ("below", [top - 1])]
    assert gpa.MissingAnnotationsMaskConfig("m", labels, groups, "ids").array()[:, 0].tolist() == [[0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"sparse": "none"}, "mask: unknown sparse; found 'none'; allowed: 'labelled', 'ids'"),
        ({"groupings": []}, "mask: groupings: groupings is not a list"),
        ({"groupings": [("a", [1]), ("a", [2])]}, "mask: channel names are not unique; found a"),
        ({"source_array_config": "labels"}, "mask: source_array_config is not an array config"),
    ],
)
def test_bad_values_are_refused_when_the_config_is_created(fields, problem):
    good = {"source_array_config": gpa.NumpyArrayConfig("ids", VOLUME), "groupings": [("a", [1])]}
    with pytest.raises(gpa.ConfigError) as caught:
        gpa.MissingAnnotationsMaskConfig("mask", **{**good, **fields})
    assert problem.split(": ", 1)[1].split("; ")[0] in str(caught.value)
    assert str(caught.value).startswith("mask: ")


def test_bad_combinations_are_refused_when_the_tree_is_compiled():
    floats = gpa.NumpyArrayConfig("floats", np.zeros((2, 2), np.float32))
    with pytest.raises(gpa.TreeError, match="reads ids"):
        gpa.MissingAnnotationsMaskConfig("mask", floats, [("a", [1])]).array()
    channels = gpa.NumpyArrayConfig("channels", np.zeros((2, 2, 2), np.uint8), axes=("c", "y", "x"))
    with pytest.raises(gpa.TreeError, match="without channels"):
        gpa.MissingAnnotationsMaskConfig("mask", channels, [("a", [1])]).array()
    with pytest.raises(gpa.TreeError, match="ids beyond the source's dtype; found 256"):
        gpa.MissingAnnotationsMaskConfig("mask", gpa.NumpyArrayConfig("b", VOLUME), [("a", [256])]).array()


def test_channels_that_are_zero_throughout_read_nothing(stored, tmp_path):
    labels = stored(STRINGS)
    mask = gpa.MissingAnnotationsMaskConfig("mask", labels, GROUPS).array()
    (chunk,) = [p for p in (tmp_path / "labels_volume.zarr").rglob("*") if p.is_file() and p.parent.name == "0"]
    chunk.write_bytes(b"broken")
    assert mask[1].tolist() == [[0, 0, 0, 0]]
    with pytest.raises(gpa.StoreError):
        mask[0]


def test_the_tree_file_keeps_it(stored, tmp_path):
    mask = gpa.MissingAnnotationsMaskConfig("mask", stored(STRINGS), GROUPS, sparse="ids")
    mask.to_toml(tmp_path / "tree.toml")
    assert gpa.MissingAnnotationsMaskConfig.from_toml(tmp_path / "tree.toml") == mask


def naive(volume, labels, groups, sparse):
    """The definition, applied voxel by voxel."""
    states = {entry["value"]: entry["annotationState"] for entry in labels}
    out = np.zeros((len(groups), *volume.shape), np.uint8)
    for c, (_, ids) in enumerate(groups):
        ids = list(ids) or list(states)
        present = [states[i]["annotated"] for i in ids if i in states and states[i]["present"]]
        if any(a in (False, "empty") for a in present):
            continue
        for index in np.ndindex(*volume.shape):
            value = int(volume[index])
            carries = value in ids or sparse == "labelled" or "sparse" not in present
            out[(c, *index)] = value > 0 and carries
    return out


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_block_law(tmp_path_factory, data):
    volume = np.random.default_rng(1).integers(0, 5, (5, 6, 7)).astype(np.uint16)
    labels = [
        item(value, data.draw(st.booleans()), data.draw(st.sampled_from([True, False, "dense", "sparse", "empty"])))
        for value in data.draw(st.sets(st.integers(1, 5)))
    ]
    groups = [("a", [1]), ("b", [2, 3]), ("c", [])]
    sparse = data.draw(st.sampled_from(["labelled", "ids"]))
    array = gpa.create_zarr(
        tmp_path_factory.mktemp("s") / "a.zarr",
        "ids",
        roi=gpa.Roi((0, 0, 0), (5, 6, 7)),
        voxel_size=(1, 1, 1),
        dtype="uint16",
        chunks=(2, 3, 4),
        attributes={"labels": labels},
    )
    array[:] = volume
    mask = gpa.MissingAnnotationsMaskConfig("mask", array.config, groups, sparse).array()
    expected = naive(volume, labels, groups, sparse)
    assert mask[:].tolist() == expected.tolist()
    low = [data.draw(st.integers(0, n - 1)) for n in expected.shape]
    high = [data.draw(st.integers(a + 1, n)) for a, n in zip(low, expected.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    assert mask[box].tolist() == expected[box].tolist()


def test_compiled_pipeline_and_node_after_random_augmentation(stored):
    volume = np.random.default_rng(2).integers(0, 8, (12, 12, 12)).astype(np.uint64)
    config = stored(STRINGS, volume)
    expected = naive(volume, STRINGS, GROUPS, "labelled")
    labels, mask, target = gp.ArrayKey("LABELS"), gp.ArrayKey("MASK"), gp.ArrayKey("MADE")
    compiled = gpa.compile_pipeline({target: gpa.MissingAnnotationsMaskConfig("mask", config, GROUPS)})
    with gp.build(compiled):
        roi = gp.Roi((1, 2, 3), (5, 6, 7))
        batch = compiled.request_batch(gp.BatchRequest({target: gp.ArraySpec(roi=roi)}))
    assert (batch[target].data == expected[:, 1:6, 2:8, 3:10]).all()

    node = gpa.MissingAnnotations(labels, mask, GROUPS, labels=STRINGS)
    pipeline = (
        gpa.ZarrSource(labels, config.file_name, config.dataset)
        + gp.Pad(labels, gp.Coordinate(4, 4, 4))
        + gp.RandomLocation()
        + gp.SimpleAugment()
        + node
    )
    request = gp.BatchRequest(random_seed=3)
    request.add(labels, (8, 8, 8))
    request.add(mask, (8, 8, 8))
    with gp.build(pipeline):
        for _ in range(4):
            batch = pipeline.request_batch(request)
            assert batch[mask].data.dtype == np.uint8
            assert (batch[mask].data == naive(batch[labels].data, STRINGS, GROUPS, "labelled")).all()


def test_node_in_an_unbounded_pad():
    labels, mask = gp.ArrayKey("LABELS"), gp.ArrayKey("MASK")
    pipeline = (
        gpa.NumpySource(labels, VOLUME) + gp.Pad(labels, None) + gpa.MissingAnnotations(labels, mask, [("three", [3])])
    )
    with gp.build(pipeline):
        batch = pipeline.request_batch(gp.BatchRequest({mask: gp.ArraySpec(roi=gp.Roi((-1, 1), (2, 5)))}))
    assert batch[mask].data.tolist() == [[[0, 0, 0, 0, 0], [1, 1, 1, 0, 0]]]


@pytest.mark.parametrize("between", [(), (gp.RandomLocation, gp.SimpleAugment)])
def test_node_of_channels_that_read_nothing(between):
    labels, other, mask, again = (gp.ArrayKey(name) for name in ("LABELS", "OTHER", "MASK", "AGAIN"))
    ones = np.ones((4, 4, 4), np.uint8)
    sources = (gpa.NumpySource(labels, ones), gpa.NumpySource(other, ones))
    pipeline = sources + gp.MergeProvider()
    for node in between:
        pipeline += node()
    pipeline += gpa.MissingAnnotations(labels, mask, [("five", [5])], labels=STRINGS)
    pipeline += gpa.MissingAnnotations(labels, again, [("five", [5])], labels=STRINGS)
    zeros = np.zeros((1, 2, 2, 2)).tolist()
    with gp.build(pipeline):
        for keys in ([mask], [mask, again], [mask, again, other]):
            request = gp.BatchRequest({key: gp.ArraySpec(roi=gp.Roi((0, 0, 0), (2, 2, 2))) for key in keys})
            batch = pipeline.request_batch(request)
            assert {str(key): batch[key].data.tolist() for key in keys} == {
                str(key): zeros if key != other else ones[:2, :2, :2].tolist() for key in keys
            }


def test_node_with_malformed_labels():
    labels, mask = gp.ArrayKey("LABELS"), gp.ArrayKey("MASK")
    pipeline = gpa.NumpySource(labels, np.ones((4, 4, 4), np.uint8)) + gpa.MissingAnnotations(
        labels, mask, [("five", [5])], labels=[{"value": 5}]
    )
    with pytest.raises(gp.PipelineSetupError) as caught, gp.build(pipeline):
        pass
    assert "MASK: malformed annotation metadata at labels[0].annotationState" in str(
        caught.value.__cause__ or caught.value
    )


class TestLaws(ArrayTypeLaws):
    type = gpa.MissingAnnotationsMaskConfig

    def configs(self, folder):
        volume = np.random.default_rng(9).integers(0, 6, (4, 5, 6)).astype(np.uint64)
        grid = {"offset": (3, 10, 5), "voxel_size": (2, 10, 5), "units": ["nm"] * 3}
        said = [item(1, True, "sparse"), item(2, True, "empty"), item(4, False, False)]
        for name, labels in (("listed", said), ("wrapped", {"labels": said[:1]})):
            write_plain_zarr(folder / "labels.zarr" / name, volume, (2, 3, 4), {**grid, "labels": labels})
        listed, wrapped = (gpa.ZarrArrayConfig(n, folder / "labels.zarr", n) for n in ("listed", "wrapped"))
        groups = [("a", [1]), ("b", [2, 3]), ("c", [4]), ("d", [])]
        of = gpa.MissingAnnotationsMaskConfig
        return [
            of("mask", listed, groups),
            of("ids", gpa.CropArrayConfig("part", wrapped, [[5, 10, 5], [4, 30, 20]]), groups, "ids"),
            of("nothing", gpa.NumpyArrayConfig("plain", volume.astype(np.int8)), groups),
        ]

    def refused(self):
        ids = gpa.NumpyArrayConfig("ids", VOLUME)
        return [
            lambda: gpa.MissingAnnotationsMaskConfig("mask", ids, []),
            lambda: gpa.MissingAnnotationsMaskConfig("mask", ids, [("a", [1])], "dense"),
        ]

    def misfits(self, folder):
        labels = {"voxel_size": [1, 1], "labels": [{"value": 1}]}
        write_plain_zarr(folder / "bad.zarr" / "ids", VOLUME, (1, 2), labels)
        return [
            gpa.MissingAnnotationsMaskConfig("misfit", source, [("a", [300])])
            for source in (
                gpa.NumpyArrayConfig("ids", VOLUME),
                gpa.NumpyArrayConfig("f", VOLUME.astype(np.float32)),
                gpa.ZarrArrayConfig("bad", folder / "bad.zarr", "ids"),
            )
        ]
