"""Values in documents: tables, shapes, dtypes, fill values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import quoted
from .other_formats import NotRead

#: No axis has as many voxels, and no chunk: indices and addresses are 64-bit integers.
LONGEST = 2**60


def with_distinct_keys(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """A table from its keys and values: parsers differ in which of two equal keys they keep. Raises ValueError."""
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {quoted(repeated)} is given twice in one table")
    return table


def to_shape(values: Any) -> tuple[int, ...]:
    """The shape of an array. Raises ValueError."""
    if not isinstance(values, list) or any(type(value) is not int or not 0 <= value < LONGEST for value in values):
        raise ValueError(f"{values!r} is not a list of lengths")
    return tuple(values)


def to_chunk_shape(values: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the chunks of an array. Raises ValueError."""
    chunks = to_shape(values)
    if len(chunks) != len(shape) or 0 in chunks or math.prod(chunks) >= LONGEST:
        raise ValueError(f"chunks {values} of an array of shape {list(shape)}")
    return chunks


def to_voxel_dtype(value: Any) -> np.dtype[Any]:
    """The dtype of voxels. Raises NotRead, TypeError."""
    name = value.get("name") if isinstance(value, dict) else value  # with options, in Zarr v3
    if isinstance(name, list):
        raise NotRead(f"structured dtype {quoted(name)}", "a copy with an array for each field")
    if not isinstance(name, str) or not name.isprintable():
        raise TypeError(f"dtype {quoted(value)}")
    try:
        dtype: np.dtype[Any] = np.dtype(name)
    except (TypeError, SyntaxError):  # those that numpy does not have: bfloat16, int4
        dtype = np.dtype(object)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise NotRead(f"dtype {quoted(name)}", "a copy as bool, integers, or floats up to 64 bits")
    return dtype


def to_fill_value(value: Any, dtype: np.dtype[Any]) -> bool | int | float:
    """The fill value of an array, as its metadata give it or as a user does. Raises ValueError.

    >>> to_fill_value("NaN", np.dtype("f4")), to_fill_value(None, np.dtype("u1"))
    (nan, 0)
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and dtype.kind == "f":
        if value.startswith("0x"):  # the bits of the number, in Zarr v3
            return float(np.array(int(value, 16), f"u{dtype.itemsize}").view(dtype))
        return float(value)
    if value is None:
        value = 0
    if not isinstance(value, (bool, int, float)):
        raise ValueError(f"fill_value {value!r}")
    if dtype.kind == "f":
        return float(value)
    lowest, highest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if value != value or not lowest <= value <= highest or value != int(value):
        raise ValueError(f"fill_value {value} in an array of {dtype}")
    return bool(value) if dtype.kind == "b" else int(value)
