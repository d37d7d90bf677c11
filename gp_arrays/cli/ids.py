"""``gp-arrays count | table``: the number of voxels of each class or id, and a table that replaces ids by small ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..storage.id_table import table_of_file
from ..train.counting import class_weights
from ..train.counting import count as count_voxels
from ..transforms.dense_table import dense_table
from .tree import TREE, UNIT, pick


@click.command()
@TREE
@click.argument("name")
@click.option("--num-workers", default=1, show_default=True, help="Blocks that are read at a time.")
@click.option("--weights", type=click.Path(path_type=Path), help="Write class weights to this JSON file.")
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Ids to show, the most frequent first."
)
@UNIT
def count(tree: Path, name: str, num_workers: int, weights: Path | None, top: int, unit: str | None) -> None:
    """Count the voxels of each channel, or of each id, of array NAME of TREE.

    The weights are inversely proportional to the counts, and 1 on average. The background, id 0, has no weight.
    """
    (config,) = pick(tree, (name,), unit).values()
    counts: dict[Any, int] = dict(count_voxels(config, num_workers=num_workers, unit=unit))
    frequent = sorted(counts, key=lambda name: -counts[name])
    by_id = any(isinstance(name, int) for name in counts)
    for name in frequent[:top] if by_id else counts:
        click.echo(f"{name}\t{counts[name]}")
    if by_id and len(counts) > top:
        click.echo(f"... {len(counts) - top} more ids")
    if weights is not None:
        classes = {str(name): number for name, number in counts.items() if name != 0}
        weights.write_text(json.dumps({"counts": classes, "weights": class_weights(classes)}, indent=1) + "\n")
        click.echo(f"class weights: {weights}")


@click.command()
@TREE
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--num-workers", default=1, show_default=True, help="Blocks that are read at a time.")
@UNIT
def table(tree: Path, name: str, path: Path, num_workers: int, unit: str | None) -> None:
    """Count the ids of array NAME of TREE, and write ids -> 1, 2, 3, ... to PATH, a .npy file.

    The table can be used in a tree: __type__ = "RelabelArrayConfig", source_array_config = NAME, table = PATH.
    """
    (config,) = pick(tree, (name,), unit).values()
    written = dense_table(config, path, num_workers, unit)
    click.echo(f"{written}: {len(table_of_file(written).ids)} ids")
