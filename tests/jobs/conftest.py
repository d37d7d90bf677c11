"""A small labelled volume."""

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.jobs import records
from gp_arrays.jobs.master import ENDED_HERE, Run
from gp_arrays.jobs.worker import Worker


@pytest.fixture
def labels(tmp_path):
    """40 x 30 x 50 ids at (4, 8, 8) nm from (400, 0, -80), and their voxels."""
    rng = np.random.default_rng(7)
    data = rng.integers(0, 5, (40, 30, 50)).astype(np.uint64)
    roi = gpa.Roi((400, 0, -80), (160, 240, 400))
    array = gpa.create_zarr(tmp_path / "in.zarr", "ids", roi, (4, 8, 8), "uint64", chunks=(16, 16, 16))
    array[:] = data
    return gpa.ZarrArrayConfig("ids", tmp_path / "in.zarr", "ids"), data


@pytest.fixture(autouse=True)
def nothing_is_forced_to_disk(monkeypatch):
    """A checkpoint waits for everything that is written to this disk, by any process; a test of them says so."""
    monkeypatch.setattr(records, "force_to_disk", lambda path: None)


@pytest.fixture
def one_process(monkeypatch):
    """Jobs run a worker in this process instead of daisy and processes of its own: for tests of what is written."""

    def work(self, pass_, todo):
        run = self.state.read_run()
        worker = Worker(self.state, run, "0")
        tries = (number for number in todo.tolist() for _ in range(run["retries"] + 1))
        done = None
        for number in tries:
            if number != done and worker.attempt(number) is None:
                done = number
            elif self.note_progress(self.records(pass_)):
                break
        worker.leave()
        self.state.end()
        return ENDED_HERE

    monkeypatch.setattr(Run, "_host_scheduler", work)
