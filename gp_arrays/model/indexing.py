"""Numpy-like keys as boxes to read and what to take of them."""

from __future__ import annotations

import operator
from typing import Any

import attrs
import numpy as np

from ..errors import RequestError


@attrs.frozen
class Selection:
    """A key of ``array[key]``: the box to read, and the index that takes the rest from it.

    Attributes:
        bounds: A range of indices for each axis.
        rest: What numpy applies to the voxels of the box.
        shape: The shape of the result.
    """

    bounds: tuple[tuple[int, int], ...]
    rest: tuple[Any, ...]
    shape: tuple[int, ...]

    @property
    def empty(self) -> bool:
        return any(b <= a for a, b in self.bounds)

    @property
    def contiguous(self) -> bool:
        """Whether it is the box itself, axes dropped aside."""
        return all(item == 0 or (isinstance(item, slice) and item.step in (None, 1)) for item in self.rest)

    def apply(self, box: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        taken = box[self.rest]
        # a single voxel stays the scalar that numpy makes of it
        return np.ascontiguousarray(taken) if taken.ndim else taken


def _all(ndim: int) -> tuple[slice, ...]:
    return (slice(None),) * ndim


def select(key: Any, shape: tuple[int, ...]) -> Selection:
    """Read a key of integers, slices and an ellipsis, as numpy does.

    >>> select((slice(2, 5), ..., -1), (10, 10, 10))
    Selection(bounds=((2, 5), (0, 10), (9, 10)), rest=(slice(None, None, None), slice(None, None, None), 0), shape=(3, 10))

    Raises:
        RequestError: An index out of range, too many of them, or of another kind.
    """
    items = key if isinstance(key, tuple) else (key,)
    # identity, since == on an array among the items compares voxels
    ellipses = sum(item is Ellipsis for item in items)
    if ellipses > 1 or len(items) - ellipses > len(shape):
        raise RequestError("too many indices", found=repr(key), allowed=f"{len(shape)} axes")
    if not ellipses:
        items = (*items, Ellipsis)
    at = next(i for i, item in enumerate(items) if item is Ellipsis)
    fill = len(shape) - (len(items) - 1)
    items = (*items[:at], *_all(fill), *items[at + 1 :])
    bounds: list[tuple[int, int]] = []
    rest: list[Any] = []
    out: list[int] = []
    for axis, (item, size) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            positions = _positions(item, size)
            low, high = (min(positions), max(positions) + 1) if positions else (0, 0)
            bounds.append((low, high))
            step = positions.step
            rest.append(slice(None) if step == 1 else slice(None, None, step))
            out.append(len(positions))
        else:
            try:
                if isinstance(item, (bool, np.bool_)):
                    raise TypeError
                index = operator.index(item)
            except TypeError:
                raise RequestError(
                    "not an index", found=repr(item), allowed="integers, slices, ... and a Roi"
                ) from None
            if not -size <= index < size:
                raise RequestError(f"index out of range on axis {axis}", found=index, allowed=f"{-size} to {size - 1}")
            bounds.append((index % size, index % size + 1))
            rest.append(0)
    return Selection(tuple(bounds), tuple(rest), tuple(out))


def _positions(item: slice, size: int) -> range:
    try:
        return range(*item.indices(size))
    except (TypeError, ValueError) as error:
        raise RequestError("not a slice of indices", found=repr(item), allowed=str(error)) from None
