"""Makes a job from the arguments of the user: its passes, and what is compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError
from ..model.base import ArrayConfig
from ..model.plan import Plan, Step
from ..sources.numpy_ import NumpyArrayConfig
from ..storage.access.remote import RemotePath, StorePath
from ..storage.chunked.chunks import require_whole_shards, to_chunks
from . import document
from .chunking import default_chunks, tile_below
from .document import Job
from .geometry import BASE_MEMORY, Output, Pass, block_bytes, coincide, plan_pass
from .pyramid import default_method, plan_levels
from .settings import Layout

#: The most bytes that the main process may need for a block that it does itself.
SMALL_BLOCK = 128 * 1024**2


@attrs.frozen(eq=False)
class Prepared:
    """A job, with objects that are not a part of its document.

    Attributes:
        root: The store.
        job: The document.
        roots: The array configs, by the dataset that the user named, with their voxels in memory.
        plan: The compiled tree. Its outputs are named by the dataset that is written (``masks/s0`` in a pyramid).
        groups: For each dataset that becomes a pyramid the method of its levels.
        layout: How outputs are cut and stored.
    """

    root: StorePath
    job: Job
    roots: Mapping[str, ArrayConfig]
    plan: Plan
    groups: Mapping[str, str]
    layout: Layout


def pyramid_method(layout: Layout, dataset: str, plan: Plan) -> str | None:
    """The method of the levels of a dataset; None if it has no pyramid."""
    method = _for_dataset(layout.pyramid, dataset)
    if method != "auto":
        return None if method is None else str(method)
    step = plan.steps[plan.outputs[dataset]]
    return default_method(step.meta, step.config)


def _for_dataset(value: Any, dataset: str) -> Any:
    return value.get(dataset) if isinstance(value, Mapping) else value


def outputs_of(plan: Plan, layout: Layout, names: Mapping[str, str]) -> list[Output]:
    """The outputs of a plan. ``names`` has the dataset that the user named, for each dataset that is written."""
    outputs = []
    for dataset, step in plan.outputs.items():
        meta, name = plan.steps[step].meta, names[dataset]
        chunks, shards = _for_dataset(layout.chunks, name), _for_dataset(layout.storage.shards, name)
        if chunks is None:
            inner = default_chunks(meta, tile_below(plan, [step]))
        else:
            inner = to_chunks(chunks, meta.axes, meta.dims, "chunks", name)
        outer = None if shards is None else to_chunks(shards, meta.axes, meta.dims, "shards", name)
        require_whole_shards(outer, inner, layout.storage.zarr_format, name)
        outputs.append(Output(dataset, meta, inner, outer))
    return outputs


def group_outputs(outputs: Sequence[Output]) -> list[list[Output]]:
    """Groups of outputs that one pass can write."""
    groups: list[list[Output]] = []
    for output in outputs:
        group = next((group for group in groups if all(coincide(output, other) for other in group)), None)
        if group is None:
            groups.append([output])
        else:
            group.append(output)
    return groups


def prepare(
    root: StorePath, roots: Mapping[str, ArrayConfig], plan: Plan, layout: Layout, before: Job | None
) -> Prepared:
    """The job that a user asks for. It is checked, and nothing is written.

    Args:
        root: The store.
        roots: The array configs, by dataset.
        plan: The compiled tree.
        layout: How outputs are cut and stored.
        before: The document of the same job from an earlier run, None if there is none. Its blocks are used again.
    """
    groups = {name: method for name in roots if (method := pyramid_method(layout, name, plan)) is not None}
    options = {"chunks": layout.chunks, "shards": layout.storage.shards, "pyramid": layout.pyramid}
    for option, value in options.items():
        unknown = sorted(map(str, set(value) - set(roots))) if isinstance(value, Mapping) else None
        if unknown:
            raise ConfigError(
                f"{option} given for an unknown output", found=", ".join(unknown), allowed=", ".join(roots)
            )
    written = {f"{name}/s0".strip("/") if name in groups else name: name for name in roots}
    plan = attrs.evolve(
        plan, outputs={w: plan.outputs[n] for w, n in written.items()}, roots={w: roots[n] for w, n in written.items()}
    )
    passes: list[Pass] = []
    for group in group_outputs(outputs_of(plan, layout, written)):
        block = layout.block if layout.block is not None else _block_before(before, group)
        passes.append(plan_pass(plan, group, layout.memory, block))
    for base in list(passes):
        for output in base.outputs:
            name = written[output.dataset]
            if name in groups:
                passes += plan_levels(base, output, name, groups[name], layout.memory)
    stored = document.with_stored_voxels(roots)
    modules = document.modules_of(roots.values())
    document.require_importable(modules)
    job = Job(
        version=document.VERSION,
        id=uuid.uuid4().hex if before is None else before.id,
        root=str(root),
        storage_options=dict(root.options) if isinstance(root, RemotePath) else None,
        unit=plan.unit,
        skip_empty=layout.skip_empty,
        datasets=tuple(roots),
        arrays={dataset: roots[name].name for dataset, name in written.items()},
        tree=document.document_of(stored),
        modules=modules,
        passes=tuple(passes),
        compared={
            "tree": {dataset: config.content for dataset, config in stored.items()},
            "pyramid": groups,
            "compressor": layout.storage.compressor,
            "zarr_format": layout.storage.zarr_format,
        },
        files={step.config.name: files for step in plan.steps if (files := step.config.fingerprints())},
        stores=document.plain(stores_of(plan)),
        accepted=() if before is None else before.accepted,
    )
    return Prepared(root, job, stored, plan, groups, layout)


def _block_before(before: Job | None, outputs: Sequence[Output]) -> tuple[int, ...] | None:
    """The block of an earlier run, if that had a pass with the same outputs and chunks; else None."""
    storage = [(o.dataset, o.chunks, o.shards) for o in outputs]
    for pass_ in () if before is None else before.passes:
        if [(o.dataset, o.chunks, o.shards) for o in pass_.outputs] == storage:
            complete = all(b % s == 0 for b, s in zip(pass_.block, outputs[0].write_size, strict=True))
            return pass_.block if complete else None
    return None


def stores_of(plan: Plan) -> dict[str, Any]:
    """The location and the metadata of each source of a plan."""
    stores = {}
    for step in plan.steps:
        opened = step.opened
        if opened is not None and not isinstance(step.config, NumpyArrayConfig):
            attributes = json.dumps(dict(opened.attrs), sort_keys=True, default=str)
            stores[step.config.name] = {
                "place": opened.location,
                "shape": opened.shape,
                "dtype": str(opened.dtype),
                "chunks": opened.chunks,
                "voxel_size": list(map(str, opened.voxel_size)),
                "offset": list(map(str, opened.offset)),
                "axes": [axis.name for axis in opened.nonspatial] + list(opened.spatial_axes),
                "attributes": hashlib.blake2b(attributes.encode(), digest_size=16).hexdigest(),
            }
    return stores


def may_work_here(prepared: Prepared) -> bool:
    """True if the main process may do blocks itself, because nothing in them can end it, hang, or need much memory.

    All array types must be those of this package, none may run functions or networks of the user, all stores must be on
    disks, and blocks must be small.
    """
    plan, job = prepared.plan, prepared.job
    blocks = (block_bytes(plan, pass_) for pass_ in job.passes if pass_.level is None)
    return (
        isinstance(prepared.root, Path)
        and not job.files
        and all(type(step.config).__module__.partition(".")[0] == __package__.partition(".")[0] for step in plan.steps)
        and all(_is_local(step) for step in plan.steps)
        and all(size - BASE_MEMORY <= SMALL_BLOCK for size in blocks)
    )


def _is_local(step: Step) -> bool:
    """True if a step of a plan is computed, or is a source on a disk or in memory."""
    if step.opened is None or isinstance(step.config, NumpyArrayConfig):
        return True
    folders = step.opened.folders()
    return bool(folders) and all(isinstance(folder, Path) for folder in folders)
