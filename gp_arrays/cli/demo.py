"""``gp-arrays demo``: the main job, on a sample made on the spot."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from ..errors import StoreError
from ..jobs import materialize
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
            raise StoreError(f"the sample does not verify: {reason}", path=(name,))
        click.echo(f"  {name}: {describe(Array(config).meta)}")
    click.echo(f"writing normalized and masks to {folder / OUTPUT} with {num_workers} workers")
    outputs = {name: tree[name] for name in ("normalized", "masks")}
    materialize(outputs, folder / OUTPUT, num_workers=num_workers)
    for name, config in outputs.items():
        array = Array(config)
        stored = Array(ZarrArrayConfig("stored", file_name=folder / OUTPUT, dataset=name))
        written, direct = stored[array.roi], array[array.roi]
        if written.dtype != direct.dtype or not np.array_equal(written, direct):
            raise StoreError("the written voxels are not those of a direct read", path=(name,))
        click.echo(f"  {name}: {direct.size} voxels, equal to a direct read")
    raw_store, tree_file = folder / STORE, folder / TREE
    click.echo(
        f"\ndone: {raw_store} (sample), {tree_file} (tree), {folder / OUTPUT} (result). Try next:\n"
        f"  gp-arrays explain {tree_file}                        the plan in words\n"
        f"  gp-arrays why {tree_file} organelle 1000,400,400     one voxel, down to its chunk\n"
        f"  gp-arrays view {tree_file}                           look at it in a browser\n"
        f"  gp-arrays materialize {tree_file} organelle {folder / OUTPUT}"
    )
