"""The blocks of a job. Each block holds complete chunks of every output and fits into the memory of a worker."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import attrs
import numpy as np

from ..errors import ConfigError, TreeError, size_text, sizes_apart
from ..model.evaluate import make_tasks
from ..model.meta import Meta, Region
from ..model.plan import Plan
from ..model.rois import to_block
from .chunking import default_chunks, smallest_block, tile_below

#: Bytes that a worker may hold, by default.
MEMORY = 2 * 1024**3
#: Bytes that the interpreter and the libraries need, before any voxel is read.
BASE_MEMORY = 256 * 1024**2
#: With so many voxels in a block, the time to schedule the block does not matter.
BLOCK_VOXELS = 128**3
#: Blocks are enlarged until this many remain: with fewer, some workers would have no block.
FEW_BLOCKS = 16
#: If there are more blocks than this, they are enlarged as far as memory allows.
MANY_BLOCKS = 50_000
#: The most characters in the name of a pass or a state folder. File systems allow 255 bytes.
LONGEST_NAME = 120


@attrs.frozen(eq=False)
class Output:
    """An array that a job writes, and how it is stored.

    Attributes:
        dataset: Its path in the store, and its name in the plan.
        meta: Its extent, voxel size, axes and dtype.
        chunks: In voxels, of all axes.
        shards: In voxels, of all axes; None if chunks do not lie in shards.
    """

    dataset: str
    meta: Meta
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None

    @property
    def write_size(self) -> tuple[int, ...]:
        """The shape of a chunk or shard, in world units: only one worker may write to it."""
        stored = (self.shards or self.chunks)[-self.meta.dims :]
        return tuple(int(c * v) for c, v in zip(stored, self.meta.voxel_size, strict=True))

    @property
    def buffer(self) -> int:
        """Bytes of a chunk or shard in memory. It is complete there, even if only a part of it lies in the array."""
        dtype = self.meta.dtype
        return math.prod(self.shards or self.chunks) * (1 if dtype is None else dtype.itemsize)


@attrs.frozen
class Level:
    """What a level of a pyramid is computed from.

    Attributes:
        after: The name of the pass that writes the level below.
        below: The dataset of the level below.
        factors: How many voxels of the level below make one voxel, along each spatial axis.
        method: How a voxel is computed from them: ``mean``, ``mode`` or ``nearest``.
    """

    after: str
    below: str
    factors: tuple[int, ...]
    method: str


@attrs.frozen(eq=False)
class Pass:
    """Outputs that are computed together, block by block. Passes are a part of the job document.

    Attributes:
        name: Made of the names of the outputs. The daisy task, the journals and the bitmaps have it too.
        outputs: Their chunk grids coincide.
        begin: The corner of the first block, in world units.
        block: The shape of a block.
        grid: The number of blocks along each axis.
        level: What the output is computed from if it is a level of a pyramid, else None.
    """

    name: str
    outputs: tuple[Output, ...]
    begin: tuple[int, ...]
    block: tuple[int, ...]
    grid: tuple[int, ...]
    level: Level | None = None

    @property
    def count(self) -> int:
        return math.prod(self.grid)

    def region(self, position: Sequence[int]) -> Region:
        """The region of the block at a position in the grid. It may reach beyond the outputs."""
        begin = tuple(b + i * s for b, i, s in zip(self.begin, position, self.block, strict=True))
        return Region(begin, tuple(b + s for b, s in zip(begin, self.block, strict=True)))

    def parts_in(self, block: Region) -> list[tuple[Output, Region]]:
        """The part of each output that a block covers."""
        parts = [(output, output.meta.region.intersect(block)) for output in self.outputs]
        return [(output, part) for output, part in parts if not part.empty]

    def blocks_touching(self, region: Region) -> tuple[slice, ...]:
        """The blocks that touch a region, as slices of the grid."""
        spans = zip(region.begin, region.end, self.begin, self.block, self.grid, strict=True)
        return tuple(slice(min(n, max(0, (b - o) // s)), max(0, min(n, -((o - e) // s)))) for b, e, o, s, n in spans)

    def voxels(self, output: Output, blocks: np.ndarray[Any, Any]) -> int:
        """How many voxels of an output lie in the blocks that are True in the bool grid ``blocks``."""
        counts: Any = blocks
        extent = output.meta.region
        # the number of voxels in a block is a product of lengths, so the axes can be summed one after another
        for axis, count in enumerate(self.grid):
            begins = self.begin[axis] + np.arange(count, dtype=np.int64) * self.block[axis]
            lengths = np.minimum(begins + self.block[axis], extent.end[axis]) - np.maximum(begins, extent.begin[axis])
            counts = np.tensordot(np.maximum(lengths, 0) // int(output.meta.voxel_size[axis]), counts, (0, 0))
        return int(counts) * math.prod(axis.size for axis in output.meta.nonspatial or ())

    def block_of(self, number: int) -> Region:
        """The region of a block by its number. Blocks are counted along the last axis first."""
        return self.region([int(i) for i in np.unravel_index(number, self.grid)])

    def box_of(self, output: Output) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the first block begins in the voxels of an output, and the shape of a block, in voxels."""
        sizes = [int(v) for v in output.meta.voxel_size]
        begin = (o - b for o, b in zip(self.begin, output.meta.region.begin, strict=True))
        return (
            tuple(b // v for b, v in zip(begin, sizes, strict=True)),
            tuple(s // v for s, v in zip(self.block, sizes, strict=True)),
        )


def file_name(datasets: Sequence[str]) -> str:
    """A name of a file or folder for a list of datasets. Different lists have different names.

    >>> file_name(["raw", "labels/masks"])
    'raw+labels%2Fmasks'
    """
    name = "+".join(quote(dataset, safe="") or "%" for dataset in datasets)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"
    return name


def coincide(a: Output, b: Output) -> bool:
    """True if the chunk grids of two outputs coincide, so that one pass can write both."""
    return (
        a.write_size == b.write_size
        and all(
            (p - q) % u == 0 for p, q, u in zip(a.meta.region.begin, b.meta.region.begin, a.write_size, strict=True)
        )
        and not a.meta.region.intersect(b.meta.region).empty
    )


def plan_pass(plan: Plan, outputs: Sequence[Output], memory: int = MEMORY, block: Any = None) -> Pass:
    """The blocks of outputs whose chunk grids coincide.

    Args:
        plan: The compiled tree.
        outputs: Their chunk grids coincide.
        memory: What a worker may hold, in bytes.
        block: The shape of a block, in world units or as lengths with units. By default about 128 voxels along each
            axis, and complete tiles if an output is computed in tiles.

    Raises:
        ConfigError: The block is not a multiple of the chunks.
        TreeError: A single chunk needs more than the memory.
    """
    size = outputs[0].write_size
    extent = outputs[0].meta.region
    for output in outputs[1:]:
        extent = extent.union(output.meta.region)
    # the grid begins where the first chunk of any output begins, or where the tile around that chunk begins
    tile = tile_below(plan, [plan.outputs[output.dataset] for output in outputs])
    begin, smallest = smallest_block(extent, size, tile)

    def blocks_of(shape: Sequence[int], begin: tuple[int, ...] = begin) -> Pass:
        grid = tuple(-((b - e) // s) for b, e, s in zip(begin, extent.end, shape, strict=True))
        return Pass(file_name([o.dataset for o in outputs]), tuple(outputs), begin, tuple(shape), grid)

    if block is not None:
        block = to_block(block, plan.unit)
        if len(block) != len(size) or any(b <= 0 or b % s for b, s in zip(block, size, strict=True)):
            raise ConfigError("a block must be a multiple of the chunks", found=block, allowed=f"multiples of {size}")
        in_tiles = all(b % n == 0 for b, n in zip(block, smallest, strict=True))
        pass_ = blocks_of(block, begin if in_tiles else extent.begin)
        _require_memory(plan, pass_, memory)
        return pass_
    pass_ = blocks_of(smallest)
    _require_memory(plan, pass_, memory, tile)
    while True:
        axes = [i for i in range(len(size)) if pass_.grid[i] > 1]
        if not axes or pass_.count <= FEW_BLOCKS:
            return pass_
        axis = min(axes, key=lambda i: (pass_.block[i], -i))
        grown = blocks_of([2 * n if i == axis else n for i, n in enumerate(pass_.block)])
        many = pass_.count > MANY_BLOCKS
        if not many and _voxels(grown) > BLOCK_VOXELS:
            return pass_
        if block_bytes(plan, grown) > memory:
            return pass_
        pass_ = grown


def block_bytes(plan: Plan, pass_: Pass) -> int:
    """Bytes that a worker needs for a block, those of the interpreter and the libraries included."""
    # a block in the middle, which reads context on every side
    middle = pass_.region([n // 2 for n in pass_.grid])
    parts = pass_.parts_in(middle)
    wanted = [(plan.outputs[output.dataset], part) for output, part in parts]
    # the voxels of all outputs are in memory while the outputs are written one after another
    writing = sum(output.meta.bytes_of(part) for output, part in parts) + max(output.buffer for output in pass_.outputs)
    return BASE_MEMORY + max(make_tasks(plan, wanted).peak_bytes(), writing)


def no_memory(
    problem: str, needed: int, what: str, memory: int, path: tuple[str, ...], remedy: str = "smaller chunks or blocks"
) -> TreeError:
    """The error for something (``what``) that needs more memory than a worker may use."""
    needed_text, memory_text = sizes_apart(needed, memory)
    least = f"more than {size_text(BASE_MEMORY)}, which a worker needs before it reads a voxel"
    return TreeError(
        f"{problem} does not fit into a worker's memory",
        found=f"{needed_text} for {what}",
        path=path,
        allowed=f"{memory_text}; {least if memory <= BASE_MEMORY else f'{remedy}, or more memory'}",
    )


def _voxels(pass_: Pass) -> int:
    return max(math.prod(o.meta.voxels(pass_.region((0,) * len(pass_.grid)))) for o in pass_.outputs)


def _require_memory(plan: Plan, pass_: Pass, memory: int, tile: Region | None = None) -> None:
    for output in pass_.outputs:
        if BASE_MEMORY + output.buffer > memory:
            what = "a chunk" if output.shards is None else "a shard"
            voxels = f"{output.shards or output.chunks} voxels of {output.meta.dtype}"
            raise no_memory(what, BASE_MEMORY + output.buffer, voxels, memory, (output.dataset,))
    needed = block_bytes(plan, pass_)
    if needed > memory:
        names = ", ".join(output.dataset for output in pass_.outputs)
        blocks, remedy = "a block", "smaller chunks or blocks"
        if tile is not None:
            blocks, remedy = "a block of complete tiles and complete chunks", "a smaller tile_size"
            suits = default_chunks(pass_.outputs[0].meta, tile)
            if block_bytes(plan, attrs.evolve(pass_, block=tile.shape)) <= memory:
                remedy = f"chunks that divide the tile, such as {suits}"
        raise no_memory(blocks, needed, f"{pass_.block} {plan.unit}", memory, (names,), remedy)
