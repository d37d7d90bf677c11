"""``gp-arrays init``: a tree file of the arrays in a store."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import GpArraysError, one_line
from ..model.array import Array
from ..model.explain import describe
from ..storage.access.chunk_files import documents_read_once
from ..trees.document import text_of, tree_document
from ..trees.stores import configs_of_store, unit_of_configs, with_labels_recognised
from ..viewer.kinds import kind
from .tree import UNIT


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@UNIT
@documents_read_once()
def init(store: Path, unit: str | None) -> None:
    """Write a tree file of the arrays in STORE (or STORE/DATASET) to the standard output, in TOML.

    gp-arrays init data.zarr > tree.toml. The unit is the largest one in which all voxel sizes and offsets are
    integers. The path of the store is absolute, so the file may lie in any folder. You may write a relative path
    instead: it is relative to the folder of the file.
    """
    configs = configs_of_store(store)
    unit = unit or unit_of_configs(configs.values())
    parts = [f'# the arrays in {one_line(str(store))}\nunit = "{unit}"\n']
    readable = 0
    for name, config in configs.items():
        try:
            config = with_labels_recognised(config)
            location = config.fields()["file_name"]
            if isinstance(location, Path):
                config = config.with_fields(file_name=location.absolute())
            array = Array(config, unit=unit)
            (step,) = array.plan.steps
            assert step.opened is not None
            levels = 1 + len(step.opened.coarser())
            remarks = [
                f"{kind(array)}: {describe(step.meta)}",
                *([f"a pyramid of {levels} levels; this is the finest"] if levels > 1 else []),
                *step.opened.assumed,
            ]
            table = text_of(tree_document([config]), Path("tree.toml")).decode()
            readable += 1
        except GpArraysError as error:
            remarks, table = [f"{name} cannot be opened: {error}"], ""
            click.echo(f"{name}: left out: {one_line(str(error))}", err=True)
        parts.append("".join(f"# {one_line(remark)}\n" for remark in remarks) + table)
    if not readable:
        raise click.exceptions.Exit(1)
    click.echo("\n".join(parts), nl=False)
