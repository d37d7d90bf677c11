"""How many voxels of a mask lie in each cell of a coarse grid: small for masks of any size."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import TreeError, errors_at
from ..model.absent import map_blocks
from ..model.checks import require_channels_only
from ..model.meta import Meta, Region, Voxels
from ..model.plan import Plan
from ..storage.access.files import replace_file, store_errors

#: The most cells with mask in them. Where there are more, cells are merged.
MOST_CELLS = 2**18
#: Voxels of a cell along an axis, about.
CELL = 32
#: Says which files this version wrote.
FORMAT = "gp_arrays occupancy 1"


@attrs.frozen(eq=False)
class Occupancy:
    """The cells of a coarse grid that hold any of a mask, and how many voxels of it.

    Attributes:
        shape: Voxels of the mask along each axis.
        cell: Voxels of a cell. The first begins where the mask does, the last may reach beyond it.
        keys: The cells, as indices into the flattened grid, sorted.
        counts: Voxels that are masked in, for each of them.
    """

    shape: tuple[int, ...]
    cell: tuple[int, ...]
    keys: Voxels
    counts: Voxels

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of cells along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.cell, strict=True))

    def coarser(self, factors: Sequence[int]) -> Occupancy:
        """With cells merged by so many along each axis."""
        cell = tuple(c * f for c, f in zip(self.cell, factors, strict=True))
        merged = Occupancy(self.shape, cell, self.keys, self.counts)
        index = np.unravel_index(self.keys, self.grid)
        keys = np.ravel_multi_index(tuple(i // f for i, f in zip(index, factors, strict=True)), merged.grid)
        keys, counts = summed(keys, self.counts)
        return attrs.evolve(merged, keys=keys, counts=counts)


def summed(keys: Voxels, counts: Voxels) -> tuple[Voxels, Voxels]:
    """Each key once, sorted, with the sum of its counts."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[starts], np.add.reduceat(counts, starts) if len(starts) else counts


def occupancies(
    shape: Sequence[int], cell: Sequence[int], blocks: Iterable[tuple[Sequence[int], Voxels]], most: int = MOST_CELLS
) -> list[Occupancy]:
    """The occupancy of each channel of a mask that comes block by block.

    Args:
        shape: Voxels of the mask along each spatial axis.
        cell: Voxels of a cell.
        blocks: Where each block begins, in voxels, a multiple of a cell; and its voxels, channels first.
        most: How many cells with mask in them a channel has at most; then cells are merged.
    """
    of_blocks = ([_of_block(shape, cell, begin, channel) for channel in block] for begin, block in blocks)
    merged: list[list[Occupancy]] = []
    # merging costs in proportion to what is known, so many blocks are merged at a time
    while batch := list(itertools.islice(of_blocks, 256)):
        merged = [[_merged(parts, most) for parts in zip(*merged, *batch, strict=True)]]
    return merged[0] if merged else []


def _merged(parts: Sequence[Occupancy], most: int) -> Occupancy:
    """The sum of some occupancies, with the cells of the first, which are no smaller than those of the others."""
    cell = parts[0].cell
    parts = [part.coarser([a // b for a, b in zip(cell, part.cell, strict=True)]) for part in parts]
    keys, counts = summed(
        np.concatenate([part.keys for part in parts]), np.concatenate([part.counts for part in parts])
    )
    merged = attrs.evolve(parts[0], keys=keys, counts=counts)
    while len(merged.keys) > most:
        merged = merged.coarser([2] * len(merged.cell))
    return merged


def _of_block(shape: Sequence[int], cell: Sequence[int], begin: Sequence[int], mask: Voxels) -> Occupancy:
    counts = (mask != 0).view(np.uint8)
    for axis, size in enumerate(cell):
        starts = np.arange(0, counts.shape[axis], size)
        counts = np.add.reduceat(counts, starts, axis=axis, dtype=np.int64 if axis else np.uint32)
    where = np.nonzero(counts)
    unplaced = Occupancy(tuple(shape), tuple(cell), np.empty(0, np.int64), counts[where].astype(np.int64))
    index = tuple(w + b // c for w, b, c in zip(where, begin, cell, strict=True))
    return attrs.evolve(unplaced, keys=np.ravel_multi_index(index, unplaced.grid).astype(np.int64))


def cell_shape(meta: Meta, chunks: Sequence[int] | None) -> tuple[int, ...]:
    """Voxels of a cell: at most ``CELL`` along each axis, so that chunks are whole cells where that is possible."""
    sizes = []
    for axis, n in enumerate(meta.spatial_shape):
        chunk = chunks[axis - meta.dims] if chunks else CELL
        fitting = [size for size in range(CELL // 4, CELL + 1) if chunk % size == 0]
        sizes.append(min(n, chunk if chunk < CELL else max(fitting, default=CELL)))
    return tuple(sizes)


def require_mask(meta: Meta, name: str) -> None:
    """Raises TreeError unless the array can be a mask: numbers, with no axes other than channels and space."""
    with errors_at(name):
        require_channels_only(meta, "a mask has channels or none")
    if meta.dtype is not None and meta.dtype.kind not in "buif":
        raise TreeError("a mask holds numbers", found=f"dtype {meta.dtype}", path=(name,))


def channels_of(mask: Voxels, dims: int, by_channel: bool) -> Voxels:
    """The voxels of a mask with one channel axis in front: each channel, or where any is nonzero."""
    split = mask.reshape(-1, *mask.shape[mask.ndim - dims :])
    return split if by_channel or len(split) == 1 else split.any(axis=0, keepdims=True)


def occupancies_of_step(
    plan: Plan, index: int, by_channel: bool, cache_file: Path | None = None, threads: int = 2
) -> list[Occupancy]:
    """The occupancy of a mask in a compiled tree: one, or one for each channel.

    Voxels are read block by block, but not where absent chunks prove that they are 0.

    Args:
        plan: The compiled tree.
        index: The step of the mask.
        by_channel: True for each channel by itself; else a voxel counts where any channel is nonzero.
        cache_file: Where the result is kept, and taken from if nothing has changed since.
        threads: How many blocks are read at once.
    """
    step = plan.steps[index]
    identity = _identity(plan, index, by_channel)
    if cache_file is not None and (cached := _load(cache_file, identity)) is not None:
        return cached
    chunks = next((s.opened.chunks for s in plan.steps if s.opened is not None and s.opened.chunks), None)
    cell = cell_shape(step.meta, chunks)
    entries = math.prod(axis.size for axis in step.meta.nonspatial or ())

    def part(region: Region, voxels: Voxels) -> tuple[list[int], Voxels]:
        begin = [
            (b - o) // int(v)
            for b, o, v in zip(region.begin, step.meta.region.begin, step.meta.voxel_size, strict=True)
        ]
        return begin, channels_of(voxels, step.meta.dims, by_channel)

    blocks = map_blocks(plan, index, part, threads, cell)
    counted = occupancies(step.meta.spatial_shape, cell, blocks)
    if not counted:  # no block may hold anything
        nothing = np.empty(0, np.int64)
        counted = [Occupancy(step.meta.spatial_shape, cell, nothing, nothing)] * (entries if by_channel else 1)
    if cache_file is not None:
        _save(cache_file, identity, counted)
    return counted


def _identity(plan: Plan, index: int, by_channel: bool) -> str:
    """What tells this mask from another, and from itself once its stores have changed."""
    stores = [step.opened.fingerprint() for step in plan.steps if step.opened is not None]
    parts = [
        FORMAT,
        plan.steps[index].config.content,
        plan.unit,
        str(plan.steps[index].meta.region),
        by_channel,
        stores,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _save(path: Path, identity: str, counted: Sequence[Occupancy]) -> None:
    arrays: dict[str, Any] = {"identity": np.array(identity), "shape": np.array(counted[0].shape)}
    for number, occupancy in enumerate(counted):
        arrays |= {
            f"cell{number}": np.array(occupancy.cell),
            f"keys{number}": occupancy.keys,
            f"counts{number}": occupancy.counts,
        }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    problem = "cannot write the occupancy of a mask"
    with store_errors(path, problem):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue(), problem=problem)


def _load(path: Path, identity: str) -> list[Occupancy] | None:
    """The occupancy of a file; None if there is none, or if it is of something else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["identity"]) != identity:
                return None
            count = sum(name.startswith("keys") for name in arrays.files)
            shape = tuple(arrays["shape"].tolist())
            return [
                Occupancy(shape, tuple(arrays[f"cell{i}"].tolist()), arrays[f"keys{i}"], arrays[f"counts{i}"])
                for i in range(count)
            ]
    except (OSError, ValueError, KeyError, EOFError):
        return None  # absent or damaged: it is made again
