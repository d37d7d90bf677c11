"""What merged instances, missing annotations and CellMap crops cost, beside plain numpy.

    python tests/benchmarks/bench_labels.py

Cells of about 12 voxels across in 192^3 and 64^3, in memory, and stored where said. Medians
of runs taken in turn; ratios are to the peer of the same row: numpy without any of the checks.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from timing import medians

import gp_arrays as gpa

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles.labels import StoredClass, write_crop


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
    a, b = cells(n, 1), cells(n, 2)
    sources = [gpa.NumpyArrayConfig(name, data) for name, data in (("a", a), ("b", b))]
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
    relabelling(n, folder, stored[0].config, cells(n, 1))


def relabelling(n: int, folder: Path, source: gpa.ArrayConfig, voxels: np.ndarray[Any, Any]) -> None:
    """A table of ten million rows, of which the labels use a thousand, beside a plain read of the labels."""
    ids = np.unique(np.random.default_rng(9).integers(1000, 2**62, 10_000_000, np.uint64))
    ids = np.concatenate([np.arange(1, 1000, dtype=np.uint64), ids])
    results = ids[::-1]
    by_rows, by_columns = np.stack([ids, results], 1), np.asfortranarray(np.stack([ids, results], 1))
    plain = source.array()
    for order, table in (("rows", by_rows), ("columns", by_columns)):
        np.save(folder / f"{n}-{order}.npy", table)
        array = gpa.RelabelArrayConfig("relabelled", source, folder / f"{n}-{order}.npy").array()

        def expected() -> np.ndarray[Any, Any]:
            return np.where(plain[:] == 0, 0, results[np.maximum(voxels, 1) - np.uint64(1)])

        assert np.array_equal(array[:], expected())
        a, b = medians(lambda array=array: array[:], lambda: plain[:])
        print(f"{'relabel by ' + order:44} {a:9.2f} ms   plain read {b:9.2f} ms   ratio {a / b:5.2f}")


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
        for size in (192, 64):
            print(f"{size} cubed")
            merging(size, Path(temporary))
            masking(size, Path(temporary))
            crops(size, Path(temporary))
