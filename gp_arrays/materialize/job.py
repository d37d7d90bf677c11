"""The job as a worker gets it: a folder with the tree, the outputs and their blocks."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError, StoreError
from ..plan import Plan, compile_plan
from ..rules import ArrayRules
from ..tree import parse_tree, tree_document
from .geometry import Output, Pass

JOB = "job.json"
TREE = "tree.pickle"


def write_text(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old or the new."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)


def tree_of(roots: Mapping[str, ArrayRules]) -> dict[str, Any] | None:
    """The tree as a plain document, or None where it holds voxels in memory."""
    try:
        return tree_document(list(roots.values()))
    except ConfigError:
        return None


def describe(plan: Plan, passes: Sequence[Pass], root: Path) -> dict[str, Any]:
    """The job as plain data. Paths in it are taken from ``cwd``."""
    return {
        "root": str(root.absolute()),
        "cwd": str(Path.cwd()),
        "unit": plan.unit,
        "arrays": {dataset: config.name for dataset, config in plan.roots.items()},
        "tree": tree_of(plan.roots),
        "modules": sorted({type(step.config).__module__ for step in plan.steps} - {"__main__"}),
        "passes": [
            {
                "name": made.name,
                "begin": made.begin,
                "block": made.block,
                "grid": made.grid,
                "outputs": [
                    {"dataset": o.dataset, "chunks": o.chunks, "shards": o.shards} for o in made.outputs
                ],
            }
            for made in passes
        ],
    }  # fmt: skip


def save(folder: Path, job: Mapping[str, Any], plan: Plan) -> None:
    """Write a job where its workers find it."""
    if job["tree"] is None:
        (folder / TREE).write_bytes(pickle.dumps(dict(plan.roots)))
    write_text(folder / JOB, json.dumps(job, indent=1))


@attrs.frozen(eq=False)
class Loaded:
    """A job as read from its folder."""

    root: Path
    plan: Plan
    passes: tuple[Pass, ...]


def read(folder: Path) -> dict[str, Any]:
    """The job in a folder, as plain data. Raises StoreError."""
    try:
        value: dict[str, Any] = json.loads((folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError("cannot read the job", found=f"{folder / JOB}: {error}") from None
    return value


def load(folder: Path) -> Loaded:
    """The job in a folder, compiled. Raises StoreError, TreeError."""
    job = read(folder)
    if job["tree"] is None:
        roots = pickle.loads((folder / TREE).read_bytes())
    else:
        tree = parse_tree(job["tree"], Path(job["cwd"]))
        roots = {dataset: tree[name] for dataset, name in job["arrays"].items()}
    plan = compile_plan(roots, job["unit"])
    return Loaded(Path(job["root"]), plan, passes_of(job, plan))


def passes_of(job: Mapping[str, Any], plan: Plan) -> tuple[Pass, ...]:
    """The passes of a job, for its compiled tree."""
    return tuple(
        Pass(
            made["name"],
            tuple(
                Output(
                    o["dataset"], plan.outputs[o["dataset"]], plan.steps[plan.outputs[o["dataset"]]].meta,
                    tuple(o["chunks"]), None if o["shards"] is None else tuple(o["shards"]),
                )
                for o in made["outputs"]
            ),
            tuple(made["begin"]), tuple(made["block"]), tuple(made["grid"]),
        )
        for made in job["passes"]
    )  # fmt: skip
