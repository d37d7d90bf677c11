"""Attributes that seem to describe geometry in an unknown dialect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ....errors import ConfigError
from ....units import metres

#: Names of attributes, in lower case and without what separates words.
_SIZES = re.compile(
    r"(voxel|pixel|element|physical|grid|image|spatial)?(spacing|scale|scaling|resolution|transform)s?(nm|um|mm)?"
    r"|(voxel|pixel|element|physical|physicalpixel)(size|dimension|width|height|depth)s?(x|y|z|xyz|zyx)?(nm|um|mm)?"
    r"|(affine|coordinate)(transform|transformation)?s?|downsamplingfactors"
)
_OFFSETS = re.compile(
    r"((voxel|pixel|physical|world|global|spatial)?(offset|origin|translation|translate)"
    r"|(voxel|physical|world|global)position)s?(x|y|z|xyz|zyx)?(nm|um|mm)?"
)
_UNITS = re.compile(r".*units?")


def unknown_sizes(attributes: Mapping[str, Any]) -> list[str]:
    """Attributes that seem to say a voxel size.

    >>> unknown_sizes({"voxelSize": [4, 4, 4], "scale": "linear", "pixel_size_nm": {"x": 4}})
    ['voxelSize', 'pixel_size_nm']
    """
    return list(_matching(attributes, _SIZES))


def unknown_offsets(attributes: Mapping[str, Any]) -> list[str]:
    """Attributes that seem to say an offset other than 0."""
    return list(_matching(attributes, _OFFSETS))


def unknown_units(attributes: Mapping[str, Any]) -> list[str]:
    """Attributes that seem to say a unit of length."""
    return [key for key, value in attributes.items() if _UNITS.fullmatch(_word(key)) and _is_unit(value)]


def _matching(attributes: Mapping[str, Any], pattern: re.Pattern[str]) -> Iterator[str]:
    return (key for key, value in attributes.items() if pattern.fullmatch(_word(key)) and _has_number(value))


def _word(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _has_number(value: Any) -> bool:
    """True if there is a number other than 0 in a value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(_has_number, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0


def _is_unit(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_unit, value))
    try:
        return isinstance(value, str) and metres(value) > 0
    except ConfigError:
        return False
