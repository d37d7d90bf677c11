"""Makes the outputs of a job, all of them or none, and marks those that are not finished."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model.config import all_configs
from ..sources.numpy_ import NumpyArrayConfig
from ..storage.create import NEW, create_group, remove_attribute, remove_leftovers, swap_in, update_attributes
from ..storage.documents import find_node, read_node
from ..storage.engine import DOCUMENTS
from ..storage.journal import MARK, Mark
from . import document
from .document import Job
from .geometry import Output, Pass
from .outputs import PROVENANCE, array_attributes, create, job_of, provenance
from .prepare import Prepared
from .pyramid import multiscale
from .state import CREATED, State, state_base


def save_job(prepared: Prepared, state: State) -> None:
    """Write a job, and the voxels that it has in memory, where its workers find them. Raises StoreError."""
    document.save_voxels(state.folder, prepared.roots.values())
    document.save(state.folder, prepared.job)


def make_outputs(prepared: Prepared, state: State) -> None:
    """Make the arrays and groups of a job in place of what is there, and keep the job: all, or nothing.

    They are made in hidden folders. So whatever fails, earlier outputs and their state are there as before.
    """
    root, job = prepared.root, prepared.job
    folders = {name: Path(os.path.realpath(root / name)) for name in job.datasets}
    hidden = {folder: folder.with_name(f".{folder.name}.{job.id}{NEW}") for folder in folders.values()}
    # the folders above outputs that become groups, inner ones first
    groups = {root.joinpath(*Path(name).parts[:i]) for name in folders if name for i in range(len(Path(name).parts))}
    new_groups = [group for group in sorted(groups, reverse=True) if not group.exists()]
    swapped: list[Path] = []
    try:
        for name in job.datasets:
            if name:
                create_group(root, name.rpartition("/")[0], prepared.layout.storage.zarr_format)
            remove_leftovers(folders[name])
            _make_hidden(prepared, state, name, hidden[folders[name]])
        state.clear()
        try:
            save_job(prepared, state)
            for folder, new in hidden.items():
                swap_in(new, folder)
                swapped.append(folder)
            (state.folder / CREATED).touch()
        except BaseException:
            for folder in reversed(swapped):
                swap_in(folder, hidden[folder])
            state.remove()
            raise
    except BaseException:
        for new in hidden.values():
            shutil.rmtree(new, ignore_errors=True)
        for group in new_groups:
            if group.exists() and all(path.name in DOCUMENTS for path in group.iterdir()):
                shutil.rmtree(group, ignore_errors=True)
        raise
    for new in hidden.values():
        # after an exchange this is what was there before
        shutil.rmtree(new, ignore_errors=True)


def _make_hidden(prepared: Prepared, state: State, name: str, folder: Path) -> None:
    """Make what becomes one dataset of the user, an array or a pyramid, in a folder."""
    job, layout = prepared.job, prepared.layout
    in_memory = any(isinstance(config, NumpyArrayConfig) for config in all_configs(prepared.roots.values()))
    tree = None if in_memory else job.tree
    if name in prepared.groups:
        create_group(folder, "", layout.storage.zarr_format)
        origin = provenance(prepared.plan, f"{name}/s0".strip("/"), tree, job.id)
        attributes = {**_pyramid_attributes(prepared, name), PROVENANCE: origin}
        update_attributes(folder, find_node(folder, ""), attributes)
    for pass_ in job.passes:
        for output in pass_.outputs:
            if output.dataset != name and not (name in prepared.groups and _is_level(output, name)):
                continue
            if pass_.level is None:
                origin = provenance(prepared.plan, output.dataset, tree, job.id)
            else:
                origin = {
                    "job": job.id,
                    "array": pass_.level.below,
                    "downsampled": list(pass_.level.factors),
                    "by": pass_.level.method,
                    "interpolatable": output.meta.interpolatable,
                }
            attributes = {**array_attributes(output.meta, origin), MARK: mark_of(job, state, pass_, output)}
            inside = output.dataset.removeprefix(name).strip("/")
            create(folder, inside, output.meta, output.chunks, output.shards, layout.storage, attributes)


def _is_level(output: Output, group: str) -> bool:
    return output.dataset.rpartition("/")[0] == group


def _pyramid_attributes(prepared: Prepared, name: str) -> dict[str, Any]:
    metas = [output.meta for pass_ in prepared.job.passes for output in pass_.outputs if _is_level(output, name)]
    version = "0.4" if prepared.layout.storage.zarr_format == 2 else "0.5"
    levels = [f"s{i}" for i in range(len(metas))]
    return multiscale(metas, levels, name.rpartition("/")[2], version, prepared.groups[name])


def mark_of(job: Job, state: State, pass_: Pass, output: Output) -> Mapping[str, Any]:
    """The attribute of an output that says that its job is not done, and where its state is."""
    # beside the store, both can be moved together
    beside = state.folder.parent == state_base(Path(job.root))
    folder = state.folder.name if beside else str(state.folder)
    begin, block = pass_.box_of(output)
    return Mark(job.id, output.dataset, folder, pass_.name, begin, block, pass_.grid).document()


def mark_outputs(job: Job, state: State) -> None:
    """Mark the outputs that are not finished, and take the mark off those that are. Raises StoreError."""
    root = Path(job.root)
    for pass_ in job.passes:
        finished = bool((state.done(pass_) | state.empty(pass_)).all())
        for output in pass_.outputs:
            node = read_node(root, output.dataset)
            if node is None or job_of(node) != job.id:
                continue
            mark = None if finished else mark_of(job, state, pass_, output)
            if mark is None and MARK in node.attrs:
                remove_attribute(root, node, MARK)
            elif mark is not None and node.attrs.get(MARK) != mark:
                update_attributes(root, node, {MARK: mark})
