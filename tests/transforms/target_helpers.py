"""What the tests of targets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gunpowder as gp
import numpy as np
from scipy import ndimage

import gp_arrays as gpa
from gp_arrays.testing import assert_same

IDS, OUT = gp.ArrayKey("IDS"), gp.ArrayKey("OUT")


def blobs(shape: tuple[int, ...], seed: int = 0, count: int = 4, dtype: str = "uint64") -> np.ndarray[Any, Any]:
    """Labels in patches of several voxels, background among them."""
    smooth = [ndimage.gaussian_filter(noise, 1.5) for noise in np.random.default_rng(seed).random((count, *shape))]
    return np.argmax(smooth, axis=0).astype(dtype)


def check_target_node(node: Callable[[], gp.BatchFilter], config_of: Callable[[Any], Any], reach: int) -> None:
    """Check a node after a source and after RandomLocation: it reads the labels around the requested roi.

    ``reach`` is how many voxels around a voxel decide on it.
    """
    ids, size = blobs((60, 50), 1), gp.Coordinate(2, 3)
    target = config_of(gpa.NumpyArrayConfig("ids", data=ids, voxel_size=size, offset=size)).array()
    source = gpa.NumpySource(IDS, ids, voxel_size=size, offset=size)
    wanted = gp.BatchRequest({OUT: gp.ArraySpec(roi=gp.Roi((22, 33), (8, 21)))})
    alone = source + node()
    with gp.build(alone):
        assert_same(alone.request_batch(wanted)[OUT].data, target[wanted[OUT].roi], "alone")
    placed = (
        gpa.NumpySource(IDS, ids, voxel_size=size, offset=size)
        + gp.RandomLocation()
        + gp.SimpleAugment(transpose_only=[])
        + node()
    )
    wanted[IDS] = gp.ArraySpec(roi=wanted[OUT].roi.grow(size * reach, size * reach))
    seen = []
    with gp.build(placed):
        for _ in range(5):
            batch = placed.request_batch(wanted)
            labels = gpa.NumpyArrayConfig("ids", data=batch[IDS].data, voxel_size=size, offset=wanted[IDS].roi.begin)
            want = config_of(labels).array()[wanted[OUT].roi]
            assert_same(batch[OUT].data, want, "at a random place")
            seen.append(batch[IDS].data)
    assert any(not np.array_equal(seen[0], other) for other in seen[1:])
