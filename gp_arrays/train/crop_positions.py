"""Where a crop may lie so that it may hold enough of a mask, and drawing one of these positions."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from ..model.meta import Voxels
from .occupancy import Occupancy, summed

#: The most entries that a request keeps. With more, cells are merged, and more positions fail on the voxels.
MOST_ENTRIES = 2**20


@attrs.frozen
class Begins:
    """Where a crop may begin along one axis, in voxels of the mask: ``first``, ``first + step``, below ``end``."""

    first: int
    end: int
    step: int

    def within(self, low: Any, high: Any) -> tuple[Any, Any]:
        """The first of them from ``low`` on, and how many there are below ``high``. Takes arrays."""
        low, high = np.maximum(low, self.first), np.minimum(high, self.end)
        begin = self.first - (self.first - low) // self.step * self.step
        return begin, np.maximum(0, -((begin - high) // self.step))


@attrs.frozen(eq=False)
class _Group:
    """Crops that begin in a cell and overlap so many cells along each axis.

    Attributes:
        corner: The least index of a cell of ``keys``, along each axis.
        grid: The cells that ``keys`` index.
        offsets: From which voxel of the first cell to which the crops begin, along each axis.
        keys: The first cells, as flattened indices.
        certain: True where every such crop holds enough.
        ends: How many positions there are up to and with each of them.
    """

    corner: tuple[int, ...]
    grid: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    keys: Voxels
    certain: Voxels
    ends: Voxels


class CropPositions:
    """All positions of a crop that the counts of cells do not rule out, each as likely as any other.

    Args:
        occupancy: Of the mask.
        crop: Voxels of the crop along each axis, in voxels of the mask.
        least: How many voxels of the crop must be masked in, at least 1.
        steps: Where crops may begin, along each axis, relative to the begin of the mask.
    """

    def __init__(self, occupancy: Occupancy, crop: Sequence[int], least: int, steps: Sequence[Begins]) -> None:
        # for a crop over many cells a few larger ones tell as much
        factors = [max(1, -(-length // (4 * c))) for length, c in zip(crop, occupancy.cell, strict=True)]
        occupancy = occupancy.coarser(factors)
        self.steps = tuple(steps)
        while True:
            self.cell = occupancy.cell
            self._groups = self._make_groups(occupancy, tuple(crop), least)
            if len(occupancy.keys) <= 1 or sum(len(group.keys) for group in self._groups) <= MOST_ENTRIES:
                break
            occupancy = occupancy.coarser([2] * len(self.cell))
        self._ends = list(itertools.accumulate(int(group.ends[-1]) for group in self._groups))

    @property
    def count(self) -> int:
        """How many positions there are."""
        return self._ends[-1] if self._ends else 0

    def draw(self, random_below: Callable[[int], int]) -> tuple[tuple[int, ...], bool]:
        """Where a crop begins, in voxels of the mask, and whether it surely holds enough.

        Args:
            random_below: Gives a random integer from 0 to below its argument.
        """
        number = random_below(self.count)
        at = bisect.bisect_right(self._ends, number)
        group, number = self._groups[at], number - (self._ends[at - 1] if at else 0)
        row = int(np.searchsorted(group.ends, number, side="right"))
        number -= int(group.ends[row - 1]) if row else 0
        cells = np.unravel_index(int(group.keys[row]), group.grid)
        begin = []
        for cell, corner, size, (low, high), steps in zip(
            cells, group.corner, self.cell, group.offsets, self.steps, strict=True
        ):
            first = (int(cell) + corner) * size
            start, count = steps.within(first + low, first + high)
            number, step = divmod(number, int(count))
            begin.append(int(start) + step * steps.step)
        return tuple(begin), bool(group.certain[row])

    def _make_groups(self, occupancy: Occupancy, crop: tuple[int, ...], least: int) -> list[_Group]:
        volume = int(np.prod(crop, dtype=object))
        groups: list[_Group] = []
        # a crop that begins late in its cell overlaps one cell more
        options = []
        for length, size in zip(crop, occupancy.cell, strict=True):
            more, remainder = divmod(length - 1, size)
            options.append(
                [(more, (0, size - remainder)), (more + 1, (size - remainder, size))][: 2 if remainder else 1]
            )
        for option in itertools.product(*options):
            reach = tuple(more for more, _ in option)
            corner = tuple(-more for more in reach)
            grid = tuple(n + more for n, more in zip(occupancy.grid, reach, strict=True))
            keys, counts = _box_sums(occupancy, reach, grid)
            enough = counts >= least
            keys, counts = keys[enough], counts[enough]
            offsets = tuple(offset for _, offset in option)
            positions = np.ones(len(keys), np.int64)
            parts = zip(np.unravel_index(keys, grid), corner, occupancy.cell, offsets, self.steps, strict=True)
            for cells, low_corner, size, (low, high), steps in parts:
                first = (cells + low_corner) * size
                positions *= steps.within(first + low, first + high)[1]
            keys, counts, positions = (column[positions > 0] for column in (keys, counts, positions))
            if len(keys):
                # at most what lies in the cells but not in the crop may be masked in elsewhere
                outside = int(np.prod([(m + 1) * c for m, c in zip(reach, occupancy.cell, strict=True)], dtype=object))
                certain = counts - (outside - volume) >= least
                groups.append(_Group(corner, grid, offsets, keys, certain, np.cumsum(positions)))
        return groups


def _box_sums(occupancy: Occupancy, reach: Sequence[int], grid: Sequence[int]) -> tuple[Voxels, Voxels]:
    """For each first cell the sum of the counts of so many further cells along each axis; where it is not 0.

    Cells are indices into ``grid``, which begins ``reach`` cells before that of the occupancy.
    """
    index = np.unravel_index(occupancy.keys, occupancy.grid)
    keys = np.ravel_multi_index(tuple(i + r for i, r in zip(index, reach, strict=True)), tuple(grid)).astype(np.int64)
    counts = occupancy.counts
    stride = 1
    for more, n in zip(reversed(reach), reversed(grid), strict=True):
        shifted = np.concatenate([keys - step * stride for step in range(more + 1)])
        keys, counts = summed(shifted, np.tile(counts, more + 1))
        stride *= n
    return keys, counts
