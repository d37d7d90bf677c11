"""materialize beside two programs that one writes by hand, a pool of processes and daisy; and the memory of a worker.

Complete jobs, from the call to its end. All is written to memory where the machine has such a place: what a disk writes
back of one run while the next is timed says nothing about either.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from timing import Comparison, Settings, in_new_process

import gp_arrays as gpa

GROUPS = [("a", [1, 2, 3]), ("b", [4, 5]), ("c", [6, 7, 8, 9]), ("d", [10, 11, 12, 13, 14]), ("e", [])]
#: The arrays that a process of a pool has opened.
opened: dict[str, Any] = {}


def make_labels(folder: Path, size: int, chunk: int) -> gpa.ArrayConfig:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 40, (chunk // 4,) * 3).astype(np.uint64)
    tile = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)
    roi = gpa.Roi((0,) * 3, (size,) * 3)
    labels = gpa.create_zarr(folder / "in.zarr", "ids", roi, (1, 1, 1), "uint64", chunks=(chunk,) * 3)
    for corner in itertools.product(range(0, size, len(tile)), repeat=3):
        labels[tuple(slice(begin, begin + len(tile)) for begin in corner)] = tile
    return gpa.ZarrArrayConfig("ids", folder / "in.zarr", "ids")


def make_target(folder: Path, size: int, chunk: int) -> None:
    shutil.rmtree(folder / "hand.zarr", ignore_errors=True)
    extent = gpa.Roi((0,) * 3, (size,) * 3)
    chunks = (1, chunk, chunk, chunk)
    gpa.create_zarr(folder / "hand.zarr", "masks", extent, (1, 1, 1), "uint8", num_channels=len(GROUPS), chunks=chunks)


def masks_by_hand(ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out = np.zeros((len(GROUPS), *ids.shape), np.uint8)
    for channel, (_, members) in zip(out, GROUPS, strict=True):
        if not members:
            channel[...] = ids != 0
        for i in members:
            channel |= ids == i
    return out


def open_by_hand(folder: Path) -> None:
    import zarr

    opened["source"] = zarr.open(str(folder / "in.zarr"), mode="r")["ids"]
    opened["target"] = zarr.open(str(folder / "hand.zarr"), mode="r+")["masks"]


def write_by_hand(box: tuple[slice, ...]) -> None:
    opened["target"][(slice(None), *box)] = masks_by_hand(opened["source"][box])


def run_pool(folder: Path, size: int, chunk: int, block: int, workers: int) -> None:
    """A pool of processes, forked as a program by hand does it."""
    make_target(folder, size, chunk)
    corners = itertools.product(range(0, size, block), repeat=3)
    boxes = [tuple(slice(begin, begin + block) for begin in corner) for corner in corners]
    with multiprocessing.get_context("fork").Pool(workers, open_by_hand, (folder,)) as pool:
        pool.map(write_by_hand, boxes, chunksize=1)


def daisy_worker(folder: Path) -> None:
    import daisy.v2 as daisy

    open_by_hand(folder)
    client = daisy.Client()
    while True:
        with client.acquire_block() as block:
            if block is None:
                return
            roi = block.write_roi
            write_by_hand(tuple(slice(b, e) for b, e in zip(roi.begin, roi.end, strict=True)))


def run_daisy(folder: Path, size: int, chunk: int, block: int, workers: int) -> None:
    import daisy.v2 as daisy

    make_target(folder, size, chunk)
    box = gpa.Roi((0,) * 3, (block,) * 3)
    task = daisy.Task(
        "hand",
        gpa.Roi((0,) * 3, (size,) * 3),
        box,
        box,
        functools.partial(daisy_worker, folder),
        read_write_conflict=False,
        max_workers=workers,
        tracking_path=False,
    )
    assert daisy.run_blockwise(task, progress=False, summary=False, host="127.0.0.1")


PEERS = {"a pool by hand": run_pool, "daisy by hand": run_daisy}


def run_materialize(config: gpa.ArrayConfig, folder: Path, chunk: int, block: int, workers: int) -> None:
    masks = gpa.BinarizeArrayConfig("masks", config, groupings=GROUPS)
    options = {"block": (block,) * 3, "chunks": (chunk,) * 3, "num_workers": workers}
    assert gpa.materialize(masks, folder / "ours.zarr", progress=False, overwrite=True, **options).ok


def peak_of_worker(folder: Path, size: int) -> float:
    """MiB, in a process that has run no other worker."""
    folder.mkdir(exist_ok=True)
    masks = gpa.BinarizeArrayConfig("masks", make_labels(folder, size, 64), groupings=GROUPS)
    workers = gpa.Workers(timeout=3600)
    # two workers, as one may be the process of the caller
    options = {"block": (128,) * 3, "num_workers": 2, "workers": workers}
    assert gpa.materialize(masks, folder / "out.zarr", progress=False, overwrite=True, **options).ok
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def comparisons(settings: Settings) -> Iterator[Comparison]:
    jobs = [("small job, 256^3 in 64 blocks", 256, 64, 64, 2.0)]
    if not settings.short:
        jobs.append(("large job, 720^3 in 125 blocks", 720, 72, 144, 1.1))
    for name, size, chunk, block, bar in jobs:
        folder = settings.folder / str(size)
        folder.mkdir()
        config = make_labels(folder, size, chunk)
        for workers, (peer, run) in itertools.product((1, 2), PEERS.items()):
            yield Comparison(
                name,
                f"{workers} workers",
                peer,
                functools.partial(run_materialize, config, folder, chunk, block, workers),
                functools.partial(run, folder, size, chunk, block, workers),
                bar,
                runs=None if size == 256 else 1,
            )
        shutil.rmtree(folder)
    if not settings.short:
        first, second = (
            functools.partial(in_new_process, peak_of_worker, settings.folder / "m", n) for n in (640, 256)
        )
        yield Comparison("memory of a worker", "640^3", "256^3", first, second, bar=1.1, runs=1, unit="MiB")
