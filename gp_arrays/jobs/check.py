"""What is stored against what the tree says: some blocks anew, or two arrays voxel by voxel."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, TreeError
from ..model import fields
from ..model.array import Array
from ..model.meta import Region
from ..storage.chunks import CHUNK
from . import document
from .outputs import Writer
from .state import State


@attrs.frozen
class Difference:
    """Where two arrays differ.

    Attributes:
        count: Of voxels, all channels counted.
        total: Of voxels compared.
        first: Where the first one is, in world units, its corner.
        channel: The index of it along the axes before the spatial ones.
        values: What the two arrays have there.
        roi: The box around all of them, None where there are none.
        dtypes: Of the two arrays, where they differ; the values may be equal all the same.
    """

    count: int
    total: int
    first: tuple[int, ...] = ()
    channel: tuple[int, ...] = ()
    values: tuple[Any, Any] = (None, None)
    roi: Roi | None = None
    dtypes: tuple[np.dtype[Any], np.dtype[Any]] | None = None

    def __str__(self) -> str:
        dtypes = [f"dtypes differ: {self.dtypes[0]} and {self.dtypes[1]}"] if self.dtypes else []
        if self.roi is None:
            return "\n".join([f"equal: {self.total} voxels", *dtypes])
        channel = f" channel {','.join(map(str, self.channel))}" if self.channel else ""
        lines = [
            f"{self.count} of {self.total} voxels differ, within {Region.of(self.roi)}",
            f"first at {','.join(map(str, self.first))}{channel}: {self.values[0]} and {self.values[1]}",
            *dtypes,
        ]
        return "\n".join(lines)


def compare(a: Array, b: Array, block: Sequence[int] | None = None) -> Difference:
    """Compare two arrays where both are, block by block: by value, exactly, whatever their dtypes.

    Args:
        a, b: Of one voxel size, unit and grid, with the same axes before the spatial ones.
        block: Voxels at a time along each spatial axis.

    Raises:
        TreeError: They cannot be compared.
    """
    for what in ("dims", "voxel_size", "unit"):
        if getattr(a, what) != getattr(b, what):
            raise TreeError(
                f"{what.replace('_', ' ')} of the arrays differ", found=f"{getattr(a, what)}, {getattr(b, what)}"
            )
    if a.shape[: -a.dims] != b.shape[: -b.dims] or a.meta.origin != b.meta.origin:
        raise TreeError(
            "the arrays do not lie on one grid, or have other channels",
            found=f"{a.meta.region} {a.shape}, {b.meta.region} {b.shape}",
        )
    common = a.meta.region.intersect(b.meta.region)
    if common.empty:
        raise TreeError("the arrays do not overlap", found=f"{a.meta.region}, {b.meta.region}")
    steps = [n * int(v) for n, v in zip(block or (2 * CHUNK,) * a.dims, a.voxel_size, strict=True)]
    count = total = 0
    first: tuple[Any, ...] | None = None
    around: Region | None = None
    for position in np.ndindex(*[-((o - e) // s) for o, e, s in zip(common.begin, common.end, steps, strict=True)]):
        begin = tuple(o + i * s for o, i, s in zip(common.begin, position, steps, strict=True))
        region = Region(begin, tuple(p + s for p, s in zip(begin, steps, strict=True))).intersect(common)
        one, other = a[region.roi], b[region.roi]
        differ = unequal(one, other)
        total += differ.size
        places = np.argwhere(differ)
        if not len(places):
            continue
        count += len(places)
        lead = differ.ndim - a.dims
        low, high = places[:, lead:].min(0), places[:, lead:].max(0) + 1
        box = Region(
            tuple(int(p + i * v) for p, i, v in zip(begin, low, a.voxel_size, strict=True)),
            tuple(int(p + i * v) for p, i, v in zip(begin, high, a.voxel_size, strict=True)),
        )
        around = box if around is None else around.union(box)
        if first is None:
            at = tuple(places[0].tolist())
            world = tuple(int(p + i * v) for p, i, v in zip(begin, at[lead:], a.voxel_size, strict=True))
            first = (world, at[:lead], (one[at].item(), other[at].item()))
    dtypes = None if a.dtype == b.dtype else (a.dtype, b.dtype)
    if first is None or around is None:
        return Difference(count, total, dtypes=dtypes)
    world, channel, values = first
    return Difference(count, total, world, channel, values, around.roi, dtypes)


def unequal(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where two arrays of one shape have different values, exactly; NaN is equal to NaN.

    >>> unequal(np.array([2**53 + 1, 7], "u8"), np.array([2**53, 7], "f8"))
    array([ True, False])
    """
    differ: np.ndarray[Any, Any]
    if one.dtype.kind == "f" and other.dtype.kind in "iu":
        one, other = other, one
    if one.dtype.kind in "iu" and one.dtype.itemsize == 8 and other.dtype.kind == "f":
        # numpy would compare in float64, where integers beyond 2^53 fall together
        limits, other = np.iinfo(one.dtype), other.astype(np.promote_types(other.dtype, np.float64), copy=False)
        # float(limits.max) is one more than the largest; NaN and what is infinite are not within
        whole = (other >= float(limits.min)) & (other < float(limits.max)) & (np.trunc(other) == other)
        differ = ~whole | (np.where(whole, other, 0).astype(one.dtype) != one)
        return differ
    differ = one != other
    if one.dtype.kind == "f" and other.dtype.kind == "f":
        differ &= ~(np.isnan(one) & np.isnan(other))
    return differ


@attrs.frozen
class Checked:
    """Blocks that were computed again: how many, and which of them are stored otherwise."""

    blocks: int
    wrong: tuple[tuple[str, Roi], ...]

    def __str__(self) -> str:
        lines = [f"{self.blocks} blocks computed again, {len(self.wrong)} stored otherwise"]
        lines += [f"  {name} {Region.of(roi)}" for name, roi in self.wrong[:10]]
        return "\n".join(lines)


def check_blocks(folder: str | Path, count: int, seed: int | None = None, trust: bool = False) -> Checked:
    """Compute some blocks of a job again, chosen at random among those done, and compare them.

    Args:
        folder: The state of the job.
        count: How many blocks; all where there are no more.
        seed: For the same choice each time.
        trust: True imports whatever modules the job names, from where Python finds them; else a job that needs others
            than this package and installed array types is refused.

    Raises:
        TreeError: The job needs modules, and ``trust`` is False.
        StoreError: The folder holds no job of this version.
    """
    if fields.to_integer(count) < 1:
        raise ConfigError("at least one block is checked", found=count)
    state = State(Path(folder))
    job = document.read(state.folder)
    document.require_trust(job, trust)
    choice = random.Random(seed)
    done = [np.flatnonzero(state.done(made)) for made in job.passes]
    ends = np.cumsum([len(blocks) for blocks in done])
    total = int(ends[-1])
    loaded: dict[str, document.Work] = {}
    wrong = []
    # by number, as there may be too many blocks to list
    numbers = sorted(choice.sample(range(total), min(count, total)))
    for number in numbers:
        which = int(np.searchsorted(ends, number, side="right"))
        made = job.passes[which]
        if made.name not in loaded:
            loaded[made.name] = document.load(state.folder, job, made.name)
        work = loaded[made.name]
        # counted back from where its pass ends
        for output, part, voxels in work.evaluate(made.block_of(int(done[which][number - int(ends[which])]))):
            stored = Writer(work.root, output.dataset, output.meta).read(part)
            if not np.array_equal(stored, voxels, equal_nan=voxels.dtype.kind == "f"):
                wrong.append((output.dataset, part.roi))
    return Checked(len(numbers), tuple(wrong))
