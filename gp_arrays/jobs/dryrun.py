"""What a job would cost: its blocks, bytes, memory and time, before anything is created."""

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

from ..errors import StoreError
from ..model.evaluate import make_tasks
from ..model.meta import Region
from ..model.plan import Plan, compile_plan
from ..storage.chunked.array_files import DOCUMENTS
from .document import Work
from .geometry import BASE_MEMORY, Output, Pass, block_bytes
from .outputs import Writer, array_attributes, create_output
from .prepare import Prepared
from .pyramid import level_roots
from .result import Cost
from .schedule import Schedule

#: The most blocks of a pass that are measured, and the seconds after which no further block is begun.
MEASURED, SECONDS = 12, 10.0


@attrs.frozen
class Rate:
    """What a pass costs for each byte of voxels that it writes.

    Attributes:
        seconds: Of one worker.
        read: Bytes of voxels that are read.
        stored: Bytes on disk; None if the trial could not write any.
    """

    seconds: float
    read: float
    stored: float | None


def estimate(prepared: Prepared, schedule: Schedule, workers: int, seed: int = 0) -> Cost:
    """What a job would cost, from its plan and a few blocks that are computed and written to a temporary folder."""
    choice = random.Random(seed)
    rates: dict[str, Rate] = {}
    sizes: dict[str, int] = {}
    memory = 0
    with tempfile.TemporaryDirectory(prefix="gp_arrays-") as folder:
        trial = Trial(prepared, Path(folder))
        for pass_ in prepared.job.passes:
            missing = schedule.missing(pass_.name)
            if not missing.any():
                continue
            sizes[pass_.name] = sum(written_bytes(pass_, output, missing) for output in pass_.outputs)
            if pass_.level is None:
                numbers = np.flatnonzero(missing)
                sample = choice.sample(range(numbers.size), min(MEASURED, numbers.size))
                rates[pass_.name] = trial.measure_blocks(pass_, numbers[sample].tolist())
                needed = block_bytes(prepared.plan, pass_)
            else:
                # a voxel of a level is computed from those below it, and from no others
                factor = math.prod(pass_.level.factors)
                below = rates.get(pass_.level.after, Rate(0.0, factor, None))
                rates[pass_.name] = attrs.evolve(below, seconds=trial.measure_level(pass_, below), read=factor)
                meta = pass_.outputs[0].meta
                size_of_block = meta.bytes_of(pass_.block_of(0).intersect(meta.region))
                needed = BASE_MEMORY + 2 * size_of_block * (1 + factor)
            memory = max(memory, needed)
    costs = [(rates[name], size) for name, size in sizes.items()]
    stored = [rate.stored * size for rate, size in costs if rate.stored is not None]
    return Cost(
        blocks=schedule.count(schedule.missing),
        empty=schedule.count(schedule.empty),
        before=schedule.count(schedule.done_before),
        read=sum(round(rate.read * size) for rate, size in costs),
        written=sum(sizes.values()),
        memory=memory,
        seconds=sum(rate.seconds * size for rate, size in costs) / workers if costs else None,
        workers=workers,
        passes=tuple(
            (tuple(o.dataset for o in p.outputs), p.block, int(schedule.missing(p.name).sum()))
            for p in prepared.job.passes
        ),
        stored=round(sum(stored)) if len(stored) == len(costs) else None,
    )


def written_bytes(pass_: Pass, output: Output, blocks: np.ndarray[Any, Any]) -> int:
    """Bytes of an output's voxels within some blocks of a pass. ``blocks`` is a bool grid."""
    assert output.meta.dtype is not None
    return pass_.voxels(output, blocks) * output.meta.dtype.itemsize


class Trial:
    """Computes blocks as a worker does, and writes them into a store that is thrown away.

    Args:
        prepared: The job whose blocks they are.
        root: The folder of that store.
    """

    def __init__(self, prepared: Prepared, root: Path) -> None:
        self.prepared, self.root = prepared, root
        #: False once a block could not be written: the disk for temporary files may be too small for one.
        self.writes = True
        self._writers: dict[str, Writer] = {}
        #: The last region that was written of each dataset.
        self._last: dict[str, Region] = {}

    def measure_blocks(self, pass_: Pass, blocks: Sequence[int]) -> Rate:
        """Compute and write blocks of a pass, which are given by their numbers."""
        plan = self.prepared.plan
        size = read = 0
        times: list[tuple[float, int]] = []
        for region in map(pass_.block_of, blocks):
            parts = pass_.parts_in(region)
            size_of_block = sum(output.meta.bytes_of(part) for output, part in parts)
            size += size_of_block
            tasks = make_tasks(plan, [(plan.outputs[output.dataset], part) for output, part in parts])
            for index, regions in tasks.regions().items():
                if plan.steps[index].opened is not None:
                    read += sum(plan.steps[index].meta.bytes_of(region) for region in regions)
            if sum(seconds for seconds, _ in times) < SECONDS:
                times.append((self._run_block(plan, pass_, region), size_of_block))
        computed = sum(size for _, size in times)
        # the first one also opens files and imports codecs
        seconds, sizes = zip(*(times[1:] or times), strict=True)
        files = (path for output in pass_.outputs for path in (self.root / output.dataset).rglob("*"))
        stored = sum(path.stat().st_size for path in files if path.is_file() and path.name not in DOCUMENTS)
        known = self.writes and computed
        return Rate(sum(seconds) / max(sum(sizes), 1), read / max(size, 1), stored / computed if known else None)

    def measure_level(self, pass_: Pass, below: Rate) -> float:
        """Seconds for each byte that a level of a pyramid writes, from what was last written of the level below.

        Where that is less than a voxel, a byte takes as long as one of the level below.
        """
        assert pass_.level is not None
        meta = pass_.outputs[0].meta
        written = self._last.get(pass_.level.below)
        part = None if written is None else written.shrink(meta.voxel_size, meta.origin).intersect(meta.region)
        if part is None or part.empty or not self.writes:
            return below.seconds
        plan = compile_plan(level_roots(pass_, self.root), self.prepared.plan.unit)
        self._run_block(plan, pass_, part)  # opens files
        return self._run_block(plan, pass_, part) / meta.bytes_of(part)

    def _run_block(self, plan: Plan, pass_: Pass, region: Region) -> float:
        """Compute and write a block. Returns how many seconds that took."""
        began = time.perf_counter()
        for output, part, voxels in Work(self.root, self.prepared.job, plan, pass_).evaluate(region):
            self._write(output, part, voxels)
        return time.perf_counter() - began

    def _write(self, output: Output, part: Region, voxels: np.ndarray[Any, Any]) -> None:
        if not self.writes:
            return
        name, layout = output.dataset, self.prepared.layout
        try:
            if name not in self._writers:
                create_output(self.root, output, name, layout.storage, array_attributes(output.meta))
                self._writers[name] = Writer(self.root, name, output.meta, layout.skip_empty)
            self._writers[name].write(part, voxels)
            self._last[name] = part
        except (StoreError, OSError):
            self.writes = False
