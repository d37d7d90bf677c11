"""A training run in a process of its own: ``python training_run.py START_METHOD FOLDER``."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import gunpowder as gp
import numpy as np
from scipy import ndimage

import gp_arrays as gpa

RAW, IDS, MASK, LOSS_WEIGHTS = (gp.ArrayKey(name) for name in ("RAW", "IDS", "MASK", "WEIGHTS"))
SIZE = gp.Coordinate(2, 2, 2)


def dataset(seed: int, size: int) -> Any:
    """Ids in patches, and grey values that are different in the background."""
    noise = np.random.default_rng(seed).random((3, size, size, size))
    ids = np.argmax([ndimage.gaussian_filter(channel, 2) for channel in noise], axis=0).astype(np.uint64)
    data = {"raw": (ids != 0).astype(np.uint8) * 200, "ids": ids}
    raw, labels = (
        gpa.NumpyArrayConfig(f"{name}{seed}", data=voxels, voxel_size=SIZE, offset=SIZE * 5)
        for name, voxels in data.items()
    )
    return gpa.compile_pipeline(
        {
            RAW: gpa.IntensitiesArrayConfig(f"normalized{seed}", raw, 0, 255),
            IDS: labels,
            MASK: gpa.ThresholdArrayConfig(f"mask{seed}", labels, 0),
        }
    )


def sampled(source: Any, number: int) -> Any:
    location = gp.RandomLocation(0.3, MASK) if number else gpa.RandomLocationInMask(MASK, 0.3)
    return source + location


def pipeline() -> Any:
    sources = tuple(sampled(dataset(seed, 36 + 4 * seed), seed) for seed in range(2))
    return (
        sources
        + gp.RandomProvider(probabilities=[0.5, 0.5])
        + gp.SimpleAugment()
        + gp.DeformAugment((8, 8, 8), (1, 1, 1), rotate=False, spatial_dims=3)
        + gp.IntensityAugment(RAW, 0.9, 1.1, -0.1, 0.1)
        + gp.Reject(MASK, min_masked=0.2)
    )


def request_of(size: int = 16) -> gp.BatchRequest:
    request = gp.BatchRequest()
    for key in (RAW, IDS, MASK):
        request.add(key, SIZE * size)
    return request


def main(start_method: str, folder: Path) -> None:
    multiprocessing.set_start_method(start_method, force=True)
    stacked = pipeline() + gp.Stack(2) + gp.PreCache(cache_size=4, num_workers=2)
    stacked += gp.Snapshot(
        {RAW: "raw", IDS: "ids"}, output_dir=str(folder), output_filename="{iteration}.zarr", every=2
    )
    with gp.build(stacked):
        for _ in range(4):
            batch = stacked.request_batch(request_of())
            assert batch[RAW].data.shape == (2, 16, 16, 16)
            # arrays that are deformed together still agree in each voxel: both use the nearest voxel
            assert np.array_equal(batch[MASK].data, batch[IDS].data != 0)
            assert batch[MASK].data.mean(axis=(1, 2, 3)).min() >= 0.2
            assert set(np.unique(batch[IDS].data)) <= {0, 1, 2}
    print("four batches")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
