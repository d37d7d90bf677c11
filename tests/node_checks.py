"""Nodes in gunpowder pipelines that are written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gunpowder as gp
import numpy as np

import gp_arrays as gpa
from gp_arrays.testing import assert_same


def ask(pipeline: gp.Pipeline, rois: Mapping[gp.ArrayKey, tuple[Sequence[int], Sequence[int]] | None]) -> gp.Batch:
    """One batch of a pipeline; a key without a roi is nonspatial."""
    request = gp.BatchRequest()
    for key, roi in rois.items():
        request[key] = gp.ArraySpec(nonspatial=True) if roi is None else gp.ArraySpec(roi=gp.Roi(*roi))
    with gp.build(pipeline):
        return pipeline.request_batch(request)


class Nonspatial(gp.BatchProvider):  # type: ignore[misc]
    """Provides a nonspatial array."""

    def __init__(self, key: gp.ArrayKey, data: np.ndarray[Any, Any]) -> None:
        self.key, self.data = key, data

    def setup(self) -> None:
        self.provides(self.key, gp.ArraySpec(nonspatial=True, dtype=self.data.dtype))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        batch = gp.Batch()
        batch[self.key] = gp.Array(self.data.copy(), self.spec[self.key].copy())
        return batch


ORDERS = ("alone", "padded", "sampled", "augmented", "padded last", "before augmenting")


def check_node(
    data: Mapping[gp.ArrayKey, np.ndarray[Any, Any]],
    node: Callable[[], gp.BatchFilter],
    target: gp.ArrayKey,
    expected: Callable[..., np.ndarray[Any, Any]],
    axes: Sequence[str] | None = None,
) -> None:
    """Check a node in pipelines written by hand: its array is computed from its sources in the same batch.

    Sources are 2D, 16 x 12 voxels of (2, 3) at (4, 6). After Pad or RandomLocation rois are
    unbounded; the request then reaches outside of the data.
    """
    outside_seen = False
    for order in ORDERS:
        sources = tuple(
            gpa.NumpySource(key, voxels, offset=(4, 6), voxel_size=(2, 3), axes=axes) for key, voxels in data.items()
        )
        pipeline = gp.Pipeline(sources[0]) if len(sources) == 1 else sources + gp.MergeProvider()
        if order not in ("alone", "padded last"):
            # RandomLocation refuses what is unbounded, and what follows it is unbounded
            for key in data:
                pipeline += gp.Pad(key, None if order == "padded" else (8, 12))
        if order in ("sampled", "augmented"):
            pipeline += gp.RandomLocation()
        if order == "augmented":
            pipeline += gp.SimpleAugment(transpose_only=[])
        pipeline += node()
        if order == "padded last":
            for key in [*data, target]:
                pipeline += gp.Pad(key, None)
        if order == "before augmenting":
            pipeline = pipeline + gp.RandomLocation() + gp.SimpleAugment(transpose_only=[])
        # with a margin around the data, where the pipeline allows it
        roi = ((4, 6), (32, 36)) if order == "alone" else ((0, 0), (40, 48))
        batch = ask(pipeline, {target: roi, **dict.fromkeys(data, roi)})
        shape = tuple(s // v for s, v in zip(roi[1], (2, 3), strict=True))
        arrays = [batch[key].data for key in data]
        assert all(array.shape[-2:] == shape for array in arrays), order
        result = batch[target]
        if order != "padded last":
            assert_same(result.data, expected(*arrays), f"{type(node()).__name__}, {order}")
        else:
            # padded voxels are zero in the target too: the node did not compute them
            inside = (..., slice(2, 18), slice(2, 14))
            want = np.zeros_like(result.data)
            want[inside] = expected(*(array[inside] for array in arrays))
            assert_same(result.data, want, f"{type(node()).__name__}, {order}")
        assert result.spec.dtype == result.data.dtype, order
        assert result.spec.voxel_size == (2, 3), order
        if order.startswith("padded"):
            # a corner that the data only touch
            corner = ask(pipeline, {target: ((0, 0), (4, 6)), **dict.fromkeys(data, ((0, 0), (4, 6)))})
            nothing = [corner[key].data for key in data]
            assert not any(array.any() for array in nothing), order
            want = expected(*nothing)
            assert_same(corner[target].data, want if order == "padded" else np.zeros_like(want), f"{order}, a corner")
        outside_seen |= any(array.size > voxels.size for array, voxels in zip(arrays, data.values(), strict=True))
        for array, voxels in zip(arrays, data.values(), strict=True):
            assert array.dtype == voxels.dtype, order
        if order == "alone":
            for array, voxels in zip(arrays, data.values(), strict=True):
                assert_same(array, voxels, "a source of the batch")
    assert outside_seen
