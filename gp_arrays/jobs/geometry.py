"""The blocks of a job: each holds complete chunks of every output and fits into the memory of a worker."""

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
#: Bytes of it that the interpreter and the libraries take, before any voxel.
BASE_MEMORY = 256 * 1024**2
#: Voxels of a block that make the cost of scheduling it negligible.
BLOCK_VOXELS = 128**3
#: Blocks are enlarged until this many remain: fewer would leave workers without one.
FEW_BLOCKS = 16
#: Where there would be more blocks than this, they are enlarged as far as memory allows.
MANY_BLOCKS = 50_000
#: Characters of the name of a pass or a state; file systems allow 255 bytes.
LONGEST_NAME = 120


@attrs.frozen(eq=False)
class Output:
    """An array that is written, and how it is stored.

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
    def unit(self) -> tuple[int, ...]:
        """The smallest box that two writers may not share, in world units."""
        stored = (self.shards or self.chunks)[-self.meta.dims :]
        return tuple(int(c * v) for c, v in zip(stored, self.meta.voxel_size, strict=True))

    @property
    def buffer(self) -> int:
        """Bytes of a chunk, or shard. It is encoded completely even where only a part of it lies in the array."""
        dtype = self.meta.dtype
        return math.prod(self.shards or self.chunks) * (1 if dtype is None else dtype.itemsize)


@attrs.frozen
class Level:
    """What a level of a pyramid is computed from.

    Attributes:
        after: The name of the pass below.
        below: The dataset below, which that pass writes.
        factors: By how much the level is coarser along each spatial axis.
        method: How a voxel is computed from those below it.
    """

    after: str
    below: str
    factors: tuple[int, ...]
    method: str


@attrs.frozen(eq=False)
class Pass:
    """Outputs that are computed together, block by block. It is a part of the job document.

    Attributes:
        name: Its outputs, as the name of a file: of its daisy task, journals and bitmaps.
        outputs: Their chunk grids coincide.
        begin: The corner of the first block, in world units.
        block: The shape of a block.
        grid: How many blocks there are along each axis.
        level: How it is computed from the pass below if it is a level of a pyramid, else None.
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
        """The box of a block; it may reach beyond the outputs."""
        begin = tuple(b + i * s for b, i, s in zip(self.begin, position, self.block, strict=True))
        return Region(begin, tuple(b + s for b, s in zip(begin, self.block, strict=True)))

    def parts_in(self, block: Region) -> list[tuple[Output, Region]]:
        """The part of each output that a block covers."""
        parts = [(output, output.meta.region.intersect(block)) for output in self.outputs]
        return [(output, part) for output, part in parts if not part.empty]

    def blocks_touching(self, region: Region) -> tuple[slice, ...]:
        """The blocks that touch a box, as slices of the grid."""
        spans = zip(region.begin, region.end, self.begin, self.block, self.grid, strict=True)
        return tuple(slice(min(n, max(0, (b - o) // s)), max(0, min(n, -((o - e) // s)))) for b, e, o, s, n in spans)

    def voxels(self, output: Output, blocks: np.ndarray[Any, Any]) -> int:
        """How many voxels of an output lie within some blocks. ``blocks`` is a bool grid."""
        counts: Any = blocks
        extent = output.meta.region
        # the voxels of a block are the product of its lengths, so the axes are summed one after another
        for axis, count in enumerate(self.grid):
            begins = self.begin[axis] + np.arange(count, dtype=np.int64) * self.block[axis]
            lengths = np.minimum(begins + self.block[axis], extent.end[axis]) - np.maximum(begins, extent.begin[axis])
            counts = np.tensordot(np.maximum(lengths, 0) // int(output.meta.voxel_size[axis]), counts, (0, 0))
        return int(counts) * math.prod(axis.size for axis in output.meta.nonspatial or ())

    def block_of(self, number: int) -> Region:
        """The box of a block by its number, which counts along the last axis first."""
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
    """The name of a file or folder for some datasets, another one for each choice of them.

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
        a.unit == b.unit
        and all((p - q) % u == 0 for p, q, u in zip(a.meta.region.begin, b.meta.region.begin, a.unit, strict=True))
        and not a.meta.region.intersect(b.meta.region).empty
    )


def plan_pass(plan: Plan, outputs: Sequence[Output], memory: int = MEMORY, block: Any = None) -> Pass:
    """The blocks of outputs whose chunk grids coincide.

    Args:
        plan: The compiled tree.
        outputs: Their chunk grids coincide.
        memory: What a worker may hold, in bytes.
        block: The shape of a block, in world units or as lengths with units. By default about 128 voxels along each
            axis; complete tiles if an output is computed in tiles.

    Raises:
        ConfigError: The block does not hold complete chunks.
        TreeError: A single chunk does not fit into the memory.
    """
    unit = outputs[0].unit
    extent = outputs[0].meta.region
    for output in outputs[1:]:
        extent = extent.union(output.meta.region)
    # a grid over all outputs begins where the first chunk of any of them does, or the tile that holds it
    tile = tile_below(plan, [plan.outputs[output.dataset] for output in outputs])
    begin, least = smallest_block(extent, unit, tile)

    def blocks_of(shape: Sequence[int], begin: tuple[int, ...] = begin) -> Pass:
        grid = tuple(-((b - e) // s) for b, e, s in zip(begin, extent.end, shape, strict=True))
        return Pass(file_name([o.dataset for o in outputs]), tuple(outputs), begin, tuple(shape), grid)

    if block is not None:
        block = to_block(block, plan.unit)
        if len(block) != len(unit) or any(b <= 0 or b % u for b, u in zip(block, unit, strict=True)):
            raise ConfigError("a block must be whole chunks", found=block, allowed=f"multiples of {unit}")
        in_tiles = all(b % n == 0 for b, n in zip(block, least, strict=True))
        pass_ = blocks_of(block, begin if in_tiles else extent.begin)
        _require_memory(plan, pass_, memory)
        return pass_
    pass_ = blocks_of(least)
    _require_memory(plan, pass_, memory, tile)
    while True:
        axes = [i for i in range(len(unit)) if pass_.grid[i] > 1]
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
    """What a worker holds while it works on a block, with all that it always holds."""
    # somewhere in the middle, where context is read on every side
    middle = pass_.region([n // 2 for n in pass_.grid])
    parts = pass_.parts_in(middle)
    wanted = [(plan.outputs[output.dataset], part) for output, part in parts]
    # outputs are written one after another, while the voxels of all are in memory
    writing = sum(output.meta.bytes_of(part) for output, part in parts) + max(output.buffer for output in pass_.outputs)
    return BASE_MEMORY + max(make_tasks(plan, wanted).peak_bytes(), writing)


def no_memory(
    problem: str, needed: int, what: str, memory: int, path: tuple[str, ...], remedy: str = "smaller chunks or blocks"
) -> TreeError:
    """The error for ``what``, which needs more than a worker may hold."""
    needed_text, memory_text = sizes_apart(needed, memory)
    least = f"more than {size_text(BASE_MEMORY)}, which a worker takes before any voxel"
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
