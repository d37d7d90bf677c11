"""What array[roi], compiling and a gunpowder request cost, beside the least that numpy and zarr take.

    python tests/benchmarks/bench_core.py [STORE]

STORE is a Zarr store with uint8 ``raw`` and uint64 ``labels/neurons``; by default the real
data beside the checkout, else the demo's sample. Medians of runs taken in turn; ratios are
to the peer of the same row.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gunpowder as gp
import numpy as np
import zarr
from timing import medians

import gp_arrays as gpa
from gp_arrays.cli.sample import make_sample


def row(name: str, ours: Callable[[], Any], peer: Callable[[], Any]) -> None:
    a, b = medians(ours, peer)
    print(f"{name:34} {a:9.2f} ms   peer {b:9.2f} ms   ratio {a / b:5.2f}")


def reading(store: str) -> None:
    shape = gpa.open_zarr(store, "raw").shape
    for n in (min(192, *(size - 8 for size in shape)), 64):
        stored(store, n)
        kernels(store, n)


def stored(store: str, n: int) -> None:
    plain = zarr.open(store, mode="r")
    raw, labels = gpa.open_zarr(store, "raw"), gpa.open_zarr(store, "labels/neurons")
    roi = gpa.Roi(raw.roi.begin + raw.voxel_size * 8, raw.voxel_size * n)
    box = (slice(8, 8 + n),) * 3
    print(f"{n} cubed")
    row("zarr uint8", lambda: raw[roi], lambda: plain["raw"][box])
    row("zarr uint64", lambda: labels[roi], lambda: plain["labels/neurons"][box])


def kernels(store: str, n: int) -> None:
    """Kernels alone: voxels in memory, against the plainest numpy."""
    box = (slice(8, 8 + n),) * 3
    grey, ids = gpa.open_zarr(store, "raw")[box], gpa.open_zarr(store, "labels/neurons")[box]
    some = np.unique(ids)[1:6].tolist()
    mem = {name: gpa.NumpyArrayConfig(name, data=data) for name, data in (("grey", grey), ("ids", ids))}
    everything = gpa.Roi((0, 0, 0), (n, n, n))

    def kernel(name: str, config: Any, peer: Callable[[], Any]) -> None:
        array = config.array()
        row(name, lambda: array[everything], peer)

    kernel("intensities", gpa.IntensitiesArrayConfig("i", mem["grey"], 0, 255), lambda: grey.astype(np.float32) / 255)
    kernel(
        "binarize 5 groups, uint64",
        gpa.BinarizeArrayConfig("b", mem["ids"], [(f"g{i}", [i]) for i in some]),
        lambda: np.stack([ids == i for i in some]).astype(np.uint8),
    )
    kernel(
        "binarize 5 groups, uint8",
        gpa.BinarizeArrayConfig("b8", mem["grey"], [(f"g{i}", [i]) for i in range(5)]),
        lambda: np.stack([grey == i for i in range(5)]).astype(np.uint8),
    )
    kernel("sum of 3", gpa.SumArrayConfig("s", [mem["grey"]] * 3), lambda: grey.astype(np.uint16) + grey + grey)
    kernel(
        "concat of 3",
        gpa.ConcatArrayConfig("c", ["a", "b", "d"], dict.fromkeys("abd", mem["grey"])),
        lambda: np.stack([grey] * 3),
    )
    kernel("ones", gpa.OnesArrayConfig("o", mem["grey"]), lambda: np.ones((n, n, n), bool))


def compiling() -> None:
    base: Any = gpa.NumpyArrayConfig("n", data=np.zeros((32, 32, 32), np.uint8))
    chain = base
    for i in range(999):
        chain = gpa.ThresholdArrayConfig(f"c{i}", chain, 0)
    shared = base
    for i in range(30):
        shared = gpa.SumArrayConfig(f"s{i}", [shared, shared], dtype="float64")
    print("compile, build, one request of 8 cubed")
    for name, config in (("1000 nodes in a chain", chain), ("30 levels of sharing", shared)):
        key = gp.ArrayKey(name)
        began = time.perf_counter()
        pipeline = gpa.compile_pipeline({key: config})
        compiled = time.perf_counter()
        with gp.build(pipeline):
            built = time.perf_counter()
            pipeline.request_batch(gp.BatchRequest({key: gp.ArraySpec(roi=gpa.Roi((0, 0, 0), (8, 8, 8)))}))
            served = time.perf_counter()
        times = [(b - a) * 1e3 for a, b in ((began, compiled), (compiled, built), (built, served))]
        print(f"{name:34} {times[0]:7.1f} ms {times[1]:7.1f} ms {times[2]:7.1f} ms")


def store_of(arguments: list[str]) -> str:
    """The store that a command line names, else the real data beside the checkout, else the demo's sample."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "fib25.zarr"
    if arguments:
        return arguments[0]
    if beside.exists():
        return str(beside)
    folder = Path(tempfile.mkdtemp())
    make_sample(folder)
    return str(folder / "sample.zarr")


def main() -> None:
    reading(store_of(sys.argv[1:]))
    compiling()


if __name__ == "__main__":
    main()
