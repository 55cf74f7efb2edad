"""The same objects in SQLite and PyTables, and a plain scan, for `benchmarks/queries.py`.

All keep the text of our documents and make the same Python objects of it, so that what differs is how the
matches are found and fetched. None of the rivals looks for duplicates when it stores, has digests, or keeps
documents and files readable by programs of netCDF.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import tables
from query_objects import WORK, container, key_of, member, order, simulation, substance

from simarchive import StoredSimulationData
from simarchive.container import documents

Objects = list[StoredSimulationData]


class Rival(Protocol):
    """What is measured."""

    name: str

    def point(self, identifier: str, kelvin: float) -> Objects: ...
    def count(self, molecules: int) -> int: ...
    def table(self, molecules: int) -> Any: ...
    def between(self, low: float, high: float) -> Objects: ...
    def store(self, numbers: list[int]) -> None: ...
    def close(self) -> None: ...


def rows(numbers: list[int]) -> Iterator[dict[str, Any]]:
    for number in numbers:
        stored = simulation(number)
        yield {
            "key": key_of(number),
            **stored.index_values(),
            "document": documents.encode(stored.to_document()).text,
            "member": member(number),
        }


def restored(text: str) -> StoredSimulationData:
    return StoredSimulationData.from_document(documents.decode(text, _no_variable))


def _no_variable(name: str, dtype: Any, shape: Any) -> Any:
    raise AssertionError(name)


SCALARS = (
    "substance",
    "temperature",
    "pressure",
    "property_phase",
    "source_calculation_id",
    "force_field_id",
    "statistical_inefficiency",
    "number_of_molecules",
)
PATHS = {"temperature": "thermodynamic_state.temperature.value"}
JSON = {
    name: f"json_extract(document, '$.{PATHS.get(name, name)}')" for name in SCALARS if name != "pressure"
}
JSON["pressure"] = "json_extract(document, '$.thermodynamic_state.pressure.value')"


class SQLite:
    """A JSON column with expression indexes."""

    name = "SQLite"

    def __init__(self, size: int, path: Path | None = None) -> None:
        self.path = path or WORK / f"{size}.sqlite"
        if not self.path.exists():
            self._build(size)
        self.connection = sqlite3.connect(self.path)

    def _build(self, size: int) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE objects (key TEXT PRIMARY KEY, document TEXT, member BLOB)")
            for name in ("substance", "number_of_molecules", "temperature", "source_calculation_id"):
                columns = f"{JSON[name]}, {JSON['temperature']}" if name == "substance" else JSON[name]
                connection.execute(f"CREATE INDEX by_{name} ON objects ({columns})")
            self.connection = connection
            self._insert(order(size))
        self.connection.close()

    def _insert(self, numbers: list[int]) -> None:
        self.connection.executemany(
            "INSERT INTO objects VALUES (?, ?, ?)",
            ((row["key"], row["document"], row["member"]) for row in rows(numbers)),
        )

    def point(self, identifier: str, kelvin: float) -> Objects:
        # The text of the JSON is what an index over JSON can compare.
        number = next(n for n in range(500) if substance(n).identifier == identifier)
        text = documents.encode(simulation(number).to_document()["substance"]).text
        found = self.connection.execute(
            f"SELECT document FROM objects WHERE {JSON['substance']} = json(?) AND {JSON['temperature']} = ?",
            (text, kelvin),
        )
        return [restored(document) for (document,) in found]

    def count(self, molecules: int) -> int:
        sql = f"SELECT count(*) FROM objects WHERE {JSON['number_of_molecules']} = ?"
        return int(self.connection.execute(sql, (molecules,)).fetchone()[0])

    def table(self, molecules: int) -> Any:
        import pandas

        columns = ", ".join(f"{JSON[name]} AS {name}" for name in SCALARS)
        sql = f"SELECT key, {columns} FROM objects WHERE {JSON['number_of_molecules']} = ?"
        return pandas.read_sql_query(sql, self.connection, params=(molecules,))

    def between(self, low: float, high: float) -> Objects:
        sql = f"SELECT document FROM objects WHERE {JSON['temperature']} BETWEEN ? AND ?"
        return [restored(document) for (document,) in self.connection.execute(sql, (low, high))]

    def store(self, numbers: list[int]) -> None:
        with self.connection:
            self._insert(numbers)

    def close(self) -> None:
        self.connection.close()


class Row(tables.IsDescription):  # type: ignore[misc]
    """Columns, and document and member as texts of fixed size."""

    key = tables.StringCol(32)
    substance = tables.StringCol(80)
    thermodynamic_state = tables.StringCol(60)
    temperature = tables.Float64Col()
    pressure = tables.Float64Col()
    property_phase = tables.Int32Col()
    source_calculation_id = tables.StringCol(32)
    force_field_id = tables.StringCol(32)
    statistical_inefficiency = tables.Float64Col()
    number_of_molecules = tables.Int64Col()
    document = tables.StringCol(2600)
    member = tables.StringCol(600)


class PyTables:
    """One indexed table."""

    name = "PyTables"

    def __init__(self, size: int, path: Path | None = None) -> None:
        self.path = path or WORK / f"{size}.tables.h5"
        if not self.path.exists():
            with tables.open_file(self.path, "w") as file:
                self.rows = file.create_table("/", "objects", Row, expectedrows=size)
                self._append(order(size))
                for name in ("substance", "temperature", "number_of_molecules", "source_calculation_id"):
                    self.rows.cols._f_col(name).create_csindex()
        self.file = tables.open_file(self.path, "r" if path is None else "a")
        self.rows = self.file.root.objects

    def _append(self, numbers: list[int]) -> None:
        new = self.rows.row
        names = self.rows.colnames
        for values in rows(numbers):
            for name in names:
                value = values[name]
                new[name] = value.encode() if isinstance(value, str) else value
            new.append()
        self.rows.flush()

    def point(self, identifier: str, kelvin: float) -> Objects:
        condition = "(substance == wanted) & (temperature == kelvin)"
        found = self.rows.read_where(
            condition, {"wanted": identifier.encode(), "kelvin": kelvin}, field="document"
        )
        return [restored(text.decode()) for text in found]

    def count(self, molecules: int) -> int:
        return len(self.rows.get_where_list("number_of_molecules == wanted", {"wanted": molecules}))

    def table(self, molecules: int) -> Any:
        import pandas

        places = self.rows.get_where_list("number_of_molecules == wanted", {"wanted": molecules})
        columns = {name: self.rows.read_coordinates(places, field=name) for name in ("key", *SCALARS)}
        return pandas.DataFrame(
            {name: np.char.decode(v) if v.dtype.kind == "S" else v for name, v in columns.items()}
        )

    def between(self, low: float, high: float) -> Objects:
        condition = "(temperature >= low) & (temperature <= high)"
        found = self.rows.read_where(condition, {"low": low, "high": high}, field="document")
        return [restored(text.decode()) for text in found]

    def store(self, numbers: list[int]) -> None:
        self._append(numbers)

    def close(self) -> None:
        self.file.close()


class Scan:
    """Plain h5py over the documents of our container: every one is read and parsed."""

    name = "plain scan"

    def __init__(self, size: int, path: Path | None = None) -> None:
        self.path = container(size)
        self.file = h5py.File(self.path, "r")

    def _all(self) -> Iterator[StoredSimulationData]:
        for group in self.file["objects"].values():
            yield restored(group.attrs["document"].decode())

    def point(self, identifier: str, kelvin: float) -> Objects:
        return [
            found
            for found in self._all()
            if found.substance.identifier == identifier and found.thermodynamic_state.kelvin == kelvin
        ]

    def count(self, molecules: int) -> int:
        return sum(found.number_of_molecules == molecules for found in self._all())

    def table(self, molecules: int) -> Any:
        import pandas

        return pandas.DataFrame(
            found.index_values() for found in self._all() if found.number_of_molecules == molecules
        )

    def between(self, low: float, high: float) -> Objects:
        return [found for found in self._all() if low <= found.thermodynamic_state.kelvin <= high]

    def store(self, numbers: list[int]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.file.close()
