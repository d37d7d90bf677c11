"""The job as a worker gets it: a folder with the tree, the outputs and their blocks."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import cloudpickle
import numpy as np

from ..errors import ConfigError, StoreError
from ..model.base import ArrayConfig
from ..model.config import all_configs
from ..model.evaluate import evaluate
from ..model.meta import Meta, Region
from ..model.plan import Plan, compile_plan
from ..storage.documents import read_node
from ..storage.files import replace_file
from ..trees.document import tree_document
from ..trees.tree import parse_tree
from .geometry import Output, Pass
from .outputs import job_of

JOB = "job.json"
TREE = "tree-{}.pickle"
#: Ends the name of the folder that holds the states of the jobs of a store.
SUFFIX = ".gp_arrays"


def describe_tree(roots: Mapping[str, ArrayConfig]) -> dict[str, Any]:
    """A tree as a plain document; none where it holds what no document can."""
    modules = {type(config).__module__ for config in all_configs(roots.values())}
    try:
        document = tree_document(list(roots.values()))
    except ConfigError:
        document = None
    return {
        "arrays": {dataset: config.name for dataset, config in roots.items()},
        "document": document,
        # those that register the array types; what a script defines itself goes by pickle
        "modules": sorted(modules),
    }


def describe_pass(made: Pass, tree: int) -> dict[str, Any]:
    """A pass as plain data; ``tree`` is which of the job's trees it evaluates."""
    return {
        "name": made.name,
        "tree": tree,
        "after": made.after,
        "begin": made.begin,
        "block": made.block,
        "grid": made.grid,
        "outputs": [{"dataset": o.dataset, "chunks": o.chunks, "shards": o.shards} for o in made.outputs],
    }


def save(folder: Path, job: Mapping[str, Any], roots: Sequence[Mapping[str, ArrayConfig]]) -> None:
    """Write a job where its workers find it. Raises ConfigError for what cannot be sent to them."""
    for i, (tree, configs) in enumerate(zip(job["trees"], roots, strict=True)):
        if by_pickle(tree):
            try:
                pickled = cloudpickle.dumps(dict(configs))
            except Exception as error:
                raise ConfigError(
                    "the tree cannot be sent to workers", found=f"{type(error).__name__}: {error}"
                ) from error
            replace_file(folder / TREE.format(i), pickled)
    replace_file(folder / JOB, json.dumps(job, indent=1))


def by_pickle(tree: Mapping[str, Any]) -> bool:
    """Whether a tree goes to workers by pickle, on this machine only."""
    return tree["document"] is None or "__main__" in tree["modules"]


def read(folder: Path) -> dict[str, Any]:
    """The job in a folder, as plain data. Raises StoreError."""
    try:
        value: dict[str, Any] = json.loads((folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError("cannot read the job", found=f"{folder / JOB}: {error}") from None
    return value


def store_of(folder: Path, job: Mapping[str, Any]) -> Path:
    """The store of a job: the one that its state lies beside, as both may have been moved, else the one it says."""
    base = folder.parent
    beside = base.with_name(base.name.removesuffix(SUFFIX))
    if beside != base and any(job_of(read_node(beside, name)) == job["id"] for name in job["datasets"]):
        return beside
    return Path(job["root"])


@attrs.frozen(eq=False)
class Loaded:
    """A pass of a job as a worker needs it.

    ``frame`` is where the origin of the plan is in the world: levels of pyramids are
    computed as if the pyramid began at 0.
    """

    root: Path
    id: str
    plan: Plan
    made: Pass
    skip_empty: bool
    frame: tuple[int, ...]

    def evaluate(self, block: Region) -> list[tuple[Output, Region, np.ndarray[Any, Any]]]:
        """The voxels of each output that a block covers, and where they are."""
        parts = self.made.wanted(block)
        wanted = [(self.plan.outputs[output.dataset], part.shift([-f for f in self.frame])) for output, part in parts]
        return [(*part, voxels) for part, voxels in zip(parts, evaluate(self.plan, wanted), strict=True)]


def load(folder: Path, name: str) -> Loaded:
    """A pass of the job in a folder, compiled. Raises StoreError, TreeError."""
    job = read(folder)
    described = next(made for made in job["passes"] if made["name"] == name)
    root = store_of(folder, job)
    plan = compile_plan(load_tree(folder, job, described["tree"], root), job["unit"])
    frame = tuple(described["begin"]) if described["after"] else (0,) * len(described["begin"])
    metas = {dataset: plan.steps[step].meta for dataset, step in plan.outputs.items()}
    metas = {dataset: attrs.evolve(meta, roi=meta.region.shift(frame).roi) for dataset, meta in metas.items()}
    return Loaded(root, job["id"], plan, read_pass(described, metas), job["skip_empty"], frame)


def load_tree(folder: Path, job: Mapping[str, Any], index: int, root: Path) -> dict[str, ArrayConfig]:
    """One of the trees of a job, by dataset. ``root`` is where its store is now."""
    tree = job["trees"][index]
    here, there = str(root), job["root"]
    if by_pickle(tree):
        configs: dict[str, ArrayConfig] = cloudpickle.loads((folder / TREE.format(index)).read_bytes())
        return configs
    for module in tree["modules"]:
        importlib.import_module(module)
    document = tree["document"]
    if index and here != there:
        # levels of pyramids read what the job itself has written
        document = {k: {**v, "file_name": here} if v.get("file_name") == there else v for k, v in document.items()}
    configs = parse_tree(document)
    return {dataset: configs[name] for dataset, name in tree["arrays"].items()}


def read_pass(described: Mapping[str, Any], metas: Mapping[str, Meta]) -> Pass:
    """A pass from plain data."""
    outputs = tuple(
        Output(o["dataset"], metas[o["dataset"]], tuple(o["chunks"]), o["shards"] and tuple(o["shards"]))
        for o in described["outputs"]
    )
    return Pass(
        described["name"],
        outputs,
        tuple(described["begin"]),
        tuple(described["block"]),
        tuple(described["grid"]),
        described["after"],
    )
