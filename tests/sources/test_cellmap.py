"""CellMap crops, one array per class: targets and masks follow the rules and tables of the CellMap schemas."""

import json
import logging

import gunpowder as gp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.labels import StoredClass, write_crop

import gp_arrays as gpa
from gp_arrays.storage.metadata.annotations import Encoding, decode, unexplained
from gp_arrays.testing import StoredSourceLaws

SEMANTIC = {"absent": 0, "present": 1}
UNKNOWN = {"absent": 0, "present": 1, "unknown": 255}
INSTANCE = {"absent": 0, "unknown": 255}
KIND = {"semantic": "semantic_segmentation", "instance": "instance_segmentation"}


def kind(encoding, type="semantic"):
    return {"type": KIND[type], "encoding": encoding}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_array(folder, voxels, attributes, chunks=None):
    """A Zarr v2 array, its chunks raw."""
    chunks = chunks or voxels.shape
    write_json(
        folder / ".zarray",
        {
            "zarr_format": 2,
            "shape": voxels.shape,
            "chunks": chunks,
            "dtype": voxels.dtype.str,
            "compressor": None,
            "filters": None,
            "fill_value": 0,
            "order": "C",
            "dimension_separator": "/",
        },
    )
    write_json(folder / ".zattrs", attributes)
    for position in np.ndindex(*(-(-n // c) for n, c in zip(voxels.shape, chunks, strict=True))):
        chunk = np.zeros(chunks, voxels.dtype)
        part = voxels[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, chunks, strict=True))]
        chunk[tuple(map(slice, part.shape))] = part
        path = folder.joinpath(*map(str, position))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chunk.tobytes())


class Crop:
    """A crop on disk; ``add`` writes a class."""

    def __init__(self, root, listed, dataset="crop1"):
        self.root, self.dataset, self.folder = root, dataset, root / dataset
        self.attributes = {"cellmap": {"annotation": {"class_names": listed}}, "about": "a crop"}
        for folder in (root, self.folder):
            write_json(folder / ".zgroup", {"zarr_format": 2})
        write_json(self.folder / ".zattrs", self.attributes)

    def add(
        self, name, levels, array_type=None, group_type=None, counts=None, chunks=None, voxel_size=4, translation=0
    ):
        """Write a class with a pyramid; the voxels of each level are twice as large as those of the level before."""
        group = self.folder / name
        write_json(group / ".zgroup", {"zarr_format": 2})
        dims = np.ndim(levels[0])
        axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"[-dims:]]
        datasets = [
            {
                "path": f"s{k}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [voxel_size * 2**k] * dims},
                    {"type": "translation", "translation": [translation + voxel_size * (2**k - 1) / 2] * dims},
                ],
            }
            for k in range(len(levels))
        ]
        attributes = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
        if group_type is not None:
            attributes["cellmap"] = {"annotation": {"class_name": name, "annotation_type": group_type}}
        write_json(group / ".zattrs", attributes)
        for k, level in enumerate(levels):
            annotation = {}
            if array_type is not None:
                annotation = {"class_name": name, "annotation_type": array_type}
            if counts is not None:
                annotation["complement_counts"] = counts
            write_array(group / f"s{k}", level, {"cellmap": {"annotation": annotation}} if annotation else {}, chunks)
        return self

    def config(self, classes, output="target", name="crop", **fields):
        return gpa.CellMapArrayConfig(name, self.root, self.dataset, classes, output=output, **fields)

    def read(self, classes, output="target", **fields):
        array = self.config(classes, output, **fields).array()
        return array[:].reshape(len(classes), -1).tolist()


@pytest.fixture
def crop(tmp_path):
    return lambda listed, **options: Crop(tmp_path / "crops.zarr", listed, **options)


def row(values, dtype=np.uint8):
    return np.array([values], dtype)


# the table of examples: type, encoding, voxels, mask, target
TABLE = [
    ("semantic", SEMANTIC, [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]),
    ("semantic", UNKNOWN, [0, 1, 255, 255], [1, 1, 0, 0], [0, 1, 0, 0]),
    ("semantic", {"unknown": 0, "present": 1}, [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]),
    ("semantic", UNKNOWN, [255] * 4, [0] * 4, [0] * 4),
    ("instance", INSTANCE, [0, 7, 7, 255], [1, 1, 1, 0], [0, 1, 1, 0]),
    ("semantic", SEMANTIC, [0] * 4, [1] * 4, [0] * 4),
    ("semantic", {"absent": 0}, [0, 3, 9, 0], [1] * 4, [0, 1, 1, 0]),
    ("semantic", {"unknown": 0}, [0, 3, 9, 0], [0, 1, 1, 0], [0, 1, 1, 0]),
    ("instance", {}, [0, 3, 9, 0], [1] * 4, [1] * 4),
    ("instance", {"absent": 5}, [0, 5, 9, 0], [1] * 4, [1, 0, 1, 1]),
]


@pytest.mark.parametrize(("type", "encoding", "voxels", "mask", "target"), TABLE)
@pytest.mark.parametrize("holder", ["array", "group"])
def test_the_table(crop, type, encoding, voxels, mask, target, holder):
    stored_crop = crop(["mito"]).add("mito", [row(voxels)], **{f"{holder}_type": kind(encoding, type)})
    assert stored_crop.read(["mito"], "mask") == [mask]
    assert stored_crop.read(["mito"], "target") == [target]


@pytest.mark.parametrize(("type", "encoding", "voxels", "mask", "target"), TABLE)
def test_kernel(type, encoding, voxels, mask, target):
    said = Encoding(**encoding)
    assert decode(np.array(voxels), said, "mask").tolist() == [bool(v) for v in mask]
    assert decode(np.array(voxels), said, "target").tolist() == [bool(v) for v in target]
    assert unexplained(np.array(voxels), said) is None


def test_unexplained():
    assert unexplained(np.array([[0, 1], [2, 255]]), Encoding(absent=0, present=1, unknown=255)) == (1, 0)
    assert unexplained(np.array([1, 0]), Encoding(present=1)) == (1,)
    assert unexplained(np.array([1, 9]), Encoding(absent=0)) is None


def test_a_missing_type_is_semantic(crop):
    stored_crop = crop(["mito"]).add("mito", [row([0, 1, 255])], {"encoding": UNKNOWN})
    assert stored_crop.read(["mito"], "mask") == [[1, 1, 0]]
    assert stored_crop.read(["mito"]) == [[0, 1, 0]]


def test_the_array_says_more_than_its_group(crop):
    stored_crop = crop(["mito"]).add(
        "mito", [row([0, 1, 2])], kind({"absent": 0, "present": 2, "unknown": 1}), kind(SEMANTIC)
    )
    assert stored_crop.read(["mito"]) == [[0, 0, 1]]
    assert stored_crop.read(["mito"], "mask") == [[1, 0, 1]]


def test_classes_that_are_not_listed_or_not_there(crop):
    stored_crop = crop(["mito", "er"]).add("mito", [row([0, 1, 1])], kind(SEMANTIC)).add("all", [row([1, 2, 3])])
    stored_crop.add("golgi", [row([1, 1, 1])], kind(SEMANTIC))  # a group that the crop does not list
    classes = ["golgi", "mito", "er", "nowhere", "all"]
    assert stored_crop.read(classes, "mask") == [[0] * 3, [1] * 3, [0] * 3, [0] * 3, [0] * 3]
    assert stored_crop.read(classes, "target") == [[0] * 3, [0, 1, 1], [0] * 3, [0] * 3, [0] * 3]
    array = stored_crop.config(classes).array()
    assert array.channels == ("golgi", "mito", "er", "nowhere", "all")
    # with none of them annotated the grid is still that of the crop
    assert stored_crop.read(["golgi", "nowhere"], "mask") == [[0] * 3, [0] * 3]
    assert stored_crop.config(["nowhere"]).array().roi == array.roi


def test_a_crop_that_lists_no_classes_has_no_geometry(crop):
    stored_crop = crop([]).add("all", [row([1, 2, 3])])
    with pytest.raises(
        gpa.StoreError, match="crop: the crop holds no class that it lists, so nothing says where it lies"
    ):
        stored_crop.config(["mito"]).array()


def test_meta(crop):
    stored_crop = crop(["mito"]).add(
        "mito", [np.zeros((4, 6, 8), np.uint8)], kind(SEMANTIC), chunks=(2, 3, 4), translation=100
    )
    array = stored_crop.config(["mito", "er"]).array()
    assert (array.dtype, array.shape, array.axes) == (np.uint8, (2, 4, 6, 8), ("c", "z", "y", "x"))
    assert array.roi == gpa.Roi((100, 100, 100), (16, 24, 32))
    assert array.voxel_size == gpa.Coordinate(4, 4, 4)
    assert not array.interpolatable
    assert not array.writable
    assert array.attrs == {"cellmap": {"annotation": {"class_names": ["mito"]}}, "about": "a crop"}


def test_composite_classes(crop):
    stored_crop = (
        crop(["a", "b", "c"])
        .add("a", [row([1, 0, 0, 255, 1])], kind(UNKNOWN))
        .add("b", [row([0, 1, 0, 0, 255])], kind(UNKNOWN))
        .add("c", [row([0, 0, 7, 7, 0], np.uint64)], kind({"absent": 0}, "instance"))
    )
    classes = ["a", ("ab", ["a", "b"]), ("abc", ["a", "b", "c"]), ("with missing", ["c", "golgi"])]
    assert stored_crop.read(classes, "mask") == [[1, 1, 1, 0, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 5]
    assert stored_crop.read(classes, "target") == [[1, 0, 0, 0, 1], [1, 1, 0, 0, 1], [1, 1, 1, 1, 1], [0, 0, 1, 1, 0]]
    named = stored_crop.config({"ab": ["a", "b"], "c": ["c"]})
    assert named.classes == (("ab", ("a", "b")), "c")
    assert named == stored_crop.config([["ab", ["a", "b"]], "c"])


def test_scales(crop):
    fine = np.arange(4 * 4).reshape(4, 4) % 2
    coarse = np.array([[0, 1], [1, 255]])
    stored_crop = crop(["mito"]).add("mito", [fine.astype(np.uint8), coarse.astype(np.uint8)], kind(UNKNOWN))
    s0, s1 = stored_crop.config(["mito"]).array(), stored_crop.config(["mito"], scale=1).array()
    assert s0[0].tolist() == fine.tolist()
    assert s1[0].tolist() == [[0, 1], [1, 0]]
    assert stored_crop.config(["mito"], "mask", scale=1).array()[0].tolist() == [[1, 1], [1, 0]]
    assert s1.voxel_size == gpa.Coordinate(8, 8)
    assert s0.roi == s1.roi == gpa.Roi((0, 0), (16, 16))
    with pytest.raises(gpa.StoreError, match="no such scale; found 2; allowed: 0 to 1"):
        stored_crop.config(["mito"], scale=2).array()


def test_classes_on_different_grids(crop):
    zeros = np.zeros((4, 4), np.uint8)
    stored_crop = crop(["a", "b", "c", "d"]).add("a", [zeros, zeros[::2, ::2]], kind(SEMANTIC))
    stored_crop.add("b", [zeros[:, 1:]], kind(SEMANTIC)).add("c", [zeros], kind(SEMANTIC), voxel_size=8)
    stored_crop.add("d", [zeros], kind(SEMANTIC), translation=2)
    for other in "bcd":
        with pytest.raises(
            gpa.TreeError, match=rf"crop: classes do not lie on one grid at scale 0; found a: .*, {other}: "
        ):
            stored_crop.config(["a", other]).array()
        assert stored_crop.config([other]).verify() == (True, "ok")
    with pytest.raises(gpa.StoreError, match="no such scale"):
        stored_crop.config(["a", "b"], scale=1).array()


MALFORMED_CROPS = [
    ({}, "cellmap.annotation.class_names"),
    ({"cellmap": 3}, "cellmap"),
    ({"cellmap": {"annotation": []}}, "cellmap.annotation"),
    ({"cellmap": {"annotation": {"version": "0.1.1"}}}, "cellmap.annotation.class_names"),
    ({"cellmap": {"annotation": {"class_names": "mito"}}}, "cellmap.annotation.class_names"),
    ({"cellmap": {"annotation": {"class_names": [3]}}}, "cellmap.annotation.class_names"),
    ({"cellmap": {"annotation": {"class_names": None}}}, "cellmap.annotation.class_names"),
]


@pytest.mark.parametrize(("attributes", "key"), MALFORMED_CROPS)
def test_malformed_crops(crop, attributes, key):
    stored_crop = crop(["mito"]).add("mito", [row([0, 1])], kind(SEMANTIC))
    write_json(stored_crop.folder / ".zattrs", attributes)
    for output in ("mask", "target"):
        with pytest.raises(gpa.StoreError) as caught:
            stored_crop.config(["mito"], output).array()
        assert str(caught.value).startswith(f"crop: malformed annotation metadata at {key};")
        assert "crops.zarr/crop1" in str(caught.value)


MALFORMED_TYPES = [
    (None, ""),
    ("semantic_segmentation", ""),
    ({"encoding": SEMANTIC, "extra": 1}, ".extra"),
    ({"type": "segmentation", "encoding": SEMANTIC}, ".type"),
    ({"type": ["semantic_segmentation"], "encoding": SEMANTIC}, ".type"),
    ({"type": KIND["semantic"]}, ".encoding"),
    ({"type": KIND["semantic"], "encoding": [0, 1]}, ".encoding"),
    (kind({"absent": 0, "maybe": 2}), ".encoding.maybe"),
    (kind({"absent": 0, "present": 1}, "instance"), ".encoding.present"),
    (kind({"absent": "0"}), ".encoding.absent"),
    (kind({"absent": True}), ".encoding.absent"),
    (kind({"absent": 0, "present": 0}), ".encoding.absent"),
    (kind({"absent": 0, "unknown": 256}), ".encoding.unknown"),
    (kind({"absent": -1}), ".encoding.absent"),
]


@pytest.mark.parametrize(("annotation_type", "key"), MALFORMED_TYPES)
@pytest.mark.parametrize("holder", ["array", "group"])
def test_malformed_annotation_types(crop, annotation_type, key, holder):
    stored_crop = crop(["mito"]).add("mito", [row([0, 1])], **{f"{holder}_type": annotation_type})
    for output in ("mask", "target"):
        with pytest.raises(gpa.StoreError) as caught:
            stored_crop.config(["mito"], output).array()
        assert str(caught.value).startswith(
            f"crop: malformed annotation metadata at cellmap.annotation.annotation_type{key};"
        )
        assert "crops.zarr/crop1/mito" in str(caught.value)


@pytest.mark.parametrize(
    ("counts", "key"),
    [
        ([3], ""),
        ({"present": 1, "unknown": 0}, ".unknown"),
        ({"absent": -1}, ".absent"),
        ({"absent": 1.0}, ".absent"),
        ({"known": 1}, ".known"),
    ],
)
def test_malformed_counts(crop, counts, key):
    stored_crop = crop(["mito"]).add("mito", [row([0, 1])], kind(SEMANTIC), counts=counts)
    with pytest.raises(gpa.StoreError) as caught:
        stored_crop.config(["mito"], "mask").array()
    assert f"malformed annotation metadata at cellmap.annotation.complement_counts{key};" in str(caught.value)


def break_chunks(crop, *names):
    for name in names:
        for path in (crop.folder / name).rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                path.write_bytes(b"x")


def test_counts_that_say_all_is_unknown_spare_the_reading(crop):
    stored_crop = crop(["a", "b"]).add("a", [row([255, 255])], kind(UNKNOWN), counts={"absent": 0, "unknown": 2})
    stored_crop.add("b", [row([255, 255])], kind(UNKNOWN), counts={"unknown": 1})
    break_chunks(stored_crop, "a", "b")
    for output in ("mask", "target"):
        assert stored_crop.read(["a"], output) == [[0, 0]]
        with pytest.raises(gpa.StoreError):
            stored_crop.read(["b"], output)
    assert stored_crop.read([("both", ["b", "a"])], "mask") == [[0, 0]]


def test_only_requested_channels_are_read(crop):
    stored_crop = crop(["a", "b"]).add("a", [row([0, 1])], kind(SEMANTIC)).add("b", [row([1, 0])], kind(SEMANTIC))
    break_chunks(stored_crop, "b")
    array = stored_crop.config(["a", "b", ("both", ["a", "b"])]).array()
    assert array[0].tolist() == [[0, 1]]
    for channel in (1, 2):
        with pytest.raises(gpa.StoreError):
            array[channel]


def test_a_mask_that_no_voxel_decides_is_not_read(crop):
    stored_crop = crop(["a"]).add("a", [row([0, 3])], kind({"absent": 0}, "instance"))
    break_chunks(stored_crop, "a")
    assert stored_crop.read(["a"], "mask") == [[1, 1]]


@pytest.mark.parametrize("output", ["mask", "target"])
def test_a_value_that_the_encoding_does_not_have(crop, output):
    voxels = np.zeros((3, 4), np.uint8)
    voxels[2, 1] = 9
    stored_crop = crop(["mito"]).add("mito", [voxels], kind(UNKNOWN), translation=100)
    array = stored_crop.config(["mito"], output).array()
    assert array[0, :2].tolist() == [[int(output == "mask")] * 4] * 2
    with pytest.raises(gpa.ComputeError) as caught:
        array[:]
    text = str(caught.value)
    assert text.startswith("crop: a voxel's value is not in the encoding; found 9 at (108 ")
    assert ", 104 " in text
    assert "crop1/mito/s0" in text
    assert text.endswith("allowed: 0, 1, 255")


def test_no_silent_zeros(crop):
    stored_crop = crop(["mito"]).add("mito", [np.ones((4, 4), np.uint8)], kind(SEMANTIC), chunks=(2, 2))
    array, nothing = stored_crop.config(["mito"]).array(), stored_crop.config(["golgi"]).array()
    chunk = stored_crop.folder / "mito" / "s0" / "0" / "1"
    chunk.unlink()
    assert array[0, :2].tolist() == [[1, 1, 0, 0]] * 2  # an absent chunk is fill value
    (stored_crop.folder / "mito" / "s0").rename(stored_crop.folder / "mito" / "gone")
    with pytest.raises(gpa.StoreError, match="the array has vanished"):
        array[:]
    assert not nothing[:].any()
    stored_crop.folder.rename(stored_crop.root / "gone")
    with pytest.raises(gpa.StoreError, match="crop: the crop has vanished since it was opened; found .*crop1"):
        nothing[:]


def test_stores_that_are_not_crops(crop, tmp_path):
    stored_crop = crop(["mito"]).add("mito", [row([0, 1])], kind(SEMANTIC))
    stored_crop.add("floats", [row([0, 1], np.float32)], kind(SEMANTIC))
    for dataset, problem in [("crop2", "no such dataset"), ("crop1/mito/s0", "an array, not a crop")]:
        with pytest.raises(gpa.StoreError, match=f"crop: {problem}"):
            gpa.CellMapArrayConfig("crop", stored_crop.root, dataset, ["mito"]).array()
    for path in (tmp_path / "nothing.zarr", "s3://bucket/crops.zarr"):
        with pytest.raises(gpa.StoreError):
            gpa.CellMapArrayConfig("crop", path, "crop1", ["mito"]).array()
    write_json(stored_crop.folder / ".zattrs", {"cellmap": {"annotation": {"class_names": ["floats"]}}})
    with pytest.raises(gpa.StoreError, match="the array of a class is not one of integers"):
        stored_crop.config(["floats"]).array()
    (stored_crop.folder / "mito" / ".zattrs").unlink()
    write_json(stored_crop.folder / ".zattrs", stored_crop.attributes)
    with pytest.raises(
        gpa.StoreError, match=r"malformed annotation metadata at multiscales; found nothing in .*crop1/mito"
    ):
        stored_crop.config(["mito"]).array()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"classes": []}, "classes: not a list of classes"),
        ({"classes": "mito"}, "classes: not a list of classes; found 'mito'"),
        ({"classes": ["a", "a"]}, "classes: channel names are not unique; found a"),
        ({"classes": [("a", "b")]}, "classes: not a class; found ('a', 'b'); allowed: a name, or (name, parts)"),
        ({"classes": [("a", [])]}, "classes: not a class; found ('a', [])"),
        ({"classes": [("a", [3])]}, "classes: not a class; found ('a', [3])"),
        ({"classes": [("a", ["b"], 3)]}, "classes: not a class"),
        ({"classes": [3]}, "classes: not a class; found 3"),
        ({"classes": [""]}, "classes: not a class; found ''"),
        ({"output": "raw"}, "unknown output; found 'raw'; allowed: 'target', 'mask'"),
        ({"scale": 0.5}, "scale: not an integer"),
        ({"file_name": ""}, "file_name: not a path"),
    ],
)
def test_bad_values_are_refused_when_the_config_is_created(fields, problem):
    with pytest.raises(gpa.ConfigError) as caught:
        gpa.CellMapArrayConfig("crop", **{"file_name": "a", "dataset": "b", "classes": ["c"], **fields})
    assert str(caught.value).startswith(f"crop: {problem}")


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_the_tree_file_keeps_it_and_paths_are_relative_to_it(crop, tmp_path, suffix, monkeypatch):
    stored_crop = crop(["a", "b"]).add("a", [row([0, 1])], kind(SEMANTIC)).add("b", [row([1, 0])], kind(SEMANTIC))
    config = stored_crop.config(["a", ("both", ["a", "b"])], "mask", scale=0)
    config.to_toml(tmp_path / f"tree.{suffix}")
    assert gpa.CellMapArrayConfig.from_toml(tmp_path / f"tree.{suffix}") == config
    monkeypatch.chdir(tmp_path)
    relative = gpa.CellMapArrayConfig("crop", "crops.zarr", "crop1", ["a"])
    relative.to_toml(tmp_path / f"relative.{suffix}")
    assert gpa.load_tree(tmp_path / f"relative.{suffix}")["crop"].array()[:].tolist() == [[[0, 1]]]


def test_why_names_the_chunk(crop):
    stored_crop = crop(["a"]).add("a", [np.ones((4, 4), np.uint8)], kind(SEMANTIC), chunks=(2, 2))
    opened = stored_crop.config(["golgi", ("x", ["golgi", "a"])]).open()
    assert opened.chunk_of((1, 3, 0)) == ("crop1/a/s0/1/0", "present")
    assert opened.chunk_of((0, 3, 0)) is None


def naive(volumes, encodings, parts, output):
    """The rules, applied voxel by voxel."""
    shape = next(iter(volumes.values())).shape
    out = np.zeros(shape, np.uint8)
    for index in np.ndindex(*shape):
        masks, targets = [], []
        for part in parts:
            if part not in volumes:
                masks.append(0)
                targets.append(0)
                continue
            value, encoding = int(volumes[part][index]), encodings[part]
            mask = value != encoding["unknown"] if "unknown" in encoding else True
            target = (
                value == encoding["present"] if "present" in encoding else mask and value != encoding.get("absent", -1)
            )
            masks.append(mask)
            targets.append(target)
        out[index] = all(masks) if output == "mask" else any(targets)
    return out


ENCODINGS = {"a": SEMANTIC, "b": UNKNOWN, "c": INSTANCE}
CLASSES = ["a", ("bc", ["b", "c"]), "golgi", "c", ("all", ["a", "b", "c"])]


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    rng = np.random.default_rng(4)
    volumes = {
        "a": rng.choice(np.array([0, 1], np.uint8), (6, 7, 8)),
        "b": rng.choice(np.array([0, 1, 255], np.uint8), (6, 7, 8)),
        "c": rng.choice(np.array([0, 3, 2**40, 255], np.uint64), (6, 7, 8)),
    }
    stored_crop = Crop(tmp_path_factory.mktemp("cellmap") / "crops.zarr", list(volumes))
    for name, voxels in volumes.items():
        stored_crop.add(
            name, [voxels], kind(ENCODINGS[name], "instance" if name == "c" else "semantic"), chunks=(3, 2, 5)
        )
    return stored_crop, volumes


def expected(volumes, output):
    parts = [(item,) if isinstance(item, str) else item[1] for item in CLASSES]
    return np.stack([naive(volumes, ENCODINGS, names, output) for names in parts])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_block_law(volume, data):
    stored_crop, volumes = volume
    output = data.draw(st.sampled_from(["mask", "target"]))
    array, all_voxels = stored_crop.config(CLASSES, output).array(), expected(volumes, output)
    low = [data.draw(st.integers(0, n - 1)) for n in all_voxels.shape]
    box = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(low, all_voxels.shape, strict=True))
    assert (array[box] == all_voxels[box]).all()


@pytest.mark.parametrize("output", ["mask", "target"])
def test_every_plane_is_a_seam_that_does_not_show(volume, output):
    stored_crop, volumes = volume
    array, all_voxels = stored_crop.config(CLASSES, output).array(), expected(volumes, output)
    for axis, n in enumerate(all_voxels.shape):
        for plane in range(1, n):
            cut = (slice(None),) * axis
            parts = [array[(*cut, slice(None, plane))], array[(*cut, slice(plane, None))]]
            assert (np.concatenate(parts, axis) == all_voxels).all()


def test_a_shared_part_is_read_once(volume, monkeypatch):
    stored_crop, _ = volume
    array = stored_crop.config(CLASSES).array()
    step = array.plan.steps[0]
    reads = []
    for name, part in step.opened._stored.items():
        read = part.array.read
        monkeypatch.setattr(part.array, "read", lambda box, name=name, read=read: reads.append(name) or read(box))
    array[:]
    assert sorted(reads) == ["a", "b", "c"]


def test_pipelines(volume):
    stored_crop, volumes = volume
    target, mask = gp.ArrayKey("TARGET"), gp.ArrayKey("MASK")
    compiled = gpa.compile_pipeline(
        {target: stored_crop.config(CLASSES, name="t"), mask: stored_crop.config(CLASSES, "mask", "m")}
    )
    roi = gp.Roi((4, 8, 0), (16, 8, 20))
    with gp.build(compiled):
        batch = compiled.request_batch(gp.BatchRequest({k: gp.ArraySpec(roi=roi) for k in (target, mask)}))
    for key, output in ((target, "target"), (mask, "mask")):
        assert (batch[key].data == expected(volumes, output)[:, 1:5, 2:4, 0:5]).all()

    nodes = tuple(
        gpa.CellMapSource(key, stored_crop.root, stored_crop.dataset, CLASSES, output=output)
        for key, output in ((target, "target"), (mask, "mask"))
    )
    pipeline = nodes + gp.MergeProvider() + gp.RandomLocation() + gp.SimpleAugment()
    request = gp.BatchRequest(random_seed=2)
    request.add(target, (16, 16, 16))
    request.add(mask, (16, 16, 16))
    with gp.build(pipeline):
        batch = pipeline.request_batch(request)
    assert batch[mask].data.shape == (5, 4, 4, 4)
    assert batch[mask].data[2].max() == 0
    # each voxel of one class is known in this class, also after augmentation
    assert (batch[target].data[[0, 3]] <= batch[mask].data[[0, 3]]).all()


def test_its_fingerprint_tells_that_it_changed(crop):
    stored_crop = crop(["a"]).add("a", [row([0, 1])], kind(SEMANTIC))
    before = stored_crop.config(["a"]).open().fingerprint()
    assert stored_crop.config(["a"]).open().fingerprint() == before
    stored_crop.add("a", [row([1, 1, 1])], kind(SEMANTIC))
    assert stored_crop.config(["a"]).open().fingerprint() != before


def test_no_text_of_the_metadata_is_logged(crop, caplog):
    with caplog.at_level(logging.WARNING, "gp_arrays"):
        crop(["a"]).add("a", [row([0, 1])], kind(SEMANTIC)).read(["a"])
    assert not caplog.records


class TestLaws(StoredSourceLaws):
    type = gpa.CellMapArrayConfig

    def configs(self, folder):
        rng = np.random.default_rng(6)
        classes = {
            "mito": StoredClass(rng.choice(np.array([0, 1, 255], np.uint8), (4, 5, 3)), UNKNOWN),
            "er": StoredClass(rng.choice(np.array([0, 3, 7, 255], np.uint64), (4, 5, 3)), INSTANCE),
        }
        write_crop(folder / "crops.zarr" / "crop", classes, (10, 0, 6), (5, 2, 3), ["golgi"])
        items = ["er", "golgi", ("both", ["mito", "er"]), "nowhere"]
        return [
            gpa.CellMapArrayConfig("target", folder / "crops.zarr", "crop", items),
            gpa.CellMapArrayConfig("mask", folder / "crops.zarr", "crop", ["mito", "er"], 0, "mask"),
        ]

    def fill_of(self, config):
        return int(config.output == "mask")  # the fill value 0 means absent, which is known

    def refused(self):
        return [
            lambda: gpa.CellMapArrayConfig("crop", "a.zarr", "crop", []),
            lambda: gpa.CellMapArrayConfig("crop", "a.zarr", "crop", ["a", "a"]),
            lambda: gpa.CellMapArrayConfig("crop", "a.zarr", "crop", ["a"], scale="s0"),
        ]

    def misfits(self, folder):
        zeros = StoredClass(np.zeros((4, 4), np.uint8), SEMANTIC)
        write_crop(folder / "crops.zarr" / "one", {"a": zeros}, (0, 0), (2, 2))
        write_crop(folder / "crops.zarr" / "two", {"b": zeros}, (0, 2), (2, 2))
        (folder / "crops.zarr" / "two" / "b").rename(folder / "crops.zarr" / "one" / "b")
        attributes = {"cellmap": {"annotation": {"class_names": ["a", "b"]}}}
        (folder / "crops.zarr" / "one" / ".zattrs").write_text(json.dumps(attributes))
        return [gpa.CellMapArrayConfig("misfit", folder / "crops.zarr", "one", ["a", "b"])]
