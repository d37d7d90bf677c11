"""What reading Neuroglancer's precomputed volumes costs, beside TensorStore.

    python tests/benchmarks/bench_precomputed.py

192^3 in chunks of 64^3 on disk, all of it and a box of 64^3 across eight chunks. Medians of runs taken in turn.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from timing import medians

import gp_arrays as gpa

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracles.precomputed_trees import write_volume

SIDE = 192
BOXES = {"all": (0, SIDE), "box": (32, 96)}
SHARDED = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 3,
    "hash": "murmurhash3_x86_128",
    "minishard_bits": 2,
    "shard_bits": 1,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


def labels() -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = rng.integers(1, 2**40, (SIDE // 12,) * 3, np.uint64)
    return coarse.repeat(12, 0).repeat(12, 1).repeat(12, 2)


def read(store: Any, box: tuple[slice, ...]) -> np.ndarray:
    """The voxels of a box, by TensorStore."""
    return store[box].read().result()


def main() -> None:
    rng = np.random.default_rng(0)
    smooth = rng.integers(60, 200, (SIDE // 4,) * 3).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    grey = np.clip(smooth + rng.normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)
    volumes: Sequence[tuple[str, np.ndarray, str, dict | None]] = [
        ("uint8 raw", grey, "raw", None),
        ("uint8 jpeg", grey, "jpeg", None),
        ("uint64 compressed_segmentation", labels(), "compressed_segmentation", None),
        ("the same, sharded, gzip", labels(), "compressed_segmentation", SHARDED),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, voxels, encoding, sharding in volumes:
            path = Path(folder, name)
            store = write_volume(path, voxels, chunk=(64, 64, 64), encoding=encoding, sharding=sharding)
            array = gpa.PrecomputedArrayConfig("volume", path).array()
            for what, (begin, end) in BOXES.items():
                box = (slice(begin, end),) * 3
                ours = functools.partial(array.__getitem__, box)
                peer = functools.partial(read, store, box)
                if not np.array_equal(ours(), peer()):
                    raise SystemExit(f"{name}: not the voxels of TensorStore")
                a, b = medians(ours, peer)
                print(f"{name:32} {what:4} {a:9.2f} ms   TensorStore {b:9.2f} ms   ratio {a / b:5.2f}")


if __name__ == "__main__":
    main()
