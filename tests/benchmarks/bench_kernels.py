"""Every computed array type over voxels in memory, and a tree of five arrays, beside numpy or scipy alone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from cases import Voxels, cases, repeated, scaled_by_hand
from timing import RUNS, Comparison, Settings, medians

import gp_arrays as gpa

#: Milliseconds that a read may take beyond its bar.
OVERHEAD = 1.0


def comparisons(settings: Settings) -> Iterator[Comparison]:
    logging.getLogger("gp_arrays").setLevel(logging.ERROR)  # that these ids have no metadata is known
    for size in (64,) if settings.short else (64, 192):
        grey, ids = crops(settings.store, size)
        yield from of_types(grey, ids)
        ours, by_hand = tree(grey, ids)
        yield Comparison("tree of five arrays in memory", f"{size}^3", "numpy", ours, by_hand, 1, OVERHEAD)


def crops(store: str, size: int) -> tuple[Voxels, Voxels]:
    """Grey values and ids from the middle of a store."""
    raw, labels = gpa.open_zarr(store, "raw"), gpa.open_zarr(store, "labels/neurons")
    box = tuple(slice((n - size) // 2, (n - size) // 2 + size) for n in raw.shape)
    return raw[box], labels[box]


def of_types(grey: Voxels, ids: Voxels) -> Iterator[Comparison]:
    size = len(grey)
    sources = (gpa.NumpyArrayConfig(name, data, voxel_size=(8,) * 3) for name, data in (("grey", grey), ("ids", ids)))
    roi = gpa.Roi((0,) * 3, (8 * size,) * 3)
    known = np.unique(ids)
    for case in cases(*sources, roi, known[known != 0].tolist()):
        array, length = case.config.array(), int(size * case.part)
        voxels = (ids if case.source == "ids" else grey)[(slice(0, length),) * 3]
        region = gpa.Roi(roi.begin, roi.shape * int(case.part * 4) / 4)
        by_hand = functools.partial(case.by_hand, voxels)
        yield Comparison(
            "array types in memory",
            f"{case.name}, {size}^3",
            "numpy, scipy",
            lambda array=array, region=region, equal=case.equal: array[region] if equal else (array[region], None)[1],
            by_hand,
            1.1,
            OVERHEAD,
            runs=3 if medians(by_hand, runs=1)[0] > 300 else RUNS,
        )


def tree(grey: Voxels, ids: Voxels) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Grey values scaled, beside the masks of coarse labels, cropped."""
    size = len(grey)
    raw = gpa.NumpyArrayConfig("raw", grey, voxel_size=(8, 8, 8))
    coarse = ids[::2, ::2, ::2].copy()
    labels = gpa.NumpyArrayConfig("labels", coarse, voxel_size=(16, 16, 16))
    one, two = np.unique(coarse)[-2:].tolist()
    fine = gpa.ResampledArrayConfig("fine", labels, (2, 2, 2), (1, 1, 1), 0)
    masks = gpa.BinarizeArrayConfig("masks", fine, [("one", [one]), ("two", [two])])
    scaled = gpa.IntensitiesArrayConfig("scaled", raw, 0, 255)
    both = gpa.ConcatArrayConfig("both", ["raw", "masks"], {"raw": scaled, "masks": masks})
    array = gpa.CropArrayConfig("crop", both, gpa.Roi((32,) * 3, (8 * (size - 8),) * 3)).array()
    box = (slice(4, size - 4),) * 3

    def by_hand() -> Voxels:
        fine_labels = repeated(coarse)[box]
        out = np.empty((3, *fine_labels.shape), np.float32)
        out[0] = scaled_by_hand(grey[box])
        out[1], out[2] = fine_labels == one, fine_labels == two
        return out

    return lambda: array[:], by_hand
