"""Tiles: the boxes of one size that a network is asked for, on one grid, whatever region is asked for.

A network that pools or strides gives other voxels if its input begins elsewhere. An array
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
from funlib.geometry import Coordinate

from ..errors import TreeError
from ..model.meta import Block, Meta, Region, Voxels, world_text
from ..units import Quantity

#: Lengths of a config, one for each spatial axis.
Lengths = tuple[Quantity, ...] | None

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
        tiles = []
        for spans in itertools.product(*axes):
            corner = tuple(span[0] for span in spans)
            tile = Region(corner, tuple(c + s for c, s in zip(corner, self.size, strict=True)))
            tiles.append(Tile(tile, Region(tuple(span[1] for span in spans), tuple(span[2] for span in spans))))
        return tiles


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


@attrs.frozen
class TileSizes:
    """How a network computes an array, as its config says it: the lengths are not yet those of a tree's unit.

    Attributes:
        tile_size: The shape of a tile; None for an array that is computed in any regions.
        context_size: How far beyond a region the network reads, on each side; None for not at all.
        stride: Tiles begin and end at multiples of it; None for whole voxels of source and result.
        voxel_size: Of the result; None for the source's.
        padded: True if the source is padded by the context, so that the extent stays the source's.
    """

    tile_size: Lengths
    context_size: Lengths
    stride: Lengths
    voxel_size: Lengths
    padded: bool

    def context(self, source: Meta) -> tuple[int, ...]:
        """How far beyond a region the network reads, on each side."""
        return whole_lengths(self.context_size, (0,) * source.dims, source.unit, "context_size")

    def result(self, source: Meta, **properties: Any) -> Meta:
        """The meta of what the network computes; ``properties`` are its dtype, axes and whether it is interpolatable.

        Raises:
            TreeError: Lengths that do not fit the source, no voxel that is left, or a tile that is larger than an
                array without padding.
        """
        voxel_size = whole_lengths(self.voxel_size, source.voxel_size, source.unit, "voxel_size")
        corner = grid_corner(source)
        meta = attrs.evolve(
            source,
            voxel_size=Coordinate(voxel_size),
            attrs={},
            phase=corner if any(corner) else None,
            **properties,
        )
        step = self._step(source, voxel_size)
        if source.roi is not None:
            context = self.context(source)
            region = source.region if self.padded else source.region.grow([-c for c in context])
            # voxels of both sizes begin where the source's grid does, on the world's grid or off it
            region = region.shrink(common_step(source, voxel_size), corner)
            end = tuple(b + (e - b) // s * s for b, e, s in zip(region.begin, region.end, step, strict=True))
            region = Region(region.begin, end)
            if region.empty:
                raise TreeError(
                    "the source is smaller than the context and one voxel of both sizes",
                    found=f"{source.region}, context {context}, voxels {step}",
                )
            meta = attrs.evolve(meta, roi=region.roi)
        self.grid(meta, source)
        return meta

    def _step(self, source: Meta, voxel_size: Sequence[int]) -> tuple[int, ...]:
        """The stride, else whole voxels of the source and of the result."""
        least = common_step(source, voxel_size)
        step = whole_lengths(self.stride, least, source.unit, "stride")
        require_multiple("stride", step, least, source.unit)
        return step

    def grid(self, meta: Meta, source: Meta) -> TileGrid | None:
        """The tiles of the result, None for an array that is computed in any regions.

        Where the array's bounds are not known, in a pipeline after ``gp.RandomLocation``, tiles lie on the grid
        through 0.
        """
        if self.tile_size is None:
            return None
        unit = source.unit
        size = whole_lengths(self.tile_size, source.voxel_size, unit, "tile_size")
        step = self._step(source, meta.voxel_size)
        require_multiple("tile_size", size, step, unit)
        if meta.roi is None:
            return TileGrid(Region(tuple(-FAR * s for s in size), tuple(FAR * s for s in size)), size)
        if not self.padded and any(s > n for s, n in zip(size, meta.region.shape, strict=True)):
            largest = [min(s, n // d * d) for s, n, d in zip(size, meta.region.shape, step, strict=True)]
            raise TreeError(
                "the array is smaller than a tile",
                found=f"tile_size {world_text(size, unit)}, extent {meta.region}",
                allowed=f"tile_size up to {world_text(largest, unit)}, or a padded source",
            )
        return TileGrid(meta.region, size)

    def first_tile(self, meta: Meta, source: Meta) -> Region | None:
        """The tile at the array's begin, None for an array that is computed in any regions."""
        grid = self.grid(meta, source)
        return None if grid is None else grid.first

    def tiles(self, region: Region, meta: Meta, source: Meta) -> list[Tile]:
        """The tiles that hold the voxels of a region; without tiles, the region itself."""
        grid = self.grid(meta, source)
        return [Tile(region, region)] if grid is None else grid.tiles(region)

    def reads(self, tiles: Sequence[Tile], source: Meta) -> Region:
        """What the network reads for some tiles, in whole voxels; where it is padded this reaches beyond the source."""
        region = tiles[0].region
        for tile in tiles[1:]:
            region = region.union(tile.region)
        return region.grow(self.context(source)).snap([int(v) for v in source.voxel_size], source.origin)


def tile_key(identity: str, voxels: Voxels) -> str:
    """The key of a computed tile: what computes it, and the voxels that it is computed from."""
    digest = hashlib.blake2b(f"{identity} {voxels.dtype} {voxels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(voxels).data)
    return digest.hexdigest()


def paste(target: Block, tile: Tile, voxels: Voxels) -> None:
    """Copy what a tile has of a block from the tile's voxels."""
    part = tile.part.intersect(target.region)
    target.crop(part)[...] = Block(voxels, tile.region, target.meta).crop(part)
