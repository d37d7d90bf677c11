"""What merged instances, missing annotations and CellMap crops cost, beside plain numpy.

    python tests/benchmarks/bench_labels.py

Cells of about 12 voxels across in 192^3 and 64^3, in memory, and stored where said. Medians
of runs taken in turn; ratios are to the peer of the same row: numpy without any of the checks.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from timing import medians

import gp_arrays as gpa
from gp_arrays.testing.labels import StoredClass, write_crop


def row(name: str, ours: Callable[[], Any], peer: Callable[[], Any]) -> None:
    if not np.array_equal(ours(), peer()):
        raise SystemExit(f"{name}: not the voxels of the peer")
    a, b = medians(ours, peer)
    print(f"{name:44} {a:9.2f} ms   numpy {b:9.2f} ms   ratio {a / b:5.2f}")


def cells(n: int, seed: int, share: float = 0.6) -> np.ndarray[Any, Any]:
    """uint64 blocks of cells, some of them background."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(1, 1000, (-(-n // 12),) * 3) * (rng.random((-(-n // 12),) * 3) < share)
    voxels = coarse.repeat(12, 0).repeat(12, 1).repeat(12, 2)[:n, :n, :n]
    return np.ascontiguousarray(voxels).astype(np.uint64)


def merging(n: int, folder: Path) -> None:
    a, b, big = cells(n, 1), cells(n, 2), cells(n, 3) * np.uint64(2**53 + 1)
    sources = [gpa.NumpyArrayConfig(name, data) for name, data in (("a", a), ("b", b), ("big", big))]
    room, of = np.uint64(2**40), gpa.MergeInstancesArrayConfig

    def plain() -> np.ndarray[Any, Any]:
        return np.where(a != 0, a, np.where(b != 0, b + room, 0))

    for overlap in ("first", "last"):
        chosen = sources[:2] if overlap == "first" else sources[1::-1]
        offsets = None if overlap == "first" else [2**40, 0]
        array = of("merged", chosen, offsets, overlap).array()
        row(f"merge of 2, overlap={overlap}", lambda array=array: array[:], plain)
    stored = [
        gpa.create_zarr(folder / f"{n}-merge.zarr", name, gpa.Roi((0, 0, 0), (n, n, n)), (1, 1, 1), "uint64")
        for name in "ab"
    ]
    stored[0][:], stored[1][:] = a, b
    merged = of("stored", [source.config for source in stored]).array()
    row(
        "merge of 2, stored",
        lambda: merged[:],
        lambda: np.where((x := stored[0][:]) != 0, x, np.where((y := stored[1][:]) != 0, y + room, 0)),
    )
    dense = of("dense", [sources[0], sources[2]], dense=["big"]).array()
    dense[:]  # makes the table
    ids = np.unique(big)[1:]

    def plain_dense() -> np.ndarray[Any, Any]:
        ranks = np.searchsorted(ids, big).astype(np.uint64) + np.uint64(1)
        return np.where(a != 0, a, np.where(big != 0, ranks + room, 0))

    row("merge of 2, one dense", lambda: dense[:], plain_dense)


def masking(n: int, folder: Path) -> None:
    labels = cells(n, 4)
    groups = [(f"g{i}", [3 * i + 1, 3 * i + 2]) for i in range(5)]
    logging.getLogger("gp_arrays").setLevel(logging.ERROR)  # that these have no metadata is known
    plain_config = gpa.NumpyArrayConfig("labels", labels)
    usable = gpa.MissingAnnotationsMaskConfig("mask", plain_config, groups).array()
    row("missing annotations, 5 groups", lambda: usable[:], lambda: np.stack([(labels > 0).view(np.uint8)] * 5))
    said = [{"value": i, "annotationState": {"present": True, "annotated": "sparse"}} for i in range(1, 20)]
    made = gpa.create_zarr(
        folder / f"{n}.zarr", "ids", gpa.Roi((0, 0, 0), (n, n, n)), (1, 1, 1), "uint64", attributes={"labels": said}
    )
    made[:] = labels
    narrow = gpa.MissingAnnotationsMaskConfig("narrow", made.config, groups, "ids").array()
    row(
        'stored, 5 groups, sparse="ids"',
        lambda: narrow[:],
        lambda: np.stack(
            [np.isin(made[:] if i == 0 else labels, ids).view(np.uint8) for i, (_, ids) in enumerate(groups)]
        ),
    )


def crops(n: int, folder: Path) -> None:
    rng = np.random.default_rng(5)
    encoding = {"absent": 0, "present": 1, "unknown": 255}
    voxels = [rng.choice(np.array([0, 1, 255], np.uint8), (n // 12 + 1,) * 3) for _ in range(3)]
    voxels = [v.repeat(12, 0).repeat(12, 1).repeat(12, 2)[:n, :n, :n] for v in voxels]
    write_crop(
        folder / f"{n}-crop.zarr" / "crop",
        {f"c{i}": StoredClass(v, encoding) for i, v in enumerate(voxels)},
        (0, 0, 0),
        (1, 1, 1),
        chunks=64,
    )
    store = folder / f"{n}-crop.zarr"
    names = ["c0", "c1", "c2"]
    raw = [gpa.open_zarr(store, f"crop/{name}/s0") for name in names]
    for output in ("target", "mask"):
        array = gpa.CellMapArrayConfig("crop", store, "crop", names, output=output).array()
        row(
            f"cellmap {output}, 3 classes, stored",
            lambda array=array: array[:],
            lambda output=output: np.stack(
                [(r[:] == 1 if output == "target" else r[:] != 255).view(np.uint8) for r in raw]
            ),
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["GP_ARRAYS_CACHE"] = f"{temporary}/tables"
        for size in (192, 64):
            print(f"{size} cubed")
            merging(size, Path(temporary))
            masking(size, Path(temporary))
            crops(size, Path(temporary))
