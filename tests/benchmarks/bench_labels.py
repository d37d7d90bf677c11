"""Ids through large tables, and annotation metadata, beside plain numpy over the same stored labels."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles.labels import StoredClass, write_crop

Voxels = np.ndarray[Any, Any]


def cells(n: int) -> Voxels:
    """uint64 blocks of cells of 12 voxels, some of them background."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(1, 1000, (-(-n // 12),) * 3) * (rng.random((-(-n // 12),) * 3) < 0.6)
    voxels = coarse.repeat(12, 0).repeat(12, 1).repeat(12, 2)[:n, :n, :n]
    return np.ascontiguousarray(voxels).astype(np.uint64)


def relabelling(group: str, folder: Path, store: Path, labels: Voxels) -> Iterator[Comparison]:
    """A table of ten million rows, of which the labels use a thousand."""
    ids = np.unique(np.random.default_rng(9).integers(1000, 2**62, 10_000_000, np.uint64))
    ids = np.concatenate([np.arange(1, 1000, dtype=np.uint64), ids])
    results = ids[::-1].copy()
    source, plain = gpa.ZarrArrayConfig("ids", store, "ids"), zarr.open(str(store), mode="r")["ids"]
    for order, table in (("rows", np.stack([ids, results], 1)), ("columns", np.asfortranarray([ids, results]).T)):
        np.save(folder / f"{order}.npy", table)
        array = gpa.RelabelArrayConfig("relabelled", source, folder / f"{order}.npy").array()
        np.testing.assert_array_equal(array[:], np.where(labels == 0, 0, results[np.maximum(labels, 1) - np.uint64(1)]))
        # no voxels are returned, which would be compared
        yield Comparison(
            group,
            f"Relabel by {order}, beside a plain read",
            "zarr + numpy",
            lambda array=array: array[:].nbytes,
            lambda: plain[:].nbytes,
            prepare=CACHE.clear,
        )


def masking(group: str, store: Path) -> Iterator[Comparison]:
    groups = [(f"g{i}", [3 * i + 1, 3 * i + 2]) for i in range(5)]
    source, plain = gpa.ZarrArrayConfig("ids", store, "ids"), zarr.open(str(store), mode="r")["ids"]
    array = gpa.MissingAnnotationsMaskConfig("narrow", source, groups, "ids").array()

    def by_hand() -> Voxels:
        labels = plain[:]
        return np.stack([np.isin(labels, ids).view(np.uint8) for _, ids in groups])

    yield Comparison(
        group, "MissingAnnotations of sparse ids", "zarr + numpy", lambda: array[:], by_hand, prepare=CACHE.clear
    )


def crops(group: str, folder: Path, n: int) -> Iterator[Comparison]:
    rng = np.random.default_rng(5)
    names = ["c0", "c1", "c2"]
    classes = {}
    for name in names:
        voxels = rng.choice(np.array([0, 1, 255], np.uint8), (n // 12 + 1,) * 3)
        voxels = voxels.repeat(12, 0).repeat(12, 1).repeat(12, 2)[:n, :n, :n]
        classes[name] = StoredClass(voxels, {"absent": 0, "present": 1, "unknown": 255})
    store = folder / "crop.zarr"
    write_crop(store / "crop", classes, (0, 0, 0), (1, 1, 1), chunks=64)
    stored = [zarr.open(str(store / f"crop/{name}/s0"), mode="r") for name in names]
    for output, of in (("target", lambda voxels: voxels == 1), ("mask", lambda voxels: voxels != 255)):
        array = gpa.CellMapArrayConfig("crop", store, "crop", names, output=output).array()
        yield Comparison(
            group,
            f"CellMap {output}, 3 classes",
            "zarr + numpy",
            lambda array=array: array[:],
            lambda of=of: np.stack([of(each[:]).view(np.uint8) for each in stored]),
            prepare=CACHE.clear,
        )


def comparisons(settings: Settings) -> Iterator[Comparison]:
    logging.getLogger("gp_arrays").setLevel(logging.ERROR)  # that some ids have no metadata is known
    n = 64 if settings.short else 192
    labels, group = cells(n), f"labels, {n}^3"
    state = {"present": True, "annotated": "sparse"}
    attributes = {"labels": [{"value": i, "annotationState": state} for i in range(1, 20)]}
    roi = gpa.Roi((0, 0, 0), (n, n, n))
    store = settings.folder / "ids.zarr"
    gpa.create_zarr(store, "ids", roi, (1, 1, 1), "uint64", attributes=attributes)[:] = labels
    yield from relabelling(group, settings.folder, store, labels)
    yield from masking(group, store)
    yield from crops(group, settings.folder, n)
