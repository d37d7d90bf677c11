"""``materialize``: checks, makes the outputs or goes on with them, and runs the blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, StoreError, TreeError
from ..model import fields
from ..model.base import ArrayConfig
from ..model.config import located, not_a_config, pinned
from ..model.plan import Plan, compile_plan
from ..train.pipeline_array import PipelineArrayConfig
from . import job as jobs
from .dryrun import estimate
from .durable import recover
from .geometry import MEMORY, Pass
from .master import Workers, run_job
from .outputs import Storage, remove
from .preflight import require_apart, require_own, require_room, require_same
from .prepare import Job, Layout, make_job, make_outputs, save_job
from .result import Result
from .schedule import Schedule, make_schedule, require_touched
from .sparse import not_empty, within_mask
from .state import EMPTY, State, state_base, state_name, store_root


def materialize(
    configs: ArrayConfig | Mapping[str, ArrayConfig],
    path: str | Path,
    dataset: str | None = None,
    num_workers: int = 2,
    roi: Roi | Sequence[Any] | None = None,
    overwrite: bool = False,
    unit: str | None = None,
    progress: bool = True,
    *,
    chunks: Any = None,
    shards: Any = None,
    block: Sequence[Any] | None = None,
    memory: int | str = MEMORY,
    compressor: str = "zstd",
    zarr_format: int = 2,
    pyramid: str | Mapping[str, str] | None = None,
    skip_empty: bool = False,
    mask: ArrayConfig | None = None,
    retries: int = 2,
    block_timeout: float | None = 600,
    state: str | Path | None = None,
    worker_command: str | None = None,
    host: str | None = None,
    dry_run: bool = False,
    append: Callable[..., Any] | str | None = None,
    append_options: Mapping[str, Any] | None = None,
) -> Result:
    """Write arrays of a tree to a Zarr store, block by block, in worker processes.

    Everything is checked before anything is made. Blocks are whole chunks, so no two
    workers write one chunk. A block that fails is tried again, then reported; the others
    finish. What is done is remembered beside the store (``out.zarr.gp_arrays``): the same
    call again does only what is missing, also after this process or a worker was
    killed, and refuses where the tree, the geometry or what sources say of themselves
    (their voxels are not compared) has changed since. Store and state may be moved or copied
    together. After a power failure also the last minute is done again: its voxels may not
    have reached the disk.

    Args:
        configs: One array config, or several by the dataset that each becomes. Those whose
            chunks begin at the same places are computed together.
        path: The store's folder.
        dataset: The path in it of a single output; by default the array's name.
        num_workers: How many worker processes.
        roi: Where to work, grown to whole blocks: a Roi in world units, or
            ``[[offset], [shape]]``. The extent of the outputs is that of the arrays, so a
            later call may do the rest.
        overwrite: Whether outputs that are there are replaced, and the work begins anew.
        unit: The unit of the tree; by default what its file says, else nm.
        progress: Whether a bar is shown.
        chunks: In voxels; one shape, or one for each dataset. Axes before the spatial ones
            may be left out.
        shards: Likewise: whole chunks that are stored in one file. Zarr v3 only.
        block: The shape of a block, as lengths; by default what suits memory.
        memory: What one worker may hold, in bytes, or such as ``"2GiB"``.
        compressor: ``"zstd"``, ``"blosc"``, ``"gzip"`` or ``"none"``.
        zarr_format: 2, or 3 where the installed zarr has it.
        pyramid: ``"auto"``, ``"mean"``, ``"mode"`` or ``"nearest"``, or one for each dataset: the
            dataset becomes an OME-NGFF group (0.4 in Zarr v2, 0.5 in v3) with levels ``s0``, ``s1``, ...
            ``"auto"`` takes the mean of intensities, the mode of labels, the nearest of masks.
        skip_empty: Whether chunks that are 0 throughout stay unwritten. Blocks that are made from
            absent chunks alone are not even computed, where the array types allow that
            conclusion.
        mask: An array on the same world; blocks where it is 0 throughout are left out.
        retries: How often a failed block is tried again.
        block_timeout: Seconds after which a block counts as stuck and its worker is ended;
            None for never.
        state: A folder for what the job remembers (in ``out.zarr.gp_arrays`` within), instead of
            one beside the store.
        worker_command: What starts a worker elsewhere, such as ``"srun -c 2 {worker}"``; run by
            ``sh``. It must last as long as its worker (``sbatch --wait``, ``bsub -K``). Store, state and
            sources are on disks that both see.
        host: The address that workers reach this process by. By default this machine
            alone (127.0.0.1); with ``worker_command`` the one other machines know it by.
        dry_run: Make nothing; tell what it would cost, from a few blocks that are computed
            and written to a temporary folder.
        append: A function ``append(pipeline, source, target)`` that appends gunpowder nodes, a
            prediction, say: their result is written instead of the one array given.
        append_options: What else PipelineArrayConfig takes: ``context_size``, ``dtype``,
            ``channels``, ``voxel_size``, ``padded``, ``arguments``.

    Returns:
        Counts, failed blocks, and whether all went well (``ok``). With ``dry_run`` nothing but ``cost``.

    Raises:
        ConfigError, TreeError, StoreError: Before anything is made.
        KeyboardInterrupt: Ctrl-C. What is done is kept; blocks at work are done again by the next call.
        SystemExit: SIGTERM, likewise, with code 143, unless the program has a handler of its own.

    >>> import gp_arrays as gpa, numpy as np, tempfile
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.arange(64, dtype=np.uint8).reshape(8, 8), voxel_size=(4, 4))
    >>> big = gpa.ThresholdArrayConfig("big", ids, threshold=40)
    >>> folder = tempfile.TemporaryDirectory()
    >>> result = gpa.materialize(big, folder.name + "/out.zarr", num_workers=1, progress=False)
    >>> result.ok, int(gpa.open_zarr(folder.name + "/out.zarr", "big")[:].sum())
    (True, 23)
    >>> folder.cleanup()
    """
    num_workers = fields.named("num_workers", fields.to_integer, num_workers)
    retries = fields.named("retries", fields.to_integer, retries)
    size: int = fields.named("memory", fields.to_bytes, memory)
    if block_timeout is not None:
        block_timeout = fields.named("block_timeout", fields.to_number, block_timeout)
    if append is not None:
        if not isinstance(configs, ArrayConfig):
            raise not_a_config(configs, "nodes are appended to one array")
        made_of = configs
        configs = PipelineArrayConfig(dataset or f"{made_of.name}-appended", made_of, append, **(append_options or {}))
    roots = pinned(located(_roots(configs, dataset), Path.cwd()))
    layout = Layout(chunks, shards, block, size, pyramid, skip_empty, Storage(compressor, zarr_format))
    workers = Workers(num_workers, worker_command, host, retries, block_timeout)
    root = store_root(path)
    plan = compile_plan(roots, unit)
    if roi is not None:
        roi = fields.named("roi", fields.to_bounded_roi, roi, plan.unit)
    covered = None if mask is None else _mask(mask, plan.unit)
    require_apart(root, list(roots), [plan] if covered is None else [plan, covered])
    kept = State(state_base(root, state) / state_name(list(roots)))
    if kept.folder.is_relative_to(root):
        raise StoreError("the state cannot lie in the store", found=str(kept.folder), allowed="another folder as state")
    with kept.locked(list(roots)):
        try:
            require_own(kept, root, beside=state is None)
            before = jobs.read(kept.folder) if kept.created and not overwrite else None
            job = make_job(root, roots, plan, layout, before)
            bases = [made for made in job.passes if made.after is None]
            require_touched(bases, roi)
            for made in bases:
                _require_same_axes(made, covered)
            if worker_command is not None:
                _require_documents(job)
            if before is not None:
                require_same(before, job)
            else:
                killed = jobs.read(kept.folder)["id"] if kept.exists and not kept.created else None
                require_room(root, list(roots), overwrite, killed)
            if dry_run:
                known = kept if before is not None else None
                schedule = make_schedule(job.passes, roi, active_blocks(job, covered), known)
                cost = estimate(job, schedule, num_workers)
                kept.tidy()
                return Result(
                    root,
                    job.datasets,
                    cost.blocks + cost.before + cost.empty,
                    cost.before + cost.empty,
                    cost.before,
                    cost.empty,
                    (),
                    0,
                    0.0,
                    0,
                    kept.folder,
                    cost=cost,
                )
        except BaseException:
            kept.tidy()
            raise
        if before is not None:
            # anew, as store and state may have been moved
            job.document["id"] = before["id"]
            save_job(job, kept)
            recover(kept, job.passes)
        else:
            kept.clear()
            for name in roots:
                remove(root, name)
            make_outputs(job, kept)
        schedule = make_schedule(job.passes, roi, active_blocks(job, covered), kept)
        note(schedule, kept)
        return run_job(job, kept, schedule, workers, progress)


def note(schedule: Schedule, kept: State) -> None:
    """Keep what a schedule knows of blocks that are empty, or have to be done again."""
    for made in schedule.passes:
        chosen, active = schedule.chosen[made.name], schedule.active[made.name]
        empty = kept.kept(EMPTY, made.name, made.grid)
        kept.keep(EMPTY, made.name, np.where(chosen, ~active, empty))
        done = kept.done(made.name, made.grid)
        if (done & ~schedule.before[made.name]).any():
            kept.mark(made.name, schedule.before[made.name])


def active_blocks(job: Job, mask: Plan | None) -> dict[str, Any]:
    """The blocks of each pass that may have to be written, as bool grids."""
    active = {}
    for made in job.passes:
        if made.after is None:
            found = np.ones(made.grid, bool) if mask is None else within_mask(mask, made)
            active[made.name] = found & not_empty(job.plan, made) if job.layout.skip_empty else found
    return active


def _roots(configs: ArrayConfig | Mapping[str, ArrayConfig], dataset: str | None) -> dict[str, ArrayConfig]:
    if isinstance(configs, ArrayConfig):
        return {_dataset(configs.name if dataset is None else dataset): configs}
    if not isinstance(configs, Mapping) or not configs:
        raise not_a_config(configs, allowed="one, or several by dataset")
    if dataset is not None:
        raise ConfigError(
            "several outputs have their names already",
            found=f"dataset {dataset!r}",
            allowed="dataset= with one array config",
        )
    for name, config in configs.items():
        if not isinstance(config, ArrayConfig):
            raise not_a_config(config).at(str(name))
    roots = {_dataset(name): config for name, config in configs.items()}
    if len(roots) != len(configs):
        raise ConfigError("dataset names are not unique", found=", ".join(map(repr, configs)))
    for name in roots:
        inside = [other for other in roots if other != name and (not name or other.startswith(f"{name}/"))]
        if inside:
            raise ConfigError("an array cannot lie in another", found=f"{inside[0]!r} in {name!r}")
    return roots


def _mask(config: Any, unit: str) -> Plan:
    if not isinstance(config, ArrayConfig):
        raise not_a_config(config, "the mask is not an array config")
    return compile_plan(pinned(located({"mask": config}, Path.cwd())), unit)


def _dataset(name: str) -> str:
    clean = name.strip("/")
    if any(part.startswith(".") or not part for part in clean.split("/")) and clean:
        raise ConfigError("not a path in a store", found=repr(name))
    return clean


def _require_same_axes(made: Pass, mask: Plan | None) -> None:
    if mask is not None and mask.steps[mask.outputs["mask"]].meta.dims != len(made.grid):
        raise TreeError(
            "the mask does not fit the outputs",
            found=f"{mask.steps[-1].meta.dims} spatial axes",
            allowed=f"{len(made.grid)}",
        )


def _require_documents(job: Job) -> None:
    for tree in job.document["trees"]:
        if jobs.by_pickle(tree):
            raise StoreError(
                "the tree cannot be sent to workers elsewhere",
                found="voxels in memory, or array types of a script",
                allowed="create_zarr and ZarrArrayConfig; types of an installed package",
            )
