"""The oracles of targets for training, and random trees with them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.transforms.affinities import AffinitiesArrayConfig
from gp_arrays.transforms.distance import DistanceArrayConfig
from gp_arrays.transforms.erode import ErodeArrayConfig
from gp_arrays.transforms.lsd import LSDArrayConfig

from .simple import common_part
from .simple_trees import ids, small
from .trees import Grown, Pool, grows


def _labels_and_mask(config: Any, naive: Naive) -> tuple[Volume, Any]:
    labels = naive(config.source_array_config)
    if config.mask_array_config is None:
        return labels, np.ones(labels.shape, bool)
    labels, mask = common_part([labels, naive(config.mask_array_config)])
    return labels, mask.data != 0


@naive(AffinitiesArrayConfig)
def affinities(config: AffinitiesArrayConfig, naive: Naive) -> Volume:
    labels, mask = _labels_and_mask(config, naive)
    out = np.zeros((len(config.offsets), *labels.shape), np.uint8)
    for channel, offset in enumerate(config.offsets):
        for index in np.ndindex(*labels.shape):
            other = tuple(a + b for a, b in zip(index, offset, strict=True))
            if any(not 0 <= a < n for a, n in zip(other, labels.shape, strict=True)):
                continue
            if config.output == "mask":
                out[(channel, *index)] = mask[index] and mask[other]
            else:
                one = int(labels.data[index])
                out[(channel, *index)] = one != 0 and one == int(labels.data[other])
    names = tuple(",".join(map(str, offset)) for offset in config.offsets)
    return labels.with_data(out, nonspatial=("c",), channels=names, interpolatable=False, averaged=False)


@naive(ErodeArrayConfig)
def erode(config: ErodeArrayConfig, naive: Naive) -> Volume:
    labels, mask = _labels_and_mask(config, naive)
    out = labels.data.copy()
    spans = [range(-config.steps, config.steps + 1)] * labels.dims
    if config.only_xy:
        spans[0] = range(1)
    near = [step for step in itertools.product(*spans) if sum(map(abs, step)) <= config.steps]
    for index in np.ndindex(*labels.shape):
        seen = set()
        for step in near:
            other = tuple(a + b for a, b in zip(index, step, strict=True))
            if all(0 <= a < n for a, n in zip(other, labels.shape, strict=True)) and mask[other]:
                seen.add(int(labels.data[other]))
        if len(seen) > 1 or seen == {0}:
            out[index] = 0
    return labels.with_data(out, interpolatable=False, averaged=False)


@naive(DistanceArrayConfig)
def distance(config: DistanceArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    (reach,) = naive.lengths([config.reach])
    out = np.full(source.data.shape, reach, np.float32)
    places = np.argwhere(np.ones(source.shape, bool))
    for index in np.ndindex(*source.data.shape[: len(source.nonspatial)]):
        values = source.data[index].reshape(-1)
        for at, voxel in enumerate(places.tolist()):
            others = (places[values != values[at]] - voxel).tolist()
            squared = [sum((step * v) ** 2 for step, v in zip(o, source.voxel_size, strict=True)) for o in others]
            out[(*index, *voxel)] = min([math.sqrt(square) for square in squared], default=reach)
    out = np.minimum(out, np.float32(reach))
    if config.output == "signed":
        out[source.data == 0] *= -1
    return source.with_data(out, interpolatable=True)


@naive(LSDArrayConfig)
def local_shape_descriptors(config: LSDArrayConfig, naive: Naive) -> Volume:
    """Exact sums over all voxels, rounded once to float32."""
    source, factor = naive(config.source_array_config), config.downsample
    dims, axes = source.dims, "zyx"[-source.dims :]
    sigma = naive.lengths(config.sigma * dims if len(config.sigma) == 1 else config.sigma)
    size = [v * factor for v in source.voxel_size]
    reach = [math.floor(3 * s / v + 0.5) for s, v in zip(sigma, size, strict=True)]
    weights = [
        {k: math.exp(-0.5 * (k * v / s) ** 2) for k in range(-r, r + 1)}
        for r, v, s in zip(reach, size, sigma, strict=True)
    ]
    total = math.prod(math.fsum(weight.values()) for weight in weights)
    pairs = list(itertools.combinations(range(dims), 2))
    names = [f"{what}_{a}" for what in ("offset", "variance") for a in axes]
    names += [f"pearson_{axes[i]}{axes[j]}" for i, j in pairs] + ["size"]
    out = np.zeros((len(names), *source.shape), np.float32)
    sampled = [p for p in np.ndindex(*source.shape) if all(i % factor == 0 for i in p)]
    for index, label in np.ndenumerate(source.data):
        if label == 0:
            continue
        seen = []
        for other in sampled:
            steps = [o // factor - p // factor for o, p in zip(other, index, strict=True)]
            if source.data[other] == label and all(abs(k) <= r for k, r in zip(steps, reach, strict=True)):
                far = [k * v for k, v in zip(steps, size, strict=True)]
                seen.append((math.prod(w[k] for w, k in zip(weights, steps, strict=True)), far))
        part = math.fsum(weight for weight, _ in seen)
        mean = [math.fsum(w * far[i] for w, far in seen) / (part or 1) for i in range(dims)]

        def covariance(i: int, j: int, seen: Any = seen, part: float = part, mean: Any = mean) -> float:
            return math.fsum(w * (far[i] - mean[i]) * (far[j] - mean[j]) for w, far in seen) / (part or 1)

        variance = [max(covariance(i, i), 1e-3) for i in range(dims)]
        values = [m / s * 0.5 + 0.5 for m, s in zip(mean, sigma, strict=True)]
        values += [v / s**2 for v, s in zip(variance, sigma, strict=True)]
        values += [covariance(i, j) / math.sqrt(variance[i] * variance[j]) * 0.5 + 0.5 for i, j in pairs]
        out[(slice(None), *index)] = [round(min(max(v, 0), 1) * 2**24) / 2**24 for v in [*values, part / total]]
    return source.with_data(out, nonspatial=("c",), channels=tuple(names), interpolatable=True)


def _few(volume: Volume) -> bool:
    """True if the volume is small enough to compare each voxel with each other one."""
    return volume.data.size <= 200


def _a_mask(pool: Pool, labels: Grown) -> Any:
    """None, or an array that overlaps the labels and lies on their grid."""
    if pool.draw(st.booleans()):
        return None
    other = pool.pick(lambda volume: small(volume) and not volume.nonspatial)
    fits = other is not None and other.volume.voxel_size == labels.volume.voxel_size
    if other is None or not fits:
        return None
    a, b = labels.volume, other.volume
    on_grid = all((p - q) % v == 0 for p, q, v in zip(a.begin, b.begin, a.voxel_size, strict=True))
    overlap = all(max(p, q) < min(r, s) for p, q, r, s in zip(a.begin, b.begin, a.end, b.end, strict=True))
    return other.config if on_grid and overlap else None


@grows(AffinitiesArrayConfig)
def grow_affinities(pool: Pool, name: str) -> Any:
    source = pool.pick(ids)
    if source is None:
        return None
    offset = st.tuples(*[st.integers(-3, 3)] * source.volume.dims)
    offsets = pool.draw(st.lists(offset, min_size=1, max_size=3, unique=True))
    output = pool.draw(st.sampled_from(["affinities", "mask"]))
    return AffinitiesArrayConfig(name, source.config, offsets, output, _a_mask(pool, source))


@grows(ErodeArrayConfig)
def grow_erode(pool: Pool, name: str) -> Any:
    source = pool.pick(lambda volume: ids(volume) and _few(volume))
    if source is None:
        return None
    only_xy = source.volume.dims == 3 and pool.draw(st.booleans())
    return ErodeArrayConfig(name, source.config, pool.draw(st.integers(1, 3)), only_xy, _a_mask(pool, source))


@grows(DistanceArrayConfig)
def grow_distance(pool: Pool, name: str) -> Any:
    source = pool.pick(lambda v: _few(v) and v.data.dtype.kind in "uib" and not v.averaged)
    if source is None:
        return None
    reach = pool.draw(st.integers(1, 20) | st.just("1 um"))
    return DistanceArrayConfig(name, source.config, reach, pool.draw(st.sampled_from(["boundary", "signed"])))


@grows(LSDArrayConfig)
def grow_lsd(pool: Pool, name: str) -> Any:
    source = pool.pick(lambda volume: ids(volume) and _few(volume))
    if source is None:
        return None
    one = st.integers(1, 10)
    sigma = pool.draw(one | st.tuples(*[one] * source.volume.dims))
    return LSDArrayConfig(name, source.config, sigma, pool.draw(st.integers(1, 3)))
