"""Reads of stored voxels beside plain zarr and TensorStore: cold with one thread and with two, and warm.

Cold: nothing is kept in memory, but the system keeps the files. Filling: what is decoded is kept. Warm: decoded chunks are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import zarr
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.model import threads
from gp_arrays.model.cache import CACHE

DATASETS = {"grey": "raw", "ids": "labels/neurons"}
#: Reads begin here on each axis, and so across chunks.
FIRST = 8
#: The most that a read may take of the time of plain zarr: cold with two threads, and warm.
BARS = {("grey", 64): (None, 1 / 5), ("grey", 192): (0.7, 1 / 2.5)}
BARS |= {("ids", 64): (None, 1 / 2.5), ("ids", 192): (0.8, 1 / 2)}


def no_cache() -> None:
    gpa.set_cache_bytes(0)


def empty_cache() -> None:
    gpa.set_cache_bytes(2**31)
    CACHE.clear()


def full_cache() -> None:
    gpa.set_cache_bytes(2**31)


def of_tensorstore(store: str, dataset: str, box: tuple[slice, ...], cached: bool) -> Callable[[], Any]:
    """Reads a dataset with TensorStore, which keeps decoded chunks if it is told to."""
    import tensorstore

    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{store}/{dataset}/"}}
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 2**31 if cached else 0}})
    opened = tensorstore.open(spec, context=context).result()
    return lambda: opened[box].read().result()


def comparisons(settings: Settings) -> Iterator[Comparison]:
    for source, dataset in DATASETS.items():
        array = gpa.open_zarr(settings.store, dataset)
        plain = zarr.open(settings.store, mode="r")[dataset]
        for size in (64,) if settings.short else (64, 192):
            box = (slice(FIRST, FIRST + size),) * 3
            cold, warm = BARS[source, size]

            def ours(array: Any = array, box: Any = box) -> Any:
                return array[box]

            def plainly(plain: Any = plain, box: Any = box) -> Any:
                return plain[box]

            rows: list[tuple[str, int, Callable[[], None], float | None]] = [
                ("cold, 1 thread", 1, no_cache, None if cold is None else 1.0),
                ("cold, 2 threads", 2, no_cache, cold),
                ("filling, 2 threads", 2, empty_cache, None),
                ("warm, 2 threads", 2, full_cache, warm),
            ]
            for name, count, prepare, bar in rows:
                group, case = f"reads, {name}", f"{array.dtype}, {size}^3"
                # around the measurement: to patch in each read would take as long as a small one
                with mock.patch.object(threads, "thread_count", lambda count=count: count):
                    yield Comparison(group, case, "zarr", ours, plainly, bar, prepare=prepare)
                    if count == 2 and prepare is not empty_cache:
                        theirs = of_tensorstore(settings.store, dataset, box, prepare is full_cache)
                        yield Comparison(group, case, "TensorStore", ours, theirs, prepare=prepare)
