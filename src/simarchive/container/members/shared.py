"""Equal members are one dataset: the table in which they are looked up by size and digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import h5py

from simarchive.container import layout, members, nodes
from simarchive.container.index import IndexTable, IndexTables
from simarchive.container.members import ChunkFile, MemberInfo, StoredMember
from simarchive.container.members.pipeline import Progress
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError, FormatError, NotFoundError, StorageError
from simarchive.ground.conditions import Column, ColumnKind, Equals, Value

MIN_SHARED_BYTES = 64 << 10
"""Members of this size and more are looked up by digest, and stored once if they are equal."""

MEMBER_COLUMNS = (Column("size", ColumnKind.INTEGER), Column("digest", ColumnKind.IDENTIFIER))


class SharedMembers:
    """The larger members of a container by digest.

    Parameters
    ----------
    find
        Returns the dataset of a member, given the key of its object and its name.
    file
        The container's file, by offset.
    """

    def __init__(
        self, tables: IndexTables, find: Callable[[str, str], h5py.Dataset], file: ChunkFile
    ) -> None:
        self._tables = tables
        self._find = find
        self._file = file
        # Whether the dataset at an address that holds what has a digest is intact: each is read once.
        self._intact: dict[tuple[int, str], bool] = {}

    def is_usable(self) -> bool:
        """Return whether the table is there and opens, or is not needed yet."""
        try:
            self._tables.get(layout.MEMBER_TABLE)
        except StorageError:
            return False
        return self._tables.exist and layout.MEMBER_TABLE not in self._tables.distrusted

    def rows(self) -> dict[str, dict[str, Value]]:
        """Return size and digest of each member of the table, by key and name of the member.

        Raises
        ------
        CorruptError
            If the table cannot be read.
        """
        table = self._tables.get(layout.MEMBER_TABLE)
        return {} if table is None else table.rows()

    def check(self) -> None:
        """Check the whole table against itself.

        Raises
        ------
        CorruptError
            If a part of it cannot be read, or contradicts another one.
        """
        table = self._tables.get(layout.MEMBER_TABLE)
        if table is not None:
            table.check()

    def clear(self) -> None:
        """Remove the whole table."""
        self._tables.drop(layout.MEMBER_TABLE)
        self._tables.distrusted.discard(layout.MEMBER_TABLE)

    def store(
        self,
        group: h5py.Group,
        name: str,
        source: Path | StoredMember,
        codec: str,
        progress: Progress | None,
        *,
        keeps_codecs: bool = False,
    ) -> MemberInfo:
        """Write a file as a member, or link to an equal one that is there; it is not in the table yet.

        Nothing is linked to one that is damaged: what is good is stored beside it.

        Parameters
        ----------
        keeps_codecs
            A member of another container keeps the codec that it has.
        """
        size = source.info.size if isinstance(source, StoredMember) else members.size_of(source)
        equal = self._equal(source, size) if size >= MIN_SHARED_BYTES else None
        if equal is None:
            if isinstance(source, StoredMember):
                kept = None if keeps_codecs else codec
                info = members.copy_member(group, name, source, codec=kept, progress=progress)
            else:
                info = members.store_member(group, name, source, codec=codec, progress=progress)
            if size >= MIN_SHARED_BYTES:
                self._intact[_place(members.find_member(group, name), info.digest)] = True
            return info
        members.link_member(group, name, equal)
        if progress is not None:
            progress(size)
        return members.member_info(equal, name)

    def add(self, key: str, infos: Iterable[MemberInfo]) -> None:
        """Add the members of an object to the table, so that equal ones find them."""
        for info in infos:
            if info.size >= MIN_SHARED_BYTES:
                table, place = self._table(), f"{key}/{info.name}"
                row: dict[str, Value] = {"size": info.size, "digest": info.digest}
                # A row left by a program that does not maintain the table must not stop a store.
                if place in table:
                    table.replace(place, row)
                else:
                    table.insert(place, row, is_new=True)

    def remove(self, key: str, infos: Iterable[MemberInfo]) -> None:
        """Remove the members of an object from the table."""
        table = self._tables.get(layout.MEMBER_TABLE)
        if table is not None:
            for info in infos:
                place = f"{key}/{info.name}"
                if (info.size >= MIN_SHARED_BYTES or info.fault) and place in table:
                    table.remove(place)

    def is_used(self, info: MemberInfo) -> bool:
        """Return whether the table knows a member that is equal to this one; damaged, it knows none."""
        try:
            table = self._tables.get(layout.MEMBER_TABLE)
            return table is not None and bool(
                table.count([Equals("size", info.size), Equals("digest", info.digest)])
            )
        except StorageError:
            return False

    def is_intact(self, dataset: h5py.Dataset) -> bool:
        """Return whether every stored byte of a member has its check; each dataset is read once."""
        try:
            table = members.read_table(dataset)
        except (CorruptError, FormatError):
            return False
        place = _place(dataset, table.digest)
        if place not in self._intact:
            self._intact[place] = not members.verify_member(table, self._file, full=False)
        return self._intact[place]

    def forget(self, key: str) -> None:
        """Remove all rows of an object whose members cannot be listed; a damaged table is left as it is."""
        try:
            table = self._tables.get(layout.MEMBER_TABLE)
            if table is not None:
                for place in [place for place in table.rows() if place.startswith(f"{key}/")]:
                    table.remove(place)
        except StorageError:
            self._tables.distrusted.add(layout.MEMBER_TABLE)

    def _equal(self, source: Path | StoredMember, size: int) -> h5py.Dataset | None:
        table = self._table()
        if not table.count([Equals("size", size)]):
            return None
        if isinstance(source, StoredMember):
            digest = source.info.digest
        else:
            _, digest = members.member_digest(source)
        for place in table.select([Equals("size", size), Equals("digest", digest)]):
            key, _, name = place.partition("/")
            try:
                dataset = self._find(key, name)
            except (NotFoundError, CorruptError):
                continue  # The index is only an accelerator: what it says is checked on the object.
            try:
                is_equal = members.member_info(dataset, name).digest == digest
            except UNREADABLE:
                continue
            if is_equal and self.is_intact(dataset):
                return dataset
        return None

    def _table(self) -> IndexTable:
        return self._tables.get(layout.MEMBER_TABLE) or self._tables.create(
            layout.MEMBER_TABLE, MEMBER_COLUMNS
        )


def _place(dataset: h5py.Dataset, digest: str) -> tuple[int, str]:
    address, _ = nodes.address_and_names(dataset.id)
    return address, digest
