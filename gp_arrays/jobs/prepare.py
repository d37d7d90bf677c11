"""From what a user asks for to a job: its passes, what it is compared by, and its outputs on disk."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError
from ..model.base import ArrayConfig
from ..model.plan import Plan
from ..storage.chunks import require_whole_shards, to_chunks
from ..storage.create import create_group, update_attributes
from ..storage.documents import find_node
from . import job as jobs
from .attributes import PROVENANCE, array_attributes, plain, provenance
from .geometry import MEMORY, Output, Pass, coincide, default_chunks, plan_pass
from .outputs import Storage, create, remove
from .pyramid import Level, method_for, multiscale, plan_levels
from .state import CREATED, State


@attrs.frozen
class Layout:
    """How outputs are cut and stored, as asked for; None where it is left open.

    Attributes:
        chunks, shards: In voxels; one shape, or one for each dataset.
        block: In world units.
        memory: What a worker may hold, in bytes.
        pyramid: ``"auto"``, a method, or a method for each dataset that becomes a pyramid.
        skip_empty: Whether chunks that are fill value throughout stay unwritten.
    """

    chunks: Any = None
    shards: Any = None
    block: Sequence[int] | None = None
    memory: int = MEMORY
    pyramid: str | Mapping[str, str] | None = None
    skip_empty: bool = False
    storage: Storage = attrs.field(factory=Storage)

    def method(self, dataset: str, plan: Plan) -> str | None:
        """How the pyramid of a dataset is made; None where it becomes none."""
        asked = self.pyramid.get(dataset) if isinstance(self.pyramid, Mapping) else self.pyramid
        if asked != "auto":
            return asked
        step = plan.steps[plan.outputs[dataset]]
        return method_for(step.meta, step.config)


@attrs.frozen(eq=False)
class Job:
    """A job, ready to be run.

    Attributes:
        root: The store.
        roots: The tree, by the dataset that the user named.
        plan: That tree compiled, by dataset as it is written (``masks/s0`` in a pyramid).
        passes: All passes, those of pyramids after those they read.
        levels: The levels of pyramids.
        groups: The datasets that become pyramids, and how.
        document: The job as its workers get it.
    """

    root: Path
    roots: Mapping[str, ArrayConfig]
    plan: Plan
    passes: tuple[Pass, ...]
    levels: tuple[Level, ...]
    groups: Mapping[str, str]
    layout: Layout
    document: dict[str, Any]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(output.dataset for made in self.passes for output in made.outputs)


def outputs_of(plan: Plan, layout: Layout, asked: Mapping[str, str]) -> list[Output]:
    """The outputs of a plan. ``asked`` gives the dataset that the user named for each."""
    made = []
    for dataset, step in plan.outputs.items():
        meta = plan.steps[step].meta
        chunks = _for(layout.chunks, asked[dataset])
        shards = _for(layout.shards, asked[dataset])
        inner = (
            default_chunks(meta)
            if chunks is None
            else to_chunks(chunks, meta.axes, meta.dims, "chunks", asked[dataset])
        )
        outer = None if shards is None else to_chunks(shards, meta.axes, meta.dims, "shards", asked[dataset])
        require_whole_shards(outer, inner, layout.storage.format, asked[dataset])
        made.append(Output(dataset, meta, inner, outer))
    return made


def _for(value: Any, dataset: str) -> Any:
    return value.get(dataset) if isinstance(value, Mapping) else value


def group_outputs(outputs: Sequence[Output]) -> list[list[Output]]:
    """Outputs that one pass can serve, together."""
    groups: list[list[Output]] = []
    for output in outputs:
        group = next((group for group in groups if all(coincide(output, other) for other in group)), None)
        if group is None:
            groups.append([output])
        else:
            group.append(output)
    return groups


def make_job(
    root: Path, roots: Mapping[str, ArrayConfig], plan: Plan, layout: Layout, before: Mapping[str, Any] | None
) -> Job:
    """The job that a user asks for, checked, without touching the disk.

    Args:
        before: The same job as an earlier run described it: its blocks are kept.
    """
    groups = {name: method for name in roots if (method := layout.method(name, plan)) is not None}
    for what in ("chunks", "shards", "pyramid"):
        named = getattr(layout, what)
        unknown = sorted(map(str, set(named) - set(roots))) if isinstance(named, Mapping) else None
        if unknown:
            raise ConfigError(f"{what} of what is no output", found=", ".join(unknown), allowed=", ".join(roots))
    written = {f"{name}/s0".strip("/") if name in groups else name: name for name in roots}
    plan = attrs.evolve(
        plan, outputs={w: plan.outputs[n] for w, n in written.items()}, roots={w: roots[n] for w, n in written.items()}
    )
    passes: list[Pass] = []
    levels: list[Level] = []
    kept = {} if before is None else {made["name"]: made for made in before["passes"]}
    for i, group in enumerate(group_outputs(outputs_of(plan, layout, written))):
        name = f"pass{i}"
        block = layout.block
        if block is None and name in kept and _same_cut(kept[name], group):
            block = kept[name]["block"]
        passes.append(plan_pass(plan, group, layout.memory, block, name))
    for base in list(passes):
        for output in base.outputs:
            asked = written[output.dataset]
            if asked in groups:
                levels += plan_levels(base, output, asked, groups[asked], layout.memory)
    trees = [jobs.describe_tree(plan.roots)]
    described = [jobs.describe_pass(made, 0) for made in passes]
    for i, level in enumerate(levels):
        trees.append(jobs.describe_tree(level.roots(root)))
        described.append(jobs.describe_pass(level.made, i + 1))
        passes.append(level.made)
    document = {
        "id": uuid.uuid4().hex,
        "root": str(root),
        "unit": plan.unit,
        "skip_empty": layout.skip_empty,
        "datasets": list(roots),
        "trees": trees,
        "passes": described,
        "compared": compared(plan, passes, layout, groups),
    }
    return Job(root, roots, plan, tuple(passes), tuple(levels), groups, layout, document)


def _same_cut(described: Mapping[str, Any], outputs: Sequence[Output]) -> bool:
    before = [[o["dataset"], o["chunks"], o["shards"]] for o in described["outputs"]]
    now: list[Any] = plain([(o.dataset, o.chunks, o.shards) for o in outputs])
    whole = all(b % u == 0 for b, u in zip(described["block"], outputs[0].unit, strict=True))
    return before == now and whole


def compared(plan: Plan, passes: Sequence[Pass], layout: Layout, groups: Mapping[str, str]) -> dict[str, Any]:
    """What must be the same for one run to go on where another stopped, in words that an error can use."""
    sources = {}
    for step in plan.steps:
        if step.opened is not None:
            opened = step.opened
            sources[step.config.name] = {
                "place": opened.place,
                "shape": opened.shape,
                "dtype": str(opened.dtype),
                "chunks": opened.chunks,
                "voxel_size": list(map(str, opened.voxel_size)),
                "offset": list(map(str, opened.offset)),
                "axes": [axis.name for axis in opened.nonspatial] + list(opened.spatial_axes),
            }
    outputs = {
        o.dataset: {
            "shape": o.meta.shape,
            "dtype": str(o.meta.dtype),
            "begin": o.meta.region.begin,
            "voxel_size": tuple(o.meta.voxel_size),
            "channels": o.meta.channels,
            "chunks": o.chunks,
            "shards": o.shards,
            "block": made.block,
        }
        for made in passes
        for o in made.outputs
    }
    made_: dict[str, Any] = plain(
        {
            "sources": sources,
            "outputs": outputs,
            "tree": {dataset: config.content for dataset, config in plan.roots.items()},
            "unit": plan.unit,
            "tables of ids": sorted(
                f"{step.config.name}: {hash}" for step in plan.steps for hash in step.config.fingerprints().values()
            ),
            "pyramid": dict(groups),
            "compressor": layout.storage.compressor,
            "zarr_format": layout.storage.format,
        }
    )
    return made_


def save_job(job: Job, state: State) -> None:
    """Write a job where its workers find it. Raises StoreError, and ConfigError for what cannot be sent to them."""
    jobs.save(state.folder, job.document, [job.plan.roots, *(level.roots(job.root) for level in job.levels)])


def make_outputs(job: Job, state: State) -> None:
    """Make the arrays and groups of a job, and keep the job: all, or nothing."""
    made: list[str] = []
    tree = job.document["trees"][0]["document"]
    try:
        save_job(job, state)
        for name, method in job.groups.items():
            made.append(name)
            said = provenance(job.plan, f"{name}/s0".strip("/"), tree, job.document["id"])
            create_group(job.root, name, job.layout.storage.format)
            described = _pyramid_attributes(job, name, method)
            update_attributes(job.root, find_node(job.root, name), {**described, PROVENANCE: said})
        for made_pass in job.passes:
            state.reserve(made_pass.name, made_pass.grid)
        for made_pass in job.passes:
            for output in made_pass.outputs:
                made.append(output.dataset)
                level = next((level for level in job.levels if level.made is made_pass), None)
                if level is None:
                    said = provenance(job.plan, output.dataset, tree, job.document["id"])
                else:
                    said = {
                        "job": job.document["id"],
                        "array": level.below,
                        "downsampled": list(level.factors),
                        "by": level.method,
                        "interpolatable": output.meta.interpolatable,
                    }
                attributes = array_attributes(output.meta, said)
                create(
                    job.root, output.dataset, output.meta, output.chunks, output.shards, job.layout.storage, attributes
                )
        (state.folder / CREATED).touch()
    except BaseException:
        for name in reversed(made):
            remove(job.root, name)
        state.remove()
        raise


def _pyramid_attributes(job: Job, name: str, method: str) -> dict[str, Any]:
    first = f"{name}/s0".strip("/")
    metas = [o.meta for made in job.passes for o in made.outputs if o.dataset == first]
    levels = [level for level in job.levels if level.made.outputs[0].dataset.rpartition("/")[0] == name]
    metas += [level.made.outputs[0].meta for level in levels]
    version = "0.4" if job.layout.storage.format == 2 else "0.5"
    return multiscale(metas, [f"s{i}" for i in range(len(metas))], name.rpartition("/")[2], version, method)
