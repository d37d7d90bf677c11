"""What the tests of resampling share."""

import itertools

import numpy as np

import gp_arrays as gpa

RNG = np.random.default_rng(5)
WAYS = list(itertools.product((0, 1, 3), (None, "mean", "nearest", "mode")))
IDS = np.array([2**64 - 1, 2**64 - 2, 2**63, 2**53 + 1, 2**59 + 7, 5], np.uint64)

#: Shape, upsample, downsample: 2D and 3D, channels, both factors on an axis, up and down mixed.
CASES = [
    ((4, 9), (2, 1), (1, 3)),
    ((7, 8), (3, 4), (2, 1)),
    ((9, 4, 6), (1, 2, 2), (3, 1, 3)),
    ((3, 7, 4), (3, 2, 1), (1, 3, 2)),
    ((2, 4, 10, 4), (2, 3, 2), (2, 5, 1)),
]


def random_voxels(shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return RNG.random(shape) < 0.5
    if dtype.kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    extremes = np.array([info.min, info.max, info.max - 1, info.max // 2, 0, 1, 3], object)
    return RNG.choice(extremes, shape).astype(dtype)


def numpy_source(data, up=None, voxel_size=None, offset=None, **fields):
    """Voxels in memory, of a size that ``up`` divides; whatever their dtype, they may be averaged."""
    dims = len(up or voxel_size)
    axes = ("c", *"zyx"[-dims:]) if data.ndim > dims else None
    fields = {"interpolatable": True, **fields}
    return gpa.NumpyArrayConfig("n", data, offset=offset, voxel_size=voxel_size or up, axes=axes, **fields)


def resampled(source, up, down, order=1, by=None, name="r"):
    return gpa.ResampledArrayConfig(name, source, up, down, order, by)
