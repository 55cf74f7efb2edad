"""The command `simarchive`: finds commands when they are used, and turns errors into lines and exit codes."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from simarchive.cli import failures, streams
from simarchive.cli.output import TALK
from simarchive.errors import InvalidDataError
from simarchive.ground.limits import LIMITS
from simarchive.ground.version import __version__

COMMANDS: dict[str, tuple[str, ...]] = {
    "Import and export": ("add", "import", "export", "extract", "cat"),
    "Publish": ("init", "meta", "publish-check", "split"),
    "Inspect": ("info", "ls", "show", "query", "stats", "report"),
    "Change": ("amend", "append"),
    "Combine": ("merge", "subset", "pull", "diff"),
    "Maintain": ("verify", "repair", "repack", "rm", "log", "restore"),
}
"""The names of all commands, by the heading under which ``--help`` shows them."""

_LONGEST = max(len(name) for names in COMMANDS.values() for name in names)

# `import` is a keyword of Python, so its module has another name.
_MODULES = {"import": "import_directory", "export": "export_directory"}

_MEANT = {
    "ls": ("list", "dir", "objects"),
    "show": ("view", "print", "describe", "inspect", "display"),
    "query": ("find", "search", "select", "grep"),
    "stats": ("statistics", "du", "size", "sizes"),
    "report": ("html", "summary", "page"),
    "amend": ("edit", "change", "modify", "tag", "note", "rename", "mv", "replace", "update"),
    "append": ("grow", "extend", "continue"),
    "split": ("cut", "volumes", "shard"),
    "extract": ("get", "unpack"),
    "import": ("load", "store"),
    "export": ("save", "dump"),
    "merge": ("join", "combine", "concat"),
    "subset": ("filter", "copy", "cp"),
    "pull": ("fetch", "download", "clone", "sync"),
    "diff": ("compare", "cmp"),
    "verify": ("check", "validate", "test", "fsck"),
    "repair": ("fix", "recover", "salvage", "rebuild"),
    "repack": ("compact", "vacuum", "shrink", "optimize", "defragment"),
    "rm": ("remove", "delete", "del"),
    "log": ("history", "removed", "trash"),
    "restore": ("undo", "undelete", "revert"),
}
"""What people type who mean a command, as other programs name it."""


def module_of(name: str) -> str:
    """Return the name of the module of a command, in `simarchive.cli.commands`."""
    return _MODULES.get(name, name.replace("-", "_"))


_NAME = "simarchive"
_COMPLETION = "_SIMARCHIVE_COMPLETE"  # set by a shell that asks for completions


def _import_modules(context: click.Context, parameter: click.Parameter, names: Sequence[str]) -> None:
    """Import the modules of data classes that a person names, from the current directory, too."""
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a module of others raises
            raise InvalidDataError(f"module {name!r} cannot be imported: {error}") from error


_MODULES_OPTION = "modules"
_IMPORTING: dict[str, Any] = {
    "multiple": True,
    "metavar": "NAME",
    "expose_value": False,
    "callback": _import_modules,
}


def _set_talk(context: click.Context, parameter: click.Parameter, is_given: bool) -> None:
    if is_given:
        name, value = _TALK_OF[str(parameter.name)]
        setattr(TALK, name, value)


_TALK = (("--quiet", "-q"), ("--verbose", "-v"), ("--no-progress",))
_TALK_OF = {
    "quiet": ("is_quiet", True),
    "verbose": ("is_verbose", True),
    "no_progress": ("has_progress", False),
}


_TALKING: dict[str, Any] = {"is_flag": True, "expose_value": False, "callback": _set_talk}


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
        if not any(parameter.name == _MODULES_OPTION for parameter in command.params):
            # They may stand before the command, where they are explained, or after it.
            command.params.append(click.Option(["--module", _MODULES_OPTION], hidden=True, **_IMPORTING))
            command.params += [click.Option(names, hidden=True, **_TALKING) for names in _TALK]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that a line begins with; for an unknown one, say what may be meant.

        Raises
        ------
        UsageError
            If there is no such command.
        """
        name = args[0]
        if name[:1] != "-" and name not in self.list_commands(ctx):
            suggestion = _suggestion(name, self.list_commands(ctx))
            raise click.UsageError(f"there is no command {name!r}{suggestion}", ctx)
        return super().resolve_command(ctx, args)

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


def _suggestion(name: str, known: Sequence[str]) -> str:
    by_other_name = {other: command for command, others in _MEANT.items() for other in others}
    close = difflib.get_close_matches(name.lower(), [*known, *by_other_name], 1)
    meant = next(iter(close), None)
    return f": do you mean '{_NAME} {by_other_name.get(meant, meant)}'?" if meant else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--max-bytes",
    metavar="N",
    type=click.IntRange(min=1),
    help="Believe a file that claims up to N bytes for one array, document or gap of a file.",
)
@click.option(
    "--module",
    _MODULES_OPTION,
    help="First import this Python module, which defines data classes; may be repeated.",
    **_IMPORTING,
)
@click.option(*_TALK[0], help="Print only answers, errors and what was left out.", **_TALKING)
@click.option(*_TALK[1], help="Name each object that was copied, replaced or removed.", **_TALKING)
@click.option(*_TALK[2], help="Show no progress.", **_TALKING)
@click.version_option(__version__, prog_name=_NAME)
def application(max_bytes: int | None) -> None:
    """Keep a whole collection of simulation data in one HDF5 file.

    \b
    simarchive add lab.h5 runs/*/
    simarchive import stored_data/ water.h5
    simarchive ls water.h5
    simarchive query water.h5 substance=O phase=liquid

    WHAT selects objects: keys, or starts of them; patterns such as "run7-*"; criteria such as phase=liquid
    T=290..310K, as in 'simarchive query --help'; or -, for keys on standard input. FILE may be left out where
    the environment variable SIMARCHIVE_FILE names it. For help with a command, and an example: simarchive
    COMMAND --help.
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
