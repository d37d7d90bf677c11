"""What stands where a job is to write: nothing, what an earlier run of it made, or what must not be touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..plan import Plan
from ..storage.documents import read_node, what_is_there
from .attributes import PROVENANCE
from .prepare import Job


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
        raise StoreError("the outputs belong to a job that was another", found=shown,
                         allowed="overwrite starts anew")  # fmt: skip
    for dataset in job.datasets:
        node = read_node(job.root, dataset)
        made = None if node is None or not node.is_array else node.attrs.get(PROVENANCE)
        if not isinstance(made, Mapping) or made.get("job") != before["id"]:
            raise StoreError("an output is not the one that the job made", found=f"{job.root}/{dataset}",
                             allowed="overwrite starts anew")  # fmt: skip


def require_apart(root: Path, datasets: Sequence[str], plans: Sequence[Plan]) -> None:
    """Raises StoreError where an output is, holds or lies in an array that the job reads."""
    for dataset in datasets:
        output = (root / dataset).resolve()
        for plan in plans:
            for i, step in enumerate(plan.steps):
                for folder in () if step.opened is None else map(Path.resolve, step.opened.folders()):
                    if output.is_relative_to(folder) or folder.is_relative_to(output):
                        raise StoreError("the job reads the array that it is to write", found=f"{folder} and output {output}",
                                         allowed="another dataset name, or another store", path=plan.path(i))  # fmt: skip


def require_room(root: Path, datasets: Sequence[str], overwrite: bool) -> None:
    """Raises StoreError where something is there that is not to be replaced."""
    for dataset in datasets:
        there = what_is_there(root, dataset)
        if there == "group" and not _is_ours(root, dataset, overwrite):
            raise StoreError("a group is there already", found=f"{root}/{dataset}", allowed="another dataset name")
        if there == "array" and not overwrite:
            raise StoreError("an array is there already", found=f"{root}/{dataset}",
                             allowed="overwrite replaces it; another dataset name")  # fmt: skip


def _is_ours(root: Path, dataset: str, overwrite: bool) -> bool:
    """Whether a group is a pyramid that a job made, with nothing else in it, and may be replaced."""
    node = read_node(root, dataset)
    inside = [path.name for path in (root / dataset).iterdir() if path.is_dir()]
    levels = all(name[:1] == "s" and name[1:].isdigit() for name in inside)
    return overwrite and node is not None and PROVENANCE in node.attrs and levels
