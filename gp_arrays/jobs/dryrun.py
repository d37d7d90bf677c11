"""What a job would cost: its blocks, bytes, memory and time, before anything is made."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import StoreError, size_text
from ..model.evaluate import run
from ..model.meta import Region
from ..model.plan import compile_plan
from ..model.tasks import make_tasks
from ..storage.engine import DOCUMENTS
from .geometry import BASE_MEMORY, Output, Pass, block_bytes
from .outputs import Writer, array_attributes, create
from .prepare import Prepared
from .pyramid import level_roots
from .schedule import Schedule

#: How many blocks of a pass are measured at most, and for how many seconds one goes on after the first.
MEASURED, SECONDS = 12, 10.0


@attrs.frozen
class Cost:
    """What a job would cost.

    Attributes:
        blocks: To be done.
        empty, before: Known to be empty; done already.
        read: Bytes of voxels that come from sources, context included, and from levels below.
        written: Bytes of voxels of all outputs, before compression.
        memory: Bytes that a worker holds.
        seconds: Of computing and writing, with that many workers; their start-up apart. None
            where no block is left to measure.
        passes: For each pass its outputs, the shape of a block and how many there are.
        stored: Bytes on disk, as far as some blocks tell; None where none could be written on trial.
    """

    blocks: int
    empty: int
    before: int
    read: int
    written: int
    memory: int
    seconds: float | None
    workers: int
    passes: tuple[tuple[tuple[str, ...], tuple[int, ...], int], ...]
    stored: int | None = None

    def __str__(self) -> str:
        lines = [f"{counted(self.blocks)} to do ({self.before} done before, {self.empty} known to be empty)"]
        for outputs, block, count in self.passes:
            lines.append(f"  {', '.join(outputs)}: {counted(count)} of {' x '.join(map(str, block))}")
        stored = "" if self.stored is None else f", about {size_text(self.stored)} stored"
        lines.append(f"reads {size_text(self.read)}, writes {size_text(self.written)}{stored}")
        lines.append(f"about {size_text(self.memory)} of memory a worker")
        if self.seconds is not None:
            workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
            lines.append(f"{_time(self.seconds)} with {workers}, plus some seconds in which they start")
        lines.append("nothing was made")
        return "\n".join(lines)


def counted(blocks: int) -> str:
    """So many blocks, in words."""
    return "1 block" if blocks == 1 else f"{blocks} blocks"


def estimate(prepared: Prepared, schedule: Schedule, workers: int, seed: int = 0) -> Cost:
    """What a job would cost, from its plan and a few blocks that are computed and written elsewhere, on trial."""
    choice = random.Random(seed)
    read = written = memory = blocks = 0
    seconds = 0.0
    stored: list[float | None] = []
    with tempfile.TemporaryDirectory(prefix="gp_arrays-") as folder:
        trial = Trial(prepared, Path(folder))
        for pass_ in prepared.job.passes:
            missing = schedule.missing(pass_.name)
            count = int(missing.sum())
            if not count:
                continue
            blocks += count
            sizes = {output.dataset: written_bytes(pass_, output, missing) for output in pass_.outputs}
            size = sum(sizes.values())
            if pass_.level is None:
                places = np.flatnonzero(missing)[choice.sample(range(count), min(MEASURED, count))]
                some = zip(*(axis.tolist() for axis in np.unravel_index(places, pass_.grid)), strict=True)
                rate, reads = trial.measure(pass_, list(some))
                read += round(reads * size)
                memory = max(memory, block_bytes(prepared.plan, pass_))
            else:
                rate = trial.measure_level(pass_)
                # all that it is made of, and nothing around it
                times = math.prod(pass_.level.factors)
                read += times * size
                (output,) = pass_.outputs
                held = output.meta.bytes_of(pass_.region((0,) * len(pass_.grid)).intersect(output.meta.region))
                memory = max(memory, BASE_MEMORY + 2 * held * (1 + times))
            written += size
            seconds += rate * size / workers
            for dataset, part in sizes.items():
                ratio = trial.ratio(dataset)
                stored.append(None if ratio is None else ratio * part)
    return Cost(
        blocks,
        schedule.count(lambda name: schedule.chosen[name] & ~schedule.active[name]),
        schedule.count(lambda name: schedule.chosen[name] & schedule.active[name] & schedule.before[name]),
        read,
        written,
        memory,
        seconds if blocks else None,
        workers,
        tuple(
            (tuple(o.dataset for o in p.outputs), p.block, int(schedule.missing(p.name).sum()))
            for p in prepared.job.passes
        ),
        None if None in stored else round(sum(part for part in stored if part is not None)),
    )


def written_bytes(pass_: Pass, output: Output, blocks: np.ndarray[Any, Any]) -> int:
    """Bytes of an output's voxels within some blocks of a pass, given as a bool grid."""
    assert output.meta.dtype is not None
    return pass_.voxels(output, blocks) * output.meta.dtype.itemsize


class Trial:
    """Blocks computed and written into a store that is thrown away.

    Args:
        prepared: The job whose blocks they are.
        root: The folder of that store.
    """

    def __init__(self, prepared: Prepared, root: Path) -> None:
        self.prepared, self.root = prepared, root
        #: Whether blocks can be written: the disk for what is temporary may be too small for one.
        self.writes = True
        self._writers: dict[str, Writer] = {}
        self._voxels: dict[str, int] = {}
        self._last: dict[str, Region] = {}
        self._rates: dict[str, float] = {}

    def measure(self, pass_: Pass, places: Sequence[Sequence[int]]) -> tuple[float, float]:
        """For each byte that a pass writes: seconds, and bytes that it reads."""
        plan = self.prepared.plan
        written = read = 0
        took: list[float] = []
        sizes: list[int] = []
        for place in places:
            parts = pass_.wanted(pass_.region(place))
            wanted = [(plan.outputs[output.dataset], part) for output, part in parts]
            size = sum(output.meta.bytes_of(part) for output, part in parts)
            written += size
            tasks = make_tasks(plan, wanted)
            for index, regions in tasks.regions().items():
                if plan.steps[index].opened is not None:
                    read += sum(plan.steps[index].meta.bytes_of(region) for region in regions)
            if sum(took) < SECONDS:
                began = time.perf_counter()
                for (output, part), voxels in zip(parts, run(tasks), strict=True):
                    self._write(output, part, voxels)
                took.append(time.perf_counter() - began)
                sizes.append(size)
        # the first one also opens files and imports codecs
        first = 1 if sum(sizes[1:]) else 0
        return sum(took[first:]) / max(sum(sizes[first:]), 1), read / max(written, 1)

    def measure_level(self, pass_: Pass) -> float:
        """Seconds for each byte that a level's pass writes.

        The first level is made of a block of the base; higher ones cost as much for what they read.
        """
        assert pass_.level is not None
        (output,), below = pass_.outputs, pass_.level.below
        times = math.prod(pass_.level.factors)
        if below in self._last:
            meta = output.meta
            part = self._last[below].shrink(meta.voxel_size, meta.origin).intersect(meta.region)
            if not part.empty:
                plan = compile_plan(level_roots(pass_, self.root), self.prepared.plan.unit)
                wanted = [(plan.outputs[output.dataset], part.shift([-b for b in pass_.begin]))]
                for _ in range(2):  # the first time opens files
                    began = time.perf_counter()
                    (voxels,) = run(make_tasks(plan, wanted))
                    self._write(output, part, voxels, kept=False)
                    self._rates[output.dataset] = (time.perf_counter() - began) / voxels.nbytes / times
        rate = self._rates.setdefault(output.dataset, self._rates.get(below, 0.0))
        return rate * times

    def ratio(self, dataset: str) -> float | None:
        """Bytes stored for each byte of voxels; of a level what it is of its base. None where none were written."""
        below = {pass_.outputs[0].dataset: pass_.level.below for pass_ in self.prepared.job.passes if pass_.level}
        while dataset in below:
            dataset = below[dataset]
        if not self.writes or not self._voxels.get(dataset):
            return None
        files = (path for path in (self.root / dataset).rglob("*") if path.is_file() and path.name not in DOCUMENTS)
        return sum(path.stat().st_size for path in files) / self._voxels[dataset]

    def _write(self, output: Output, part: Region, voxels: np.ndarray[Any, Any], kept: bool = True) -> None:
        if not self.writes:
            return
        name = output.dataset
        try:
            if name not in self._writers:
                layout, attributes = self.prepared.layout, array_attributes(output.meta)
                create(self.root, name, output.meta, output.chunks, output.shards, layout.storage, attributes)
                self._writers[name] = Writer(self.root, name, output.meta, layout.skip_empty)
            self._writers[name].write(part, voxels)
        except (StoreError, OSError):
            self.writes = False
            return
        if kept:
            self._voxels[name] = self._voxels.get(name, 0) + voxels.nbytes
            self._last[name] = part


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.1f} {unit}"
    return "less than a second" if seconds < 1 else f"about {seconds:.0f} seconds"
