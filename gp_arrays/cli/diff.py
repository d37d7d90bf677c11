"""``gp-arrays diff``: which voxels of two arrays differ, and where."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import TreeError
from ..model.array import Array
from ..model.compare import compare
from ..sources.stores import open_zarr
from ..storage.documents import datasets, find_node
from .tree import UNIT


def opened(location: str, unit: str | None) -> Array:
    """The array at a path such as ``out.zarr/volumes/masks``."""
    path = Path(location)
    for root in [path, *path.parents]:
        if any((root / name).exists() for name in (".zgroup", ".zarray", "zarr.json")) and not any(
            (root.parent / name).exists() for name in (".zgroup", "zarr.json")
        ):
            dataset = path.relative_to(root).as_posix()
            dataset = "" if dataset == "." else dataset
            if not dataset and not find_node(root, "").is_array:
                inside = list(datasets(root))
                raise TreeError("a store of several arrays", found=str(root), allowed=", ".join(inside[:8]))
            return open_zarr(root, dataset, unit=unit)
    raise TreeError("no array there", found=location, allowed="STORE/DATASET, such as out.zarr/masks")


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@UNIT
def diff(a: str, b: str, unit: str | None) -> int:
    """Compare two stored arrays, given as STORE/DATASET, where both are.

    Exit code 1 where voxels differ.
    """
    difference = compare(opened(a, unit), opened(b, unit))
    click.echo(str(difference))
    return 1 if difference.count else 0
