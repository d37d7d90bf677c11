"""What array[roi] costs beside plain zarr: cold with one thread and with all cores, warm, and through a network of chunks.

    python tests/benchmarks/bench_reading.py [STORE]

STORE is a Zarr store with uint8 ``raw`` and uint64 ``labels/neurons``; by default the real
data beside the checkout, else the demo's sample. Cold: nothing is kept in memory (the system keeps the files). Warm: decoded chunks
are. Medians of runs taken in turn; a ratio is to plain zarr in the same turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import zarr
from bench_core import store_of
from timing import medians

import gp_arrays as gpa
from gp_arrays.storage.chunked import threads

#: The most that a ratio may be: cold with one thread, cold with two, warm.
BARS = {("uint8", 64): (None, None, 1 / 5), ("uint8", 192): (1.0, 0.7, 1 / 2.5)}
BARS |= {("uint64", 64): (None, None, 1 / 2.5), ("uint64", 192): (1.0, 0.8, 1 / 2)}


def cold(read: Callable[[], Any], count: int) -> Callable[[], Any]:
    def run() -> None:
        gpa.set_cache_bytes(0)
        with mock.patch.object(threads, "thread_count", return_value=count):
            read()

    return run


def warm(read: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> None:
        gpa.set_cache_bytes(2**31)
        read()

    return run


def filling(read: Callable[[], Any]) -> Callable[[], Any]:
    """Cold, and what is decoded is kept."""

    def run() -> None:
        gpa.set_cache_bytes(0)
        gpa.set_cache_bytes(2**31)
        read()

    return run


def main() -> None:
    store = store_of(sys.argv[1:])
    plain = zarr.open(store, mode="r")
    print(f"{'':18} {'zarr':>9} {'cold, 1':>9} {'cold, 2':>9} {'filling':>9} {'warm':>9}  (ms, then ratios and bars)")
    for dataset in ("raw", "labels/neurons"):
        array = gpa.open_zarr(store, dataset)
        stored = plain[dataset]
        for n in (64, 192):
            length = min(n, *(size - 8 for size in array.shape[-3:]))
            box = (slice(8, 8 + length),) * 3

            def ours(array: Any = array, box: Any = box) -> None:
                array[box]

            def theirs(stored: Any = stored, box: Any = box) -> None:
                stored[box]

            peer, *rest = medians(theirs, cold(ours, 1), cold(ours, 2), filling(ours))
            again, kept = medians(theirs, warm(ours))
            ratios = [value / peer for value in rest] + [kept / again]
            one, two, at_most = BARS[str(array.dtype), n]
            bars = [one, two, None, at_most]
            text = "  ".join(
                f"{r:.2f}{'' if b is None else f' (<= {b:.2f})'}" for r, b in zip(ratios, bars, strict=True)
            )
            print(
                f"{array.dtype!s:8} {length:4} cubed "
                + " ".join(f"{v:9.2f}" for v in (peer, *rest, kept))
                + f"  {text}"
            )


if __name__ == "__main__":
    main()
