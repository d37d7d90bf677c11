"""Checks before a run: the job is the same as before, and nothing else is at the paths of its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..errors import StoreError
from ..model.plan import Plan
from ..model.urls import Url
from ..storage.access.remote import RemotePath, StorePath
from ..storage.journal import Mark
from ..storage.metadata.documents import read_node
from ..storage.metadata.existing import folder_names, require_no_array
from ..storage.metadata.pyramids import LEVEL
from . import document
from .document import PROVENANCE, Job, job_of
from .state import State, other_run_error


def changes(before: Any, now: Any, path: tuple[str, ...] = ()) -> list[str]:
    """The differences between two descriptions, as text.

    >>> changes({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b was 1, is 3']
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            text
            for key in dict.fromkeys([*before, *now])
            for text in changes(before.get(key), now.get(key), (*path, str(key)))
        ]
    return [] if before == now else [f"{'.'.join(path)} was {before}, is {now}"]


def description(job: Job) -> dict[str, Any]:
    """What must not change between the runs of a job. The keys appear in error messages."""
    outputs = {
        output.dataset: {
            "shape": output.meta.shape,
            "dtype": str(output.meta.dtype),
            "begin": output.meta.region.begin,
            "voxel_size": tuple(map(int, output.meta.voxel_size)),
            "channels": output.meta.channels,
            "chunks": output.chunks,
            "shards": output.shards,
            "block": pass_.block,
        }
        for pass_ in job.passes
        for output in pass_.outputs
    }
    return {**document.plain({"outputs": outputs}), "unit": job.unit, **job.compared}


def require_same_job(before: Job, job: Job, root: StorePath, accept_changed: bool) -> Job:
    """The job to resume after an earlier run, with the changes that the user accepts.

    Raises StoreError with the differences if it is not the same job, or if files or stores that its voxels depend on
    have changed and the user does not accept that.
    """
    one, other = description(before), description(job)
    if one["tree"] != other["tree"] and before.tree != job.tree:
        # changed fields say more than changed digests
        one, other = {**one, "tree": before.tree}, {**other, "tree": job.tree}
    changed = changes({"files": before.files, "stores": before.stores}, {"files": job.files, "stores": job.stores})
    different = changes(one, other)
    if different:
        raise StoreError(
            "these outputs were written by a different job",
            found=_shown([*changed, *different]),
            allowed="overwrite starts from the beginning",
        )
    for dataset in job.outputs:
        if job_of(read_node(root, dataset)) != before.id:
            raise StoreError(
                "an output was not created by this job",
                found=f"{root}/{dataset}",
                allowed="overwrite starts from the beginning",
            )
    if changed and not accept_changed:
        raise StoreError(
            "files or stores that the job depends on have changed since its blocks were done",
            found=_shown(changed),
            allowed="--accept-changed (accept_changed=True) resumes with them as they are now; overwrite starts from the beginning",
        )
    return attrs.evolve(job, accepted=(*before.accepted, *changed))


def _shown(texts: Sequence[str]) -> str:
    return "; ".join(texts[:5]) + ("; ..." if len(texts) > 5 else "")


def require_state_of_store(state: State, root: StorePath, beside: bool) -> None:
    """Raises StoreError if the state belongs to another store. It may have been moved or copied with its store.

    Args:
        state: Of the job.
        root: The store.
        beside: True if the state lies beside the store.
    """
    if not state.exists or beside:
        return
    job = document.read(state.folder)
    old = job.store
    if str(old) != str(root) and any(job_of(read_node(old, name)) == job.id for name in job.datasets):
        raise StoreError(
            "the state belongs to another store",
            found=f"{state.folder} of {old}",
            allowed="another folder for the state",
        )


def require_unread_outputs(root: StorePath, datasets: Sequence[str], plans: Sequence[Plan]) -> None:
    """Raises StoreError if an output is an array that the job reads, or one of them lies inside the other."""
    for dataset in datasets:
        output = _address(root / dataset)
        for plan in plans:
            for i, step in enumerate(plan.steps):
                for folder in () if step.opened is None else map(_address, step.opened.folders()):
                    if output.startswith(folder) or folder.startswith(output):
                        raise StoreError(
                            "the job reads the array that it would write",
                            found=f"{folder} and output {output}",
                            allowed="another dataset name, or another store",
                            path=plan.path(i),
                        )


def _address(folder: Path | Url | RemotePath) -> str:
    """A folder or URL as text. The texts of all folders inside it begin with this text."""
    return f"{folder.resolve() if isinstance(folder, Path) else folder}".rstrip("/") + "/"


def require_replaceable(
    state: State, root: StorePath, datasets: Sequence[str], overwrite: bool, unfinished_job: str | None = None
) -> None:
    """Raises StoreError if the path of an output has something that may not be replaced, or that another run writes.

    Args:
        state: Of the job; this process holds its lock.
        root: The store.
        datasets: The datasets that the user named.
        overwrite: True if arrays may be replaced.
        unfinished_job: The id of a job that was killed while it created these outputs. They may be replaced.
    """
    for dataset in datasets:
        _require_idle(state, root, dataset)
        if unfinished_job is not None:
            node = read_node(root, dataset)
            # in a remote store the killed job may have removed its documents already
            if job_of(node) == unfinished_job or (node is None and isinstance(root, RemotePath)):
                continue
        kind = require_no_array(root, dataset, overwrite)
        if kind == "group" and not _is_replaceable_pyramid(root, dataset, overwrite):
            raise StoreError("a group is there already", found=f"{root}/{dataset}", allowed="another dataset name")


def _require_idle(state: State, root: StorePath, dataset: str) -> None:
    """Raises StoreError if a run with another state folder is writing a dataset, or its first level."""
    for name in (dataset, f"{dataset}/s0".strip("/")):
        node = read_node(root, name)
        mark = None if node is None else Mark.of(node)
        folder = None if mark is None else mark.folder(root / name)
        if folder is not None and folder != state.folder and (process := State(folder).holder()) is not None:
            raise other_run_error(f"{process}, state {folder}")


def _is_replaceable_pyramid(root: StorePath, dataset: str, overwrite: bool) -> bool:
    """True if arrays may be replaced, and a group is a pyramid that a job wrote and holds nothing else."""
    node = read_node(root, dataset)
    levels = all(map(LEVEL.fullmatch, folder_names(root / dataset)))
    return overwrite and node is not None and PROVENANCE in node.attrs and levels
