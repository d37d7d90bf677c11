"""The most frequent of several values, voxel by voxel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..model.meta import Voxels
from .slabs import slabs

#: Bytes of the working copy of a slab: what stays in a core's cache while passes go over it.
SLAB = 1 << 20


def mode(votes: Sequence[Voxels]) -> Voxels:
    """Voxel by voxel the integer that most of the arrays have, the smallest of those that as many have."""
    out = np.empty(votes[0].shape, votes[0].dtype)
    for index in slabs(out.shape, SLAB // (len(votes) * out.itemsize)):
        _count_slab([vote[index] for vote in votes], out[index])
    return out


def _count_slab(votes: Sequence[Voxels], out: Voxels) -> None:
    out[...] = votes[0]
    differs = np.zeros(out.shape, bool)
    for vote in votes[1:]:
        differs |= vote != out
    # most of a volume of labels is inside of some object, where there is nothing to count
    if 2 * np.count_nonzero(differs) < out.size:
        out[differs] = most_frequent(np.stack([vote[differs] for vote in votes]))
    else:
        out[...] = most_frequent(np.stack([vote.reshape(-1) for vote in votes])).reshape(out.shape)


def most_frequent(rows: Voxels) -> Voxels:
    """The value that is most frequent in each column, the smallest of those that are.

    >>> most_frequent(np.array([[1, 5, 3], [2, 4, 1], [2, 4, 2], [1, 9, 3]])).tolist()
    [1, 4, 3]
    """
    rows = np.ascontiguousarray(np.sort(rows.T, axis=-1).T)
    frequent: Voxels = rows[0].copy()
    run: Voxels = np.ones(frequent.shape, np.uint8 if len(rows) < 256 else np.uint32)
    longest = run.copy()
    for previous, row in itertools.pairwise(rows):
        run *= row == previous
        run += 1
        np.copyto(frequent, row, where=run > longest)
        np.maximum(longest, run, out=longest)
    return frequent
