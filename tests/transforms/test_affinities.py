"""Affinities, compared with gunpowder's AddAffinities and with loops over voxels."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np
import pytest
from target_helpers import IDS, OUT, check_target_node

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, assert_same
from gp_arrays.transforms.affinities import affinities

OFFSETS = [[1, 0, 0], [0, -1, 0], [0, 0, -3], [2, -2, 5], [0, 0, 40]]


def a_volume(shape: tuple[int, ...] = (9, 10, 11), dtype: str = "uint64", **options: Any) -> Any:
    data = np.random.default_rng(1).integers(0, 3, shape).astype(dtype)
    return gpa.NumpyArrayConfig("ids", data=data, **options)


def by_gunpowder(ids: np.ndarray[Any, Any], offsets: Any, ask: Any, mask: Any = None) -> Any:
    """gunpowder's affinities and their mask, of a volume with a border of zeros."""
    labels, unknown, target, known = gp.ArrayKey("IDS"), gp.ArrayKey("IN"), gp.ArrayKey("AFFS"), gp.ArrayKey("KNOWN")
    sources = (
        gpa.NumpySource(labels, ids),
        gpa.NumpySource(unknown, np.ones(ids.shape, np.uint8) if mask is None else mask),
    )
    pipeline = sources + gp.MergeProvider() + gp.Pad(labels, None) + gp.Pad(unknown, None)
    pipeline += gp.AddAffinities(offsets, labels, target, labels_mask=unknown, affinities_mask=known)
    roi = ((0,) * ids.ndim, ids.shape)
    batch = ask(pipeline, {target: roi, known: roi})
    return batch[target].data, batch[known].data


def test_they_are_those_of_gunpowder(ask: Any) -> None:
    config = a_volume()
    want, known = by_gunpowder(config.array()[:], OFFSETS, ask)
    assert_same(gpa.AffinitiesArrayConfig("a", config, OFFSETS).array()[:], want, "affinities")
    assert_same(gpa.AffinitiesArrayConfig("a", config, OFFSETS, output="mask").array()[:], known, "mask")
    assert 0 < want[0].mean() < 1
    assert not known[4].any(), "beyond the volume nothing is known"


def test_a_mask_of_known_labels_is_that_of_gunpowder(ask: Any) -> None:
    config = a_volume()
    mask = (np.random.default_rng(2).random((9, 10, 11)) > 0.2).astype(np.uint8)
    want, known = by_gunpowder(config.array()[:], OFFSETS, ask, mask)
    mask_config = gpa.NumpyArrayConfig("known", data=mask * 200)
    assert_same(
        gpa.AffinitiesArrayConfig("a", config, OFFSETS, "affinities", mask_config).array()[:], want, "affinities"
    )
    assert_same(gpa.AffinitiesArrayConfig("a", config, OFFSETS, "mask", mask_config).array()[:], known, "mask")


def test_ids_do_not_pass_through_floats() -> None:
    near = np.array([2**53, 2**53 + 1, 2**53 + 1, 2**64 - 1], np.uint64)
    assert affinities(near, [[1]]).tolist() == [[0, 1, 0, 0]]


def test_only_the_context_of_requested_channels_is_read(monkeypatch: Any) -> None:
    array = gpa.AffinitiesArrayConfig("a", a_volume(), [[0, 0, 1], [0, 0, 9]]).array()
    read: list[Any] = []
    opened = type(array.sources[0]._step.opened)
    original = opened.read
    monkeypatch.setattr(opened, "read", lambda self, index: (read.append(index), original(self, index))[1])
    array[0, 2, 3, 1]
    assert [(s.start, s.stop) for s in read[0]] == [(2, 3), (3, 4), (1, 3)]


def test_meta() -> None:
    array = gpa.AffinitiesArrayConfig("a", a_volume(offset=(4, 6, 8), voxel_size=(2, 3, 4)), OFFSETS[:2]).array()
    assert (array.dtype, array.axes, array.channels) == (np.uint8, ("c", "z", "y", "x"), ("1,0,0", "0,-1,0"))
    assert (tuple(array.roi.begin), array.interpolatable) == ((4, 6, 8), False)


@pytest.mark.parametrize("output", ["affinities", "mask"])
def test_node(output: str) -> None:
    offsets = [[0, 1], [-2, 3]]
    check_target_node(
        lambda: gpa.Affinities(IDS, OUT, offsets=offsets, output=output),
        lambda ids: gpa.AffinitiesArrayConfig("a", ids, offsets, output),
        3,
    )


def test_node_with_a_mask(ask: Any) -> None:
    mask = gp.ArrayKey("MASK")
    sources = (gpa.NumpySource(IDS, np.ones((1, 3), np.uint8)), gpa.NumpySource(mask, np.array([[1, 0, 1]], np.uint8)))
    pipeline = sources + gp.MergeProvider() + gpa.Affinities(IDS, OUT, offsets=[[0, 1]], output="mask", mask=mask)
    assert ask(pipeline, {OUT: ((0, 0), (1, 3))})[OUT].data.tolist() == [[[0, 0, 0]]]


class TestLaws(ArrayTypeLaws):
    type = gpa.AffinitiesArrayConfig

    def configs(self, folder: Any) -> Any:
        ids = a_volume((5, 6, 7), offset=(3, 4, 5), voxel_size=(2, 3, 4))
        flat = a_volume((6, 8), "int16")
        mask = gpa.NumpyArrayConfig("mask", data=np.eye(6, 9, dtype=bool), offset=(0, 2))
        return [
            gpa.AffinitiesArrayConfig("near", ids, [[1, 0, 0], [0, 2, -1]]),
            gpa.AffinitiesArrayConfig("far", ids, [[0, 0, 20], [-4, 5, 6]], output="mask"),
            gpa.AffinitiesArrayConfig("flat", flat, [[0, 1]], "affinities", mask),
            gpa.AffinitiesArrayConfig("masked", flat, [[0, 1], [1, -1]], "mask", mask),
        ]

    def refused(self) -> Any:
        ids = gpa.DummyArrayConfig("ids")
        bad: list[Any] = [[], [[]], [[1, 0], [1]], [[0.5]], "x", [1], [[1], [1]], None]
        return [
            *(lambda value=value: gpa.AffinitiesArrayConfig("a", ids, value) for value in bad),
            lambda: gpa.AffinitiesArrayConfig("a", ids, [[1]], output="both"),
        ]

    def misfits(self, folder: Any) -> Any:
        ids = a_volume()
        floats = gpa.NumpyArrayConfig("floats", data=np.zeros((3, 3, 3)))
        channels = gpa.NumpyArrayConfig("channels", data=np.zeros((2, 9, 10, 11), np.uint8))
        return [
            gpa.AffinitiesArrayConfig("a", floats, [[1, 0, 0]]),
            gpa.AffinitiesArrayConfig("b", ids, [[1, 0]]),
            gpa.AffinitiesArrayConfig("c", ids, [[1, 0, 0]], "mask", channels),
            gpa.AffinitiesArrayConfig("d", channels, [[1, 0, 0]]),
        ]
