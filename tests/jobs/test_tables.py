"""Tables of ids are made once by the master, kept with the job, and the same for every worker."""

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.transforms import dense_ids

ROI = gpa.Roi((0, 0, 0), (32, 32, 32))


def stored(root, name, voxels):
    gpa.create_zarr(root, name, ROI, (1, 1, 1), "uint64", chunks=(16, 16, 16))[:] = voxels
    return gpa.ZarrArrayConfig(name, root, name)


@pytest.fixture
def merged(tmp_path):
    random = np.random.default_rng(3)
    large = random.choice(np.array([0, 2**59, 2**59 + 7, 2**63 + 1], np.uint64), (32, 32, 32))
    small = random.integers(0, 4, (32, 32, 32), dtype=np.uint64)
    sources = [stored(tmp_path / "in.zarr", "large", large), stored(tmp_path / "in.zarr", "small", small)]
    config = gpa.MergeInstancesArrayConfig("merged", sources, dense=["large"])
    ranks = np.searchsorted(np.unique(large), large).astype(np.uint64)
    shifted = np.where(small > 0, small + np.uint64(2**40), np.uint64(0))
    return config, np.where(ranks > 0, ranks, shifted)


def run(config, path, **more):
    return gpa.materialize(config, path, num_workers=2, chunks=(16, 16, 16), progress=False, **more)


@pytest.mark.slow
def test_workers_read_the_table_that_the_master_made(merged, tmp_path, monkeypatch):
    config, expected = merged
    # no cache: a worker that looked elsewhere would have to make the table, and would leave it here
    elsewhere = tmp_path / "cache"
    monkeypatch.setenv(dense_ids.CACHE_VARIABLE, str(elsewhere))
    assert run(config, tmp_path / "out.zarr").ok
    assert np.array_equal(gpa.open_zarr(tmp_path / "out.zarr", "merged")[:], expected)
    (table,) = (tmp_path / "out.zarr.gp_arrays" / "merged" / "tables").iterdir()
    assert dense_ids.load(table).tolist() == [2**59, 2**59 + 7, 2**63 + 1]


@pytest.mark.slow
def test_a_job_whose_ids_changed_does_not_go_on(merged, tmp_path):
    config, _ = merged
    path = tmp_path / "out.zarr"
    half = gpa.Roi((0, 0, 0), (16, 32, 32))
    assert run(config, path, roi=half).ok
    source = gpa.open_zarr(tmp_path / "in.zarr", "large", mode="r+")
    source[20:30] = 5
    with pytest.raises(gpa.StoreError, match="belong to a job that was another; found tables of ids"):
        run(config, path)
    written = gpa.open_zarr(path, "merged")[:]
    assert written[:16].any()
    assert not written[16:].any()
