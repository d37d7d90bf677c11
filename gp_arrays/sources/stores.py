"""Opening and creating stored arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from funlib.geometry import Roi

from ..errors import ConfigError, StoreError, quoted
from ..model.array import Array
from ..model.fields import items_of, named, to_dtype, to_integer, to_names, to_text
from ..model.urls import to_store, to_store_options
from ..storage.access.remote import StorePath, store_path
from ..storage.chunked.chunks import CHUNK, require_whole_shards, to_chunks
from ..storage.chunked.create import NewArray, create_array, require_dataset_path
from ..storage.metadata.attributes import geometry_attributes, require_json
from ..storage.metadata.axes import axis_roles
from ..storage.metadata.existing import folder_names, require_no_array
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
    storage_options: Mapping[str, Any] | None = None,
) -> Array:
    """Create a Zarr array and return it, ready to be written.

    Args:
        path: The store's folder, made where it is not there, or a URL that fsspec writes, such as ``s3://...``.
        dataset: The array's path in it.
        roi: Its extent in world units, a whole number of voxels.
        voxel_size: In world units.
        dtype: Of the voxels.
        axes: Names of all axes, non-spatial ones first; by default ``c`` where there are
            channels, and the last of z, y, x.
        num_channels: The length of the channel axis, where there is one.
        write_size: The size of the regions that are written, in world units. It is the default of ``chunks``.
        mode: How the returned array is opened.
        overwrite: True if an existing array is replaced. Groups are never replaced.
        unit: The world unit.
        channel_names: Names of the channels.
        chunks: In voxels, instead of ``write_size``. Axes before the spatial ones may be left out.
        compressor: ``"zstd"``, ``"blosc"``, ``"gzip"`` or ``"none"``.
        zarr_format: 2, or 3 where the installed zarr has it.
        shards: Likewise: whole chunks that are stored in one file. Zarr v3 only.
        fill_value: What unwritten voxels are.
        attributes: More attributes.
        storage_options: Options of fsspec for a URL; secrets belong in the environment.

    Raises:
        ConfigError: Values that do not fit. Nothing has been written then.
        StoreError: There is an array already, or the store cannot be written. What existed before is
            unchanged then (except at a URL, where nothing can be renamed: it is removed first).
    """
    # all arguments are checked before anything is written
    store, dataset = named("path", to_store, path), named("dataset", to_text, dataset).strip("/")
    options = named("storage_options", to_store_options, storage_options)
    root = store_path(store, options)
    require_dataset_path(dataset)
    unit = named("unit", parse_unit, unit)
    array_dtype = to_dtype(dtype)
    if array_dtype is None:
        raise ConfigError("an array needs a dtype", path=(dataset,))
    if not isinstance(roi, Roi) or None in roi.offset or None in roi.shape:
        raise ConfigError("roi is not a bounded Roi", found=quoted(roi), path=(dataset,))
    dims = roi.dims
    voxel_size = _lengths(voxel_size, dims, "voxel_size", dataset)
    if roi.empty or any(s % v for s, v in zip(roi.shape, voxel_size, strict=True)):
        raise ConfigError(
            "the roi is not a whole number of voxels", found=f"{roi}, voxel size {tuple(voxel_size)}", path=(dataset,)
        )
    channels = named("channel_names", to_names, channel_names)
    if num_channels is not None and named("num_channels", to_integer, num_channels) < 1:
        raise ConfigError("num_channels must be positive", found=num_channels, path=(dataset,))
    if num_channels is None and channels is not None:
        num_channels = len(channels)
    if channels is not None and (len(channels) != num_channels or len(set(channels)) != len(channels)):
        raise ConfigError(
            "channel_names must be one name for each channel, all different",
            found=", ".join(channels),
            allowed=f"{num_channels} names",
            path=(dataset,),
        )
    spatial = tuple(s // v for s, v in zip(roi.shape, voxel_size, strict=True))
    shape = spatial if num_channels is None else (int(num_channels), *spatial)
    names = _axes(axes, len(shape), dims, dataset)
    if chunks is None:
        inner = [CHUNK] * dims
        if write_size is not None:
            write_size = _lengths(write_size, dims, "write_size", dataset)
            inner = [w // v for w, v in zip(write_size, voxel_size, strict=True)]
        chunks = [max(1, min(c, n)) for c, n in zip(inner, spatial, strict=True)]
    chunks = to_chunks(chunks, names, dims, "chunks", dataset)
    shards = None if shards is None else to_chunks(shards, names, dims, "shards", dataset)
    require_whole_shards(shards, chunks, zarr_format, dataset)
    require_json(attributes or {})
    described = geometry_attributes(roi.offset, voxel_size, unit, names, channels)
    array = NewArray(
        shape,
        chunks,
        array_dtype,
        {**described, **(attributes or {})},
        compressor=compressor,
        format=zarr_format,
        shards=shards,
        fill_value=fill_value,
        axes=names,
    )
    config = ZarrArrayConfig(dataset or "array", file_name=store, dataset=dataset, mode=mode, storage_options=options)
    replace = _may_replace(root, dataset, overwrite)
    create_array(root, dataset, array, replace)
    return Array(config, unit=unit)


def _lengths(values: Any, dims: int, what: str, dataset: str) -> tuple[int, ...]:
    """One positive integer per axis. Raises ConfigError."""
    try:
        lengths = tuple(map(to_integer, items_of(values, "integers")))
    except ConfigError as error:
        raise ConfigError(f"{what}: {error.problem}", error.found, error.allowed, (dataset,)) from None
    if len(lengths) != dims or any(length <= 0 for length in lengths):
        raise ConfigError(f"{what} must be one positive length per axis", found=lengths, path=(dataset,))
    return lengths


def _axes(axes: Sequence[str] | None, ndim: int, dims: int, dataset: str) -> tuple[str, ...]:
    try:
        names, nonspatial = axis_roles(named("axes", to_names, axes), ndim, dims)
    except ValueError as error:
        raise ConfigError("axes do not fit the shape", found=str(error), path=(dataset,)) from None
    if nonspatial != (True,) * (ndim - dims) + (False,) * dims:
        raise ConfigError(
            "axes do not fit the shape",
            found=", ".join(names),
            path=(dataset,),
            allowed=f"{ndim - dims} non-spatial, then {dims} spatial",
        )
    return names


def _may_replace(root: StorePath, dataset: str, overwrite: bool) -> bool:
    """True if there is an array that may be replaced. Raises StoreError if what exists may not be replaced."""
    folder = root / dataset
    kind = require_no_array(root, dataset, overwrite)
    if kind == "group" and (dataset or folder_names(folder)):
        raise StoreError("a group is there already", found=str(folder), allowed="another dataset name")
    return kind is not None
