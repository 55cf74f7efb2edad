"""What a notebook shows of backends, objects, matches and results of queries; and what `print` does."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from report_pages import Page

from simarchive import BaseStoredData, HDF5Storage, PropertyPhase, SimulationDataQuery, StoredSimulationData
from simarchive.data import registry
from simarchive.storage.display import views

KEY = "8d13dbc120154cbaade23403d2d22a29"
HOSTILE = "</td><script>alert(1)</script>\u202e\x1b[31m"


def liquids() -> SimulationDataQuery:
    query = SimulationDataQuery()
    query.property_phase = PropertyPhase.Liquid
    return query


def test_a_notebook_shows_tables(water: Path, tmp_path: Path) -> None:
    shutil.copyfile(water, tmp_path / "water.h5")
    cells = [
        "from simarchive import HDF5Storage, PropertyPhase, SimulationDataQuery\n"
        "query = SimulationDataQuery()\n"
        "query.property_phase = PropertyPhase.Liquid\n"
        "backend = HDF5Storage('water.h5', mode='r')\n"
        "backend",
        f"backend.load({KEY!r})",
        "found = backend.query(query)\nfound",
        "next(iter(found.values()))[0]",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    for cell, word in zip(
        notebook.cells, ("13 objects", "StoredSimulationData", "7 objects", "field"), strict=True
    ):
        [output] = cell.outputs
        shown = Page(output["data"]["text/html"])
        assert shown.unbalanced == []
        assert len(shown.all("table")) == 1
        assert word in shown.visible
        # Where there is no HTML, as on a terminal, the text says the same.
        assert word in output["data"]["text/plain"] or word in ("13 objects", "field", "StoredSimulationData")


def test_print_shows_what_a_notebook_does(water: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        found = backend.query(liquids())
        match = next(iter(found.values()))[1]
        texts = [str(backend), str(found), str(match), str(match.object)]
        for text in texts:
            assert text.isprintable() or set(text) & set("\n")
        assert "13 objects" in texts[0]
        assert all(key[:8] in texts[0] for key in backend.keys())  # noqa: SIM118
        assert texts[1].startswith("7 objects in 1 group\nmatched ")
        assert texts[2].startswith(f"{match.key}\nStoredSimulationData\n")
        assert "observables.Density" in texts[3]
        assert "60 values in g/ml" in str(backend.load(KEY))
        assert str(backend.query(SimulationDataQuery())).splitlines()[1].startswith("key ")
        nothing = liquids()
        nothing.number_of_molecules = 1
        assert str(backend.query(nothing)) == "no object matches"
    assert "is closed" in str(backend)
    assert "is closed" in backend._repr_html_()


def test_a_match_is_still_three_values(water: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        for matches in backend.query(liquids()).values():
            for match in matches:
                key, stored, path = match
                assert (key, stored, path) == match
                assert isinstance(match, tuple)
                assert isinstance(stored, StoredSimulationData)


def test_tables_have_few_rows_and_look_at_no_more_objects(
    water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MOST_ROWS", 3)
    looked_at: list[str] = []
    load = HDF5Storage.load
    monkeypatch.setattr(HDF5Storage, "load", lambda self, key: looked_at.append(key) or load(self, key))
    with HDF5Storage(water, mode="r") as backend:
        found = backend.query(liquids())
        for shown, n_more in ((backend._repr_html_(), 10), (found._repr_html_(), 4)):
            page = Page(shown)
            assert len(page.all("tr")) == 1 + 3
            assert f"and {n_more} more" in page.visible
        assert "and 10 more" in str(backend)
        assert "and 4 more" in str(found)
    assert len(looked_at) == 6


class HostileObject(BaseStoredData):
    """Its texts are meant to break out of the table."""

    data_class_name = "HostileObject"
    note: str

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


def test_no_text_of_an_object_breaks_out_of_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._classes, "HostileObject", HostileObject)
    stored = HostileObject(note=HOSTILE)
    with HDF5Storage(tmp_path / "<b>.h5") as backend:
        backend.store_object(stored, storage_key="mine")
        for shown in (
            stored._repr_html_(),
            backend._repr_html_(),
            views.Match("<i>", stored, None)._repr_html_(),
        ):
            page = Page(shown)
            assert page.unbalanced == []
            assert not page.all("script") + page.all("b") + page.all("i")
        assert "</td><script>alert(1)</script>\\u202e\\x1b[31m" in Page(stored._repr_html_()).visible
        assert "\x1b" not in str(stored) + str(backend)
        # A program that does not know the class sees that the object is there.
        monkeypatch.delitem(registry._classes, "HostileObject")
        assert "mine  HostileObject" in str(backend)
