"""Random trees with the simple array types."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gp_arrays.sources.dummy import DummyArrayConfig
from gp_arrays.sources.numpy_ import NumpyArrayConfig
from gp_arrays.sources.zarr_ import ZarrArrayConfig
from gp_arrays.testing.oracle import Volume
from gp_arrays.testing.plain_zarr import write_plain_zarr
from gp_arrays.testing.strategies import DTYPES, voxels
from gp_arrays.transforms.binarize import BinarizeArrayConfig
from gp_arrays.transforms.concat import ConcatArrayConfig
from gp_arrays.transforms.constant import ConstantArrayConfig
from gp_arrays.transforms.crop import CropArrayConfig
from gp_arrays.transforms.intensities import IntensitiesArrayConfig
from gp_arrays.transforms.logical_or import LogicalOrArrayConfig
from gp_arrays.transforms.ones import OnesArrayConfig
from gp_arrays.transforms.select import SelectArrayConfig
from gp_arrays.transforms.sum import SumArrayConfig
from gp_arrays.transforms.threshold import ThresholdArrayConfig

from .trees import Pool, grows

#: Larger volumes, such as a dummy array, are cropped before loops over voxels.
SMALL = 4000


def small(volume: Volume) -> bool:
    """True if the volume is small enough for loops over its voxels."""
    return volume.data.size <= SMALL


def ids(volume: Volume) -> bool:
    """True if a volume holds ids."""
    return small(volume) and volume.data.dtype.kind in "ui" and not volume.nonspatial and not volume.averaged


def a_number(pool: Pool) -> Any:
    """A finite number, integer or float."""
    return pool.draw(
        st.integers(-300, 70000)
        | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63)])
        | st.floats(-100, 100)
        | st.sampled_from([0.5, 1e6, -1e6, 1e30])
    )


def _shape(pool: Pool) -> tuple[int, ...]:
    return tuple(pool.draw(st.integers(1, 5)) for _ in range(pool.dims))


def _nonspatial_axes(pool: Pool) -> tuple[str, ...]:
    return tuple(pool.draw(st.sampled_from([(), (), ("c",), ("s", "c"), ("t",)])))


@grows(NumpyArrayConfig, source=True)
def numpy_(pool: Pool, name: str) -> Any:
    shape, nonspatial = _shape(pool), _nonspatial_axes(pool)
    data = pool.draw(voxels((*(pool.draw(st.integers(1, 3)) for _ in nonspatial), *shape)))
    form = pool.draw(st.sampled_from(["C", "F", "reversed", "swapped"]))
    if form == "F":
        data = np.asfortranarray(data)
    elif form == "reversed":
        data = np.ascontiguousarray(data[..., ::-1])[..., ::-1]
    elif form == "swapped":
        data = data.astype(data.dtype.newbyteorder(">"))
    axes = (*nonspatial, *"zyx"[-pool.dims :])
    return NumpyArrayConfig(name, data, pool.place(shape), pool.voxel_size, axes)


@grows(ZarrArrayConfig, source=True)
def zarr_(pool: Pool, name: str) -> Any:
    shape, nonspatial = _shape(pool), _nonspatial_axes(pool)
    axes = [*nonspatial, *"zyx"[-pool.dims :]]
    sizes = {
        **{axis: pool.draw(st.integers(1, 3)) for axis in nonspatial},
        **dict(zip(axes[len(nonspatial) :], shape, strict=True)),
    }
    spatial = axes[len(nonspatial) :]
    stored = pool.draw(st.sampled_from([[*nonspatial, *spatial], [*spatial, *nonspatial]]))
    data = pool.draw(voxels([sizes[axis] for axis in stored]))
    if pool.draw(st.booleans()):
        data = data.astype(data.dtype.newbyteorder(">"))
    chunks = tuple(pool.draw(st.integers(1, 3)) for _ in stored)
    order, separator = pool.draw(st.sampled_from("CF")), pool.draw(st.sampled_from("./"))
    grid = [range(-(-n // c)) for n, c in zip(data.shape, chunks, strict=True)]
    absent = pool.draw(st.sets(st.tuples(*map(st.sampled_from, grid)), max_size=2))
    fill = pool.draw(st.sampled_from([0, 1]))
    begin = pool.place(shape)
    attributes = {"voxel_size": pool.voxel_size, "offset": begin, "units": ["nm"] * pool.dims, "axis_names": stored}
    content = repr((data.dtype.str, data.shape, chunks, order, separator, sorted(absent), fill, attributes))
    path = hashlib.blake2b(data.tobytes() + content.encode(), digest_size=12).hexdigest()
    if not (pool.folder / "random.zarr" / path).exists():
        write_plain_zarr(
            pool.folder / "random.zarr" / path,
            data,
            chunks,
            attributes,
            order=order,
            separator=separator,
            absent=absent,
            fill_value=fill,
        )
    return ZarrArrayConfig(name, pool.folder / "random.zarr", path)


@grows(DummyArrayConfig)
def dummy(pool: Pool, name: str) -> Any:
    source = DummyArrayConfig("dummy")
    begin = [pool.draw(st.integers(0, 48)) for _ in range(3)]
    return CropArrayConfig(name, source, [[z * v for z, v in zip(begin, (1, 2, 2), strict=True)], [2, 4, 4]])


@grows(BinarizeArrayConfig)
def binarize(pool: Pool, name: str) -> Any:
    source = pool.pick(ids)
    if source is None:
        return None
    info = np.iinfo(source.volume.data.dtype)
    present = np.unique(source.volume.data).tolist()
    some = st.integers(0, 5) | st.sampled_from(present) | st.sampled_from([int(info.min), int(info.max)])
    groups = pool.draw(st.lists(st.lists(some, max_size=4), min_size=1, max_size=4))
    if pool.draw(st.booleans()):
        groups.append(list(range(60)))  # as many as are looked up at once
    background = pool.draw(st.just(0) | some)
    return BinarizeArrayConfig(name, source.config, [(f"g{i}", g) for i, g in enumerate(groups)], background)


@grows(IntensitiesArrayConfig)
def intensities(pool: Pool, name: str) -> Any:
    source = pool.pick(small)
    if source is None:
        return None
    low, high = a_number(pool), a_number(pool)
    if float(low) == float(high):
        high = float(low) + 1 if abs(low) < 2**50 else 0
    return IntensitiesArrayConfig(name, source.config, low, high, pool.draw(st.booleans()))


@grows(CropArrayConfig)
def crop(pool: Pool, name: str) -> Any:
    source = pool.pick()
    if source is None:
        return None
    offset, shape = [], []
    for begin, end, v in zip(source.volume.begin, source.volume.end, source.volume.voxel_size, strict=True):
        # it overlaps the source; the part outside is cut off
        first = begin + v * pool.draw(st.integers(-2, (end - begin) // v - 1))
        last = max(first, begin) + v * pool.draw(st.integers(1, 6))
        offset.append(first)
        shape.append(last - first)
    return CropArrayConfig(name, source.config, [offset, shape])


@grows(ConstantArrayConfig)
def constant(pool: Pool, name: str) -> Any:
    source = pool.pick()
    if source is None:
        return None
    value = pool.draw(st.sampled_from([0, 1, 300, -1, -129, 2**64 - 1, -(2**63), 0.5, -2.25, 1e30]))
    return ConstantArrayConfig(name, source.config, value)


@grows(LogicalOrArrayConfig)
def logical_or(pool: Pool, name: str) -> Any:
    source = pool.pick(small)
    return None if source is None else LogicalOrArrayConfig(name, source.config)


@grows(SumArrayConfig)
def sum_(pool: Pool, name: str) -> Any:
    first = pool.pick(small)
    if first is None:
        return None

    def alike(volume: Volume) -> bool:
        count = len(volume.nonspatial)
        return (
            small(volume)
            and volume.nonspatial == first.volume.nonspatial
            and volume.data.shape[:count] == first.volume.data.shape[:count]
        )

    chosen = pool.pick_several(1, 3, alike)
    floats = any(member.volume.data.dtype.kind == "f" for member in chosen)
    dtypes = DTYPES[-3:] if floats else DTYPES
    dtype = pool.draw(st.none() | st.sampled_from(dtypes))
    return SumArrayConfig(name, [member.config for member in chosen], dtype)


@grows(ConcatArrayConfig)
def concat(pool: Pool, name: str) -> Any:
    chosen = pool.pick_several(1, 3, lambda volume: small(volume) and volume.nonspatial in ((), ("c",)))
    dtypes = [member.volume.data.dtype for member in chosen]
    if not chosen or (np.result_type(*dtypes).kind == "f" and any(d.name in ("int64", "uint64") for d in dtypes)):
        return None
    sources = {f"s{i}": member.config for i, member in enumerate(chosen)}
    default = None
    if len(sources) > 1 and pool.draw(st.booleans()):
        default = sources.pop(f"s{len(sources) - 1}")
    channels = pool.draw(st.permutations([*sources, *pool.draw(st.sampled_from([[], ["zero"], ["n1", "n2"]]))]))
    return ConcatArrayConfig(name, channels, sources, default)


@grows(SelectArrayConfig)
def select(pool: Pool, name: str) -> Any:
    source = pool.pick(lambda volume: bool(volume.nonspatial))
    if source is None:
        return None
    volume = source.volume
    at = {
        axis: pool.draw(st.integers(-size, size - 1))
        for axis, size in zip(volume.nonspatial, volume.data.shape, strict=False)
        if axis != "c" and pool.draw(st.booleans())
    }
    picks: Any = None
    if volume.channels is not None and (not at or pool.draw(st.booleans())):
        named = isinstance(source.config, (BinarizeArrayConfig, ConcatArrayConfig))
        entries = list(volume.channels) if named and pool.draw(st.booleans()) else list(range(len(volume.channels)))
        one = st.sampled_from(entries)
        picks = pool.draw(one | st.lists(one, min_size=1, unique=True))
    if picks is None and not at:
        return None
    return SelectArrayConfig(name, source.config, picks, at)


@grows(ThresholdArrayConfig)
def threshold(pool: Pool, name: str) -> Any:
    source = pool.pick(small)
    return (
        None if source is None else ThresholdArrayConfig(name, source.config, a_number(pool), pool.draw(st.booleans()))
    )


@grows(OnesArrayConfig)
def ones(pool: Pool, name: str) -> Any:
    source = pool.pick()
    return None if source is None else OnesArrayConfig(name, source.config)
