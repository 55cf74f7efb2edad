"""`simarchive query`: find the objects that match an expression."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simarchive.cli import listing, object_keys, opening
from simarchive.cli.arguments import json_option, rows_option
from simarchive.cli.isolation import isolated_option
from simarchive.cli.output import (
    count_text,
    fitting_columns,
    print_json,
    print_line,
    print_ndjson,
    print_table,
)
from simarchive.cli.selection import file_and_what
from simarchive.ground.vocabulary.criteria import ALIASES
from simarchive.storage.display import wording

if TYPE_CHECKING:
    from simarchive.queries import BaseDataQuery
    from simarchive.storage.hdf5.storage import HDF5Storage

_WIDEST = 32
"""So many letters of a long text stand in a line of a table that has no room for more."""


@click.command("query", short_help="Find the objects that match an expression.")
@file_and_what(metavar="EXPRESSION")
@click.option("--count", "form", flag_value="count", help="Print only how many objects match.")
@click.option(
    "--keys", "form", flag_value="keys", help="Print only the whole key of each match, one per line."
)
@click.option(
    "--table", "form", flag_value="table", help="Print everything that the index knows about each match."
)
@click.option("--explain", is_flag=True, help="First say how the index answers the query.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Return at most N objects.")
@click.option("--order-by", metavar="COLUMN", help="Sort by a column; -COLUMN sorts in descending order.")
@json_option
@rows_option
@isolated_option("container")
def command(
    container: Path,
    what: tuple[str, ...],
    form: str | None,
    explain: bool,
    limit: int | None,
    order_by: str | None,
    as_json: bool,
    as_ndjson: bool,
) -> None:
    """Find the objects of FILE that match EXPRESSION, grouped by the values that matched.

    \b
    EXPRESSION is a list of criteria, all of which must hold:
      substance=O                  pure water, as SMILES; O|CO: an equal mixture
      contains=O excludes=CO       components that it has, and does not have
      temperature=290..310K        from 290 to 310 K, both included; also T
      pressure=1atm                also P; pressure=none: not set
      phase=liquid,gas             one of several; phase!=gas: anything else
      molecules>=100               any field of the class, by its name
      class=equilibration          simulation if left out; also run, any,
                                   free_energy, force_field, trained_model

    \b
    Examples:
      simarchive query water.h5 substance=O phase=liquid
      simarchive query water.h5 contains=O T=290..310K --json --explain
      simarchive query water.h5 phase=liquid --table --order-by -temperature
      simarchive query water.h5 "atoms>=1000 class=run" --keys

    If nothing matches, the exit code is still 0.
    """
    with opening.for_reading(container) as backend:
        data_query = backend.asked(" ".join(what))
        if limit is not None:
            data_query.limit = limit
        if order_by is not None:
            data_query.order_by = _column(order_by)
        explanation = backend.explain(data_query) if explain else ""
        answer: dict[str, Any] = {"explanation": explanation.splitlines()} if explain else {}
        if explain and not as_json and not as_ndjson:
            print_line(explanation)
            print_line()
        answer |= _ANSWERS[form](backend, data_query)
        if as_ndjson:
            print_ndjson(_rows(answer))
        elif as_json:
            print_json(answer)
        else:
            _PRINTERS[form](answer, backend)


def _rows(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what an answer has of each object, or all of an answer that is about none."""
    if "groups" in answer:
        for group in answer["groups"]:
            yield from group["objects"]
    elif "rows" in answer:
        yield from answer["rows"]
    elif "keys" in answer:
        yield from ({"key": key} for key in answer["keys"])
    else:
        yield answer


def _column(order_by: str) -> str:
    sign = "-" if order_by.startswith("-") else ""
    column = order_by.removeprefix("-")
    return sign + ALIASES.get(column, column.replace("-", "_"))


def _count(backend: HDF5Storage, data_query: BaseDataQuery) -> dict[str, Any]:
    return {"count": backend.count(data_query)}


def _keys(backend: HDF5Storage, data_query: BaseDataQuery) -> dict[str, Any]:
    return {"keys": backend.keys(data_query)}


def _table(backend: HDF5Storage, data_query: BaseDataQuery) -> dict[str, Any]:
    columns = backend.columns(data_query)
    return {"rows": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _groups(backend: HDF5Storage, data_query: BaseDataQuery) -> dict[str, Any]:
    groups: list[dict[str, Any]] = []
    for matched, matches in backend.query(data_query).items():
        objects = [
            {"key": key, "data_class": type(stored).data_class_name, **stored.index_values()}
            for key, stored, _ in matches
        ]
        groups.append({"values": [wording.matched_text(value) for value in matched], "objects": objects})
    return {"n_objects": sum(len(group["objects"]) for group in groups), "groups": groups}


def _print_count(answer: dict[str, Any], backend: HDF5Storage) -> None:
    print_line(str(answer["count"]))


def _print_keys(answer: dict[str, Any], backend: HDF5Storage) -> None:
    for key in answer["keys"]:
        print_line(key)


def _print_table(answer: dict[str, Any], backend: HDF5Storage) -> None:
    rows = answer["rows"]
    names = [name for name in (rows[0] if rows else ()) if any(row[name] is not None for row in rows)]
    # The state repeats temperature and pressure, and identifiers mean least to a person.
    names = sorted((name for name in names if name != "thermodynamic_state"), key=_is_identifier)
    headings = [wording.short_column_name(name).upper() for name in names]
    cells = [[wording.index_value_text(name, row[name]) for name in names] for row in rows]
    number = fitting_columns(headings, cells, widest=_WIDEST)
    if number < len(names):
        # Commands take short keys, too, and other columns say more than the rest of a key.
        length = object_keys.short_length(backend.keys())
        cells = [[line[0][:length], *line[1:]] for line in cells]
        number = fitting_columns(headings, cells, widest=_WIDEST)
    right = [heading for name, heading in zip(names, headings, strict=True) if _is_number(rows, name)]
    print_table(headings[:number], (line[:number] for line in cells), right=right)
    listing.say_what_is_left_out(headings[number:])


def _is_number(rows: list[dict[str, Any]], name: str) -> bool:
    return name != "property_phase" and not any(isinstance(row[name], str) for row in rows)


def _is_identifier(name: str) -> bool:
    return name.endswith("_id")


def _print_groups(answer: dict[str, Any], backend: HDF5Storage) -> None:
    groups = answer["groups"]
    length = object_keys.short_length(backend.keys()) if groups else object_keys.SHORTEST
    left_out: list[str] = []
    for group in groups:
        if group["values"]:
            print_line(", ".join(group["values"]), style="bold")
        left_out += listing.print_rows(group["objects"], length)
        print_line()
    listing.say_what_is_left_out(left_out)
    if not groups:
        print_line("no object matches")
    else:
        print_line(f"{count_text(answer['n_objects'], 'object')} in {count_text(len(groups), 'group')}")


_ANSWERS = {"count": _count, "keys": _keys, "table": _table, None: _groups}
_PRINTERS = {"count": _print_count, "keys": _print_keys, "table": _print_table, None: _print_groups}
