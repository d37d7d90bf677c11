"""A small labelled volume."""

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.jobs import records


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
