"""What tiles cost beside a bare loop over the same tiles, in one process on the CPU.

    python tests/benchmarks/bench_predict.py [TILE]

TILE is in voxels, 48 by default. The networks are U-Nets with one pooling; the wider one is still smaller than any in use.
Medians of runs taken in turn.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import torch
from timing import medians

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import unet

CONTEXT = 8


def compare(channels: int, tile: int) -> None:
    size = 2 * tile + 2 * CONTEXT
    data = np.random.default_rng(0).random((size, size, size)).astype(np.float32)
    array = gpa.PredictArrayConfig(
        "prediction",
        gpa.NumpyArrayConfig("raw", data=data),
        "unet:unet",
        arguments={"channels": channels},
        tile_size=(tile,) * 3,
        context_size=(CONTEXT,) * 3,
        stride=(2, 2, 2),
    ).array()
    network = unet.unet(channels).eval()

    def bare() -> np.ndarray:
        result = np.empty(array.shape, np.float32)
        for z, y, x in itertools.product((0, tile), repeat=3):
            part = data[z : z + tile + 2 * CONTEXT, y : y + tile + 2 * CONTEXT, x : x + tile + 2 * CONTEXT]
            with torch.inference_mode():
                predicted = network(torch.from_numpy(np.ascontiguousarray(part))[None, None])
            result[z : z + tile, y : y + tile, x : x + tile] = predicted[0, 0].numpy()
        return result

    def ours() -> np.ndarray:
        CACHE.clear()
        return array[:]

    a, b = medians(ours, bare)
    kept, _ = medians(lambda: array[:], lambda: None)
    print(f"{channels:3} channels: {a:8.1f} ms, bare loop {b:8.1f} ms, ratio {a / b:.3f}; tiles kept {kept:6.1f} ms")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for channels in (6, 12):
        compare(channels, int(sys.argv[1]) if len(sys.argv) > 1 else 48)
