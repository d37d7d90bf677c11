"""The attributes that tell where the voxels of a new array are, for every program that may read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def geometry_attributes(
    offset: Sequence[int],
    voxel_size: Sequence[int],
    unit: str,
    names: Sequence[str],
    channel_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The geometry of an array whose last axes are spatial, one for each voxel size.

    ``offset``, ``voxel_size``, ``axis_names``, ``types`` and ``units`` are read by
    funlib.persistence, ``resolution`` and ``axes`` by DaCapo, ``_ARRAY_DIMENSIONS`` by xarray and
    napari, and with ``dimension_units`` by Neuroglancer.
    """
    sizes = [int(size) for size in voxel_size]
    count = len(names) - len(sizes)
    attributes: dict[str, Any] = {
        "offset": [int(value) for value in offset],
        "voxel_size": sizes,
        "resolution": sizes,
        "units": [unit] * len(sizes),
        "axis_names": [*(f"{name}^" for name in names[:count]), *names[count:]],
        "axes": list(names),
        # not "time": funlib.persistence then wants an offset, a voxel size and a unit of time among
        # the lengths, which DaCapo reads as those of space; axis_names and axes say which is t
        "types": ["channel"] * count + ["space"] * len(sizes),
        "_ARRAY_DIMENSIONS": list(names),
        "dimension_units": [""] * count + [f"{size} {unit}" for size in sizes],
    }
    if channel_names is not None:
        attributes["channel_names"] = list(channel_names)
    return attributes
