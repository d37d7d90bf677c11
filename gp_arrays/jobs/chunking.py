"""Default chunks of an array and the smallest block. If the array is computed in tiles, chunks and blocks fit the tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..model.meta import Meta, Region
from ..model.plan import Plan
from ..storage.chunked.chunks import CHUNK

#: The fewest voxels of a chunk along an axis. Chunks may be smaller only where a whole tile is.
SMALLEST_CHUNK = 16


def tile_below(plan: Plan, outputs: Iterable[int]) -> Region | None:
    """The largest tile, in world units, that the outputs or their sources are computed in; None if there is none."""
    tiles: list[Region | None] = []
    for step in plan.steps:
        tile = step.config.first_tile(step.meta, step.source_metas)
        tiles.append(tile if tile is not None else _largest(tiles[source] for source in step.sources))
    return _largest(tiles[output] for output in outputs)


def _largest(tiles: Iterable[Region | None]) -> Region | None:
    return max((tile for tile in tiles if tile is not None), key=lambda tile: math.prod(tile.shape), default=None)


def default_chunks(meta: Meta, tile: Region | None = None) -> tuple[int, ...]:
    """Chunks of one channel (sample, time) and about 64 voxels along each spatial axis. They divide the tile if possible."""
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
    common = math.gcd(length, meta.region.begin[axis] - tile.begin[axis])
    size = 1 if common % voxel_size else _divisor(common // voxel_size)
    return size if size >= SMALLEST_CHUNK else _divisor(length // voxel_size)


def _divisor(count: int) -> int:
    """The divisor of ``count`` that is nearest to the usual size of a chunk.

    >>> _divisor(160), _divisor(67), _divisor(12)
    (80, 67, 12)
    """
    divisors = (divisor for divisor in range(1, count + 1) if count % divisor == 0)
    return min(divisors, key=lambda divisor: max(divisor / CHUNK, CHUNK / divisor))


def smallest_block(
    region: Region, chunk: Sequence[int], tile: Region | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the first block begins, and the shape of the smallest block: complete chunks, and complete tiles if possible.

    Args:
        region: The region of all outputs. The first chunk begins where the region begins.
        chunk: The shape of a chunk.
        tile: One tile of the grid of tiles; None if the outputs are not computed in tiles.

    >>> smallest_block(Region((20,), (200,)), (10,), Region((0,), (40,)))
    ((0,), (40,))
    """
    begins, shape = [], []
    for axis, (begin, size) in enumerate(zip(region.begin, chunk, strict=True)):
        block_size = size
        if tile is not None and size < region.shape[axis]:
            length, offset = tile.shape[axis], begin - tile.begin[axis]
            if offset % math.gcd(size, length) == 0:
                block_size = math.lcm(size, length)
                begin -= next(back for back in range(0, block_size, size) if (offset - back) % length == 0)
        begins.append(begin)
        shape.append(block_size)
    return tuple(begins), tuple(shape)
