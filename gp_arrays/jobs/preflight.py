"""What stands where a job is to write: nothing, what an earlier run of it made, or what must not be touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..model.plan import Plan
from ..storage.documents import read_node, what_is_there
from ..storage.engine import DOCUMENTS
from . import job as jobs
from .attributes import PROVENANCE
from .outputs import job_of
from .prepare import Job
from .state import State


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


def require_same(before: Mapping[str, Any], job: Job) -> None:
    """Raises StoreError, saying what changed, unless a job goes on where an earlier run of it stopped."""
    one, other = before["compared"], job.document["compared"]
    trees = [document["trees"][0]["document"] for document in (before, job.document)]
    if one["tree"] != other["tree"] and None not in trees and trees[0] != trees[1]:
        # what has changed in words, rather than digests of it
        one, other = ({**compared, "tree": tree} for compared, tree in zip((one, other), trees, strict=True))
    found = changes(one, other)
    if found:
        shown = "; ".join(found[:5]) + ("; ..." if len(found) > 5 else "")
        raise StoreError("the outputs belong to a job that was another", found=shown, allowed="overwrite starts anew")
    for dataset in job.datasets:
        if job_of(read_node(job.root, dataset)) != before["id"]:
            raise StoreError(
                "an output is not the one that the job made",
                found=f"{job.root}/{dataset}",
                allowed="overwrite starts anew",
            )


def require_own(kept: State, root: Path, beside: bool) -> None:
    """Raises StoreError where a state is that of another store; one that was moved or copied with its store is not.

    Args:
        beside: Whether the state lies beside the store.
    """
    if not kept.exists:
        return
    job = jobs.read(kept.folder)
    old = Path(job["root"])
    if not beside and old != root and any(job_of(read_node(old, name)) == job["id"] for name in job["datasets"]):
        raise StoreError(
            "the state is that of another store",
            found=f"{kept.folder} of {old}",
            allowed="another folder for the state",
        )


def require_apart(root: Path, datasets: Sequence[str], plans: Sequence[Plan]) -> None:
    """Raises StoreError where an output is, holds or lies in an array that the job reads."""
    for dataset in datasets:
        output = (root / dataset).resolve()
        for plan in plans:
            for i, step in enumerate(plan.steps):
                for folder in () if step.opened is None else map(Path.resolve, step.opened.folders()):
                    if output.is_relative_to(folder) or folder.is_relative_to(output):
                        raise StoreError(
                            "the job reads the array that it is to write",
                            found=f"{folder} and output {output}",
                            allowed="another dataset name, or another store",
                            path=plan.path(i),
                        )


def require_room(root: Path, datasets: Sequence[str], overwrite: bool, half_made: str | None = None) -> None:
    """Raises StoreError where something is there that is not to be replaced.

    ``half_made`` is the id of a job that was killed while it made its outputs: what it has
    left may be replaced.
    """
    for dataset in datasets:
        there = what_is_there(root, dataset)
        if half_made is not None and _is_left_by(half_made, root, dataset):
            continue
        if there == "group" and not _is_ours(root, dataset, overwrite):
            raise StoreError("a group is there already", found=f"{root}/{dataset}", allowed="another dataset name")
        if there == "array" and not overwrite:
            raise StoreError(
                "an array is there already",
                found=f"{root}/{dataset}",
                allowed="overwrite replaces it; another dataset name",
            )


def _is_left_by(job: str, root: Path, dataset: str) -> bool:
    """Whether a job that was killed while it made a node has left it: it says so, or says nothing and holds nothing."""
    node = read_node(root, dataset)
    if node is None or node.attrs:
        return job_of(node) == job
    return all(path.name in DOCUMENTS for path in (root / dataset).iterdir())


def _is_ours(root: Path, dataset: str, overwrite: bool) -> bool:
    """Whether a group is a pyramid that a job made, with nothing else in it, and may be replaced."""
    node = read_node(root, dataset)
    inside = [path.name for path in (root / dataset).iterdir() if path.is_dir()]
    levels = all(name[:1] == "s" and name[1:].isdigit() for name in inside)
    return overwrite and node is not None and PROVENANCE in node.attrs and levels
