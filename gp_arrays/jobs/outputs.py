"""The arrays that a job writes: made once by its master, written by its workers."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..model.meta import Meta, Region
from ..model.plan import Plan
from ..storage.attributes import geometry_attributes
from ..storage.create import NewArray, create_array
from ..storage.documents import Node, read_node
from ..storage.engine import open_array
from .settings import Storage

#: The attribute that says where voxels come from.
PROVENANCE = "gp_arrays"
#: Libraries whose versions are kept with the voxels.
LIBRARIES = ("gp_arrays", "gunpowder", "daisy", "numpy", "scipy", "zarr", "numcodecs")


def array_attributes(meta: Meta, provenance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The attributes of an output: where it is, those of its sources, where its voxels come from."""
    channel = meta.channel_axis
    names = None if channel is None else channel.labels
    return {
        **meta.attrs,
        **geometry_attributes(meta.region.begin, meta.voxel_size, meta.unit, meta.axes, names),
        **({} if provenance is None else {PROVENANCE: dict(provenance)}),
    }


def provenance(plan: Plan, dataset: str, tree: Mapping[str, Any] | None, job: str) -> dict[str, Any]:
    """Where the voxels of an output come from.

    The tree as a document (None where voxels in memory are among its sources), the array
    in it, the digest of what it says, the versions of libraries, the date.
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


def create(
    root: Path,
    dataset: str,
    meta: Meta,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    storage: Storage,
    attributes: Mapping[str, Any],
) -> None:
    """Make an array whose voxels are still all fill value. Raises StoreError."""
    assert meta.dtype is not None
    compressor, zarr_format = storage.compressor, storage.zarr_format
    array = NewArray(meta.shape, chunks, meta.dtype, attributes, compressor, zarr_format, shards, axes=meta.axes)
    create_array(root, dataset, array)


def job_of(node: Node | None) -> str | None:
    """The id of the job that made an array or group, None where none did."""
    origin = None if node is None else node.attrs.get(PROVENANCE)
    return str(origin["job"]) if isinstance(origin, Mapping) and "job" in origin else None


class Writer:
    """Writes boxes of one output, and refuses where the array is not what it was when opened.

    With ``skip_empty`` a chunk that is fill value throughout is left out. ``job`` is the id of
    the job whose array it must be; any will do by default.
    """

    def __init__(self, root: Path, dataset: str, meta: Meta, skip_empty: bool = False, job: str | None = None) -> None:
        self.root, self.dataset, self.meta, self.job = root, dataset, meta, job
        node = read_node(root, dataset)
        if node is None or not node.is_array or node.shape != meta.shape or node.dtype != meta.dtype:
            raise StoreError("the output is not what the job says", found=f"{root}/{dataset}")
        self.node = node
        self.array, _ = open_array(root, node, True, write_empty=not skip_empty)

    def require_there(self) -> None:
        """Raises StoreError where the array has vanished or changed: zarr would write into nothing."""
        now = read_node(self.root, self.dataset)
        if now is None or (now.shape, now.chunks, now.shards, now.dtype) != (
            self.node.shape,
            self.node.chunks,
            self.node.shards,
            self.node.dtype,
        ):
            raise StoreError("the output has vanished or changed", found=f"{self.root}/{self.dataset}")
        if self.job is not None and job_of(now) != self.job:
            raise StoreError("the output is another job's by now", found=f"{self.root}/{self.dataset}")

    def _index(self, region: Region) -> tuple[slice, ...]:
        begin, voxel_size = self.meta.region.begin, self.meta.voxel_size
        return tuple(slice(a, b) for a, b in self.meta.nonspatial_ranges(region)) + tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(region.begin, region.end, begin, voxel_size, strict=True)
        )

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """The voxels of a region, as they are stored."""
        found: np.ndarray[Any, Any] = np.asarray(self.array[self._index(region)])
        return found

    def write(self, region: Region, values: np.ndarray[Any, Any]) -> None:
        """Write the voxels of a region, whole chunks of it. Raises StoreError."""
        self.require_there()
        try:
            self.array[self._index(region)] = values
        except Exception as error:
            found = f"{self.root}/{self.dataset}: {type(error).__name__}: {error}"
            raise StoreError("cannot write", found=found) from error
        self.require_there()
