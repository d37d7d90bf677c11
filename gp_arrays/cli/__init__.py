"""The command line: ``gp-arrays COMMAND``; one file a command, imported when it is called."""

from __future__ import annotations

import importlib
import io
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from ..errors import LONGEST, GpArraysError, one_line, quoted
from ..model.fields import is_path

#: Where each command is.
COMMANDS = {
    "count": "ids",
    "demo": "demo",
    "init": "init",
    "info": "tree",
    "verify": "tree",
    "explain": "tree",
    "why": "why",
    "diff": "diff",
    "materialize": "materialize",
    "status": "materialize",
    "table": "ids",
    "finish": "materialize",
    "view": "view",
}


class _Commands(click.Group):
    """Commands by name, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name]}", __name__)
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--traceback", "show_traceback", is_flag=True, help="Show where an error comes from.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done.")
@click.version_option(package_name="gp_arrays")
@click.pass_context
def cli(ctx: click.Context, show_traceback: bool, verbose: bool) -> None:
    """A tree of volumetric arrays: look into it, check it, show it, write it.

    A TREE file is TOML, YAML or JSON: a table of arrays. A store (Zarr, HDF5, TIFF), or STORE/DATASET, may stand
    in its place: its arrays are then the tree.
    """
    ctx.obj = {"traceback": show_traceback}
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 the data say no, 2 wrong usage."""
    # as after a Ctrl-C, what is done is kept; timeout(1), for one, sends it twice
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run(args))


def _terminated(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line. Errors become one readable line on stderr."""
    arguments = list(sys.argv[1:] if args is None else args)
    show = "--traceback" in arguments
    # accepted anywhere, as it is wanted after a failure, at the end of the line
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        for argument in arguments:
            if argument and not is_path(argument):
                raise click.UsageError(f"not a text that a command line can hold: {quoted(argument)}")
        result: Any = cli.main(arguments, prog_name="gp-arrays", standalone_mode=False)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        click.echo("\n".join(map(one_line, text.getvalue().splitlines())), err=True)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 1
    except (GpArraysError, OSError) as error:
        if show:
            traceback.print_exc()
        else:
            click.echo(f"error: {one_line(str(error), 5 * LONGEST)}", err=True)
        return 1
    return result if isinstance(result, int) else 0
