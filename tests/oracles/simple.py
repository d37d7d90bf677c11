"""The oracles of the simple array types."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gp_arrays.errors import ComputeError
from gp_arrays.sources.dummy import DummyArrayConfig
from gp_arrays.sources.numpy_ import NumpyArrayConfig
from gp_arrays.sources.zarr_ import ZarrArrayConfig
from gp_arrays.testing.oracle import Naive, Volume, naive
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

from .n5_stores import read_n5

INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")


def may_be_interpolated(dtype: np.dtype[Any]) -> bool:
    """The rule by dtype, for stores whose metadata do not tell."""
    return dtype.kind == "f" or dtype.name in ("uint8", "int8", "uint16", "int16")


def smallest(low: int, high: int, signed: bool) -> np.dtype[Any] | None:
    """The smallest integer dtype that holds both values, or None if it needs more than 64 bits."""
    for name in INTEGERS:
        info = np.iinfo(name)
        if name.startswith("int") == signed and info.min <= low and high <= info.max:
            return np.dtype(name)
    return None


def numbered(names: tuple[str, ...], data: np.ndarray[Any, Any]) -> tuple[str, ...] | None:
    """Names for channels without names."""
    return tuple(map(str, range(data.shape[names.index("c")]))) if "c" in names else None


def common_part(volumes: list[Volume]) -> list[Volume]:
    """The volumes, cropped to the part where all of them overlap."""
    begin = tuple(max(corners) for corners in zip(*(volume.begin for volume in volumes), strict=True))
    end = tuple(min(corners) for corners in zip(*(volume.end for volume in volumes), strict=True))
    return [volume.with_data(volume.part(begin, end), begin=begin) for volume in volumes]


@naive(DummyArrayConfig)
def dummy(config: DummyArrayConfig, naive: Naive) -> Volume:
    return Volume(np.zeros((100, 50, 50)), (0, 0, 0), (1, 2, 2), interpolatable=True)


@naive(NumpyArrayConfig)
def numpy_(config: NumpyArrayConfig, naive: Naive) -> Volume:
    stored = config.data.data
    data = np.array(stored.tolist(), stored.dtype.newbyteorder("=")).reshape(stored.shape)
    known = config.voxel_size or config.offset
    names = config.axes
    if names is not None and len(names) == data.ndim:
        nonspatial = tuple(name for name in names if name in ("s", "c", "t"))
    else:
        count = data.ndim - (len(known) if known else len(names) if names else min(3, data.ndim))
        nonspatial = {0: (), 1: ("c",), 2: ("s", "c")}[count]
    dims = data.ndim - len(nonspatial)
    return Volume(
        data,
        naive.lengths(config.offset or (0,) * dims, config.unit),
        naive.lengths(config.voxel_size or (1,) * dims, config.unit),
        nonspatial,
        numbered(nonspatial, data),
        may_be_interpolated(data.dtype) if config.interpolatable is None else config.interpolatable,
    )


def stored(folder: Path) -> tuple[dict[str, Any], Any]:
    """The attributes of a stored array, and all of its voxels."""
    archive = next((path for path in folder.parents if path.is_file()), None)
    if archive is not None:
        with tempfile.TemporaryDirectory() as unpacked:
            shutil.unpack_archive(archive, unpacked, "zip")
            return stored(Path(unpacked) / folder.relative_to(archive))
    if (folder / "attributes.json").exists():
        return {}, read_n5(folder)
    if (folder / "zarr.json").exists():
        document = json.loads((folder / "zarr.json").read_text())
        return document["attributes"], plain_v3(folder, document)
    return json.loads((folder / ".zattrs").read_text()), np.asarray(zarr.open(str(folder), mode="r")[...])


def plain_v3(folder: Path, document: dict[str, Any]) -> Any:
    """All voxels of an uncompressed array of Zarr v3, which zarr 2 does not read."""
    size = document["chunk_grid"]["configuration"]["chunk_shape"]
    data = np.full(document["shape"], document["fill_value"], document["data_type"])
    for index in itertools.product(*(range(-(-n // c)) for n, c in zip(data.shape, size, strict=True))):
        path = folder / "c" / "/".join(map(str, index))
        if path.exists():
            part = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, size, strict=True))]
            chunk = np.fromfile(path, data.dtype.newbyteorder("<")).reshape(size)
            part[...] = chunk[tuple(map(slice, part.shape))]
    return data


@naive(ZarrArrayConfig)
def zarr_(config: ZarrArrayConfig, naive: Naive) -> Volume:
    """It supports the metadata of funlib.persistence and DaCapo, and fields of the config that override them."""
    folder = Path(config.file_name, config.dataset)
    attributes, data = stored(folder)
    data = data.astype(data.dtype.newbyteorder("="))
    size = config.voxel_size or attributes.get("voxel_size") or attributes["resolution"]
    names = config.axes or attributes.get("axis_names") or attributes.get("axes") or ("c", "z", "y", "x")[-data.ndim :]
    names = [name.rstrip("^") for name in names]
    nonspatial = tuple(name for name in names if name in ("s", "c", "t"))
    data = data.transpose(
        [names.index(n) for n in nonspatial] + [i for i, n in enumerate(names) if n not in nonspatial]
    )
    unit = config.unit or attributes.get("units", ["nm"])[0]
    begin = naive.lengths(config.offset or attributes.get("offset") or (0,) * len(size), unit)
    voxel_size = naive.lengths(size, unit)
    labels = attributes.get("channel_names")
    may = may_be_interpolated(data.dtype) and "label" not in config.dataset
    volume = Volume(
        data,
        begin,
        voxel_size,
        nonspatial,
        tuple(labels) if labels and "c" in nonspatial else numbered(nonspatial, data),
        may if config.interpolatable is None else config.interpolatable,
    )
    if config.snap_to_grid is None:
        return volume
    grid = naive.lengths(config.snap_to_grid)
    inner = [
        [edge for edge in range(b, e + 1) if edge % g == 0] for b, e, g in zip(begin, volume.end, grid, strict=True)
    ]
    first, last = tuple(edges[0] for edges in inner), tuple(edges[-1] for edges in inner)
    return volume.with_data(volume.part(first, last), begin=first)


@naive(BinarizeArrayConfig)
def binarize(config: BinarizeArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    out = np.zeros((len(config.groupings), *source.data.shape), np.uint8)
    for index, value in np.ndenumerate(source.data):
        for channel, (_, ids) in enumerate(config.groupings):
            if int(value) != config.background and (not ids or int(value) in ids):
                out[(channel, *index)] = 1
    names = tuple(name for name, _ in config.groupings)
    return source.with_data(out, nonspatial=("c",), channels=names, interpolatable=False)


@naive(IntensitiesArrayConfig)
def intensities(config: IntensitiesArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    exact = float(config.min), float(config.max) - float(config.min)
    # float32 serves narrow sources, unless it would round the numbers to infinity or to nothing
    fits = all(size == 0 or 2.0**-126 <= abs(size) < 2.0**128 for size in exact)
    number: Any = np.float32 if source.data.dtype.itemsize <= 2 and fits else float
    low, span = map(number, exact)
    values = []
    with np.errstate(all="ignore"):
        for value in source.data.ravel().tolist():
            scaled = (number(value) - low) / span
            if config.clip and not math.isnan(scaled):
                scaled = min(max(scaled, 0), 1)
            values.append(np.float32(scaled))
    return source.with_data(np.array(values, np.float32).reshape(source.data.shape))


@naive(CropArrayConfig)
def crop(config: CropArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    offset, shape = naive.lengths(config.roi.offset), naive.lengths(config.roi.shape)
    begin = tuple(map(max, offset, source.begin))
    end = tuple(min(o + s, e) for o, s, e in zip(offset, shape, source.end, strict=True))
    return source.with_data(source.part(begin, end), begin=begin)


@naive(ConstantArrayConfig)
def constant(config: ConstantArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    dtype = config.dtype
    if dtype is None and isinstance(config.constant, float):
        dtype = np.dtype("float32")
    elif dtype is None:
        dtype = smallest(int(config.constant), int(config.constant), config.constant < 0)
    data = np.array([config.constant] * source.data.size, dtype).reshape(source.data.shape)
    return source.with_data(data, interpolatable=False, averaged=False)


@naive(OnesArrayConfig)
def ones(config: OnesArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    return source.with_data(np.ones(source.data.shape, bool), interpolatable=False, averaged=False)


@naive(LogicalOrArrayConfig)
def logical_or(config: LogicalOrArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    axis = source.nonspatial.index("c") if "c" in source.nonspatial else None
    shape = [size for i, size in enumerate(source.data.shape) if i != axis]
    out = np.zeros(shape, np.uint8)
    for index, value in np.ndenumerate(source.data):
        if value != 0:
            out[tuple(at for i, at in enumerate(index) if i != axis)] = 1
    nonspatial = tuple(name for name in source.nonspatial if name != "c")
    return source.with_data(out, nonspatial=nonspatial, channels=None, interpolatable=False, averaged=False)


@naive(SumArrayConfig)
def sum_(config: SumArrayConfig, naive: Naive) -> Volume:
    volumes = common_part([naive(source) for source in config.source_array_configs])
    dtypes = [volume.data.dtype for volume in volumes]
    dtype = config.dtype
    if dtype is None:
        floats = any(d.kind == "f" for d in dtypes)
        wide = any(d.name in ("float64", "uint32", "int32", "uint64", "int64") for d in dtypes)
        signed = any(d.kind == "i" for d in dtypes)
        limits = [(0, 1) if d.kind == "b" else (np.iinfo(d).min, np.iinfo(d).max) for d in dtypes if d.kind != "f"]
        low, high = sum(low for low, _ in limits), sum(high for _, high in limits)
        fitting = smallest(low, high, signed) or np.dtype("int64" if signed else "uint64")
        dtype = np.dtype("float64" if wide else "float32") if floats else fitting
    out = np.empty(volumes[0].data.shape, dtype)
    for index in np.ndindex(*out.shape):
        values = [volume.data[index].item() for volume in volumes]
        if dtype.kind == "f":
            total: Any = None
            for value in values:
                with np.errstate(all="ignore"):
                    term = dtype.type(value)
                    after = term if total is None else total + term
                if math.isinf(after) and not any(math.isinf(part) for part in (value, total or 0)):
                    raise ComputeError(f"a sum does not fit {dtype}", found=value)
                total = after
        else:
            total = sum(map(int, values))
            least, most = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
            if not least <= total <= most:
                raise ComputeError(f"a sum does not fit {dtype}", found=total)
        out[index] = total
    return volumes[0].with_data(
        out,
        interpolatable=all(volume.interpolatable for volume in volumes),
        averaged=any(volume.averaged for volume in volumes),
    )


@naive(ConcatArrayConfig)
def concat(config: ConcatArrayConfig, naive: Naive) -> Volume:
    sources = dict(config.source_array_configs)
    every = list(sources.values()) + ([config.default_config] if config.default_config is not None else [])
    volumes = dict(zip(map(id, every), common_part([naive(source) for source in every]), strict=True))
    first = volumes[id(every[0])]
    planes: list[tuple[str, np.ndarray[Any, Any]]] = []
    for name in config.channels:
        source = sources.get(name, config.default_config)
        if source is None:
            planes.append((name, np.zeros(first.shape, np.uint8)))
        elif (volume := volumes[id(source)]).channels is None:
            planes.append((name, volume.data))
        else:
            planes.extend((f"{name}/{own}", plane) for own, plane in zip(volume.channels, volume.data, strict=True))
    out = np.empty((len(planes), *first.shape), np.result_type(*(volume.data.dtype for volume in volumes.values())))
    for index, (_, plane) in enumerate(planes):
        for voxel in np.ndindex(*first.shape):
            out[(index, *voxel)] = plane[voxel].item()
    return first.with_data(
        out,
        nonspatial=("c",),
        channels=tuple(name for name, _ in planes),
        interpolatable=all(volume.interpolatable for volume in volumes.values()),
        averaged=any(volume.averaged for volume in volumes.values()),
    )


@naive(SelectArrayConfig)
def select(config: SelectArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    wanted: dict[str, Any] = dict(config.at)
    if config.channels is not None:
        wanted["c"] = config.channels
    data, nonspatial, channels = source.data, list(source.nonspatial), source.channels
    for name, picks in wanted.items():
        axis = nonspatial.index(name)
        entries = list(itertools.islice(np.moveaxis(data, axis, 0), data.shape[axis]))
        labels = list(channels or ()) if name == "c" else []
        at = [labels.index(p) if isinstance(p, str) else p for p in (picks if isinstance(picks, tuple) else (picks,))]
        if isinstance(picks, tuple):
            data = np.stack([entries[i] for i in at], axis=axis)
            if name == "c":
                named = channels != numbered(("c",), np.moveaxis(source.data, source.nonspatial.index("c"), 0))
                channels = tuple(labels[i] for i in at) if named else tuple(map(str, range(len(at))))
        else:
            data = entries[at[0]]
            nonspatial.remove(name)
            channels = None if name == "c" else channels
    return source.with_data(data, nonspatial=tuple(nonspatial), channels=channels)


@naive(ThresholdArrayConfig)
def threshold(config: ThresholdArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    dtype = source.data.dtype
    limit: Any = Fraction(config.threshold)
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        limit = float(dtype.type(config.threshold)) if abs(config.threshold) <= most else limit
    out = np.zeros(source.data.shape, np.uint8)
    for index, value in np.ndenumerate(source.data):
        if not math.isnan(value):
            above = value > 0 if math.isinf(value) else Fraction(value.item()) > limit
            out[index] = above == config.above
    return source.with_data(out, interpolatable=False, averaged=False)
