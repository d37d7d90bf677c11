"""``gp-arrays why``: the value at one position, in an array and in all arrays that it is computed from."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from ..errors import GpArraysError
from ..model.config import Config
from ..model.evaluate import contexts, evaluate
from ..model.meta import Region, Voxels
from ..model.plan import Plan, compile_plan
from .tree import TREE, UNIT, pick

#: The most values that are listed one by one.
SHOWN = 12


def to_position(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.replace(" ", "").split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} are not integers in world units, such as 640,64,128") from None


@click.command(context_settings={"ignore_unknown_options": True})
@TREE
@click.argument("name")
@click.argument("position", callback=to_position, metavar="Z,Y,X")
@UNIT
def why(tree: Path, name: str, position: tuple[int, ...], unit: str | None) -> int:
    """Show the value at Z,Y,X (world units) in NAME and in all arrays that it is computed from.

    Run this first if a voxel looks wrong: it also shows the dataset and the chunk that the value is read from.
    """
    config: Config = pick(tree, (name,), unit)[name]
    plan = compile_plan({name: config}, unit)  # type: ignore[dict-item]
    lines, good = explain_voxel(plan, plan.outputs[name], position)
    click.echo("\n".join(lines))
    return 0 if good else 1


def explain_voxel(plan: Plan, index: int, position: tuple[int, ...]) -> tuple[list[str], bool]:
    """Lines with the value at a world position in each array, and True if all values could be read."""
    lines: list[str] = []
    good = True
    step = plan.steps[index]
    if len(position) != step.meta.dims:
        raise click.UsageError(f"{step.config.name} has {step.meta.dims} spatial axes, found {len(position)} numbers")
    first = _voxel_at(plan, index, position)
    if first is None:
        lines.append(f"{step.config.name}: outside, roi {step.meta.region}")
        return lines, False
    # the arrays to show, each with the region that the voxel depends on
    pending: list[tuple[int, Region, int]] = [(index, first, 0)]
    seen: set[tuple[int, Region]] = set()
    while pending:
        index, region, depth = pending.pop()
        indent = "  " * depth
        step = plan.steps[index]
        if (index, region) in seen:
            lines.append(f"{indent}{step.config.name}: as above")
            continue
        seen.add((index, region))
        lines_of_step, readable = _values(plan, index, region)
        good = good and readable
        lines.extend(indent + line for line in lines_of_step)
        parts = list(zip(step.sources, contexts(plan, index, region), strict=True)) if step.sources else []
        pending.extend((source, part, depth + 1) for source, part in reversed(parts) if part is not None)
    return lines, good


def _voxel_at(plan: Plan, index: int, position: tuple[int, ...]) -> Region | None:
    meta = plan.steps[index].meta
    region = Region(position, tuple(p + 1 for p in position)).snap([int(v) for v in meta.voxel_size], meta.origin)
    return region if meta.region.contains(region) else None


def _values(plan: Plan, index: int, region: Region) -> tuple[list[str], bool]:
    step = plan.steps[index]
    title = f"{step.config.name} ({type(step.config).__name__}) at {region} {plan.unit}"
    try:
        (voxels,) = evaluate(plan, [(index, region)])
    except GpArraysError as error:
        return [f"{title}: error: {error}"], False
    channels = step.meta.channels
    if channels is not None and region.nonspatial is None and len(step.meta.nonspatial or ()) == 1:
        text = ", ".join(f"{c} {_brief(v)}" for c, v in zip(channels, voxels, strict=True))
    else:
        text = _brief(voxels)
    lines = [f"{title}: {text}"]
    if step.opened is not None:
        where = step.opened.index_of(region, step.meta, plan.unit)
        lines.append(f"  read from {step.opened.location}, voxel {tuple(part.start for part in where)}")
        chunk = step.opened.chunk_of([part.start for part in where])
        if chunk is not None:
            lines.append(f"  chunk {chunk[0]} ({chunk[1]})")
    return lines, True


def _brief(voxels: Voxels) -> str:
    values = voxels.ravel()
    if values.size <= SHOWN:
        return " ".join(str(value) for value in values.tolist())
    distinct = np.unique(values)
    first = " ".join(str(value) for value in distinct[:SHOWN].tolist())
    return f"{values.size} voxels with {distinct.size} values: {first}{' ...' if distinct.size > SHOWN else ''}"
