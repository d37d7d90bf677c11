"""The laws of predictions, with a network that pools: it computes means of boxes that begin where its input begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.testing.oracle import Naive, Volume, naive

pytest.importorskip("torch", reason="the torch extra is not installed")


@naive(gpa.PredictArrayConfig)
def predicted(config: Any, naive: Naive) -> Volume:
    """By loops over tiles of 4 x 4 voxels with a context of 2, of an array of two axes."""
    source = naive(config.source_array_config)
    padded, margin, tile = config.padded != "no", 2, 4
    data = np.pad(source.data.astype(np.float64), margin, mode="edge") if padded else source.data.astype(np.float64)
    shape = [n - 2 * margin for n in data.shape]
    if config.stride is not None:
        shape = [n // 2 * 2 for n in shape]
    out = np.empty((2, *shape))
    for y in range(shape[0]):
        for x in range(shape[1]):
            # where the input of the voxel's tile begins, and the first voxel of its box of 2 x 2
            begin = [min(i // tile * tile, n - tile) for i, n in zip((y, x), shape, strict=True)]
            first = [b + (i + margin - b) // 2 * 2 for i, b in zip((y, x), begin, strict=True)]
            mean = sum(data[first[0] + a, first[1] + b] for a in (0, 1) for b in (0, 1)) / 4
            out[:, y, x] = mean, -mean
    result = np.rint(out * config.output_scale).clip(-(2**15), 2**15 - 1) if config.output_scale else out
    begin = [b if padded else b + margin * v for b, v in zip(source.begin, source.voxel_size, strict=True)]
    return source.with_data(
        result.astype(config.dtype),
        begin=tuple(begin),
        channels=config.channels,
        nonspatial=("c",),
        interpolatable=True,
    )


class TestLaws(ArrayTypeLaws):
    type = gpa.PredictArrayConfig

    def configs(self, folder: Any) -> Any:
        data = np.random.default_rng(0).integers(0, 256, (11, 13)).astype("u1")
        raw = gpa.NumpyArrayConfig("raw", data=data, offset=(4, -6), voxel_size=(2, 3))
        common = {
            "model": "networks:pooling",
            "tile_size": (8, 12),
            "context_size": (4, 6),
            "channels": ["mean", "less"],
        }
        return [
            gpa.PredictArrayConfig("floats", raw, **common),
            gpa.PredictArrayConfig("strides", raw, stride=(4, 6), batch_size=2, **common),
            gpa.PredictArrayConfig("padded", raw, padded="edge", dtype="int16", output_scale=4, **common),
        ]

    def refused(self) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        return [
            lambda: gpa.PredictArrayConfig("p", raw, "networks:pooling"),
            lambda: gpa.PredictArrayConfig("p", raw, "networks:pooling", tile_size=(0, 4)),
            lambda: gpa.PredictArrayConfig("p", raw, "networks:pooling", tile_size=(4, 4), dtype="bool"),
        ]

    def misfits(self, folder: Any) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        return [
            gpa.PredictArrayConfig("p", raw, "networks:pooling", tile_size=(1000, 2, 2)),
            gpa.PredictArrayConfig("p", raw, "networks:pooling", tile_size=(4, 4, 4), context_size=(1, 1)),
        ]
