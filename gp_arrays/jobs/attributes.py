"""What is written beside the voxels: where they are, for every reader, and where they come from."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ..model.meta import Meta
from ..model.plan import Plan
from ..storage.attributes import geometry_attributes

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
