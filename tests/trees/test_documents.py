"""Documents that DaCapo writes: its arrays load and compile, its training sets are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import gp_arrays as gpa

FOLDER = Path(__file__).parent / "documents"
TRAINING_SETS = ("dataset", "datasplit", "dummy_datasplit")
#: Arrays whose stores a test cannot create.
ELSEWHERE = {"0.3/s3", "0.3/n5", "0.3/dvid", "main/tiff"}
ROI = gpa.Roi((36200, 1200, 1400), (1280, 1280, 1280))
ARRAYS = sorted(path for path in FOLDER.glob("*/*.*") if path.stem not in TRAINING_SETS)


def label(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with ``held.zarr``, the store that the documents name."""
    folder = tmp_path_factory.mktemp("held")
    store = folder / "held.zarr"
    datasets = {
        "raw": 1,
        "labels/small": 2,
        "labels/annotated": 3,
        "masks/a": 1,
        "masks/b": 1,
        "inst_a": 5,
        "inst_b": 6,
    }
    for number, (dataset, value) in enumerate(datasets.items()):
        array = gpa.create_zarr(store, dataset, ROI, (40, 40, 40), "uint8", axes=("z", "y", "x"))
        array[number % 2 :] = value
    gpa.open_zarr(store, "labels/annotated", mode="r+").add_metadata(
        {"cellmap": {"annotation": {"annotation_type": {"encoding": {"unknown": 0}}}}}
    )
    gpa.create_zarr(store, "pyr/s0", ROI, (40, 40, 40), "uint8", axes=("z", "y", "x"))[:] = 9
    return folder


@pytest.mark.parametrize("path", ARRAYS, ids=str)
def test_every_array_loads_and_compiles(path, stores):
    (stores / path.name).write_bytes(path.read_bytes())
    configs = gpa.load_tree(stores / path.name)
    document = json.loads(path.with_suffix(".json").read_text())
    (config,) = configs.values()
    assert (config.name, type(config).__name__) == (document["name"], document["__type__"])
    if label(path) in ELSEWHERE:
        with pytest.raises(gpa.StoreError):
            config.array()
    else:
        # resampled to 80: the roi shrinks to the grid of 80 where it begins beside it
        shapes = {"resampled_up": (64, 64, 64), "resampled_down": (15, 16, 15), "resampled": (15, 16, 15)}
        shape = {**shapes, "dummy": (100, 50, 50)}.get(path.stem, (32, 32, 32))
        assert config.array().shape[-3:] == shape
    # the same tree in a file of this library
    gpa.save_tree(configs, stores / "again.toml")
    assert gpa.load_tree(stores / "again.toml")[config.name] == config


@pytest.mark.parametrize("path", [path for path in ARRAYS if path.suffix == ".json"], ids=str)
def test_both_of_its_stores_hold_the_same(path):
    document = json.loads(path.read_text())
    (one,) = gpa.load_tree(path).values()
    (other,) = gpa.load_tree(path.with_suffix(".yaml")).values()
    assert one == other
    for field, value in document.items():
        field = {"_upsample": "upsample", "_downsample": "downsample"}.get(field, field)
        if field in ("min", "max", "constant", "interp_order", "background"):
            assert getattr(one, field) == value
        elif field in ("upsample", "downsample"):
            assert list(getattr(one, field)) == [max(number, 1) for number in value]
        elif field == "groupings":
            assert [[name, list(ids)] for name, ids in one.groupings] == value


def test_voxels_of_the_documents(stores):
    def read(name):
        (stores / "one.yaml").write_bytes((FOLDER / f"{name}.yaml").read_bytes())
        (config,) = gpa.load_tree(stores / "one.yaml").values()
        return config.array()

    # raw is 1; labels/small is 0 in its first layer and 2 in the others
    assert read("0.3/intensities")[0, 0, 0] == np.float32(1 / 255)
    assert read("0.3/binarize")[:, 1, 0, 0].tolist() == [1, 0, 1]
    assert read("0.3/binarize")[:, 0, 0, 0].tolist() == [0, 0, 0]
    assert read("0.3/constant")[0, 0, 0] == 3
    # masks/a and inst_a begin with a layer of 0, masks/b and inst_b do not
    assert read("0.3/concat")[:, :2, 0, 0].T.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert read("0.3/concat_default")[:, :2, 0, 0].T.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert read("0.3/logical_or")[0, 0, 0] == 1
    assert read("0.3/sum")[:2, 0, 0].tolist() == [1, 2]
    assert read("0.3/merge")[:2, 0, 0].tolist() == [2**40 + 6, 5]
    assert read("0.3/resampled_up").voxel_size == (20, 20, 20)
    assert read("main/resampled").voxel_size == (80, 80, 80)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_an_array_and_its_source_may_have_one_name(stores, one_process, suffix):
    (stores / f"t{suffix}").write_bytes((FOLDER / f"0.3/doc_raw_same_name{suffix}").read_bytes())
    config = gpa.load_tree(stores / f"t{suffix}")["raw_x_uint8"]
    assert config.source_array_config.name == "raw_x_uint8-2"
    assert config.array().dtype == np.float32
    gpa.materialize(config, stores / f"out{suffix}.zarr", "a", num_workers=1, progress=False)
    assert gpa.open_zarr(stores / f"out{suffix}.zarr", "a")[0, 0, 0] == np.float32(1 / 255)


def test_nested_entries_of_one_name_and_content_keep_it():
    (config,) = gpa.load_tree(FOLDER / "0.3/concat_default.json").values()
    assert (
        config.default_config is config.source_array_configs["a"]
        or config.default_config == (config.source_array_configs["a"])
    )
    assert config.default_config.name == "ma"


def test_mongos_number_of_a_document_is_passed_over(tmp_path):
    document = json.loads((FOLDER / "0.3/ones.json").read_text())
    (tmp_path / "t.json").write_text(json.dumps({"_id": {"$oid": "65f0"}, **document}))
    assert list(gpa.load_tree(tmp_path / "t.json")) == ["ones"]


@pytest.mark.parametrize("name", TRAINING_SETS)
@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_training_sets_are_refused_because_they_are_not_arrays(name, suffix):
    with pytest.raises(gpa.GpArraysError) as caught:
        gpa.load_tree(FOLDER / "0.3" / f"{name}{suffix}")
    message = str(caught.value)
    assert "datasets and datasplits cannot be read yet" in message
    assert "ArrayConfig" not in message
    assert json.loads((FOLDER / "0.3" / f"{name}.json").read_text())["__type__"] in message


def test_only_tuples_are_read_of_pythons_tags(tmp_path):
    for tag in ("tuple", "name:os.system", "object/apply:os.system", "dict", "module:os", "object:os.Path"):
        (tmp_path / "t.yaml").write_text(f"a: {{__type__: CropArrayConfig, roi: !!python/{tag} [[0], [1]]}}\n")
        with pytest.raises(gpa.TreeError, match="lacks fields" if tag == "tuple" else "not a YAML document"):
            gpa.load_tree(tmp_path / "t.yaml")
