"""The arrays that a job writes. The main process creates all of them or none; workers write their blocks."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..model.config import all_configs
from ..model.meta import Meta, Region
from ..model.plan import Plan
from ..sources.numpy_ import NumpyArrayConfig
from ..storage.access.files import store_errors
from ..storage.access.remote import RemotePath, StorePath
from ..storage.chunked.array_files import files_of
from ..storage.chunked.chunk_writer import ChunkWriter
from ..storage.chunked.create import (
    NewArray,
    create_array,
    create_group,
    hidden_folders,
    require_one_format,
)
from ..storage.chunked.remote_create import remove_array
from ..storage.chunked.replace import swap_in
from ..storage.journal import MARK, STATES, Mark
from ..storage.metadata.attributes import geometry_attributes, remove_attribute, update_attributes
from ..storage.metadata.documents import ChunkedNode, find_node, read_node, require_unchanged
from . import document
from .document import PROVENANCE, Job, job_of
from .geometry import Output, Pass
from .prepare import Prepared
from .pyramid import multiscale
from .settings import Storage
from .state import CREATED, State

#: The libraries whose versions are written into the attributes of an output.
LIBRARIES = ("gp_arrays", "gunpowder", "daisy", "numpy", "scipy", "zarr", "numcodecs")


def array_attributes(meta: Meta, provenance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The attributes of an output: those of its sources, its geometry and its provenance."""
    channel = meta.channel_axis
    names = None if channel is None else channel.labels
    return {
        **meta.attrs,
        **geometry_attributes(meta.region.begin, meta.voxel_size, meta.unit, meta.axes, names),
        **({} if provenance is None else {PROVENANCE: dict(provenance)}),
    }


def provenance(plan: Plan, dataset: str, tree: Mapping[str, Any] | None, job: str) -> dict[str, Any]:
    """The origin of the voxels of an output.

    It holds the tree as a document (None if voxels in memory are among its sources), the name and the digest of the
    array, the versions of libraries, and the date.
    """
    config = plan.roots[dataset]
    return {
        "array": config.name,
        "tree": tree,
        "hash": config.content,
        "unit": plan.unit,
        "interpolatable": plan.steps[plan.outputs[dataset]].meta.interpolatable,
        "versions": {**{name: version(name) for name in LIBRARIES}, "python": platform.python_version()},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "job": job,
    }


def create_output(
    root: StorePath, output: Output, dataset: str, storage: Storage, attributes: Mapping[str, Any]
) -> None:
    """Create the array of an output at ``dataset``, without chunks. Raises StoreError."""
    meta = output.meta
    assert meta.dtype is not None
    encoding = storage.compressor, storage.zarr_format, output.shards
    create_array(root, dataset, NewArray(meta.shape, output.chunks, meta.dtype, attributes, *encoding, axes=meta.axes))


def save_job(prepared: Prepared, state: State) -> None:
    """Save the document of a job, and its voxels in memory, in the state folder. Raises StoreError."""
    document.save_voxels(state.folder, prepared.roots.values())
    document.save(state.folder, prepared.job)


def create_outputs(prepared: Prepared, state: State) -> None:
    """Create the arrays and groups of a job, which replace earlier ones, and save the job: everything or nothing.

    They are created in hidden folders and then renamed. If anything fails, earlier outputs and their state are unchanged.
    In a remote store, where nothing can be renamed, earlier outputs are removed first. If anything fails after that, the
    job document without the file CREATED tells the next run that it may replace these outputs.
    """
    root, job, zarr_format = prepared.root, prepared.job, prepared.layout.storage.zarr_format
    if isinstance(root, RemotePath):
        state.clear()
        save_job(prepared, state)
        for name in job.datasets:
            remove_array(root / name)
            if name:
                create_group(root, name.rpartition("/")[0], zarr_format)
            _create_dataset(prepared, state, name, root / name)
        (state.folder / CREATED).touch()
        return
    for name in filter(None, job.datasets):
        require_one_format(root, name.rpartition("/")[0], zarr_format)
    with hidden_folders(root, job.datasets, zarr_format) as hidden:
        for name in job.datasets:
            _create_dataset(prepared, state, name, hidden[Path(os.path.realpath(root / name))])
        with state.replaced(), contextlib.ExitStack() as swapping_back:
            save_job(prepared, state)
            for folder, new in hidden.items():
                swap_in(new, folder)
                swapping_back.callback(swap_in, folder, new)
            (state.folder / CREATED).touch()
            swapping_back.pop_all()


def _create_dataset(prepared: Prepared, state: State, name: str, folder: StorePath) -> None:
    """Create one dataset that the user named, an array or a pyramid, in a folder."""
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
            create_output(folder, output, inside, layout.storage, attributes)


def _is_level(output: Output, group: str) -> bool:
    return output.dataset.rpartition("/")[0] == group


def _pyramid_attributes(prepared: Prepared, name: str) -> dict[str, Any]:
    metas = [output.meta for pass_ in prepared.job.passes for output in pass_.outputs if _is_level(output, name)]
    version = "0.4" if prepared.layout.storage.zarr_format == 2 else "0.5"
    levels = [f"s{i}" for i in range(len(metas))]
    return multiscale(metas, levels, name.rpartition("/")[2], version, prepared.groups[name])


def mark_of(job: Job, state: State, pass_: Pass, output: Output) -> Mapping[str, Any]:
    """The value of the attribute that marks an output as unfinished and names the state of its job."""
    # a state beside the store is named relative to it, because both can be moved together
    beside = state.folder.parent == Path(f"{job.root}{STATES}")
    folder = state.folder.name if beside else str(state.folder)
    begin, block = pass_.box_of(output)
    return Mark(job.id, output.dataset, folder, pass_.name, begin, block, pass_.grid).document()


def mark_outputs(job: Job, state: State) -> None:
    """Mark the outputs that are not finished, and remove the mark of finished ones. Raises StoreError."""
    root = job.store
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


class Writer:
    """Writes regions of one output. It raises an error if the array was removed or replaced since it was opened.

    Args:
        root: The store.
        dataset: The path of the output in the store.
        meta: Of the output.
        skip_empty: True if chunks that hold only the fill value are not written.
        job: The id of the job that must have created the array; None if that does not matter.
    """

    def __init__(
        self, root: StorePath, dataset: str, meta: Meta, skip_empty: bool = False, job: str | None = None
    ) -> None:
        self.root, self.dataset, self.meta, self.job = root, dataset, meta, job
        node = read_node(root, dataset)
        if not isinstance(node, ChunkedNode) or node.shape != meta.shape or node.dtype != meta.dtype:
            raise StoreError("the output does not have the shape and dtype of the job", found=f"{root}/{dataset}")
        self.node, self.skip_empty = node, skip_empty
        files = files_of(root, node)
        self._chunks = ChunkWriter(files, not skip_empty) if ChunkWriter.can_write(files) else None

    @functools.cached_property
    def array(self) -> Any:
        """The array as zarr opens it."""
        from ..storage.chunked.engine import open_array

        return open_array(files_of(self.root, self.node), True, write_empty=not self.skip_empty)

    def require_unchanged(self) -> None:
        """Raises StoreError if the array has vanished or changed: zarr would write without an error."""
        now = require_unchanged(self.root, self.node)
        if self.job is not None and job_of(now) != self.job:
            raise StoreError("the output belongs to another job now", found=f"{self.root}/{self.dataset}")

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """The voxels of a region, as they are stored."""
        voxels: np.ndarray[Any, Any] = np.asarray(self.array[self.meta.slices_of(region)])
        return voxels

    def write(self, region: Region, values: np.ndarray[Any, Any]) -> None:
        """Write the voxels of a region. No other worker writes to its chunks. Raises StoreError."""
        self.require_unchanged()
        index = self.meta.slices_of(region)
        # zarr and the codecs raise errors of many types
        with store_errors(f"{self.root}/{self.dataset}", "cannot write", (Exception,)):
            if self._chunks is not None and self._chunks.are_complete(index):
                self._chunks.write(index, values)
            else:
                self.array[index] = values
        self.require_unchanged()
