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
    # Of Evaluator's data none has a name.
    with_names = any(row.get("name") is not None for row in rows)
    headings = [*_HEADINGS[:2], *(("NAME",) if with_names else ()), *_HEADINGS[2:]]
    cells = (_cells(row, key_length, with_names=with_names) for row in rows)
    print_table(headings, cells, right=("T", "P"))


def _cells(row: Row, length: int, *, with_names: bool) -> list[str]:
    return [
        row["key"][:length],
        wording.short_class_name(row["data_class"]),
        *((str(row.get("name") or ""),) if with_names else ()),
        *(wording.index_value_text(column, row.get(column)) for column in _COLUMNS),
    ]
