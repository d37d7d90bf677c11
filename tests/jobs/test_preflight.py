"""What exists already at the paths of the outputs, and what a job may not replace."""

import json

import numpy as np
import pytest
from job_helpers import masks_of

import gp_arrays as gpa
from gp_arrays.jobs import status
from gp_arrays.jobs.preflight import changes

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_output_cannot_replace_a_source(labels, tmp_path):
    config, _ = labels
    store = tmp_path / "in.zarr"
    before = everything(tmp_path)
    (tmp_path / "link.zarr").symlink_to(store)
    for out in (store, tmp_path / "link.zarr", tmp_path / "x/../in.zarr"):
        for dataset in ("ids", "ids/masks", ""):
            for dry_run in (False, True):
                with pytest.raises(gpa.StoreError, match="masks > ids: the job reads the array"):
                    gpa.materialize(masks_of(config), out, dataset, overwrite=True, dry_run=dry_run, **CUT)
    (tmp_path / "link.zarr").unlink()
    assert everything(tmp_path) == before


def test_an_output_cannot_replace_the_mask_of_the_job(labels, tmp_path):
    config, _ = labels
    other = gpa.create_zarr(tmp_path / "other.zarr", "a", gpa.Roi((400, 0, -80), (160, 240, 400)), (4, 8, 8), "uint8")
    other[:] = 1
    before = everything(tmp_path)
    there = gpa.ZarrArrayConfig("there", tmp_path / "other.zarr", "a")
    with pytest.raises(gpa.StoreError, match="mask > there|there: the job reads"):
        gpa.materialize(masks_of(config), tmp_path / "other.zarr", "a", mask=there, overwrite=True, **CUT)
    assert everything(tmp_path) == before


def test_an_output_may_be_written_beside_its_source(labels, tmp_path):
    config, data = labels
    assert gpa.materialize(masks_of(config), tmp_path / "in.zarr", "ids2", **CUT).ok
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "in.zarr", "ids2")[0], data == 1)


def test_relative_and_absolute_paths_are_the_same_job(labels, tmp_path, monkeypatch):
    """A relative path, an absolute one, and one of a tree file elsewhere are one job."""
    monkeypatch.chdir(tmp_path)
    near = masks_of(gpa.ZarrArrayConfig("ids", "in.zarr", "ids"))
    assert gpa.materialize(near, "out.zarr", roi=gpa.Roi((400, 0, -80), (4, 8, 8)), **CUT).done == 1
    (tmp_path / "trees").mkdir()
    gpa.save_tree([masks_of(labels[0])], tmp_path / "trees/tree.toml")
    monkeypatch.chdir(tmp_path / "trees")
    result = gpa.materialize(gpa.load_tree("tree.toml")["masks"], "../out.zarr", **CUT)
    assert (result.ok, result.before) == (True, 1)


def test_the_error_for_another_tree_names_the_changed_fields(labels, tmp_path):
    config, _ = labels
    gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    other = gpa.BinarizeArrayConfig("masks", config, groupings=[("one", [1]), ("two", [2, 5])])
    with pytest.raises(gpa.StoreError) as error:
        gpa.materialize(other, tmp_path / "out.zarr", **CUT)
    assert "tree.masks.groupings was [['one', [1]], ['two', [2, 4]]], is [['one', [1]], ['two', [2, 5]]]" in str(
        error.value
    )
    # another name changes no voxel
    renamed = gpa.BinarizeArrayConfig("others", config, groupings=[("one", [1]), ("two", [2, 4])])
    assert gpa.materialize(renamed, tmp_path / "out.zarr", "masks", **CUT).before == 24
    assert [s.done for s in status(tmp_path / "out.zarr")] == [24]


def test_changes_name_each_different_value():
    before = json.loads('{"a": {"b": 1, "c": [1, 2]}, "d": 3}')
    assert changes(before, {"a": {"b": 1, "c": [1, 3]}, "e": 3}) == [
        "a.c was [1, 2], is [1, 3]",
        "d was 3, is None",
        "e was None, is 3",
    ]
