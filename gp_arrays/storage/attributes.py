"""The attributes that tell where the voxels of a new array are, for every program that may read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..units import DEFAULT_UNIT, Quantity, decimal_text


def written_unit(unit: str) -> str:
    """The unit for metadata that may hold fractions: voxel sizes of 5240 pm are 5.24 nm to everybody.

    >>> written_unit("pm"), written_unit("um")
    ('nm', 'um')
    """
    return DEFAULT_UNIT if unit in ("fm", "pm") else unit


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
    napari, and with ``dimension_units`` by Neuroglancer and TensorStore. The lengths of all but the last are integers.
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
        "dimension_units": [""] * count
        + [f"{decimal_text(Quantity.parse(size, unit).to(written_unit(unit)))} {written_unit(unit)}" for size in sizes],
    }
    if channel_names is not None:
        attributes["channel_names"] = list(channel_names)
    return attributes
