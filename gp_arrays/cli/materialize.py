"""``gp-arrays materialize``: arrays of a tree file written blockwise to a Zarr store."""

from __future__ import annotations

import re
from pathlib import Path

import click
from funlib.geometry import Roi

from ..materialize import materialize as write
from .tree import TREE, UNIT, pick

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def to_roi(text: str) -> Roi:
    """``0:640,64:128,0:640``: begin and end along each axis, in the tree's unit."""
    spans = [re.fullmatch(r"\s*(-?\d+):(-?\d+)\s*", part) for part in text.split(",")]
    pairs = [(int(span[1]), int(span[2])) for span in spans if span]
    if len(pairs) != len(spans) or any(end <= begin for begin, end in pairs):
        raise click.BadParameter(f"{text!r} is no roi; give begin:end per axis, such as 0:640,64:128,0:640")
    return Roi([b for b, _ in pairs], [e - b for b, e in pairs])


def to_bytes(text: str) -> int:
    """``2GiB``, ``500M``: bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?\s*", text)
    if not match:
        raise click.BadParameter(f"{text!r} is no size; give such as 2GiB or 500M")
    return int(float(match[1]) * _SIZES[match[2]])


def to_shape(text: str) -> tuple[int, ...]:
    """``64,64,64``: numbers per axis."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{text!r} is not positive numbers per axis, such as 64,64,64")
    return tuple(int(part) for part in parts)


@click.command()
@TREE
@click.argument("name")
@click.argument("store", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--dataset", help="Path of the output in OUT; the array's name by default.")
@click.option("--num-workers", default=2, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--roi", type=to_roi, metavar="BEGIN:END,...", help="Where to work, in the tree's unit, grown to whole blocks."
)
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--chunks", type=to_shape, metavar="N,...", help="Voxels of a chunk.")
@click.option("--block", type=to_shape, metavar="N,...", help="Shape of a block, in the tree's unit.")
@click.option(
    "--memory", type=to_bytes, metavar="SIZE", default="2GiB", show_default=True, help="What one worker may hold."
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@UNIT
def materialize(
    tree: Path,
    name: str,
    store: Path,
    dataset: str | None,
    num_workers: int,
    roi: Roi | None,
    overwrite: bool,
    chunks: tuple[int, ...] | None,
    block: tuple[int, ...] | None,
    memory: int,
    quiet: bool,
    unit: str | None,
) -> int:
    """Write array NAME of TREE to the Zarr store OUT, block by block.

    Exit code 1 where a block failed; the same command again does what is missing.
    """
    (config,) = pick(tree, (name,)).values()
    result = write(
        config, store, dataset, num_workers, roi, overwrite, unit, progress=not quiet,
        block=block, memory=memory, chunks=chunks,
    )  # fmt: skip
    click.echo(str(result))
    return 0 if result.ok else 1
