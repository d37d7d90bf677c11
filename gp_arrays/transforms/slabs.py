"""How kernels go over voxels: in slabs that a core's cache holds, and in runs of equal labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..model.meta import Voxels

#: Voxels of a slab: its operands stay in the cache while several passes go over them.
SLAB = 1 << 18


def slabs(shape: Sequence[int], voxels: int = SLAB) -> Iterator[tuple[int | slice, ...]]:
    """Indices that cut an array of a shape into slabs of about so many voxels, in the order of the voxels.

    >>> [np.zeros((2, 4, 3))[index].shape for index in slabs((2, 4, 3), 6)]
    [(2, 3), (2, 3), (2, 3), (2, 3)]
    """
    if 0 in shape:
        return
    if not shape:
        yield ()
        return
    axis, below = 0, math.prod(shape[1:])
    while below > voxels and axis < len(shape) - 1:
        axis += 1
        below //= shape[axis]
    thick = max(1, voxels // below)
    for outer in np.ndindex(*shape[:axis]):
        for begin in range(0, shape[axis], thick):
            yield (*outer, slice(begin, begin + thick))


def run_starts(flat: Voxels) -> Voxels:
    """Where runs of equal values begin.

    >>> run_starts(np.array([5, 5, 0, 5])).tolist()
    [0, 2, 3]
    """
    begins = np.empty(flat.shape, bool)
    begins[:1] = True
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    return np.flatnonzero(begins)
