"""Opening and creating stored arrays."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from funlib.geometry import Roi

from ..errors import ConfigError, StoreError
from ..model.array import Array
from ..model.fields import items_of, to_dtype, to_integer
from ..storage.axes import axis_roles
from ..storage.chunks import CHUNK, require_whole_shards, to_chunks
from ..storage.documents import what_is_there
from ..storage.engine import create_array
from ..units import DEFAULT_UNIT, parse_unit
from .zarr_ import ZarrArrayConfig


def open_zarr(path: str | Path, dataset: str, mode: str = "r", unit: str | None = None, **fields: Any) -> Array:
    """An array of a Zarr store. ``fields`` are those of ZarrArrayConfig."""
    config = ZarrArrayConfig(dataset or "array", file_name=path, dataset=dataset, mode=mode, **fields)
    return Array(config, unit=unit)


def create_zarr(
    path: str | Path,
    dataset: str,
    roi: Roi,
    voxel_size: Sequence[int],
    dtype: Any,
    axes: Sequence[str] | None = None,
    num_channels: int | None = None,
    write_size: Sequence[int] | None = None,
    mode: str = "r+",
    overwrite: bool = False,
    *,
    unit: str = DEFAULT_UNIT,
    channel_names: Sequence[str] | None = None,
    chunks: Sequence[int] | None = None,
    compressor: str = "zstd",
    zarr_format: int = 2,
    shards: Sequence[int] | None = None,
    fill_value: Any = 0,
    attributes: Mapping[str, Any] | None = None,
) -> Array:
    """Create a Zarr array and return it, ready to be written.

    Args:
        path: The store's folder; made where it is not there.
        dataset: The array's path in it.
        roi: Its extent in world units, a whole number of voxels.
        voxel_size: In world units.
        dtype: Of the voxels.
        axes: Names of all axes, non-spatial ones first; by default ``c`` where there are
            channels, and the last of z, y, x.
        num_channels: The length of the channel axis, where there is one.
        write_size: What is written at once, in world units; chunks are made to fit it.
        mode: How the returned array is opened.
        overwrite: Whether an array that is there is replaced. Groups never are.
        unit: The world unit.
        channel_names: Names of the channels.
        chunks: In voxels, instead of ``write_size``. Axes before the spatial ones may be left out.
        compressor: ``"zstd"``, ``"blosc"``, ``"gzip"`` or ``"none"``.
        zarr_format: 2, or 3 where the installed zarr has it.
        shards: Likewise: whole chunks that are stored in one file. Zarr v3 only.
        fill_value: What unwritten voxels are.
        attributes: More attributes.

    Raises:
        ConfigError: Shapes that do not fit.
        StoreError: An array is there already, or the store cannot be written.
    """
    root, dataset = Path(path), dataset.strip("/")
    unit = parse_unit(unit)
    array_dtype = to_dtype(dtype)
    if array_dtype is None:
        raise ConfigError("an array needs a dtype", path=(dataset,))
    if not isinstance(roi, Roi) or None in roi.offset or None in roi.shape:
        raise ConfigError("roi is not a bounded Roi", found=repr(roi), path=(dataset,))
    dims = roi.dims
    voxel_size = _integers(voxel_size, "voxel_size", dataset)
    write_size = None if write_size is None else _integers(write_size, "write_size", dataset)
    if num_channels is not None and to_integer(num_channels) < 1:
        raise ConfigError("num_channels must be positive", found=num_channels, path=(dataset,))
    if len(voxel_size) != dims or any(v <= 0 for v in voxel_size):
        raise ConfigError("voxel_size must be one positive length per axis", found=tuple(voxel_size), path=(dataset,))
    if roi.empty or any(s % v for s, v in zip(roi.shape, voxel_size, strict=True)):
        raise ConfigError(
            "the roi is not a whole number of voxels", found=f"{roi}, voxel size {tuple(voxel_size)}", path=(dataset,)
        )
    if num_channels is None and channel_names is not None:
        num_channels = len(channel_names)
    if channel_names is not None and len(channel_names) != num_channels:
        raise ConfigError(
            "channel_names do not fit num_channels", found=f"{len(channel_names)}, {num_channels}", path=(dataset,)
        )
    spatial = tuple(s // v for s, v in zip(roi.shape, voxel_size, strict=True))
    shape = spatial if num_channels is None else (num_channels, *spatial)
    names, nonspatial = _axes(axes, len(shape), dims, dataset)
    if chunks is None:
        inner = [CHUNK] * dims if write_size is None else [w // v for w, v in zip(write_size, voxel_size, strict=True)]
        chunks = [max(1, min(c, n)) for c, n in zip(inner, spatial, strict=True)]
    chunks = to_chunks(chunks, names, dims, "chunks", dataset)
    shards = None if shards is None else to_chunks(shards, names, dims, "shards", dataset)
    require_whole_shards(shards, chunks, zarr_format, dataset)
    _refuse_to_replace(root, dataset, overwrite)
    described = geometry_attributes(roi.offset, voxel_size, unit, names, nonspatial, channel_names)
    with _replacing(root / dataset, root):
        create_array(
            root,
            dataset,
            shape,
            chunks,
            array_dtype,
            {**described, **(attributes or {})},
            compressor,
            zarr_format,
            shards,
            fill_value,
            dimension_names=names,
        )
    return open_zarr(root, dataset, mode, unit)


def _integers(values: Any, what: str, dataset: str) -> tuple[int, ...]:
    try:
        return tuple(to_integer(value) for value in items_of(values, "integers"))
    except ConfigError as error:
        raise ConfigError(f"{what}: {error.problem}", error.found, error.allowed, (dataset,)) from None


def _axes(axes: Sequence[str] | None, ndim: int, dims: int, dataset: str) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    try:
        names, nonspatial = axis_roles(axes, ndim, dims)
    except ValueError as error:
        raise ConfigError("axes do not fit the shape", found=str(error), path=(dataset,)) from None
    if nonspatial != (True,) * (ndim - dims) + (False,) * dims:
        raise ConfigError(
            "axes do not fit the shape",
            found=", ".join(names),
            path=(dataset,),
            allowed=f"{ndim - dims} non-spatial, then {dims} spatial",
        )
    return names, nonspatial


def geometry_attributes(
    offset: Sequence[int],
    voxel_size: Sequence[int],
    unit: str,
    names: Sequence[str],
    nonspatial: Sequence[bool],
    channel_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Where voxels are, as funlib.persistence and DaCapo read it."""
    spatial = [name for name, lead in zip(names, nonspatial, strict=True) if not lead]
    attributes: dict[str, Any] = {
        "offset": [int(value) for value in offset],
        "voxel_size": [int(value) for value in voxel_size],
        "resolution": [int(value) for value in voxel_size],
        "units": [unit] * len(spatial),
        "axis_names": [f"{name}^" if lead else name for name, lead in zip(names, nonspatial, strict=True)],
        "axes": list(names),
        # not "time": funlib.persistence then wants an offset, a voxel size and a unit of time among
        # the lengths, which DaCapo reads as those of space; axis_names and axes say which is t
        "types": ["channel" if lead else "space" for lead in nonspatial],
    }
    if channel_names is not None:
        attributes["channel_names"] = list(channel_names)
    return attributes


def _refuse_to_replace(root: Path, dataset: str, overwrite: bool) -> None:
    folder = root / dataset
    there = what_is_there(root, dataset)
    if there == "group" and (dataset or any(child.is_dir() for child in folder.iterdir())):
        raise StoreError("a group is there already", found=str(folder), allowed="another dataset name")
    if there == "array" and not overwrite:
        raise StoreError("an array is there already", found=str(folder), allowed="overwrite=True replaces it")


@contextlib.contextmanager
def _replacing(folder: Path, root: Path) -> Iterator[None]:
    """What is made in ``folder`` meanwhile replaces what was there, or all stays as it was."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.replaced")
    new_store = not root.exists()
    try:
        if folder.exists():
            folder.rename(aside)
        yield
    except Exception as error:
        shutil.rmtree(root if new_store else folder, ignore_errors=True)
        if aside.exists():
            aside.rename(folder)
        if isinstance(error, StoreError):
            raise
        raise StoreError("cannot create", found=f"{folder}: {type(error).__name__}: {error}") from error
    shutil.rmtree(aside, ignore_errors=True)
