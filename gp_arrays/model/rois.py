"""Rois and shapes of blocks as people give them: exact lengths, with or without units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from funlib.geometry import Roi

from ..errors import ConfigError, quoted
from ..units import Quantity, whole_numbers
from .fields import items_of, to_lengths


class Box(NamedTuple):
    """A roi as a config gives it: exact lengths, one for each spatial axis."""

    offset: tuple[Quantity, ...]
    shape: tuple[Quantity, ...]


def to_box(value: Any) -> Box:
    """attrs converter: offset and shape as exact lengths, from a Roi or ``[[offset], [shape]]``."""
    if isinstance(value, Roi):
        value = (tuple(value.offset), tuple(value.shape))
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ConfigError("not a roi", found=quoted(value), allowed="a Roi, or [[offset], [shape]]")
    offset, shape = (to_lengths(part) for part in value)
    if offset is None or shape is None or len(offset) != len(shape) or not offset:
        raise ConfigError("not a roi", found=quoted(value), allowed="[[offset], [shape]], equally long")
    if any(length.value <= 0 for length in shape):
        raise ConfigError("the roi is empty", found=quoted(value), allowed="a shape above zero on every axis")
    return Box(offset, shape)


def to_bounded_roi(value: Any, unit: str) -> Roi:
    """A Roi in whole numbers of ``unit``, from all that ``to_box`` takes. Raises ConfigError.

    >>> to_bounded_roi([["1 um", 0], [8, "16 nm"]], "nm")
    [1000:1008, 0:16] (8, 16)
    """
    if isinstance(value, Roi) and (value.offset is None or None in (*value.offset, *value.shape)):
        raise ConfigError("the roi has no bounds", found=quoted(value), allowed="a begin and an end on every axis")
    return Roi(*(whole_numbers(part, unit, "the roi", ConfigError) for part in to_box(value)))


def to_block(value: Any, unit: str) -> tuple[int, ...]:
    """The shape of a block in whole numbers of ``unit``, from one length per axis. Raises ConfigError.

    >>> to_block((4.0, "8 nm"), "nm")
    (4, 8)
    """
    try:
        lengths = to_lengths(items_of(value, "lengths"))
    except ConfigError as error:
        raise ConfigError(
            f"a block is {error.problem}", found=quoted(value), allowed="one length per spatial axis"
        ) from None
    return whole_numbers(lengths or (), unit, "a block", ConfigError)
