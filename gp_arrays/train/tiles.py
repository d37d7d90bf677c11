"""Tiles: the boxes of one size that a network is asked for, on one grid whoever asks.

A network that pools or strides gives other voxels where its input begins at another place. An array
that is only ever computed in whole tiles on one grid has the same voxels in any block.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import TreeError
from ..model.cache import ArrayCache
from ..model.meta import Block, Meta, Region, world_text
from ..units import Quantity

Voxels = np.ndarray[Any, Any]

#: Tiles that were computed, for all arrays of a process.
TILES = ArrayCache()


#: Further than any array reaches, in tiles.
FAR = 2**50


@attrs.frozen
class Tile:
    """A tile, and the part of the array that is taken from it.

    Attributes:
        region: What the network computes. In an array that is shorter than a tile it reaches beyond the array.
        part: The voxels that belong to this tile and to no other.
    """

    region: Region
    part: Region


@attrs.frozen
class TileGrid:
    """How an array is cut into tiles of one size.

    Tiles lie side by side from the array's begin. The last tile of an axis is moved inward so that it ends where
    the array does; only the voxels that no other tile has are taken from it.

    Attributes:
        extent: The array's whole region.
        size: The shape of a tile, in world units.
    """

    extent: Region
    size: tuple[int, ...]

    @property
    def first(self) -> Region:
        """The tile at the array's begin."""
        return Region(self.extent.begin, tuple(b + s for b, s in zip(self.extent.begin, self.size, strict=True)))

    def tiles(self, region: Region) -> list[Tile]:
        """The tiles that hold the voxels of a region.

        >>> grid = TileGrid(Region((0,), (10,)), (4,))
        >>> [(tile.region.begin, tile.part.begin, tile.part.end) for tile in grid.tiles(Region((3,), (10,)))]
        [((0,), (0,), (4,)), ((4,), (4,), (8,)), ((6,), (8,), (10,))]
        """
        axes = []
        for low, high, size, begin, end in zip(
            self.extent.begin, self.extent.end, self.size, region.begin, region.end, strict=True
        ):
            firsts = range(low + (begin - low) // size * size, end, size)
            axes.append([(max(low, min(first, high - size)), first, min(first + size, high)) for first in firsts])
        found = []
        for spans in itertools.product(*axes):
            corner = tuple(span[0] for span in spans)
            tile = Region(corner, tuple(c + s for c, s in zip(corner, self.size, strict=True)))
            found.append(Tile(tile, Region(tuple(span[1] for span in spans), tuple(span[2] for span in spans))))
        return found


def whole_lengths(lengths: Sequence[Quantity] | None, default: Sequence[int], unit: str, field: str) -> tuple[int, ...]:
    """One whole length per spatial axis, in ``unit``. Raises TreeError, which names the field."""
    if lengths is None:
        return tuple(map(int, default))
    values = [length.to(unit) for length in lengths]
    if len(values) != len(default) or any(value.denominator != 1 for value in values):
        raise TreeError(
            f"{field} must be one whole length per spatial axis",
            found=", ".join(map(str, lengths)),
            allowed=f"{len(default)} lengths in {unit}",
        )
    return tuple(int(value) for value in values)


def grid_corner(source: Meta) -> tuple[int, ...]:
    """A corner of voxels of the source and of what is computed from it alike, whatever their voxel sizes."""
    return source.phase or source.origin


def output_extent(
    source: Meta, voxel_size: Sequence[int], context: Sequence[int], stride: Sequence[int] | None, padded: bool
) -> Region | None:
    """The extent of what a network computes from a source; None where that of the source is not known.

    Args:
        source: Its meta.
        voxel_size: Of the result.
        context: How far beyond a region the network reads, on each side.
        stride: The extent is a whole number of it, where it is not None.
        padded: True if the source is padded by the context, so that the extent stays the source's.

    Raises:
        TreeError: No voxel is left, or the stride is not whole voxels of both arrays.
    """
    # voxels of both sizes begin where the source's grid does, on the world's grid or off it
    step = common_step(source, voxel_size)
    if stride is not None:
        require_multiple("stride", stride, step, source.unit)
    if source.roi is None:
        return None
    region = source.region
    if not padded:
        region = region.grow([-c for c in context])
    region = region.shrink(step, grid_corner(source))
    if stride is not None:
        end = tuple(b + (e - b) // s * s for b, e, s in zip(region.begin, region.end, stride, strict=True))
        region = Region(region.begin, end)
        step = tuple(stride)
    if region.empty:
        raise TreeError(
            "the source is smaller than the context and one voxel of both sizes",
            found=f"{source.region}, context {tuple(context)}, voxels {tuple(step)}",
        )
    return region


def common_step(source: Meta, voxel_size: Sequence[int]) -> tuple[int, ...]:
    """The smallest lengths that are whole voxels of the source and of the result."""
    return tuple(math.lcm(int(a), int(b)) for a, b in zip(source.voxel_size, voxel_size, strict=True))


def require_multiple(field: str, lengths: Sequence[int], step: Sequence[int], unit: str) -> None:
    """Raises TreeError unless each length is a positive multiple of the step."""
    if any(length <= 0 or length % s for length, s in zip(lengths, step, strict=True)):
        raise TreeError(
            f"{field} is not whole steps of the arrays",
            found=world_text(lengths, unit),
            allowed=f"multiples of {world_text(step, unit)}",
        )


def tile_grid(extent: Region | None, size: Sequence[int], step: Sequence[int], padded: bool, unit: str) -> TileGrid:
    """The tiles of an array.

    Args:
        extent: The array's whole region. Where its bounds are not known, in a pipeline after ``gp.RandomLocation``,
            tiles lie on the grid through 0.
        size: The shape of a tile.
        step: Tiles begin and end at multiples of it: the stride, else whole voxels of source and result.
        padded: True if a tile may reach beyond the array.
        unit: The unit of all lengths.

    Raises:
        TreeError: A size that is not whole steps, or larger than an array that is not padded.
    """
    require_multiple("tile_size", size, step, unit)
    if extent is None:
        extent = Region(tuple(-FAR * s for s in size), tuple(FAR * s for s in size))
    if not padded and any(s > n for s, n in zip(size, extent.shape, strict=True)):
        largest = [min(s, n // d * d) for s, n, d in zip(size, extent.shape, step, strict=True)]
        raise TreeError(
            "the array is smaller than a tile",
            found=f"tile_size {world_text(size, unit)}, extent {extent}",
            allowed=f"tile_size up to {world_text(largest, unit)}, or a padded source",
        )
    return TileGrid(extent, tuple(size))


def context_of_tiles(tiles: Sequence[Tile], context: Sequence[int]) -> Region:
    """The box that holds the tiles and their context."""
    region = tiles[0].region
    for tile in tiles[1:]:
        region = region.union(tile.region)
    return region.grow(context)


def tile_key(identity: str, voxels: Voxels) -> str:
    """The key of a computed tile: what computes it, and the voxels that it is computed from."""
    digest = hashlib.blake2b(f"{identity} {voxels.dtype} {voxels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(voxels).data)
    return digest.hexdigest()


def paste(target: Block, tile: Tile, voxels: Voxels) -> None:
    """Copy what a tile has of a block from the tile's voxels."""
    part = tile.part.intersect(target.region)
    target.crop(part)[...] = Block(voxels, tile.region, target.meta).crop(part)
