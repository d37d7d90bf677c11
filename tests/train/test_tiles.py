"""Tiles of one size on one grid."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gp_arrays as gpa
from gp_arrays.model.meta import Meta, Region
from gp_arrays.train.tiles import TileGrid, TileSizes
from gp_arrays.units import Quantity


def tile_grid(shape, size, voxel, padded=False):
    """The tiles of an array at the origin that is computed from an array with the same voxels."""
    axes = ("y", "x")[-len(shape) :]
    meta = Meta(gpa.Roi((0,) * len(shape), shape), gpa.Coordinate(voxel), axes, "uint8")
    return TileSizes(tuple(map(Quantity.parse, size)), None, None, None, padded).grid(meta, meta)


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 12), st.integers(1, 5)), min_size=1, max_size=3), st.data()
)
def test_each_voxel_belongs_to_one_tile_whoever_asks(axes, data):
    begin = tuple(low for low, _, _ in axes)
    size = tuple(tile for _, _, tile in axes)
    end = tuple(low + tile + length - 1 for low, length, tile in axes)
    grid = TileGrid(Region(begin, end), size)
    owner = np.full([e - b for b, e in zip(begin, end, strict=True)], -1)
    all_tiles = grid.tiles(grid.extent)
    for number, tile in enumerate(all_tiles):
        assert tile.region.shape == size
        assert grid.extent.contains(tile.region)
        assert tile.region.contains(tile.part)
        part = tuple(slice(p - b, q - b) for p, q, b in zip(tile.part.begin, tile.part.end, begin, strict=True))
        assert (owner[part] == -1).all()
        owner[part] = number
    assert (owner >= 0).all()
    low = [data.draw(st.integers(b, e - 1)) for b, e in zip(begin, end, strict=True)]
    high = [data.draw(st.integers(a + 1, e)) for a, e in zip(low, end, strict=True)]
    owners = owner[tuple(slice(a - b, c - b) for a, c, b in zip(low, high, begin, strict=True))]
    assert grid.tiles(Region(tuple(low), tuple(high))) == [all_tiles[i] for i in sorted(set(owners.ravel().tolist()))]


def test_the_last_tile_is_moved_inward():
    grid = TileGrid(Region((100, 0), (110, 8)), (4, 8))
    tiles = [(t.region.begin, t.region.end, t.part.begin, t.part.end) for t in grid.tiles(grid.extent)]
    assert tiles == [
        ((100, 0), (104, 8), (100, 0), (104, 8)),
        ((104, 0), (108, 8), (104, 0), (108, 8)),
        ((106, 0), (110, 8), (108, 0), (110, 8)),
    ]


@pytest.mark.parametrize(
    ("size", "padded", "message"),
    [
        ((12, 8), False, r"tile_size \(12, 8\) nm.*up to \(8, 8\) nm"),
        ((6, 8), True, r"\(6, 8\) nm.*multiples of \(4, 4\)"),
    ],
)
def test_a_tile_that_does_not_fit_is_refused(size, padded, message):
    with pytest.raises(gpa.TreeError, match=message):
        tile_grid((8, 16), size, (4, 4), padded)


def test_an_array_shorter_than_a_tile_is_one_tile_where_it_is_padded():
    grid = tile_grid((8,), (16,), (4,), True)
    (tile,) = grid.tiles(Region((4,), (8,)))
    assert (tile.region, tile.part) == (Region((0,), (16,)), Region((0,), (8,)))


def test_tiles_of_many_axes_come_in_the_order_of_the_axes():
    grid = TileGrid(Region((0, 0), (4, 4)), (2, 2))
    assert [t.region.begin for t in grid.tiles(grid.extent)] == list(itertools.product((0, 2), (0, 2)))
