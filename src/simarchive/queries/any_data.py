"""The query for data of any class."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from simarchive.data.base import BaseStoredData
from simarchive.data.collection_kinds import ListKind, MappingKind
from simarchive.data.fields import Field, terms_of_class
from simarchive.data.kinds import FieldKind, ScalarKind, Term, TextKind
from simarchive.data.registry import registered_data_classes
from simarchive.data.value_kinds import QuantityKind
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Column, ColumnKind, Condition
from simarchive.queries.base import BaseDataQuery, substance_name_in, substance_name_of
from simarchive.queries.criteria import conditions_of

Terms = dict[str, tuple[Field, Term]]


class AnyDataQuery(BaseDataQuery):
    """A query for objects of all registered data classes: ``class=any`` in an expression.

    There is a criterion for every searchable field of any class. An object whose class has no such field has
    no value for it: it fulfils no criterion but a `Not`. `contains_components` and `excludes_components` are
    about the substances of an object, whatever the field is called.

    It is not registered as the queries for its class: those of users' own classes would be derived from it.
    """

    @classmethod
    def data_class(cls) -> type[BaseStoredData]:
        """Return `BaseStoredData`."""
        return BaseStoredData

    @classmethod
    def _terms(cls) -> Terms:
        return _all_terms(registered_data_classes())

    @classmethod
    def _substance_term(cls) -> str | None:
        return substance_name_in(cls._terms())

    @classmethod
    def term_kinds(cls, name: str) -> tuple[ScalarKind, ...]:
        """Return the kinds of values that the classes have under a name; texts, which may say all, last."""
        kinds: list[ScalarKind] = []
        for data_class in registered_data_classes():
            found = terms_of_class(data_class).get(name)
            if found is not None and not any(_are_alike(found[1].kind, kind) for kind in kinds):
                kinds.append(found[1].kind)
        return tuple(sorted(kinds, key=lambda kind: isinstance(kind, TextKind)))

    def columns(self) -> tuple[Column, ...]:
        """Return the columns of all classes; one that differs from class to class holds texts of any kind."""
        return tuple(
            Column(name, term.kind.column_kind if len(self.term_kinds(name)) == 1 else ColumnKind.IDENTIFIER)
            for name, (_, term) in self._terms().items()
        )

    def _checked(self, name: str, value: Any) -> Any:
        if name not in self._terms():
            value = super()._checked(name, value)
            if name == "order_by" and value is not None and len(self.term_kinds(value.removeprefix("-"))) > 1:
                raise InvalidDataError(
                    f"{value.removeprefix('-')} is not the same kind of value in all classes: name one class"
                )
            return value
        if value is None:
            return None
        faults = []
        for kind in self.term_kinds(name):
            try:
                conditions_of(value, name, kind)
            except InvalidDataError as error:
                faults.append(error)
        if len(faults) == len(self.term_kinds(name)):
            raise faults[0]
        return value

    def _active(self, data_class: type[BaseStoredData]) -> Iterator[tuple[Field, Term, list[Condition]]]:
        if data_class is BaseStoredData:
            return self.asked_of(self._terms(), self._substance_term())
        return self.asked_of(terms_of_class(data_class), substance_name_of(data_class))

    def _asked(self, name: str, term: Term, *, is_substance: bool) -> tuple[Condition, ...]:
        try:
            return super()._asked(name, term, is_substance=is_substance)
        except InvalidDataError:
            # Another class has another kind, for whoever wants to know what is asked of all.
            for kind in self.term_kinds(name):
                with contextlib.suppress(InvalidDataError):
                    return conditions_of(self.criteria()[name], name, kind)
            raise

    def _can_match(self, data_class: type[BaseStoredData]) -> bool:
        """Return whether what a class lacks is not asked for, and what it has may be what is asked for."""
        if data_class is BaseStoredData:
            return True
        terms = terms_of_class(data_class)
        if self.criteria().get("contains_components") and substance_name_of(data_class) is None:
            return False
        for name, criterion in self.criteria().items():
            if name not in self._terms():
                continue
            kind = terms[name][1].kind if name in terms else self._terms()[name][1].kind
            try:
                conditions = conditions_of(criterion, name, kind)
            except InvalidDataError:  # a text where this class has numbers
                return False
            if name not in terms and not all(condition.matches(None) for condition in conditions):
                return False
        return True


@lru_cache(maxsize=8)
def _all_terms(classes: tuple[type[BaseStoredData], ...]) -> Terms:
    """Return the terms of all classes, each as the first class has it; the substance comes first."""
    terms: Terms = {}
    for data_class in classes:
        for name, found in terms_of_class(data_class).items():
            terms.setdefault(name, found)
    return dict(sorted(terms.items(), key=lambda term: term[0] != "substance"))


def _are_alike(first: FieldKind, second: FieldKind) -> bool:
    if isinstance(first, QuantityKind) and isinstance(second, QuantityKind):
        return first.unit_name == second.unit_name
    if isinstance(first, ListKind | MappingKind) and isinstance(second, ListKind | MappingKind):
        return type(first) is type(second) and _are_alike(first.element, second.element)
    return type(first) is type(second)
