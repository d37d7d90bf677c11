"""States and stores that are moved, copied or shared: no data are lost or mixed up."""

import shutil
import threading

import numpy as np
import pytest
from job_helpers import masks_of, wait_for

import gp_arrays as gpa
from gp_arrays.jobs import check_blocks, status
from gp_arrays.jobs.geometry import file_name
from gp_arrays.jobs.outputs import Writer
from gp_arrays.jobs.state import State

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}
PART = gpa.Roi((400, 0, -80), (64, 240, 400))


def expected(data):
    return np.stack([data == 1, (data == 2) | (data == 4)]).astype(np.uint8)


@pytest.mark.parametrize("options", [{"dry_run": True}, {}, {"chunks": (0, 1, 1)}, {"overwrite": True}])
def test_a_folder_with_files_of_the_user_is_not_used_as_state(labels, tmp_path, options):
    config, _ = labels
    mine = tmp_path / "state/out.zarr.gp_arrays/masks/my_images.tif"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(gpa.StoreError, match="the state.*found .*masks"):
        gpa.materialize(masks_of(config), tmp_path / "out.zarr", state=tmp_path / "state", **{**CUT, **options})
    assert mine.read_text() == "precious"
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("options", [{"dry_run": True}, {"chunks": (0, 1, 1)}])
def test_files_beside_the_state_are_not_removed(labels, tmp_path, options):
    config, _ = labels
    (tmp_path / "state/masks").mkdir(parents=True)
    (tmp_path / "state/masks/my_images.tif").write_text("precious")
    (tmp_path / "empty").mkdir()
    for folder in ("state", "empty"):
        try:
            gpa.materialize(masks_of(config), tmp_path / "out.zarr", state=tmp_path / folder, **{**CUT, **options})
        except gpa.ConfigError:
            assert "chunks" in options
    names = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*")) if "in.zarr" not in str(path)]
    assert names == ["empty", "state", "state/masks", "state/masks/my_images.tif"]


def test_the_state_cannot_lie_in_the_store(labels, tmp_path):
    with pytest.raises(gpa.StoreError, match="the state cannot lie in the store"):
        gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", state=tmp_path / "out.zarr", **CUT)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "pyramid"), [(shutil.copytree, None), (shutil.copytree, "mode"), (shutil.move, "mode")]
)
def test_a_job_is_resumed_after_store_and_state_were_moved_or_copied(labels, tmp_path, how, pyramid):
    config, data = labels
    options = {**CUT, "pyramid": pyramid}
    s0 = "masks/s0" if pyramid else "masks"
    assert gpa.materialize(masks_of(config), tmp_path / "out.zarr", roi=PART, **options).ok
    for name in ("out.zarr", "out.zarr.gp_arrays"):
        how(tmp_path / name, tmp_path / name.replace("out", "new"))
    (tmp_path / "out.zarr").mkdir(exist_ok=True)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "out.zarr").rglob("*")) if path.is_file()}
    state = tmp_path / "new.zarr.gp_arrays/masks"
    # the check reads the copy, also before the job is resumed there
    chunk = next(
        path for path in sorted((tmp_path / "new.zarr" / s0).rglob("*")) if path.name.isdigit() and path.is_file()
    )
    stored = chunk.read_bytes()
    chunk.unlink()
    assert s0 in {name for name, _ in check_blocks(state, 1000).wrong}
    chunk.write_bytes(stored)
    assert check_blocks(state, 1000).wrong == ()
    result = gpa.materialize(masks_of(config), tmp_path / "new.zarr", **options)
    assert (result.ok, result.before > 0) == (True, True)
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "new.zarr", s0)[:], expected(data))
    assert check_blocks(state, 1000).wrong == ()
    assert {path: path.read_bytes() for path in sorted((tmp_path / "out.zarr").rglob("*")) if path.is_file()} == before


@pytest.mark.slow
def test_a_state_in_another_folder_belongs_to_one_store(labels, tmp_path):
    config, _ = labels
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    state = {"state": tmp_path / "state"}
    assert gpa.materialize(masks_of(config), tmp_path / "one/out.zarr", **state, **CUT).ok
    for overwrite in (False, True):
        with pytest.raises(gpa.StoreError, match="state .*another store; found .*one/out.zarr"):
            gpa.materialize(masks_of(config), tmp_path / "two/out.zarr", overwrite=overwrite, **state, **CUT)
    (job,) = status(tmp_path / "one/out.zarr", tmp_path / "state")
    assert (job.done, job.missing, job.replaced) == (24, 0, False)
    # where the store itself has moved, its state goes with it
    (tmp_path / "one/out.zarr").rename(tmp_path / "two/out.zarr")
    assert gpa.materialize(masks_of(config), tmp_path / "two/out.zarr", **state, **CUT).before == 24


def test_a_store_and_a_link_to_it_have_the_same_state(labels, tmp_path):
    config, _ = labels
    assert gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT).ok
    (tmp_path / "link.zarr").symlink_to(tmp_path / "out.zarr")
    assert gpa.materialize(masks_of(config), tmp_path / "link.zarr", **CUT).before == 24
    assert status(tmp_path / "link.zarr")[0].done == 24


@pytest.mark.parametrize(("dataset", "overwrite"), [("masks", False), ("masks", True), ("masks/s1", True)])
def test_jobs_that_share_an_output_do_not_run_at_once(labels, tmp_path, dataset, overwrite):
    config, data = labels
    pyramid = {"masks": "mode"} if "/" in dataset else {}
    both = {"masks": masks_of(config), "ids": config}
    first = gpa.materialize(both, tmp_path / "out.zarr", roi=PART, pyramid=pyramid, **CUT)
    with State(first.state).locked():
        with pytest.raises(gpa.StoreError, match="another run is at work on these outputs"):
            gpa.materialize(config, tmp_path / "out.zarr", dataset, overwrite=overwrite, **CUT)
        assert gpa.materialize(config, tmp_path / "out.zarr", "others", roi=PART, **CUT).ok
    assert gpa.materialize(both, tmp_path / "out.zarr", pyramid=pyramid, **CUT).ok
    finished = gpa.open_zarr(tmp_path / "out.zarr", "masks/s0" if pyramid else "masks")
    np.testing.assert_array_equal(finished[:], expected(data))


def test_a_job_does_not_write_into_an_output_that_was_replaced(labels, tmp_path):
    config, data = labels
    out = tmp_path / "out.zarr"
    assert gpa.materialize(masks_of(config), out, **CUT).ok
    meta = masks_of(config).array().meta
    node = gpa.open_zarr(out, "masks").attrs["gp_arrays"]["job"]
    writer = Writer(out, "masks", meta, job=node)
    both = {"masks": masks_of(config), "ids": config}
    assert gpa.materialize(both, out, overwrite=True, **CUT).ok
    with pytest.raises(gpa.StoreError, match="the output belongs to another job now"):
        writer.write(meta.region, np.ones(meta.shape, np.uint8))
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], expected(data))
    old = next(job for job in status(out) if job.datasets == ("masks",))
    assert old.replaced
    assert "belong to another job now" in str(old)


def test_states_of_different_outputs_have_different_names():
    names = [["a/b"], ["a.b"], ["a", "b"], ["a+b"], [""], ["root"], ["%"], ["a%2Fb"]]
    assert len({file_name(name) for name in names}) == len(names)
    long = [f"predictions/organelle_number_{i:02}" for i in range(10)]
    assert len(file_name(long)) < 200
    assert file_name(long) != file_name([*long[:-1], "predictions/organelle_number_10"])


@pytest.mark.slow
def test_a_job_may_have_many_outputs_with_long_names(labels, tmp_path):
    outputs = {f"predictions/organelle_number_{i:02}": labels[0] for i in range(10)}
    assert gpa.materialize(outputs, tmp_path / "out.zarr", roi=gpa.Roi((400, 0, -80), (4, 8, 8)), **CUT).ok


@pytest.mark.slow
def test_datasets_with_similar_names_have_separate_states(labels, tmp_path):
    config, _ = labels
    for name in ("x/y", "x.y"):
        assert gpa.materialize(masks_of(config), tmp_path / "out.zarr", name, **CUT).ok
    assert [job.done for job in status(tmp_path / "out.zarr")] == [24, 24]


def test_levels_are_computed_again_after_blocks_that_a_mask_had_left_out(tmp_path):
    """Levels of a pyramid are computed again if blocks below them were left out at first."""
    grid = gpa.Roi((0, 0, 0), (64, 64, 64))
    gpa.create_zarr(tmp_path / "in.zarr", "raw", grid, (1, 1, 1), "uint8")[:] = 5
    half = gpa.create_zarr(tmp_path / "in.zarr", "half", grid, (1, 1, 1), "uint8")
    half[:32] = 1
    raw, mask = (gpa.ZarrArrayConfig(name, tmp_path / "in.zarr", name) for name in ("raw", "half"))
    options = {"chunks": (16, 16, 16), "block": (16, 16, 16), "pyramid": "mean", "progress": False}
    out = tmp_path / "out.zarr"
    assert gpa.materialize(raw, out, mask=mask, **options).ok
    (job,) = status(out)
    # 32 of 64 blocks, 4 of 8 above them, and the one above those
    assert (job.done, job.empty, job.missing) == (32 + 4 + 1, 32 + 4, 0)
    assert gpa.materialize(raw, out, **options).ok
    for level, size in (("s0", 64), ("s1", 32), ("s2", 16)):
        voxels = gpa.open_zarr(out, f"raw/{level}")[:]
        assert voxels.shape == (size,) * 3
        assert (voxels == 5).all(), level
    (job,) = status(out)
    assert (job.done, job.empty, job.missing) == (73, 0, 0)


def test_empty_blocks_are_counted_once_over_several_runs(tmp_path):
    """Over several runs, by roi and with and without skip_empty."""
    array = gpa.create_zarr(tmp_path / "in.zarr", "raw", gpa.Roi((0, 0), (64, 64)), (1, 1), "uint8", chunks=(16, 16))
    array[:16, :16] = 3
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "in.zarr", "raw")
    options = {"chunks": (16, 16), "block": (16, 16), "progress": False, "num_workers": 1}
    out = tmp_path / "out.zarr"
    counts = []
    for roi, skip in (((0, 0), True), ((16, 0), True), ((32, 0), False), ((48, 0), True), ((0, 0), True)):
        gpa.materialize(raw, out, roi=gpa.Roi(roi, (16, 64)), skip_empty=skip, **options)
        (job,) = status(out)
        counts.append((job.done, job.empty, job.missing))
    assert counts == [(1, 3, 12), (1, 7, 8), (5, 7, 4), (5, 11, 0), (5, 11, 0)]


def test_a_roi_may_touch_only_one_of_two_outputs(tmp_path):
    a = gpa.create_zarr(tmp_path / "in.zarr", "a", gpa.Roi((0, 0), (32, 32)), (1, 1), "uint8", chunks=(16, 16))
    b = gpa.create_zarr(tmp_path / "in.zarr", "b", gpa.Roi((100, 0), (32, 32)), (1, 1), "uint8", chunks=(16, 16))
    a[:], b[:] = 1, 2
    both = {name: gpa.ZarrArrayConfig(name, tmp_path / "in.zarr", name) for name in ("a", "b")}
    options = {"chunks": (16, 16), "block": (16, 16), "progress": False, "num_workers": 1}
    first = gpa.materialize(both, tmp_path / "out.zarr", roi=gpa.Roi((0, 0), (32, 32)), **options)
    assert (first.ok, first.blocks) == (True, 4)
    with pytest.raises(gpa.TreeError, match="the roi does not touch the outputs.*a .*b "):
        gpa.materialize(both, tmp_path / "out.zarr", roi=gpa.Roi((50, 0), (20, 32)), **options)
    assert gpa.materialize(both, tmp_path / "out.zarr", **options).before == 4
    assert (gpa.open_zarr(tmp_path / "out.zarr", "b")[:] == 2).all()


@pytest.mark.slow
def test_only_one_of_two_jobs_with_a_common_output_runs(labels, tmp_path):
    config, _ = labels
    results, errors = [], []

    def run(configs, gate):
        gate.wait()
        try:
            results.append(gpa.materialize(configs, tmp_path / "out.zarr", **CUT))
        except gpa.StoreError as error:
            errors.append(str(error))

    gate = threading.Barrier(2)
    shared = [{"masks": masks_of(config), "a": config}, {"masks": masks_of(config), "b": config}]
    threads = [threading.Thread(target=run, args=(configs, gate)) for configs in shared]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(results), len(errors)) == (1, 1)
    assert results[0].ok
    assert "another run is at work" in errors[0] or "is there already" in errors[0]
    wait_for(lambda: len(status(tmp_path / "out.zarr")) == 1)
