"""Binarized ids: kernel, config, meta, node, laws, real labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.transforms.binarize import MANY_IDS, binarize

IDS, MASKS = gp.ArrayKey("B_IDS"), gp.ArrayKey("B_MASKS")
MANY = [*range(100, 100 + MANY_IDS), 2]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
def test_kernel(dtype: str) -> None:
    labels = np.array([[0, 1, 2], [3, 101, 2]], dtype)
    result = binarize(labels, [[1, 3], [], [0], [2, 0], MANY])
    assert result.dtype == np.uint8
    assert result.tolist() == [
        [[0, 1, 0], [1, 0, 0]],
        [[0, 1, 1], [1, 1, 1]],
        [[0, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 1]],
        [[0, 0, 1], [0, 1, 1]],
    ]


@pytest.mark.parametrize("many", [[], [*range(1, 60)]])
def test_kernel_tells_neighbouring_ids_apart(many: list[int]) -> None:
    """2**53 and 2**53 + 1 are one number in float64, and so are the last 1024 of uint64."""
    labels = np.array([2**53, 2**53 + 1, 2**64 - 1, 2**64 - 2, 2**63], np.uint64)
    result = binarize(labels, [[2**53, *many], [2**64 - 1, *many], [2**63, *many]])
    assert result.tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64"])
def test_kernel_with_negative_ids_and_background(dtype: str) -> None:
    labels = np.array([-1, 0, 1, np.iinfo(dtype).min], dtype)
    result = binarize(labels, [[], [0], [-1, 1], [np.iinfo(dtype).min]], background=-1)
    assert result.tolist() == [[0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("dtype", ["uint8", "uint64"])
def test_kernel_of_a_view(dtype: str) -> None:
    labels = np.arange(24, dtype=dtype).reshape(4, 6).T[::-1, ::2]
    assert binarize(labels, [[5, 17]])[0].tolist() == [[1, 1], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]
    assert labels[0, 0] == 5


def test_meta() -> None:
    ids = gpa.NumpyArrayConfig("ids", data=np.ones((3, 4), "u8"), offset=(5, 6), voxel_size=(2, 2), interpolatable=True)
    array = gpa.BinarizeArrayConfig("m", ids, {"a": [1], "b": []}).array()
    assert (array.dtype, array.axes, array.shape, array.channels) == (np.uint8, ("c", "y", "x"), (2, 3, 4), ("a", "b"))
    assert (tuple(array.roi.begin), tuple(array.roi.end), tuple(array.voxel_size)) == ((5, 6), (11, 14), (2, 2))
    assert not array.interpolatable


def test_only_requested_channels_are_computed() -> None:
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[0, 1, 2, 3]], "u8"))
    array = gpa.BinarizeArrayConfig("m", ids, [(str(i), [i]) for i in range(1, 4)]).array()
    assert array[1].tolist() == [[0, 0, 1, 0]]
    assert array[1:, 0, ::-1].tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert array[::-2, 0, 1:].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_node(check_node: Any) -> None:
    data = np.random.default_rng(0).integers(0, 5, (16, 12)).astype(np.uint64)
    check_node(
        {IDS: data},
        lambda: gpa.Binarize(IDS, MASKS, [("a", [1, 4]), ("any", [])]),
        MASKS,
        lambda a: np.stack([(a == 1) | (a == 4), a > 0]).astype("u1"),
    )


def test_node_of_a_nonspatial_array(ask: Any, nonspatial: Any) -> None:
    pipeline = nonspatial(IDS, np.uint8(3)[None]) + gpa.Binarize(IDS, MASKS, [("three", [3])])
    with pytest.raises(Exception, match="takes a source without channels"):
        ask(pipeline, {MASKS: None})


@pytest.mark.parametrize("name", ["labels/neurons", "labels/supervoxels"])
def test_real_labels(fib25: Path, name: str) -> None:
    labels = gpa.ZarrArrayConfig("labels", fib25, name)
    roi = gpa.Roi((26000 + 640, 500, 1000), (400, 300, 500))
    voxels = labels.array()[roi]
    ids = np.unique(voxels)[1:8].tolist()
    masks = gpa.BinarizeArrayConfig("masks", labels, [("few", ids), ("one", ids[:1]), ("any", [])]).array()[roi]
    lookup = {i: np.array([i in ids, i == ids[0], i != 0], np.uint8) for i in np.unique(voxels).tolist()}
    want = np.stack([lookup[i] for i in voxels.ravel().tolist()], axis=1).reshape(3, *voxels.shape)
    np.testing.assert_array_equal(masks, want)
    assert masks[0].any()
    assert not masks[0].all()


class TestLaws(ArrayTypeLaws):
    type = gpa.BinarizeArrayConfig

    def configs(self, folder: Any) -> Any:
        rng = np.random.default_rng(0)
        large = rng.choice(np.array([0, 1, 2**53, 2**53 + 1, 2**64 - 1], np.uint64), (6, 7, 5))
        small = gpa.NumpyArrayConfig(
            "small", data=rng.integers(-3, 4, (5, 6)).astype("i1"), offset=(1, 2), voxel_size=(3, 4)
        )
        ids = gpa.NumpyArrayConfig("large", data=large, voxel_size=(4, 2, 2))
        return [
            gpa.BinarizeArrayConfig("a", ids, [("x", [2**53]), ("y", [2**64 - 1, 0, *range(7, 50)]), ("any", [])]),
            gpa.BinarizeArrayConfig("b", small, [("x", [-3, 2]), ("any", [])], background=-1),
        ]

    def refused(self) -> Any:
        ids = gpa.DummyArrayConfig("ids")
        bad: list[Any] = [
            None,
            [],
            "axon",
            3,
            [("a", 1)],
            [("a", "12")],
            [("a", [1.0])],
            [("a", [True])],
            [("", [1])],
            [(1, [1])],
            [("a", [1]), ("a", [2])],
            [("a", [1], 2)],
            ["ab"],
        ]
        return [
            *(lambda value=value: gpa.BinarizeArrayConfig("m", ids, value) for value in bad),
            lambda: gpa.BinarizeArrayConfig("m", ids, [("a", [1])], background=0.5),
        ]

    def misfits(self, folder: Any) -> Any:
        def over(dtype: str, groups: Any, axes: Any = None, **options: Any) -> Any:
            data = np.zeros((2, 3), dtype)
            return gpa.BinarizeArrayConfig("m", gpa.NumpyArrayConfig("ids", data=data, axes=axes), groups, **options)

        return [
            over("float32", [("a", [1])]),
            over("bool", [("a", [1])]),
            over("uint8", [("a", [256])]),
            over("uint64", [("a", [-1])]),
            over("int64", [("a", [2**63])]),
            over("uint8", [("a", [1])], background=-1),
            over("uint8", [("a", [1])], axes=("c", "x")),
        ]
