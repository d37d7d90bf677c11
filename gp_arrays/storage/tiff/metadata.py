"""Metadata of TIFF files: voxel sizes and channels, from OME-XML, ImageJ's description and resolution tags."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

from ...errors import ConfigError, StoreError, quoted
from ...units import Quantity, metres, shortest_near

#: Units of resolution tags and of ImageJ, as units of length.
_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "um", "in": "inch", "inches": "inch", "centimeter": "cm", r"\u00b5m": "um"}
_NO_UNIT = (None, "", "pixel", "pixels", "voxel", "voxels", "reference frame", "none")
_REMEDY = "`voxel_size=` overrides it"


def stated_lengths(tags: Any, ome: str | None, imagej: Mapping[str, Any] | None, axes: str) -> dict[str, Quantity]:
    """The voxel size along ``x``, ``y`` and ``z`` as far as a file says it; without a unit where it says none.

    Args:
        tags: Those of its first page.
        ome, imagej: Its OME-XML, or what ImageJ wrote.
        axes: tifffile's letters for its axes.

    Raises:
        StoreError: What it says cannot be understood, or contradicts itself.
    """
    pixel = {axis: _pixel(tags.valueof(code, default=(1, 1))) for axis, code in (("x", 282), ("y", 283))}
    unit = tags.valueof(296, default=2)
    lengths: dict[str, Quantity] = {}
    if imagej is not None and (imagej.get("unit") not in _NO_UNIT or "spacing" in imagej):
        # what is 1 is not written
        unit = imagej.get("unit") or unit
        depth = abs(_number(imagej.get("spacing", 1)))
        lengths = {"x": _length(Fraction(1), unit), "y": _length(Fraction(1), unit), "z": _length(depth, unit)}
    lengths |= {axis: _length(size, unit) for axis, size in pixel.items() if size is not None}
    for axis, length in (_of_ome(ome) if ome is not None else {}).items():
        tag = lengths.get(axis)
        if tag and tag.unit and length.unit and abs(length.to("m") - tag.to("m")) > length.to("m") / 1000:
            raise StoreError(
                "the file contradicts itself",
                found=f"voxel size along {axis}: {length} by its OME-XML, {tag} by its resolution tag",
                allowed="`voxel_size=` says which",
            )
        lengths[axis] = length
    return lengths


def channel_names(ome: str) -> tuple[str, ...] | None:
    """Names of the channels in OME-XML, where all have one. Raises StoreError where it is malformed."""
    pixels = _pixels(ome)
    names = () if pixels is None else tuple(channel.get("Name", "") for channel in pixels.iterfind("{*}Channel"))
    return names if names and all(names) and len(set(names)) == len(names) else None


def _pixel(resolution: tuple[int, int]) -> Fraction | None:
    """The size of a pixel, from the number of pixels in a unit; None where that says nothing."""
    numerator, denominator = resolution
    if 0 in resolution or numerator == denominator:
        return None
    size = Fraction(denominator, numerator)
    # numbers that are no decimal were rounded, in the last digit of the smaller one
    slack = Fraction(1, 2 * min(resolution))
    is_decimal = (10**12 * size).denominator == 1
    return size if is_decimal or slack > Fraction(1, 10**5) else shortest_near(size, size * slack)


def _length(value: Fraction, unit: Any) -> Quantity:
    """A length; without a unit where the unit is none of length."""
    name = unit.strip() if isinstance(unit, str) else unit
    name = name.lower() if isinstance(name, str) and len(name) > 2 else name
    name = _UNITS.get(name, name)
    if name == 1 or name in _NO_UNIT:
        return Quantity(value)
    if name == "inch":
        value, name = value * Fraction(254, 100), "cm"
    try:
        metres(name)
        return Quantity.parse(value, name)
    except (ConfigError, AttributeError):
        found = f"{float(value):.9g} {quoted(name)}"
        raise StoreError("cannot understand its voxel size", found, _REMEDY) from None


def _pixels(ome: str) -> Any:
    try:
        return ElementTree.fromstring(ome.encode()).find(".//{*}Pixels")
    except ElementTree.ParseError as error:
        raise StoreError("malformed OME-XML", str(error), _REMEDY) from None


def _of_ome(ome: str) -> dict[str, Quantity]:
    pixels = _pixels(ome)
    attributes = {} if pixels is None else pixels.attrib
    return {
        axis.lower(): _length(_number(attributes[name]), attributes.get(f"{name}Unit", "µm"))
        for axis in "XYZ"
        if (name := f"PhysicalSize{axis}") in attributes
    }


def _number(value: Any) -> Fraction:
    with contextlib.suppress(ConfigError, ValueError, TypeError):
        if (number := Quantity.parse(float(value)).value) != 0:
            return number
    raise StoreError("not a voxel size", quoted(value), _REMEDY)
