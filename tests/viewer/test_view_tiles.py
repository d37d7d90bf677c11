"""A prediction in the viewer: chunks that no tile has are those of the array; single voxels are not computed."""

import urllib.error

import appended_nodes
import numpy as np
import pytest
from view_helpers import served

import gp_arrays as gpa


def test_chunks_are_those_of_the_array(show):
    data = np.random.default_rng(0).integers(0, 256, (45, 33)).astype(np.uint8)
    raw = gpa.NumpyArrayConfig("raw", data=data, offset=(8, -4), voxel_size=(4, 4))
    config = gpa.PipelineArrayConfig(
        "pooled", raw, appended_nodes.add_pooled, context_size=(8, 8), tile_size=(48, 40), dtype="float32"
    )
    view, array = show({"pooled": config}), config.array()
    for low, high in (((0, 0), (41, 29)), ((3, 5), (14, 22)), ((11, 27), (37, 29))):
        want = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        np.testing.assert_array_equal(served(view, "pooled", low, high), want)
    with pytest.raises(urllib.error.HTTPError):
        served(view, "pooled", (0, 0), (4, 4), (4, 4))
