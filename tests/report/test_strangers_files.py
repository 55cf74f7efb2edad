"""Whatever a container says is text in the page; what is damaged in it is named, and stops nothing."""

from __future__ import annotations

import resource
import shutil
import signal
from pathlib import Path

import h5py
import pytest
from report_pages import Page

from simarchive import BaseStoredData, HDF5Storage
from simarchive.data import registry
from simarchive.errors import ConflictError, NotFoundError, StorageError
from simarchive.interop.report import gather, gathering, page_of, write_report

KEY = "8d13dbc120154cbaade23403d2d22a29"
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--></style></svg></title></textarea><img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "&lt;b&gt; &amp;#60; ${version} $title %s {0} `x`",
    "javascript:alert(1)",
    "\u202ereversed\u2028line\u2029paragraph\x00nul\x1b[31m\x85",
    "]]></script>\n\nsecond line",
)


CLASS = "<img src=x onerror=alert(3)>"


class HostileData(BaseStoredData):
    """What a stranger may have stored; no class of this program has such a name."""

    data_class_name = CLASS
    note: str | None = None
    numbers: list[float] | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return True


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container in which every text is hostile, and its own name too."""
    folder = tmp_path_factory.mktemp("hostile")
    files = folder / "files"
    files.mkdir()
    for number, text in enumerate(HOSTILE):
        (files / f"{number}{text.replace('/', '|').replace(chr(0), '')}").write_text(text)
    path = folder / "<img src=x onerror=alert(2)>&\"'`$x.h5"
    registry._classes[CLASS] = HostileData
    try:
        with HDF5Storage(path) as backend:
            for number, text in enumerate(HOSTILE):
                hostile = HostileData(note=text.replace("\0", ""), numbers=[float(number)])
                backend.store_object(hostile, files, storage_key=f"k{number}")
    finally:
        del registry._classes[CLASS]
    return path


def test_nothing_that_a_container_says_becomes_markup(hostile: Path, page: Page) -> None:
    with HDF5Storage(hostile, mode="r") as backend:
        facts = gather(backend)
    facts.metadata = [("title", HOSTILE[0]), ("authors", HOSTILE[2]), (HOSTILE[1], HOSTILE[3])]
    facts.observables[HOSTILE[2], HOSTILE[0]] = [
        gathering.Mean(HOSTILE[2], HOSTILE[0], 300.0, 1.0, 0.1),
    ]
    found = Page(page_of(facts))
    assert found.unbalanced == []
    assert len(found.all("script")) == len(page.all("script")) == 6
    assert found.script == page.script
    assert {name for name, _ in found.elements} <= {name for name, _ in page.elements} | {
        "p",
        "h3",
        "ul",
        "li",
    }
    for name, attributes in found.elements:
        assert not [attribute for attribute in attributes if attribute.startswith("on")], (name, attributes)
    assert not found.all("img")
    # All of it is there all the same, as text.
    assert "<img src=x onerror=alert(2)>" in found.visible
    assert "</script><script>alert(1)</script>" in found.visible
    assert all(details["lines"] for details in found.details)
    assert not facts.problems
    for number, details in enumerate(found.details):
        assert [int(name[0]) for name, *_ in details["files"]] == list(range(len(HOSTILE))), number
        assert details["type"] == f"{CLASS}, version 1"


def test_nothing_in_a_page_is_shown_as_nothing_or_turns_the_text_around(hostile: Path) -> None:
    with HDF5Storage(hostile, mode="r") as backend:
        text = page_of(gather(backend))
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]


def test_what_cannot_be_read_is_named_and_the_rest_is_there(water: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    shutil.copyfile(water, path)
    with h5py.File(path) as file:
        offset = file[f"objects/{KEY}/observables.Density"].id.get_offset()
        document = file["objects/9feb888e78dc420f80ebd430c9132b47"].attrs["document"]
    damaged = bytearray(path.read_bytes())
    damaged[offset + 9] ^= 0xFF
    place = damaged.find(bytes(document))
    damaged[place : place + 1] = b"["
    path.write_bytes(damaged)
    with HDF5Storage(path, mode="r") as backend:
        found = Page(page_of(facts := gather(backend)))
    assert set(facts.problems) == {KEY, "9feb888e78dc420f80ebd430c9132b47"}
    assert "2 objects not read in full" in found.visible
    for key in facts.problems:
        assert "problem" in found.detail(key)
    assert found.detail(KEY)["files"]
    names = [plot[0] for plot in found.detail(KEY)["series"]]
    assert "Density" not in names
    assert len(names) == 7
    assert sum("series" in details for details in found.details) == 12


def test_the_details_of_one_object_do_not_take_the_room_of_all(
    water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HDF5Storage(water, mode="r") as backend:
        whole = [len(text) for text in gather(backend).details]
        monkeypatch.setattr(gathering, "MOST_BYTES_OF_ONE", max(whole) - 1)
        facts = gather(backend)
        assert facts.n_without_plots == 1
        assert facts.n_without_details == 0
        monkeypatch.setattr(gathering, "MOST_BYTES", sum(whole) // 2)
        facts = gather(backend)
    assert sum(map(len, facts.details)) < sum(whole) // 2 + 200 * len(whole)
    found = Page(page_of(facts))
    assert facts.n_without_plots
    assert f"the curves of {facts.n_without_plots} objects" in found.visible
    assert len(found.details) == len(found.table["rows"]) == 13


def test_a_page_has_the_first_objects_and_counts_the_rest(
    water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST_OBJECTS", 5)
    with HDF5Storage(water, mode="r") as backend:
        keys = backend.keys()
        found = Page(page_of(gather(backend)))
    assert [row[0] for row in found.table["rows"]] == keys[:5]
    assert "Left out, to keep this page small: 8 objects that were stored last." in found.visible


def test_a_report_replaces_a_report_and_nothing_else(water: Path, tmp_path: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        facts = gather(backend)
    page = tmp_path / "report.html"
    assert write_report(facts, page) == page.stat().st_size
    facts.name = "other.h5"
    write_report(facts, page)
    assert "other.h5" in page.read_text()
    for name, content in (
        ("water.h5", b"\x89HDF"),
        ("index.html", b"<!doctype html>\n<title>mine"),
        ("e", b""),
    ):
        other = tmp_path / name
        other.write_bytes(content)
        with pytest.raises(ConflictError, match="is no report"):
            write_report(facts, other)
        assert other.read_bytes() == content
    with pytest.raises(ConflictError, match="no file"):
        write_report(facts, tmp_path)
    with pytest.raises(NotFoundError, match="no folder"):
        write_report(facts, tmp_path / "missing" / "report.html")


def test_a_report_that_cannot_be_written_leaves_the_earlier_one(water: Path, tmp_path: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        facts = gather(backend)
    page = tmp_path / "report.html"
    write_report(facts, page)
    before = page.read_bytes()
    facts.name = "other.h5"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal_before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written: File too large"):
            write_report(facts, page)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, signal_before)
    assert page.read_bytes() == before
    assert list(tmp_path.iterdir()) == [page]
