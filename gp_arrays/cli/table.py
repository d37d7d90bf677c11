"""``gp-arrays table``: a table that gives all ids of an array the results 1, 2, 3, ..."""

from __future__ import annotations

from pathlib import Path

import click

from ..storage.id_table import table_of_file
from ..transforms.dense_table import dense_table
from .tree import TREE, UNIT, pick


@click.command()
@TREE
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--num-workers", default=1, show_default=True, help="Blocks that are read at a time.")
@UNIT
def table(tree: Path, name: str, path: Path, num_workers: int, unit: str | None) -> None:
    """Count the ids of array NAME of TREE, and write ids -> 1, 2, 3, ... to PATH, a .npy file.

    The tree can then say small ids: __type__ = "RelabelArrayConfig", source_array_config = NAME, table = PATH.
    """
    (config,) = pick(tree, (name,), unit).values()
    written = dense_table(config, path, num_workers, unit)
    click.echo(f"{written}: {len(table_of_file(written).ids)} ids")
