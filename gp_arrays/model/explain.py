"""A plan in words: its steps, their metas, which of them are shared, and the context that is read."""

from __future__ import annotations

from collections.abc import Mapping

from .base import ArrayConfig
from .config import require_config
from .evaluate import contexts
from .meta import Meta, Region
from .plan import Plan, Step, compile_plan

#: Voxels along each axis of the block whose context is shown.
PROBE = 64


def explain(array: ArrayConfig | Mapping[str, ArrayConfig], unit: str | None = None) -> str:
    """How an array, or several together, will be computed. No voxel is read.

    Args:
        array: A config, or several by name.
        unit: The unit of the tree; by default what its file says, else nm.

    >>> import gp_arrays as gpa
    >>> zeros = gpa.DummyArrayConfig("zeros")
    >>> print(gpa.explain(gpa.ThresholdArrayConfig("high", zeros, threshold=1)))
    2 steps
    1. zeros: DummyArrayConfig
       float64[100, 50, 50] z,y,x, roi [0:100, 0:100, 0:100], voxel size (1, 2, 2) nm, interpolatable
       read from a dummy array
    2. high: ThresholdArrayConfig of zeros
       uint8[100, 50, 50] z,y,x, roi [0:100, 0:100, 0:100], voxel size (1, 2, 2) nm, not interpolatable
       needs of zeros just the region asked for
    """
    if not isinstance(array, Mapping):
        require_config(array)
        array = {array.name: array}
    plan = compile_plan(array, unit)
    count = len(plan.steps)
    lines = [f"{count} step{'s' if count > 1 else ''}"]
    shared = plan.shared()
    width = len(str(count))
    for index, step in enumerate(plan.steps):
        names = [plan.steps[source].config.name for source in step.sources]
        title = f"{index + 1:>{width}}. {step.config.name}: {type(step.config).__name__}"
        title += f" of {', '.join(dict.fromkeys(names))}" if names else ""
        indent = " " * (width + 2)
        lines.append(title)
        lines.append(indent + describe(step.meta))
        lines.extend(indent + line for line in _details(plan, index, step, names))
        if index in shared:
            lines.append(f"{indent}computed once a request, used by {shared[index]} arrays")
    return "\n".join(lines)


def describe(meta: Meta) -> str:
    """A meta in one line."""
    axes = ",".join(meta.axes)
    text = f"{meta.dtype}{list(meta.shape)} {axes}, roi {meta.region}, voxel size {tuple(meta.voxel_size)} {meta.unit}"
    text += ", interpolatable" if meta.interpolatable else ", not interpolatable"
    text += ", averaged" if meta.averaged else ""
    if meta.channel_axis is not None and meta.channels is not None:
        listed = ", ".join(meta.channels[:8]) + (", ..." if len(meta.channels) > 8 else "")
        text += f", channels {listed}"
    return text


def _details(plan: Plan, index: int, step: Step, names: list[str]) -> list[str]:
    if step.opened is not None:
        chunks = step.opened.chunks
        return [
            f"read from {step.opened.location}" + (f" in chunks of {chunks}" if chunks else ""),
            *step.opened.assumed,
            *step.opened.remarks(),
        ]
    region = probe(step.meta)
    lines: dict[str, None] = {}
    for name, part, meta in zip(names, contexts(plan, index, region), step.source_metas, strict=True):
        lines[f"needs of {name} {_context_text(region, part, meta)}"] = None
    return [*lines, *step.config.remarks(*step.source_metas)]


def probe(meta: Meta) -> Region:
    """A block in the middle of an array, on its grid."""
    sizes = [min(n, PROBE) for n in meta.spatial_shape]
    return meta.region_at([((n - s) // 2, (n - s) // 2 + s) for n, s in zip(meta.spatial_shape, sizes, strict=True)])


def _context_text(region: Region, part: Region | None, meta: Meta) -> str:
    if part is None:
        return "its meta alone, no voxel"
    before = tuple(b - p for b, p in zip(region.begin, part.begin, strict=True))
    after = tuple(p - e for e, p in zip(region.end, part.end, strict=True))
    text = "just the region asked for"
    if any(before) or any(after):
        text = f"{before} before and {after} {meta.unit} after the region asked for (middle block)"
    if part.nonspatial is not None and part.nonspatial != meta.nonspatial_ranges(part.whole()):
        spans = ", ".join(
            f"{axis.name} {low}:{high}"
            for axis, (low, high) in zip(meta.nonspatial or (), part.nonspatial, strict=True)
        )
        text += f", {spans}"
    return text
