"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from simarchive.remote.address import is_url, path_or_address

Command = TypeVar("Command", bound=Callable[..., Any])

# Whether a file exists is checked where it is opened, so that the error and its exit code are ours.
PATH = click.Path(path_type=Path)


class _Container(click.Path):
    """A path, or the URL of a container that is only read."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path or an `Address`."""
        if is_url(value):
            return path_or_address(value)
        return super().convert(value, param, ctx)


CONTAINER = _Container(path_type=Path)


def size_bytes(text: str) -> int:
    """Return the bytes that a size says: ``45GB``, in powers of 1000, or ``45GiB``, in powers of 1024."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) ?(?:([kKMGT]?)(i?)B)?", text, re.ASCII)
    if found is None or (found[3] and not found[2]):
        raise click.BadParameter(f"{text!r} is no size: write it as 45GB, 500MB or 2GiB")
    power = " kMGT".index((found[2] or " ").replace("K", "k"))
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


CODECS = ("deflate", "zstd", "trajectory", "raw")


FILE_VARIABLE = "SIMARCHIVE_FILE"
"""The environment variable that names the container where FILE is left out."""


def container_argument(command: Command) -> Command:
    """Add the argument FILE, the container, which the environment may name."""
    return click.argument("container", metavar="FILE", type=CONTAINER, envvar=FILE_VARIABLE)(command)


def key_argument(command: Command) -> Command:
    """Add the argument KEY."""
    return click.argument("key", metavar="KEY")(command)


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on standard output and nothing else."
    )(command)


def rows_option(command: Command) -> Command:
    """Add ``--ndjson``, for commands that print rows."""
    return click.option(
        "--ndjson", "as_ndjson", is_flag=True, help="Print one line of JSON for each row, as rows come."
    )(command)


def dry_run_option(command: Command) -> Command:
    """Add ``-n`` and ``--dry-run``."""
    return click.option(
        "--dry-run", "-n", is_flag=True, help="Only say what would be done; nothing is changed."
    )(command)


def wait_option(command: Command) -> Command:
    """Add ``--wait SECONDS``."""
    return click.option(
        "--wait",
        "wait_s",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait while another process has FILE open.",
    )(command)


def tmp_dir_option(command: Command) -> Command:
    """Add ``--tmp-dir DIR``."""
    return click.option(
        "--tmp-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
        metavar="DIR",
        help="Use this directory, on another device, if the one of FILE is full.",
    )(command)


def by_option(command: Command) -> Command:
    """Add ``--by NAME``."""
    return click.option(
        "--by",
        metavar="NAME",
        help="Who stands in the history; by default $SIMARCHIVE_AUTHOR, or the login name.",
    )(command)


def codec_option(command: Command) -> Command:
    """Add ``--codec``."""
    return click.option(
        "--codec",
        type=click.Choice(CODECS),
        default="deflate",
        show_default=True,
        help="How to store files: every HDF5 program reads deflate and raw, zstd needs a plugin;"
        " trajectory is smallest and only simarchive reads it.",
    )(command)
