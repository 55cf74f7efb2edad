"""Fields of data classes: what an annotation means for storage, indexing and queries."""

from __future__ import annotations

import ast
import enum
import inspect
import itertools
import textwrap
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from pydantic import BaseModel

from simarchive.chemistry.force_fields import ForceFieldSource
from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import Substance
from simarchive.chemistry.units import is_quantity_class
from simarchive.data.collection_kinds import list_kind, mapping_kind
from simarchive.data.kinds import (
    BooleanKind,
    EnumKind,
    FieldKind,
    FilePath,
    FilePathKind,
    IntegerKind,
    RealKind,
    Term,
    TextKind,
    UnindexedTextKind,
)
from simarchive.data.searched_kinds import AnyValueKind, TagsKind, ValuesByNameKind
from simarchive.data.value_kinds import (
    ArrayKind,
    ForceFieldKind,
    PhaseKind,
    QuantityKind,
    StateKind,
    SubstanceKind,
    ValueKind,
)
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import ColumnKind


@dataclass(frozen=True)
class InUnit:
    """Marks a quantity with the unit of its index column: ``Annotated[Quantity, InUnit("picosecond")]``."""

    unit_name: str
    absolute_tolerance: float | None = None  #: how far beside a bound, in this unit, still matches


@dataclass(frozen=True)
class Searched:
    """Marks a list or dict whose elements queries search: ``Annotated[list[str], Searched()]``.

    A ``list[str]`` holds tags, each found by itself; a ``dict`` from ``str`` to numbers, or to ``Any`` for
    numbers, texts, truth values and quantities, holds values that are found by name, as ``field.name=value``.
    """


@dataclass(frozen=True)
class NotIndexed:
    """Marks a text, list or dict that queries do not search: ``Annotated[str, NotIndexed()]``."""


@dataclass(frozen=True)
class Field:
    """One field of a data class."""

    name: str
    kind: FieldKind
    is_optional: bool

    @property
    def terms(self) -> tuple[Term, ...]:
        """What queries can search in the field."""
        return self.kind.terms(self.name)


_SIMPLE_KINDS: dict[Any, FieldKind] = {
    int: IntegerKind(),
    float: RealKind(),
    bool: BooleanKind(),
    FilePath: FilePathKind(),
    PropertyPhase: PhaseKind(),
    Substance: SubstanceKind(),
    ThermodynamicState: StateKind(),
    np.ndarray: ArrayKind(),
}


@cache
def fields_of_class(data_class: type[BaseModel]) -> dict[str, Field]:
    """Return the fields of a data class by name, in their order.

    Raises
    ------
    InvalidDataError
        If an annotation is of a kind that cannot be stored.
    """
    fields = {}
    for name, info in data_class.model_fields.items():
        annotation, is_optional = _without_none(info.annotation)
        try:
            kind = _kind_of(annotation, tuple(info.metadata))
        except InvalidDataError as error:
            raise InvalidDataError(f"{data_class.__name__}.{name}: {error}") from error
        fields[name] = Field(name, kind, is_optional)
    return fields


@cache
def terms_of_class(data_class: type[BaseModel]) -> dict[str, tuple[Field, Term]]:
    """Return what queries can search in a data class: the name of each term with its field."""
    terms: dict[str, tuple[Field, Term]] = {}
    for field in fields_of_class(data_class).values():
        for term in field.terms:
            if term.name in terms:
                raise InvalidDataError(
                    f"{data_class.__name__} has two fields that are searched as {term.name!r}: rename one"
                )
            terms[term.name] = (field, term)
    return terms


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    choices = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
    if len(choices) != 1:
        raise InvalidDataError(f"a field must have one type, not {annotation}")
    return choices[0], True


def _kind_of(annotation: Any, metadata: tuple[Any, ...]) -> FieldKind:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        metadata = (*metadata, *more)
    kinds = [marker for marker in metadata if isinstance(marker, FieldKind)]
    if kinds:
        return kinds[0]
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in _SIMPLE_KINDS:
        return _SIMPLE_KINDS[origin]
    if origin is str:
        return _text_kind(metadata)
    if any(isinstance(marker, Searched) for marker in metadata):
        return _searched_kind(annotation, origin, arguments)
    is_searched = not any(isinstance(marker, NotIndexed) for marker in metadata)
    if origin in (list, tuple) and arguments and arguments[1:] in ((), (...,)):
        return list_kind(_kind_of(arguments[0], ()), is_searched=is_searched)
    if origin is dict and len(arguments) == 2 and arguments[0] is str:
        return mapping_kind(_kind_of(arguments[1], ()), is_searched=is_searched)
    if isinstance(origin, type):
        return _kind_of_class(origin, metadata)
    raise InvalidDataError(f"fields of type {annotation} cannot be stored")


def _searched_kind(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> FieldKind:
    if origin is list and arguments == (str,):
        return TagsKind()
    if origin is dict and arguments and arguments[0] is str and arguments[1] in (Any, int, float, str):
        return ValuesByNameKind(AnyValueKind() if arguments[1] is Any else _kind_of(arguments[1], ()))
    raise InvalidDataError(f"fields of type {annotation} cannot be searched: use list[str] or dict[str, Any]")


def _kind_of_class(annotated: type[Any], metadata: tuple[Any, ...]) -> FieldKind:
    if is_quantity_class(annotated):
        units = [marker for marker in metadata if isinstance(marker, InUnit)]
        if not units:
            raise InvalidDataError(
                'a quantity needs the unit of its index: Annotated[Quantity, InUnit("picosecond")]'
            )
        return QuantityKind(units[0].unit_name, units[0].absolute_tolerance)
    if issubclass(annotated, ForceFieldSource):
        return ForceFieldKind()
    if issubclass(annotated, enum.Enum):
        return EnumKind(annotated)
    if hasattr(annotated, "to_tree") and hasattr(annotated, "from_tree"):
        return ValueKind(annotated)
    raise InvalidDataError(
        f"fields of type {annotated.__name__} cannot be stored: give the class to_tree() and from_tree()"
    )


def _text_kind(metadata: tuple[Any, ...]) -> FieldKind:
    if any(isinstance(marker, NotIndexed) for marker in metadata):
        return UnindexedTextKind()
    kinds = [marker for marker in metadata if isinstance(marker, ColumnKind)]
    return TextKind(kinds[0]) if kinds else TextKind()


def texts_of_fields(data_class: type) -> dict[str, str]:
    """Return the text below each field that a class declares itself, by name, as far as there are sources."""
    try:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(data_class))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return {}
    found = {}
    for statement, following in itertools.pairwise(getattr(tree, "body", [])):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            found[statement.target.id] = inspect.cleandoc(following.value.value)
    return found
