"""Tiles of a network beside a bare loop over the same tiles, in one process on the CPU.

The networks are U-Nets with one pooling; the wider one is still smaller than any in use.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import unet

TILE, CONTEXT = 48, 8


def comparisons(settings: Settings) -> Iterator[Comparison]:
    torch.set_num_threads(1)
    size = 2 * TILE + 2 * CONTEXT
    data = np.random.default_rng(0).random((size, size, size)).astype(np.float32)
    for channels in (6,) if settings.short else (6, 12):
        array = gpa.PredictArrayConfig(
            "prediction",
            gpa.NumpyArrayConfig("raw", data=data),
            "unet:unet",
            arguments={"channels": channels},
            tile_size=(TILE,) * 3,
            context_size=(CONTEXT,) * 3,
            stride=(2, 2, 2),
        ).array()
        network = unet.unet(channels).eval()

        def bare(network: torch.nn.Module = network) -> None:
            result = np.empty((2 * TILE,) * 3, np.float32)
            for z, y, x in itertools.product((0, TILE), repeat=3):
                part = data[tuple(slice(begin, begin + TILE + 2 * CONTEXT) for begin in (z, y, x))]
                with torch.inference_mode():
                    predicted = network(torch.from_numpy(np.ascontiguousarray(part))[None, None])
                result[z : z + TILE, y : y + TILE, x : x + TILE] = predicted[0, 0].numpy()

        yield Comparison(
            "tiles of a network",
            f"U-Net with {channels} channels",
            "bare torch",
            # the weights of both are random, and so are their voxels
            lambda array=array: array[:].nbytes,
            bare,
            prepare=CACHE.clear,
        )
