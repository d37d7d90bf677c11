"""``gp-arrays demo``: makes a small sample, writes arrays of it blockwise and checks them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click
import numpy as np

from ..errors import StoreError
from ..jobs.run import materialize
from ..model.array import Array
from ..model.explain import describe
from ..sources.zarr_ import ZarrArrayConfig
from ..trees.tree import load_tree
from .sample import STORE, TREE, make_sample

OUTPUT = "out.zarr"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--num-workers", default=2, show_default=True, type=click.IntRange(min=1))
def demo(folder: Path, num_workers: int) -> None:
    """Make a small EM-like sample and its tree in DIR, write it blockwise, and check the result."""
    click.echo(f"making a sample of grey values, cells and organelles in {folder}")
    make_sample(folder)
    tree = load_tree(folder / TREE)
    for name, config in tree.items():
        good, reason = config.verify()
        if not good:
            raise StoreError(f"the sample cannot be delivered: {reason}", path=(name,))
        click.echo(f"  {name}: {describe(Array(config).meta)}")
    click.echo(f"writing normalized and masks to {folder / OUTPUT} with {num_workers} workers")
    outputs = {name: tree[name] for name in ("normalized", "masks")}
    materialize(outputs, folder / OUTPUT, num_workers=num_workers)
    for name, config in outputs.items():
        array = Array(config)
        stored = Array(ZarrArrayConfig("stored", file_name=folder / OUTPUT, dataset=name))
        written, direct = stored[array.roi], array[array.roi]
        if written.dtype != direct.dtype or not np.array_equal(written, direct):
            raise StoreError("the written voxels differ from those that are computed directly", path=(name,))
        click.echo(f"  {name}: {direct.size} voxels, equal to a direct read")
    click.echo(f"\ndone: {folder / STORE} (sample), {folder / TREE} (tree), {folder / OUTPUT} (result). Try next:")
    for purpose, arguments in (
        ("the plan in words", ["explain", folder / TREE]),
        ("one voxel, down to its chunk", ["why", folder / TREE, "organelle", "1000,400,400"]),
        ("one more output", ["materialize", folder / TREE, "organelle", folder / OUTPUT]),
        ("look at it in a browser", ["view", folder / TREE]),
    ):
        click.echo(f"  # {purpose}\n  {shlex.join([*program(), *map(str, arguments)])}")


def program() -> list[str]:
    """The words that start this command line, also if the environment is not on the PATH."""
    installed = shutil.which("gp-arrays")
    if installed is not None and Path(installed).parent == Path(sys.executable).parent:
        return ["gp-arrays"]
    return [sys.executable, "-m", "gp_arrays"]
