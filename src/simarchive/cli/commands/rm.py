"""`simarchive rm`: remove objects from a container."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simarchive.cli import object_keys, opening
from simarchive.cli.arguments import container_argument, json_option, tmp_dir_option, wait_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import count_text, print_json, print_line
from simarchive.errors import ConflictError, CorruptError, StorageFullError

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage


@click.command("rm", short_help="Remove objects and their files.")
@container_argument
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Remove objects even if others refer to them.")
@tmp_dir_option
@wait_option
@json_option
@isolated_option("container")
def command(
    container: Path,
    keys: tuple[str, ...],
    force: bool,
    tmp_dir: Path | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Remove objects and their files from FILE: all of them, or none if one does not exist.

    An object that others refer to, such as the force field of a simulation, cannot be removed without
    them. The space is used again by what is stored next; "simarchive repack" returns it to the file
    system. What is so damaged that HDF5 cannot take it apart is moved to the group /set_aside, where it
    is no object any more. If the disk has no room for the log of this change, put the log elsewhere with
    --tmp-dir.

    \b
    Example:
      simarchive rm water.h5 8d13dbc1
    """
    from simarchive.storage.hdf5 import upkeep

    if container.exists():
        upkeep.check_extent(container)
    with opening.for_changes(container, wait_s=wait_s, tmp_dir=tmp_dir) as backend:
        try:
            doomed = _remove(backend, keys, force=force)
        except StorageFullError:
            # The log may have been copied to the file since, which makes room.
            doomed = _remove(backend, keys, force=force)
        except CorruptError:
            # HDF5 cannot take them apart; they can be put where they are no objects.
            doomed = _remove(backend, keys, force=force, whole=True)
    if as_json:
        print_json({"path": str(container), "removed": doomed})
        return
    print_line(f"{container}: {count_text(len(doomed), 'object')} removed")


def _remove(backend: HDF5Storage, keys: tuple[str, ...], *, force: bool, whole: bool = False) -> list[str]:
    with backend.transaction():
        doomed = object_keys.resolve_all(backend, keys)
        if not force:
            _check_references(backend, doomed)
        for key in doomed:
            if whole:
                backend.set_aside(key)
            else:
                backend.remove_object(key)
    return doomed


def _check_references(backend: HDF5Storage, doomed: list[str]) -> None:
    from simarchive.data import registered_data_classes
    from simarchive.ground.conditions import OneOf

    for data_class in registered_data_classes():
        indexed = {column.name for column in data_class.index_columns()}
        for field in data_class.reference_fields:
            if field not in indexed:
                continue
            found = backend.select([data_class.data_class_name], [OneOf.of(field, doomed)])
            staying = [key for key in found if key not in doomed]
            if staying:
                others = f"object {staying[0]}" + (f" and {len(staying) - 1} more" if staying[1:] else "")
                raise ConflictError(
                    f"nothing was removed, because {others} would refer to what is gone: remove"
                    f" {'them' if staying[1:] else 'it'} too, or use --force"
                )
