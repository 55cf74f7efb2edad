"""The JSON file of one object in a directory, and where its key is filed.

An object whose class OpenFF Evaluator has, or a program that uses it, is kept as Evaluator's typed JSON. Any
other is kept as its document, under a type of our own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import CorruptError, InvalidDataError, StorageIOError
from simarchive.storage.evaluator_json import (
    TYPE,
    EvaluatorObject,
    class_name_of,
    data_class_filed_under,
    dump_typed,
    evaluator_type_of,
    object_of,
    opaque_class,
    parse_typed,
    read_fields,
    stored_object,
    typed_of,
    with_tagged_arrays,
)

_OWN_TYPE = "simarchive.Document"
_OWN_TYPES = "simarchive."


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
    return dump_typed(
        {
            "data_class": name,
            "data_class_version": type(stored).data_class_version,
            "document": with_tagged_arrays(tree),
            TYPE: _OWN_TYPE,
        }
    )


def read_object(path: Path) -> BaseStoredData:
    """Return the object of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StorageIOError
        If the file cannot be read.
    CorruptError, InvalidDataError
        If it is not that of an object, or of a class that is not registered.
    """
    try:
        typed = parse_typed(path.read_bytes())
        if isinstance(typed, dict) and typed.get(TYPE) == _OWN_TYPE:
            tree = read_fields(typed["document"], "")
            return stored_object(str(typed["data_class"]), tree, version=int(typed["data_class_version"]))
        return object_of(typed, with_files=path.with_suffix("").is_dir())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageIOError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptError(f"{str(path)!r} is not a stored object: {error!r}") from error
    except InvalidDataError as error:
        error.add_note(f"in {str(path)!r}")
        raise
