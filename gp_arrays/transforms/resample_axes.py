"""One axis of a resampled array: which source voxels a voxel is made of, with which weights."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from ..model.meta import Voxels


@attrs.frozen
class Sampling:
    """How one axis is resampled: ``up`` result voxels for ``down`` source voxels.

    Attributes:
        method: "nearest", "linear", "cubic", "mean" or "mode". Where both factors are 1 it
            makes no difference.
        up, down: Without a common divisor.
    """

    method: str
    up: int
    down: int

    @property
    def changes(self) -> bool:
        return self.up != self.down

    @property
    def weighted(self) -> bool:
        """True if its values are averaged or interpolated."""
        return self.changes and self.method in ("linear", "cubic", "mean")

    @property
    def _steps(self) -> int:
        # interpolated positions are multiples of one part in so many
        return self.up if self.up % 2 and self.down % 2 else 2 * self.up

    @property
    def denominator(self) -> int:
        """What the numerators of ``taps`` add up to."""
        if not self.weighted:
            return 1
        if self.method == "mean":
            return self.down
        q = self._steps
        return q if self.method == "linear" else q**3 * (1 if q % 2 else 2)

    @property
    def gain(self) -> int:
        """A bound of the sum of the numerators' magnitudes."""
        # Keys' weights add up to 1 + t (1 - t) in magnitude, at most 5/4
        return -(-5 * self.denominator // 4) if self.method == "cubic" else self.denominator

    def taps(self, i: int) -> list[tuple[int, int]]:
        """Source voxels that result voxel ``i`` is made of, ascending, with the numerators of their weights.

        >>> Sampling("nearest", 1, 2).taps(3), Sampling("mean", 2, 3).taps(1)
        ([(6, 1)], [(1, 1), (2, 2)])
        >>> Sampling("linear", 2, 1).taps(0), Sampling("cubic", 2, 1).taps(1)
        ([(-1, 1), (0, 3)], [(-1, -9), (0, 111), (1, 29), (2, -3)])
        """
        u, d = self.up, self.down
        if self.method == "nearest" or not self.changes:
            return [(-(-(2 * i + 1) * d // (2 * u)) - 1, 1)]
        if self.method in ("mean", "mode"):
            first, end = i * d // u, -(-(i + 1) * d // u)
            return [(j, min((i + 1) * d, (j + 1) * u) - max(i * d, j * u)) for j in range(first, end)]
        q = self._steps
        base, r = divmod(((2 * i + 1) * d - u) * q // (2 * u), q)
        if r == 0:
            return [(base, self.denominator)]
        if self.method == "linear":
            return [(base, q - r), (base + 1, r)]
        # Keys' weights at t = r / q, times 2 q^3, and times q^3 where q is odd: then all are even
        half = 2 if q % 2 else 1
        numerators = (
            -(r**3) + 2 * r * r * q - r * q * q,
            3 * r**3 - 5 * r * r * q + 2 * q**3,
            -3 * r**3 + 4 * r * r * q + r * q * q,
            r**3 - r * r * q,
        )
        return [(base + k, n // half) for k, n in zip((-1, 0, 1, 2), numerators, strict=True)]

    def reach(self, first: int, end: int) -> tuple[int, int]:
        """The source voxels that the result voxels ``first`` to ``end`` are made of.

        >>> Sampling("linear", 2, 1).reach(0, 2), Sampling("cubic", 3, 1).reach(1, 2)
        ((-1, 2), (0, 1))
        """
        # a voxel that lies on a source voxel reads less than its neighbour, so two at each end
        low = min(self.taps(first)[0][0], self.taps(min(first + 1, end - 1))[0][0])
        return low, 1 + max(self.taps(max(first, end - 2))[-1][0], self.taps(end - 1)[-1][0])


@attrs.frozen
class Axis:
    """One axis of a block: which it is, how it is resampled, and what of it is wanted.

    ``start`` is the index of the block's first voxel in the source, ``first`` that of the
    first voxel wanted of ``count``. The block reaches as far as they do.
    """

    number: int
    sampling: Sampling
    start: int
    first: int
    count: int

    def nearest(self, data: Voxels) -> Voxels:
        if self.sampling.up == 1:
            return data[self._at(slice(self.sampling.taps(self.first)[0][0] - self.start, None, self.sampling.down))]
        return self.weigh(data, data.dtype)

    def votes(self, data: Voxels) -> list[Voxels]:
        """``down`` arrays: of what covers each voxel, one part after the other, all of one weight."""
        u, d = self.sampling.up, self.sampling.down
        if u == 1:
            begin = self.first * d - self.start
            return [data[self._at(slice(begin + k, begin + k + (self.count - 1) * d + 1, d))] for k in range(d)]
        begins = np.arange(self.first, self.first + self.count) * d
        return [np.take(data, (begins + k) // u - self.start, axis=self.number) for k in range(d)]

    def weigh(self, data: Voxels, dtype: Any) -> Voxels:
        """Numerators of the resampled values, in ``dtype``: exact for integers and objects."""
        u, d = self.sampling.up, self.sampling.down
        out = np.empty((*data.shape[: self.number], self.count, *data.shape[self.number + 1 :]), dtype)
        if u > d:
            data = data.astype(dtype, copy=False)  # once, not for each of the voxels that it becomes
        for phase in range(min(u, self.count)):
            # every u-th voxel has the same weights, d source voxels further on
            target = out[self._at(slice(phase, None, u))]
            length = target.shape[self.number]
            parts = [
                (data[self._at(slice(j - self.start, j - self.start + (length - 1) * d + 1, d))], numerator)
                for j, numerator in self.sampling.taps(self.first + phase)
            ]
            _accumulate(parts, target)
        return out

    def _at(self, index: slice) -> tuple[slice, ...]:
        return (slice(None),) * self.number + (index,)


def _accumulate(parts: list[tuple[Voxels, int]], target: Voxels) -> None:
    """``target`` becomes the sum of arrays times numerators, added one after the other."""
    dtype = target.dtype
    (one, a), *rest = parts
    if a == 1 and rest and rest[0][1] == 1:
        np.add(one, rest.pop(0)[0], out=target, dtype=dtype, casting="unsafe")
    elif a == 1:
        target[...] = one
    else:
        np.multiply(one, a if dtype.kind == "O" else dtype.type(a), out=target, dtype=dtype, casting="unsafe")
    for part, a in rest:
        if a != 1:
            part = np.multiply(part, a if dtype.kind == "O" else dtype.type(a), dtype=dtype, casting="unsafe")
        np.add(target, part, out=target, casting="unsafe")
