"""Voxel size and offset as exact lengths, one per spatial axis, from what a dialect says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs

from ....errors import quoted
from ....units import DEFAULT_UNIT, Quantity, metres
from .reading import CENTRE, CENTRE_OF_LEVELS, Dialect, Reading

Quantities: TypeAlias = tuple[Quantity, ...]

#: Units that say that there is none.
_NO_UNITS = ("", "pixel", "pixels", "voxel", "voxels", "dimensionless")


@attrs.frozen
class Lengths:
    """What a dialect says, one length per spatial axis; without a unit where it states none.

    Attributes:
        dialect: Its name.
        voxel_size, offset: None where it does not say them. The offset is a corner.
        relative: True if the voxel size is in voxels of the finest level, whose size is not known.
    """

    dialect: str
    voxel_size: Quantities | None
    offset: Quantities | None
    relative: bool = False

    @property
    def has_units(self) -> bool:
        return all(size.unit for size in self.voxel_size or ())

    def agrees(self, other: Lengths) -> bool:
        """True if both tell the same voxel size. One without a unit is in nm, or in the unit of the other."""
        pairs = list(zip(self.voxel_size or (), other.voxel_size or (), strict=True))
        in_one_unit = all(_equal(a.to(DEFAULT_UNIT), b.to(DEFAULT_UNIT)) for a, b in pairs)
        same_numbers = all(_equal(a.value, b.value) for a, b in pairs)
        return in_one_unit or (same_numbers and not (self.has_units and other.has_units))

    def with_units_of(self, others: Sequence[Lengths]) -> Lengths:
        """The same in the units of the first of several that has units and tells the same numbers, if it has none."""
        for other in others:
            pairs = list(zip(self.voxel_size or (), other.voxel_size or (), strict=True))
            if other.has_units and not self.has_units and all(_equal(a.value, b.value) for a, b in pairs):
                sizes = tuple(Quantity(a.value, b.unit) for a, b in pairs)
                return attrs.evolve(self, voxel_size=sizes)
        return self

    def __str__(self) -> str:
        return f"voxel size ({', '.join(map(str, self.voxel_size or ()))}) as {self.dialect}"


def _equal(a: Any, b: Any) -> bool:
    return bool(abs(a - b) * 10**6 <= max(abs(a), abs(b)))


def lengths_of(
    dialect: Dialect, reading: Reading, nonspatial: Sequence[bool], kinds: Sequence[str] | None, unit: str | None
) -> Lengths:
    """The lengths along the spatial axes of an array, from what a dialect says.

    Args:
        dialect: Whose reading it is.
        reading: What it says, with one level at least.
        nonspatial: For each axis of the array True if it is not spatial.
        kinds: For each axis of what kind it is, where that is known.
        unit: The unit of all lengths, whatever the metadata say.

    Raises:
        ValueError, TypeError, KeyError, IndexError, AttributeError: Metadata that are malformed.
        ConfigError: What is no length, or no unit.
    """
    axes, ndim = [axis for axis, lead in enumerate(nonspatial) if not lead], len(nonspatial)
    stated = [reading.units] * len(axes) if reading.units is None or isinstance(reading.units, str) else reading.units
    units = [unit or _unit(each) or dialect.unit for each in _of_axes(stated, axes, ndim, kinds)]

    def quantities(values: Sequence[Any] | None) -> Quantities | None:
        if values is None:
            return None
        spatial = _of_axes(values, axes, ndim, kinds)
        if None in spatial:
            raise ValueError(f"lengths of {len(axes) - spatial.count(None)} of {len(axes)} spatial axes")
        lengths = [Quantity.parse(each, unit_of) for each, unit_of in zip(spatial, units, strict=True)]
        return tuple(Quantity(length.value, unit or length.unit) for length in lengths)

    levels = [(quantities(level.size), quantities(level.position)) for level in reading.levels]
    offset = _corner(dialect, levels, reading.level)
    return Lengths(dialect.name, levels[reading.level][0], offset, reading.relative)


def _of_axes(values: Any, axes: Sequence[int], ndim: int, kinds: Sequence[str] | None) -> list[Any]:
    """One value per spatial axis, from values per spatial axis, per axis, or per axis of space or time."""
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{quoted(values)} is not a list")
    if len(values) == len(axes):
        return list(values)
    if len(values) == ndim:
        return [values[axis] for axis in axes]
    if kinds is not None and len(kinds) == ndim:
        # to funlib.persistence a time axis has a length, an offset and a unit, as those of space have
        physical = [axis for axis, kind in enumerate(kinds) if kind in ("space", "time")]
        if len(values) == len(physical):
            return [values[physical.index(axis)] for axis in axes]
    raise ValueError(f"{list(values)} does not have one value per axis ({len(axes)} spatial of {ndim})")


def _unit(unit: Any) -> str | None:
    """A unit of length; None for what says that there is none. Raises ConfigError for another unit."""
    if unit is None or (isinstance(unit, str) and unit.strip().lower() in _NO_UNITS):
        return None
    metres(str(unit))
    return str(unit)


def _corner(
    dialect: Dialect, levels: Sequence[tuple[Quantities | None, Quantities | None]], level: int
) -> Quantities | None:
    """Where the first voxel of a level begins."""
    if levels[level][1] is None:
        level = 0  # a level that states no position begins where the finest one does
    size, position = levels[level]
    finest, _ = levels[0]
    if position is None or size is None or finest is None:
        return position
    if dialect.marks == CENTRE:
        return tuple(Quantity(p.value - s.value / 2, p.unit) for p, s in zip(position, size, strict=True))
    if dialect.marks == CENTRE_OF_LEVELS and _differ(levels):
        steps = zip(position, size, finest, strict=True)
        return tuple(Quantity(p.value - (s.value - f.value) / 2, p.unit) for p, s, f in steps)
    return position


def _differ(levels: Sequence[tuple[Quantities | None, Quantities | None]]) -> bool:
    """True if positions of the levels differ: many writers copy that of the finest one, a corner, to all of them."""
    sizes, first = levels[0]
    assert sizes is not None
    for _, other in levels[1:]:
        for axis, length in enumerate(other or ()):
            start = first[axis].value if first else 0
            if abs(length.value - start) > abs(sizes[axis].value) / 10**9:  # less is noise of arithmetic
                return True
    return False
