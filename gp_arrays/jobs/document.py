"""The job document: what master, workers, ``status``, ``check_blocks`` and ``finish`` know of a job."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_origin

import attrs
import cattrs
import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import ConfigError, StoreError, TreeError
from ..model.base import ArrayConfig
from ..model.cache import reading_once
from ..model.config import all_configs, rebuilt
from ..model.evaluate import evaluate
from ..model.meta import Meta, Region
from ..model.plan import Plan, compile_plan
from ..model.registry import ENTRY_POINT_GROUP
from ..model.urls import to_store
from ..sources.numpy_ import NumpyArrayConfig, Voxels
from ..storage.access.files import replace_file, writing
from ..storage.access.remote import StorePath, store_path
from ..storage.journal import STATES
from ..storage.metadata.documents import Node, read_json, read_node
from ..trees.document import tree_document
from ..trees.tree import parse_tree
from .geometry import Output, Pass
from .pyramid import level_roots

#: The attribute of an output that describes where its voxels come from.
PROVENANCE = "gp_arrays"
JOB = "job.json"
#: Of the job document. A state that another version wrote is refused.
VERSION = 1
#: The folder of a state with voxels that were in memory.
VOXELS = "voxels"


@attrs.frozen
class Job:
    """A job: plain data, written to the state folder as JSON.

    Attributes:
        version: Of this document.
        id: Of the job. Its outputs carry it too.
        root: The store, a folder or a URL. It may have been moved since, together with the state.
        unit: The unit of the tree.
        skip_empty: True if chunks that are 0 everywhere are not written.
        datasets: The datasets that the user named.
        arrays: For each output that is no level of a pyramid the array of the tree.
        tree: The arrays, as a tree file has them.
        modules: What has to be imported for the tree, apart from this package.
        passes: Those of levels of pyramids stand after those that they read.
        compared: The description that must be the same when the job is resumed.
        files: For each array of the tree the digests of its files and functions, by their names.
        stores: For each source where it lies, and the metadata of its store.
        accepted: Changes of files and stores that a user has accepted, as text.
        storage_options: Of fsspec, where the store is a URL.
    """

    version: int
    id: str
    root: str
    unit: str
    skip_empty: bool
    datasets: tuple[str, ...]
    arrays: dict[str, str]
    tree: dict[str, Any]
    modules: tuple[str, ...]
    passes: tuple[Pass, ...]
    compared: dict[str, Any]
    files: dict[str, dict[str, str]]
    stores: dict[str, Any]
    accepted: tuple[str, ...] = ()
    storage_options: dict[str, Any] | None = None

    def pass_named(self, name: str) -> Pass:
        return next(pass_ for pass_ in self.passes if pass_.name == name)

    @property
    def store(self) -> StorePath:
        """Where the store was when the job was written."""
        return store_path(to_store(self.root), self.storage_options)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every dataset that the job writes, levels of pyramids included."""
        return tuple(output.dataset for pass_ in self.passes for output in pass_.outputs)


_CONVERTER = cattrs.Converter(unstruct_collection_overrides={tuple: list})
_CONVERTER.register_unstructure_hook(Roi, lambda roi: [list(map(int, roi.begin)), list(map(int, roi.shape))])
_CONVERTER.register_structure_hook(Roi, lambda value, _: Roi(*value))
_CONVERTER.register_unstructure_hook(Path, str)
_CONVERTER.register_unstructure_hook(Coordinate, lambda value: list(map(int, value)))
_CONVERTER.register_structure_hook(Coordinate, lambda value, _: Coordinate(value))
_CONVERTER.register_unstructure_hook_func(
    lambda kind: isinstance(kind, type) and issubclass(kind, np.dtype), lambda dtype: dtype.name
)
_CONVERTER.register_structure_hook_func(
    lambda kind: np.dtype in (kind, get_origin(kind)), lambda value, _: np.dtype(value)
)
# the attributes of sources go into those of the outputs; no worker needs them
_CONVERTER.register_unstructure_hook(
    Meta,
    lambda meta: {
        field.name: _CONVERTER.unstructure(getattr(meta, field.name))
        for field in attrs.fields(Meta)
        if field.name != "attrs"
    },
)


def plain(value: Any) -> Any:
    """``value`` as JSON has it: tuples as lists, numbers of numpy as Python's."""
    return json.loads(json.dumps(_CONVERTER.unstructure(value), default=lambda number: number.item()))


def save(folder: Path, job: Job) -> None:
    """Write a job document. Raises StoreError."""
    replace_file(folder / JOB, json.dumps(plain(job), indent=1))


def read(folder: Path) -> Job:
    """The job in a state folder. Raises StoreError."""
    document = read_json(folder / JOB)
    if document is None:
        raise StoreError("no job in this folder", found=str(folder), allowed="the state folder of a job")
    version = document.get("version")
    if version != VERSION:
        raise StoreError(
            "the job was written by another version of gp_arrays",
            found=f"{folder / JOB}: version {version}",
            allowed=f"version {VERSION}; overwrite starts from the beginning",
        )
    try:
        job: Job = _CONVERTER.structure(document, Job)
        if not job.passes:
            raise ValueError("a job without passes")
    except Exception as error:  # cattrs raises groups of whatever its hooks raise
        raise StoreError("the job document is damaged", found=f"{folder / JOB}: {error!r}") from None
    return job


def job_of(node: Node | None) -> str | None:
    """The id of the job that writes an array or group, None if no job does."""
    origin = None if node is None else node.attrs.get(PROVENANCE)
    return str(origin["job"]) if isinstance(origin, Mapping) and "job" in origin else None


def store_of(folder: Path, job: Job) -> StorePath:
    """The store of a job: the one beside the state, because both may have been moved, else the one that the job names."""
    base = folder.parent
    beside = base.with_name(base.name.removesuffix(STATES))
    if beside != base and any(job_of(read_node(beside, name)) == job.id for name in job.datasets):
        return beside
    return job.store


# --- trees of a job ---------------------------------------------------------------------------------------------------


def with_stored_voxels(roots: Mapping[str, ArrayConfig]) -> dict[str, ArrayConfig]:
    """The trees, with voxels in memory replaced by files of the state folder that are named by a digest."""

    def stored(config: Any) -> Any:
        if not isinstance(config, NumpyArrayConfig):
            return config
        data = np.ascontiguousarray(config.data.data)
        digest = hashlib.blake2b(repr((data.dtype.str, data.shape)).encode(), digest_size=16)
        digest.update(data.view(np.uint8) if data.size else b"")
        token = digest.hexdigest()
        return config.with_fields(data=Voxels(config.data.data, token, f"{VOXELS}/{token}.npy"))

    return dict(zip(roots, rebuilt(roots.values(), stored), strict=True))  # type: ignore[arg-type]


def save_voxels(folder: Path, roots: Iterable[ArrayConfig]) -> None:
    """Write the voxels that a tree has in memory to the state folder. Raises StoreError."""
    for config in all_configs(roots):
        if isinstance(config, NumpyArrayConfig) and config.data.file is not None:
            path = folder / config.data.file
            if path.exists():
                continue
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_suffix(".partial.npy")
                np.save(partial, config.data.data, allow_pickle=False)
                partial.replace(path)


def document_of(roots: Mapping[str, ArrayConfig]) -> dict[str, Any]:
    """A tree as a plain document. Raises ConfigError, TreeError for what no worker could be sent."""
    document: dict[str, Any] = plain(tree_document(list(roots.values())))
    return document


def modules_of(roots: Iterable[ArrayConfig]) -> tuple[str, ...]:
    """What a process has to import before it can read a tree, apart from this package and installed entry points."""
    known = {"gp_arrays", *(entry.module.partition(".")[0] for entry in entry_points(group=ENTRY_POINT_GROUP))}
    modules = dict.fromkeys(module for config in all_configs(roots) for module in config.modules())
    return tuple(module for module in modules if module.partition(".")[0] not in known)


def require_importable(modules: Sequence[str]) -> None:
    """Raises ConfigError for types and functions that no worker can import."""
    # a script that is read from a pipe has the name of no file
    if "__main__" in modules and not Path(getattr(sys.modules["__main__"], "__file__", None) or "").is_file():
        raise ConfigError(
            "workers cannot import array types or functions of a notebook or an interactive session",
            found="__main__",
            allowed="the same in a module that workers can import",
        )


def require_trust(job: Job, trust: bool) -> None:
    """Import what a job needs where the user trusts it. Raises TreeError where that is needed and the user does not."""
    if job.modules and not trust:
        raise TreeError(
            "the job needs modules that are not installed as array types",
            found=", ".join(job.modules),
            allowed="--trust, or trust=True, to import them from where Python finds them",
        )
    for module in job.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise TreeError("a module of the job cannot be imported", found=f"{module}: {error}") from None


@attrs.frozen(eq=False)
class Work:
    """A pass of a job, compiled.

    ``frame`` is where the origin of the plan is in the world: levels of pyramids are
    computed as if the pyramid began at 0.
    """

    root: StorePath
    job: Job
    plan: Plan
    pass_: Pass

    @property
    def frame(self) -> tuple[int, ...]:
        return self.pass_.begin if self.pass_.level else (0,) * len(self.pass_.begin)

    def evaluate(self, block: Region) -> list[tuple[Output, Region, np.ndarray[Any, Any]]]:
        """The voxels of each output that a block covers, and where they are."""
        parts = self.pass_.parts_in(block)
        back = [-f for f in self.frame]
        wanted = [(self.plan.outputs[output.dataset], part.shift(back)) for output, part in parts]
        with reading_once():
            results = evaluate(self.plan, wanted)
        return [(*part, voxels) for part, voxels in zip(parts, results, strict=True)]


def _with_voxels(entry: Any, folder: Path) -> Any:
    """A document whose files of voxels are named by where the state folder is now."""
    if isinstance(entry, list):
        return [_with_voxels(item, folder) for item in entry]
    if not isinstance(entry, Mapping):
        return entry
    if entry.get("__type__") == NumpyArrayConfig.__name__:
        return {**entry, "data": str(folder / entry["data"])}
    return {key: _with_voxels(item, folder) for key, item in entry.items()}


def load(folder: Path, job: Job, name: str) -> Work:
    """A pass of the job in a folder, compiled. Its modules are imported already. Raises StoreError, TreeError."""
    pass_ = job.pass_named(name)
    root = store_of(folder, job)
    if pass_.level is not None:
        roots = level_roots(pass_, root)
    else:
        configs = parse_tree(_with_voxels(job.tree, folder))
        roots = {output.dataset: configs[job.arrays[output.dataset]] for output in pass_.outputs}
    return Work(root, job, compile_plan(roots, job.unit), pass_)
