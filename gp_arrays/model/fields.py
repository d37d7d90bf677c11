"""attrs converters and validators that configs share. Errors name the field."""

from __future__ import annotations

import itertools
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from fractions import Fraction
from operator import length_hint
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np

from ..errors import ConfigError, errors_at, quoted
from ..units import Quantity, parse_unit, plain_length

Field: TypeAlias = "attrs.Attribute[Any]"

#: The most items of a list in a config. Larger tables of ids are files.
MOST_ITEMS = 10**7

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def named(name: str, convert: Callable[..., Any], *values: Any) -> Any:
    """The result of a converter of an argument. Its errors name the argument.

    >>> named("memory", to_bytes, "much")
    Traceback (most recent call last):
    gp_arrays.errors.ConfigError: memory: not a size; found 'much'; allowed: bytes, or such as 2GiB or 500M
    """
    with errors_at(name):
        return convert(*values)


def to_configs(value: Any) -> tuple[Any, ...]:
    """attrs converter: several array configs in a list or a tuple."""
    if not isinstance(value, (list, tuple)):
        raise ConfigError("not a list of array configs", found=quoted(value))
    return tuple(value)


def one_of(*allowed: str | None) -> Callable[[Any, Field, Any], None]:
    """attrs validator: the value is one of ``allowed``.

    >>> one_of("first", "last")(None, attrs.fields(VoxelSize).lengths, "both")
    Traceback (most recent call last):
    gp_arrays.errors.ConfigError: unknown lengths; found 'both'; allowed: 'first', 'last'
    """

    def validate(_: Any, field: Field, value: Any) -> None:
        if not isinstance(value, (str, type(None))) or value not in allowed:
            raise ConfigError(f"unknown {field.name}", found=quoted(value), allowed=", ".join(map(repr, allowed)))

    return validate


def is_integer(value: Any) -> bool:
    """True for integers of Python and numpy, but not for bools."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def to_number(value: Any) -> int | float:
    """attrs converter: a finite number, as a Python int or float."""
    if not is_integer(value) and not isinstance(value, (float, np.floating)):
        raise ConfigError("not a number", found=quoted(value))
    if is_integer(value):
        if abs(int(value)) > sys.float_info.max:
            raise ConfigError("beyond what float64 holds", found=f"an integer of {int(value).bit_length()} bits")
        return int(value)
    if not math.isfinite(value):
        raise ConfigError("not finite", found=quoted(value))
    return float(value)


def to_integer(value: Any) -> int:
    """attrs converter: an integer; a float that is whole counts as one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not is_integer(value):
        raise ConfigError("not an integer", found=quoted(value))
    return int(value)


def to_count(value: Any) -> int:
    """attrs converter: an integer from 1; a float that is a whole number counts as one.

    >>> to_count(2.0)
    2
    """
    count = to_integer(value)
    if count < 1:
        raise ConfigError("not a number of 1 or more", found=count, allowed="an integer from 1")
    return count


def to_bytes(value: Any) -> int:
    """attrs converter: a number of bytes, or a text such as ``"2GiB"`` or ``"500M"``.

    >>> to_bytes("2GiB"), to_bytes("0.5 K"), to_bytes(10)
    (2147483648, 512, 10)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?\s*", value) if isinstance(value, str) else None
    try:
        size = int(Fraction(match[1]) * _SIZES[match[2]]) if match else to_integer(value)
    except ConfigError:
        size = 0
    if size < 1:
        raise ConfigError("not a size", found=quoted(value), allowed="bytes, or such as 2GiB or 500M")
    return size


def to_unit(value: Any) -> str | None:
    """attrs converter: a unit by its SI name, or None."""
    return None if value is None else parse_unit(value)


def to_bool(value: Any) -> bool:
    """attrs converter: true or false, and nothing that merely looks like it."""
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError("not true or false", found=quoted(value))
    return bool(value)


def to_text(value: Any) -> str:
    """attrs converter: a text."""
    if not isinstance(value, str):
        raise ConfigError("not a text", found=quoted(value))
    return value


def to_options(value: Any) -> dict[str, Any] | None:
    """attrs converter: options by name, or None."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError("not a table of options", found=quoted(value))
    return dict(value)


def to_dtype(value: Any) -> np.dtype[Any] | None:
    """attrs converter: a dtype of voxels, or None."""
    if value is None:
        return None
    try:
        # of what else numpy takes, such as lists of fields, none is a dtype of voxels
        dtype = np.dtype(value if isinstance(value, (str, type, np.dtype)) else object).newbyteorder("=")
    except (TypeError, ValueError, SyntaxError, DeprecationWarning):  # the last where warnings are errors
        dtype = np.dtype(object)
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise ConfigError("not a dtype of voxels", found=quoted(value), allowed="bool, integers, floats, to 64 bits")
    return dtype


def is_url(path: str | Path) -> bool:
    """True if a path is a URL. A ``Path`` keeps only one of the two slashes of a URL."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.:-]+:(/|$)", str(path)) is not None


def is_path(text: str) -> bool:
    """True if the file system can hold the text as a path: NUL and lone surrogates cannot be in one."""
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def to_path(value: Any) -> Path:
    """attrs converter: a path on disk."""
    if not isinstance(value, (str, Path)) or not is_path(str(value)):
        raise ConfigError("not a path", found=quoted(value))
    return Path(value)


def to_names(value: Any) -> tuple[str, ...] | None:
    """attrs converter: several texts, or None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
        raise ConfigError("not a list of names", found=quoted(value))
    return tuple(value)


def repeated(names: Sequence[str]) -> list[str]:
    """The names that are listed more than once."""
    return sorted({name for name in names if names.count(name) > 1})


def items_of(value: Any, what: str) -> tuple[Any, ...]:
    """The items of a list, a tuple or an array with axes. Raises ConfigError for what has none in order."""
    is_list = not isinstance(value, (str, bytes, Mapping, Set))
    try:
        # a range, or what yields items without end, must not fill the memory
        items = tuple(itertools.islice(value, MOST_ITEMS + 1)) if is_list and length_hint(value) <= MOST_ITEMS else None
    except TypeError:  # no items at all, as an array without axes has none
        is_list = False
    except OverflowError:  # more items than a length can say
        items = None
    if not is_list:
        raise ConfigError(f"not a list of {what}", found=quoted(value))
    if items is None or len(items) > MOST_ITEMS:
        raise ConfigError(f"too many {what}", found=quoted(value), allowed=f"at most {MOST_ITEMS}")
    return items


def to_lengths(value: Any) -> tuple[Quantity, ...] | None:
    """attrs converter: one length per axis, or None."""
    if value is None:
        return None
    return tuple(Quantity.parse(item) for item in items_of(value, "lengths"))


def positive_lengths(_: Any, field: Field, value: tuple[Quantity, ...] | None) -> None:
    """attrs validator: lengths above zero, or None."""
    if value is not None and any(quantity.value <= 0 for quantity in value):
        raise ConfigError(f"{field.name} must be positive", f"({', '.join(map(str, value))})", "lengths above 0")


def not_negative_lengths(_: Any, field: Field, value: tuple[Quantity, ...] | None) -> None:
    """attrs validator: lengths from zero, or None."""
    if value is not None and any(quantity.value < 0 for quantity in value):
        raise ConfigError(f"{field.name} is negative", f"({', '.join(map(str, value))})", "lengths from 0")


@attrs.frozen
class VoxelSize:
    """A voxel size: one length for all spatial axes, or one for each."""

    lengths: tuple[Quantity, ...]

    def document(self) -> Any:
        texts = [plain_length(length) for length in self.lengths]
        return str(self.lengths[0]) if len(texts) == 1 else texts

    def canonical(self) -> list[str]:
        return list(map(str, self.lengths))

    def __str__(self) -> str:
        return ", ".join(map(str, self.lengths))


def to_scale(value: Any) -> int | VoxelSize:
    """attrs converter: the number of a level, or a voxel size: a text such as ``"16 nm"``, or one length per axis.

    >>> to_scale(2), str(to_scale("16 nm")), str(to_scale(["40 nm", 8, 8]))
    (2, '16 nm', '40 nm, 8, 8')
    """
    if isinstance(value, VoxelSize):
        return value
    if isinstance(value, (str, Quantity)):
        value = [value]
    elif is_integer(value) or isinstance(value, (float, bool)):
        return to_integer(value)
    lengths = to_lengths(value)
    if not lengths or any(length.value <= 0 for length in lengths):
        raise ConfigError("not a scale", found=quoted(value), allowed='a number of a level, or such as "16 nm"')
    return VoxelSize(lengths)
