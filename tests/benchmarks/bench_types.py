"""Every computed array type over stored voxels: cold and warm beside zarr and numpy, cold beside dask.

Cold: no chunk is kept yet, and what is decoded is kept. Warm: all chunks are. dask stands for the lazy operations of
funlib.persistence. The bars follow from those of the sources and from the time of the kernel alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import zarr
from bench_reading import BARS, DATASETS, FIRST
from cases import Case, stored_cases
from timing import Comparison, Settings, medians

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE


def comparisons(settings: Settings) -> Iterator[Comparison]:
    gpa.set_cache_bytes(2**31)
    logging.getLogger("gp_arrays").setLevel(logging.ERROR)  # that these ids have no metadata is known
    for size in (64,) if settings.short else (64, 192):
        for case, region in stored_cases(settings.store, size):
            yield from of_case(case, settings.store, region, size)


def of_case(case: Case, store: str, region: gpa.Roi, size: int) -> Iterator[Comparison]:
    array = case.config.array()
    length = int(size * case.part)
    box = (slice(FIRST, FIRST + length),) * 3
    plain = {name: zarr.open(store, mode="r")[dataset] for name, dataset in DATASETS.items()}.get(case.source)
    voxels = np.empty((length,) * 3, np.uint8) if plain is None else plain[box]

    def ours() -> Any:
        result = array[region]
        return result if case.equal else None

    def by_hand() -> Any:
        return case.by_hand(voxels if plain is None else plain[box])

    kernel = min(medians(*[lambda: case.by_hand(voxels)] * 2, runs=1))
    limits = BARS.get((case.source, size), (1.1, 1.1)) if case.equal else (None, None)
    states = [("cold", limits[0], CACHE.clear), ("warm", limits[1], None)]
    # plain sources are among the reads
    for state, bar, prepare in [] if case.name.startswith("source") else states:
        yield Comparison(
            f"array types, {state}" if case.source else "array types that read nothing",
            f"{case.name}, {size}^3",
            "zarr + numpy" if case.source else "numpy",
            ours,
            by_hand,
            bar,
            # the bar of the source, and 1.1 times the kernel + 1 ms, however fast the source is
            0 if bar is None else (1.1 - bar) * kernel + 1,
            prepare=prepare,
        )
    if case.lazy is not None:
        shape = array[region].shape
        begin = FIRST * shape[-1] // length
        index = (slice(None),) * (len(shape) - 3) + tuple(slice(begin, begin + n) for n in shape[-3:])
        theirs = of_dask(case, store, index)
        yield Comparison(
            "array types, cold",
            f"{case.name}, {size}^3",
            "dask",
            ours,
            theirs,
            bar=1,
            mean_bar=0.5,
            prepare=CACHE.clear,
        )


def of_dask(case: Case, store: str, index: tuple[slice, ...]) -> Callable[[], Any]:
    """Reads what funlib.persistence and dask make of a dataset."""
    import funlib.persistence

    source = funlib.persistence.open_ds(f"{store}/{DATASETS[case.source]}")
    assert case.lazy is not None
    lazy = funlib.persistence.Array(case.lazy(source.data))
    return lambda: lazy[index]
