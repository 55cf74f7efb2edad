"""Schemas: what a program has to know of a data class that it has not, as a tree that can be stored.

A container keeps the schema of each data class that is not one of simarchive's own: its fields, their kinds,
and the columns that they are searched by. From it a class is made that stands in for the class itself: it
reads, checks, indexes, compares and copies the objects. What only the class can say is missing: its methods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

from simarchive.chemistry import Observable, ObservableArray, ObservableFrame, ParameterGradient
from simarchive.chemistry.trees import Tree
from simarchive.chemistry.units import unit_named
from simarchive.data.base import BaseStoredData, ReplaceableData
from simarchive.data.collection_kinds import (
    ElementListKind,
    ElementMappingKind,
    ListKind,
    MappingKind,
    SubstanceListKind,
)
from simarchive.data.fields import fields_of_class
from simarchive.data.kinds import (
    BooleanKind,
    ChoiceKind,
    EnumKind,
    FieldKind,
    FilePathKind,
    IntegerKind,
    RealKind,
    TextKind,
    TreeKind,
    UnindexedTextKind,
)
from simarchive.data.registry import data_class_named
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
from simarchive.errors import FormatError, InvalidDataError
from simarchive.ground import json_text
from simarchive.ground.conditions import ColumnKind

SCHEMA_FORMAT = 1

_OWN_PACKAGE = "simarchive."
_DEEPEST = 8
_MOST_FIELDS = 1000
_SIMPLE_KINDS: dict[str, type[FieldKind]] = {
    "integer": IntegerKind,
    "real": RealKind,
    "boolean": BooleanKind,
    "file": FilePathKind,
    "phase": PhaseKind,
    "substance": SubstanceKind,
    "state": StateKind,
    "force_field": ForceFieldKind,
    "array": ArrayKind,
    "substances": SubstanceListKind,
    "unindexed_text": UnindexedTextKind,
    "tree": TreeKind,
    "tags": TagsKind,
    "any_value": AnyValueKind,
}
_VALUE_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (Observable, ObservableArray, ObservableFrame, ParameterGradient)
}
_COLLECTIONS: dict[type[Any], tuple[str, str, type[Any]]] = {
    ListKind: ("list", "searched_list", ElementListKind),
    MappingKind: ("mapping", "searched_mapping", ElementMappingKind),
}
# Who overrides one of these has other columns, or another document, than its fields say.
_DECIDED_BY_METHODS = ("index_values", "index_columns", "to_document", "from_document", "member_names")


class StandIn(BaseStoredData):
    """What the class of an object that this program has not is made from: its schema."""

    schema_tree: ClassVar[Tree] = None
    """The schema."""
    _has_files: ClassVar[bool] = False

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return what the schema says."""
        return cls._has_files

    @classmethod
    def upgrade_document(cls, tree: Tree, version: int) -> Tree:
        """Raise FormatError: only the class itself knows how."""
        raise FormatError(
            f"a document of {cls.data_class_name} has version {version}, and the container describes version"
            f" {cls.data_class_version} of the class: import the module that defines it"
        )


class _ReplaceableStandIn(StandIn, ReplaceableData):
    """A class that stands in for one of replaceable data."""

    @classmethod
    def most_information(cls, existing: Self, new: Self) -> Self | None:
        """Return None, for both are kept: only the class itself knows which one says more."""
        return None


class UndescribedData(BaseStoredData):
    """An object of a class of which nothing is known here: its document as it was stored, to be copied."""

    document: Annotated[Any, TreeKind()] = None

    _has_files: ClassVar[bool] = False

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return whether the object has."""
        return cls._has_files

    def to_document(self) -> dict[str, Any]:
        """Return the document."""
        tree: dict[str, Any] = self.document
        return tree

    @classmethod
    def from_document(cls, tree: Tree, version: int | None = None, *, lazily: bool = False) -> Self:
        """Return the object of a document."""
        if not isinstance(tree, dict):
            raise InvalidDataError("a document must be a mapping")
        return cls.model_construct(document=tree)


def is_stand_in(data_class: type[BaseStoredData]) -> bool:
    """Return whether a class stands in for one that this program has not."""
    return issubclass(data_class, StandIn | UndescribedData)


@lru_cache(maxsize=256)
def undescribed_class(name: str, version: int, *, has_files: bool) -> type[UndescribedData]:
    """Return the class of objects of a data class of which only name and version are known."""
    namespace = {
        "__module__": __name__,
        "data_class_name": name,
        "data_class_version": version,
        "_has_files": has_files,
    }
    make: Any = type(UndescribedData)
    made: type[UndescribedData] = make(name, (UndescribedData,), namespace)
    return made


# --- writing ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def schema_of(data_class: type[BaseStoredData]) -> Tree:
    """Return the schema of a data class; None if it needs none, or none can say what the class does.

    simarchive's own classes need none. A class whose methods decide what stands in its columns or its
    document cannot be replaced by its fields.
    """
    if issubclass(data_class, StandIn):
        return data_class.schema_tree
    if data_class.__module__.startswith(_OWN_PACKAGE) or issubclass(data_class, UndescribedData):
        return None
    if any(
        _function(data_class, name) is not _function(BaseStoredData, name) for name in _DECIDED_BY_METHODS
    ):
        return None
    fields = fields_of_class(data_class)
    identity = data_class.identity_fields if issubclass(data_class, ReplaceableData) else ()
    return {
        "format": SCHEMA_FORMAT,
        "version": data_class.data_class_version,
        "has_ancillary_data": data_class.has_ancillary_data(),
        "parents": [
            base.data_class_name
            for base in data_class.__mro__[1:]
            if issubclass(base, BaseStoredData) and _is_registered(base)
        ],
        "reference_fields": list(data_class.reference_fields),
        "identity_fields": list(identity),
        "fields": [
            {"name": name, "kind": _tree_of(field.kind), **({"optional": True} if field.is_optional else {})}
            for name, field in fields.items()
        ],
        "columns": _columns(data_class),
    }


def _is_registered(cls: type[Any]) -> bool:
    return data_class_named(cls.__dict__.get("data_class_name", "")) is cls


def _function(cls: type[Any], name: str) -> Any:
    member = getattr(cls, name)
    return getattr(member, "__func__", member)


def _columns(data_class: type[BaseStoredData]) -> list[dict[str, str]]:
    return [{"name": column.name, "kind": column.kind.value} for column in data_class.index_columns()]


def _tree_of(kind: FieldKind) -> Tree:
    """Return what says which kind it is; that of a tree for one that is known to its program only."""
    if isinstance(kind, QuantityKind):
        return {"quantity": kind.unit_name}
    if isinstance(kind, EnumKind | ChoiceKind):
        return {"choice": kind.choices()}
    if type(kind) is ValuesByNameKind:
        return {"values_by_name": _tree_of(kind.element)}
    for collection, (name, searched_name, searched) in _COLLECTIONS.items():
        if type(kind) is collection or type(kind) is searched:
            assert isinstance(kind, ListKind | MappingKind)
            return {searched_name if type(kind) is searched else name: _tree_of(kind.element)}
    if type(kind) is TextKind:
        return {"text": kind.column_kind.value}
    if type(kind) is ValueKind and _VALUE_CLASSES.get(kind.value_class.__name__) is kind.value_class:
        return {"value": kind.value_class.__name__}
    return next((name for name, simple in _SIMPLE_KINDS.items() if type(kind) is simple), "tree")


@lru_cache(maxsize=256)
def schema_text(data_class: type[BaseStoredData]) -> str | None:
    """Return the JSON text of what `schema_of` returns, or None."""
    schema = schema_of(data_class)
    if schema is None:
        return None
    return json.dumps(schema, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


# --- reading ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def stand_in_for(name: str, text: str) -> type[BaseStoredData]:
    """Return a class that stands in for the one that the JSON text of a schema describes.

    It is the same class for the same text.

    Raises
    ------
    InvalidDataError
        If it is no schema that this version can read.
    """
    try:
        return _stand_in_for(name, json_text.parse(text))
    except InvalidDataError:
        raise
    except Exception as error:  # of pydantic, of Python, for what is no schema
        raise InvalidDataError(f"it is no schema of a data class: {type(error).__name__}: {error}") from error


def _stand_in_for(name: str, schema: Mapping[str, Any]) -> type[BaseStoredData]:
    fields = schema["fields"]
    if len(fields) > _MOST_FIELDS:
        raise InvalidDataError(
            f"it has {len(fields):,} fields, more than the {_MOST_FIELDS:,} that are believed"
        )
    annotations: dict[str, Any] = {}
    for field in fields:
        field_name = field["name"]
        if not field_name.isidentifier() or field_name.startswith("_") or hasattr(BaseStoredData, field_name):
            raise InvalidDataError(f"{field_name!r} cannot be the name of a field")
        annotation: Any = Annotated[Any, _kind_of(field["kind"], 0)]
        annotations[field_name] = annotation | None if field.get("optional") else annotation
    identity, references = (tuple(map(str, schema[key])) for key in ("identity_fields", "reference_fields"))
    for field_name in (*identity, *references):
        if field_name not in annotations:
            raise InvalidDataError(f"it has no field {field_name!r}, but names it")
    version = schema["version"]
    if type(version) is not int or version < 1:
        raise InvalidDataError(f"{version!r} is not the version of a class")
    namespace = {
        "__module__": __name__,
        "__qualname__": name,
        "__doc__": f"{name}, as its container describes it.",
        "__annotations__": annotations,
        "data_class_name": name,
        "data_class_version": version,
        "reference_fields": references,
        "schema_tree": schema,
        "_has_files": schema["has_ancillary_data"] is True,
    }
    bases: tuple[type[BaseStoredData], ...] = (StandIn,)
    if identity:
        bases, namespace["identity_fields"] = (_ReplaceableStandIn,), identity
    # Queries for a class that this program has find the objects of those that derive from it.
    bases += tuple(filter(None, map(data_class_named, map(str, schema["parents"][:1]))))
    make: Any = type(StandIn)
    made: type[BaseStoredData] = make(name, bases, namespace)
    if list(fields_of_class(made)) != list(annotations) or _columns(made) != schema["columns"]:
        raise InvalidDataError("its columns are not those of its fields")
    return made


def _kind_of(tree: Tree, depth: int) -> FieldKind:
    if isinstance(tree, str):
        return _SIMPLE_KINDS[tree]()
    if depth > _DEEPEST:
        raise InvalidDataError("its kinds lie too deep in each other")
    ((kind, of),) = tree.items()
    if kind == "quantity":
        unit_named(of)
        return QuantityKind(of)
    if kind == "choice":
        return ChoiceKind(tuple(map(str, of)))
    if kind == "values_by_name":
        return ValuesByNameKind(_kind_of(of, depth + 1))
    for collection, (name, searched_name, searched) in _COLLECTIONS.items():
        if kind in (name, searched_name):
            made: FieldKind = (searched if kind == searched_name else collection)(_kind_of(of, depth + 1))
            return made
    if kind == "text":
        return TextKind(ColumnKind(of))
    if kind == "value":
        return ValueKind(_VALUE_CLASSES[of])
    raise InvalidDataError(f"there is no kind {kind!r} of fields")
