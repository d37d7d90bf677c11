"""``materialize``: checks the arguments, creates the outputs or resumes the job, and runs the blocks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, StoreError, TreeError
from ..model import fields
from ..model.base import ArrayConfig
from ..model.config import located, not_a_config, pinned
from ..model.plan import Plan, compile_plan
from ..model.rois import to_bounded_roi
from ..storage.access.files import writing
from ..storage.chunked.create import require_dataset_path
from ..storage.journal import EMPTY
from . import document
from .dryrun import estimate
from .geometry import MEMORY, Pass, file_name
from .master import run_job
from .outputs import create_outputs, mark_outputs, save_job
from .preflight import require_replaceable, require_same_job, require_state_of_store, require_unread_outputs
from .prepare import Prepared, may_work_here, prepare
from .records import recover
from .result import Result
from .schedule import Schedule, make_schedule, not_empty, require_touched, within_mask
from .settings import Crew, Layout, Storage, Workers
from .state import LOGS, State, lock_folder, state_base, store_root
from .worker import WORKER


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
    block: Sequence[Any] | None = None,
    memory: int | str = MEMORY,
    pyramid: str | Mapping[str, str] | None = None,
    skip_empty: bool = False,
    mask: ArrayConfig | None = None,
    state: str | Path | None = None,
    worker_command: str | None = None,
    host: str | None = None,
    dry_run: bool = False,
    workers: Workers | None = None,
    storage: Storage | None = None,
    accept_changed: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Result:
    """Write arrays of a tree to a Zarr store, block by block, in worker processes.

    Everything is checked before anything is written. A block holds complete chunks, so no two workers write the same
    chunk. A block that fails is tried again, then reported; the other blocks are done all the same.

    Which blocks are done is recorded beside the store (``out.zarr.gp_arrays``). The same call again does only the
    missing ones, also after this process or a worker was killed. It is refused if the tree, the geometry, a file that
    decides the voxels or the metadata of a source store has changed since (voxels of stores are not compared). Store
    and state may be moved or copied together. After a power failure the blocks of the last minute are done again,
    because their voxels may not have reached the disk.

    Until every block is done the outputs are marked as unfinished: reading voxels that are not written yet is an error.

    A job that takes less time than workers need to start, about two seconds, is done by this process alone, if its
    blocks are small, its stores are on disks, and its tree has only array types of this package, without functions and
    networks. If ``workers`` or ``worker_command`` is given, workers do it in any case.

    Workers import the modules that the tree needs. A script that defines array types or functions must call this under
    ``if __name__ == "__main__":``, as for multiprocessing.

    Args:
        configs: One array config, or several in a dictionary whose keys are their datasets. Arrays whose
            chunk grids coincide are computed together.
        path: The folder of the store, or a URL that fsspec can write, such as ``s3://...``; then ``state`` is needed.
        dataset: The path of a single output in the store; by default the name of the array.
        num_workers: How many worker processes at most.
        roi: The region to write, enlarged to complete blocks: a Roi in world units, or
            ``[[offset], [shape]]``. The extent of the outputs is that of the arrays, so a
            later call may write other parts.
        overwrite: True replaces existing outputs and starts from the beginning.
        unit: The unit of the tree; by default that of its file, else nm.
        progress: True shows a progress bar.
        chunks: In voxels; one shape, or one for each dataset. Axes before the spatial ones
            may be left out.
        block: The shape of a block, as lengths; by default as large as suits the memory.
        memory: How much memory one worker may use, in bytes or as text such as ``"2GiB"``.
        pyramid: ``"auto"``, ``"mean"``, ``"mode"`` or ``"nearest"``, or one for each dataset: the
            dataset becomes an OME-NGFF group (0.4 in Zarr v2, 0.5 in v3) with levels ``s0``, ``s1``, ...
            ``"auto"`` takes the mean of intensities, the mode of labels, the nearest of masks.
        skip_empty: True does not write chunks that are 0 everywhere. Blocks are not even computed if all chunks of their
            sources are absent, and the array types prove that the result is 0.
        mask: An array in the same world coordinates. Blocks where it is 0 everywhere are left out.
        state: A folder for the records of the job (in its subfolder ``out.zarr.gp_arrays``), instead of the one beside
            the store.
        worker_command: A shell command that starts a worker on another machine, such as ``"srun -c 2 {worker}"``. It
            must not return before its worker has ended (``sbatch --wait``, ``bsub -K``). ``{slot}`` in it is replaced
            by the number of the worker among the running ones, 0 to ``num_workers - 1``, for example to choose a GPU.
            Without a command each worker sees one of the GPUs of this machine. Store, state and sources must be on
            disks that all machines see.
        host: The address at which workers on other machines reach this one. The job listens only at this address;
            without ``worker_command`` only at 127.0.0.1.
        dry_run: True writes nothing to the store and reports what the job would cost, from a few blocks that are
            computed and written to a temporary folder.
        workers: How often failed blocks are tried again, how long a block may take, when the job gives up, and how
            many threads a worker uses.
        storage: Compressor, Zarr format and shards.
        accept_changed: True resumes although files or stores have changed since blocks were done. The job document
            lists these changes.
        storage_options: Options of fsspec for a URL. Secrets must be in the environment of the workers instead.

    Returns:
        Counts, failed blocks, and ``ok``: True if every block is done. With ``dry_run=True`` also ``cost``.

    Raises:
        ConfigError, TreeError, StoreError: Before anything is written.
        KeyboardInterrupt: Ctrl-C. Blocks that are done stay done; the others are done by the next call.

    >>> import gp_arrays as gpa, numpy as np, tempfile
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.arange(64, dtype=np.uint8).reshape(8, 8), voxel_size=(4, 4))
    >>> big = gpa.ThresholdArrayConfig("big", ids, threshold=40)
    >>> folder = tempfile.TemporaryDirectory()
    >>> result = gpa.materialize(big, folder.name + "/out.zarr", num_workers=1, progress=False)
    >>> result.ok, int(gpa.open_zarr(folder.name + "/out.zarr", "big")[:].sum())
    (True, 23)
    >>> folder.cleanup()
    """
    if WORKER in os.environ:
        raise ConfigError(
            "a worker that imports this script must not begin a job",
            found="a call of materialize while the script is imported",
            allowed='the call under if __name__ == "__main__":',
        )
    size: int = fields.named("memory", fields.to_bytes, memory)
    roots = pinned(located(_roots(configs, dataset), Path.cwd()))
    layout = Layout(chunks, block, size, pyramid, skip_empty, storage or Storage())
    count = fields.named("num_workers", fields.to_integer, num_workers)
    crew = Crew(count, worker_command, host, workers or Workers())
    root = store_root(path, storage_options)
    plan = compile_plan(roots, unit)
    if roi is not None:
        roi = fields.named("roi", to_bounded_roi, roi, plan.unit)
    mask_plan = None if mask is None else _mask(mask, plan.unit)
    require_unread_outputs(root, list(roots), [plan] if mask_plan is None else [plan, mask_plan])
    job_state = State(state_base(root, state) / file_name(list(roots)))
    if isinstance(root, Path) and job_state.folder.is_relative_to(root):
        raise StoreError(
            "the state cannot lie in the store", found=str(job_state.folder), allowed="a state outside of the store"
        )
    job_state.require_state_folder()
    # a dry run locks nothing, so it works beside a run and on a disk that cannot be written
    with contextlib.nullcontext() if dry_run else job_state.locked():
        require_state_of_store(job_state, root, beside=state is None)
        before = document.read(job_state.folder) if job_state.created and not overwrite else None
        prepared = prepare(root, roots, plan, layout, before)
        bases = [pass_ for pass_ in prepared.job.passes if pass_.level is None]
        require_touched(bases, roi)
        for pass_ in bases:
            _require_same_axes(pass_, mask_plan)
        if before is not None:
            prepared = attrs.evolve(prepared, job=require_same_job(before, prepared.job, root, accept_changed))
        else:
            unfinished_job = document.read(job_state.folder).id if job_state.exists and not job_state.created else None
            require_replaceable(job_state, root, list(roots), overwrite, unfinished_job)
        active = active_blocks(prepared, mask_plan)
        if dry_run:
            schedule = make_schedule(prepared.job.passes, roi, active, None if before is None else job_state)
            return _estimated(prepared, schedule, num_workers, job_state)
        if before is not None:
            # the job is saved again, because store and state may have been moved
            save_job(prepared, job_state)
            recover(job_state, prepared.job.passes)
        else:
            _begin(prepared, job_state, overwrite, unfinished_job)
        schedule = make_schedule(prepared.job.passes, roi, active, job_state)
        save_known_blocks(schedule, job_state)
        mark_outputs(prepared.job, job_state)
        here = crew.is_usual and may_work_here(prepared)
        return run_job(prepared.job, root, job_state, schedule, crew, progress, here)


def _begin(prepared: Prepared, state: State, overwrite: bool, unfinished_job: str | None) -> None:
    """Create the outputs of a job, and save the job."""
    root, datasets = prepared.root, prepared.job.datasets
    shared = state.folder.parent
    if isinstance(root, Path):
        shared = root.parent
        with writing(root):
            shared.mkdir(parents=True, exist_ok=True)
    with lock_folder(shared):
        # another run with its state in another folder may have created the same outputs meanwhile
        require_replaceable(state, root, datasets, overwrite, unfinished_job)
        create_outputs(prepared, state)


def _estimated(prepared: Prepared, schedule: Schedule, num_workers: int, state: State) -> Result:
    cost = estimate(prepared, schedule, num_workers)
    return Result(
        path=prepared.root,
        datasets=prepared.job.outputs,
        blocks=cost.blocks + cost.before + cost.empty,
        done=cost.before + cost.empty,
        before=cost.before,
        empty=cost.empty,
        state=state.folder,
        logs=state.folder / LOGS,
        cost=cost,
    )


def save_known_blocks(schedule: Schedule, state: State) -> None:
    """Save which blocks are known to be empty, and forget that blocks are done which are to be done again."""
    for pass_ in schedule.passes:
        chosen, active = schedule.chosen[pass_.name], schedule.active[pass_.name]
        state.save_bitmap(EMPTY, pass_.name, np.where(chosen, ~active, state.empty(pass_)))
        done = state.done(pass_)
        if (done & ~schedule.before[pass_.name]).any():
            state.replace_journals(pass_, schedule.before[pass_.name])


def active_blocks(prepared: Prepared, mask: Plan | None) -> dict[str, Any]:
    """For each pass that is not a level of a pyramid: a bool grid of the blocks that are not known to be empty."""
    active = {}
    for pass_ in prepared.job.passes:
        if pass_.level is None:
            grid = np.ones(pass_.grid, bool) if mask is None else within_mask(mask, pass_)
            active[pass_.name] = grid & not_empty(prepared.plan, pass_) if prepared.layout.skip_empty else grid
    return active


def _roots(configs: ArrayConfig | Mapping[str, ArrayConfig], dataset: str | None) -> dict[str, ArrayConfig]:
    if isinstance(configs, ArrayConfig):
        return {_dataset(configs.name if dataset is None else dataset): configs}
    if not isinstance(configs, Mapping) or not configs:
        raise not_a_config(configs, allowed="one, or several by dataset")
    if dataset is not None:
        raise ConfigError(
            "dataset is given for several outputs, which are named by their keys",
            found=f"dataset {dataset!r}",
            allowed="dataset with one array config",
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
            raise ConfigError("an output cannot lie inside another output", found=f"{inside[0]!r} in {name!r}")
    return roots


def _mask(config: Any, unit: str) -> Plan:
    if not isinstance(config, ArrayConfig):
        raise not_a_config(config, "the mask is not an array config")
    return compile_plan(pinned(located({"mask": config}, Path.cwd())), unit)


def _dataset(name: str) -> str:
    clean = name.strip("/")
    require_dataset_path(clean)
    return clean


def _require_same_axes(pass_: Pass, mask: Plan | None) -> None:
    if mask is not None and mask.steps[mask.outputs["mask"]].meta.dims != len(pass_.grid):
        raise TreeError(
            "the mask and the outputs have different numbers of axes",
            found=f"{mask.steps[-1].meta.dims} spatial axes",
            allowed=f"{len(pass_.grid)}",
        )
