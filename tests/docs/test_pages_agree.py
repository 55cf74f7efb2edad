"""Links lead somewhere, and reference pages name what the code has, no more and no less."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import simarchive
from simarchive import HDF5Storage, StorageBackend, errors
from simarchive.codecs.registry import _CODECS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md")]
    + [*DOCS.rglob("*.md")]
)
_FENCES = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCES.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCES.sub("", page.read_text())):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {link}"
        assert path.is_relative_to(ROOT), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors_of(path), f"{page.name}: {link}"


def test_every_page_can_be_reached_from_the_index() -> None:
    linked = {
        (DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall((DOCS / "index.md").read_text())
    }
    assert {page for page in DOCS.rglob("*.md") if page.name != "index.md" or page.parent != DOCS} <= linked


def names_on_disk() -> set[str]:
    """Return every name that layout.py spells, read from its source."""
    tree = ast.parse((ROOT / "src" / "simarchive" / "container" / "layout.py").read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str) and ast.unparse(node.targets[0]) != "README_TEXT":
                names.add(node.value.value)
        elif isinstance(node, ast.FunctionDef):
            [text] = [part.value for part in node.body if isinstance(part, ast.Return)]
            assert isinstance(text, ast.JoinedStr)
            assert isinstance(text.values[0], ast.Constant)
            names.add(str(text.values[0].value))
    return names


def first_cells(page: Path, heading: str) -> list[str]:
    """Return what stands in backticks in the first column of the tables whose first heading is this one."""
    cells, inside = [], False
    for line in page.read_text().splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.startswith(f"| {heading} |"):
            inside = True
        elif inside and (match := re.match(r"\| `(.+?)` \|", line)):
            cells.append(match[1])
    return cells


def test_the_format_page_names_what_the_layout_spells() -> None:
    documented = first_cells(DOCS / "reference" / "format.md", "Name")
    assert set(documented) == names_on_disk()
    assert len(names_on_disk()) > 40
    assert set(first_cells(DOCS / "reference" / "format.md", "Codec")) == set(_CODECS)


def test_the_api_page_names_what_can_be_imported() -> None:
    page = DOCS / "reference" / "python-api.md"
    documented = first_cells(page, "Name")
    of_others = {"simarchive.interop.openff.EvaluatorStorage", "simarchive.interop.mdanalysis"}
    assert set(documented) - of_others == set(simarchive.__all__)
    assert len(documented) == len(set(documented))


def test_the_api_page_names_the_methods_of_backends() -> None:
    text = (DOCS / "reference" / "python-api.md").read_text()
    documented = set(re.findall(r"`(\w+)[(`]", text))
    for backend in (StorageBackend, HDF5Storage):
        for name, _ in inspect.getmembers(backend):
            # Whether two backends are one is a question of merges; nobody asks it by hand.
            if not name.startswith("_") and name != "is_same_store":
                assert name in documented, name


def test_the_page_of_dependencies_names_each_with_its_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted: dict[str, set[str]] = {name_of(requirement): set() for requirement in project["dependencies"]}
    for extra, requirements in extras.items():
        for name in map(name_of, requirements):
            if name != project["name"]:
                wanted.setdefault(name, set()).add(extra)
    needed, _, added = (DOCS / "explanation" / "dependencies.md").read_text().partition("What the extras add")
    documented: dict[str, set[str]] = {name: set() for name in re.findall(r"^\| ([\w-]+) \|", needed, re.M)}
    for name, cell in re.findall(r"^\| ([\w-]+) \| (.+?) \|", added, re.M):
        documented[name] = set(re.findall(r"`(\w+)`", cell))
    del documented["Package"]
    assert documented == wanted


def name_of(requirement: str) -> str:
    """Return the name of a package in a requirement such as ``h5py>=3.13``."""
    return re.split(r"[\[<>=!~; ]", requirement)[0]


def test_the_error_page_says_what_the_code_does() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \| (\d+) \| .+? \| .+? \|$",
        (DOCS / "reference" / "errors.md").read_text(),
        re.M,
    )
    documented = {name: (re.findall(r"`(\w+)`", parents), int(code)) for name, parents, code in rows}
    assert documented == {
        name: ([base.__name__ for base in value.__bases__], value.exit_code)
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.StorageError)
    }


def test_pages_name_no_place_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", page.read_text()), page


def names_of_tests() -> set[str]:
    """Return the names of all tests, those that are shipped for backends of others too."""
    folders = (ROOT / "tests", ROOT / "src" / "simarchive" / "testing")
    texts = (path.read_text() for folder in folders for path in folder.rglob("*.py"))
    return {name for text in texts for name in re.findall(r"def (test_\w+)", text)}


def test_every_fault_has_a_row_whose_tests_exist() -> None:
    page = (DOCS / "explanation" / "faults-not-repeated.md").read_text()
    rows = dict(re.findall(r"^\| (B\d\d) \| (.*) \|$", page, re.MULTILINE))
    assert list(rows) == [f"B{number:02}" for number in range(1, 33)]
    tests = names_of_tests()
    for number, row in rows.items():
        named = re.findall(r"`(test_\w+)`", row)
        assert named or "issue" in row, number
        assert set(named) <= tests, number


def test_every_way_to_lose_data_is_shown_by_a_test_or_cannot_be() -> None:
    page = (DOCS / "explanation" / "how-to-lose-data.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    tests = names_of_tests()
    assert len(rows) > 40
    for what, happens, *shown in rows:
        named = re.findall(r"`(test_\w+)`", " ".join(shown))
        assert set(named) <= tests, what
        assert named or what == "What someone does" or "**not detected**" in happens or "backup" in what, what
