"""Opening a view and scrolling through it beside plain Neuroglancer over the same zarr array: times and requests.

A browser is not needed: the chunks that its three cross-sections ask for follow from the layout that a volume tells. The
browser keeps what it was sent, and so each chunk is asked for once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import neuroglancer
import numpy as np
import zarr
from bench_reading import DATASETS
from neuroglancer.local_volume import LocalVolume
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE
from gp_arrays.viewer.volume import Volume

#: How long a chunk is that the browser asks for by default: of 2^18 voxels, in three dimensions or in a plane.
CUBE, PLANE = 64, 512
#: How many planes are scrolled through, and from where.
SCROLLED, FROM = 50, 100
Chunk = tuple[tuple[int, ...], tuple[int, ...]]


def visible(volume: LocalVolume, positions: Iterable[int], factor: int) -> set[Chunk]:
    """The chunks of the cross-sections at some positions along the first axis and at one along the others."""
    shape = [-(-n // factor) for n in volume.shape]
    chunks = set()
    for position, normal in itertools.product(positions, range(3)):
        point = [position // factor, FROM // factor, FROM // factor]
        flat = volume.info()["chunkLayout"] == "flat"
        lengths = [(1 if axis == normal else PLANE) if flat else CUBE for axis in range(3)]
        grid = [
            [point[axis] // length] if axis == normal else range(-(-shape[axis] // length))
            for axis, length in enumerate(lengths)
        ]
        for index in itertools.product(*grid):
            start = tuple(i * length for i, length in zip(index, lengths, strict=True))
            end = tuple(min(n, a + length) for n, a, length in zip(shape, start, lengths, strict=True))
            chunks.add((start, end))
    return chunks


def factor_of(volume: LocalVolume, zoom: int) -> int:
    """The factor of the level that a zoom shows: the browser has no level beyond a smallest size."""
    factor = 1
    while factor < zoom and max(volume.shape) / factor > volume.info()["maxDownsampledSize"]:
        factor *= 2
    return factor


def serve(volume: LocalVolume, chunks: set[Chunk], factor: int) -> int:
    """Answers the requests and counts them."""
    for start, end in sorted(chunks):
        volume.get_encoded_subvolume("npz", np.array(start), np.array(end), ",".join([str(factor)] * 3))
    return len(chunks)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    for source, dataset in DATASETS.items():
        labels = source == "ids"
        array = gpa.open_zarr(settings.store, dataset)
        ours = Volume(array, labels)
        axes = neuroglancer.CoordinateSpace(names=list("zyx"), units="nm", scales=list(map(int, array.voxel_size)))
        data: Any = zarr.open(settings.store, mode="r")[dataset]
        theirs = LocalVolume(data, axes, volume_type="segmentation" if labels else "image")
        for zoom in (1, 2, 4):
            factors = [factor_of(volume, zoom) for volume in (ours, theirs)]
            opened = [visible(volume, [FROM], factor) for volume, factor in zip((ours, theirs), factors, strict=True)]
            yield Comparison(
                "opening a view",
                f"{array.dtype}, zoom {zoom}:1",
                "plain neuroglancer",
                functools.partial(serve, ours, opened[0], factors[0]),
                functools.partial(serve, theirs, opened[1], factors[1]),
                prepare=CACHE.clear,
            )
        scrolled = [
            visible(volume, range(FROM, FROM + SCROLLED), 1) - visible(volume, [FROM], 1) for volume in (ours, theirs)
        ]
        counts = [functools.partial(len, chunks) for chunks in scrolled]
        scroll = [functools.partial(serve, v, chunks, 1) for v, chunks in zip((ours, theirs), scrolled, strict=True)]
        group = f"scrolling {SCROLLED} planes"
        name = str(array.dtype)
        # what the view was opened with is kept
        yield Comparison(group, name, "plain neuroglancer", *scroll, bar=1)
        yield Comparison(f"{group}, requests", name, "plain neuroglancer", *counts, bar=1, runs=1, unit="")
