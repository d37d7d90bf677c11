"""Resampling of voxels along axes: exact for integers, in a fixed order for floats.

A voxel's value depends on the source voxels that it is made of and on nothing else, so any
block equals the same part of the complete result, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..model.meta import Voxels
from .resample_axes import Axis, Sampling
from .resample_mode import mode

#: Weights are applied to slabs of about so many voxels, which a core's cache holds, ...
VOXELS = 1 << 18

#: ... but no thinner than this: neighbouring slabs read some of the same voxels.
THINNEST = 8


def resample(
    data: Voxels, samplings: Sequence[Sampling], start: Sequence[int], first: Sequence[int], shape: Sequence[int]
) -> Voxels:
    """A block of the resampled array, of the dtype of ``data``.

    Args:
        data: A block of the source; axes before the last ``len(samplings)`` pass through.
            Beyond it its edge voxels repeat.
        samplings: One per spatial axis.
        start: The index of the first voxel of ``data`` in the source, per spatial axis.
        first: The index of the first voxel wanted; voxel 0 begins where source voxel 0 does.
        shape: How many are wanted.

    Axes that ``mode`` thins out come first, together. Then the weights, as one exact
    fraction of integers rounded once, ties to even, and cut to the dtype; of floats
    in float64: axis by axis, means from the first axis to the last, then interpolation from
    the last axis to the first; source voxels ascending, each times its integer
    numerator; one division by the product of denominators at the end.

    >>> mean, linear = Sampling("mean", 1, 2), Sampling("linear", 2, 1)
    >>> resample(np.array([1, 2, 4, 5], np.uint8), [mean], [0], [0], [2])
    array([2, 4], dtype=uint8)
    >>> resample(np.array([0, 8], np.uint8), [linear], [0], [0], [4])
    array([0, 2, 6, 8], dtype=uint8)
    """
    if data.dtype.kind == "b":
        return resample(data.view(np.uint8), samplings, start, first, shape).astype(np.bool_)
    lead = data.ndim - len(samplings)
    computed = math.prod(data.shape[:lead]) * math.prod(shape[1:])
    used = data.size // data.shape[lead] * samplings[0].down // samplings[0].up
    thick = max(THINNEST, VOXELS // max(computed, used, 1))
    if thick >= shape[0] or not any(sampling.weighted for sampling in samplings):
        return _resample(data, samplings, start, first, shape)
    out = np.empty((*data.shape[:lead], *shape), data.dtype)
    for at in range(0, shape[0], thick):
        count = min(thick, shape[0] - at)
        slab = (slice(None),) * lead + (slice(at, at + count),)
        out[slab] = _resample(data, samplings, start, [first[0] + at, *first[1:]], [count, *shape[1:]])
    return out


def _resample(
    data: Voxels, samplings: Sequence[Sampling], start: Sequence[int], first: Sequence[int], shape: Sequence[int]
) -> Voxels:
    data, start = _reached(data, samplings, start, first, shape)
    axes = [
        Axis(data.ndim - len(samplings) + k, sampling, start[k], first[k], shape[k])
        for k, sampling in enumerate(samplings)
        if sampling.changes
    ]
    for axis in axes:
        if axis.sampling.method == "nearest" and axis.sampling.down > axis.sampling.up:
            data = axis.nearest(data)
    votes = [axis for axis in axes if axis.sampling.method == "mode"]
    if votes:
        # floats are counted by their rank: nan and the two zeros are one value each
        values, ranks = np.unique(data + 0.0, return_inverse=True) if data.dtype.kind == "f" else (None, data)
        parts = [ranks.reshape(data.shape)]
        for axis in votes:
            parts = [vote for part in parts for vote in axis.votes(part)]
        data = mode(parts) if values is None else values[mode(parts)]
    passes = [axis for axis in axes if axis.sampling.method == "mean"]
    passes += [axis for axis in reversed(axes) if axis.sampling.method in ("linear", "cubic")]
    if passes:
        data = weigh(data, passes)
    for axis in reversed(axes):
        if axis.sampling.method == "nearest" and axis.sampling.up > axis.sampling.down:
            data = axis.nearest(data)
    return data


def _reached(
    data: Voxels, samplings: Sequence[Sampling], start: Sequence[int], first: Sequence[int], shape: Sequence[int]
) -> tuple[Voxels, list[int]]:
    """The voxels that the wanted ones are made of, edges repeated beyond ``data``, and the index of the first."""
    begin = []
    for axis, (sampling, at, one, count) in enumerate(
        zip(samplings, start, first, shape, strict=True), data.ndim - len(samplings)
    ):
        low, high = sampling.reach(one, one + count)
        if at <= low and high <= at + data.shape[axis]:
            data = data[(slice(None),) * axis + (slice(low - at, high - at),)]
        else:
            data = np.take(data, np.arange(low - at, high - at), axis, mode="clip")
        begin.append(low)
    return data, begin


def weigh(data: Voxels, passes: Sequence[Axis]) -> Voxels:
    """``data`` averaged or interpolated along some axes, one after the other; rounded once, at the end."""
    denominator = math.prod(axis.sampling.denominator for axis in passes)
    gain = math.prod(axis.sampling.gain for axis in passes)
    cubic = any(axis.sampling.method == "cubic" for axis in passes)
    if data.dtype.kind == "f":
        return _weigh_floats(data, passes, denominator, gain)
    info = np.iinfo(data.dtype)
    inside = _accumulator(int(info.min), int(info.max), gain, denominator, cubic)
    if inside is None and data.dtype.itemsize >= 4:
        # ids and counts seldom use all bits of their dtype
        inside = _accumulator(int(data.min()), int(data.max()), gain, denominator, cubic)
    # past 64 bits the integers are Python's
    rounded = round_half_even(_run(data, passes, inside or np.object_), denominator)
    if cubic:
        rounded = np.clip(rounded, info.min, info.max)
    return rounded.astype(data.dtype)


def _run(data: Voxels, passes: Sequence[Axis], dtype: Any) -> Voxels:
    for axis in passes:
        data = axis.weigh(data, dtype)
    return data


def _weigh_floats(data: Voxels, passes: Sequence[Axis], denominator: int, gain: int) -> Voxels:
    # float64 is divided by a power of two first, so that no sum exceeds the largest float
    scale = 0.5 ** gain.bit_length() if data.dtype == np.float64 else 1.0
    # infinities and what is not a number are values like others
    with np.errstate(over="ignore", invalid="ignore"):
        values = _run(data if scale == 1 else data * scale, passes, np.float64)
        finite = np.isfinite(values)
        values /= denominator * scale
        most = np.finfo(data.dtype).max
        np.clip(values, -most, most, out=values, where=finite)
        return values.astype(data.dtype, copy=False)


def _accumulator(low: int, high: int, gain: int, denominator: int, signed: bool) -> Any:
    """The smallest dtype that holds every numerator of values from ``low`` to ``high``, None past 64 bits."""
    bound = max(high, -low) * gain + denominator
    kinds: tuple[Any, ...] = (np.int16, np.int32, np.int64) if signed or low < 0 else (np.uint16, np.uint32, np.uint64)
    return next((kind for kind in kinds if bound <= np.iinfo(kind).max), None)


def round_half_even(numerators: Voxels, denominator: int) -> Voxels:
    """The nearest integers to ``numerators / denominator``, ties to even; ``numerators`` may be overwritten.

    >>> round_half_even(np.array([-6, -2, 2, 3, 6, 10]), 4).tolist()
    [-2, 0, 0, 1, 2, 2]
    """
    if denominator == 1:
        return numerators
    # a shift is quicker where it does the same
    shift = denominator & (denominator - 1) == 0 and numerators.dtype.kind != "O"
    divide: np.ufunc = np.right_shift if shift else np.floor_divide
    divisor = denominator.bit_length() - 1 if shift else denominator
    if denominator % 2 == 0:
        # half a step less than half, and that step where the floor is odd: ties go to even
        numerators += divide(numerators, divisor) & 1
        numerators -= 1
    numerators += denominator // 2
    rounded: Voxels = divide(numerators, divisor, out=numerators)
    return rounded
