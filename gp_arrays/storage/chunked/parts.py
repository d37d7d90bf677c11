"""The chunks that a box touches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

Voxels = np.ndarray[Any, Any]
Position = tuple[int, ...]

#: Stands for the voxels of an absent chunk, also in the cache.
NO_CHUNK: Voxels = np.zeros(256, np.uint8)


@attrs.frozen(eq=False)
class Part:
    """A chunk, and what it has of a box.

    Attributes:
        position: Of the chunk in the grid of chunks.
        to: Where its voxels go.
        of: Which of its voxels these are.
    """

    position: Position
    to: tuple[slice, ...]
    of: tuple[slice, ...]


def parts_of(box: Sequence[slice], chunks: Sequence[int]) -> Iterator[Part]:
    """All chunks that a box touches, in order; ``chunks`` are the voxels of one along each axis.

    >>> for part in parts_of([slice(3, 9)], [5]):
    ...     print(part.position, part.to, part.of)
    (0,) (slice(0, 2, None),) (slice(3, 5, None),)
    (1,) (slice(2, 6, None),) (slice(0, 4, None),)
    """
    axes = []
    for part, size in zip(box, chunks, strict=True):
        spans = []
        for number in range(part.start // size, -(-part.stop // size)):
            begin, end = max(part.start, number * size), min(part.stop, (number + 1) * size)
            to, of = slice(begin - part.start, end - part.start), slice(begin - number * size, end - number * size)
            spans.append((number, to, of))
        axes.append(spans)
    for chunk in itertools.product(*axes):
        position, to, of = zip(*chunk, strict=True)
        yield Part(position, to, of)
