"""Local shape descriptors, compared with sums over all voxels and with the lsds package."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from target_helpers import IDS, OUT, blobs, check_target_node

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws


def by_sums(ids: np.ndarray[Any, Any], voxel_size: Any, sigma: Any, factor: int = 1) -> np.ndarray[Any, Any]:
    """Weighted sums over the voxels of the window, voxel by voxel."""
    dims = ids.ndim
    size = np.array(voxel_size) * factor
    reach = [int(3 * s / v + 0.5) for s, v in zip(sigma, size, strict=True)]
    norm = [
        np.exp(-0.5 * (np.arange(-r, r + 1) * v / s) ** 2).sum() for r, v, s in zip(reach, size, sigma, strict=True)
    ]
    every = np.argwhere(np.ones(-(-np.array(ids.shape) // factor)))
    sampled = ids[tuple(slice(None, None, factor) for _ in range(dims))].reshape(-1)
    pairs = list(itertools.combinations(range(dims), 2))
    out = np.zeros((2 * dims + len(pairs) + 1, *ids.shape))
    for index, label in np.ndenumerate(ids):
        if label == 0:
            continue
        far = every - np.array(index) // factor
        seen = (sampled == label) & (np.abs(far) <= reach).all(axis=1)
        distance = far[seen] * size
        weight = np.exp(-0.5 * ((distance / sigma) ** 2).sum(axis=1)) / np.prod(norm)
        total = weight.sum() or 1
        mean = (weight[:, None] * distance).sum(axis=0) / total
        moment = np.einsum("n,ni,nj->ij", weight, distance, distance) / total - np.outer(mean, mean)
        spread = np.maximum(np.diag(moment), 1e-3)
        pearson = [moment[i, j] / np.sqrt(spread[i] * spread[j]) for i, j in pairs]
        described = [*(mean / sigma / 2 + 0.5), *(spread / np.square(sigma)), *(np.array(pearson) / 2 + 0.5)]
        out[(slice(None), *index)] = np.clip([*described, weight.sum()], 0, 1)
    return out


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "voxel_size", "sigma"), [((7, 9, 8), (5, 2, 3), (8, 4, 4)), ((13, 14), (2, 3), (5, 6))]
)
def test_they_are_sums_over_the_window(factor: int, shape: Any, voxel_size: Any, sigma: Any) -> None:
    ids = blobs(shape, 1)
    config = gpa.NumpyArrayConfig("ids", data=ids, voxel_size=voxel_size, offset=voxel_size)
    got = gpa.LSDArrayConfig("lsd", config, sigma, factor).array()[:]
    np.testing.assert_allclose(got, by_sums(ids, voxel_size, sigma, factor), atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(("shape", "voxel_size"), [((12, 16, 20), (40, 8, 8)), ((24, 32), (8, 8))])
def test_they_are_those_of_lsds(factor: int, shape: Any, voxel_size: Any) -> None:
    descriptors = pytest.importorskip("lsd.train.local_shape_descriptor", reason="the lsds package is not installed")
    ids, sigma = blobs(shape, 2), (80, 40, 40)[-len(shape) :]
    extractor = descriptors.LsdExtractor(sigma, downsample=factor)
    want = extractor.get_descriptors(ids, voxel_size=voxel_size)
    config = gpa.NumpyArrayConfig("ids", data=ids, voxel_size=voxel_size)
    got = gpa.LSDArrayConfig("lsd", config, sigma, factor).array()[:]
    np.testing.assert_allclose(got, want, atol=2e-3)  # it sums squared coordinates in float32
    assert want.std() > 0.1


def test_the_coarse_grid_begins_where_the_array_does() -> None:
    ids = blobs((15, 17), 3)
    ids_config = gpa.NumpyArrayConfig("ids", data=ids, voxel_size=(2, 2), offset=(6, 2))
    array = gpa.LSDArrayConfig("lsd", ids_config, 6, downsample=4).array()
    np.testing.assert_array_equal(array[:, 3:6, 5:16], array[:][:, 3:6, 5:16])
    crop = gpa.CropArrayConfig("crop", ids_config, [[8, 4], [20, 20]])
    cropped = gpa.LSDArrayConfig("lsd", crop, 6, downsample=4).array()[:]
    np.testing.assert_allclose(cropped, by_sums(ids[1:11, 1:11], (2, 2), (6, 6), 4), atol=1e-6)


def test_ids_do_not_pass_through_floats() -> None:
    ids = np.full((1, 8), 2**53, np.uint64)
    ids[0, 4:] += np.uint64(1)
    array = gpa.LSDArrayConfig("lsd", gpa.NumpyArrayConfig("ids", data=ids), 2).array()
    assert array[1, 0, 3] < 0.5 < array[1, 0, 4], "the two labels pull apart"


def test_meta() -> None:
    ids = gpa.NumpyArrayConfig("ids", data=np.zeros((2, 3, 4), np.uint8))
    array = gpa.LSDArrayConfig("lsd", ids, "2 nm").array()
    assert (array.dtype, array.axes, array.num_channels) == (np.float32, ("c", "z", "y", "x"), 10)
    assert array.interpolatable
    assert not array[:].any()


def test_node() -> None:
    # a Gaussian of 3 reaches 5 voxels of 2 and 3 of 3
    check_target_node(lambda: gpa.LSD(IDS, OUT, sigma=3), lambda ids: gpa.LSDArrayConfig("lsd", ids, 3), 5)


class TestLaws(ArrayTypeLaws):
    type = gpa.LSDArrayConfig

    def configs(self, folder: Any) -> Any:
        ids = gpa.NumpyArrayConfig("ids", data=blobs((6, 7, 5)), offset=(3, 4, 5), voxel_size=(2, 3, 4))
        flat = gpa.NumpyArrayConfig("flat", data=blobs((9, 10), 2, dtype="int16"))
        return [
            gpa.LSDArrayConfig("near", ids, 3),
            gpa.LSDArrayConfig("coarse", ids, (4, "3 nm", 4), downsample=2),
            gpa.LSDArrayConfig("flat_shape", flat, 2, 3),
        ]

    def refused(self) -> Any:
        ids = gpa.DummyArrayConfig("ids")
        bad: list[Any] = [0, -1, "x", None, [], [1, 0, 1], np.nan]
        return [
            *(lambda value=value: gpa.LSDArrayConfig("d", ids, value) for value in bad),
            *(lambda value=value: gpa.LSDArrayConfig("d", ids, 1, value) for value in [0, -1, 0.5, "1", None]),
        ]

    def misfits(self, folder: Any) -> Any:
        ids = gpa.NumpyArrayConfig("ids", data=np.zeros((4, 4, 4), np.uint8))
        line = gpa.NumpyArrayConfig("line", data=np.zeros(4, np.uint8), voxel_size=(1,))
        return [
            gpa.LSDArrayConfig("a", gpa.DummyArrayConfig("floats"), 1),
            gpa.LSDArrayConfig("b", ids, (1, 1)),
            gpa.LSDArrayConfig("c", line, 1),
            gpa.LSDArrayConfig("d", ids, 1e9),
        ]
