"""`simarchive rm`: remove objects from a container."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import opening
from simarchive.cli.arguments import dry_run_option, json_option, tmp_dir_option, wait_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import TALK, count_text, print_done, print_json, print_line
from simarchive.cli.selection import choose, file_and_what
from simarchive.errors import ConflictError, CorruptError, StorageFullError

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@click.command("rm", short_help="Remove objects and their files.")
@file_and_what("removed")
@click.option("--force", is_flag=True, help="Remove objects even if others refer to them.")
@click.option("--purge", is_flag=True, help="Delete them for good: they cannot be restored.")
@dry_run_option
@tmp_dir_option
@wait_option
@json_option
@isolated_option("container")
def command(
    container: Path,
    what: tuple[str, ...],
    force: bool,
    purge: bool,
    dry_run: bool,
    tmp_dir: Path | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Remove the objects that WHAT selects from FILE: all of them, or none if one does not exist.

    An object that others refer to, such as the force field of a simulation, cannot be removed without them.
    "simarchive restore" brings removed objects back. They are kept while they take at most 16 MiB, or 10 % of
    FILE if that is more; what exceeds this is deleted, the oldest first, when the next object is stored, and
    its space is used again. --purge deletes at once, and "simarchive repack" deletes all of them and returns
    the space to the file system.

    What is so damaged that HDF5 cannot take it apart is moved to the group /set_aside, where it is no object
    any more. If the disk has no room for the log of this change, put the log elsewhere with --tmp-dir.

    \b
    Examples:
      simarchive rm water.h5 8d13dbc1
      simarchive rm water.h5 phase=gas --dry-run
    """
    from simarchive.storage.hdf5 import upkeep

    if dry_run:
        with opening.for_reading(container) as backend:
            doomed = choose(backend, what) or []
            if not force:
                _check_references(backend, doomed)
    else:
        if container.exists():
            upkeep.check_extent(container)
        with opening.for_changes(container, wait_s=wait_s, tmp_dir=tmp_dir) as backend:
            doomed = choose(backend, what) or []
            try:
                _remove(backend, doomed, force=force, purge=purge)
            except StorageFullError:
                # The log may have been copied to the file since, which makes room.
                _remove(backend, doomed, force=force, purge=purge)
            except CorruptError:
                # HDF5 cannot take them apart; they can be put where they are no objects.
                _remove(backend, doomed, force=force, purge=purge, whole=True)
    if as_json:
        print_json({"path": str(container), "removed": doomed, "dry_run": dry_run, "purged": purge})
        return
    if TALK.is_verbose or dry_run:
        for key in doomed:
            print_line(f"  {key}")
    would = "would be " if dry_run else ""
    print_done(f"{container}: {count_text(len(doomed), 'object')} {would}removed")


def _remove(
    backend: HDF5Storage, doomed: Sequence[str], *, force: bool, purge: bool, whole: bool = False
) -> None:
    with backend.transaction():
        if not force:
            _check_references(backend, doomed)
        last = max((one.number for one in backend.removed()), default=0) if purge else 0
        for key in doomed:
            if whole:
                backend.set_aside(key)
            else:
                backend.remove_object(key)
        if purge:
            backend.purge_removed([one.number for one in backend.removed() if one.number > last])


def _check_references(backend: HDF5Storage, doomed: Sequence[str]) -> None:
    from simarchive.data import registered_data_classes
    from simarchive.ground.conditions import OneOf

    gone = set(doomed)
    for data_class in registered_data_classes() if doomed else ():
        indexed = {column.name for column in data_class.index_columns()}
        for field in data_class.reference_fields:
            if field not in indexed:
                continue
            found = backend.select([data_class.data_class_name], [OneOf.of(field, doomed)])
            staying = [key for key in found if key not in gone]
            if staying:
                others = f"object {staying[0]}" + (f" and {len(staying) - 1} more" if staying[1:] else "")
                raise ConflictError(
                    f"nothing was removed, because {others} would refer to what is gone: remove"
                    f" {'them' if staying[1:] else 'it'} too, or use --force"
                )
