"""The master of a job: checks, makes the outputs, runs the blocks through daisy, reports."""

from __future__ import annotations

import functools
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi
from tqdm.auto import tqdm

from ..errors import ConfigError, StoreError, TreeError
from ..meta import Region
from ..plan import Plan, compile_plan
from ..rules import ArrayRules
from . import job as jobs
from .geometry import MEMORY, Output, Pass, coincide, default_chunks, plan_pass, to_chunks
from .outputs import Storage, array_attributes, create, remove, what_is_there
from .state import LOGS, State, state_folder
from .worker import run as run_worker


@attrs.frozen
class Failed:
    """A block that could not be written: where, which array of the tree, and why."""

    outputs: tuple[str, ...]
    roi: Roi
    path: tuple[str, ...]
    error: str

    def __str__(self) -> str:
        return f"{', '.join(self.outputs)} {Region.of(self.roi)}: {self.error}"


@attrs.frozen
class Result:
    """How a job went.

    Attributes:
        path: The store.
        datasets: What was written.
        blocks: How many blocks the job has within the roi.
        done: How many of them are done now.
        before: How many were done before this run.
        failed: Those that failed.
        seconds: How long it took.
        logs: Where the workers' logs are.
    """

    path: Path
    datasets: tuple[str, ...]
    blocks: int
    done: int
    before: int
    failed: tuple[Failed, ...]
    seconds: float
    logs: Path

    @property
    def ok(self) -> bool:
        """Whether every block within the roi is done."""
        return self.done == self.blocks

    def __str__(self) -> str:
        parts = [f"{self.done} of {self.blocks} blocks done"]
        if self.before:
            parts.append(f"{self.before} of them before")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        lines = [f"{self.path}: {', '.join(self.datasets)}: {', '.join(parts)}, {self.seconds:.1f} s"]
        lines += [f"  failed: {failed}" for failed in self.failed[:10]]
        if len(self.failed) > 10:
            lines.append(f"  and {len(self.failed) - 10} more")
        if not self.ok:
            lines.append(f"  logs: {self.logs}; the same command again does only what is missing")
        return "\n".join(lines)


def materialize(
    configs: ArrayRules | Mapping[str, ArrayRules],
    path: str | Path,
    dataset: str | None = None,
    num_workers: int = 2,
    roi: Roi | None = None,
    overwrite: bool = False,
    unit: str | None = None,
    progress: bool = True,
    *,
    block: Sequence[int] | None = None,
    memory: int = MEMORY,
    chunks: Any = None,
    compressor: str = "zstd",
    zarr_format: int = 2,
    retries: int = 2,
    block_timeout: float | None = 600,
    state: str | Path | None = None,
    host: str = "127.0.0.1",
) -> Result:
    """Write arrays of a tree to a Zarr store, block by block, in worker processes.

    Everything is checked before anything is made: the tree compiles, the outputs are
    not there yet (or belong to the same job, which then goes on where it stopped).
    Blocks are whole chunks, so no two workers write one chunk. A block that
    fails is tried again, then reported; the others finish.

    Args:
        configs: One array config, or several by the dataset that each becomes.
        path: The store's folder.
        dataset: The path in it of a single output; by default the array's name.
        num_workers: How many worker processes.
        roi: Where to work, in world units, grown to whole blocks. The extent of the
            outputs is that of the arrays, so a later call may do the rest.
        overwrite: Whether outputs that are there are replaced.
        unit: The unit of the tree; by default what its file says, else nm.
        progress: Whether a bar is shown.
        block: The shape of a block in world units; by default what suits memory.
        memory: What one worker may hold, in bytes.
        chunks: In voxels; one shape, or one for each dataset.
        compressor: ``"zstd"``, ``"blosc"``, ``"gzip"`` or ``"none"``.
        zarr_format: 2, or 3 where the installed zarr has it.
        retries: How often a failed block is tried again.
        block_timeout: Seconds after which a block counts as stuck; None for never.
        state: Where the job remembers what is done; by default beside the store.
        host: The address that workers reach this process by.

    Returns:
        Counts, failed blocks, and whether all went well (``ok``).

    Raises:
        ConfigError, TreeError, StoreError: Before anything is made.
    """
    roots = _roots(configs, dataset)
    storage = Storage(compressor, zarr_format)
    root = Path(path).absolute()
    plan = compile_plan(roots, unit)
    passes = _passes(plan, chunks, memory, block)
    chosen = [_touched(made, roi) for made in passes]
    folder = state_folder(root, list(roots), None if state is None else Path(state).absolute())
    job = jobs.describe(plan, passes, root)
    kept = State(folder)
    _refuse(root, roots, overwrite)
    for name in roots:
        remove(root, name)
    if folder.exists():
        shutil.rmtree(folder)
    made: list[str] = []
    try:
        for output in (o for p in passes for o in p.outputs):
            made.append(output.dataset)
            attributes = array_attributes(output.meta)
            create(root, output.dataset, output.meta, output.chunks, output.shards, storage, attributes)
        folder.mkdir(parents=True)
        jobs.save(folder, job, plan)
    except BaseException:
        for name in made:
            remove(root, name)
        raise
    return _run(kept, root, plan, passes, chosen, num_workers, retries, block_timeout, progress, host)


def _roots(configs: ArrayRules | Mapping[str, ArrayRules], dataset: str | None) -> dict[str, ArrayRules]:
    if isinstance(configs, ArrayRules):
        return {_dataset(configs.name if dataset is None else dataset): configs}
    if not isinstance(configs, Mapping) or not configs:
        raise ConfigError("not an array config", found=repr(configs), allowed="one, or several by dataset")
    if dataset is not None:
        raise ConfigError("several outputs have their names already", found=f"dataset {dataset!r}",
                          allowed="dataset= with one array config")  # fmt: skip
    for name, config in configs.items():
        if not isinstance(config, ArrayRules):
            raise ConfigError("not an array config", found=repr(config), path=(str(name),))
    roots = {_dataset(name): config for name, config in configs.items()}
    if len(roots) != len(configs):
        raise ConfigError("dataset names are not unique", found=", ".join(map(repr, configs)))
    return roots


def _dataset(name: str) -> str:
    clean = name.strip("/")
    if any(part in ("", ".", "..") for part in clean.split("/")) and clean:
        raise ConfigError("not a path in a store", found=repr(name))
    return clean


def _passes(plan: Plan, chunks: Any, memory: int, block: Sequence[int] | None) -> list[Pass]:
    outputs = []
    for dataset, step in plan.outputs.items():
        meta = plan.steps[step].meta
        given = chunks.get(dataset) if isinstance(chunks, Mapping) else chunks
        own = default_chunks(meta) if given is None else to_chunks(given, meta, "chunks", dataset)
        outputs.append(Output(dataset, step, meta, own))
    groups: list[list[Output]] = []
    for output in outputs:
        group = next((group for group in groups if all(coincide(output, other) for other in group)), None)
        if group is None:
            groups.append([output])
        else:
            group.append(output)
    return [plan_pass(plan, group, memory, block, name=f"pass{i}") for i, group in enumerate(groups)]


def _touched(made: Pass, roi: Roi | None) -> tuple[slice, ...]:
    """The blocks of a pass that a roi touches."""
    if roi is None:
        return tuple(slice(0, n) for n in made.grid)
    if roi.dims != len(made.grid):
        raise TreeError("the roi does not fit the outputs", found=f"{roi.dims} axes", allowed=f"{len(made.grid)}")
    chosen = made.within(Region.of(roi))
    if any(s.stop <= s.start for s in chosen):
        raise TreeError("the roi does not touch the outputs", found=Region.of(roi),
                        allowed=", ".join(f"{o.dataset} {o.meta.region}" for o in made.outputs))  # fmt: skip
    return chosen


def _refuse(root: Path, datasets: Mapping[str, Any], overwrite: bool) -> None:
    for dataset in datasets:
        there = what_is_there(root, dataset)
        if there == "group":
            raise StoreError("a group is there already", found=f"{root}/{dataset}", allowed="another dataset name")
        if there == "array" and not overwrite:
            raise StoreError("an array is there already", found=f"{root}/{dataset}",
                             allowed="overwrite replaces it; another dataset name")  # fmt: skip


def _run(
    kept: State,
    root: Path,
    plan: Plan,
    passes: Sequence[Pass],
    chosen: Sequence[tuple[slice, ...]],
    num_workers: int,
    retries: int,
    block_timeout: float | None,
    progress: bool,
    host: str,
) -> Result:
    import daisy.v2 as daisy
    from daisy import logging as daisy_logging

    started = time.monotonic()
    kept.clear_failures()
    tasks = []
    before = 0
    for made, part in zip(passes, chosen, strict=True):
        skip = np.ones(made.grid, bool)
        skip[part] = False
        before += int(kept.marks(made.name, made.grid)[part].sum())
        shape = tuple(n * s for n, s in zip(made.grid, made.block, strict=True))
        box = Roi(made.begin, made.block)
        tasks.append(
            daisy.Task(
                made.name, Roi(made.begin, shape), box, box,
                functools.partial(run_worker, str(kept.folder), os.getpid()),
                read_write_conflict=False, fit="overhang", max_workers=num_workers, max_retries=retries,
                timeout=block_timeout, tracking_path=str(kept.tracking(made.name)), max_worker_restarts=10**6,
                skip_mask=skip,
            )
        )  # fmt: skip
    blocks = sum(int(np.prod([s.stop - s.start for s in part])) for part in chosen)
    kept.tracking("").mkdir(parents=True, exist_ok=True)
    logs = daisy_logging.get_log_basedir()
    daisy_logging.set_log_basedir(kept.folder / LOGS)
    try:
        with tqdm(total=blocks, initial=before, unit="block", disable=not progress) as bar:
            daisy.Server().run_blockwise(
                daisy.Pipeline(tasks), progress=_Observer(bar, blocks), host=host, summary=False
            )
    finally:
        daisy_logging.set_log_basedir(logs)
    done = sum(
        int(kept.marks(made.name, made.grid)[part].sum()) for made, part in zip(passes, chosen, strict=True)
    )  # fmt: skip
    outputs = {made.name: tuple(o.dataset for o in made.outputs) for made in passes}
    failed = tuple(
        Failed(outputs[note["pass"]], Region(tuple(note["begin"]), tuple(note["end"])).roi, tuple(note["path"]), note["error"])
        for note in kept.failures()
    )  # fmt: skip
    names = tuple(name for made in passes for name in outputs[made.name])
    return Result(root, names, blocks, done, before, failed, time.monotonic() - started, kept.folder / LOGS)


class _Observer:
    """Shows daisy's counts as one bar."""

    def __init__(self, bar: Any, blocks: int) -> None:
        self.bar, self.blocks = bar, blocks

    def on_start(self, states: Mapping[str, Any]) -> None:
        self.on_progress(states)

    def on_progress(self, states: Mapping[str, Any]) -> None:
        missing = sum(s.total_block_count - s.completed_count for s in states.values())
        self.bar.update(max(0, self.blocks - missing - self.bar.n))

    on_finish = on_progress
