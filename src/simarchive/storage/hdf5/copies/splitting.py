"""Cutting a container into volumes, each below a size, each a published container."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simarchive.container.changing import compaction
from simarchive.container.changing.publishing import append_map
from simarchive.container.changing.transfer import parts_of
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.new_file import check_is_free, completed_at
from simarchive.errors import InvalidDataError
from simarchive.ground.filesystem import PathLike
from simarchive.ground.texts import size_text
from simarchive.storage.hdf5 import upkeep, verification

# Root, index, seal, and the trailer of the map; of each object, its group, its row and its part of the map.
_VOLUME_BYTES, _OBJECT_BYTES, _PART_BYTES = 64 << 10, 6 << 10, 2 << 10
_MOST_VOLUMES = 999
_MOST_NAMED = 10


@dataclass(slots=True)
class Volume:
    """One of the files that a container is cut into.

    Attributes
    ----------
    path
        The file.
    keys
        Of its objects, in stored order.
    size_bytes
        Of the file; before it is made, at most so many, as far as can be told.
    """

    path: Path
    keys: list[str]
    size_bytes: int


class _TooLargeError(Exception):
    """A volume came out larger than it was thought to."""


def planned(container: Container, prefix: PathLike, max_bytes: int) -> list[Volume]:
    """Return the volumes that a container would be cut into; objects keep their order.

    Raises
    ------
    InvalidDataError
        If an object alone is larger than a volume may be; notes name all such objects.
    CorruptError
        If an object cannot be read.
    """
    volumes: list[Volume] = []
    too_large: dict[str, int] = {}
    addresses: set[int] = set()
    with container.reading() as contents:
        for key in contents.keys():  # noqa: SIM118
            parts, alone = _sizes(contents, key)
            whole = alone + sum(parts.values())
            if _VOLUME_BYTES + whole > max_bytes:
                too_large[key] = whole
                continue
            # What objects share is in each volume once.
            more = alone + sum(size for address, size in parts.items() if address not in addresses)
            if not volumes or volumes[-1].size_bytes + more > max_bytes:
                volumes.append(Volume(_name(prefix, len(volumes) + 1), [], _VOLUME_BYTES))
                addresses, more = set(), whole
            volumes[-1].keys.append(key)
            volumes[-1].size_bytes += more
            addresses.update(parts)
    if too_large:
        raise _not_fitting(too_large, max_bytes)
    if len(volumes) > _MOST_VOLUMES:
        raise InvalidDataError(
            f"volumes of {size_text(max_bytes)} would be {len(volumes):,}, more than {_MOST_VOLUMES}:"
            " raise the limit"
        )
    return volumes


def split(
    container: Container, prefix: PathLike, max_bytes: int, progress: Callable[[str], None] | None = None
) -> list[Volume]:
    """Cut a container into volumes; return them. Each gets its name when it is complete.

    What repacking keeps is kept: keys, documents, digests, chunks, history and what the archive says of
    itself. What was removed or set aside is in none of them.

    Parameters
    ----------
    prefix
        What the names of the volumes begin with: ``PREFIX-001.h5`` and so on.
    progress
        Called with the key of each object, when its volume is complete.

    Raises
    ------
    ConflictError
        If a file has the name of a volume already.
    InvalidDataError
        As `planned`. No volume is made.
    CorruptError
        If an object cannot be copied. Volumes that are complete stay.
    """
    waiting = planned(container, prefix, max_bytes)
    for volume in waiting:
        check_is_free(volume.path)
    made: list[Volume] = []
    with container.reading() as contents:
        while waiting:
            keys = waiting.pop(0).keys
            path = _name(prefix, len(made) + 1)
            try:
                size_bytes = _make(contents, path, keys, max_bytes)
            except _TooLargeError:
                if len(keys) == 1:
                    raise _not_fitting({keys[0]: max_bytes}, max_bytes) from None
                middle = len(keys) // 2
                waiting[:0] = [Volume(path, keys[:middle], 0), Volume(path, keys[middle:], 0)]
                continue
            made.append(Volume(path, keys, size_bytes))
            if progress is not None:
                for key in keys:
                    progress(key)
    return made


def _make(contents: Contents, path: Path, keys: Sequence[str], max_bytes: int) -> int:
    """Make a volume; return its size in bytes."""
    with completed_at(path) as unfinished:
        with verification.as_damage():
            compaction.copy_part(contents.root, unfinished, keys)
        upkeep.complete_copy(unfinished, contents)
        append_map(unfinished)
        size_bytes = unfinished.stat().st_size
        if size_bytes > max_bytes:
            raise _TooLargeError
    return size_bytes


def _sizes(contents: Contents, key: str) -> tuple[dict[int, int], int]:
    """Return the bytes of an object's files and arrays by address, and about how many describe it at most."""
    parts = list(parts_of(contents, key))
    document = len(contents.text_of_document(key).encode())
    # Once in the file, and once in the map, where it is compressed.
    return {part.address: part.n_bytes for part in parts}, 2 * document + _OBJECT_BYTES + len(
        parts
    ) * _PART_BYTES


def _name(prefix: PathLike, number: int) -> Path:
    return Path(f"{os.fspath(prefix)}-{number:03}.h5")


def _not_fitting(sizes: Mapping[str, int], max_bytes: int) -> InvalidDataError:
    named = ", ".join(f"{key} ({size_text(size)})" for key, size in list(sizes.items())[:_MOST_NAMED])
    more = f" and {len(sizes) - _MOST_NAMED:,} more" if len(sizes) > _MOST_NAMED else ""
    return InvalidDataError(
        f"an object is never cut, and these do not fit into a volume of {size_text(max_bytes)}:"
        f" {named}{more}: raise the limit, or leave them out with 'simarchive subset'"
    )
