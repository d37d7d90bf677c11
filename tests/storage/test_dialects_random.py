"""Random axes, orders, sizes and units: every metadata convention describes the same array."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gp_arrays as gpa

#: How long each unit is, in femtometres.
UNITS = {
    "pm": 10**3,
    "nm": 10**6,
    "nanometer": 10**6,
    "angstrom": 10**5,
    "um": 10**9,
    "µm": 10**9,
    "micrometer": 10**9,
    "mm": 10**12,
}


@attrs.frozen
class Volume:
    """The metadata of an array; lengths are thousandths of the unit, so that they are integers in fm."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    begins: tuple[int, ...]
    unit: str

    @property
    def spatial(self) -> list[int]:
        return [number for number, name in enumerate(self.axes) if name not in "tc"]

    def per_axis(self, values: Sequence[int], other: Any) -> list[Any]:
        by_axis = dict(zip(self.spatial, values, strict=True))
        return [by_axis[n] / 1000 if n in by_axis else other for n in range(len(self.axes))]

    def voxels(self) -> np.ndarray[Any, Any]:
        return np.arange(np.prod(self.shape), dtype=np.uint8).reshape(self.shape)


@st.composite
def volumes(draw: Any, fixed: bool = False) -> Volume:
    spatial = "zyx"[-draw(st.integers(1, 3)) :] if not fixed else "zyx"
    others = [] if fixed else draw(st.lists(st.sampled_from("tc"), unique=True))
    axes = tuple([*others, *spatial] if fixed else draw(st.permutations([*others, *spatial])))
    shape = tuple(draw(st.integers(2, 3)) for _ in axes)
    sizes = tuple(draw(st.integers(1, 10**6)) for _ in spatial)
    begins = tuple(draw(st.integers(-(10**6), 10**6)) for _ in spatial)
    return Volume(axes, shape, sizes, begins, draw(st.sampled_from(sorted(UNITS))))


def funlib(volume: Volume) -> dict[str, Any]:
    return {
        "a/.zattrs": {
            "voxel_size": [size / 1000 for size in volume.sizes],
            "offset": [begin / 1000 for begin in volume.begins],
            "axis_names": [f"{name}^" if name in "tc" else name for name in volume.axes],
            "units": [volume.unit] * len(volume.sizes),
        }
    }


def kinds(volume: Volume) -> list[dict[str, Any]]:
    named = {"t": {"type": "time", "unit": "second"}, "c": {"type": "channel"}}
    space = {"type": "space", "unit": volume.unit}
    return [{"name": name.upper() if name != "c" else name, **named.get(name, space)} for name in volume.axes]


def ngff(volume: Volume) -> dict[str, Any]:
    steps = [
        {"type": "scale", "scale": volume.per_axis(volume.sizes, 1.0)},
        {"type": "translation", "translation": volume.per_axis(volume.begins, 0.0)},
    ]
    image = {"version": "0.4", "axes": kinds(volume), "datasets": [{"path": "a", "coordinateTransformations": steps}]}
    return {".zattrs": {"multiscales": [image]}}


def ngff_06(volume: Volume) -> dict[str, Any]:
    (image,) = ngff(volume)[".zattrs"]["multiscales"]
    steps = image["datasets"][0]["coordinateTransformations"]
    sequence = {"type": "sequence", "input": {"path": "a"}, "output": {"name": "world"}, "transformations": steps}
    image = {
        "coordinateSystems": [{"name": "world", "axes": image["axes"]}],
        "datasets": [{"path": "a", "coordinateTransformations": [sequence]}],
    }
    return {".zattrs": {"ome": {"version": "0.6", "multiscales": [image]}}}


def cosem(volume: Volume) -> dict[str, Any]:
    """COSEM's metadata, whose lists are in the reverse order."""
    transform = {
        "order": "F",
        "axes": volume.axes[::-1],
        "scale": volume.per_axis(volume.sizes, 1.0)[::-1],
        "translate": volume.per_axis(volume.begins, 0.0)[::-1],
        "units": [volume.unit] * len(volume.axes),
    }
    return {"a/.zattrs": {"transform": transform}}


def paintera(volume: Volume) -> dict[str, Any]:
    return {
        ".zattrs": {
            "multiScale": True,
            "resolution": [size / 1000 for size in volume.sizes][::-1],
            "offset": [begin / 1000 for begin in volume.begins][::-1],
            "unit": volume.unit,
        }
    }


def n5_viewer(volume: Volume) -> dict[str, Any]:
    dimensions = [size / 1000 for size in volume.sizes][::-1]
    return {"a/.zattrs": {"pixelResolution": {"dimensions": dimensions, "unit": volume.unit}}}


def tensorstore(volume: Volume) -> dict[str, Any]:
    units = [None if size is None else f"{size} {volume.unit}" for size in volume.per_axis(volume.sizes, None)]
    return {"a/.zattrs": {"dimension_units": units, "_ARRAY_DIMENSIONS": list(volume.axes)}}


def xarray(volume: Volume) -> dict[str, Any]:
    documents: dict[str, Any] = {"a/.zattrs": {"_ARRAY_DIMENSIONS": list(volume.axes)}}
    for axis, size, begin in zip(volume.spatial, volume.sizes, volume.begins, strict=True):
        name = volume.axes[axis]
        values = [(begin + size * (i + Fraction(1, 2))) / 1000 for i in range(volume.shape[axis])]
        documents[f"{name}/.zattrs"] = {"_ARRAY_DIMENSIONS": [name], "units": volume.unit}
        documents[f"{name}/.zarray"] = document(len(values), dtype="<f8")
        documents[f"{name}/0"] = np.array([float(value) for value in values]).tobytes()
    return documents


def document(*shape: int, dtype: str = "|u1") -> dict[str, Any]:
    keys = {"compressor": None, "fill_value": 0, "filters": None, "order": "C"}
    return {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": dtype, **keys}


def require_same(volume: Volume, documents: dict[str, Any], offset: bool = True) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = {**documents, ".zgroup": {"zarr_format": 2}, "a/.zarray": document(*volume.shape)}
        files[f"a/{'.'.join('0' for _ in volume.shape)}"] = volume.voxels().tobytes()
        for name, content in files.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        array = gpa.ZarrArrayConfig("a", root, "a").array(unit="fm")
        order = [n for n, name in enumerate(volume.axes) if name in "tc"] + volume.spatial
        factor = UNITS[volume.unit] // 1000
        assert array.axes == tuple(volume.axes[n] for n in order)
        assert tuple(array.voxel_size) == tuple(size * factor for size in volume.sizes)
        begins = [begin * factor for begin in volume.begins] if offset else [0] * len(volume.sizes)
        assert list(array.roi.begin) == begins
        assert np.array_equal(array[:], volume.voxels().transpose(order))


@pytest.mark.parametrize("write", [funlib, ngff, ngff_06, cosem, tensorstore, xarray])
def test_dialects_that_name_axes(write: Callable[[Volume], dict[str, Any]]) -> None:
    @given(volumes())
    def check(volume: Volume) -> None:
        require_same(volume, write(volume), offset=write is not tensorstore)

    check()


@pytest.mark.parametrize("write", [paintera, n5_viewer])
def test_dialects_that_name_none(write: Callable[[Volume], dict[str, Any]]) -> None:
    @given(volumes(fixed=True))
    def check(volume: Volume) -> None:
        require_same(volume, write(volume), offset=write is paintera)

    check()


@given(volumes(fixed=True), st.data())
def test_dialects_side_by_side(volume: Volume, data: Any) -> None:
    """Two conventions that agree are accepted; if their sizes differ it is an error."""
    one, other = data.draw(
        st.sampled_from(list(itertools.permutations([funlib, ngff, cosem, n5_viewer, tensorstore], 2)))
    )
    wrong = attrs.evolve(volume, sizes=(2 * volume.sizes[0], *volume.sizes[1:]))
    documents = merged(one(volume), other(volume))
    require_same(volume, documents, offset=not {one, other} <= {n5_viewer, tensorstore})
    with pytest.raises(gpa.StoreError, match="contradict each other"):
        require_same(volume, merged(one(volume), other(wrong)))


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: {**one.get(key, {}), **other.get(key, {})} for key in [*one, *other]}
