"""What a job would cost: its blocks, bytes, memory and time, before anything is created."""

from __future__ import annotations

import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..model.evaluate import make_tasks
from ..model.meta import Region
from ..model.plan import compile_plan
from ..storage.chunked.array_files import DOCUMENTS
from .document import Work
from .geometry import BASE_MEMORY, Output, Pass, block_bytes
from .outputs import Writer, array_attributes, create
from .prepare import Prepared
from .pyramid import level_roots
from .result import Cost
from .schedule import Schedule

#: The most blocks of a pass that are measured, and the seconds after which no further one is begun.
MEASURED, SECONDS = 12, 10.0


def estimate(prepared: Prepared, schedule: Schedule, workers: int, seed: int = 0) -> Cost:
    """What a job would cost, from its plan and a few blocks that are computed and written to a temporary folder."""
    choice = random.Random(seed)
    read = memory = 0
    seconds = 0.0
    written: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="gp_arrays-") as folder:
        trial = Trial(prepared, Path(folder))
        for pass_ in prepared.job.passes:
            missing = schedule.missing(pass_.name)
            if not missing.any():
                continue
            sizes = {output.dataset: written_bytes(pass_, output, missing) for output in pass_.outputs}
            size = sum(sizes.values())
            if pass_.level is None:
                numbers = np.flatnonzero(missing)
                some = choice.sample(range(numbers.size), min(MEASURED, numbers.size))
                rate, reads = trial.measure(pass_, numbers[some].tolist())
                needed = block_bytes(prepared.plan, pass_)
            else:
                # all that it is computed from, and nothing around it
                rate, reads = trial.measure_level(pass_), math.prod(pass_.level.factors)
                meta = pass_.outputs[0].meta
                size_of_block = meta.bytes_of(pass_.block_of(0).intersect(meta.region))
                needed = BASE_MEMORY + round(2 * size_of_block * (1 + reads))
            read += round(reads * size)
            memory = max(memory, needed)
            seconds += rate * size / workers
            written.update(sizes)
        ratios = {dataset: trial.ratio(dataset) for dataset in written}
    known = [ratio * written[dataset] for dataset, ratio in ratios.items() if ratio is not None]
    return Cost(
        blocks=schedule.count(schedule.missing),
        empty=schedule.count(schedule.empty),
        before=schedule.count(schedule.done_before),
        read=read,
        written=sum(written.values()),
        memory=memory,
        seconds=seconds if written else None,
        workers=workers,
        passes=tuple(
            (tuple(o.dataset for o in p.outputs), p.block, int(schedule.missing(p.name).sum()))
            for p in prepared.job.passes
        ),
        stored=round(sum(known)) if len(known) == len(ratios) else None,
    )


def written_bytes(pass_: Pass, output: Output, blocks: np.ndarray[Any, Any]) -> int:
    """Bytes of an output's voxels within some blocks of a pass. ``blocks`` is a bool grid."""
    assert output.meta.dtype is not None
    return pass_.voxels(output, blocks) * output.meta.dtype.itemsize


class Trial:
    """Computes blocks as a worker does and writes them into a store that is thrown away.

    Args:
        prepared: The job whose blocks they are.
        root: The folder of that store.
    """

    def __init__(self, prepared: Prepared, root: Path) -> None:
        self.prepared, self.root = prepared, root
        #: True as long as blocks can be written: the disk for temporary files may be too small for one.
        self.writes = True
        self._writers: dict[str, Writer] = {}
        self._bytes: dict[str, int] = {}
        self._last: dict[str, Region] = {}
        #: Of levels: seconds for each byte that is read.
        self._rates: dict[str, float] = {}

    def measure(self, pass_: Pass, blocks: list[int]) -> tuple[float, float]:
        """For each byte that a pass writes: seconds, and bytes that it reads. ``blocks`` are numbers of some blocks."""
        plan = self.prepared.plan
        work = Work(self.root, self.prepared.job, plan, pass_)
        written = read = 0
        times: list[tuple[float, int]] = []
        for region in map(pass_.block_of, blocks):
            parts = pass_.wanted(region)
            size = sum(output.meta.bytes_of(part) for output, part in parts)
            written += size
            tasks = make_tasks(plan, [(plan.outputs[output.dataset], part) for output, part in parts])
            for index, regions in tasks.regions().items():
                if plan.steps[index].opened is not None:
                    read += sum(plan.steps[index].meta.bytes_of(region) for region in regions)
            if sum(seconds for seconds, _ in times) < SECONDS:
                times.append((self._do(work, region), size))
        # the first one also opens files and imports codecs
        seconds, sizes = zip(*(times[1:] or times), strict=True)
        return sum(seconds) / max(sum(sizes), 1), read / max(written, 1)

    def measure_level(self, pass_: Pass) -> float:
        """Seconds for each byte that the pass of a level writes.

        The first level is computed from a block of the base; higher ones cost as much for what they read.
        """
        assert pass_.level is not None
        (output,), below = pass_.outputs, pass_.level.below
        factor = math.prod(pass_.level.factors)
        if below in self._last:
            part = self._last[below].shrink(output.meta.voxel_size, output.meta.origin).intersect(output.meta.region)
            if not part.empty:
                plan = compile_plan(level_roots(pass_, self.root), self.prepared.plan.unit)
                work = Work(self.root, self.prepared.job, plan, pass_)
                self._do(work, part)  # opens files
                self._rates[output.dataset] = self._do(work, part) / output.meta.bytes_of(part) / factor
        return self._rates.setdefault(output.dataset, self._rates.get(below, 0.0)) * factor

    def ratio(self, dataset: str) -> float | None:
        """Bytes stored for each byte of voxels; of a level that of its base. None where none were written."""
        below = {pass_.outputs[0].dataset: pass_.level.below for pass_ in self.prepared.job.passes if pass_.level}
        while dataset in below:
            dataset = below[dataset]
        if not self.writes or not self._bytes.get(dataset):
            return None
        files = (path for path in (self.root / dataset).rglob("*") if path.is_file() and path.name not in DOCUMENTS)
        return sum(path.stat().st_size for path in files) / self._bytes[dataset]

    def _do(self, work: Work, region: Region) -> float:
        """Compute and write a block. Returns how many seconds that took."""
        began = time.perf_counter()
        for output, part, voxels in work.evaluate(region):
            self._write(output, part, voxels)
            self._bytes[output.dataset] = self._bytes.get(output.dataset, 0) + voxels.nbytes
            if self.writes and work.pass_.level is None:
                self._last[output.dataset] = part
        return time.perf_counter() - began

    def _write(self, output: Output, part: Region, voxels: np.ndarray[Any, Any]) -> None:
        name = output.dataset
        try:
            if self.writes and name not in self._writers:
                layout, attributes = self.prepared.layout, array_attributes(output.meta)
                create(self.root, output, name, layout.storage, attributes)
                self._writers[name] = Writer(self.root, name, output.meta, layout.skip_empty)
            if self.writes:
                self._writers[name].write(part, voxels)
        except (StoreError, OSError):
            self.writes = False
