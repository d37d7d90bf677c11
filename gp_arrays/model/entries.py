"""Entries of non-spatial axes, such as channels: which are read, and where they are in what was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def span(entries: Sequence[int]) -> tuple[int, int]:
    """The smallest range that holds some entries.

    >>> span([4, 2]), span([])
    ((2, 5), (0, 0))
    """
    return (min(entries), max(entries) + 1) if entries else (0, 0)


def take(data: np.ndarray[Any, Any], entries: Sequence[int], first: int, axis: int) -> np.ndarray[Any, Any]:
    """Entries of an axis in their order, from data that begin with entry ``first``. A view where they follow each other.

    >>> take(np.array([[5, 6], [7, 8]]), [3, 2], 2, 0).tolist()
    [[7, 8], [5, 6]]
    """
    begin, end = span(entries)
    if list(entries) == list(range(begin, end)):
        return data[(slice(None),) * axis + (slice(begin - first, end - first),)]
    return np.take(data, [entry - first for entry in entries], axis)
