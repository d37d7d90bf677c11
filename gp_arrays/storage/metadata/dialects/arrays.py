"""Dialects that are written in the attributes of the array itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ....units import Quantity
from .reading import AS_STORED, Described, Dialect, Level, Reading, first_text_list, list_at

NAMES = ("axis_names", "axes", "_ARRAY_DIMENSIONS")


def _funlib(described: Described) -> Reading | None:
    """``voxel_size`` or ``resolution``, ``offset``, ``units``, and names of axes under several keys."""
    attributes = described.attrs
    stated = {key: list_at(attributes, key) for key in ("voxel_size", "resolution")}
    sizes = {key: lengths for key, lengths in stated.items() if lengths is not None}
    values = [[Quantity.parse(size).value for size in lengths] for lengths in sizes.values()]
    if len(values) == 2 and not _same(*values):
        raise ValueError(" contradicts ".join(f"{key} {value}" for key, value in sizes.items()))
    names = first_text_list(
        *(_letters(attributes.get(key)) for key in NAMES), described.node.document.get("dimension_names")
    )
    size, offset = next(iter(sizes.values()), None), list_at(attributes, "offset")
    levels = [] if size is None and offset is None else [Level(size, offset)]
    if not levels and names is None:
        return None
    return Reading(names, attributes.get("types"), levels, units=attributes.get("units", attributes.get("unit")))


def _letters(names: Any) -> Any:
    """Names of axes as a list, where they are one text of a letter for each."""
    return list(names) if isinstance(names, str) and names.isalpha() else names


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """True if lengths are equal but for the noise of arithmetic."""
    return len(one) == len(other) and all(
        abs(a - b) * 10**6 <= max(abs(a), abs(b)) for a, b in zip(one, other, strict=True)
    )


def _tensorstore(described: Described) -> Reading | None:
    """``dimension_units``: for each axis a length, or nothing."""
    units = list_at(described.attrs, "dimension_units")
    if units is None or not any(units):
        return None
    sizes = [_size(unit) for unit in units]
    return Reading(kinds=["channel" if size is None else "space" for size in sizes], levels=[Level(sizes)])


def _size(unit: Any) -> Any:
    """A number and a unit, as one text or as a pair; a unit alone counts once. None for no unit at all."""
    if isinstance(unit, list):
        unit = f"{unit[0]} {unit[1]}"
    if not unit:
        return None
    return f"1 {unit}" if unit[0].isalpha() else unit


def _element_size(described: Described) -> Reading | None:
    size = list_at(described.attrs, "element_size_um")
    return None if size is None else Reading(levels=[Level(size)])


def _axistags(described: Described) -> Reading | None:
    """Names of axes and perhaps their voxel size: 0 is one that is not known. Units stand beside them."""
    tags = described.attrs.get("axistags")
    if tags is None:
        return None
    axes = json.loads(tags)["axes"]
    units = json.loads(described.attrs.get("axis_units") or "{}")
    names, sizes = [axis["key"] for axis in axes], [axis.get("resolution") or None for axis in axes]
    return Reading(names, levels=[Level(sizes)] if any(sizes) else [], units=[units.get(name) for name in names])


FUNLIB = Dialect(
    "funlib.persistence or DaCapo",
    ("voxel_size", "resolution"),
    _funlib,
    order=AS_STORED,
    shared_keys=("offset", "units", "unit", "types", "channel_names", *NAMES),
)
TENSORSTORE = Dialect("TensorStore", ("dimension_units",), _tensorstore)
FIJI_HDF5 = Dialect("HDF5 of Fiji", ("element_size_um",), _element_size, unit="um")
ILASTIK = Dialect("ilastik", (), _axistags, shared_keys=("axistags", "axis_units"), cured_by_axes=True)
