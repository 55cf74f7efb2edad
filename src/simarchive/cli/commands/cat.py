"""`simarchive cat`: the bytes of files, for pipes."""

from __future__ import annotations

import codecs
import io
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from simarchive.cli import object_keys, opening
from simarchive.cli.arguments import container_argument
from simarchive.cli.isolation import isolated_option
from simarchive.errors import InvalidDataError, NotFoundError
from simarchive.ground.keys import check_member_name

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage

_PIECE_BYTES = 1 << 20
_SHOWN = 8


@click.command("cat", short_help="Write the bytes of files to standard output.")
@container_argument
@click.argument("names", metavar="KEY/NAME...", nargs=-1, required=True)
@isolated_option("container")
def command(container: Path, names: tuple[str, ...]) -> None:
    """Write the bytes of files to standard output, without extracting them.

    Every chunk is checked as it is read. To a terminal, binary data is not written, and control characters
    are escaped.

    \b
    Example:
      simarchive cat water.h5 8d13dbc1/output.pdb | head
    """
    with opening.for_reading(container) as backend:
        finder = object_keys.KeyFinder(backend)
        for written in names:
            start, slash, name = written.partition("/")
            if not slash:
                raise InvalidDataError(f"{written!r} is only a key: add the file, as in {written}/output.pdb")
            with _opened_member(backend, finder.resolve(start), name) as member:
                if sys.stdout.isatty():
                    _show(member, written)
                else:
                    shutil.copyfileobj(member, sys.stdout.buffer, _PIECE_BYTES)
    sys.stdout.buffer.flush()


def _show(member: BinaryIO, written: str) -> None:
    """Write a text to a terminal, with everything escaped that the terminal may obey."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    while piece := member.read(_PIECE_BYTES):
        if b"\0" in piece:
            raise InvalidDataError(f"{written!r} is not text: send it to a file or a program")
        print(lines.decode(piece), end="")
    print(lines.decode(b"", final=True), end="")


def _opened_member(backend: HDF5Storage, key: str, name: str) -> BinaryIO:
    """Return one file of an object, open; no other is looked at.

    Raises
    ------
    InvalidDataError
        If the name leads out of the object.
    NotFoundError
        If there is no such file; the message names those that exist.
    """
    check_member_name(name)
    try:
        return backend.open_member(key, name)
    except NotFoundError as error:
        names = [info.name for info in backend.list_members(key)]
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise NotFoundError(f"object {key!r} has no file {name!r}: it has {shown or 'none'}") from error
