"""``gp-arrays diff``: which voxels of two arrays differ, and where."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import TreeError
from ..model.array import Array
from ..model.base import SourceConfig
from ..model.compare import compare
from ..trees.stores import configs_of_store, unit_of_configs
from .tree import UNIT


def config_at(location: Path) -> SourceConfig:
    """The one array at a path such as ``out.zarr/volumes/masks``."""
    configs = configs_of_store(location)
    if len(configs) > 1:
        raise TreeError("several arrays are there", found=str(location), allowed=", ".join([*configs][:8]))
    (config,) = configs.values()
    return config


@click.command()
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@UNIT
def diff(a: Path, b: Path, unit: str | None) -> int:
    """Compare two stored arrays, given as STORE/DATASET, in the region that both cover.

    Exit code 1 if voxels differ.
    """
    configs = [config_at(a), config_at(b)]
    unit = unit or unit_of_configs(configs)
    first, second = (Array(config, unit=unit) for config in configs)
    difference = compare(first, second)
    click.echo(str(difference))
    return 1 if difference.count else 0
