"""Neuroglancer's precomputed volumes beside TensorStore: 192^3 in chunks of 64^3, and a box across eight chunks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from timing import Comparison, Settings

import gp_arrays as gpa

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles.precomputed_trees import write_volume

SIDE = 192
BOXES = {"192^3": (0, SIDE), "64^3": (32, 96)}
SHARDED = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 3,
    "hash": "murmurhash3_x86_128",
    "minishard_bits": 2,
    "shard_bits": 1,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


def labels() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(1)
    coarse = rng.integers(1, 2**40, (SIDE // 12,) * 3, np.uint64)
    return coarse.repeat(12, 0).repeat(12, 1).repeat(12, 2)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    rng = np.random.default_rng(0)
    smooth = rng.integers(60, 200, (SIDE // 4,) * 3).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    grey = np.clip(smooth + rng.normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)
    volumes: list[tuple[str, np.ndarray[Any, Any], str, dict[str, Any] | None]] = [
        ("uint8 raw", grey, "raw", None),
        ("uint8 jpeg", grey, "jpeg", None),
        ("compressed_segmentation", labels(), "compressed_segmentation", None),
        ("the same, sharded, gzip", labels(), "compressed_segmentation", SHARDED),
    ]
    for name, voxels, encoding, sharding in volumes:
        path = settings.folder / name
        store = write_volume(path, voxels, chunk=(64, 64, 64), encoding=encoding, sharding=sharding)
        array = gpa.PrecomputedArrayConfig("volume", path).array()
        for size, (begin, end) in BOXES.items():
            box = (slice(begin, end),) * 3
            yield Comparison(
                "precomputed volumes",
                f"{name}, {size}",
                "TensorStore",
                lambda array=array, box=box: array[box],
                lambda store=store, box=box: store[box].read().result(),
            )
