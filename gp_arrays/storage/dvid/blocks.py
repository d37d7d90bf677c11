"""Blocks of a DVID instance that are kept in memory: each is requested once, however many regions need it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ...model.cache import CACHE
from ...model.threads import run_each
from ..chunked.parts import Position
from .volumes import SIDE, Box, Instance, new_box, pieces, read_piece


@attrs.frozen
class Blocks:
    """The blocks of an instance, kept in memory.

    Attributes:
        url: Of the instance; its version must be locked.
        instance: Its metadata.
        query: The query of every request for voxels.
        bounds: The corners of the array that is read, so that no request reaches beyond it.
    """

    url: str
    instance: Instance
    query: Mapping[str, str]
    bounds: Box

    def may_keep(self, begin: Sequence[int], end: Sequence[int]) -> bool:
        """True if the blocks that a box touches may be kept: see ``ArrayCache.keeps``."""
        voxels = math.prod(map(len, self._grid(begin, end))) * math.prod(self.instance.block_size)
        return CACHE.keeps(voxels * math.prod(self.instance.voxel_shape) * self.instance.dtype.itemsize)

    def read(self, begin: Sequence[int], end: Sequence[int]) -> Any:
        """As ``read_box``. Blocks that are not kept yet are requested, and kept."""
        out = new_box(self.instance, [e - b for b, e in zip(begin, end, strict=True)])
        missing: set[Position] = set()
        for position in itertools.product(*self._grid(begin, end)):
            block = CACHE.find(self._key(position))
            if block is None:
                missing.add(position)
            else:
                _paste(out, begin, block, self._box(position)[0])
        most = [max(1, SIDE // size) for size in self.instance.block_size]
        run_each(functools.partial(self._read_and_keep, out, begin), list(boxes_of(missing, most)), remote=True)
        return out

    def _read_and_keep(self, out: np.ndarray[Any, Any], origin: Sequence[int], box: tuple[Position, Position]) -> None:
        """Request a box of blocks, keep each, and copy what they have of ``out``."""
        first, last = box
        begin, end = self._box(first)[0], self._box(tuple(each - 1 for each in last))[1]
        is_inside = all(o <= b and e <= o + n for b, e, o, n in zip(begin, end, origin, out.shape, strict=False))
        target, corner = out, origin
        if not is_inside:
            target, corner = new_box(self.instance, [e - b for b, e in zip(begin, end, strict=True)]), begin
        for piece in pieces(self.instance, begin, end):
            read_piece(self.url, self.instance, self.query, target, corner, piece)
        for position in itertools.product(*map(range, first, last)):
            index = (slice(b - c, e - c) for b, e, c in zip(*self._box(position), corner, strict=True))
            CACHE.add(self._key(position), target[tuple(index)].copy())
        if not is_inside:
            _paste(out, origin, target, begin)

    def _key(self, position: Position) -> Hashable:
        return self.url, tuple(self.query.items()), self.bounds, position

    def _grid(self, begin: Sequence[int], end: Sequence[int]) -> list[range]:
        return [range(b // n, -(-e // n)) for b, e, n in zip(begin, end, self.instance.block_size, strict=True)]

    def _box(self, position: Position) -> Box:
        """The corners of a block; of a grid store, which sends whole blocks alone, also beyond the array."""
        begin = tuple(p * n for p, n in zip(position, self.instance.block_size, strict=True))
        end = tuple(b + n for b, n in zip(begin, self.instance.block_size, strict=True))
        if self.instance.grid_store:
            return begin, end
        low, high = self.bounds
        return tuple(map(max, begin, low)), tuple(map(min, end, high))


def _paste(
    out: np.ndarray[Any, Any], origin: Sequence[int], voxels: np.ndarray[Any, Any], begin: Sequence[int]
) -> None:
    """Copy the voxels that two boxes have in common."""
    to, of = [], []
    for o, n, b, m in zip(origin, out.shape, begin, voxels.shape, strict=False):
        low, high = max(o, b), min(o + n, b + m)
        to.append(slice(low - o, high - o))
        of.append(slice(low - b, high - b))
    out[tuple(to)] = voxels[tuple(of)]


def boxes_of(positions: set[Position], most: Sequence[int]) -> Iterator[tuple[Position, Position]]:
    """A few boxes that hold exactly these positions, each box at most ``most`` long: their first and last corners.

    >>> list(boxes_of({(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)}, (4, 4)))
    [((0, 0), (2, 2)), ((2, 1), (3, 2))]
    """
    remaining = set(positions)
    for first in sorted(positions):
        if first not in remaining:
            continue
        last = [p + 1 for p in first]
        for axis in reversed(range(len(first))):
            while last[axis] - first[axis] < most[axis]:
                ranges = list(map(range, first, last))
                ranges[axis] = range(last[axis], last[axis] + 1)
                if not remaining.issuperset(itertools.product(*ranges)):
                    break
                last[axis] += 1
        remaining.difference_update(itertools.product(*map(range, first, last)))
        yield first, tuple(last)
