"""Distances, compared with scipy's Euclidean distance transform of the complete volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from target_helpers import IDS, OUT, blobs, check_target_node

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, assert_same
from gp_arrays.transforms.distance import squared_distance


def by_scipy(ids: np.ndarray[Any, Any], voxel_size: Any, reach: float, signed: bool) -> np.ndarray[Any, Any]:
    """scipy's distances, label by label, of the complete volume."""
    out = np.zeros(ids.shape)
    for label in np.unique(ids):
        mask = ids == label
        if mask.all():
            out[...] = reach
        else:
            out[mask] = ndimage.distance_transform_edt(mask, sampling=voxel_size)[mask]
    out = np.minimum(out, reach)
    return np.where((ids == 0) & signed, -out, out).astype(np.float32)


@pytest.mark.parametrize("voxel_size", [(1, 1, 1), (40, 4, 4), (5, 7, 11), (5237, 4093, 4091)])
@pytest.mark.parametrize("output", ["boundary", "signed"])
def test_it_is_that_of_scipy(voxel_size: Any, output: str) -> None:
    ids = blobs((14, 20, 22), 1)
    config = gpa.NumpyArrayConfig("ids", data=ids, voxel_size=voxel_size)
    for reach in (1, min(voxel_size), 3 * max(voxel_size), 1000 * max(voxel_size)):
        got = gpa.DistanceArrayConfig("d", config, reach, output).array()[:]
        assert_same(got, by_scipy(ids, voxel_size, reach, output == "signed"), f"reach {reach}")


def test_any_block_has_the_distances_of_the_array() -> None:
    """Also with voxel sizes whose squares are beyond the range of float32."""
    ids = blobs((14, 20, 22), 4)
    config = gpa.NumpyArrayConfig("ids", data=ids, voxel_size=(5237, 4093, 4091))
    array = gpa.DistanceArrayConfig("d", config, 40000).array()
    want = by_scipy(ids, (5237, 4093, 4091), 40000, False)
    for z, y in np.ndindex(7, 4):
        box = (slice(2 * z, 2 * z + 2), slice(5 * y, 5 * y + 5))
        assert_same(array[box], want[box], str(box))


def test_each_channel_is_a_mask() -> None:
    ids = blobs((9, 10), 5)
    masks = gpa.BinarizeArrayConfig(
        "masks", gpa.NumpyArrayConfig("ids", data=ids, voxel_size=(3, 2)), [("one", [1]), ("more", [2, 3]), ("no", [9])]
    )
    got = gpa.DistanceArrayConfig("d", masks, 100, "signed").array()
    assert got.channels == ("one", "more", "no")
    for channel, mask in zip(got[:], [ids == 1, ids >= 2], strict=False):
        want = ndimage.distance_transform_edt(mask, (3, 2)) - ndimage.distance_transform_edt(~mask, (3, 2))
        assert_same(channel, want.astype(np.float32), "a channel")
    assert (got[2] == -100).all(), "an empty channel is as far outside as the reach goes"


def test_ids_do_not_pass_through_floats() -> None:
    ids = np.array([2**53, 2**53, 2**53 + 1, 2**64 - 1], np.uint64)
    assert squared_distance(ids, (1,), 99).tolist() == [4, 1, 1, 1]


def test_reach_has_a_unit() -> None:
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[5, 5, 5, 0]], np.uint8), voxel_size=(8, 8))
    assert gpa.DistanceArrayConfig("d", ids, "0.02 um").array()[0].tolist() == [20, 16, 8, 8]
    with pytest.raises(gpa.TreeError, match="d.*reach.*0.5 pm"):
        gpa.DistanceArrayConfig("d", ids, "0.5 pm").array()


def test_meta() -> None:
    array = gpa.DistanceArrayConfig("d", gpa.NumpyArrayConfig("ids", data=np.zeros((2, 3, 4), bool)), 9).array()
    assert (array.dtype, array.axes, array.interpolatable) == (np.float32, ("z", "y", "x"), True)
    assert (array[:] == 9).all()


def test_node() -> None:
    check_target_node(
        lambda: gpa.Distance(IDS, OUT, reach=6, output="signed"),
        lambda ids: gpa.DistanceArrayConfig("d", ids, 6, "signed"),
        3,
    )


class TestLaws(ArrayTypeLaws):
    type = gpa.DistanceArrayConfig

    def configs(self, folder: Any) -> Any:
        ids = gpa.NumpyArrayConfig("ids", data=blobs((6, 7, 8)), offset=(3, 4, 5), voxel_size=(2, 3, 4))
        flat = gpa.NumpyArrayConfig("flat", data=blobs((9, 10), 2, dtype="int16") - 1)
        channels = gpa.BinarizeArrayConfig("channels", ids, [("one", [1]), ("more", [2, 3])])
        return [
            gpa.DistanceArrayConfig("near", ids, 6),
            gpa.DistanceArrayConfig("signed", flat, "3 nm", output="signed"),
            gpa.DistanceArrayConfig("masks", channels, 1000, output="signed"),
        ]

    def refused(self) -> Any:
        ids = gpa.DummyArrayConfig("ids")
        bad: list[Any] = [0, -1, "x", None, [1], np.nan]
        return [
            *(lambda value=value: gpa.DistanceArrayConfig("d", ids, value) for value in bad),
            lambda: gpa.DistanceArrayConfig("d", ids, 1, output="both"),
        ]

    def misfits(self, folder: Any) -> Any:
        grey = gpa.NumpyArrayConfig("grey", data=np.zeros((4, 4, 4), np.uint8))
        averaged = gpa.ResampledArrayConfig("averaged", grey, (1, 1, 1), (2, 2, 2), 1)
        return [
            gpa.DistanceArrayConfig("a", gpa.DummyArrayConfig("floats"), 1),
            gpa.DistanceArrayConfig("b", averaged, 1),
            gpa.DistanceArrayConfig("c", grey, "1 pm"),
            gpa.DistanceArrayConfig("d", grey, 2**31),
        ]
