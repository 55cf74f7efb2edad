"""Query expressions: a query in one line of text, as the command line takes it.

An expression is a list of criteria with spaces between them; all of them must hold::

    substance=O phase=liquid temperature=290..310K pressure=1atm
    class=run engine=gromacs atoms>10000 tag=apo metadata.seed=1..5
    contains=CCO excludes=O,CO class=equilibration molecules>=100 order_by=-temperature limit=10

criterion
    ``name=value``, ``name!=value``, ``name>=bound``, ``name<=bound``; for plain numbers also ``name>bound``
    and ``name<bound``. Names are those of the fields, or short: phase, molecules, max_molecules, force_field,
    calculation, layer, inefficiency, state, T, P, model, atoms, residues, frames, tag.
lists
    ``tags=apo``: a list that has this element; ``sizes>=3``: one that fulfils a criterion. ``tag=apo,holo``
    is one of several, ``tag!=apo`` none; given more than once, all must be there: ``tag=apo tag=final``.
mappings
    ``metadata.seed=5``, ``metadata.coupling>=0.5ps``, ``metadata."force field"=opls``: a value by its name;
    ``metadata=seed``: whatever it is. ``metadata=seed:5`` is ``metadata.seed=5``. What may be of any kind
    means the text and what else it reads as: a number, a quantity, true or false.
value
    One value, or several with commas: one of them. ``!`` in front of a value negates it; ``none`` is a number
    that is not set. A value with spaces or commas stands in single or double quotes.
range
    ``low..high``, both ends included; either may be left out. The unit may stand at the end for both, so
    ``290..310K`` is ``290K..310K``.
substance
    SMILES joined by ``|``, each with an optional role and amount: ``O``, ``O|CO`` (equal mole fractions),
    ``C{sol}{n=1}|O{solv}{x=1}``. ``components_of=O|CO`` finds pure data of any of the components.
contains, excludes
    SMILES with commas, each with an optional role; all, or none, must be in the substance.
state
    Temperature and pressure, ``298.15K@1atm``, or a temperature alone for a state without pressure.
class
    simulation (as is without this criterion), run, equilibration, free_energy, force_field, trained_model,
    the name of any registered data class, or any: all of them.
limit, order_by
    How many objects at most, and the column that orders them, with ``-`` for descending order.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

from simarchive.chemistry.trees import shortened
from simarchive.data.base import BaseStoredData
from simarchive.data.collection_kinds import SearchedListKind, SearchedMappingKind
from simarchive.data.kinds import FieldKind, ScalarKind
from simarchive.data.registry import data_class_named, registered_data_classes
from simarchive.data.searched_kinds import AnyValueKind
from simarchive.errors import InvalidDataError, QuerySyntaxError
from simarchive.ground.vocabulary.criteria import ALIASES, ANY_CLASS, CLASS_ALIASES, CRITERION
from simarchive.queries.any_data import AnyDataQuery
from simarchive.queries.base import BaseDataQuery
from simarchive.queries.criteria import AnyOf, Between, Not
from simarchive.queries.literals import (
    open_range,
    open_range_of_any,
    read_any_value,
    read_component,
    read_literal,
    read_substance,
)
from simarchive.queries.registry import query_class_for
from simarchive.queries.substance import SubstanceQuery

LONGEST = 100_000
"""So many characters may an expression have."""

_SHOWN_WHOLE = 400
_SHOWN_BEFORE = 60

_LONGEST_LIMIT = 18  # digits, so that it fits 64 bits
_VALUE = re.compile(r"[^ ,]*")
_COMPONENT_LISTS = ("contains_components", "excludes_components")


@dataclass(frozen=True)
class _Part:
    """A piece of an expression and where it begins."""

    text: str
    start: int
    is_quoted: bool = False
    is_negated: bool = False


@dataclass(frozen=True)
class _Clause:
    name: _Part
    operator: _Part
    values: tuple[_Part, ...]

    @property
    def first(self) -> _Part:
        return self.values[0]


def parse_query(
    expression: str, data_class: Callable[[str], type[BaseStoredData] | None] = data_class_named
) -> BaseDataQuery:
    """Return the query that an expression writes.

    Parameters
    ----------
    expression
        As the head of `simarchive.queries.expression` says.
    data_class
        Returns the data class of a name; by default of those that are registered.

    Raises
    ------
    QuerySyntaxError
        If it cannot be read. The message shows the expression with a mark under the place.
    """
    return _Parser(expression, data_class).query()


class _Parser:
    def __init__(self, expression: str, data_class: Callable[[str], type[BaseStoredData] | None]) -> None:
        self._data_class = data_class
        if not isinstance(expression, str):
            raise QuerySyntaxError(f"a query expression must be a text, not {type(expression).__name__}")
        if len(expression) > LONGEST:
            raise QuerySyntaxError(
                f"a query expression must have at most {LONGEST:,} characters, not {len(expression):,}:"
                " build the query in Python"
            )
        self._text = re.sub(r"\s", " ", expression)

    def _fail(self, problem: str, part: _Part, cause: Exception | None = None) -> NoReturn:
        # Of a long expression only the surroundings of the place are shown.
        first = max(0, part.start - _SHOWN_BEFORE) if len(self._text) > _SHOWN_WHOLE else 0
        shown = self._text[first : first + _SHOWN_WHOLE]
        before, after = "... " if first else "", " ..." if first + len(shown) < len(self._text) else ""
        if len(problem) > _SHOWN_WHOLE:
            problem = f"{problem[:_SHOWN_WHOLE]} ..."
        marks = "^" * max(1, min(len(part.text), len(shown) - (part.start - first)))
        indent = " " * (len(before) + part.start - first)
        raise QuerySyntaxError(f"{problem}\n  {before}{shown}{after}\n  {indent}{marks}") from cause

    def query(self) -> BaseDataQuery:
        clauses = self._clauses()
        query = self._query_of_class([clause for clause in clauses if clause.name.text == "class"])
        seen: set[str] = set()
        for clause in clauses:
            if clause.name.text == "class":
                continue
            clause = self._by_name(clause, query)
            name = self._criterion_name(clause, query)
            if name in seen and _is_of(query, name, SearchedListKind):
                self._add_element(query, name, clause)
                continue
            if name in seen:
                self._fail(f"{clause.name.text} is given twice: use a range or commas", clause.name)
            seen.add(name)
            self._set(query, name, clause)
        try:
            query.validate()
        except InvalidDataError as error:
            self._fail(str(error), _Part(self._text, 0), error)
        return query

    # Reading

    def _clauses(self) -> list[_Clause]:
        clauses, position = [], 0
        while position < len(self._text):
            if self._text[position] == " ":
                position += 1
                continue
            match = CRITERION.match(self._text, position)
            if match is None:
                word = _Part(self._text[position:].partition(" ")[0], position)
                self._fail("a criterion such as temperature=290..310K is expected", word)
            values, position = self._values(match.end())
            name, operator = (_Part(match[group], match.start(group)) for group in ("name", "operator"))
            clauses.append(_Clause(name, operator, values))
        return clauses

    def _values(self, position: int) -> tuple[tuple[_Part, ...], int]:
        values = []
        while True:
            value, position = self._value(position)
            values.append(value)
            if position >= len(self._text) or self._text[position] != ",":
                return tuple(values), position
            position += 1

    def _value(self, start: int) -> tuple[_Part, int]:
        """Read one value, whose quotes are dropped, up to a space or comma."""
        is_negated = self._text[start : start + 1] == "!"
        begin = start + is_negated
        quote = self._text[begin : begin + 1]
        if quote and quote in "'\"":
            end = self._text.find(quote, begin + 1)
            if end < 0:
                self._fail("this quote is not closed", _Part(quote, begin))
            text, after = self._text[begin + 1 : end], end + 1
            if after < len(self._text) and self._text[after] not in " ,":
                self._fail("a space or comma is expected after a quote", _Part(self._text[after], after))
            return _Part(text, begin + 1, True, is_negated), after
        match = _VALUE.match(self._text, begin)
        text = match[0] if match else ""
        if not text:
            self._fail("a value is expected", _Part("", begin))
        return _Part(text, begin, False, is_negated), begin + len(text)

    # Meaning

    def _by_name(self, clause: _Clause, query: BaseDataQuery) -> _Clause:
        """Return ``metadata.key=value`` for ``metadata=key:value``, which means the same."""
        if "." in clause.name.text or not _is_of(
            query, self._criterion_name(clause, query), SearchedMappingKind
        ):
            return clause
        name, value = _name_and_value(clause.first)
        if value is None or clause.first.is_negated or len(clause.values) > 1:
            return clause
        return replace(clause, name=replace(clause.name, text=f"{clause.name.text}.{name}"), values=(value,))

    def _query_of_class(self, clauses: list[_Clause]) -> BaseDataQuery:
        if len(clauses) > 1:
            self._fail("class is given twice", clauses[1].name)
        if not clauses:
            return self._new_query("StoredSimulationData")
        clause = clauses[0]
        if clause.operator.text != "=" or len(clause.values) > 1:
            self._fail("class takes one name after =", clause.name)
        wanted = clause.first.text
        if wanted.lower() == ANY_CLASS:
            return AnyDataQuery()
        name = CLASS_ALIASES.get(wanted.replace("-", "_").lower(), wanted)
        if self._data_class(name) is None:
            known = [ANY_CLASS, *CLASS_ALIASES, *(cls.data_class_name for cls in registered_data_classes())]
            self._fail(
                f"there is no data class {shortened(wanted)}; there are {', '.join(known)}", clause.first
            )
        return self._new_query(name)

    def _new_query(self, name: str) -> BaseDataQuery:
        data_class = self._data_class(name)
        assert data_class is not None
        return query_class_for(data_class)()

    def _criterion_name(self, clause: _Clause, query: BaseDataQuery) -> str:
        written, dot, inner = clause.name.text.partition(".")
        name = self._name_of(written, clause, query)
        if dot and not _is_of(query, name, SearchedMappingKind):
            self._fail(f"{written} has no values with names: leave out what follows the dot", clause.name)
        return f"{name}.{inner}" if dot else name

    def _name_of(self, written: str, clause: _Clause, query: BaseDataQuery) -> str:
        name = ALIASES.get(written, written.replace("-", "_"))
        names = query.criterion_names()
        if written in names:
            return written
        if name == "components_of" and "substance_query" in names:
            return name
        if name not in names or name == "substance_query":
            known = [*names, *(short for short, long in ALIASES.items() if long in names)]
            close = difflib.get_close_matches(written, known, 1)
            hint = f"do you mean {close[0]}?" if close else f"there are {', '.join(names)}"
            self._fail(f"{type(query).__name__} has no criterion {shortened(written)}: {hint}", clause.name)
        return name

    def _set(self, query: BaseDataQuery, name: str, clause: _Clause) -> None:
        if name in _COMPONENT_LISTS:
            self._only_equals(clause)
            patterns = []
            for value in clause.values:
                if value.is_negated:
                    self._fail("contains and excludes take no !: use the other one", value)
                patterns.append(self._try(partial(read_component, value.text), value))
            setattr(query, name, patterns)
        elif "." in name:
            self._set_value_named(query, name, clause)
        elif name == "components_of":
            self._only_equals(clause, single=True)
            substance = self._try(lambda: read_substance(clause.first.text), clause.first)
            self._try(lambda: setattr(query, "substance", substance), clause.name)
            query.substance_query = SubstanceQuery(components_only=True)
        elif name in ("limit", "order_by"):
            self._only_equals(clause, single=True)
            self._try(lambda: setattr(query, name, _option(name, clause.first.text)), clause.first)
        else:
            criterion = self._criterion(query, name, clause)
            self._try(lambda: setattr(query, name, criterion), clause.first)

    def _add_element(self, query: BaseDataQuery, name: str, clause: _Clause) -> None:
        """Ask for one more element of a list besides those that were asked for."""
        known, criterion = getattr(query, name), self._criterion(query, name, clause)
        if any(isinstance(asked, AnyOf | Not) for asked in (known, criterion)):
            self._fail(f"{clause.name.text} is given twice: then each takes = and one value", clause.name)
        wanted = [*known, criterion] if isinstance(known, list) else [known, criterion]
        self._try(lambda: setattr(query, name, wanted), clause.first)

    def _set_value_named(self, query: BaseDataQuery, name: str, clause: _Clause) -> None:
        """Ask for a value by its name, as ``metadata.seed=5`` does."""
        name, _, inner = name.partition(".")
        criterion = self._criterion(query, name, clause, is_named=True)
        known = getattr(query, name) or {}
        if not isinstance(known, dict):
            self._fail(f"{name} is given twice: use a range or commas", clause.name)
        self._try(lambda: setattr(query, name, {**known, inner.strip('"'): criterion}), clause.first)

    def _only_equals(self, clause: _Clause, *, single: bool = False) -> None:
        if clause.operator.text != "=":
            self._fail(f"{clause.name.text} takes =", clause.operator)
        if single and len(clause.values) > 1:
            self._fail(f"{clause.name.text} takes one value", clause.values[1])

    def _try(self, action: Callable[[], Any], part: _Part) -> Any:
        try:
            return action()
        except InvalidDataError as error:
            return self._fail(str(error), part, error)

    def _criterion(self, query: BaseDataQuery, name: str, clause: _Clause, *, is_named: bool = False) -> Any:
        """Return what a clause asks, as the first of the kinds reads it that a field may have.

        If it `is_named`, that is about a value of a mapping, whose name stands before the operator.
        """
        kinds: list[FieldKind] = list(query.term_kinds(name))
        if is_named:
            kinds = [kind.element for kind in kinds if isinstance(kind, SearchedMappingKind)]
        for kind in kinds[:-1]:
            with contextlib.suppress(QuerySyntaxError):
                return self._criterion_of(kind, clause)
        return self._criterion_of(kinds[-1], clause)

    def _criterion_of(self, kind: FieldKind, clause: _Clause) -> Any:
        operator = clause.operator.text
        if operator in ("=", "!="):
            choices = [self._choice(value, kind) for value in clause.values]
            criterion = choices[0] if len(choices) == 1 else AnyOf(*choices)
            return criterion if operator == "=" else Not(criterion)
        if len(clause.values) > 1:
            self._fail(f"{operator} takes one value", clause.values[1])
        if isinstance(kind, SearchedMappingKind):
            self._fail(f"{operator} takes a name and a value: name:3", clause.first)
        if isinstance(kind, SearchedListKind):
            kind = kind.element
        if isinstance(kind, AnyValueKind):
            return self._try(lambda: open_range_of_any(operator, clause.first.text), clause.first)
        assert isinstance(kind, ScalarKind)
        return self._try(lambda: open_range(operator, clause.first.text, kind), clause.first)

    def _choice(self, value: _Part, kind: FieldKind) -> Any:
        if value.is_negated:
            return Not(self._choice(replace(value, is_negated=False), kind))
        if isinstance(kind, SearchedMappingKind):
            name, rest = _name_and_value(value)
            return name if rest is None else {name: self._choice(rest, kind.element)}
        if isinstance(kind, SearchedListKind):
            return self._choice(value, kind.element)
        if isinstance(kind, AnyValueKind):
            return self._try(lambda: read_any_value(value.text), value)
        assert isinstance(kind, ScalarKind)
        if value.text == "none" and kind.is_number:
            return Not(Between())
        low, dots, high = value.text.partition("..")
        if not dots or not kind.is_number:
            return self._try(lambda: read_literal(value.text, kind), value)
        if not low and not high:
            self._fail("a range needs at least one end", value)
        low_part, high_part = _Part(low, value.start), _Part(high, value.start + len(low) + 2)
        # The high end first: if the unit, which may count for both, is wrong, the mark stands there.
        upper = self._try(lambda: read_literal(high, kind), high_part) if high else None
        lower = self._try(lambda: read_literal(low, kind, unit_of=high), low_part) if low else None
        return Between(lower, upper)


def _name_and_value(part: _Part) -> tuple[str, _Part | None]:
    name, colon, text = part.text.partition(":")
    return name, replace(part, text=text, start=part.start + len(name) + 1) if colon else None


def _is_of(query: BaseDataQuery, name: str, kind: type[Any]) -> bool:
    return any(isinstance(known, kind) for known in query.term_kinds(name))


def _option(name: str, text: str) -> Any:
    if name == "limit":
        if not text.isdecimal() or len(text) > _LONGEST_LIMIT:
            raise InvalidDataError(f"limit must be a number of objects, not {shortened(text)}")
        return int(text)
    sign = "-" if text.startswith("-") else ""
    column = text.removeprefix("-")
    return sign + ALIASES.get(column, column)
