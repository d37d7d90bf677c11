"""A second run does only the missing blocks, or is refused with the reason."""

import ctypes
import json
import os
import shutil

import numpy as np
import pytest
from job_helpers import masks_of, stamps, voxels_in

import gp_arrays as gpa
from gp_arrays.jobs import outputs
from gp_arrays.jobs.state import State
from gp_arrays.jobs.worker import RunEnded, Worker
from gp_arrays.storage.chunked.create import NewArray

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}


def test_only_failed_blocks_are_done_again(labels, tmp_path):
    config, data = labels
    broken = tmp_path / "in.zarr/ids/1/0/0"
    content = broken.read_bytes()
    broken.write_bytes(content[:20])
    first = gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    assert (first.done, first.ok) == (23, False)
    before = stamps(tmp_path / "out.zarr/masks")
    broken.write_bytes(content)
    second = gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    assert (second.blocks, second.done, second.before, second.failed) == (24, 24, 23, ())
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "masks")[0], (data == 1).astype(np.uint8))
    after = stamps(tmp_path / "out.zarr/masks")
    assert {key: after[key] for key in before} == before
    # the one block, in both channels: 16 x 16 x 16 voxels in one chunk each
    assert sorted(set(after) - set(before)) == ["0/1/0/0", "1/1/0/0"]
    third = gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    assert (third.before, third.done, third.voxels) == (24, 24, 0)
    assert stamps(tmp_path / "out.zarr/masks") == after


def test_a_later_run_does_the_blocks_outside_of_an_earlier_roi(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    # z 460 to 470 touches the blocks of z 400 to 464 and of 464 to 528: 2 x 2 x 4 of them
    first = gpa.materialize(masks_of(config), out, roi=gpa.Roi((460, 0, -80), (10, 240, 400)), **CUT)
    assert (first.blocks, first.done, first.ok) == (16, 16, True)
    want = (data == 1).astype(np.uint8)
    partial = want.copy()
    partial[32:] = 0
    np.testing.assert_array_equal(voxels_in(out, "masks")[0], partial)
    rest = gpa.materialize(masks_of(config), out, **CUT)
    assert (rest.blocks, rest.before, rest.done) == (24, 16, 24)
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], want)


def test_the_block_shape_of_an_earlier_run_is_used_again(labels, tmp_path):
    cut = {"chunks": (16, 16, 16), "progress": False}
    first = gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", block=(64, 256, 128), **cut)
    again = gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", memory=10 * 2**30, **cut)
    assert again.before == first.blocks == 3 * 1 * 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A job that is done, for tests that are refused: none of them may change it."""
    folder = tmp_path_factory.mktemp("finished")
    array = gpa.create_zarr(
        folder / "in.zarr", "ids", gpa.Roi((0, 0, 0), (128, 256, 256)), (4, 8, 8), "uint64", chunks=(16, 16, 16)
    )
    array[:] = np.random.default_rng(1).integers(0, 5, (32, 32, 32)).astype(np.uint64)
    ids = gpa.ZarrArrayConfig("ids", folder / "in.zarr", "ids")
    assert gpa.materialize(masks_of(ids), folder / "out.zarr", **CUT).ok
    return folder, ids


def edited(path, change):
    before = path.read_text()
    attributes = json.loads(before)
    change(attributes)
    path.write_text(json.dumps(attributes))
    return before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chunks": (8, 16, 16)}, r"outputs.masks.chunks was \[1, 16, 16, 16\], is \[1, 8, 16, 16\]"),
        ({"block": (128, 128, 128)}, r"outputs.masks.block was \[64, 128, 128\], is \[128, 128, 128\]"),
        ({"storage": gpa.Storage("gzip")}, "compressor was zstd, is gzip"),
        ({"groupings": [("one", [1]), ("two", [2, 3])]}, r"tree.masks.groupings was .*\[2, 4\]\]\], is .*\[2, 3\]\]\]"),
    ],
)
def test_a_job_with_other_options_is_refused_and_the_options_are_named(finished, options, says):
    folder, ids = finished
    options = {**CUT, **options}
    groupings = options.pop("groupings", [("one", [1]), ("two", [2, 4])])
    before = stamps(folder / "out.zarr/masks")
    with pytest.raises(gpa.StoreError, match=says):
        gpa.materialize(gpa.BinarizeArrayConfig("masks", ids, groupings=groupings), folder / "out.zarr", **options)
    assert stamps(folder / "out.zarr/masks") == before


def test_a_job_is_not_resumed_if_the_metadata_of_a_source_have_changed(finished):
    folder, ids = finished
    path = folder / "in.zarr/ids/.zattrs"
    before = edited(path, lambda attributes: attributes.update(offset=[4, 0, 0]))
    try:
        says = r"stores.ids.offset was \['0 nm', '0 nm', '0 nm'\], is \['4 nm', '0 nm', '0 nm'\]"
        with pytest.raises(gpa.StoreError, match=says):
            gpa.materialize(masks_of(ids), folder / "out.zarr", **{**CUT, "block": None})
    finally:
        path.write_text(before)


def test_an_output_of_another_job_is_not_continued(finished):
    folder, ids = finished
    path = folder / "out.zarr/masks/.zattrs"
    before = edited(path, lambda attributes: attributes["gp_arrays"].update(job="another"))
    try:
        with pytest.raises(gpa.StoreError, match="was not created by this job"):
            gpa.materialize(masks_of(ids), folder / "out.zarr", **CUT)
    finally:
        path.write_text(before)


def test_a_removed_output_is_created_again_only_with_overwrite(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    assert gpa.materialize(masks_of(config), out, **CUT).ok
    (out / "masks").rename(tmp_path / "elsewhere")
    with pytest.raises(gpa.StoreError, match="was not created by this job"):
        gpa.materialize(masks_of(config), out, **CUT)
    assert gpa.materialize(masks_of(config), out, overwrite=True, **CUT).before == 0
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], (data == 1).astype(np.uint8))


def test_two_runs_cannot_write_the_same_output_at_once(labels, tmp_path):
    state = State(tmp_path / "out.zarr.gp_arrays/masks")
    with State(state.folder).locked():
        with pytest.raises(gpa.StoreError, match=f"another run is at work.*process {os.getpid()} on"):
            gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", **CUT)
        assert not (tmp_path / "out.zarr").exists()
    assert gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", **CUT).ok


def test_a_worker_of_an_earlier_run_writes_nothing(labels, tmp_path):
    config, _ = labels
    assert gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT).ok
    state = State(tmp_path / "out.zarr.gp_arrays/masks")
    run = {"run": "first", "pass": "masks"}
    state.begin()
    state.announce(run, np.arange(24))
    worker = Worker(state, run, "0")
    worker.process(0)
    state.announce({**run, "run": "second"}, np.arange(24))
    before = stamps(tmp_path / "out.zarr/masks")
    with pytest.raises(RunEnded):
        worker.process(0)
    assert stamps(tmp_path / "out.zarr/masks") == before


def test_a_job_that_was_killed_while_it_created_outputs_begins_again(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    assert gpa.materialize(masks_of(config), out, **CUT).ok
    (tmp_path / "out.zarr.gp_arrays/masks/created").unlink()
    result = gpa.materialize(masks_of(config), out, **CUT)
    assert (result.ok, result.before) == (True, 0)
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], (data == 1).astype(np.uint8))


def test_an_overwrite_that_fails_leaves_the_earlier_outputs(labels, tmp_path, monkeypatch):
    """Half an output with its state, and a second one that cannot be made."""
    config, data = labels
    out = tmp_path / "out.zarr"
    both = {"a": config, "b": masks_of(config)}
    assert gpa.materialize(both, out, roi=gpa.Roi((400, 0, -80), (4, 8, 8)), **CUT).ok
    before = sorted(out.rglob("*"))
    make, calls = NewArray.write, []

    def full(array, folder):
        calls.append(folder)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        make(array, folder)

    monkeypatch.setattr(NewArray, "write", full)
    with pytest.raises(gpa.StoreError, match="No space left"):
        gpa.materialize(both, out, overwrite=True, **CUT)
    monkeypatch.undo()
    assert sorted(out.rglob("*")) == before
    assert gpa.status(out)[0].done == 1
    np.testing.assert_array_equal(gpa.open_zarr(out, "a")[:16, :16, :16], data[:16, :16, :16])


def test_nothing_is_left_of_a_store_whose_array_cannot_be_created(labels, tmp_path, monkeypatch):
    config, _ = labels
    gpa.create_zarr(tmp_path / "there.zarr", "mine", gpa.Roi((0, 0), (8, 8)), (1, 1), "uint8")
    before = sorted(tmp_path.rglob("*"))

    def full(array, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NewArray, "write", full)
    for store in ("new.zarr", "there.zarr"):
        with pytest.raises(gpa.StoreError, match="No space left"):
            gpa.materialize({"a": config, "deep/er/b": masks_of(config)}, tmp_path / store, **CUT)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("exchange", [True, False])
def test_an_overwrite_that_fails_between_two_outputs_replaces_neither(labels, tmp_path, monkeypatch, exchange):
    config, data = labels
    out = tmp_path / "out.zarr"
    both = {"a": config, "b": masks_of(config)}
    assert gpa.materialize(both, out, **CUT).ok
    voxels = stamps(out)
    if not exchange:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    swap, calls = outputs.swap_in, []

    def fails_once(new, folder):
        calls.append(folder)
        if len(calls) == 2:
            raise gpa.StoreError("cannot create", found=str(folder))
        swap(new, folder)

    monkeypatch.setattr(outputs, "swap_in", fails_once)
    with pytest.raises(gpa.StoreError, match="cannot create"):
        gpa.materialize(both, out, overwrite=True, **CUT)
    assert stamps(out) == voxels
    np.testing.assert_array_equal(gpa.open_zarr(out, "a")[:], data)


def test_a_folder_with_other_files_is_not_replaced(labels, tmp_path):
    """A dataset of an empty name is the store's folder itself."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/precious.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(gpa.StoreError, match="something that is not a Zarr array"):
            gpa.materialize(masks_of(labels[0]), tmp_path / "mine", "", overwrite=overwrite, **CUT)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("what", ["array", "group"])
def test_data_at_the_path_of_a_killed_job_are_not_replaced(labels, tmp_path, what):
    config, _ = labels
    out = tmp_path / "out.zarr"
    assert gpa.materialize(masks_of(config), out, **CUT).ok
    (tmp_path / "out.zarr.gp_arrays/masks/created").unlink()
    shutil.rmtree(out / "masks")
    mine = "masks" if what == "array" else "masks/mine"
    gpa.create_zarr(out, mine, gpa.Roi((0, 0), (8, 8)), (1, 1), "uint8")[:] = 7
    with pytest.raises(gpa.StoreError, match=f"{what} is there already"):
        gpa.materialize(masks_of(config), out, **CUT)
    assert (gpa.open_zarr(out, mine)[:] == 7).all()


def test_no_files_are_left_if_the_store_cannot_be_created(labels, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises((gpa.StoreError, OSError)):
        gpa.materialize(masks_of(labels[0]), tmp_path / "file/out.zarr", **CUT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in.zarr"]
