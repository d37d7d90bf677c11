"""What a job would cost: exact if it can be, else measured, and nothing is written."""

import tempfile

import attrs
import numpy as np
import pytest
from job_helpers import masks_of

import gp_arrays as gpa
from gp_arrays.errors import size_text
from gp_arrays.jobs import dryrun
from gp_arrays.jobs.dryrun import written_bytes
from gp_arrays.jobs.geometry import Output, plan_pass
from gp_arrays.jobs.result import Cost
from gp_arrays.storage.chunked.engine import FORMATS

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary folders are."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_bytes_written_are_exact(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (70, 70, 70)).astype(np.uint8)
    config = gpa.NumpyArrayConfig("a", data=data)
    options = {"chunks": (16, 16, 16), "block": (16, 16, 16), "dry_run": True, "progress": False}
    cost = gpa.materialize(config, tmp_path / "out.zarr", pyramid="mean", **options).cost
    # levels round up; s3, of 9^3, is one chunk
    assert cost.written == 70**3 + 35**3 + 18**3 + 9**3
    # a voxel of a level counts as computed from two along each axis
    assert cost.read == 70**3 + 70**3 + 36**3 + 18**3
    cost = gpa.materialize(config, tmp_path / "out.zarr", roi=gpa.Roi((60, 0, 20), (10, 10, 10)), **options).cost
    # z from 48 to 70, y from 0 to 16, x from 16 to 32
    assert (cost.blocks, cost.written, cost.read) == (2, 22 * 16 * 16, 22 * 16 * 16)


def test_bytes_written_of_several_outputs_are_those_of_their_blocks(labels):
    config, _ = labels
    part = gpa.CropArrayConfig("part", config, roi=gpa.Roi((464, 128, 48), (68, 80, 104)))
    plan = gpa.compile_plan({"masks": masks_of(config), "part": part})
    outputs = [
        Output(name, plan.steps[step].meta, chunks)
        for (name, step), chunks in zip(plan.outputs.items(), ((1, 16, 16, 16), (16, 16, 16)), strict=True)
    ]
    pass_ = plan_pass(plan, outputs, block=(64, 128, 128))
    blocks = np.random.default_rng(3).random(pass_.grid) < 0.6
    assert 0 < blocks.sum() < blocks.size
    for output in outputs:
        expected = sum(
            output.meta.bytes_of(region)
            for position in np.argwhere(blocks)
            for other, region in pass_.parts_in(pass_.region(position.tolist()))
            if other is output
        )
        assert written_bytes(pass_, output, blocks) == expected > 0
        assert written_bytes(pass_, output, np.ones(pass_.grid, bool)) == output.meta.bytes_of(output.meta.region)


@pytest.mark.parametrize("format", FORMATS)
def test_the_stored_size_is_estimated_from_blocks_of_a_trial(labels, tmp_path, temporary, format):
    config, _ = labels
    before = sorted(tmp_path.iterdir())
    options = {**CUT, "storage": gpa.Storage(zarr_format=format), "pyramid": "nearest"}
    cost = gpa.materialize(masks_of(config), tmp_path / "out.zarr", dry_run=True, **options).cost
    assert sorted(tmp_path.iterdir()) == before
    assert list(temporary.iterdir()) == []
    gpa.materialize(masks_of(config), tmp_path / "out.zarr", **options)
    names = {".zarray", ".zattrs", ".zgroup", "zarr.json"}
    files = [path for path in (tmp_path / "out.zarr").rglob("*") if path.is_file() and path.name not in names]
    stored = sum(path.stat().st_size for path in files)
    assert stored / 1.5 < cost.stored < 1.5 * stored
    assert cost.stored < cost.written
    assert f"about {size_text(cost.stored)} stored" in str(cost)
    assert cost.seconds > 0
    assert "plus some seconds in which they start" in str(cost)
    again = gpa.materialize(masks_of(config), tmp_path / "out.zarr", dry_run=True, **options).cost
    assert (again.blocks, again.written, again.stored, again.seconds) == (0, 0, 0, None)


def test_empty_chunks_that_are_not_written_cost_nothing(tmp_path):
    config = gpa.NumpyArrayConfig("a", data=np.zeros((64, 64), np.uint8))
    options = {
        "chunks": (16, 16),
        "block": (16, 16),
        "dry_run": True,
        "progress": False,
        "storage": gpa.Storage("none"),
    }
    assert gpa.materialize(config, tmp_path / "out.zarr", **options).cost.stored == 64 * 64
    assert gpa.materialize(config, tmp_path / "out.zarr", skip_empty=True, **options).cost.stored == 0


def test_without_space_for_a_trial_only_the_stored_size_is_unknown(labels, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dryrun.Writer, "write", full)
    cost = gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", dry_run=True, **CUT).cost
    assert (cost.blocks, cost.written, cost.stored) == (24, 2 * 40 * 30 * 50, None)
    assert "stored" not in str(cost)


def test_a_dry_run_creates_no_folder_beside_the_store(labels, tmp_path, temporary):
    # on a disk that cannot be written a folder for its lock could not be made
    before = tmp_path.stat().st_mtime_ns
    assert gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", dry_run=True, **CUT).cost.blocks > 0
    assert tmp_path.stat().st_mtime_ns == before


def test_the_text_of_a_cost():
    cost = Cost(1, 0, 0, 10, 2**31, 2**28, 0.3, 1, ((("a", "b"), (8, 8), 1),), 2**20)
    assert str(cost).splitlines() == [
        "1 block to do (0 done before, 0 known to be empty)",
        "  a, b: 1 block of 8 x 8",
        "reads 10 B, writes 2 GiB, about 1 MiB stored",
        "about 256 MiB of memory a worker",
        "less than a second with 1 worker, plus some seconds in which they start",
        "nothing was written",
    ]
    assert "about 3 seconds with 4 workers, plus" in str(attrs.evolve(cost, seconds=3.2, workers=4))
    assert "about 2.5 hours" in str(attrs.evolve(cost, seconds=9000))
    assert "2 blocks to do" in str(attrs.evolve(cost, blocks=2))
