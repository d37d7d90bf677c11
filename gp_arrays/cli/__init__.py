"""The command line: ``gp-arrays COMMAND``. Each command has a file, which is imported when the command is called."""

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

#: The module of each command.
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
    """A group of commands that imports the module of a command when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name]}", __name__)
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--traceback", "show_traceback", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--verbose", is_flag=True, help="Log the steps.")
@click.version_option(package_name="gp_arrays")
def cli(show_traceback: bool, verbose: bool) -> None:
    """Inspect, check, view and write the arrays of a tree.

    A TREE is a TOML, YAML or JSON file with a table of arrays. It may also be a store (Zarr, HDF5, TIFF), or
    STORE/DATASET: then the tree is the arrays in it.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit. The exit code is 0 for success, 1 for an error in the data, 2 for wrong usage."""
    # a job that is terminated saves its records, as after Ctrl-C
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run(args))


def _terminated(number: int, frame: Any) -> None:
    # the signal may come twice: timeout(1) sends it so
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. Errors are printed as one line on stderr."""
    arguments = list(sys.argv[1:] if args is None else args)
    show_traceback = "--traceback" in arguments
    # accepted anywhere: after an error it is typed at the end of the line
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        for argument in arguments:
            if argument and not is_path(argument):
                raise click.UsageError(f"an argument has characters that are not allowed: {quoted(argument)}")
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
        if show_traceback:
            traceback.print_exc()
        else:
            click.echo(f"error: {one_line(str(error), 5 * LONGEST)}", err=True)
        return 1
    return result if isinstance(result, int) else 0
