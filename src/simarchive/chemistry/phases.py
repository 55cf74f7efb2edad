"""Phases of a substance."""

from __future__ import annotations

import enum

from simarchive.errors import InvalidDataError


class PropertyPhase(enum.IntFlag):
    """The phase, or phases, in which something was measured; combine with ``|``."""

    Undefined = 0
    Solid = 1
    Liquid = 2
    Gas = 4

    @classmethod
    def from_string(cls, enum_string: str) -> PropertyPhase:
        """Return the phase of a text such as ``Liquid + Gas``; the empty text is undefined.

        Raises
        ------
        InvalidDataError
            If a name is none of Solid, Liquid, Gas and Undefined (upper or lower case).
        """
        phase = cls.Undefined
        for name in filter(None, (part.strip() for part in enum_string.split("+"))):
            try:
                phase |= cls[name.capitalize()]
            except KeyError as error:
                raise InvalidDataError(f"{name!r} is not a phase: use Solid, Liquid or Gas") from error
        return phase

    @classmethod
    def from_tree(cls, tree: object) -> PropertyPhase:
        """Return the phase of a number from 0 to 7."""
        if isinstance(tree, bool) or not isinstance(tree, int) or not 0 <= tree <= 7:
            raise InvalidDataError(f"{tree!r} is not a phase: a number from 0 to 7 is expected")
        return cls(tree)

    def to_tree(self) -> int:
        """Return the number of the phase."""
        return int(self)

    def __str__(self) -> str:
        return " + ".join(str(phase.name) for phase in (self.Solid, self.Liquid, self.Gas) if phase & self)

    def __repr__(self) -> str:
        return f"<PropertyPhase {self}>"
