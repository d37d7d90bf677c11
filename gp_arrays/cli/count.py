"""``gp-arrays count``: how many voxels each class or id of an array has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..train.counting import class_weights
from ..train.counting import count as count_voxels
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

    The weights are inversely proportional to the counts, and 1 on average; background, id 0, has none.
    """
    (config,) = pick(tree, (name,), unit).values()
    counts: dict[Any, int] = dict(count_voxels(config, num_workers=num_workers, unit=unit))
    frequent = sorted(counts, key=lambda each: -counts[each])
    by_id = any(isinstance(each, int) for each in counts)
    for each in frequent[:top] if by_id else counts:
        click.echo(f"{each}\t{counts[each]}")
    if by_id and len(counts) > top:
        click.echo(f"... {len(counts) - top} more ids")
    if weights is not None:
        classes = {str(each): number for each, number in counts.items() if each != 0}
        weights.write_text(json.dumps({"counts": classes, "weights": class_weights(classes)}, indent=1) + "\n")
        click.echo(f"class weights: {weights}")
