"""Where samples of an array come from: levels of a source's pyramid, or a computed array."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import attrs
import numpy as np

from ..errors import GpArraysError
from ..model.evaluate import evaluate
from ..model.meta import Region
from ..model.plan import Plan
from ..model.rules import Opened
from ..model.tasks import make_tasks

logger = logging.getLogger(__name__)

Voxels = np.ndarray[Any, Any]
Range = tuple[int, int]

#: Samples so near each other are read in one box where a source has no chunks.
NEAR = 64
#: At most so many voxels along an axis are read at once.
SPAN = 2048
#: What computing a voxel costs, in voxels decoded; and one read, in itself.
COMPUTED, CALL = 16, 2**12


@attrs.frozen(eq=False)
class Level:
    """Voxels that samples can be taken from.

    Attributes:
        begin, voxel_size: Where they are, in units of the tree; fractions for pyramid levels.
        shape: Of the spatial axes.
        chunks: What a read decodes at least, of the spatial axes.
        weight: What a voxel costs.
        least: What a read costs at least, however few its voxels.
        read: The voxels of index ranges of the non-spatial axes and a box.
    """

    begin: tuple[Fraction, ...]
    voxel_size: tuple[Fraction, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    weight: int
    least: int
    read: Callable[[Sequence[Range], Sequence[Range]], Voxels]

    def fine_enough(self, spacing: Sequence[int]) -> bool:
        """Whether samples that far apart, in units of the tree, lie in voxels of their own."""
        return all(v <= s for v, s in zip(self.voxel_size, spacing, strict=True))

    def pick(self, centres: Sequence[Sequence[int]]) -> Picked:
        """What to read for the voxels that hold some points: on each axis doubled positions."""
        runs = []
        for begin, voxel, size, chunk, points in zip(
            self.begin, self.voxel_size, self.shape, self.chunks, centres, strict=True
        ):
            # floor((p / 2 - begin) / voxel), in integers alone
            a, b = 2 * begin.numerator, begin.denominator
            above, below = voxel.denominator, 2 * b * voxel.numerator
            indices = [min(max((p * b - a) * above // below, 0), size - 1) for p in points]
            runs.append(_runs(indices, chunk))
        return Picked(self, tuple(runs))


Run = tuple[int, ...]


@attrs.frozen(eq=False)
class Picked:
    """Voxels of a level that are to be read: on each axis runs of indices, ascending."""

    level: Level
    runs: tuple[tuple[Run, ...], ...]

    @property
    def cost(self) -> int:
        """What ``read`` costs, in voxels decoded."""
        spans = []
        for runs, chunk, size in zip(self.runs, self.level.chunks, self.level.shape, strict=True):
            spans.append(sum(min(size, (run[-1] // chunk + 1) * chunk) - run[0] // chunk * chunk for run in runs))
        reads = math.prod(map(len, self.runs))
        return max(math.prod(spans) * self.level.weight, reads * self.level.least)

    def read(self, nonspatial: Sequence[Range]) -> Voxels:
        """The voxels, of some ranges of the non-spatial axes."""
        shape = tuple(b - a for a, b in nonspatial) + tuple(sum(map(len, runs)) for runs in self.runs)
        out: Voxels | None = None
        starts = [list(itertools.accumulate(map(len, runs), initial=0)) for runs in self.runs]
        for place in np.ndindex(*map(len, self.runs)):
            picked = [runs[i] for runs, i in zip(self.runs, place, strict=True)]
            box = self.level.read(nonspatial, [(run[0], run[-1] + 1) for run in picked])
            samples: Any = (..., *np.ix_(*[np.subtract(run, run[0]) for run in picked]))
            target: Any = (..., *(slice(s[i], s[i + 1]) for s, i in zip(starts, place, strict=True)))
            if out is None:
                out = np.empty(shape, box.dtype)
            out[target] = box[samples]
        assert out is not None
        return out


def _runs(indices: Sequence[int], chunk: int) -> tuple[Run, ...]:
    """Ascending indices, in runs whose voxels share chunks or lie in neighbouring ones.

    >>> _runs([1, 5, 9, 200, 400], 4)
    ((1, 5, 9), (200,), (400,))
    """
    runs: list[list[int]] = []
    near = max(chunk, NEAR) if chunk == 1 else chunk
    for i in indices:
        if runs and i - runs[-1][-1] <= near and i - runs[-1][0] < SPAN:
            runs[-1].append(i)
        else:
            runs.append([i])
    return tuple(tuple(run) for run in runs)


def stored(plan: Plan, index: int) -> list[Level]:
    """The levels of a source: itself, then those of its stored pyramid."""
    step = plan.steps[index]
    opened = step.opened
    assert opened is not None
    levels = [_level(opened, plan.unit)]
    try:
        levels += [_level(level, plan.unit) for level in opened.coarser()]
    except GpArraysError as error:
        logger.warning("%s: its pyramid is not used: %s", " > ".join(plan.path(index)), error)
    return levels


def _level(opened: Opened, unit: str) -> Level:
    lead = len(opened.nonspatial)

    def read(nonspatial: Sequence[Range], box: Sequence[Range]) -> Voxels:
        return opened.read(tuple(slice(a, b) for a, b in (*nonspatial, *box)))

    return Level(
        tuple(quantity.to(unit) for quantity in opened.offset),
        tuple(quantity.to(unit) for quantity in opened.voxel_size),
        opened.shape[lead:],
        opened.chunks[lead:] if opened.chunks is not None else (1,) * (len(opened.shape) - lead),
        1,
        CALL,
        read,
    )


def computed(plan: Plan, index: int) -> Level:
    """A computed array as a level, evaluated where it is read."""
    step = plan.steps[index]
    meta = step.meta

    def read(nonspatial: Sequence[Range], box: Sequence[Range]) -> Voxels:
        low = tuple(int(o + a * v) for o, (a, _), v in zip(meta.region.begin, box, meta.voxel_size, strict=True))
        high = tuple(int(o + b * v) for o, (_, b), v in zip(meta.region.begin, box, meta.voxel_size, strict=True))
        return evaluate(plan, [(index, Region(low, high, tuple(nonspatial) or None))])[0]

    dims = meta.dims
    return Level(
        tuple(Fraction(int(b)) for b in meta.region.begin),
        tuple(Fraction(int(v)) for v in meta.voxel_size),
        meta.spatial_shape,
        (1,) * dims,
        COMPUTED,
        _cost_of_one(plan, index),
        read,
    )


def _cost_of_one(plan: Plan, index: int) -> int:
    """What computing one voxel in the middle costs, its context and the chunks of that included."""
    meta, total = plan.steps[index].meta, 0
    middle = [n // 2 for n in meta.spatial_shape]
    begin = tuple(int(o + m * v) for o, m, v in zip(meta.region.begin, middle, meta.voxel_size, strict=True))
    voxel = Region(begin, tuple(int(b + v) for b, v in zip(begin, meta.voxel_size, strict=True)))
    for task in make_tasks(plan, [(index, voxel)]).tasks:
        step = plan.steps[task.step]
        if step.opened is None or step.opened.chunks is None:
            total += CALL + COMPUTED * math.prod(step.meta.voxels(task.region))
            continue
        chunks = step.opened.chunks[len(step.opened.nonspatial) :]
        grid = [c * int(v) for c, v in zip(chunks, step.meta.voxel_size, strict=True)]
        total += math.prod(step.meta.voxels(task.region.snap(grid, step.meta.region.begin)))
    return total
