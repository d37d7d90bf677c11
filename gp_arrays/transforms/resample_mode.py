"""The most frequent of several values, voxel by voxel."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Bytes of the working copy of a slab: what stays in a core's cache while passes go over it.
SLAB = 1 << 20

#: Up to this many values are sorted by comparing arrays with each other; more of them voxel by voxel.
WIDEST_NETWORK = 32


def mode(votes: Sequence[Array]) -> Array:
    """Voxel by voxel the integer that most of the arrays have, the smallest of those that as many have."""
    out = np.empty(votes[0].shape, votes[0].dtype)
    _count(votes, out)
    return out


def _count(votes: Sequence[Array], out: Array) -> None:
    thick = SLAB * len(out) // max(1, len(votes) * out.nbytes)
    if not thick and out.ndim > 2:
        for k in range(len(out)):
            _count([vote[k] for vote in votes], out[k])
        return
    thick = max(1, thick)
    for at in range(0, len(out), thick):
        _count_slab([vote[at : at + thick] for vote in votes], out[at : at + thick])


def _count_slab(votes: Sequence[Array], out: Array) -> None:
    out[...] = votes[0]
    differs = np.zeros(out.shape, bool)
    for vote in votes[1:]:
        differs |= vote != out
    # most of a volume of labels is inside of some object, where there is nothing to count
    if 2 * np.count_nonzero(differs) < out.size:
        out[differs] = most_frequent(np.stack([vote[differs] for vote in votes]))
    else:
        out[...] = most_frequent(np.stack([vote.reshape(-1) for vote in votes])).reshape(out.shape)


def most_frequent(rows: Array) -> Array:
    """The value that is most frequent in each column, the smallest of those that are; ``rows`` are overwritten.

    >>> most_frequent(np.array([[1, 5, 3], [2, 4, 1], [2, 4, 2], [1, 9, 3]])).tolist()
    [1, 4, 3]
    """
    if len(rows) <= WIDEST_NETWORK:
        lower = np.empty(rows.shape[1:], rows.dtype)
        for i, j in _network(len(rows)):
            np.minimum(rows[i], rows[j], out=lower)
            np.maximum(rows[i], rows[j], out=rows[j])
            rows[i] = lower
    else:
        rows = np.ascontiguousarray(np.sort(rows.T, axis=-1).T)
    frequent: Array = rows[0].copy()
    run: Array = np.ones(frequent.shape, np.uint8 if len(rows) < 256 else np.uint32)
    longest = run.copy()
    for previous, row in itertools.pairwise(rows):
        run *= row == previous
        run += 1
        np.copyto(frequent, row, where=run > longest)
        np.maximum(longest, run, out=longest)
    return frequent


@functools.cache
def _network(count: int) -> tuple[tuple[int, int], ...]:
    """Places to compare and exchange, one pair after the other, that sort so many values (Batcher's merge exchange)."""
    pairs: list[tuple[int, int]] = []
    largest = 1 << max(count - 1, 1).bit_length() - 1
    p = largest
    while p:
        q, r, d = largest, 0, p
        while d:
            pairs.extend((i, i + d) for i in range(count - d) if i & p == r)
            d, q, r = q - p, q // 2, p
        p //= 2
    return tuple(pairs)
