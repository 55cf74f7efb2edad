"""What all data classes have: fields, validation, documents and index columns."""

from __future__ import annotations

import difflib
import functools
import inspect
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from simarchive.chemistry.trees import Tree, fields_of, same_tree
from simarchive.data import shown
from simarchive.data.fields import Field, fields_of_class, terms_of_class, texts_of_fields
from simarchive.data.kinds import FilePath
from simarchive.errors import FormatError, InvalidDataError
from simarchive.ground.conditions import Column, Value
from simarchive.ground.vocabulary.query_classes import query_class_of

if TYPE_CHECKING:
    # pydantic has no public name for it.
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

UNSET: Any = None
"""The default of a field that must be set before the object is stored."""

_UNFIT = (TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError)


class _Explained(ModelMetaclass):
    """Has `help` show what a data class is about, not how pydantic makes it: fields, meanings and units."""

    def _explanation(cls) -> str | None:
        own = cls.__dict__.get("__doc__")
        return own if own is None else shown.with_fields(own, _meanings_of(cls))

    # Made when somebody asks: to read the sources of all classes would slow down every start.
    __doc__ = property(_explanation)

    def __dir__(cls) -> list[str]:
        ours = [base for base in cls.__mro__ if not base.__module__.startswith("pydantic")]
        return [
            name
            for name in super().__dir__()
            if not name.startswith(("_", "model_")) and any(name in base.__dict__ for base in ours)
        ]


class BaseStoredData(BaseModel, metaclass=_Explained):
    """Data to be stored: a document and, for most classes, a directory of ancillary data.

    Objects are built empty and filled by assignment, or by keywords. A field that was not set is ``None``.
    A value of a wrong type is refused when it is assigned; a missing one by `validate` and by storage.

    A class of your own declares fields with annotations and `has_ancillary_data`, and is registered::

        @register_data_class("DiffusionData", version=1)
        class DiffusionData(StoredSimulationData):
            coefficient: Annotated[Quantity, InUnit("nanometer ** 2 / nanosecond")] = UNSET
            method: str | None = None  # may stay unset
    """

    # The trees of fields that nobody has looked at yet, of an object that was made lazily.
    __slots__ = ("_waiting",)

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, arbitrary_types_allowed=True, protected_namespaces=()
    )

    data_class_name: ClassVar[str] = ""
    data_class_version: ClassVar[int] = 1
    reference_fields: ClassVar[tuple[str, ...]] = ()  #: fields that hold keys of other objects

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give every field that has no default the default None: all objects can be built empty."""
        super().__init_subclass__(**kwargs)
        for name, annotation in inspect.get_annotations(cls).items():
            if name not in cls.__dict__ and not name.startswith("_") and "ClassVar" not in str(annotation):
                setattr(cls, name, None)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _invalid(type(self), error) from error

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise _invalid(type(self), error) from error

    @field_validator("*", mode="plain")
    @classmethod
    def _accept(cls, value: Any, info: ValidationInfo) -> Any:
        return None if value is None else fields_of_class(cls)[str(info.field_name)].kind.accept(value)

    @classmethod
    @abstractmethod
    def has_ancillary_data(cls) -> bool:
        """Return whether objects of the class come with a directory of files."""
        raise NotImplementedError

    def validate(self) -> None:  # type: ignore[override]
        """Raise InvalidDataError unless every field is set that must be, and every value is complete."""
        missing = [
            field.name
            for field, value in self._fields_with_values()
            if value is None and not field.is_optional
        ]
        if missing:
            raise InvalidDataError(f"{type(self).__name__} lacks {', '.join(missing)}: set before storing")
        for field, value in self._fields_with_values():
            if value is None:
                continue
            try:
                field.kind.validate(value)
            except InvalidDataError as error:
                raise InvalidDataError(f"{type(self).__name__}.{field.name}: {error}") from error

    def _fields_with_values(self) -> list[tuple[Field, Any]]:
        return [(field, getattr(self, name)) for name, field in fields_of_class(type(self)).items()]

    def to_document(self) -> dict[str, Any]:
        """Return the tree of the object: its set fields in their order. Arrays are not copied."""
        return {
            field.name: field.kind.to_tree(value)
            for field, value in self._fields_with_values()
            if value is not None
        }

    @classmethod
    def from_document(cls, tree: Tree, version: int | None = None, *, lazily: bool = False) -> Self:
        """Return the object of a tree; arrays that are not loaded stay so.

        Parameters
        ----------
        tree
            What `to_document` returned.
        version
            The version of the class that wrote it; the present one if left out.
        lazily
            The value of a field is made when someone looks at it, and only then found to be wrong.

        Raises
        ------
        InvalidDataError
            If fields are missing, unknown or of a wrong type.
        FormatError
            If a later version of the class wrote it.
        """
        if version is not None and version != cls.data_class_version:
            tree = cls._document_of_this_version(tree, version)
        fields = fields_of_class(cls)
        required = [name for name, field in fields.items() if not field.is_optional]
        stored = fields_of(tree, f"a document of {cls.__name__}", required, fields.keys())
        if lazily:
            return cls._waiting_for(stored, fields)
        return cls.model_construct(**{name: cls._value_of(name, tree) for name, tree in stored.items()})

    @classmethod
    def _value_of(cls, name: str, tree: Tree) -> Any:
        try:
            return fields_of_class(cls)[name].kind.from_tree(tree)
        except InvalidDataError as error:
            raise InvalidDataError(f"{cls.__name__}.{name}: {error}") from error
        except _UNFIT as error:
            # A tree of another program may have anything in the place of a text or a number, arrays too.
            message = f"{cls.__name__}.{name} has a value of another form: {error}"
            raise InvalidDataError(message) from error

    @classmethod
    def _waiting_for(cls, trees: dict[str, Tree], fields: dict[str, Field]) -> Self:
        """Return an object whose set fields are not in its ``__dict__`` yet."""
        stored = cls.__new__(cls)
        object.__setattr__(stored, "__dict__", {name: None for name in fields if name not in trees})
        object.__setattr__(stored, "__pydantic_fields_set__", set(trees))
        object.__setattr__(stored, "__pydantic_extra__", None)
        object.__setattr__(stored, "__pydantic_private__", None)
        object.__setattr__(stored, "_waiting", trees)
        return stored

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Asked only for what is not in ``__dict__``.
            if name[:1] != "_":
                trees = self._trees_waiting()
                if name in trees:
                    value = self.__dict__[name] = self._value_of(name, trees[name])
                    return value
            return super().__getattr__(name)

    def _trees_waiting(self) -> dict[str, Tree]:
        try:
            trees: dict[str, Tree] = object.__getattribute__(self, "_waiting")
        except AttributeError:
            return {}
        return trees

    def _settle(self) -> None:
        """Make the values of all fields, in their order, for those who look into ``__dict__``."""
        if self._trees_waiting():
            values = {name: getattr(self, name) for name in fields_of_class(type(self))}
            object.__setattr__(self, "__dict__", values)
            object.__setattr__(self, "_waiting", {})

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        self._settle()
        yield from super().__iter__()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        self._settle()
        return super().__repr_args__()

    def _shown(self) -> list[tuple[str, str]]:
        """Return what stands in the table of the object: its set fields in short; no array is read."""
        names = fields_of_class(type(self))
        return shown.rows_of({name: functools.partial(getattr, self, name) for name in names})

    def __str__(self) -> str:
        return shown.as_text(type(self).__name__, self._shown())

    def _repr_html_(self) -> str:
        """Return the object as a table, as notebooks ask for it."""
        return shown.as_html(type(self).__name__, self._shown())

    def __copy__(self) -> Self:
        self._settle()
        return super().__copy__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        self._settle()
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        self._settle()
        return super().__getstate__()

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the values of the fields by name, as `pydantic.BaseModel.model_dump`."""
        self._settle()
        return super().model_dump(**options)

    @classmethod
    def _document_of_this_version(cls, tree: Tree, version: int) -> Tree:
        if version > cls.data_class_version:
            raise FormatError(
                f"a document of {cls.__name__} has version {version}; this program reads up to "
                f"{cls.data_class_version}: upgrade the program that defines the class"
            )
        return cls.upgrade_document(tree, version)

    @classmethod
    def upgrade_document(cls, tree: Tree, version: int) -> Tree:
        """Return the tree of an older version as one of this version; classes with versions override it."""
        raise FormatError(
            f"{cls.__name__} does not say how to read documents of version {version}: "
            "override upgrade_document"
        )

    def check_readable(self, document: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the document, after checking that what is read from it equals this object.

        Parameters
        ----------
        document
            What `to_document` returned just now, to spare making it again.

        Raises
        ------
        InvalidDataError
            If the document could not be read back, or would not be the same.
        """
        if document is None:
            document = self.to_document()
        try:
            copy = type(self).from_document(document, self.data_class_version)
        except InvalidDataError as error:
            raise InvalidDataError(f"{type(self).__name__} could not be read back: {error}") from error
        if copy != self or not same_tree(copy.to_document(), document):
            raise InvalidDataError(f"{type(self).__name__} would not be read back as it is now")
        return document

    @classmethod
    def index_columns(cls) -> tuple[Column, ...]:
        """Return the columns of the class's index, which follow from the annotations."""
        return tuple(Column(name, term.kind.column_kind) for name, (_, term) in terms_of_class(cls).items())

    def index_values(self) -> dict[str, Value]:
        """Return what stands in each column for this object; None where a value is missing."""
        return {
            name: term.index_value(getattr(self, field.name))
            for name, (field, term) in terms_of_class(type(self)).items()
        }

    @classmethod
    def query_class(cls) -> type[Any]:
        """Return the class of queries for this class; one is made from the fields if none was written."""
        return query_class_of(cls)

    def to_storage_query(self) -> Any:
        """Return the query that this object, and others like it, match."""
        return self.query_class().from_data_object(self)

    def member_names(self) -> tuple[str, ...]:
        """Return the files that the fields name."""
        values = (value for _, value in self._fields_with_values())
        return tuple(str(value) for value in values if isinstance(value, FilePath) and value)

    def rename_member(self, name: str, new_name: str) -> bool:
        """Have each field that names a file name it otherwise; return whether one did."""
        changed = False
        for field, value in list(self._fields_with_values()):
            if isinstance(value, FilePath) and value == name:
                setattr(self, field.name, FilePath(new_name))
            elif isinstance(value, list) and any(isinstance(one, FilePath) and one == name for one in value):
                new = [FilePath(new_name) if one == name else one for one in value]
                setattr(self, field.name, new)
            else:
                continue
            changed = True
        return changed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseStoredData):
            return NotImplemented
        if type(self) is not type(other):
            return False
        pairs = zip(self._fields_with_values(), other._fields_with_values(), strict=True)
        return all(
            mine is theirs or (mine is not None and theirs is not None and field.kind.same(mine, theirs))
            for (field, mine), (_, theirs) in pairs
        )

    __hash__ = None  # type: ignore[assignment]


class HashableStoredData(BaseStoredData):
    """Data that is compared by a hash of its content: equal objects are one object in a storage."""

    @abstractmethod
    def __hash__(self) -> int:  # type: ignore[override]
        raise NotImplementedError


class ReplaceableData(BaseStoredData):
    """Data of which a storage keeps one object of each measurement: the one with most information."""

    identity_fields: ClassVar[tuple[str, ...]] = ()  #: equal in two objects of the same measurement

    def is_same_measurement(self, other: BaseStoredData) -> bool:
        """Return whether two objects stem from the same measurement, so that one may replace the other.

        Both must be of one class, and all identity fields equal; an unset field equals only an unset one.
        """
        if type(self) is not type(other):
            return False
        for name in self.identity_fields:
            kind = fields_of_class(type(self))[name].kind
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is None or theirs is None:
                if mine is not theirs:
                    return False
            elif not kind.same(mine, theirs):
                return False
        return True

    @classmethod
    @abstractmethod
    def most_information(cls, existing: Self, new: Self) -> Self | None:
        """Return the object to keep of two, or None to keep both."""
        raise NotImplementedError


@functools.cache
def _meanings_of(data_class: type) -> dict[str, tuple[str, str]]:
    """Return what each field holds, and what it means, by name; empty while the class is being made."""
    try:
        fields = fields_of_class(data_class)
    except Exception:  # whatever a class raises that is not whole yet
        return {}
    texts: dict[str, str] = {}
    for base in reversed(data_class.__mro__):
        if base.__module__.partition(".")[0] not in ("pydantic", "builtins", "abc", "typing"):
            texts |= texts_of_fields(base)
    return {
        name: (
            field.kind.wanted.rstrip(",") + (", may stay unset" if field.is_optional else ""),
            texts.get(name, ""),
        )
        for name, field in fields.items()
    }


def _invalid(data_class: type[BaseStoredData], error: ValidationError) -> InvalidDataError:
    sentences = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        cause = problem.get("ctx", {}).get("error")
        if problem["type"] in ("extra_forbidden", "no_such_attribute"):
            name = name or str(problem.get("ctx", {}).get("attribute", ""))
            close = difflib.get_close_matches(name, data_class.model_fields, 1)
            hint = (
                f"; do you mean {close[0]}?"
                if close
                else f"; its fields are {', '.join(data_class.model_fields)}"
            )
            sentences.append(f"{data_class.__name__} has no field {name!r}{hint}")
        else:
            sentences.append(f"{data_class.__name__}.{name}: {cause or problem['msg']}")
    return InvalidDataError("; ".join(sentences))
