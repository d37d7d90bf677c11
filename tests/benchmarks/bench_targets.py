"""What targets cost in a pipeline, beside gunpowder's own nodes and scipy.

    python tests/benchmarks/bench_targets.py

Labels of about 24 voxels across in memory, requests of 96^3 voxels in the middle of 160^3. Medians of 3 runs
taken in turn; the voxels of both are compared first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gunpowder as gp
import numpy as np
from scipy import ndimage
from timing import medians

import gp_arrays as gpa

IDS, OUT = gp.ArrayKey("IDS"), gp.ArrayKey("OUT")
OFFSETS = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (-3, 0, 0), (0, -9, 0), (0, 0, -9)]
ROI = gp.Roi((32, 32, 32), (96, 96, 96))


def cells(n: int) -> np.ndarray[Any, Any]:
    """Labels of the nearest of random points, with background between some."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((n, n, n), bool)
    seeds[tuple(rng.integers(0, n, (3, (n // 24) ** 3)))] = True
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    ids = np.ravel_multi_index(tuple(nearest), seeds.shape).astype(np.uint64)
    return np.where(ids % np.uint64(5) == 0, np.uint64(0), ids)


def batches(node: gp.BatchFilter, ids: np.ndarray[Any, Any], key: gp.ArrayKey) -> Callable[[], Any]:
    """Asks a pipeline of a source and a node for one batch."""
    pipeline = gpa.NumpySource(IDS, ids) + node
    pipeline.setup()
    request = gp.BatchRequest({key: gp.ArraySpec(roi=ROI)})
    return lambda: pipeline.request_batch(request)[key].data


def row(name: str, ours: Callable[[], Any], peer: Callable[[], Any], inner: int = 0) -> None:
    part = (..., *(slice(inner, 96 - inner),) * 3)
    if not np.array_equal(ours()[part], peer()[part]):
        raise SystemExit(f"{name}: not the voxels of the peer")
    a, b = medians(ours, peer, runs=3)
    print(f"{name:44} {a:9.2f} ms   peer {b:9.2f} ms   rate to the peer's {b / a:7.2f}")


def main() -> None:
    ids = cells(160)
    row(
        "6 affinities, gunpowder's AddAffinities",
        batches(gpa.Affinities(IDS, OUT, offsets=OFFSETS), ids, OUT),
        batches(gp.AddAffinities(OFFSETS, IDS, OUT, dtype=np.uint8), ids, OUT),
    )
    # gunpowder reads nothing around the request, so its labels do not shrink towards what lies there
    for steps in (1, 2):
        row(
            f"eroded by {steps}, gunpowder's GrowBoundary",
            batches(gpa.Erode(IDS, OUT, steps=steps), ids, OUT),
            batches(gp.GrowBoundary(IDS, steps=steps), ids, IDS),
            inner=steps,
        )
    mask = (ids != 0).astype(np.uint8)
    for reach in (8, 32):
        array = gpa.DistanceArrayConfig("d", gpa.NumpyArrayConfig("mask", data=mask[:96, :96, :96]), reach).array()

        def by_scipy(part: np.ndarray[Any, Any] = mask[:96, :96, :96] != 0, reach: int = reach) -> Any:
            transform = ndimage.distance_transform_edt
            return np.minimum(np.where(part, transform(part), transform(~part)), reach).astype(np.float32)

        row(f"distance of a mask to {reach} voxels, scipy", lambda array=array: array[:], by_scipy)


if __name__ == "__main__":
    main()
