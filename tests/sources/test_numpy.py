"""Voxels in memory: config, meta, forms of data, writing, node, laws."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, recorded

KEY = gp.ArrayKey("N_KEY")


@pytest.mark.parametrize(
    ("shape", "options", "axes", "begin", "voxel_size"),
    [
        ((2, 3), {}, ("y", "x"), (0, 0), (1, 1)),
        ((2, 3, 4), {}, ("z", "y", "x"), (0, 0, 0), (1, 1, 1)),
        ((2, 3, 4), {"voxel_size": (5, 6)}, ("c", "y", "x"), (0, 0), (5, 6)),
        ((2, 3, 4), {"offset": (5, 6)}, ("c", "y", "x"), (5, 6), (1, 1)),
        ((2, 3, 4), {"axes": ("y", "x")}, ("c", "y", "x"), (0, 0), (1, 1)),
        ((2, 3, 4), {"axes": ("t", "y", "x")}, ("t", "y", "x"), (0, 0), (1, 1)),
        ((2, 3, 4), {"axes": ("c^", "b", "a")}, ("c", "b", "a"), (0, 0), (1, 1)),
        ((1, 2, 3, 4, 5), {}, ("s", "c", "z", "y", "x"), (0, 0, 0), (1, 1, 1)),
        ((7,), {}, ("x",), (0,), (1,)),
        ((2, 3), {"voxel_size": ("0.5 um", 20), "offset": (-1, "7nm")}, ("y", "x"), (-1, 7), (500, 20)),
        ((2, 3), {"voxel_size": (2, "20 nm"), "unit": "um"}, ("y", "x"), (0, 0), (2000, 20)),
    ],
)
def test_meta(shape: Any, options: Any, axes: Any, begin: Any, voxel_size: Any) -> None:
    array = gpa.NumpyArrayConfig("a", data=np.zeros(shape, "u2"), **options).array()
    assert (array.axes, tuple(array.roi.begin), tuple(array.voxel_size), array.shape) == (
        axes,
        begin,
        voxel_size,
        shape,
    )


@pytest.mark.parametrize(
    ("dtype", "may"),
    [
        ("bool", False),
        ("uint8", True),
        ("int8", True),
        ("uint16", True),
        ("int16", True),
        ("uint32", False),
        ("int32", False),
        ("uint64", False),
        ("int64", False),
        ("float16", True),
        ("float64", True),
    ],
)
def test_interpolatable(dtype: str, may: bool) -> None:
    data = np.zeros((2, 3), dtype)
    assert gpa.NumpyArrayConfig("a", data=data).array().interpolatable is may
    assert gpa.NumpyArrayConfig("a", data=data, interpolatable=not may).array().interpolatable is not may


def forms() -> list[np.ndarray[Any, Any]]:
    """Arrays that hold the same voxels, each in another way."""
    base = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    frozen = base.copy()
    frozen.flags.writeable = False
    wide = np.zeros((2, 6, 4), np.uint16)
    wide[:, ::2] = base
    return [
        base,
        np.asfortranarray(base),
        base.astype(">u2"),
        frozen,
        np.ascontiguousarray(base[:, ::-1, ::-1])[:, ::-1, ::-1],
        np.ascontiguousarray(base.T).T,
        wide[:, ::2],
    ]


@pytest.mark.parametrize("data", forms(), ids=["C", "F", "swapped", "frozen", "reversed", "transposed", "strided"])
def test_every_form_of_data(data: np.ndarray[Any, Any]) -> None:
    array = gpa.NumpyArrayConfig("a", data=data, axes=("c", "y", "x")).array()
    voxels = array[:]
    assert (voxels.dtype, voxels.tolist()) == (np.dtype("uint16"), np.arange(24).reshape(2, 3, 4).tolist())
    assert voxels.dtype.isnative
    assert array[1, ::-1, -1].tolist() == [23, 19, 15]
    assert array.writable is data.flags.writeable
    voxels[...] = 0
    assert data.ravel().tolist() == list(range(24))


@pytest.mark.parametrize("data", forms()[:3], ids=["C", "F", "swapped"])
def test_writing(data: np.ndarray[Any, Any]) -> None:
    data = data.copy(order="K")
    array = gpa.NumpyArrayConfig("a", data=data, axes=("c", "y", "x"), offset=(10, 10)).array()
    array[gpa.Roi((11, 12), (1, 2))] = [[[1000, 1001]], [[1002, 1003]]]
    array[0, 0] = 7
    assert data[:, 1, 2:].tolist() == [[1000, 1001], [1002, 1003]]
    assert data[0, 0].tolist() == [7, 7, 7, 7]
    assert array[:].tolist() == data.tolist()


def test_read_only_data_are_not_written() -> None:
    with pytest.raises(gpa.StoreError, match="read-only"):
        gpa.NumpyArrayConfig("a", data=forms()[3]).array()[0] = 1


def test_one_array_is_one_content() -> None:
    data = np.zeros((2, 3), "u1")
    a, b = gpa.NumpyArrayConfig("a", data=data), gpa.NumpyArrayConfig("b", data=data)
    other = gpa.NumpyArrayConfig("a", data=data.copy())
    assert (a.content == b.content, a == b, a.content == other.content) == (True, False, False)
    with recorded(gpa.SumArrayConfig("s", [a, b])) as record:
        gpa.SumArrayConfig("s", [a, b]).array()[:]
    assert len(record.reads) == 1


def test_a_content_is_never_that_of_an_array_that_is_gone() -> None:
    """numpy reuses memory and Python reuses ids, but a later array has other content."""
    seen = set()
    for value in range(20):
        data = np.full((64, 64), value)
        config = gpa.NumpyArrayConfig("a", data=data)
        assert config.array()[0, 0] == value
        seen.add(config.content)
        del data, config
    assert len(seen) == 20


def test_pickled_twice_it_still_is_one() -> None:
    data = np.arange(6).reshape(2, 3)
    a = gpa.NumpyArrayConfig("a", data=data)
    first, second = pickle.loads(pickle.dumps(a)), pickle.loads(pickle.dumps(a))
    assert first == second == a
    assert first.array()[:].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_array_from_numpy() -> None:
    data = np.arange(6).reshape(2, 3)
    array = gpa.Array.from_numpy(data, gpa.Roi((10, 20), (4, 9)), axes=("y", "x"))
    assert (tuple(array.voxel_size), array[gpa.Roi((12, 23), (2, 3))].tolist()) == ((2, 3), [[4]])
    with pytest.raises(gpa.RequestError, match="whole number of voxels"):
        gpa.Array.from_numpy(data, gpa.Roi((10, 20), (5, 9)))


@pytest.mark.parametrize("shift", [(0, 0), (-8, 6)])
def test_node(ask: Any, shift: Any) -> None:
    data = np.arange(24, dtype="u1").reshape(4, 6)
    source = gpa.NumpySource(KEY, data, offset=shift, voxel_size=(2, 3))
    batch = ask(source + gp.Pad(KEY, None), {KEY: ((shift[0] + 4, shift[1] - 3), (6, 9))})
    assert batch[KEY].data.tolist() == [[0, 12, 13], [0, 18, 19], [0, 0, 0]]
    batch[KEY].data[...] = 0
    assert data.ravel().tolist() == list(range(24))


def test_node_off_the_grid() -> None:
    source = gpa.NumpySource(KEY, np.zeros((4, 6)), offset=(1, 0), voxel_size=(2, 3))
    with pytest.raises(Exception, match="NumpySource") as caught, gp.build(source + gp.Pad(KEY, None)):
        pass
    assert isinstance(caught.value.__cause__, gpa.TreeError)
    assert "offsets that are multiples of the voxel size" in str(caught.value.__cause__)


class TestLaws(ArrayTypeLaws):
    type = gpa.NumpyArrayConfig

    def configs(self, folder: Any) -> Any:
        rng = np.random.default_rng(0)
        extremes = np.array([[[np.nan, np.inf, -np.inf, -0.0]], [[65504, -65504, 6e-8, 0]]], "f2")
        return [
            gpa.NumpyArrayConfig("a", data=rng.integers(0, 2, (4, 5), dtype=bool), offset=(-3, 7), voxel_size=(2, 3)),
            gpa.NumpyArrayConfig("b", data=rng.integers(0, 2**63, (2, 3, 4, 5, 3)).astype(">u8") * 2 + 1),
            gpa.NumpyArrayConfig("c", data=extremes, axes=("c", "y", "x"), unit="nm", voxel_size=("1 um", 1)),
            gpa.NumpyArrayConfig(
                "d", data=np.asfortranarray(rng.normal(size=(3, 4, 5)))[::-1, :, ::-2], interpolatable=False
            ),
        ]

    def refused(self) -> Any:
        good = np.zeros((2, 3))
        bad: list[Any] = [
            {"data": [[1, 2]]},
            {"data": None},
            {"data": good.astype("c8")},
            {"data": good.astype(np.longdouble)},
            {"data": good.astype("U1")},
            {"data": np.zeros(())},
            {"data": np.zeros((0, 3))},
            {"data": good.astype(object)},
            {"voxel_size": (1,) * 3},
            {"voxel_size": (0, 1)},
            {"voxel_size": (-1, 1)},
            {"voxel_size": 2},
            {"voxel_size": ("1 apple", 1)},
            {"voxel_size": (np.nan, 1)},
            {"offset": (1,) * 3},
            {"offset": "12"},
            {"axes": ()},
            {"axes": ("y", "c")},
            {"axes": "yx"},
            {"axes": (1, 2)},
            {"unit": "apple"},
            {"unit": 3},
            {"interpolatable": "yes"},
            {"interpolatable": 1},
            {"axes": ("x", "x")},
        ]
        return [
            lambda options=options: gpa.NumpyArrayConfig(**{"name": "a", "data": good, **options}) for options in bad
        ]

    def misfits(self, folder: Any) -> Any:
        return [
            gpa.NumpyArrayConfig("a", data=np.zeros((2, 3)), voxel_size=("5.24 nm", 4)),
            gpa.NumpyArrayConfig("a", data=np.zeros((2, 3)), offset=("500 pm", 4)),
        ]


def test_arrays_that_outlive_the_module_end_in_silence():
    # referenced by an object that is cleared last, like the cache of another library
    code = (
        "import sys, numpy as np, gp_arrays as gpa\n"
        "from gp_arrays.sources import numpy_\n"
        "data = np.zeros((2, 2), np.uint8)\n"
        "kept = gpa.NumpyArrayConfig('a', data=data)\n"
        "vars(numpy_).update(_LOCK=None, _TOKENS=None)\n"
        "del data, kept\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "_forget" not in ended.stderr
