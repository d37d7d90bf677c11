"""Resampling of voxels along axes: exact for integers, in a fixed order for floats.

A voxel's value depends on the source voxels that it is made of and on nothing else, so any
block of the result equals that part of the whole, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .resample_axes import Array, Axis, Sampling
from .resample_mode import from_sortable, mode, sortable

#: Weights are applied to slabs of about so many voxels, which a core's cache holds, ...
VOXELS = 1 << 20

#: ... but no thinner than this: neighbouring slabs read some of the same voxels.
THINNEST = 8


def resample(
    data: Array, samplings: Sequence[Sampling], start: Sequence[int], first: Sequence[int], shape: Sequence[int]
) -> Array:
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
    the last axis to the first; source voxels ascending, each times its whole
    numerator; one division by the product of denominators at the end. (Values of
    float64 are first divided by a power of two, so that no sum exceeds the largest float.)

    >>> mean, linear = Sampling("mean", 1, 2), Sampling("linear", 2, 1)
    >>> resample(np.array([1, 2, 4, 5], np.uint8), [mean], [0], [0], [2])
    array([2, 4], dtype=uint8)
    >>> resample(np.array([0, 8], np.uint8), [linear], [0], [0], [4])
    array([0, 2, 6, 8], dtype=uint8)
    """
    if data.dtype.kind == "b":
        return resample(data.view(np.uint8), samplings, start, first, shape).astype(np.bool_)
    lead = data.ndim - len(samplings)
    made = math.prod(data.shape[:lead]) * math.prod(shape[1:])
    used = data.size // data.shape[lead] * samplings[0].down // samplings[0].up
    thick = max(THINNEST, VOXELS // max(made, used, 1))
    if thick >= shape[0] or not any(sampling.weighted for sampling in samplings):
        return _resample(data, samplings, start, first, shape)
    out = np.empty((*data.shape[:lead], *shape), data.dtype)
    for at in range(0, shape[0], thick):
        count = min(thick, shape[0] - at)
        slab = (slice(None),) * lead + (slice(at, at + count),)
        out[slab] = _resample(data, samplings, start, [first[0] + at, *first[1:]], [count, *shape[1:]])
    return out


def _resample(
    data: Array, samplings: Sequence[Sampling], start: Sequence[int], first: Sequence[int], shape: Sequence[int]
) -> Array:
    data, start = _padded(data, samplings, start, first, shape)
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
        floats = data.dtype if data.dtype.kind == "f" else None
        parts = [data if floats is None else sortable(data)]
        for axis in votes:
            parts = [vote for part in parts for vote in axis.votes(part)]
        data = mode(parts) if floats is None else from_sortable(mode(parts), floats)
    passes = [axis for axis in axes if axis.sampling.method == "mean"]
    passes += [axis for axis in reversed(axes) if axis.sampling.method in ("linear", "cubic")]
    if passes:
        data = weigh(data, passes)
    for axis in reversed(axes):
        if axis.sampling.method == "nearest" and axis.sampling.up > axis.sampling.down:
            data = axis.nearest(data)
    return data


def _padded(
    data: Array, samplings: Sequence[Sampling], start: Sequence[int], first: Sequence[int], shape: Sequence[int]
) -> tuple[Array, list[int]]:
    """``data`` with its edges repeated as far as the wanted voxels reach, without what they do not."""
    lead = data.ndim - len(samplings)
    cut, pad, begin = [slice(None)] * lead, [(0, 0)] * lead, []
    for sampling, at, length, one, count in zip(samplings, start, data.shape[lead:], first, shape, strict=True):
        low, high = sampling.reach(one, one + count)
        cut.append(slice(max(low - at, 0), min(high - at, length)))
        pad.append((max(at - low, 0), max(high - at - length, 0)))
        begin.append(low)
    data = data[tuple(cut)]
    return (np.pad(data, pad, mode="edge") if any(map(any, pad)) else data), begin


def weigh(data: Array, passes: Sequence[Axis]) -> Array:
    """``data`` averaged or interpolated along some axes, one after the other; rounded once, at the end."""
    denominator = math.prod(axis.sampling.denominator for axis in passes)
    gain = math.prod(axis.sampling.gain for axis in passes)
    cubic = any(axis.sampling.method == "cubic" for axis in passes)
    if data.dtype.kind == "f":
        return _weigh_floats(data, passes, denominator, cubic)
    info = np.iinfo(data.dtype)
    inside = _accumulator(int(info.min), int(info.max), gain, denominator, cubic)
    if inside is None and data.dtype.itemsize >= 4:
        # ids and counts seldom use all bits of their dtype
        inside = _accumulator(int(data.min()), int(data.max()), gain, denominator, cubic)
    if inside is None:
        return _weigh_wide(data, passes, denominator, gain)
    rounded = round_half_even(_run(data, passes, inside), denominator)
    if cubic:
        np.clip(rounded, info.min, info.max, out=rounded)
    return rounded.astype(data.dtype)


def _run(data: Array, passes: Sequence[Axis], dtype: Any) -> Array:
    for axis in passes:
        data = axis.weigh(data, dtype)
    return data


def _weigh_floats(data: Array, passes: Sequence[Axis], denominator: int, cubic: bool) -> Array:
    # narrower floats never come near the largest float64
    wide = data.dtype == np.float64
    scale = 0.5 ** sum((axis.sampling.gain - 1).bit_length() for axis in passes) if wide else 1.0
    # infinities and what is not a number are values like others
    with np.errstate(over="ignore", invalid="ignore"):
        values = _run(data * scale if wide else data, passes, np.float64)
        finite = np.isfinite(values) if wide or cubic else None
        values /= denominator * scale
        if finite is not None:
            most = np.finfo(data.dtype).max
            np.clip(values, -most, most, out=values, where=finite)
        return values.astype(data.dtype, copy=False)


def _accumulator(low: int, high: int, gain: int, denominator: int, signed: bool) -> Any:
    """The smallest dtype that holds every numerator of values from ``low`` to ``high``, None past 64 bits."""
    bound = max(high, -low) * gain + denominator
    kinds: tuple[Any, ...] = (np.int16, np.int32, np.int64) if signed or low < 0 else (np.uint16, np.uint32, np.uint64)
    return next((kind for kind in kinds if bound <= np.iinfo(kind).max), None)


def round_half_even(numerators: Array, denominator: int) -> Array:
    """The nearest integers to ``numerators / denominator``, ties to even; ``numerators`` are overwritten.

    >>> round_half_even(np.array([-6, -2, 2, 3, 6, 10]), 4).tolist()
    [-2, 0, 0, 1, 2, 2]
    """
    if denominator == 1:
        return numerators
    power = denominator & (denominator - 1) == 0 and numerators.dtype.kind != "O"
    shift = denominator.bit_length() - 1

    def floor(values: Array) -> Array:
        if power:
            return np.right_shift(values, shift, out=values)
        return np.floor_divide(values, denominator, out=values)

    if denominator % 2:
        numerators += denominator // 2
    else:
        # half a step less than half, and that step where the floor is odd: ties go to even
        odd = floor(numerators.copy())
        odd &= 1
        numerators += odd
        numerators += denominator // 2 - 1
    return floor(numerators)


def _weigh_wide(data: Array, passes: Sequence[Axis], denominator: int, gain: int) -> Array:
    """As ``weigh``, for integers whose numerators are wider than 64 bits: in limbs, by long division."""
    info = np.iinfo(data.dtype)
    # a remainder moved up by a limb, and the next limb's numerator, are below 2^63 together
    bits = 62 - max(denominator, gain).bit_length()
    if bits < 8:
        exact = round_half_even(_run(data.astype(object), passes, np.object_), denominator)
        return np.clip(exact, int(info.min), int(info.max)).astype(data.dtype)
    signed = data.dtype.kind == "i"
    top = -(-8 * data.dtype.itemsize // bits) - 1
    quotient: Any = np.uint64(0)
    rest: Any = np.int64(0)
    about: Any = 0.0
    for limb in range(top, -1, -1):
        part = data >> data.dtype.type(limb * bits)
        if limb < top:
            part &= data.dtype.type(min((1 << bits) - 1, int(info.max)))
        numerators = _run(part.astype(np.int64), passes, np.int64)
        about = about * 2.0**bits + numerators
        numerators += rest << bits
        digit, rest = np.divmod(numerators, denominator)
        # a digit may be negative or reach into the next: adding modulo 2^64 carries it
        quotient = (quotient << np.uint64(bits)) + digit.view(np.uint64)
    quotient += (2 * rest > denominator) | ((2 * rest == denominator) & (quotient & np.uint64(1) == 1))
    wrapped = quotient.view(np.int64) if signed else quotient
    # cubic weights overshoot by a quarter an axis: an estimate tells how often it has wrapped
    turns = np.rint((about / denominator - wrapped) / 2.0**64)
    out: Array = np.clip(wrapped, info.min, info.max).astype(data.dtype)
    out[turns > 0] = info.max
    out[turns < 0] = info.min
    return out
