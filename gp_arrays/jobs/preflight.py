"""Checks before a run: the job is the same as before, and no array of somebody else is at the path of an output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..errors import StoreError
from ..model.plan import Plan
from ..model.urls import Url
from ..storage.access.chunk_files import scan
from ..storage.access.remote import RemotePath, StorePath
from ..storage.journal import Mark
from ..storage.metadata.documents import read_node, what_is_there
from . import document
from .document import PROVENANCE, Job, job_of
from .state import State, other_run_error


def changes(before: Any, now: Any, path: tuple[str, ...] = ()) -> list[str]:
    """What differs between two descriptions.

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


def require_same_job(before: Job, job: Job, root: StorePath, accept_changed: bool) -> Job:
    """The job as it is resumed after an earlier run.

    Raises StoreError, saying what changed, where it is a different one, or where files or stores that decide its voxels
    have changed since its first run and the user does not accept that.
    """
    one, other = before.compared, job.compared
    if one["tree"] != other["tree"] and before.tree != job.tree:
        # the changed fields rather than two digests
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
    """Raises StoreError where a state is that of another store; one that was moved or copied with its store is not.

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
            "the state is that of another store",
            found=f"{state.folder} of {old}",
            allowed="another folder for the state",
        )


def require_unread_outputs(root: StorePath, datasets: Sequence[str], plans: Sequence[Plan]) -> None:
    """Raises StoreError where an output is, holds or lies in an array that the job reads."""
    for dataset in datasets:
        output = _address(root / dataset)
        for plan in plans:
            for i, step in enumerate(plan.steps):
                for folder in () if step.opened is None else map(_address, step.opened.folders()):
                    if output.startswith(folder) or folder.startswith(output):
                        raise StoreError(
                            "the job reads the array that it is to write",
                            found=f"{folder} and output {output}",
                            allowed="another dataset name, or another store",
                            path=plan.path(i),
                        )


def _address(folder: Path | Url | RemotePath) -> str:
    """A folder or URL as a text that those of all that lies in it begin with."""
    return f"{folder.resolve() if isinstance(folder, Path) else folder}".rstrip("/") + "/"


def require_replaceable(
    state: State, root: StorePath, datasets: Sequence[str], overwrite: bool, unfinished_job: str | None = None
) -> None:
    """Raises StoreError where something is there that is not to be replaced, or that another run is writing.

    Args:
        state: Of the job, whose lock this process holds.
        root: The store.
        datasets: What the user named.
        overwrite: True if arrays may be replaced.
        unfinished_job: The id of a job that was killed while it created its outputs, which may be replaced.
    """
    for dataset in datasets:
        _require_idle(state, root, dataset)
        if unfinished_job is not None:
            node = read_node(root, dataset)
            # in a remote store it may have been removed in part
            if job_of(node) == unfinished_job or (node is None and isinstance(root, RemotePath)):
                continue
        there = what_is_there(root, dataset)
        if there == "group" and not _is_ours(root, dataset, overwrite):
            raise StoreError("a group is there already", found=f"{root}/{dataset}", allowed="another dataset name")
        if there in ("array", "chunks") and not overwrite:
            raise StoreError(
                "an array is there already" if there == "array" else "chunks of an array that is gone are there",
                found=f"{root}/{dataset}",
                allowed="overwrite replaces it; another dataset name",
            )


def _require_idle(state: State, root: StorePath, dataset: str) -> None:
    """Raises StoreError where a run with another state is writing a dataset, or the first level of it."""
    for name in (dataset, f"{dataset}/s0".strip("/")):
        node = read_node(root, name)
        mark = None if node is None else Mark.of(node)
        folder = None if mark is None else mark.folder(root / name)
        if folder is not None and folder != state.folder and (who := State(folder).holder()) is not None:
            raise other_run_error(f"{who}, state {folder}")


def _is_ours(root: StorePath, dataset: str, overwrite: bool) -> bool:
    """True if a group is a pyramid that a job wrote, holds nothing else, and may be replaced."""
    node = read_node(root, dataset)
    with scan(root / dataset) as entries:
        inside = [entry.name for entry in entries if entry.is_dir()]
    levels = all(name[:1] == "s" and name[1:].isdigit() for name in inside)
    return overwrite and node is not None and PROVENANCE in node.attrs and levels
