"""Outputs that are not finished: blocks that are done can be read, others are an error that says how to finish."""

import json
import shutil

import numpy as np
import pytest
from job_helpers import masks_of, voxels_in

import gp_arrays as gpa
from gp_arrays.cli import run

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}
#: The first block: 16 voxels along each axis.
FIRST = gpa.Roi((400, 0, -80), (4, 8, 8))
NOT_YET = "not written yet: the job that writes this array is not done"


@pytest.fixture
def part(labels, tmp_path):
    """One of 24 blocks of a copy of the labels."""
    result = gpa.materialize(labels[0], tmp_path / "out.zarr", roi=FIRST, **CUT)
    assert (result.ok, result.blocks) == (True, 1)
    return gpa.ZarrArrayConfig("ids", tmp_path / "out.zarr", "ids"), labels[1]


def test_finished_blocks_are_read_and_other_blocks_are_errors(part, labels, tmp_path):
    config, data = part
    array = config.array()
    np.testing.assert_array_equal(array[:16, :16, :16], data[:16, :16, :16])
    for index in (np.s_[:17, :16, :16], np.s_[30:31, 2:3, 40:41], np.s_[:]):
        with pytest.raises(gpa.StoreError, match=f"{NOT_YET}; found .*1 of 24 blocks done; allowed: run the same"):
            array[index]
    assert "gp_arrays_unfinished" not in array.attrs
    before = array.config.content
    # the array that is open sees the job finish
    assert gpa.materialize(labels[0], tmp_path / "out.zarr", **CUT).ok
    np.testing.assert_array_equal(array[:], data)
    assert config.content == before
    assert "gp_arrays_unfinished" not in (tmp_path / "out.zarr/ids/.zattrs").read_text()


def test_a_tree_that_reads_an_unfinished_array_fails_in_missing_blocks(part, tmp_path, capsys):
    config, data = part
    masks = masks_of(config)
    good, reason = masks.verify()
    assert not good
    assert "masks > ids: the job that writes this array is not done; 1 of 24 blocks done" in reason
    gpa.save_tree([masks], tmp_path / "tree.toml")
    assert run(["info", str(tmp_path / "tree.toml")]) == 0
    assert "1 of 24 blocks done" in capsys.readouterr().out
    result = gpa.materialize(masks, tmp_path / "top.zarr", workers=gpa.Workers(retries=0, max_failed=100), **CUT)
    assert (result.done, len(result.failed)) == (1, 23)
    assert NOT_YET in result.failed[0].error
    np.testing.assert_array_equal(voxels_in(tmp_path / "top.zarr", "masks")[0, :16, :16, :16], data[:16, :16, :16] == 1)


def test_blocks_over_absent_chunks_of_an_unfinished_source_are_not_empty(part, tmp_path):
    config, _ = part
    options = {**CUT, "workers": gpa.Workers(retries=0, max_failed=100), "skip_empty": True}
    result = gpa.materialize(masks_of(config), tmp_path / "top.zarr", **options)
    assert (result.empty, result.done) == (0, 1)


def test_without_the_state_absent_chunks_are_errors_until_they_are_accepted(part, tmp_path, capsys):
    config, data = part
    moved = tmp_path / "elsewhere/out.zarr"
    moved.parent.mkdir()
    shutil.move(tmp_path / "out.zarr", moved)
    array = config.with_fields(file_name=moved).array()
    np.testing.assert_array_equal(array[:16, :16, :16], data[:16, :16, :16])
    with pytest.raises(gpa.StoreError, match="a chunk is absent in an array whose job is not done.*--accept-absent"):
        array[:]
    assert run(["finish", str(moved)]) == 1
    assert "the job that writes this array is not done" in capsys.readouterr().err
    assert run(["finish", str(moved), "--accept-absent"]) == 0
    want = np.zeros_like(data)
    want[:16, :16, :16] = data[:16, :16, :16]
    np.testing.assert_array_equal(array[:], want)
    assert gpa.finish(moved) == ()


def test_finished_blocks_are_known_after_store_and_state_were_moved(part, tmp_path):
    config, data = part
    (tmp_path / "new").mkdir()
    for name in ("out.zarr", "out.zarr.gp_arrays"):
        shutil.move(tmp_path / name, tmp_path / "new" / name)
    array = config.with_fields(file_name=tmp_path / "new/out.zarr").array()
    np.testing.assert_array_equal(array[:16, :16, :16], data[:16, :16, :16])
    with pytest.raises(gpa.StoreError, match=NOT_YET):
        array[:]


def test_blocks_that_failed_are_not_read_as_zeros(labels, tmp_path):
    config, data = labels
    broken = tmp_path / "in.zarr/ids/1/0/0"
    broken.write_bytes(b"no chunk")
    assert not gpa.materialize(config, tmp_path / "out.zarr", workers=gpa.Workers(retries=0), **CUT).ok
    array = gpa.open_zarr(tmp_path / "out.zarr", "ids")
    np.testing.assert_array_equal(array[:16], data[:16])
    with pytest.raises(gpa.StoreError, match=f"{NOT_YET}; found .*23 of 24 blocks done"):
        array[16:17, :1, :1]


def test_blocks_that_are_known_to_be_empty_are_read(tmp_path):
    source = gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0), (64, 64)), (1, 1), "uint8", chunks=(16, 16))
    source[:16, :16] = 3
    source[48:, 48:] = 4
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    options = {"chunks": (16, 16), "block": (16, 16), "progress": False, "num_workers": 1, "skip_empty": True}
    assert gpa.materialize(raw, tmp_path / "out.zarr", roi=gpa.Roi((0, 0), (32, 64)), **options).empty == 7
    array = gpa.open_zarr(tmp_path / "out.zarr", "raw")
    np.testing.assert_array_equal(array[:32], source[:32])
    with pytest.raises(gpa.StoreError, match=NOT_YET):
        array[32:]
    assert gpa.materialize(raw, tmp_path / "out.zarr", **options).ok
    np.testing.assert_array_equal(array[:], source[:])


def test_finished_blocks_of_an_unfinished_pyramid_are_read(tmp_path):
    data = np.random.default_rng(0).integers(1, 99, (64, 64)).astype(np.uint8)
    gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0), (64, 64)), (1, 1), "uint8")[:] = data
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    options = {"chunks": (16, 16), "block": (16, 16), "progress": False, "num_workers": 1, "pyramid": "nearest"}
    out = tmp_path / "out.zarr"
    assert gpa.materialize(raw, out, roi=gpa.Roi((0, 0), (32, 32)), **options).ok
    level = gpa.open_zarr(out, "raw/s1")
    np.testing.assert_array_equal(level[:16, :16], data[:32:2, :32:2])
    with pytest.raises(gpa.StoreError, match=NOT_YET):
        level[:]
    with pytest.raises(gpa.StoreError, match=NOT_YET):
        gpa.open_zarr(out, "raw/s2")[:]
    assert gpa.materialize(raw, out, **options).ok
    np.testing.assert_array_equal(level[:], data[::2, ::2])
    # begun anew while it is finished
    assert gpa.materialize(raw, out, overwrite=True, roi=gpa.Roi((0, 0), (16, 16)), **options).ok
    with pytest.raises(gpa.StoreError, match=NOT_YET):
        gpa.open_zarr(out, "raw/s1")[:]


@pytest.mark.parametrize(
    ("path", "dataset", "axes"),
    [
        ("out.zarr/em", "raw/s0", None),
        ("out.zarr/em/raw/s0", "", None),
        ("link.zarr", "em/raw/s0", None),
        ("level", "", None),
        ("out.zarr", "em/raw/s0", ("c^", "x")),
    ],
)
def test_missing_blocks_are_errors_however_the_array_is_opened(tmp_path, path, dataset, axes):
    gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0), (32, 32)), (1, 1), "uint8", chunks=(16, 16))[:] = 7
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    options = {"chunks": (16, 16), "block": (16, 16), "progress": False, "pyramid": "mean"}
    assert gpa.materialize(raw, tmp_path / "out.zarr", "em/raw", roi=gpa.Roi((0, 0), (16, 16)), **options).ok
    (tmp_path / "link.zarr").symlink_to(tmp_path / "out.zarr")
    (tmp_path / "level").symlink_to(tmp_path / "out.zarr/em/raw/s0")
    array = gpa.ZarrArrayConfig("a", tmp_path / path, dataset, axes=axes).array()
    assert (array[:16, :16] == 7).all()
    with pytest.raises(gpa.StoreError, match=f"{NOT_YET}.*1 of 4 blocks done"):
        array[16:]
    # what the store itself would give is not told from what was never written
    with pytest.raises(gpa.StoreError, match="1 of 4 blocks done"):
        _ = array.data


def test_finish_refuses_missing_stores_and_datasets(part, tmp_path, capsys):
    assert run(["finish", str(tmp_path / "none.zarr"), "--accept-absent"]) == 1
    assert "no such store" in capsys.readouterr().err
    assert run(["finish", str(tmp_path / "out.zarr"), "none", "--accept-absent"]) == 1
    assert "no such dataset" in capsys.readouterr().err


def test_blocks_that_the_original_has_done_are_not_done_in_a_copy(part, labels, tmp_path):
    _, data = part
    for copy in ("copy.zarr", "inside.zarr/nested"):
        shutil.copytree(tmp_path / ("out.zarr" if copy == "copy.zarr" else "out.zarr/ids"), tmp_path / copy)
    assert gpa.materialize(labels[0], tmp_path / "out.zarr", **CUT).ok
    for copy, dataset in (("copy.zarr", "ids"), ("inside.zarr", "nested")):
        array = gpa.open_zarr(tmp_path / copy, dataset)
        np.testing.assert_array_equal(array[:16, :16, :16], data[:16, :16, :16])
        with pytest.raises(gpa.StoreError, match="a chunk is absent in an array whose job is not done"):
            array[:]


def test_a_state_in_another_folder_does_not_describe_a_copy_of_its_store(labels, tmp_path):
    config, _ = labels
    gpa.materialize(config, tmp_path / "out.zarr", roi=FIRST, state=tmp_path / "states", **CUT)
    shutil.copytree(tmp_path / "out.zarr", tmp_path / "new/out.zarr")
    with pytest.raises(gpa.StoreError, match=NOT_YET):
        gpa.open_zarr(tmp_path / "out.zarr", "ids")[:]
    assert gpa.materialize(config, tmp_path / "out.zarr", state=tmp_path / "states", **CUT).ok
    with pytest.raises(gpa.StoreError, match="a chunk is absent"):
        gpa.open_zarr(tmp_path / "new/out.zarr", "ids")[:]


def test_an_open_array_notices_that_a_new_job_overwrites_it(labels, tmp_path):
    config, data = labels
    assert gpa.materialize(config, tmp_path / "out.zarr", **CUT).ok
    finished = gpa.open_zarr(tmp_path / "out.zarr", "ids")
    np.testing.assert_array_equal(finished[:], data)
    for roi, others in ((FIRST, np.s_[16:]), (gpa.Roi((464, 0, -80), (4, 8, 8)), np.s_[:16])):
        begun = gpa.open_zarr(tmp_path / "out.zarr", "ids")
        gpa.materialize(config, tmp_path / "out.zarr", roi=roi, overwrite=True, **CUT)
        for array in (finished, begun):
            with pytest.raises(gpa.StoreError, match=NOT_YET):
                array[others]
    np.testing.assert_array_equal(finished[16:32, :16, :16], data[16:32, :16, :16])


@pytest.mark.parametrize(
    "change", [{"grid": [2]}, {"block": [0, 0, 0]}, {"begin": 3}, {"state": None, "grid": "abc"}, {"pass_name": "x"}]
)
def test_a_damaged_mark_of_an_unfinished_array_is_an_error(part, tmp_path, change):
    path = tmp_path / "out.zarr/ids/.zattrs"
    attributes = json.loads(path.read_text())
    attributes["gp_arrays_unfinished"].update(change)
    path.write_text(json.dumps(attributes))
    with pytest.raises(gpa.StoreError, match="the mark of an unfinished output is damaged|not written yet"):
        part[0].array()[:]
