"""The command `simarchive`: finds commands when they are used, and turns errors into lines and exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from simarchive.cli import failures, streams
from simarchive.ground.limits import LIMITS
from simarchive.ground.version import __version__

COMMANDS: dict[str, tuple[str, ...]] = {
    "Import and export": ("import", "export", "extract", "cat"),
    "Publish": ("init", "meta", "publish-check"),
    "Inspect": ("info", "ls", "show", "query"),
    "Combine": ("merge", "subset", "diff"),
    "Maintain": ("verify", "repair", "repack", "rm"),
}
"""The names of all commands, by the heading under which ``--help`` shows them."""

_LONGEST = max(len(name) for names in COMMANDS.values() for name in names)

# `import` is a keyword of Python, so its module has another name.
_MODULES = {"import": "import_directory", "export": "export_directory"}


def module_of(name: str) -> str:
    """Return the name of the module of a command, in `simarchive.cli.commands`."""
    return _MODULES.get(name, name.replace("-", "_"))


_NAME = "simarchive"
_COMPLETION = "_SIMARCHIVE_COMPLETE"  # set by a shell that asks for completions


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of the help page."""
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name, or ``None``."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"simarchive.cli.commands.{module_of(cmd_name)}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        for heading, names in COMMANDS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((f"{name:<{_LONGEST}}", command.get_short_help_str(limit=62)))
            with formatter.section(heading):
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--max-bytes",
    metavar="N",
    type=click.IntRange(min=1),
    help="Believe a file that claims up to N bytes for one array, document or gap of a file.",
)
@click.version_option(__version__, prog_name=_NAME)
def application(max_bytes: int | None) -> None:
    """Keep a whole collection of simulation data in one HDF5 file.

    \b
    simarchive import stored_data/ water.h5
    simarchive ls water.h5
    simarchive query water.h5 "substance=O phase=liquid"

    Name an object by its key, or by the start of its key if no other key starts with it. For help with a
    command, and an example: simarchive COMMAND --help.
    """
    if max_bytes is not None:
        LIMITS.set_all(max_bytes)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    streams.prepare()
    with failures.as_exit_codes(as_json=failures.wants_json(given)):
        if _COMPLETION in os.environ:
            application.main(args=given, prog_name=_NAME, complete_var=_COMPLETION)
        # Not `application.main`, which handles a broken pipe and Ctrl-C itself.
        with application.make_context(_NAME, given) as context:
            application.invoke(context)
    raise SystemExit(0)
