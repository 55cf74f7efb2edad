"""`simarchive cat`: the bytes of files, for pipes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from simarchive.cli import object_keys, opening
from simarchive.cli.arguments import container_argument
from simarchive.cli.member_choice import opened_member
from simarchive.errors import InvalidDataError

_PIECE_BYTES = 1 << 20


@click.command("cat", short_help="Write the bytes of files to standard output.")
@container_argument
@click.argument("names", metavar="KEY/NAME...", nargs=-1, required=True)
def command(container: Path, names: tuple[str, ...]) -> None:
    """Write the bytes of files to standard output, without extracting them.

    Every piece is checked as it is read. Bytes that are no text are not written to a terminal.

    \b
    Example:
      simarchive cat water.h5 8d13dbc1/output.pdb | head
    """
    with opening.for_reading(container) as backend:
        finder = object_keys.KeyFinder(backend)
        for written in names:
            start, slash, name = written.partition("/")
            if not slash:
                raise InvalidDataError(
                    f"{written!r} is a key alone: add the file, as in {written}/output.pdb"
                )
            with opened_member(backend, finder.resolve(start), name) as member:
                while piece := member.read(_PIECE_BYTES):
                    if b"\0" in piece and sys.stdout.isatty():
                        raise InvalidDataError(f"{written!r} is no text: send it to a file or a program")
                    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
