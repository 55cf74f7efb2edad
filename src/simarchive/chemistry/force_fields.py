"""Force field sources: what a program needs to find or rebuild a force field."""

from __future__ import annotations

import enum
import hashlib
import json
import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from simarchive.chemistry.trees import Tree, describe, fields_of
from simarchive.chemistry.units import as_quantity, quantity_from_tree, quantity_to_tree
from simarchive.errors import InvalidDataError, NotFoundError

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity

DEFAULT_CUTOFF = "9.0 angstrom"


class ForceFieldSource(ABC):
    """Where a force field comes from; immutable, and equal if the canonical JSON is."""

    type_name: ClassVar[str]

    @abstractmethod
    def to_tree(self) -> Tree:
        """Return the type and the fields of the source."""

    @classmethod
    @abstractmethod
    def _from_fields(cls, tree: Tree) -> Self:
        """Return the source of a tree of this type."""

    @staticmethod
    def from_tree(tree: Tree) -> ForceFieldSource:
        """Return the source of a tree; only the types known here are built."""
        name = tree.get("type") if isinstance(tree, dict) else None
        kind = SOURCE_TYPES.get(name) if isinstance(name, str) else None
        if kind is None:
            raise InvalidDataError(
                f"{name!r} is not a type of force field source: use one of {', '.join(SOURCE_TYPES)}"
            )
        return kind._from_fields(tree)

    @cached_property
    def canonical_json(self) -> str:
        """The JSON text that decides equality: sorted names, no spaces."""
        return json.dumps(
            self.to_tree(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of `canonical_json`, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()

    def json(self) -> str:
        """Return the canonical JSON."""
        return self.canonical_json

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ForceFieldSource):
            return NotImplemented
        return self.canonical_json == other.canonical_json

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._summary()}>"

    def _summary(self) -> str:
        return self.canonical_json


class SmirnoffForceFieldSource(ForceFieldSource):
    """A force field in the SMIRNOFF format.

    Parameters
    ----------
    inner_xml
        The XML text of the force field.
    """

    type_name = "Smirnoff"

    def __init__(self, inner_xml: str) -> None:
        self._inner_xml = _text(inner_xml, "the XML of a SMIRNOFF force field")
        if not inner_xml.strip():
            raise InvalidDataError("the XML of a SMIRNOFF force field must not be empty")

    @property
    def inner_xml(self) -> str:
        """The XML text of the force field."""
        return self._inner_xml

    @classmethod
    def from_path(cls, file_path: str | os.PathLike[str]) -> Self:
        """Return the source of an .offxml file, with the text it has.

        Raises
        ------
        NotFoundError
            If there is no such file.
        """
        try:
            return cls(Path(file_path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no force field file {os.fspath(file_path)!r}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidDataError(f"{os.fspath(file_path)!r} cannot be read as text: {error}") from error

    @classmethod
    def from_object(cls, force_field: Any) -> Self:
        """Return the source of a ForceField of the OpenFF toolkit, without cosmetic attributes."""
        return cls(force_field.to_string("XML", discard_cosmetic_attributes=True))

    def to_force_field(self) -> Any:
        """Return the ForceField of the OpenFF toolkit, which must be installed."""
        from openff.toolkit.typing.engines.smirnoff import ForceField

        return ForceField(self._inner_xml, load_plugins=True)

    def to_tree(self) -> Tree:
        """Return type and XML."""
        return {"type": self.type_name, "inner_xml": self._inner_xml}

    @classmethod
    def _from_fields(cls, tree: Tree) -> Self:
        return cls(fields_of(tree, "a SMIRNOFF source", ("type", "inner_xml"))["inner_xml"])

    def __eq__(self, other: object) -> bool:
        # The same as equal canonical JSON, which for this class takes long to write.
        if isinstance(other, SmirnoffForceFieldSource):
            return self._inner_xml == other._inner_xml
        return super().__eq__(other)

    __hash__ = ForceFieldSource.__hash__

    def _summary(self) -> str:
        return f"{len(self._inner_xml)} characters of XML, SHA-256 {self.digest[:12]}"


class TLeapForceFieldSource(ForceFieldSource):
    """An Amber force field that tleap applies.

    Parameters
    ----------
    leap_source
        The parameter file to source: ``leaprc.gaff`` or ``leaprc.gaff2``.
    cutoff
        The cutoff of non-bonded interactions.
    """

    type_name = "TLeap"

    def __init__(self, leap_source: str = "leaprc.gaff2", cutoff: Quantity | str = DEFAULT_CUTOFF) -> None:
        if not isinstance(leap_source, str) or leap_source not in ("leaprc.gaff", "leaprc.gaff2"):
            raise InvalidDataError(f"leap source {leap_source!r} must be 'leaprc.gaff' or 'leaprc.gaff2'")
        self._leap_source = leap_source
        self._cutoff = _cutoff(cutoff)

    @property
    def leap_source(self) -> str:
        """The parameter file to source."""
        return self._leap_source

    @property
    def cutoff(self) -> Quantity:
        """The cutoff of non-bonded interactions."""
        return self._cutoff

    def to_tree(self) -> Tree:
        """Return type, leap source and cutoff."""
        return {
            "type": self.type_name,
            "leap_source": self._leap_source,
            "cutoff": quantity_to_tree(self._cutoff),
        }

    @classmethod
    def _from_fields(cls, tree: Tree) -> Self:
        fields = fields_of(tree, "a TLeap source", ("type", "leap_source", "cutoff"))
        return cls(fields["leap_source"], quantity_from_tree(fields["cutoff"], "the cutoff"))


class LigParGenForceFieldSource(ForceFieldSource):
    """The OPLS-AA force field as the LigParGen server gives it.

    Parameters
    ----------
    preferred_charge_model
        The charge model to ask for.
    cutoff
        The cutoff of non-bonded interactions.
    request_url, download_url
        Addresses of the server.
    """

    type_name = "LigParGen"

    class ChargeModel(enum.Enum):
        """The charge models of LigParGen."""

        CM1A_1_14_LBCC = "1.14*CM1A-LBCC"
        CM1A_1_14 = "1.14*CM1A"

    def __init__(
        self,
        preferred_charge_model: ChargeModel | str = ChargeModel.CM1A_1_14_LBCC,
        cutoff: Quantity | str = DEFAULT_CUTOFF,
        request_url: str = "",
        download_url: str = "",
    ) -> None:
        try:
            self._preferred_charge_model = self.ChargeModel(preferred_charge_model)
        except ValueError as error:
            known = ", ".join(model.value for model in self.ChargeModel)
            raise InvalidDataError(
                f"{preferred_charge_model!r} is not a charge model: use one of {known}"
            ) from error
        self._cutoff = _cutoff(cutoff)
        self._request_url = _text(request_url, "the request URL")
        self._download_url = _text(download_url, "the download URL")

    @property
    def preferred_charge_model(self) -> ChargeModel:
        """The charge model to ask for."""
        return self._preferred_charge_model

    @property
    def cutoff(self) -> Quantity:
        """The cutoff of non-bonded interactions."""
        return self._cutoff

    @property
    def request_url(self) -> str:
        """Where parameters are asked for."""
        return self._request_url

    @property
    def download_url(self) -> str:
        """Where parameters are fetched."""
        return self._download_url

    def to_tree(self) -> Tree:
        """Return type, charge model, cutoff and addresses."""
        return {
            "type": self.type_name,
            "preferred_charge_model": self._preferred_charge_model.value,
            "cutoff": quantity_to_tree(self._cutoff),
            "request_url": self._request_url,
            "download_url": self._download_url,
        }

    @classmethod
    def _from_fields(cls, tree: Tree) -> Self:
        names = ("type", "preferred_charge_model", "cutoff", "request_url", "download_url")
        fields = fields_of(tree, "a LigParGen source", names)
        return cls(
            fields["preferred_charge_model"],
            quantity_from_tree(fields["cutoff"], "the cutoff"),
            fields["request_url"],
            fields["download_url"],
        )


class FoyerForceFieldSource(ForceFieldSource):
    """A force field that Foyer applies.

    Parameters
    ----------
    foyer_source
        ``oplsaa`` or a Foyer XML file.
    cutoff
        The cutoff of non-bonded interactions.
    """

    type_name = "Foyer"

    def __init__(self, foyer_source: str = "", cutoff: Quantity | str = "0.9 nanometer") -> None:
        self._foyer_source = _text(foyer_source, "the Foyer source")
        self._cutoff = _cutoff(cutoff)

    @property
    def foyer_source(self) -> str:
        """The name or file of the force field."""
        return self._foyer_source

    @property
    def cutoff(self) -> Quantity:
        """The cutoff of non-bonded interactions."""
        return self._cutoff

    def to_tree(self) -> Tree:
        """Return type, Foyer source and cutoff."""
        return {
            "type": self.type_name,
            "foyer_source": self._foyer_source,
            "cutoff": quantity_to_tree(self._cutoff),
        }

    @classmethod
    def _from_fields(cls, tree: Tree) -> Self:
        fields = fields_of(tree, "a Foyer source", ("type", "foyer_source", "cutoff"))
        return cls(fields["foyer_source"], quantity_from_tree(fields["cutoff"], "the cutoff"))


SOURCE_TYPES: dict[str, type[ForceFieldSource]] = {
    kind.type_name: kind
    for kind in (
        SmirnoffForceFieldSource,
        TLeapForceFieldSource,
        LigParGenForceFieldSource,
        FoyerForceFieldSource,
    )
}
"""The types of sources by their permanent names."""


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidDataError(f"{what} must be a text, not {describe(value)}")
    return value


def _cutoff(value: Quantity | str) -> Quantity:
    cutoff = as_quantity(value, "the cutoff of a force field", compatible_with="nanometer")
    if not isinstance(cutoff.magnitude, int | float) or not 0 < float(cutoff.magnitude) < float("inf"):
        raise InvalidDataError(f"the cutoff of a force field must be one positive length, not {cutoff}")
    return cutoff
