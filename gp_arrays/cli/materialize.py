"""``gp-arrays materialize | status | finish``: write arrays of a tree block by block, show the progress, end a job."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click
from funlib.geometry import Roi

from ..errors import ConfigError
from ..jobs.progress import check_blocks
from ..jobs.progress import finish as finish_outputs
from ..jobs.progress import status as read_status
from ..jobs.pyramid import METHODS
from ..jobs.run import materialize as write
from ..jobs.settings import Storage, Workers
from ..model.fields import to_bytes
from ..storage.chunked.create import COMPRESSORS
from .tree import TREE, UNIT, pick


def to_roi(text: str) -> Roi:
    """A roi from text such as ``0:640,64:128,0:640``: begin and end along each axis, in the unit of the tree."""
    spans = [re.fullmatch(r"\s*(-?\d+):(-?\d+)\s*", part) for part in text.split(",")]
    pairs = [(int(span[1]), int(span[2])) for span in spans if span]
    if len(pairs) == len(spans) and any(end <= begin for begin, end in pairs):
        begin, end = next((begin, end) for begin, end in pairs if end <= begin)
        raise click.BadParameter(f"begin must be below end on every axis; {text!r} has {begin}:{end}")
    if len(pairs) != len(spans):
        raise click.BadParameter(f"{text!r} is not a roi; allowed: begin:end for each axis, such as 0:640,64:128,0:640")
    return Roi([b for b, _ in pairs], [e - b for b, e in pairs])


def to_size(text: str) -> int:
    """Bytes from text such as ``2GiB`` or ``500M``."""
    try:
        return to_bytes(text)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def to_seconds(text: str) -> float | None:
    """Seconds from text; None for ``never``."""
    if str(text).strip().lower() in ("never", "none"):
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise click.BadParameter(f"{text!r} is not a positive number of seconds, nor never")
    return seconds


def to_shape(text: str) -> tuple[int, ...]:
    """A shape from text such as ``64,64,64``."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{text!r} is not a positive number for each axis, such as 64,64,64")
    return tuple(int(part) for part in parts)


@click.command()
@TREE
@click.argument("names", nargs=-1, required=True, metavar="NAME... OUT")
@click.option("--dataset", help="Path of a single output in OUT; by default the name of the array.")
@click.option("--num-workers", default=2, show_default=True, type=click.IntRange(min=1))
@click.option("--roi", type=to_roi, metavar="BEGIN:END,...", help="The region to write, enlarged to complete blocks.")
@click.option("--overwrite", is_flag=True, help="Replace existing outputs and start from the beginning.")
@click.option("--chunks", type=to_shape, metavar="N,...", help="Voxels of a chunk.")
@click.option(
    "--shards",
    type=to_shape,
    metavar="N,...",
    help="Voxels of a shard. The chunks of a shard are stored in one file. Zarr v3 only.",
)
@click.option("--block", type=to_shape, metavar="N,...", help="Shape of a block, in the unit of the tree.")
@click.option(
    "--memory", type=to_size, metavar="SIZE", default="2GiB", show_default=True, help="Memory that one worker may use."
)
@click.option("--compressor", default="zstd", show_default=True, type=click.Choice(COMPRESSORS))
@click.option("--zarr-format", default="2", show_default=True, type=click.Choice(["2", "3"]))
@click.option("--pyramid", type=click.Choice(["auto", *METHODS]), help="Write OME-NGFF pyramids.")
@click.option("--skip-empty", is_flag=True, help="Do not write chunks that are 0 everywhere.")
@click.option(
    "--mask", help="Array of TREE in the same world coordinates. Blocks where it is 0 everywhere are left out."
)
@click.option("--retries", default=2, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--block-timeout",
    default="600",
    show_default=True,
    type=to_seconds,
    metavar="SECONDS",
    help="After so many seconds a block counts as stuck and its worker is ended; never is allowed.",
)
@click.option(
    "--max-failed",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="End the job after this many failures with no block done between them.",
)
@click.option(
    "--threads-per-worker",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Threads of the libraries that a worker uses.",
)
@click.option(
    "--state", type=click.Path(path_type=Path), help="Folder for the records of the job; beside OUT by default."
)
@click.option(
    "--worker-command",
    help='Command that starts a worker, such as "srun -c 2 {worker}". {slot} in it is the number of the worker, from 0.',
)
@click.option(
    "--host",
    help="Address at which workers of --worker-command reach this machine; by default the one of its name. "
    "Without --host the job listens at all addresses.",
)
@click.option("--accept-changed", is_flag=True, help="Resume although files or source stores have changed.")
@click.option("--dry-run", is_flag=True, help="Show what the job would cost and write nothing.")
@click.option(
    "--check", type=click.IntRange(min=1), metavar="N", help="Compute N random blocks again afterwards and compare."
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@UNIT
def materialize(
    tree: Path,
    names: tuple[str, ...],
    dataset: str | None,
    num_workers: int,
    roi: Roi | None,
    overwrite: bool,
    mask: str | None,
    check: int | None,
    quiet: bool,
    unit: str | None,
    compressor: str,
    zarr_format: str,
    shards: tuple[int, ...] | None,
    retries: int,
    block_timeout: float | None,
    max_failed: int,
    threads_per_worker: int,
    **options: Any,
) -> int:
    """Write arrays NAME... of TREE to the Zarr store OUT, block by block.

    Exit code 1 if a block failed. The same command again does the missing blocks.
    """
    *wanted, out = names
    if not wanted:
        raise click.UsageError("the name of an array is missing; give NAME... and then OUT")
    configs: Any = pick(tree, tuple(wanted), unit)
    if len(wanted) == 1:
        (configs,) = configs.values()
    options["mask"] = None if mask is None else pick(tree, (mask,), unit)[mask]
    result = write(
        configs,
        out,
        dataset,
        num_workers,
        roi,
        overwrite,
        unit,
        progress=not quiet,
        workers=Workers(retries, block_timeout, max_failed, threads_per_worker),
        storage=Storage(compressor, int(zarr_format), shards),
        **options,
    )
    click.echo(str(result))
    if result.cost is not None:
        return 0
    if check is None:
        return 0 if result.ok else 1
    checked = check_blocks(result.state, check, trust=True)
    click.echo(str(checked))
    return 1 if checked.wrong or not result.ok else 0


@click.command()
@click.argument("store", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "--state", type=click.Path(path_type=Path), help="Folder that was given as --state to materialize, if any."
)
@click.option("--check", type=click.IntRange(min=1), metavar="N", help="Compute N random blocks again and compare.")
@click.option("--trust", is_flag=True, help="Allow --check to import the modules that the job names.")
def status(store: Path, state: Path | None, check: int | None, trust: bool) -> int:
    """Show how many blocks of OUT are done, failed and missing.

    Exit code 1 if any is not done, or if --check finds one that differs from the stored voxels.
    """
    code = 0
    for job in read_status(store, state):
        click.echo(str(job))
        code = code or int(job.missing + job.failed > 0)
        if check is not None:
            checked = check_blocks(job.folder, check, trust=trust)
            click.echo(str(checked))
            code = code or int(bool(checked.wrong))
    return code


@click.command()
@click.argument("store", type=click.Path(path_type=Path), metavar="OUT")
@click.argument("dataset", required=False)
@click.option("--accept-absent", is_flag=True, help="Read blocks that were never written as empty from now on.")
def finish(store: Path, dataset: str | None, accept_absent: bool) -> int:
    """Mark outputs of OUT as finished if their job will not run again."""
    names = finish_outputs(store, dataset, accept_absent)
    click.echo(f"finished: {', '.join(names)}" if names else "nothing is unfinished there")
    return 0
