"""The job document: the description of a job for the main process, workers, ``status`` and ``check_blocks``."""

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

#: The attribute of an output that describes the origin of its voxels.
PROVENANCE = "gp_arrays"
JOB = "job.json"
#: The version of the job document. Documents of other versions are refused.
VERSION = 1
#: The folder in a state for voxels that were in memory.
VOXELS = "voxels"


@attrs.frozen
class Job:
    """A job: plain data, written to the state folder as JSON.

    Attributes:
        version: The version of this document.
        id: The id of the job, which is in the attributes of its outputs too.
        root: The store, a folder or a URL. It may have been moved since, together with the state.
        unit: The unit of the tree.
        skip_empty: True if chunks that are 0 everywhere are not written.
        datasets: The datasets that the user named.
        arrays: For each output that is not a level of a pyramid the name of its array in the tree.
        tree: The arrays, as in a tree file.
        modules: The modules that must be imported for the tree, apart from this package.
        passes: The pass of a level of a pyramid stands after the pass that it reads.
        compared: The digests of the tree and the options that must not change between the runs of a job.
        files: For each array of the tree the digests of its files and functions, by their names.
        stores: For each source its location and the metadata of its store.
        accepted: The changes of files and stores that the user has accepted, as text.
        storage_options: Options of fsspec if the store is a URL.
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
# the attributes of sources are in the attributes of the outputs; workers do not need them
_CONVERTER.register_unstructure_hook(
    Meta,
    lambda meta: {
        field.name: _CONVERTER.unstructure(getattr(meta, field.name))
        for field in attrs.fields(Meta)
        if field.name != "attrs"
    },
)


def plain(value: Any) -> Any:
    """``value`` as JSON stores it: with lists for tuples, and Python's numbers for those of numpy."""
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
    """The id of the job that has created an array or group, None if no job has."""
    origin = None if node is None else node.attrs.get(PROVENANCE)
    return str(origin["job"]) if isinstance(origin, Mapping) and "job" in origin else None


def store_of(folder: Path, job: Job) -> StorePath:
    """The store of a job. The store beside the state comes first, because both may have been moved together."""
    base = folder.parent
    beside = base.with_name(base.name.removesuffix(STATES))
    if beside != base and any(job_of(read_node(beside, name)) == job.id for name in job.datasets):
        return beside
    return job.store


# --- trees of a job ---------------------------------------------------------------------------------------------------


def with_stored_voxels(roots: Mapping[str, ArrayConfig]) -> dict[str, ArrayConfig]:
    """The trees, with voxels in memory named by the files in the state folder that will contain them."""

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
    """Write voxels in memory to the state folder. Raises StoreError."""
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
    """A tree as a plain document. Raises ConfigError or TreeError if a worker could not load it."""
    document: dict[str, Any] = plain(tree_document(list(roots.values())))
    return document


def modules_of(roots: Iterable[ArrayConfig]) -> tuple[str, ...]:
    """The modules to import before a tree can be loaded, apart from this package and installed array types."""
    known = {"gp_arrays", *(entry.module.partition(".")[0] for entry in entry_points(group=ENTRY_POINT_GROUP))}
    modules = dict.fromkeys(module for config in all_configs(roots) for module in config.modules())
    return tuple(module for module in modules if module.partition(".")[0] not in known)


def require_importable(modules: Sequence[str]) -> None:
    """Raises ConfigError for types and functions that workers cannot import."""
    # a script that Python reads from a pipe has no file
    if "__main__" in modules and not Path(getattr(sys.modules["__main__"], "__file__", None) or "").is_file():
        raise ConfigError(
            "workers cannot import array types or functions of a notebook or an interactive session",
            found="__main__",
            allowed="types and functions in a module that workers can import",
        )


def require_trust(job: Job, trust: bool) -> None:
    """Import the modules of a job. Raises TreeError if there are any and the user does not trust the job."""
    if job.modules and not trust:
        raise TreeError(
            "the job needs modules that are not installed as array types",
            found=", ".join(job.modules),
            allowed="--trust, or trust=True, which imports them",
        )
    for module in job.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise TreeError("a module of the job cannot be imported", found=f"{module}: {error}") from None


@attrs.frozen(eq=False)
class Work:
    """A compiled pass of a job.

    ``origin`` is the position of the plan's origin in world units: levels of pyramids are computed as if the pyramid
    began at 0.
    """

    root: StorePath
    job: Job
    plan: Plan
    pass_: Pass

    @property
    def origin(self) -> tuple[int, ...]:
        return self.pass_.begin if self.pass_.level else (0,) * len(self.pass_.begin)

    def evaluate(self, block: Region) -> list[tuple[Output, Region, np.ndarray[Any, Any]]]:
        """The voxels of each output in a block, and their regions."""
        parts = self.pass_.parts_in(block)
        back = [-o for o in self.origin]
        requests = [(self.plan.outputs[output.dataset], part.shift(back)) for output, part in parts]
        with reading_once():
            results = evaluate(self.plan, requests)
        return [(*part, voxels) for part, voxels in zip(parts, results, strict=True)]


def _with_voxels(entry: Any, folder: Path) -> Any:
    """A tree document in which the files of voxels have the path of the state folder in front."""
    if isinstance(entry, list):
        return [_with_voxels(item, folder) for item in entry]
    if not isinstance(entry, Mapping):
        return entry
    if entry.get("__type__") == NumpyArrayConfig.__name__:
        return {**entry, "data": str(folder / entry["data"])}
    return {key: _with_voxels(item, folder) for key, item in entry.items()}


def load(folder: Path, job: Job, name: str) -> Work:
    """The compiled pass of a name. The modules of the job must have been imported. Raises StoreError, TreeError."""
    pass_ = job.pass_named(name)
    root = store_of(folder, job)
    if pass_.level is not None:
        roots = level_roots(pass_, root)
    else:
        configs = parse_tree(_with_voxels(job.tree, folder))
        roots = {output.dataset: configs[job.arrays[output.dataset]] for output in pass_.outputs}
    return Work(root, job, compile_plan(roots, job.unit), pass_)
