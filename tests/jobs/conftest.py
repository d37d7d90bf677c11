"""A small labelled volume."""

import numpy as np
import pytest

import gp_arrays as gpa


@pytest.fixture
def labels(tmp_path):
    """40 x 30 x 50 ids at (4, 8, 8) nm from (400, 0, -80), and their voxels."""
    rng = np.random.default_rng(7)
    data = rng.integers(0, 5, (40, 30, 50)).astype(np.uint64)
    roi = gpa.Roi((400, 0, -80), (160, 240, 400))
    made = gpa.create_zarr(tmp_path / "in.zarr", "ids", roi, (4, 8, 8), "uint64", chunks=(16, 16, 16))
    made[:] = data
    return gpa.ZarrArrayConfig("ids", tmp_path / "in.zarr", "ids"), data
