"""Dialects of tools from the world of N5, which list x first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....units import Quantity
from ..pyramids import LEVEL
from .reading import CENTRE_OF_LEVELS, X_FIRST, Described, Dialect, Level, Reading, list_at

FACTORS = "downsamplingFactors"


def factors_of(described: Described) -> Sequence[Any] | None:
    """By how much larger than at the finest level voxels are along x, y, z; None where nothing says it."""
    if FACTORS in described.attrs:
        return list(list_at(described.attrs, FACTORS))
    number = LEVEL.fullmatch(described.node.path.rpartition("/")[2])
    for group, _ in described.groups:
        for key in (FACTORS, "scales"):
            if number is not None and isinstance(group.attrs.get(key), list):
                return list(group.attrs[key][int(number[1])])
    return None


def times(sizes: Sequence[Any], factors: Sequence[Any] | None) -> list[Any]:
    """Voxel sizes of a level from those of the finest one."""
    if factors is None:
        return list(sizes)
    return [Quantity.parse(a).value * Quantity.parse(b).value for a, b in zip(sizes, factors, strict=True)]


def _of_group(described: Described) -> Reading | None:
    """``resolution`` and ``offset`` of the group are those of its finest level."""
    above = described.groups[:2]
    groups = [group.attrs for group, _ in above if not {"multiScale", "painteraData", FACTORS}.isdisjoint(group.attrs)]
    is_level = "resolution" not in described.attrs and LEVEL.fullmatch(described.node.path.rpartition("/")[2])
    if FACTORS not in described.attrs and not groups and not is_level:
        return None
    resolution, offset = list_at(described.attrs, "resolution"), list_at(described.attrs, "offset")
    finest = next((list_at(group.attrs, "resolution") for group, _ in above if "resolution" in group.attrs), resolution)
    if finest is None:
        return None
    size = times(finest, factors_of(described))
    if (
        resolution is not None
        and times(resolution, None) not in (list(finest), size)
        and times(resolution, [1] * len(resolution)) != size
    ):
        raise ValueError(f"resolution {resolution} of the array contradicts resolution {finest} of its group")
    start = next((list_at(group.attrs, "offset") for group, _ in above if "offset" in group.attrs), offset)
    unit = described.nearest("unit")
    return Reading(levels=[Level(finest, start), Level(size, offset)], level=1, units=unit)


def _pixel_resolution(described: Described) -> Reading | None:
    """``pixelResolution`` of the array or of a group above it."""
    resolution, unit = described.nearest("pixelResolution"), None
    if resolution is None:
        return None
    if isinstance(resolution, Mapping):
        resolution, unit = resolution["dimensions"], resolution.get("unit")
    sizes = list_at({"pixelResolution": resolution}, "pixelResolution")
    factors = list_at(described.attrs, FACTORS) if "pixelResolution" in described.attrs else factors_of(described)
    return Reading(levels=[Level(times(sizes, factors))], units=unit)


PAINTERA = Dialect(
    "Paintera or pybdv",
    ("resolution", "offset", "multiScale"),
    _of_group,
    order=X_FIRST,
    marks=CENTRE_OF_LEVELS,
    shared_keys=(FACTORS, "unit"),
)
N5_VIEWER = Dialect("n5-viewer", ("pixelResolution",), _pixel_resolution, order=X_FIRST)
