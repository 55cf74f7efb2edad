"""An object on its way into a store, and what is derived from it: each once, and only if it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from simarchive.container.documents import identity_digest
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Condition, Equals, Value
from simarchive.storage.ancillary import AncillaryData, check_fits

if TYPE_CHECKING:
    from simarchive.data import BaseStoredData


class Incoming:
    """An object that is to be stored, or looked for; neither it nor its files may change meanwhile.

    Parameters
    ----------
    ancillary
        Its files; ``None`` if it has none, or if they do not matter.
    """

    def __init__(self, stored: BaseStoredData, ancillary: AncillaryData | None = None) -> None:
        self.stored = stored
        self.ancillary = ancillary
        self.damaged_twins: list[str] = []
        """Keys of stored objects that may be the same, but cannot be read."""

    @classmethod
    def checked(cls, stored: BaseStoredData, ancillary: AncillaryData | None) -> Self:
        """Return an object that is complete, as its ancillary data is.

        Raises
        ------
        InvalidDataError
            If something is missing, or as `ancillary.check_fits`.
        """
        stored.validate()
        check_fits(stored, ancillary)
        return cls(stored, ancillary)

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path | None]:
        """Give a directory of its ancillary data, which may vanish after the block, or ``None``."""
        if self.ancillary is None:
            yield None
            return
        with self.ancillary.directory() as path:
            yield path

    @property
    def class_name(self) -> str:
        """The permanent name of its data class."""
        return type(self.stored).data_class_name

    @cached_property
    def document(self) -> dict[str, Any]:
        """Its tree, not checked yet."""
        return self.stored.to_document()

    @cached_property
    def identity(self) -> str:
        """The identity digest of class and document."""
        return identity_digest(self.class_name, self.document)

    @cached_property
    def likeness(self) -> str:
        """A digest that it shares with every object that equals it, in whatever unit or order that says so.

        Empty if there is none: such objects can only be compared one by one.
        """
        try:
            # What stands in the index under the name of a field decides whether its values are equal.
            tree = {
                name: _plain(self.index_values[name]) if name in self.index_values else value
                for name, value in self.document.items()
            }
            return identity_digest(self.class_name, tree)
        except InvalidDataError:
            return ""

    @property
    def is_replaceable(self) -> bool:
        """Whether it is one of several measurements of the same that there can be."""
        from simarchive.data import ReplaceableData

        return isinstance(self.stored, ReplaceableData)

    @property
    def is_hashable(self) -> bool:
        """Whether its document alone says whether another object is the same."""
        from simarchive.data import HashableStoredData

        return isinstance(self.stored, HashableStoredData)

    @property
    def is_undescribed(self) -> bool:
        """Whether nothing but its document is known of it, so that no row of an index can be made."""
        from simarchive.data.schemas import UndescribedData

        return isinstance(self.stored, UndescribedData)

    def _identity_fields(self) -> tuple[str, ...]:
        names: tuple[str, ...] = type(self.stored).identity_fields  # type: ignore[attr-defined]
        return names

    @cached_property
    def measurement(self) -> tuple[str, ...] | None:
        """What it shares with all measurements of the same calculation; ``None`` for other classes."""
        if not self.is_replaceable:
            return None
        values = (self.index_values.get(name) for name in self._identity_fields())
        return (self.class_name, *(repr(_plain(value)) for value in values))

    def marks(self) -> tuple[Hashable, ...]:
        """Return values of which two objects share at least one if `duplicates` may call them the same."""
        likeness = (self.class_name, self.likeness)
        return (likeness,) if self.measurement is None else (likeness, self.measurement)

    @cached_property
    def index_values(self) -> dict[str, Value]:
        """What stands in each column of the index of its class."""
        return self.stored.index_values()

    def same_measurement(self) -> list[Condition]:
        """Return conditions on the index that all other measurements of the same calculation fulfil."""
        values = ((name, self.index_values.get(name)) for name in self._identity_fields())
        return [Equals(name, value) for name, value in values if value is not None and value == value]

    def readable_document(self) -> dict[str, Any]:
        """Return the document, after checking that what is read from it equals the object.

        Raises
        ------
        InvalidDataError
            If it could not be read back, or would not be the same.
        """
        return self.stored.check_readable(self.document)


def _plain(value: Value) -> Value:
    """Return one value for all that count as equal: the two zeros, and every NaN."""
    if isinstance(value, float):
        return "NaN" if value != value else value + 0.0
    return value
