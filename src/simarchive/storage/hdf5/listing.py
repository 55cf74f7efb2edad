"""What the index knows of all objects, class by class, without the classes themselves."""

from __future__ import annotations

from typing import Any

from simarchive.container.contents import Contents
from simarchive.container.index import KEY_COLUMN, IndexTable
from simarchive.errors import CorruptError
from simarchive.storage.hdf5 import answers, indexing

Rows = dict[str, dict[str, Any]]
"""The class and the indexed values of objects, by key."""


def rows_of_index(contents: Contents, column: str | None = None) -> tuple[Rows, list[str]]:
    """Return what the index knows of the objects, and the classes whose objects have to be read for that.

    Parameters
    ----------
    column
        Only this column, of the objects whose class has it; all columns by default.
    """
    rows: Rows = {}
    unready: list[str] = []
    for name in contents.data_classes():
        table = indexing.usable_table(contents, name)
        if table is None:
            unready.append(name)
            continue
        try:
            found = _rows(table, name, column)
        except CorruptError as error:
            indexing.distrust(contents, name, str(error))
            unready.append(name)
        else:
            rows |= found
    return rows, unready


def _rows(table: IndexTable, class_name: str, column: str | None) -> Rows:
    there = [spec.name for spec in table.columns_spec if spec != indexing.IDENTITY]
    names = [name for name in there if column is None or name == column]
    if column is not None and not names:
        return {}
    columns = table.columns([KEY_COLUMN, *names], ())
    keys = [str(key) for key in columns[KEY_COLUMN]]
    table.checked_keys(keys)
    plain = answers.plain({name: columns[name] for name in names})
    rows = zip(*plain.values(), strict=True) if names else (() for _ in keys)
    return {
        key: {"data_class": class_name, **dict(zip(names, row, strict=True))}
        for key, row in zip(keys, rows, strict=True)
    }
