"""A table of the arrays in a store without a tree file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import GpArraysError, one_line
from ..model.array import Array
from ..model.base import SourceConfig
from ..model.opened import Opened

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


def store_table(configs: Mapping[str, SourceConfig]) -> tuple[list[str], int]:
    """The lines of a table of arrays, with remarks and errors below it; and the exit code."""
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
        kind_of(opened),
        str(1 + len(opened.coarser())),
        opened.dialect or "-",
        "-" if damage is None else "are errors" if damage else "go unnoticed",
    )
    return tuple(one_line(cell, 60) for cell in cells)


def _numbers(values: Sequence[Any]) -> str:
    return ",".join(str(int(value)) for value in values)


def kind_of(opened: Opened) -> str:
    """ "image" for intensities, "labels" for ids and masks."""
    return "image" if opened.interpolatable or opened.dtype.kind == "f" else "labels"
