"""Default chunks and blocks of an array: if it is computed in tiles, blocks of complete tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..model.meta import Meta, Region
from ..model.plan import Plan
from ..storage.chunked.chunks import CHUNK

#: The fewest voxels of a chunk along an axis. Tiles that begin at other positions are not divided further.
SMALLEST_CHUNK = 16


def tile_below(plan: Plan, outputs: Iterable[int]) -> Region | None:
    """The tile, in world units, that some steps of a plan are computed in; of several the largest."""
    tiles: list[Region | None] = []
    for step in plan.steps:
        own = step.config.first_tile(step.meta, step.source_metas)
        tiles.append(own if own is not None else _largest(tiles[source] for source in step.sources))
    return _largest(tiles[output] for output in outputs)


def _largest(tiles: Iterable[Region | None]) -> Region | None:
    return max((tile for tile in tiles if tile is not None), key=lambda tile: math.prod(tile.shape), default=None)


def default_chunks(meta: Meta, tile: Region | None = None) -> tuple[int, ...]:
    """Chunks of one channel (sample, time) and about 64 voxels along each spatial axis, which divide the tile."""
    spatial = []
    for axis, count in enumerate(meta.spatial_shape):
        size = CHUNK if tile is None else _chunk_of_tile(meta, tile, axis)
        spatial.append(min(size, count))
    return tuple(1 for _ in meta.nonspatial or ()) + tuple(spatial)


def _chunk_of_tile(meta: Meta, tile: Region, axis: int) -> int:
    voxel_size = int(meta.voxel_size[axis])
    length = tile.shape[axis]
    if length % voxel_size:
        return CHUNK
    # chunks begin where the array does, which may be in the middle of a tile
    both = math.gcd(length, meta.region.begin[axis] - tile.begin[axis])
    size = 1 if both % voxel_size else _divisor(both // voxel_size)
    return size if size >= SMALLEST_CHUNK else _divisor(length // voxel_size)


def _divisor(count: int) -> int:
    """The divisor that is nearest to the usual size of a chunk.

    >>> _divisor(160), _divisor(67), _divisor(12)
    (80, 67, 12)
    """
    divisors = (divisor for divisor in range(1, count + 1) if count % divisor == 0)
    return min(divisors, key=lambda divisor: max(divisor / CHUNK, CHUNK / divisor))


def smallest_block(
    region: Region, chunk: Sequence[int], tile: Region | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the first block of a region begins, and the smallest block: complete chunks, and complete tiles if possible.

    Args:
        region: The outputs' extent; a chunk begins where it does.
        chunk: The shape of a chunk.
        tile: A tile of their grid.

    >>> smallest_block(Region((20,), (200,)), (10,), Region((0,), (40,)))
    ((0,), (40,))
    """
    begins, shape = [], []
    for axis, (begin, size) in enumerate(zip(region.begin, chunk, strict=True)):
        least = size
        if tile is not None and size < region.shape[axis]:
            length, beyond = tile.shape[axis], begin - tile.begin[axis]
            if beyond % math.gcd(size, length) == 0:
                least = math.lcm(size, length)
                begin -= next(back for back in range(0, least, size) if (beyond - back) % length == 0)
        begins.append(begin)
        shape.append(least)
    return tuple(begins), tuple(shape)
