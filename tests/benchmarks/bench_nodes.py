"""Requests to gunpowder's own nodes and to those of this library, over stored voxels and over labels in memory.

Stored voxels come from the ``ZarrSource`` of each library; ours keeps decoded chunks, which is told as cold and warm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gunpowder as gp
import numpy as np
from scipy import ndimage
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE

IN, OUT = gp.ArrayKey("IN"), gp.ArrayKey("OUT")
OFFSETS = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (-3, 0, 0), (0, -9, 0), (0, 0, -9)]


def requests(pipeline: Any, key: gp.ArrayKey, roi: gp.Roi) -> Callable[[], Any]:
    """Asks a pipeline for one batch."""
    pipeline.setup()
    request = gp.BatchRequest({key: gp.ArraySpec(roi=roi)})
    return lambda: pipeline.request_batch(request)[key].data


def comparisons(settings: Settings) -> Iterator[Comparison]:
    logging.getLogger("gunpowder").setLevel(logging.ERROR)
    for size in (64,) if settings.short else (64, 192):
        yield from stored(settings.store, size)
    yield from labelled()


def stored(store: str, size: int) -> Iterator[Comparison]:
    array = gpa.open_zarr(store, "raw")
    extent, voxel = array.roi, array.voxel_size
    roi = gp.Roi(extent.begin + voxel * 8, voxel * size)
    small = gp.Roi(roi.begin, roi.shape / 2)
    scaled = {"min": 0, "max": 255}

    def raw(theirs: bool = True, dataset: str = "raw") -> Any:
        if not theirs:
            return gpa.ZarrSource(IN, store, dataset)
        return gp.ZarrSource(store, {IN: dataset}, {IN: gp.ArraySpec(interpolatable=dataset == "raw")})

    labels = "labels/neurons"
    rows: list[tuple[str, gp.ArrayKey, Any, gp.ArrayKey, Any, gp.Roi]] = [
        ("ZarrSource, uint8", IN, raw(False), IN, raw(), roi),
        ("ZarrSource, uint64", IN, raw(False, labels), IN, raw(dataset=labels), roi),
        (
            "Intensities, Normalize",
            OUT,
            raw(False) + gpa.Intensities(IN, OUT, **scaled),
            IN,
            raw() + gp.Normalize(IN),
            roi,
        ),
        (
            "Resample, DownSample",
            OUT,
            raw(False) + gpa.Resample(IN, OUT, upsample=(1, 1, 1), downsample=(2, 2, 2), interp_order=0),
            OUT,
            raw() + gp.DownSample(IN, 2, OUT),
            roi,
        ),
        (
            "Resample, UpSample",
            OUT,
            raw(False) + gpa.Resample(IN, OUT, upsample=(2, 2, 2), downsample=(1, 1, 1), interp_order=0),
            OUT,
            raw() + gp.UpSample(IN, 2, OUT),
            small,
        ),
        ("Crop, Crop", OUT, raw(False) + gpa.Crop(IN, OUT, roi=roi), IN, raw() + gp.Crop(IN, roi), roi),
        (
            "both under gp.Pad",
            IN,
            raw(False) + gp.Pad(IN, voxel * 32),
            IN,
            raw() + gp.Pad(IN, voxel * 32),
            roi - voxel * 16,
        ),
    ]
    for name, key, ours, their_key, theirs, wanted in rows:
        functions = requests(ours, key, wanted), requests(theirs, their_key, wanted)
        for state, prepare in (("cold", CACHE.clear), ("warm", None)):
            yield Comparison(
                f"requests, {state}", f"{name}, {size}^3", "gunpowder's nodes", *functions, prepare=prepare
            )


def cells(n: int) -> np.ndarray[Any, Any]:
    """Labels of the nearest of random points, with background between some."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((n, n, n), bool)
    seeds[tuple(rng.integers(0, n, (3, (n // 24) ** 3)))] = True
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    ids = np.ravel_multi_index(tuple(nearest), seeds.shape).astype(np.uint64)
    return np.where(ids % np.uint64(5) == 0, np.uint64(0), ids)


def labelled() -> Iterator[Comparison]:
    """96^3 voxels in the middle of 160^3."""
    ids = cells(160)
    roi = gp.Roi((32, 32, 32), (96, 96, 96))

    def over_ids(node: gp.BatchFilter, key: gp.ArrayKey, inner: int) -> Callable[[], Any]:
        ask = requests(gpa.NumpySource(IN, ids) + node, key, roi)
        return lambda: ask()[(..., *(slice(inner, 96 - inner),) * 3)]

    affinities = gpa.Affinities(IN, OUT, offsets=OFFSETS), gp.AddAffinities(OFFSETS, IN, OUT, dtype=np.uint8)
    rows: list[tuple[str, gp.BatchFilter, gp.BatchFilter, gp.ArrayKey, int]] = [
        ("6 affinities, AddAffinities", *affinities, OUT, 0),
        # gunpowder reads nothing around the request, so its labels do not shrink towards what lies there
        *(
            (f"Erode by {n}, GrowBoundary", gpa.Erode(IN, OUT, steps=n), gp.GrowBoundary(IN, steps=n), IN, n)
            for n in (1, 2)
        ),
    ]
    for name, ours, theirs, key, inner in rows:
        yield Comparison(
            "requests of targets",
            f"{name}, 96^3",
            "gunpowder's nodes",
            over_ids(ours, OUT, inner),
            over_ids(theirs, key, inner),
            runs=3,
        )
