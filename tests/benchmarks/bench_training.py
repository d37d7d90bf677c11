"""The README's tree as a training pipeline, through gunpowder's PreCache and without, beside one of gunpowder's own nodes.

Random crops of grey values in [0, 1] and of five masks, mirrored and transposed. Crops overlap in space, so that the
same chunks are needed again and again. Each pipeline with PreCache runs in a process of its own.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator
from typing import Any

import gunpowder as gp
import numpy as np
from timing import Comparison, Settings, in_new_process

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE

RAW, LABELS, MASKS = gp.ArrayKey("RAW"), gp.ArrayKey("LABELS"), gp.ArrayKey("MASKS")
WORKERS, QUEUE = 2, 4
Groups = list[tuple[str, list[int]]]


class BinarizeByHand(gp.BatchFilter):  # type: ignore[misc]
    """The node that one writes by hand: a channel for each group of ids."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups

    def setup(self) -> None:
        spec = self.spec[LABELS].copy()
        spec.dtype = np.dtype(np.uint8)
        self.provides(MASKS, spec)
        self.enable_autoskip()

    def prepare(self, request: Any) -> Any:
        needed = gp.BatchRequest()
        needed[LABELS] = gp.ArraySpec(roi=request[MASKS].roi)
        return needed

    def process(self, batch: Any, request: Any) -> Any:
        labels = batch[LABELS].data
        masks = np.stack([np.isin(labels, ids) for _, ids in self.groups]).astype(np.uint8)
        result = gp.Batch()
        spec = self.spec[MASKS].copy()
        spec.roi = request[MASKS].roi
        result[MASKS] = gp.Array(masks, spec)
        return result


def source_by_hand(store: str, groups: Groups) -> Any:
    sources = tuple(
        gp.ZarrSource(store, {key: dataset}, {key: gp.ArraySpec(interpolatable=key == RAW)})
        for key, dataset in ((RAW, "raw"), (LABELS, "labels/neurons"))
    )
    return sources + gp.MergeProvider() + gp.Normalize(RAW) + BinarizeByHand(groups)


def source_compiled(store: str, groups: Groups) -> Any:
    raw = gpa.ZarrArrayConfig("raw", store, "raw")
    labels = gpa.ZarrArrayConfig("labels", store, "labels/neurons")
    return gpa.compile_pipeline(
        {RAW: gpa.IntensitiesArrayConfig("n", raw, 0, 255), MASKS: gpa.BinarizeArrayConfig("m", labels, groups)}
    )


def milliseconds_a_batch(compiled: bool, store: str, groups: Groups, edge: int, count: int) -> float:
    """The time between batches, once the workers have begun and the queue was emptied."""
    logging.disable(logging.WARNING)
    source = (source_compiled if compiled else source_by_hand)(store, groups)
    pipeline = source + gp.RandomLocation() + gp.SimpleAugment() + gp.PreCache(QUEUE, WORKERS)
    request = gp.BatchRequest()
    request.add(RAW, (edge,) * 3)
    request.add(MASKS, (edge // 2,) * 3)
    with gp.build(pipeline):
        for _ in range(4 * QUEUE):
            pipeline.request_batch(request)
        began = time.perf_counter()
        for _ in range(count):
            pipeline.request_batch(request)
        return (time.perf_counter() - began) * 1e3 / count


def requests(store: str, groups: Groups, roi: gp.Roi) -> Iterator[Comparison]:
    """One batch of both arrays at one place."""

    def of(pipeline: Any) -> Any:
        pipeline.setup()
        request = gp.BatchRequest({key: gp.ArraySpec(roi=roi) for key in (RAW, MASKS)})
        return lambda: pipeline.request_batch(request)[MASKS].data

    compiled, by_hand = of(source_compiled(store, groups)), of(source_by_hand(store, groups))
    for state, prepare in (("cold", CACHE.clear), ("warm", None)):
        yield Comparison("the README's tree, 64^3", state, "gunpowder by hand", compiled, by_hand, prepare=prepare)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    labels = gpa.open_zarr(settings.store, "labels/neurons")
    ids = np.setdiff1d(labels[100:132, 100:132, 100:132], 0)
    groups = [(f"group {i}", [int(x)]) for i, x in enumerate(np.resize(ids, 5))]
    voxel = int(labels.voxel_size[0])
    yield from requests(settings.store, groups, gp.Roi(labels.roi.begin, (64 * voxel,) * 3))
    for size in (64,) if settings.short else (64, 128):
        count = 100 if size == 64 else 40
        measure = functools.partial(in_new_process, milliseconds_a_batch)
        yield Comparison(
            "training batches, PreCache",
            f"{size}^3",
            "gunpowder by hand",
            functools.partial(measure, True, settings.store, groups, size * voxel, count),
            functools.partial(measure, False, settings.store, groups, size * voxel, count),
            bar=1 / 1.5,
            runs=3,
            unit="ms a batch",
        )
