"""What resampling costs, beside what numpy, scipy and scikit-image take for the same crop.

    python tests/benchmarks/bench_resample.py [SIDE ...]

SIDE is that of the finer cube, 192 and 64 by default. Milliseconds, medians of runs
taken in turn; behind each peer how many times as long it takes. Peers do their own arithmetic
(``zoom`` of order 3 fits splines, ``rescale`` goes through floats): what is compared is time.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.ndimage

import gp_arrays as gpa

try:
    import skimage.transform
except ImportError:
    skimage = None

RUNS = 5
Voxels = np.ndarray[Any, Any]


def medians(functions: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of each, run in turn so that a noisy moment meets all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for run in range(RUNS + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            if run:  # the first warms up
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: statistics.median(spent) for name, spent in times.items()}


def volume(n: int, dtype: Any) -> Voxels:
    """Objects of 12 voxels a side: ids, or grey values with noise."""
    rng = np.random.default_rng(0)
    objects = np.kron(rng.integers(1, 200, (-(-n // 12) + 1,) * 3), np.ones((12,) * 3, int))[5:, 5:, 5:][:n, :n, :n]
    noise = 0 if dtype == np.uint64 else rng.integers(0, 50, objects.shape)
    return np.ascontiguousarray((objects + noise).astype(dtype))


def ours(data: Voxels, up: int, down: int, order: int, by: str | None = None) -> Callable[[], Voxels]:
    source = gpa.NumpyArrayConfig("source", data, voxel_size=(2, 2, 2), interpolatable=True)
    array = gpa.ResampledArrayConfig("out", source, (up,) * 3, (down,) * 3, order, by).array()
    return lambda: array[:]


def blocks(data: Voxels) -> Voxels:
    n = len(data) // 2
    return data.reshape(n, 2, n, 2, n, 2)


def zoom(data: Voxels, factor: float, order: int) -> Callable[[], Voxels]:
    return lambda: scipy.ndimage.zoom(data, factor, order=order, mode="nearest", grid_mode=True)


def rescale(data: Voxels, factor: float, order: int) -> Mapping[str, Callable[[], Voxels]]:
    if skimage is None:
        return {}
    return {"skimage rescale": lambda: skimage.transform.rescale(data, factor, order=order, preserve_range=True)}


def down_mean(data: Voxels) -> Mapping[str, Callable[[], Any]]:
    peers = {"reshape().mean()": lambda: blocks(data).mean((1, 3, 5)), "scipy zoom": zoom(data, 0.5, 1)}
    return {"ours": ours(data, 1, 2, 1), **peers, **rescale(data, 0.5, 1)}


def down_mode(data: Voxels) -> Mapping[str, Callable[[], Any]]:
    def sorted_blocks() -> Voxels:
        # only the sorting that counting takes
        return np.sort(blocks(data).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8), axis=-1)

    return {"ours": ours(data, 1, 2, 0, "mode"), "np.sort of blocks": sorted_blocks}


def up(order: int) -> Callable[[Voxels], Mapping[str, Callable[[], Any]]]:
    def functions(data: Voxels) -> Mapping[str, Callable[[], Any]]:
        half = np.ascontiguousarray(data[::2, ::2, ::2])
        return {"ours": ours(half, 2, 1, order), "scipy zoom": zoom(half, 2, order), **rescale(half, 2, order)}

    return functions


WORK = {"down 2, mean": down_mean, "down 2, mode": down_mode, "up 2, linear": up(1), "up 2, cubic": up(3)}


def main(sides: list[int]) -> None:
    for n in sides:
        for dtype in (np.uint8, np.uint64, np.float32):
            for name, functions in WORK.items():
                spent = medians(functions(volume(n, dtype)))
                mine = spent.pop("ours")
                peers = "   ".join(f"{peer} {ms:.1f} ({ms / mine:.1f}x)" for peer, ms in spent.items())
                print(f"{n}^3 {np.dtype(dtype).name:8} {name:13} {mine:7.2f} ms   {peers}", flush=True)


if __name__ == "__main__":
    main([int(side) for side in sys.argv[1:]] or [192, 64])
