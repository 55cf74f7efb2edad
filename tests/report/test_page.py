"""The page: one file, whole, and all that it says is what is in the container."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from programs import path_of
from report_pages import Page

from simarchive import HDF5Storage
from simarchive.interop.report import gather, opening
from simarchive.interop.report.page import SECTIONS

KEY = "8d13dbc120154cbaade23403d2d22a29"


def test_every_element_is_closed(page: Page) -> None:
    assert page.unbalanced == []


def test_the_page_asks_nobody_for_anything(page: Page) -> None:
    for name, attributes in page.elements:
        for attribute, value in attributes.items():
            if attribute in ("src", "href", "action", "srcset", "poster", "data", "xlink:href"):
                assert str(value).startswith(("#", "data:,")), (name, attribute, value)
    styles = " ".join(page.texts_in("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|import\(|eval\(|innerHTML", page.script)


def test_the_policy_forbids_all_but_the_style_and_the_scripts_of_this_package(page: Page) -> None:
    [policy] = [
        str(meta["content"])
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    viewer = (
        resources.files("simarchive.interop.report").joinpath("viewer", "3Dmol-min.js").read_text("utf-8")
    )
    for directive, texts in (
        ("style-src", ["".join(page.texts_in("style"))]),
        ("script-src", [page.script, viewer]),
    ):
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert parts[directive] == " ".join(f"'sha256-{digest}'" for digest in digests)


def test_no_element_has_a_style_or_a_handler_of_its_own(page: Page) -> None:
    """The policy would forbid them."""
    for name, attributes in page.elements:
        assert not {attribute for attribute in attributes if attribute == "style" or attribute[:2] == "on"}, (
            name,
            attributes,
        )


def test_ids_are_unique_and_labels_lead_to_them(page: Page) -> None:
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert not [name for name, number in ids.items() if number > 1]
    for _, attributes in page.elements:
        for attribute in ("for", "aria-labelledby"):
            if attribute in attributes:
                assert attributes[attribute] in ids
    links = {str(link["href"]) for link in page.all("a")}
    assert {f"#{name}" for name, _, _ in SECTIONS} <= links


def test_who_sees_nothing_is_told_what_there_is(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table"))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg.get("aria-label"))
    for heading in page.all("th"):
        assert heading.get("scope") in ("col", "row")


def test_every_object_is_in_the_table_with_its_details(page: Page, water: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        keys = backend.keys()
        assert [row[0] for row in page.table["rows"]] == keys
        for key, details in zip(keys, page.details, strict=True):
            infos = backend.list_members(key)
            assert [(name, digest) for name, _, _, _, digest in details["files"]] == [
                (info.name, info.digest) for info in infos
            ]
            assert backend.class_name_of(key) in details["type"]
    links = {str(link["href"]) for link in page.all("a")}
    assert {f"#object-{key}" for key in keys} <= links


def test_means_and_curves_are_those_of_the_values(page: Page, water: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        density = backend.load(KEY).observables["Density"].value.magnitude[:, 0]
    [plot] = [plot for plot in page.detail(KEY)["series"] if plot[0] == "Density"]
    _, mean, facts, low, high, trace, running, counts = plot
    number, _, error, unit = re.fullmatch(r"(\S+) (±) (\S+) (\S+)", mean).groups()  # type: ignore[union-attr]
    assert unit == "g/ml"
    assert float(number) == pytest.approx(density.mean(), abs=float(error) / 2)
    assert facts.startswith("60 values")
    assert (float(low), float(high)) == pytest.approx((density.min(), density.max()), rel=1e-5)
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def drawn(text: str) -> np.ndarray:
        places = [64 * digits.index(a) + digits.index(b) for a, b in zip(text[::2], text[1::2], strict=True)]
        return density.min() + np.array(places) / 4095 * (density.max() - density.min())

    step = (density.max() - density.min()) / 4095
    assert drawn(trace) == pytest.approx(density, abs=step)
    assert drawn(running) == pytest.approx(np.cumsum(density) / np.arange(1, 61), abs=step)
    expected, _ = np.histogram(density, bins=len(counts))
    assert [digits.index(letter) for letter in counts] == pytest.approx(expected * 63 / expected.max(), abs=1)


def test_it_says_that_nothing_was_checked_or_what_was_found(page: Page, water: Path) -> None:
    from simarchive.interop.report import page_of

    assert "Not checked." in page.visible
    with HDF5Storage(water, mode="r") as backend:
        checked = Page(page_of(gather(backend, checked=backend.verify())))
    assert "Not checked." not in checked.visible
    assert "Every stored byte was checked, and no error was found" in checked.visible


# R is no Python package: it runs where it is installed, with ncdf4.
HAS_R = shutil.which("Rscript") is not None and (
    subprocess.run(["Rscript", "-e", "library(ncdf4)"], capture_output=True, check=False).returncode == 0
)
WITH_R = ["R"] if HAS_R else []


@pytest.mark.parametrize("name", ["Python", "h5py, without simarchive", "ncdump", "Command line", *WITH_R])
def test_the_examples_of_the_page_run(name: str, water: Path, tmp_path: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        facts = gather(backend)
    example = opening.examples(facts)[name]
    place = tmp_path / facts.name
    place.write_bytes(water.read_bytes())
    if name == "ncdump":
        path_of("ncdump")
    if name == "R":
        # Of objects without an array it lists what there is.
        bare = opening.examples(dataclasses.replace(facts, example=None))[name]
        example = f"{example}\n{bare}"
    is_python = "import" in example
    script = example if is_python else example.replace("simarchive ", f"{sys.executable} -m simarchive ")
    command = [sys.executable, "-c", script] if is_python else ["sh", "-e", "-c", script]
    if name == "R":
        command = ["Rscript", "-e", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert facts.example is not None
    if name in ("Python", "Command line"):
        assert {path.name for path in (tmp_path / "files").rglob("*.pdb")}
    elif name == "ncdump":
        assert f"{facts.example[2]} =" in done.stdout
    elif name == "R":
        assert '[1] "kJ mol-1"' in done.stdout
        assert f"{facts.example[0]}/{facts.example[2]}" in done.stdout
    else:
        assert "observables" in done.stdout


def test_it_shows_what_the_archive_says_of_itself(water: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simarchive.interop.report import page_of

    @dataclasses.dataclass
    class Metadata:
        title: str | None = "Water & methanol"
        authors: tuple[str, ...] = ("Ada Lovelace", "Emmy Noether")
        license: str | None = "CC-BY-4.0"
        doi: str | None = None
        readme: str = "word " * 1000

    monkeypatch.setattr(HDF5Storage, "metadata", Metadata(), raising=False)
    with HDF5Storage(water, mode="r") as backend:
        found = Page(page_of(gather(backend)))
    assert found.texts_in("h1") == found.texts_in("title")[:1] == ["Water & methanol"]
    terms = dict(zip(found.texts_in("dt"), found.texts_in("dd"), strict=True))
    assert terms["authors"] == "Ada Lovelace; Emmy Noether"
    assert terms["license"] == "CC-BY-4.0"
    assert "doi" not in terms
    assert len(terms["readme"]) < 2100
