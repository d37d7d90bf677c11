"""The oracle of resampled arrays, and random trees with such arrays."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gp_arrays.model.config import Config
from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.transforms.resample import ResampledArrayConfig

from .simple_trees import small
from .trees import Pool, grows

Weights = Mapping[int, Fraction]


def keys(x: Fraction) -> Fraction:
    """Keys' convolution kernel with a = -1/2."""
    a, x = Fraction(-1, 2), abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else Fraction(0)


def weights(method: str, u: int, d: int, i: int) -> Weights:
    """The source voxels that voxel ``i`` is computed from, and their weights."""
    if method == "nearest":
        return {math.ceil(Fraction((2 * i + 1) * d, 2 * u)) - 1: Fraction(1)}
    if method in ("mean", "mode"):
        low, high = Fraction(i * d, u), Fraction((i + 1) * d, u)
        covered = range(math.floor(low), math.ceil(high))
        return {j: (min(high, Fraction(j + 1)) - max(low, Fraction(j))) / (high - low) for j in covered}
    x = (i + Fraction(1, 2)) * d / u - Fraction(1, 2)
    near = range(math.floor(x) - 2, math.floor(x) + 4)
    shares = {j: max(Fraction(0), 1 - abs(x - j)) if method == "linear" else keys(x - j) for j in near}
    return {j: share for j, share in shares.items() if share}


def scale(method: str, u: int, d: int) -> int:
    """The factor that makes every weight of an axis an integer."""
    return {"mean": d, "linear": 2 * u, "cubic": 2 * (2 * u) ** 3}[method]


def phase_of(config: Config, naive: Naive) -> tuple[int, ...]:
    """The distance of a tree from the world's grid: that of its first source."""
    while config.children():
        config = config.children()[0]
    volume = naive(config)
    return tuple(b % v for b, v in zip(volume.begin, volume.voxel_size, strict=True))


@naive(ResampledArrayConfig)
def resampled(config: ResampledArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    phase, lead = phase_of(config, naive), len(source.nonspatial)
    begin, sizes, axes = list(source.begin), list(source.voxel_size), []
    for k, (up, down) in enumerate(zip(config.upsample, config.downsample, strict=True)):
        u, d = Fraction(up, down).as_integer_ratio()
        if u == d:
            continue
        finer = {0: "nearest", 1: "linear", 3: "cubic"}[config.interp_order]
        coarser = config.downsample_by or ("mean" if config.interp_order else "nearest")
        method = finer if u > d else coarser
        old, new = sizes[k], int(Fraction(sizes[k] * d, u))
        both = [x for x in range(begin[k], source.end[k] + 1) if (x - phase[k]) % math.lcm(old, new) == 0]
        first, last = (both[0] - phase[k]) // new, (both[-1] - phase[k]) // new
        there = (begin[k] - phase[k]) // old, (source.end[k] - phase[k]) // old - 1
        # beyond the source its edge voxels repeat
        rows = [
            [(min(max(j, there[0]), there[1]) - there[0], share) for j, share in weights(method, u, d, i).items()]
            for i in range(first, last)
        ]
        axes.append((k + lead, method, scale(method, u, d) if method in ("mean", "linear", "cubic") else 1, rows))
        begin[k], sizes[k] = both[0], new
    data = _mode(source.data, {axis: rows for axis, method, _, rows in axes if method == "mode"})
    means = [entry for entry in axes if entry[1] == "mean"]
    between = [entry for entry in axes[::-1] if entry[1] in ("linear", "cubic")]
    data = _weighed(data, means + between)
    for axis, method, _, rows in axes:
        if method == "nearest":
            data = np.stack([np.moveaxis(data, axis, 0)[j] for ((j, _),) in rows], axis=axis)
    return source.with_data(
        data, begin=tuple(begin), voxel_size=tuple(sizes), averaged=source.averaged or bool(means or between)
    )


def _mode(data: np.ndarray[Any, Any], rows: Mapping[int, list[Any]]) -> np.ndarray[Any, Any]:
    if not rows:
        return data
    out = np.empty([len(rows.get(axis, range(size))) for axis, size in enumerate(data.shape)], data.dtype)
    for index in np.ndindex(*out.shape):
        votes: dict[Any, Fraction] = defaultdict(Fraction)
        for parts in itertools.product(*(rows[axis][index[axis]] for axis in rows)):
            at = list(index)
            for axis, (j, _) in zip(rows, parts, strict=True):
                at[axis] = j
            value = data[tuple(at)].item()
            key = (1, 0) if math.isnan(value) else (0, value + 0)
            votes[key] += math.prod(share for _, share in parts)
        most = max(votes.values())
        is_nan, value = min(key for key, share in votes.items() if share == most)
        out[index] = math.nan if is_nan else value
    return out


def _weighed(data: np.ndarray[Any, Any], axes: list[Any]) -> np.ndarray[Any, Any]:
    if not axes:
        return data
    floats, cubic = data.dtype.kind == "f", any(method == "cubic" for _, method, _, _ in axes)
    values = (data.astype(int) if data.dtype.kind == "b" else data).astype(object)
    denominator = math.prod(denominator_of_axis for _, _, denominator_of_axis, _ in axes)
    scaled = 1.0
    if data.dtype == np.float64:
        # so that no sum exceeds the largest float
        for _, method, denominator_of_axis, _ in axes:
            largest = Fraction(5, 4) * denominator_of_axis if method == "cubic" else denominator_of_axis
            scaled /= next(2**k for k in itertools.count() if 2**k >= largest)
        values = values * scaled
    with np.errstate(all="ignore"):
        for axis, _, denominator_of_axis, rows in axes:
            planes = np.moveaxis(values, axis, 0)
            sums = []
            for row in rows:
                # floats are added with integer weights and divided at the end; fractions are exact
                parts = [planes[j] * (int(share * denominator_of_axis) if floats else share) for j, share in row]
                total = parts[0]
                for part in parts[1:]:
                    total = total + part
                sums.append(total)
            values = np.stack(sums, axis=axis)
    out = np.empty(values.shape, data.dtype)
    info: Any = np.finfo(data.dtype) if floats else None if data.dtype.kind == "b" else np.iinfo(data.dtype)
    least, most = (0, 1) if info is None else (info.min.item(), info.max.item()) if floats else (info.min, info.max)
    for index, value in np.ndenumerate(values):
        if floats:
            finite, value = math.isfinite(value), value / (denominator * scaled)
            if finite and (cubic or data.dtype == np.float64):
                value = min(max(value, least), most)
        else:
            value = min(max(round(value), least), most)
        with np.errstate(over="ignore"):
            out[index] = np.array(value, np.float64 if floats else data.dtype).astype(data.dtype)
    return out


@grows(ResampledArrayConfig)
def resample(pool: Pool, name: str) -> Any:
    source = pool.pick(small)
    if source is None:
        return None
    volume, ups, downs = source.volume, [], []
    phase = phase_of(source.config, Naive("nm"))
    for p, low, high, v in zip(phase, volume.begin, volume.end, volume.voxel_size, strict=True):
        u, d = pool.draw(st.integers(0, 4)), pool.draw(st.integers(0, 4))
        new = Fraction(v * (d or 1), u or 1)
        if new.denominator == 1:
            grid = math.lcm(v, int(new))
            if p + -(-(low - p) // grid) * grid >= high or p + (-(-(low - p) // grid) + 1) * grid > high:
                new = Fraction(1, 2)
        ups.append(u if new.denominator == 1 else 1)
        downs.append(d if new.denominator == 1 else 1)
    orders, ways = (
        ([0, 1, 3], [None, "mean", "nearest", "mode"]) if volume.interpolatable else ([0], [None, "nearest", "mode"])
    )
    order, by = pool.draw(st.sampled_from(orders)), pool.draw(st.sampled_from(ways))
    return ResampledArrayConfig(name, source.config, ups, downs, order, by)
