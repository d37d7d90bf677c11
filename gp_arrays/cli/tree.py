"""``gp-arrays info | verify | explain``: the arrays of a tree, whether they can be read, and how they are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import PATH_SEPARATOR, GpArraysError, TreeError, nearest, one_line
from ..model.array import Array
from ..model.base import SourceConfig
from ..model.config import Config
from ..model.explain import describe
from ..model.explain import explain as explain_tree
from ..model.opened import Opened
from ..storage.access.chunk_files import documents_read_once
from ..trees.document import is_tree_file
from ..trees.tree import load_tree
from ..viewer.kinds import kind

TREE = click.argument("tree", type=click.Path(path_type=Path))
NAMES = click.argument("names", nargs=-1)
UNIT = click.option("--unit", help="Unit of the tree if its file has none: nm, pm, um ...")

#: The columns of the table.
COLUMNS = (
    "array",
    "dataset",
    "dtype",
    "shape",
    "axes",
    "voxel size",
    "offset",
    "chunks",
    "codec",
    "kind",
    "levels",
    "metadata",
    "flipped bits",
)


def pick(path: Path, names: tuple[str, ...], unit: str | None = None) -> dict[str, Any]:
    """The arrays of a tree file or a store with the given names; all by default.

    ``unit`` is the unit of the arrays of a store, by default the largest one in which their voxel sizes are integers.
    """
    configs: dict[str, Config]
    if is_tree_file(path):
        configs = load_tree(path)
    else:
        # it imports zarr, which a tree of other sources does not need
        from ..trees.stores import configs_of_store, unit_of_configs

        stored = configs_of_store(path)
        unit = unit or unit_of_configs(stored.values())
        configs = {name: config.in_unit(unit) for name, config in stored.items()}
    if not configs:
        raise TreeError("the file has no arrays", found=str(path))
    for name in names:
        if name not in configs:
            names_allowed = nearest(name, configs) or ", ".join(configs)
            raise TreeError("there is no array of that name", found=f"{name!r} in {path}", allowed=names_allowed)
    return {name: configs[name] for name in names or configs}


def without_name(name: str, reason: str) -> str:
    """A reason that does not begin with the name of the array, because its line does already.

    >>> without_name("raw", "raw: no such dataset"), without_name("sum", "sum > raw: no such dataset")
    ('no such dataset', 'raw: no such dataset')
    """
    for end in (": ", PATH_SEPARATOR):
        if reason.startswith(name + end):
            return reason.removeprefix(name + end)
    return reason


def store_table(configs: Mapping[str, SourceConfig]) -> tuple[list[str], int]:
    """The lines of a table of arrays, with remarks and errors below it, and the exit code."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    notes: list[str] = []
    status = 0
    for name, config in configs.items():
        try:
            array = Array(config)
            (step,) = array.plan.steps
            assert step.opened is not None
            rows.append(_row(name, config, array, step.opened))
            reason = config.reason()
            notes += [f"{name}: {note}" for note in ([] if reason is None else [reason])]
            notes += [f"{name}: {note}" for note in step.opened.assumed]
        except GpArraysError as error:
            notes.append(f"{name}: error: {one_line(str(error).removeprefix(f'{name}: '))}")
            status = 1
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*(lines if len(rows) > 1 else []), *notes], status


def _row(name: str, config: SourceConfig, array: Array, opened: Opened) -> tuple[str, ...]:
    damage = opened.notices_damage()
    cells = (
        name,
        str(config.fields().get("dataset") or "."),
        str(array.dtype),
        _numbers(array.shape),
        ",".join(array.axes),
        f"{_numbers(array.voxel_size)} {array.unit}",
        f"{_numbers(array.roi.offset)} {array.unit}",
        "-" if opened.chunks is None else _numbers(opened.chunks),
        opened.codec or "-",
        kind(array),
        str(1 + len(opened.coarser())),
        opened.dialect or "-",
        "-" if damage is None else "are errors" if damage else "go unnoticed",
    )
    return tuple(one_line(cell, 60) for cell in cells)


def _numbers(values: Sequence[Any]) -> str:
    return ",".join(str(int(value)) for value in values)


@click.command()
@TREE
@NAMES
@UNIT
@documents_read_once()
def info(tree: Path, names: tuple[str, ...], unit: str | None) -> int:
    """Show what each array of TREE is: dtype, shape, axes, roi, voxel size.

    TREE may also be a store, STORE or STORE/DATASET: a table shows its arrays.
    """
    status = 0
    configs = pick(tree, names, unit)
    if not is_tree_file(tree):
        lines, status = store_table(configs)
        click.echo("\n".join(lines))
        return status
    for name, config in configs.items():
        try:
            array = Array(config, unit=unit)
        except GpArraysError as error:
            click.echo(f"{name}: error: {without_name(name, str(error))}")
            status = 1
            continue
        click.echo(f"{name}: {type(config).__name__}, {describe(array.meta)}")
        for index, step in enumerate(array.plan.steps):
            reason = step.config.reason()
            notes = [] if reason is None else [reason]
            if step.opened is not None:
                notes.extend([] if step.opened.dialect is None else [f"metadata of {step.opened.dialect}"])
                notes.extend([*step.opened.assumed, *step.opened.remarks()])
            for note in notes:
                click.echo(f"  {PATH_SEPARATOR.join(array.plan.path(index))}: {note}")
    return status


@click.command()
@TREE
@NAMES
@UNIT
@documents_read_once()
def verify(tree: Path, names: tuple[str, ...], unit: str | None) -> int:
    """Check that each array of TREE can be read. Exit code 1 and the reason if not."""
    status = 0
    for name, config in pick(tree, names, unit).items():
        good, reason = config.verify(unit)
        click.echo(f"{name}: {without_name(name, reason)}")
        status = status if good else 1
    return status


@click.command()
@TREE
@NAMES
@UNIT
def explain(tree: Path, names: tuple[str, ...], unit: str | None) -> None:
    """Show the plan of TREE: its steps, which of them are shared, and the context that they read."""
    click.echo(explain_tree(pick(tree, names, unit), unit))
