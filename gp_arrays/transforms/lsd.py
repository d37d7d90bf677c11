"""Local shape descriptors: where a label lies around each of its voxels, and how it extends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError, quoted
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.checks import require_ids
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels
from ..units import Quantity

#: How many times sigma the Gaussian reaches.
TRUNCATE = 3
#: A smaller variance, in squared world units, counts as this: nothing is divided by zero.
LEAST_VARIANCE = 1e-3
#: Voxels that the Gaussian may reach.
MOST_RADIUS = 2**16
#: Descriptors are multiples of this; float32 holds them exactly.
STEP = 2.0**-24


def radius(sigma: float, size: float) -> int:
    """How many voxels of a size the Gaussian reaches.

    >>> radius(8, 2)
    12
    """
    return int(TRUNCATE * sigma / size + 0.5)


def local_shape_descriptors(
    labels: Voxels, coarse: Voxels, first: Sequence[int], factor: int, sizes: Sequence[int], sigma: Sequence[float]
) -> Voxels:
    """float32 descriptors of every voxel of ``labels``, channels first; 0 where the label is 0.

    Args:
        labels: The labels to describe.
        coarse: Every ``factor``-th label, those around included.
        first: In which voxel of ``coarse``, on each axis, the first of ``labels`` lies, counted in voxels
            of ``labels``.
        factor: Voxels of ``labels`` to a voxel of ``coarse``, on each axis.
        sizes: The size of a voxel of ``labels``.
        sigma: Of the Gaussian, on each axis.
    """
    from scipy import ndimage

    dims = labels.ndim
    kernels = [_kernels(s, size * factor) for s, size in zip(sigma, sizes, strict=True)]
    out = np.zeros((len(channel_names("zyx"[-dims:])), *labels.shape), np.float32)
    ids, numbers = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(numbers.reshape(labels.shape) + 1)
    cells = [(np.arange(n) + f) // factor for n, f in zip(labels.shape, first, strict=True)]
    for label, box in zip(ids, boxes, strict=True):
        if label == 0 or box is None:
            continue
        # the voxels of coarse below the box, and those that they see
        spans = [(int(cell[part][0]), int(cell[part][-1]) + 1) for cell, part in zip(cells, box, strict=True)]
        reach = [len(kernel[0]) // 2 for kernel in kernels]
        seen = tuple(slice(max(0, a - r), b + r) for (a, b), r in zip(spans, reach, strict=True))
        inner = tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(spans, seen, strict=True))
        described = _describe((coarse[seen] == label).astype(np.float64), inner, kernels, sigma)
        index = np.ix_(*(cell[part] - a for cell, part, (a, _) in zip(cells, box, spans, strict=True)))
        mask = labels[box] == label
        np.copyto(out[(slice(None), *box)], described[(slice(None), *index)], where=mask)
    return out


def _kernels(sigma: float, size: float) -> tuple[Voxels, Voxels, Voxels]:
    """The Gaussian on voxels of a size, times the distance to its middle, times the squared distance."""
    distance = np.arange(-radius(sigma, size), radius(sigma, size) + 1) * size
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    weights /= weights.sum()
    return weights, weights * distance, weights * distance**2


def _describe(mask: Voxels, inner: tuple[slice, ...], kernels: Any, sigma: Sequence[float]) -> Voxels:
    """The descriptors of a mask, normalized to 0 to 1, in the part ``inner``."""
    dims = mask.ndim
    moments = {powers: moment[inner] for powers, moment in _moments(mask, kernels, 0, ())}
    size = moments[(0,) * dims]
    weight = np.where(size > 0, size, 1)
    unit = np.eye(dims, dtype=int)
    mean = [moments[tuple(unit[i].tolist())] / weight for i in range(dims)]

    def covariance(i: int, j: int) -> Voxels:
        result: Voxels = moments[tuple((unit[i] + unit[j]).tolist())] / weight - mean[i] * mean[j]
        return result

    variance = [np.maximum(covariance(i, i), LEAST_VARIANCE) for i in range(dims)]
    channels = [mean[i] / sigma[i] * 0.5 + 0.5 for i in range(dims)]
    channels += [variance[i] / sigma[i] ** 2 for i in range(dims)]
    for i, j in itertools.combinations(range(dims), 2):
        channels.append(covariance(i, j) / np.sqrt(variance[i] * variance[j]) * 0.5 + 0.5)
    # the last digits depend on the order of the sums; in these steps they do not show
    result: Voxels = np.rint(np.clip(np.stack([*channels, size]), 0, 1) / STEP) * STEP
    return result.astype(np.float32)


def _moments(
    data: Voxels, kernels: Any, axis: int, powers: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Voxels]]:
    """The moments of a mask up to the second, by the power of each axis: what axes share is computed once."""
    from scipy import ndimage

    if axis == data.ndim:
        yield powers, data
        return
    for power in range(3 - sum(powers)):
        # a correlation looks ahead where its weights are positive: the distance counts from the voxel
        part = ndimage.correlate1d(data, kernels[axis][power], axis=axis, mode="constant")
        yield from _moments(part, kernels, axis + 1, (*powers, power))


def channel_names(axes: Sequence[str]) -> tuple[str, ...]:
    """Names of the descriptors.

    >>> channel_names("yx")
    ('offset_y', 'offset_x', 'variance_y', 'variance_x', 'pearson_yx', 'size')
    """
    pairs = [f"pearson_{a}{b}" for a, b in itertools.combinations(axes, 2)]
    return (*(f"offset_{a}" for a in axes), *(f"variance_{a}" for a in axes), *pairs, "size")


def to_sigma(value: Any) -> tuple[Quantity, ...]:
    """attrs converter: a length above zero, or one for each spatial axis."""
    lengths = (Quantity.parse(value),) if isinstance(value, (int, float, str, Quantity)) else fields.to_lengths(value)
    if not lengths or any(length.value <= 0 for length in lengths):
        raise ConfigError("not above zero", found=quoted(value), allowed="a length, or one for each spatial axis")
    return lengths


@attrs.frozen(eq=False, repr=False)
class LSDArrayConfig(OneSourceConfig):
    """Local shape descriptors, float32 between 0 and 1: what a label is like around each voxel.

    In a Gaussian window around the voxel, cut off at three sigma: where the centre of the label's voxels is
    (``offset_z`` to ``offset_x``: 0.5 is at the voxel, 1 is one sigma ahead), how far they spread
    (``variance``, in squared sigma), how their coordinates go together (``pearson``; 0.5 is not at all)
    and what part of the window they fill (``size``). 10 channels in 3D, 6 in 2D; all are 0 at label 0.

    Args:
        name: The array's name.
        source_array_config: Integer ids, without channels, never averaged.
        sigma: Of the Gaussian: a length, or one for each spatial axis.
        downsample: Statistics are taken of every so many-th voxel on each axis, beginning where the
            array does, which is faster; 1 takes all.

    >>> import gp_arrays as gpa, numpy as np
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.array([[3, 3, 0]], np.uint64), voxel_size=(8, 8))
    >>> array = gpa.LSDArrayConfig("shape", ids, sigma=16).array()
    >>> array.channels
    ('offset_y', 'offset_x', 'variance_y', 'variance_x', 'pearson_yx', 'size')
    >>> array[1, 0].round(2)  # the label goes on to the right of the first voxel, to the left of the second
    array([0.62, 0.38, 0.  ], dtype=float32)
    """

    sigma: tuple[Quantity, ...] = attrs.field(converter=to_sigma)
    downsample: int = attrs.field(default=1, converter=fields.to_count)

    def infer_from(self, source: Meta) -> Meta:
        require_ids(source, "LSD")
        if source.dims not in (2, 3):
            raise TreeError("LSD needs 2 or 3 spatial axes", found=", ".join(source.spatial_axes))
        if len(self.sigma) not in (1, source.dims):
            raise TreeError(
                "sigma does not have one length per spatial axis",
                found=f"{len(self.sigma)}",
                allowed=f"one, or {source.dims}: {', '.join(source.spatial_axes)}",
            )
        cell, _ = self._cells(source)
        if any(radius(sigma, size) > MOST_RADIUS for sigma, size in zip(self._sigma(source), cell, strict=True)):
            largest = ", ".join(map(str, self.sigma))
            raise TreeError("sigma is too large", found=largest, allowed=f"a Gaussian of up to {MOST_RADIUS} voxels")
        names = channel_names(source.spatial_axes)
        return attrs.evolve(
            source, dtype=np.float32, nonspatial=(Axis(CHANNEL, len(names), names),), interpolatable=True
        )

    def _sigma(self, meta: Meta) -> list[float]:
        lengths = self.sigma * meta.dims if len(self.sigma) == 1 else self.sigma
        return [float(length.to(meta.unit)) for length in lengths]

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region:
        cell, corner = self._cells(meta)
        reach = [radius(sigma, c) * c for sigma, c in zip(self._sigma(meta), cell, strict=True)]
        return meta.clip(region.whole().snap(cell, corner).grow(reach))

    def _cells(self, meta: Meta) -> tuple[list[int], tuple[int, ...]]:
        """The size of a coarse voxel, and a corner of the grid of those."""
        corner = (0,) * meta.dims if meta.roi is None else meta.region.begin
        return [self.downsample * int(v) for v in meta.voxel_size], corner

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        # the context begins at a corner of a coarse voxel, as does the array
        coarse = block.data[(slice(None, None, self.downsample),) * meta.dims]
        sizes = [int(v) for v in meta.voxel_size]
        first = [(b - o) // v for b, o, v in zip(region.begin, block.region.begin, sizes, strict=True)]
        labels = block.crop(region.whole())
        return local_shape_descriptors(labels, coarse, first, self.downsample, sizes, self._sigma(meta))
