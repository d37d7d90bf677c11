"""``gp-arrays view``: shows the arrays of a tree in Neuroglancer, or writes a picture of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from .. import view as show
from .tree import NAMES, TREE, UNIT, pick


@click.command()
@TREE
@NAMES
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port to listen on; by default a free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on; by default only this machine can connect.",
)
@UNIT
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a picture to this file instead of serving; needs Chromium.",
)
def view(tree: Path, names: tuple[str, ...], port: int, host: str, unit: str | None, png: Path | None) -> None:
    """Show arrays of TREE in Neuroglancer, all by default.

    Voxels are computed when they are shown. Ctrl-C ends the command.
    """
    arrays = pick(tree, names, unit)
    if png is None:
        # Ctrl-C may come before serve() waits for it
        with contextlib.suppress(KeyboardInterrupt):
            show(arrays, host, port, unit).serve()
        return
    served = show(arrays, host, port, unit, quiet=True)
    try:
        served.screenshot(png)
    finally:
        served.close()
    click.echo(png)
