"""Lengths: exact numbers with an SI unit, and their conversion to whole numbers."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import numpy as np

from .errors import ConfigError, GpArraysError, TreeError, quoted

logger = logging.getLogger(__name__)

DEFAULT_UNIT = "nm"

# exponent of ten of each unit, in metres
_EXPONENTS = {"fm": -15, "pm": -12, "nm": -9, "um": -6, "mm": -3, "cm": -2, "m": 0}
_PREFIXES = {"femto": "fm", "pico": "pm", "nano": "nm", "micro": "um", "milli": "mm", "centi": "cm", "": "m"}
_ALIASES = {
    f"{prefix}{root}{plural}": unit
    for prefix, unit in _PREFIXES.items()
    for root in ("meter", "metre")
    for plural in ("", "s")
} | {"µm": "um", "μm": "um", "micron": "um", "microns": "um"}
# an angstrom is a unit people's files carry, though a tree is never in it
_ANGSTROM = {"angstrom", "angstroms", "Å", "å"}
_NUMBER = r"[-+]?(?=\.?[0-9])[0-9]{0,400}\.?[0-9]{0,400}(?:[eE][-+]?[0-9]{1,3})?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([A-Za-zµμÅåÅ]*)\s*", re.ASCII)
# larger numbers are not lengths, and slow to compute with
_LARGEST = 10**1000


def parse_unit(unit: str) -> str:
    """The SI name of a unit of a tree.

    >>> parse_unit("nanometers"), parse_unit("um")
    ('nm', 'um')
    """
    if isinstance(unit, str):
        if unit in _EXPONENTS:
            return unit
        if unit.strip().lower() in _ALIASES:
            return _ALIASES[unit.strip().lower()]
    raise ConfigError("not a unit of length", found=quoted(unit), allowed=", ".join(_EXPONENTS))


def metres(unit: str) -> Fraction:
    """How long a unit is, in metres."""
    if unit.strip() in _ANGSTROM or unit.strip().lower() in _ANGSTROM:
        return Fraction(1, 10**10)
    exponent = _EXPONENTS[parse_unit(unit)]
    return Fraction(10) ** exponent


@attrs.frozen
class Quantity:
    """An exact length. Without a unit it is in the unit of the tree that it stands in."""

    value: Fraction
    unit: str | None = None

    def to(self, unit: str) -> Fraction:
        """The value in ``unit``.

        >>> Quantity.parse("5.24 nm").to("pm")
        Fraction(5240, 1)
        """
        if self.unit is None or self.unit == unit:
            return self.value
        return self.value * metres(self.unit) / metres(unit)

    def __str__(self) -> str:
        value = decimal_text(self.value)
        return value if self.unit is None else f"{value} {self.unit}"

    @classmethod
    def parse(cls, value: Any, unit: str | None = None) -> Quantity:
        """A number, or a text such as ``"5.24 nm"``; ``unit`` is that of a bare number.

        A float means the shortest decimal at its stored precision: a float64 that
        is exactly a float32 counts as a float32.
        """
        if isinstance(value, Quantity):
            return value
        if isinstance(value, (str, Decimal)):
            match = _QUANTITY.fullmatch(str(value))
            if match:
                if match[2]:
                    metres(match[2])
                return cls(Fraction(match[1]), match[2] or unit)
        elif isinstance(value, (int, Fraction, np.integer)) and not isinstance(value, bool):
            number = Fraction(value) if isinstance(value, Fraction) else Fraction(int(value))
            # a file holds only decimals, so a third is not a length
            if max(abs(number.numerator), number.denominator) < _LARGEST and "/" not in decimal_text(number):
                return cls(number, unit)
        elif isinstance(value, (float, np.floating)) and math.isfinite(value):
            return cls(Fraction(shortest_decimal(value)), unit)
        raise ConfigError("not a length", found=quoted(value), allowed='a number, or such as "5.24 nm"')


def in_unit(lengths: Iterable[Quantity], unit: str | None) -> tuple[Quantity, ...]:
    """The lengths, the bare ones among them in ``unit``."""
    return tuple(Quantity(length.value, length.unit or unit) for length in lengths)


def shortest_decimal(value: float | np.floating[Any]) -> Decimal:
    """The decimal that a float stands for.

    >>> shortest_decimal(float(np.float32(5.24))), shortest_decimal(0.1)
    (Decimal('5.24'), Decimal('0.1'))
    """
    as_float = float(value)
    with np.errstate(over="ignore"):
        single = np.float32(as_float)
    if float(single) == as_float:
        return Decimal(str(single))
    return Decimal(repr(as_float))


def decimal_text(value: Fraction) -> str:
    """A fraction as people write it.

    >>> decimal_text(Fraction(524, 100)), decimal_text(Fraction(4)), decimal_text(Fraction(1, 3))
    ('5.24', '4', '1/3')
    """
    if value.denominator == 1:
        return str(value.numerator)
    remainder = value.denominator
    for prime in (2, 5):
        while remainder % prime == 0:
            remainder //= prime
    if remainder != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    sign = "-" if value < 0 else ""
    text = str(abs(value.numerator) * 10**digits // value.denominator).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


def coarsest_unit(quantities: Iterable[Quantity], unit: str) -> str | None:
    """The coarsest unit in which all quantities are whole; bare ones are in ``unit``.

    Units coarser than ``unit`` are not offered: bare numbers would cease to be whole.

    >>> coarsest_unit([Quantity.parse("5.24 nm"), Quantity.parse("4 nm")], "nm")
    'pm'
    """
    values = [quantity.to("m") if quantity.unit else quantity.to(unit) * metres(unit) for quantity in quantities]
    for candidate in sorted(_EXPONENTS, key=lambda name: -_EXPONENTS[name]):
        if candidate != "cm" and all((v / metres(candidate)).denominator == 1 for v in values):
            return candidate
    return None


def without_noise(
    voxel_size: Sequence[Quantity], offset: Sequence[Quantity]
) -> tuple[tuple[Quantity, ...], tuple[Quantity, ...]]:
    """A voxel size and an offset without the noise of arithmetic with floats, which is logged.

    A length is that shortest decimal that is within 1e-9 of the voxel size, if there is one.

    >>> size, offset = without_noise([Quantity.parse(4.1000000000000005, "nm")], [Quantity.parse(0.1 + 0.2, "nm")])
    >>> str(size[0]), str(offset[0])
    ('4.1 nm', '0.3 nm')
    """
    sizes = tuple(_shortest(size, size) for size in voxel_size)
    if len(offset) != len(sizes):
        return sizes, tuple(offset)  # refused where the meta is made
    return sizes, tuple(_shortest(begin, size) for begin, size in zip(offset, sizes, strict=True))


def _shortest(length: Quantity, size: Quantity) -> Quantity:
    noise = abs(size.to(length.unit) if length.unit else size.value) / 10**9
    shortest = shortest_near(length.value, noise) if noise else length.value
    if shortest == length.value:
        return length
    logger.info("%s is taken as %s: the rest is noise of arithmetic", length, decimal_text(shortest))
    return Quantity(shortest, length.unit)


def shortest_near(value: Fraction, slack: Fraction) -> Fraction:
    """The shortest decimal that is no further than ``slack``, above 0, from a number.

    >>> shortest_near(Fraction(0.1) * 4, Fraction(1, 10**9)), shortest_near(Fraction(1, 3), Fraction(1, 10**4))
    (Fraction(2, 5), Fraction(3333, 10000))
    """
    digits = 0
    while abs(round(value, digits) - value) > slack:
        digits += 1
    return round(value, digits)


class NotWhole(TreeError):
    """A length that is not a whole number in the unit of the tree."""


def whole_numbers(
    lengths: Sequence[Quantity], unit: str, what: str, error: type[GpArraysError] = NotWhole
) -> tuple[int, ...]:
    """Lengths as integers, in ``unit``. If one is not an integer, the error names ``what``.

    >>> whole_numbers([Quantity.parse("1 um"), Quantity.parse(4)], "nm", "the block")
    (1000, 4)
    """
    values = [length.to(unit) for length in lengths]
    if any(value.denominator != 1 for value in values):
        raise error(f"{what} is not a whole number of {unit}", found=f"({', '.join(map(str, lengths))})")
    return tuple(map(int, values))


def plain_length(quantity: Quantity) -> int | str:
    """A length as a document holds it: a number where it is whole and has no unit, else text."""
    whole_number = quantity.unit is None and quantity.value.denominator == 1
    return int(quantity.value) if whole_number else str(quantity)
