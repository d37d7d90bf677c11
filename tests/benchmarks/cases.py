"""Array types over grey values and ids, and for each the numpy that one would write by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from bench_reading import DATASETS, FIRST
from scipy import ndimage

import gp_arrays as gpa

Voxels = np.ndarray[Any, Any]
GROUPS = 5
OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


@dataclass(frozen=True)
class Case:
    """An array, and functions of the voxels of its source that do the same work.

    Args:
        name: The array type and what else tells it from others.
        config: The array.
        source: Which voxels the functions take: ``"grey"``, ``"ids"``, or ``""`` for any, of which only the shape matters.
        by_hand: With numpy.
        lazy: With dask, as far as dask can.
        equal: False if the functions do less at the edges of the roi, or round otherwise.
        part: How much of the roi is read along each axis.
    """

    name: str
    config: gpa.ArrayConfig
    source: str
    by_hand: Callable[[Voxels], Voxels]
    lazy: Callable[[Any], Any] | None = None
    equal: bool = True
    part: float = 1


def masks_by_hand(data: Voxels, groups: list[list[int]]) -> Voxels:
    out = np.empty((len(groups), *data.shape), bool)
    for channel, (first, *others) in zip(out, groups, strict=True):
        np.equal(data, first, out=channel)
        for other in others:
            channel |= data == other
    return out.view(np.uint8)


def scaled_by_hand(data: Voxels) -> Voxels:
    return np.divide(data, np.float32(255), dtype=np.float32)


def mean_by_hand(data: Voxels) -> Voxels:
    n = len(data) // 2
    return np.rint(data.reshape(n, 2, n, 2, n, 2).mean((1, 3, 5))).astype(np.uint8)


def mode_by_hand(data: Voxels) -> Voxels:
    """Only the sorting that counting takes."""
    n = len(data) // 2
    return np.sort(data.reshape(n, 2, n, 2, n, 2).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8), axis=-1)


def repeated(data: Any) -> Any:
    for axis in range(3):
        data = np.repeat(data, 2, axis)
    return data


def zoomed(order: int) -> Callable[[Voxels], Voxels]:
    return lambda data: ndimage.zoom(data, 2, order=order, mode="nearest", grid_mode=True)


def affinities_by_hand(ids: Voxels) -> Voxels:
    out = np.zeros((3, *ids.shape), bool)
    for axis in range(3):
        here, there = np.moveaxis(ids, axis, 0)[1:], np.moveaxis(ids, axis, 0)[:-1]
        np.moveaxis(out[axis], axis, 0)[1:] = (here == there) & (here != 0)
    return out.view(np.uint8)


def eroded_by_hand(ids: Voxels) -> Voxels:
    cross = ndimage.generate_binary_structure(3, 1)
    same = ndimage.minimum_filter(ids, footprint=cross) == ndimage.maximum_filter(ids, footprint=cross)
    return np.where(same, ids, np.uint64(0))


def distance_by_hand(mask: Voxels) -> Voxels:
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(mask == 0)
    return np.clip(inside - outside, -8, 8).astype(np.float32)


def described_by_hand(ids: Voxels) -> Voxels:
    """The moments of each label in a Gaussian window, which is most of the work of local shape descriptors."""
    out = np.zeros((10, *ids.shape), np.float32)
    grid = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in ids.shape), indexing="ij")
    weights = [np.ones(ids.shape), *grid, *(grid[i] * grid[j] for i in range(3) for j in range(i, 3))]
    for label in np.unique(ids[ids != 0]):
        mask = ids == label
        for channel, weight in zip(out, weights, strict=True):
            moment = ndimage.gaussian_filter(mask * weight, 4, mode="constant", truncate=3.0)
            np.copyto(channel, moment, where=mask, casting="same_kind")
    return out


def cases(grey: gpa.ArrayConfig, ids: gpa.ArrayConfig, roi: gpa.Roi, known: list[int]) -> Iterator[Case]:
    """One of every type that is computed, and the sources themselves.

    Args:
        grey, ids: Sources of uint8 grey values and of uint64 ids, with one extent.
        roi: What is read of them.
        known: Ids that there are, more than five of them.
    """
    room = np.uint64(2**40)
    voxel = grey.array().voxel_size
    few = [[i] for i in known[:GROUPS]]
    many = [[*known[k::GROUPS], *range(100 + k, 150, GROUPS)][:10] for k in range(GROUPS)]

    def named(groups: list[list[int]]) -> list[tuple[str, list[int]]]:
        return [(f"g{k}", group) for k, group in enumerate(groups)]

    def resampled(source: gpa.ArrayConfig, up: int, down: int, order: int, by: str | None = None) -> gpa.ArrayConfig:
        return gpa.ResampledArrayConfig("r", source, (up,) * 3, (down,) * 3, order, by)

    def lazy_masks(groups: list[list[int]]) -> Callable[[Any], Any]:
        return lambda d: np.stack([np.isin(d, group) for group in groups]).astype(np.uint8)

    masks = gpa.BinarizeArrayConfig("b", ids, named(few))
    yield Case("source uint8", grey, "grey", np.copy, lambda d: d)
    yield Case("source uint64", ids, "ids", np.copy, lambda d: d)
    yield Case(
        "Intensities",
        gpa.IntensitiesArrayConfig("i", grey, 0, 255),
        "grey",
        scaled_by_hand,
        lambda d: d.astype(np.float32) / np.float32(255),
    )
    yield Case(
        "Threshold",
        gpa.ThresholdArrayConfig("t", grey, 100),
        "grey",
        lambda d: (d > 100).view(np.uint8),
        lambda d: (d > 100).astype(np.uint8),
    )
    yield Case("Binarize uint64, 5 ids", masks, "ids", lambda d: masks_by_hand(d, few), lazy_masks(few))
    values = [[i] for i in range(100, 100 + GROUPS)]
    yield Case(
        "Binarize uint8, 5 values",
        gpa.BinarizeArrayConfig("b", grey, named(values)),
        "grey",
        lambda d: masks_by_hand(d, values),
        lazy_masks(values),
    )
    yield Case(
        "Binarize uint64, 50 ids",
        gpa.BinarizeArrayConfig("b", ids, named(many)),
        "ids",
        lambda d: np.stack([np.isin(d, np.array(group, np.uint64)) for group in many]).view(np.uint8),
        lazy_masks(many),
    )
    yield Case(
        "LogicalOr of 5",
        gpa.LogicalOrArrayConfig("o", masks),
        "ids",
        lambda d: np.isin(d, np.array(few, np.uint64)).view(np.uint8),
        lambda d: lazy_masks(few)(d).max(0),
    )
    yield Case("Crop uint8", gpa.CropArrayConfig("c", grey, roi), "grey", np.copy, lambda d: d)
    yield Case("Crop uint64", gpa.CropArrayConfig("c", ids, roi), "ids", np.copy, lambda d: d)
    yield Case(
        "Resampled down 2, nearest",
        resampled(ids, 1, 2, 0),
        "ids",
        lambda d: d[::2, ::2, ::2].copy(),
        lambda d: d[::2, ::2, ::2],
    )
    yield Case(
        "Resampled down 2, mean",
        resampled(grey, 1, 2, 1),
        "grey",
        mean_by_hand,
        lambda d: coarsened(d).round().astype(np.uint8),
    )
    yield Case("Resampled down 2, mode", resampled(ids, 1, 2, 0, "mode"), "ids", mode_by_hand, equal=False)
    yield Case("Resampled up 2, nearest", resampled(ids, 2, 1, 0), "ids", repeated, repeated, part=0.5)
    for name, order in (("linear", 1), ("cubic", 3)):
        yield Case(
            f"Resampled up 2, {name}", resampled(grey, 2, 1, order), "grey", zoomed(order), equal=False, part=0.5
        )
    three = gpa.ConcatArrayConfig("c", ["a", "b", "d"], dict.fromkeys("abd", grey))
    yield Case("Concat of 3", three, "grey", lambda d: np.stack([d] * 3), lambda d: np.stack([d] * 3))
    yield Case("Select 1 of 3", gpa.SelectArrayConfig("s", three, channels=1), "grey", np.copy, lambda d: d)
    yield Case(
        "Sum of 3, uint8",
        gpa.SumArrayConfig("s", [grey, grey, grey]),
        "grey",
        lambda d: d.astype(np.uint16) + d + d,
        lambda d: d.astype(np.uint16) + d + d,
    )
    yield Case("Sum of 2, uint64", gpa.SumArrayConfig("s", [ids, ids]), "ids", lambda d: d + d, lambda d: d + d)
    yield Case(
        "MergeInstances of 2",
        gpa.MergeInstancesArrayConfig("m", [ids, ids]),
        "ids",
        lambda d: np.where(d != 0, d, np.where(d != 0, d + room, np.uint64(0))),
        lambda d: np.where(d != 0, d, np.where(d != 0, d + room, np.uint64(0))),
    )
    table = np.array([0, *known], np.uint64)
    yield Case(
        "Relabel",
        gpa.RelabelArrayConfig("r", ids, mapping=[(i, k + 1) for k, i in enumerate(known)]),
        "ids",
        # the rows of a dense table, by a search of each voxel
        lambda d: np.searchsorted(table, d).astype(np.uint64),
    )
    yield Case("Constant", gpa.ConstantArrayConfig("c", grey, 7), "", lambda d: np.full(d.shape, 7, np.uint8))
    yield Case("Ones", gpa.OnesArrayConfig("o", grey), "", lambda d: np.ones(d.shape, bool))
    yield Case(
        "MissingAnnotations, 5 groups",
        gpa.MissingAnnotationsMaskConfig("m", ids, named(few)),
        "ids",
        lambda d: np.stack([d > 0] * GROUPS).view(np.uint8),
    )
    yield Case(
        "Affinities, 3 offsets", gpa.AffinitiesArrayConfig("a", ids, OFFSETS), "ids", affinities_by_hand, equal=False
    )
    yield Case("Erode by 1", gpa.ErodeArrayConfig("e", ids), "ids", eroded_by_hand, equal=False)
    mask = gpa.ThresholdArrayConfig("t", grey, 100)
    yield Case(
        "Distance to 8 voxels",
        gpa.DistanceArrayConfig("d", mask, 8 * int(voxel[0]), "signed"),
        "grey",
        lambda d: distance_by_hand(d > 100),
        equal=False,
    )
    # the function sees no voxels around those that it describes
    quarter = gpa.CropArrayConfig("q", ids, gpa.Roi(roi.begin, roi.shape / 4))
    described = gpa.LSDArrayConfig("l", quarter, 4 * int(voxel[0]))
    yield Case("LSD", described, "ids", described_by_hand, equal=False, part=0.25)


def stored_cases(store: str, size: int) -> Iterator[tuple[Case, gpa.Roi]]:
    """The cases over a Zarr store, with the region that is read of each."""
    grey, ids = (gpa.ZarrArrayConfig(name, store, dataset) for name, dataset in DATASETS.items())
    raw = grey.array()
    roi = gpa.Roi(raw.roi.begin + raw.voxel_size * FIRST, raw.voxel_size * size)
    known = np.unique(ids.array()[roi])
    for case in cases(grey, ids, roi, known[known != 0].tolist()):
        yield case, gpa.Roi(roi.begin, roi.shape * int(case.part * 4) / 4)


def coarsened(data: Any) -> Any:
    import dask.array

    return dask.array.coarsen(np.mean, data, dict.fromkeys(range(3), 2))
