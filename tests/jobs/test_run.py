"""Materialization through daisy: complete jobs with real worker processes."""

import json
import re

import numpy as np
import pytest
from job_helpers import masks_of, voxels_in

import gp_arrays as gpa


def test_a_job_writes_every_voxel_and_attribute(labels, tmp_path):
    config, data = labels
    options = {"chunks": (16, 16, 16), "block": (64, 128, 128), "workers": gpa.Workers(timeout=60), "progress": False}
    result = gpa.materialize(masks_of(config), tmp_path / "out.zarr", **options)
    assert result.ok
    # 160/64, 240/128, 400/128 blocks, rounded up
    assert (result.blocks, result.done, result.before, result.failed) == (3 * 2 * 4, 24, 0, ())
    written = gpa.open_zarr(tmp_path / "out.zarr", "masks")
    expected = np.stack([data == 1, (data == 2) | (data == 4)]).astype(np.uint8)
    np.testing.assert_array_equal(written[:], expected)
    assert written.roi == gpa.Roi((400, 0, -80), (160, 240, 400))
    assert tuple(written.voxel_size) == (4, 8, 8)
    assert written.channels == ("one", "two")
    document = json.loads((tmp_path / "out.zarr/masks/.zarray").read_text())
    assert document["chunks"] == [1, 16, 16, 16]
    attributes = json.loads((tmp_path / "out.zarr/masks/.zattrs").read_text())
    assert attributes["offset"] == [400, 0, -80]
    assert attributes["resolution"] == [4, 8, 8]
    assert attributes["axis_names"] == ["c^", "z", "y", "x"]
    assert attributes["units"] == ["nm", "nm", "nm"]


@pytest.mark.usefixtures("one_process")
def test_only_outputs_with_the_same_chunk_grid_share_a_pass(labels, tmp_path):
    config, data = labels
    outputs = {
        "volumes/masks": masks_of(config),
        "volumes/ids": config,
        "fine": gpa.ThresholdArrayConfig("fine", config, 2),
    }
    chunks = {"volumes/masks": (10, 10, 10), "volumes/ids": (10, 10, 10), "fine": (8, 8, 8)}
    result = gpa.materialize(outputs, tmp_path / "out.zarr", chunks=chunks, progress=False)
    assert result.ok
    assert result.datasets == ("volumes/masks", "volumes/ids", "fine")
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "volumes/ids")[:], data)
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "fine")[:], (data > 2).astype(np.uint8))
    np.testing.assert_array_equal(
        gpa.open_zarr(tmp_path / "out.zarr", "volumes/masks")[0], (data == 1).astype(np.uint8)
    )
    job = json.loads((result.state / "job.json").read_text())
    assert [[o["dataset"] for o in pass_["outputs"]] for pass_ in job["passes"]] == [
        ["volumes/masks", "volumes/ids"],
        ["fine"],
    ]


@pytest.mark.usefixtures("one_process")
def test_an_array_in_memory_is_written(tmp_path):
    data = np.arange(6 * 7, dtype=np.int16).reshape(6, 7)
    config = gpa.NumpyArrayConfig("memory", data=data, voxel_size=(3, 5), offset=(30, -5))
    assert gpa.materialize(config, tmp_path / "out.zarr", "a/b", progress=False).ok
    written = gpa.open_zarr(tmp_path / "out.zarr", "a/b")
    np.testing.assert_array_equal(written[:], data)
    assert written.roi == gpa.Roi((30, -5), (18, 35))


@pytest.mark.usefixtures("one_process")
def test_a_second_run_reports_finished_blocks_and_no_speed(tmp_path):
    config = gpa.NumpyArrayConfig("a", data=np.arange(36, dtype=np.uint8).reshape(6, 6))
    out = tmp_path / "out.zarr"
    assert "36 voxels in" in str(gpa.materialize(config, out, num_workers=1, progress=False))
    again = gpa.materialize(config, out, num_workers=1, progress=False)
    assert str(again) == f"{out}: a: 1 of 1 blocks done, 1 of them before"
    # what is there is looked at from the top of the package
    (job,) = gpa.status(out)
    assert (job.done, job.missing) == (1, 0)
    assert gpa.check_blocks(again.state, 1).wrong == ()
    assert gpa.compare(gpa.open_zarr(out, "a"), config.array()).count == 0


@pytest.mark.usefixtures("one_process")
def test_a_block_that_fails_is_reported_and_the_others_are_done(labels, tmp_path):
    config, data = labels
    broken = tmp_path / "in.zarr/ids/1/0/0"
    broken.write_bytes(broken.read_bytes()[:20])
    result = gpa.materialize(
        masks_of(config), tmp_path / "out.zarr", chunks=(16, 16, 16), block=(64, 128, 128), progress=False
    )
    assert not result.ok
    assert (result.blocks, result.done) == (24, 23)
    (failed,) = result.failed
    assert failed.roi == gpa.Roi((464, 0, -80), (64, 128, 128))
    assert failed.path == ("masks", "ids")
    assert "1/0/0" in failed.error
    expected = (data == 1).astype(np.uint8)
    expected[16:32, :16, :16] = 0
    np.testing.assert_array_equal(voxels_in(tmp_path / "out.zarr", "masks")[0], expected)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"chunks": (16, 16)}, "one positive number of voxels per axis"),
        ({"chunks": {"other": (16, 16, 16)}}, "chunks given for an unknown output"),
        ({"block": (60, 128, 128)}, "multiples of (64, 128, 128)"),
        ({"memory": 2**20}, "does not fit into a worker's memory"),
        ({"roi": gpa.Roi((0, 0, 0), (10, 10, 10))}, "does not touch"),
        ({"dataset": "a/../b"}, "not a path in a store"),
        ({"storage": lambda: gpa.Storage("lz77")}, "unknown compressor"),
        ({"num_workers": 0}, "num_workers=0"),
        ({"workers": lambda: gpa.Workers(retries=-1)}, "retries=-1"),
        ({"workers": lambda: gpa.Workers(timeout=0)}, "timeout=0"),
        ({"worker_command": "sbatch"}, "does not start a worker; found 'sbatch'; allowed: {worker}"),
    ],
)
def test_invalid_arguments_leave_no_files(labels, tmp_path, change, says):
    def run():
        options = {name: value() if callable(value) else value for name, value in change.items()}
        options = {"chunks": (16, 16, 16), "progress": False, **options}
        gpa.materialize(masks_of(labels[0]), tmp_path / "new/folder/out.zarr", **options)

    with pytest.raises(gpa.GpArraysError, match=re.escape(says)):
        run()
    assert [path.name for path in tmp_path.iterdir()] == ["in.zarr"]


@pytest.mark.usefixtures("one_process")
def test_an_existing_array_is_replaced_only_with_overwrite(labels, tmp_path):
    gpa.create_zarr(tmp_path / "out.zarr", "masks", gpa.Roi((0,), (4,)), (1,), "uint8")[:] = 9
    with pytest.raises(gpa.StoreError, match="there already"):
        gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", progress=False)
    assert gpa.open_zarr(tmp_path / "out.zarr", "masks")[:].tolist() == [9, 9, 9, 9]
    assert gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", overwrite=True, progress=False).ok
    assert gpa.open_zarr(tmp_path / "out.zarr", "masks").shape == (2, 40, 30, 50)
