"""Requests to gunpowder's own nodes and to those of this library, over stored voxels and over labels in memory.

Stored voxels come from the ``ZarrSource`` of each library; ours keeps decoded chunks, which is told as cold and warm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gunpowder as gp
import numpy as np
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.cli.sample import make_voxels
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
    voxel = array.voxel_size
    roi = gp.Roi(array.roi.begin + voxel * 8, voxel * size)
    half = gp.Roi(roi.begin, roi.shape / 2)

    def resampled(up: int, down: int) -> gp.BatchFilter:
        return gpa.Resample(IN, OUT, upsample=(up,) * 3, downsample=(down,) * 3, interp_order=0)

    def padded() -> gp.BatchFilter:
        return gp.Pad(IN, voxel * 32)

    rows: list[tuple[str, str, gp.BatchFilter | None, gp.ArrayKey, gp.BatchFilter | None, gp.ArrayKey, gp.Roi]] = [
        ("ZarrSource, uint8", "raw", None, IN, None, IN, roi),
        ("ZarrSource, uint64", "labels/neurons", None, IN, None, IN, roi),
        ("Intensities, Normalize", "raw", gpa.Intensities(IN, OUT, min=0, max=255), OUT, gp.Normalize(IN), IN, roi),
        ("Resample, DownSample", "raw", resampled(1, 2), OUT, gp.DownSample(IN, 2, OUT), OUT, roi),
        ("Resample, UpSample", "raw", resampled(2, 1), OUT, gp.UpSample(IN, 2, OUT), OUT, half),
        ("Crop, Crop", "raw", gpa.Crop(IN, OUT, roi=roi), OUT, gp.Crop(IN, roi), IN, roi),
        ("both under gp.Pad", "raw", padded(), IN, padded(), IN, roi - voxel * 16),
    ]
    for name, dataset, our_node, our_key, their_node, their_key, wanted in rows:
        ours = gpa.ZarrSource(IN, store, dataset)
        theirs = gp.ZarrSource(store, {IN: dataset}, {IN: gp.ArraySpec(interpolatable=dataset == "raw")})
        functions = (
            requests(ours if our_node is None else ours + our_node, our_key, wanted),
            requests(theirs if their_node is None else theirs + their_node, their_key, wanted),
        )
        for state, prepare in (("cold", CACHE.clear), ("warm", None)):
            yield Comparison(
                f"requests, {state}", f"{name}, {size}^3", "gunpowder's nodes", *functions, prepare=prepare
            )


def labelled() -> Iterator[Comparison]:
    """96^3 voxels in the middle of 160^3."""
    ids = np.tile(make_voxels((80, 80, 80))["neurons"], (2, 2, 2))
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
        )
