"""The JSON file of one object in a directory, and where its key is filed.

An object whose class OpenFF Evaluator has, or a program that uses it, is kept as Evaluator's typed JSON. Any
other is kept as its document, under a type of our own.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

from simarchive.data import BaseStoredData, data_class_named, is_class_name
from simarchive.data.schemas import schema_text, stand_in_for, undescribed_class
from simarchive.errors import CorruptError, FormatError, InvalidDataError, StorageError, StorageIOError
from simarchive.ground.files_below import read_file_below
from simarchive.storage.evaluator_json import (
    TYPE,
    EvaluatorObject,
    check_characters,
    class_name_of,
    data_class_filed_under,
    dump_typed,
    evaluator_type_of,
    object_of,
    opaque_class,
    parse_typed,
    read_fields,
    shown,
    stored_object,
    typed_of,
    with_tagged_arrays,
)

_OWN_TYPE = "simarchive.Document"
_OWN_TYPES = "simarchive."
_LONGEST_MESSAGE = 500


class Filing(NamedTuple):
    """Where a key is filed: in which of the two registries, and under which name."""

    is_own: bool
    name: str

    def class_name(self, *, with_files: bool) -> str:
        """Return the name of the data class of the objects that are filed here.

        Parameters
        ----------
        with_files
            Whether there is a directory of files under the key.
        """
        class_name = data_class_filed_under(self.name)
        if self.is_own or data_class_named(class_name) is not None:
            return class_name
        return opaque_class(with_files=with_files).data_class_name


def filing_of(stored: BaseStoredData) -> Filing:
    """Return where the key of an object is filed."""
    class_name = type(stored).data_class_name
    type_string = stored.type_string if isinstance(stored, EvaluatorObject) else evaluator_type_of(class_name)
    if type_string is None:
        return Filing(is_own=True, name=class_name)
    return Filing(is_own=False, name=class_name_of(type_string))


def filing_in(typed: Any) -> Filing | None:
    """Return where the key of an object is filed, by its JSON; ``None`` if it is not that of an object."""
    type_string = typed.get(TYPE) if isinstance(typed, dict) else None
    if not isinstance(type_string, str):
        return None
    # Also what another version wrote: Evaluator would refuse the directory for it.
    if type_string.startswith(_OWN_TYPES):
        return Filing(is_own=True, name=str(typed.get("data_class")))
    return Filing(is_own=False, name=class_name_of(type_string))


def text_of(stored: BaseStoredData, tree: dict[str, Any]) -> str:
    """Return what is written to the file of an object.

    Parameters
    ----------
    tree
        Its document.
    """
    name = type(stored).data_class_name
    if not filing_of(stored).is_own:
        return dump_typed(typed_of(name, tree))
    schema = schema_text(type(stored))
    return dump_typed(
        {
            "data_class": name,
            "data_class_version": type(stored).data_class_version,
            **({} if schema is None else {"data_class_schema": schema}),
            "document": with_tagged_arrays(tree),
            TYPE: _OWN_TYPE,
        }
    )


def read_object(root: Path, storage_key: str, max_bytes: int) -> BaseStoredData:
    """Return the object of a key.

    Parameters
    ----------
    root
        The directory.
    max_bytes
        How long its text may be.

    Raises
    ------
    FileNotFoundError
        If there is no file of it.
    StorageIOError
        If the file cannot be read.
    CorruptError, InvalidDataError
        If it is not that of an object, larger, of a class that is not registered, or a link that leads out
        of the directory.
    """
    path = root / f"{storage_key}.json"
    try:
        return _object_of(read_file_below(root, path.name, max_bytes), max_bytes, root / storage_key)
    except (FileNotFoundError, StorageIOError):
        raise
    except InvalidDataError as error:
        text = str(error)
        if len(text) > _LONGEST_MESSAGE:
            error.args = (f"{text[:_LONGEST_MESSAGE]}...",)
        error.add_note(f"in {str(path)!r}")
        raise
    except StorageError:
        raise
    except Exception as error:
        # What numpy, pint, pydantic and others raise for values that nobody would write has no end.
        said = f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
        raise CorruptError(f"{str(path)!r} is not a stored object: {said}") from error


def _object_of(text: bytes, max_bytes: int, files: Path) -> BaseStoredData:
    typed = parse_typed(text, max_bytes=max_bytes)
    check_characters(typed, text)
    if not isinstance(typed, dict) or typed.get(TYPE) != _OWN_TYPE:
        return object_of(typed, with_files=files.is_dir())
    version = typed["data_class_version"]
    if type(version) is not int:
        raise InvalidDataError(f"the version of a data class must be a whole number, not {shown(version)}")
    name, tree = str(typed["data_class"]), read_fields(typed["document"], "")
    if data_class_named(name) is not None or not is_class_name(name):
        return stored_object(name, tree, version=version)
    with contextlib.suppress(FormatError, InvalidDataError):
        return stand_in_for(name, str(typed.get("data_class_schema", ""))).from_document(tree, version)
    return undescribed_class(name, version, has_files=files.is_dir()).from_document(tree)
