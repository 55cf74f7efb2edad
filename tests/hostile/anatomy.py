"""What lies where in a container, and whose it is: seen by what plain h5py reads of it for each thing."""

from __future__ import annotations

import bisect
import io
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py

from simarchive.container.layout import DOCUMENT, INDEX, MEMBER_SIZE, MEMBERS, OBJECTS, SCALE_CLASS

Range = tuple[int, int]
"""First byte, and the one after the last."""

SUPERBLOCK_BYTES, END_OF_FILE_AT = 48, 28
BLOCKS = re.compile(rb"OHDR|OCHK|FRHP|FHDB|FHIB|BTHD|BTLF|BTIN|FSHD|FSSE|FAHD|FADB|GCOL")
HEADERS = (b"OHDR", b"OCHK")

CLASSES = (
    "superblock and seal",
    "headers",
    "trees",
    "documents",
    "arrays",
    "index",
    "members",
    "free space",
)


class _Watched(io.BytesIO):
    """A file in memory that notes what is read of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.ranges: list[Range] = []

    def readinto(self, buffer: object) -> int:
        start = self.tell()
        count = super().readinto(buffer)  # type: ignore[arg-type]
        self.ranges.append((start, start + count))
        return count


@dataclass(frozen=True)
class Anatomy:
    """Whose byte each one is.

    Attributes
    ----------
    kinds
        The class of each byte, as a number in `CLASSES`.
    owners
        For each key, 1 for each byte that is read for this object and not for others, its shared files apart.
    """

    kinds: bytes
    owners: dict[str, bytes]

    def kind(self, offset: int) -> str:
        return CLASSES[self.kinds[offset]] if offset < len(self.kinds) else CLASSES[0]

    def touched(self, start: int, end: int) -> set[str]:
        """Return the keys of the objects that have any of these bytes."""
        return {key for key, mine in self.owners.items() if any(mine[start:end])}

    def choose(self, count: int, seed: int) -> Iterator[tuple[str, int, int]]:
        """Yield class, offset and bit of single-bit flips: as many of each class, anywhere in it."""
        places: dict[str, list[int]] = {name: [] for name in CLASSES}
        for offset, kind in enumerate(self.kinds):
            places[CLASSES[kind]].append(offset)
        assert all(places.values()), {name: len(found) for name, found in places.items()}
        chooser = random.Random(seed)
        for number in range(count):
            name = CLASSES[number % len(CLASSES)]
            yield name, chooser.choice(places[name]), chooser.randrange(8)


def anatomy(path: Path) -> Anatomy:
    """Return what lies where in a sound container without a log."""
    content = path.read_bytes()
    common = _read(content, lambda file: (list(file[OBJECTS]), list(file[OBJECTS].attrs.items())))
    owners, used = {}, bytearray(common)
    with h5py.File(path, "r") as file:
        keys = list(file[OBJECTS])
    for key in keys:
        found = _read(content, lambda file, key=key: _read_object(file[OBJECTS][key]))
        owners[key] = bytes(a and not b for a, b in zip(found, common, strict=True))
        _add(used, found)
    index = _read(content, lambda file: _read_tree(file[INDEX]))
    mine = bytes(
        a and not b and not any(others) for a, b, *others in zip(index, common, *owners.values(), strict=True)
    )
    _add(used, index)
    _add(used, _read(content, _read_root))
    _add(used, _read(content, lambda file: file.create_group("of no other use"), mode="r+"))
    return Anatomy(_kinds(path, content, used, mine), owners)


def _kinds(path: Path, content: bytes, used: bytearray, index: bytes) -> bytes:
    kinds = bytearray(CLASSES.index("headers" if is_used else "free space") for is_used in used)
    blocks = [*BLOCKS.finditer(content)]
    ends = [match.start() for match in blocks[1:]] + [len(content)]
    for match, end in zip(blocks, ends, strict=True):
        if match[0] not in HEADERS:
            for at in range(match.start(), end):
                if used[at]:
                    kinds[at] = CLASSES.index("trees")
                else:
                    break
    for at, is_index in enumerate(index):
        if is_index:
            kinds[at] = CLASSES.index("index")
    for name, ranges in _data(path, content).items():
        for start, end in ranges:
            kinds[start:end] = bytes([CLASSES.index(name)]) * (end - start)
    end_of_file = int.from_bytes(content[END_OF_FILE_AT : END_OF_FILE_AT + 8], "little")
    for start, end in ((0, SUPERBLOCK_BYTES), (end_of_file, len(content))):
        kinds[start:end] = bytes(end - start)
    return bytes(kinds)


def _data(path: Path, content: bytes) -> dict[str, list[Range]]:
    found: dict[str, list[Range]] = {"arrays": [], "members": [], "documents": []}
    with h5py.File(path, "r") as file:
        for group in file[OBJECTS].values():
            place = content.find(text := bytes(group.attrs[DOCUMENT]))
            if place >= 0:
                found["documents"].append((place, place + len(text)))
            for dataset in _datasets(group):
                if MEMBER_SIZE in dataset.attrs:
                    chunks = map(dataset.id.get_chunk_info, range(dataset.id.get_num_chunks()))
                    found["members"] += [
                        (chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks
                    ]
                elif SCALE_CLASS not in dataset.attrs:
                    start = dataset.id.get_offset()
                    found["arrays"].append((start, start + dataset.nbytes))
    return found


def _read(content: bytes, look: Callable[[h5py.File], object], mode: str = "r") -> bytearray:
    """Return 1 for each byte that is read for something."""
    watched = _Watched(content)
    with h5py.File(watched, mode, libver=("v110", "v110")) as file:
        look(file)
    read = bytearray(len(content))
    blocks = [match.start() for match in BLOCKS.finditer(content)]
    for start, end in watched.ranges:
        # HDF5 does not know how long a header is, and reads on: the next block is no part of it.
        following = bisect.bisect_right(blocks, start)
        last = min([end, *blocks[following : following + 1]])
        read[start:last] = b"\1" * (last - start)
    return read


def _datasets(group: h5py.Group) -> list[h5py.Dataset]:
    """Return the arrays, members and dimensions of an object."""
    members = group.get(MEMBERS, {})
    return [*(node for node in group.values() if isinstance(node, h5py.Dataset)), *members.values()]


def _read_object(group: h5py.Group) -> None:
    list(group.attrs.items())
    list(group.get(MEMBERS, group).attrs.items())
    for dataset in _datasets(group):
        list(dataset.attrs.items())
        if MEMBER_SIZE in dataset.attrs:
            for number in range(dataset.id.get_num_chunks()):
                dataset.id.read_direct_chunk(dataset.id.get_chunk_info(number).chunk_offset)
        else:
            dataset[()]


def _read_tree(group: h5py.Group) -> None:
    list(group.attrs.items())
    for child in group.values():
        if isinstance(child, h5py.Group):
            _read_tree(child)


def _read_root(file: h5py.File) -> None:
    list(file.attrs.items())
    for name in file:
        list(file[name].attrs.items())


def _add(used: bytearray, more: bytearray) -> None:
    used[:] = bytes(a | b for a, b in zip(used, more, strict=True))
