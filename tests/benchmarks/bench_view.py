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
#: The factor of the level of a chunk, its first voxel and the one after its last.
Chunk = tuple[int, tuple[int, ...], tuple[int, ...]]


def levels(volume: LocalVolume) -> list[int]:
    """The factors of the levels that the browser asks for at full resolution: each coarser one is drawn before it."""
    factors = [1]
    while max(volume.shape) / factors[-1] > volume.info()["maxDownsampledSize"]:
        factors.append(2 * factors[-1])
    return factors


def visible(volume: LocalVolume, positions: Iterable[int]) -> set[Chunk]:
    """The chunks of the cross-sections at some positions along the first axis and at one along the others."""
    chunks = set()
    flat = volume.info()["chunkLayout"] == "flat"
    for factor, position, normal in itertools.product(levels(volume), positions, range(3)):
        shape = [-(-n // factor) for n in volume.shape]
        point = [position // factor, FROM // factor, FROM // factor]
        lengths = [(1 if axis == normal else PLANE) if flat else CUBE for axis in range(3)]
        # no chunk is longer than the array, and its length is a power of two
        lengths = [min(length, 1 << n.bit_length() - 1) for length, n in zip(lengths, shape, strict=True)]
        grid = [
            [point[axis] // length] if axis == normal else range(-(-shape[axis] // length))
            for axis, length in enumerate(lengths)
        ]
        for index in itertools.product(*grid):
            start = tuple(i * length for i, length in zip(index, lengths, strict=True))
            end = tuple(min(n, a + length) for n, a, length in zip(shape, start, lengths, strict=True))
            chunks.add((factor, start, end))
    return chunks


def serve(volume: LocalVolume, chunks: set[Chunk]) -> None:
    """Answer the requests, coarse levels first."""
    for factor, start, end in sorted(chunks, reverse=True):
        volume.get_encoded_subvolume("npz", np.array(start), np.array(end), ",".join([str(factor)] * 3))


def comparisons(settings: Settings) -> Iterator[Comparison]:
    for source, dataset in DATASETS.items():
        labels = source == "ids"
        array = gpa.open_zarr(settings.store, dataset)
        ours = Volume(array, labels)
        axes = neuroglancer.CoordinateSpace(names=list("zyx"), units="nm", scales=list(map(int, array.voxel_size)))
        data: Any = zarr.open(settings.store, mode="r")[dataset]
        theirs = LocalVolume(data, axes, volume_type="segmentation" if labels else "image")
        name = str(array.dtype)
        opened = [visible(volume, [FROM]) for volume in (ours, theirs)]
        scrolled = [
            visible(volume, range(FROM, FROM + SCROLLED)) - before
            for volume, before in zip((ours, theirs), opened, strict=True)
        ]
        # what the view was opened with stays in the cache when it is scrolled
        for group, requested, prepare in (
            ("opening a view", opened, CACHE.clear),
            (f"scrolling {SCROLLED} planes", scrolled, None),
        ):
            answer = [functools.partial(serve, v, chunks) for v, chunks in zip((ours, theirs), requested, strict=True)]
            yield Comparison(group, name, "plain neuroglancer", *answer, bar=1, runs=3, prepare=prepare)
            counts = [functools.partial(len, chunks) for chunks in requested]
            yield Comparison(f"{group}, requests", name, "plain neuroglancer", *counts, bar=1, runs=1, unit="")
