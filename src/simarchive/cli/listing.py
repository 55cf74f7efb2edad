"""Lines of objects: a key, a class, and what the index knows of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simarchive.cli.output import fitting_columns, print_notice, print_table
from simarchive.storage.display import wording
from simarchive.storage.display.rows import Row

_COLUMNS = ("substance", "temperature", "pressure", "property_phase")
_HEADINGS = {"temperature": "T", "pressure": "P", "property_phase": "PHASE"}
_KNOWN = frozenset({"key", "data_class", "name", *_COLUMNS})


def print_rows(rows: Sequence[Row], key_length: int) -> list[str]:
    """Print one line for each object, with so many characters of its key: see `object_keys.short_length`.

    Columns that only classes of others have come last, as many as a terminal has room for. The headings of
    those that there is no room for are returned: see `say_what_is_left_out`.
    """
    own = _own_columns(rows)
    # Of Evaluator's data none has a name.
    shown = ["name"] if any(row.get("name") is not None for row in rows) else []
    # Where there are others, a column that is empty in all rows only takes their room.
    shown += [name for name in _COLUMNS if not own or any(row.get(name) is not None for row in rows)]
    shown += own
    headings = ["KEY", "CLASS", *(_HEADINGS.get(name, name.upper()) for name in shown)]
    cells = [_cells(row, key_length, shown) for row in rows]
    n_columns = max(fitting_columns(headings, cells), len(headings) - len(own)) if own else len(headings)
    numbers = [name.upper() for name in own if _are_numbers(rows, name)]
    right = ("T", "P", *numbers)
    print_table(headings[:n_columns], (line[:n_columns] for line in cells), right=right)
    return headings[n_columns:]


def say_what_is_left_out(headings: Iterable[str]) -> None:
    """Say which columns are not shown, if any."""
    left_out = ", ".join(dict.fromkeys(headings))
    if left_out:
        print_notice(f"more in a wider window or with --json: {left_out}")


def _own_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns that have a value in a row of a class without a short name, in their order."""
    names: dict[str, None] = {}
    for row in rows:
        if wording.short_class_name(row["data_class"]) != row["data_class"]:
            continue
        names |= {name: None for name, value in row.items() if name not in _KNOWN and value is not None}
    return list(names)


def _are_numbers(rows: Sequence[Row], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)


def _cells(row: Row, length: int, shown: Sequence[str]) -> list[str]:
    return [
        row["key"][:length],
        wording.short_class_name(row["data_class"]),
        *(wording.index_value_text(column, row.get(column)) for column in shown),
    ]
