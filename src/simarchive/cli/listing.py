"""Lines of objects: a key, a class, and what the index knows of each."""

from __future__ import annotations

from collections.abc import Sequence

from simarchive.cli.output import print_table
from simarchive.storage.display import wording
from simarchive.storage.display.rows import Row

_COLUMNS = ("substance", "temperature", "pressure", "property_phase")
_HEADINGS = ("KEY", "CLASS", "SUBSTANCE", "T", "P", "PHASE")


def print_rows(rows: Sequence[Row], key_length: int) -> None:
    """Print one line for each object, with so many characters of its key: see `object_keys.short_length`."""
    print_table(_HEADINGS, (_cells(row, key_length) for row in rows), right=("T", "P"))


def _cells(row: Row, length: int) -> list[str]:
    return [
        row["key"][:length],
        wording.short_class_name(row["data_class"]),
        *(wording.index_value_text(column, row.get(column)) for column in _COLUMNS),
    ]
