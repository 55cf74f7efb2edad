"""What all queries have: criteria by attribute, and conditions that decide on objects and rows alike."""

from __future__ import annotations

import difflib
import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from simarchive.chemistry.substances import Substance
from simarchive.chemistry.trees import describe
from simarchive.data.base import BaseStoredData, ReplaceableData
from simarchive.data.collection_kinds import SearchedListKind, SearchedMappingKind, SubstanceListKind
from simarchive.data.fields import Field, terms_of_class
from simarchive.data.kinds import ScalarKind, Term
from simarchive.data.value_kinds import SubstanceKind
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Column, Condition, in_words
from simarchive.ground.texts import count_text
from simarchive.queries.criteria import conditions_of
from simarchive.queries.literals import read_criterion
from simarchive.queries.substance import (
    SubstanceQuery,
    component_patterns,
    contains,
    excludes,
    is_a_component_of,
)

_SUBSTANCE_OPTIONS = ("substance_query", "contains_components", "excludes_components")


def substance_name_in(terms: dict[str, tuple[Field, Term]]) -> str | None:
    """Return which of some terms is the substance, or the substances, of an object; ``None`` if none is."""
    kinds = (SubstanceKind, SubstanceListKind)
    return next((name for name, (_, term) in terms.items() if isinstance(term.kind, kinds)), None)


@functools.cache
def substance_name_of(data_class: type[BaseStoredData]) -> str | None:
    """Return what `substance_name_in` does for the terms of a data class."""
    return substance_name_in(terms_of_class(data_class))


class BaseDataQuery(ABC):
    """A query for objects of one data class and its subclasses.

    Criteria are set as attributes, or by keywords: a value, `Between`, `AnyOf` or `Not`. A phase, a substance
    and a state may be texts as in query expressions: ``"liquid"``, ``"O|CO"``, ``"298.15K@1atm"``. An
    attribute that was not set is ``None``: no criterion. A query without criteria matches every object of the
    class.

    Attributes
    ----------
    limit
        At most so many objects are returned.
    order_by
        The index column that decides the order, with ``-`` in front for descending order; objects whose
        value is missing or NaN come last. Without it, and where values are equal, objects come class by
        class (the class of the query first, then each of its subclasses), each in the order in which they
        were stored.
    contains_components, excludes_components
        Lists of components, or SMILES for components in any role, which the substance must, or must not,
        all or any hold.
    """

    limit: int | None
    order_by: str | None
    contains_components: Any
    excludes_components: Any

    _options: ClassVar[tuple[str, ...]] = ("limit", "order_by", *_SUBSTANCE_OPTIONS)
    _values: dict[str, Any]
    # By name and kind, for a name can be of another kind in another class.
    _conditions: dict[tuple[str, ScalarKind], tuple[Condition, ...]]

    def __init__(self, **criteria: Any) -> None:
        self.__dict__["_values"] = {}
        self.__dict__["_conditions"] = {}
        for name, criterion in criteria.items():
            setattr(self, name, criterion)

    @classmethod
    @abstractmethod
    def data_class(cls) -> type[BaseStoredData]:
        """Return the class of the objects that the query can find."""

    @classmethod
    def _terms(cls) -> dict[str, tuple[Field, Term]]:
        return terms_of_class(cls.data_class())

    @classmethod
    def _substance_term(cls) -> str | None:
        return substance_name_of(cls.data_class())

    @classmethod
    def criterion_names(cls) -> tuple[str, ...]:
        """Return the names of all criteria and options that can be set."""
        has_substance = cls._substance_term() is not None
        options = [name for name in cls._options if has_substance or name not in _SUBSTANCE_OPTIONS]
        return (*cls._terms(), *options)

    def criteria(self) -> dict[str, Any]:
        """Return the criteria and options that are set, by name."""
        return dict(self._values)

    @classmethod
    def term_kinds(cls, name: str) -> tuple[ScalarKind, ...]:
        """Return the kinds of values that a criterion may be about; none for an option."""
        return (cls._terms()[name][1].kind,) if name in cls._terms() else ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.criterion_names():
            raise AttributeError(f"{type(self).__name__} has no criterion {name!r}")
        return self._values.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.criterion_names():
            close = difflib.get_close_matches(name, self.criterion_names(), 1)
            hint = f"do you mean {close[0]}?" if close else f"there are {', '.join(self.criterion_names())}"
            raise InvalidDataError(f"{type(self).__name__} has no criterion {name!r}: {hint}")
        try:
            value = self._checked(name, value)
        except InvalidDataError as error:
            raise InvalidDataError(f"{type(self).__name__}.{name}: {error}") from error
        for known in [known for known in self._conditions if known[0] == name]:
            del self._conditions[known]
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value

    def __delattr__(self, name: str) -> None:
        setattr(self, name, None)

    def _checked(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name in self._terms():
            kind = self._terms()[name][1].kind
            value = read_criterion(value, kind)
            conditions_of(value, name, kind)
            return value
        if name in ("contains_components", "excludes_components"):
            return component_patterns(value)
        if name == "substance_query":
            if not isinstance(value, SubstanceQuery):
                raise InvalidDataError(f"a SubstanceQuery is expected, not {describe(value)}")
            value.validate()
            return value
        if name == "limit":
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidDataError(f"a number of objects is expected, not {describe(value)}")
            return value
        if not isinstance(value, str) or value.removeprefix("-") not in self._terms():
            raise InvalidDataError(
                f"one of the columns {', '.join(self._terms())} is expected, not {describe(value)}"
            )
        return value

    def validate(self) -> None:
        """Raise InvalidDataError if criteria contradict each other.

        A `substance_query` needs a `substance` that is one substance.
        """
        part = self._values.get("substance_query")
        if part is None:
            return
        part.validate()
        name = self._substance_term() or "substance"
        if not isinstance(self._values.get(name), Substance):
            raise InvalidDataError(
                f"{type(self).__name__}.substance_query can only be used when {name} is set to a Substance"
            )

    def _active(self, data_class: type[BaseStoredData]) -> Iterator[tuple[Field, Term, list[Condition]]]:
        """Yield each searched term with what is asked of it, in the order the class declares them."""
        return self.asked_of(self._terms(), self._substance_term())

    def asked_of(
        self, terms: dict[str, tuple[Field, Term]], substance_term: str | None
    ) -> Iterator[tuple[Field, Term, list[Condition]]]:
        """Yield which of some terms are searched, each with its field and what is asked of it."""
        for name, (field, term) in terms.items():
            conditions: list[Condition] = []
            if name in self._values:
                conditions += self._asked(name, term, is_substance=name == substance_term)
            if name == substance_term:
                for option, make in (("contains_components", contains), ("excludes_components", excludes)):
                    if option in self._values:
                        conditions.append(make(self._values[option], name))
            if conditions:
                yield field, term, conditions

    def _asked(self, name: str, term: Term, *, is_substance: bool) -> tuple[Condition, ...]:
        criterion = self._values[name]
        if is_substance:
            # Not kept: a substance can grow after it was assigned.
            part = self._values.get("substance_query")
            if part is not None and part.components_only and isinstance(criterion, Substance):
                return (is_a_component_of(criterion, name),)
            kind = term.kind
            if part is not None and isinstance(kind, SubstanceKind):
                kind = SubstanceKind(part.mole_fraction_tolerance)
            return conditions_of(criterion, name, kind)
        conditions = self._conditions.get((name, term.kind))
        if conditions is None:
            conditions = self._conditions[name, term.kind] = conditions_of(criterion, name, term.kind)
        return conditions

    def apply(self, data_object: object) -> tuple[Any, ...] | None:
        """Return the values of an object that the criteria were about, or None if one does not match.

        The values stand in the order in which the data class declares them, the substance first; they are
        the object's own. A query without criteria gives ``()``.
        """
        self.validate()
        if not isinstance(data_object, self.data_class()) or not self._can_match(type(data_object)):
            return None
        matched = []
        for field, term, conditions in self._active(type(data_object)):
            value = getattr(data_object, field.name)
            index_value = term.index_value(value)
            if not all(condition.matches(index_value) for condition in conditions):
                return None
            matched.append(_matched(term.value_of(value), self._values.get(term.name)))
        return tuple(matched)

    def _can_match(self, data_class: type[BaseStoredData]) -> bool:
        return True

    def conditions(self) -> tuple[Condition, ...]:
        """Return the conditions over the columns of the class's index that say what the query asks."""
        return self.conditions_in(self.data_class()) or ()

    def conditions_in(self, data_class: type[BaseStoredData]) -> tuple[Condition, ...] | None:
        """Return the conditions over the columns of one of the classes that are searched.

        ``None`` if no object of this class can match.
        """
        self.validate()
        if not self._can_match(data_class):
            return None
        return tuple(condition for _, _, conditions in self._active(data_class) for condition in conditions)

    def columns(self) -> tuple[Column, ...]:
        """Return the columns of the index that a table of the matches has."""
        return self.data_class().index_columns()

    @classmethod
    def from_data_object(cls, data_object: BaseStoredData) -> Self:
        """Return the query that an object, and others of the same measurement, match.

        Raises
        ------
        InvalidDataError
            If the object is of another class.
        """
        if not isinstance(data_object, cls.data_class()):
            raise InvalidDataError(
                f"{cls.__name__} finds {cls.data_class().__name__}, not {type(data_object).__name__}"
            )
        query = cls()
        identity = data_object.identity_fields if isinstance(data_object, ReplaceableData) else None
        for name, (field, term) in cls._terms().items():
            # What is in a list or mapping does not say what was measured.
            is_collection = isinstance(term.kind, SearchedListKind | SearchedMappingKind)
            is_identity = identity is None or name in identity
            if term.part is not None or is_collection or not is_identity:
                continue
            value = getattr(data_object, field.name)
            if value is not None:
                setattr(query, name, value)
        return query

    def explain(self) -> str:
        """Return in words what the index is asked, line by line."""
        asked = [f"  index: {condition.column} {in_words(condition)}" for condition in self.conditions()]
        lines = [
            f"{type(self).__name__} for {self.data_class().__name__} and its subclasses",
            *(asked or ["  no criteria: every object matches"]),
        ]
        if self.order_by is not None:
            direction = "descending" if self.order_by.startswith("-") else "ascending"
            lines.append(f"  ordered by {self.order_by.removeprefix('-')}, {direction}")
        if self.limit is not None:
            lines.append(f"  at most {count_text(self.limit, 'object')}")
        return "\n".join(lines)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseDataQuery):
            return NotImplemented
        return type(self) is type(other) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        return {"_values": self._values, "_conditions": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        criteria = ", ".join(
            f"{name}={self._values[name]!r}" for name in self.criterion_names() if name in self._values
        )
        return f"{type(self).__name__}({criteria})"


def _matched(value: Any, criterion: Any) -> Any:
    """Return a value that can stand in the key of a dict; of values by name those that were asked for."""
    if isinstance(value, dict):
        if isinstance(criterion, dict):
            return tuple(value.get(name) for name in criterion)
        return tuple(sorted(value.items(), key=lambda pair: pair[0]))
    return tuple(value) if isinstance(value, list) else value
