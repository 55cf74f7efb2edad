"""The house as it is: read from the source, not from intentions.

Imports go down only and in no circle, each library has one home, a name with an underscore stays in its
module, no folder is a heap, and the ways that the page on architecture shows exist.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import simarchive
from simarchive import StorageBackend

PACKAGE = Path(simarchive.__file__).parent
PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "architecture.md"

FLOOR = {
    "errors": 0,
    "ground": 0,
    "journal": 1,
    "codecs": 1,
    "remote": 1,
    "container": 2,
    "chemistry": 2,
    "data": 2,
    "queries": 2,
    "storage": 3,
    "collection": 4,
    "testing": 4,
    "cli": 5,
    "interop": 5,
    "__main__": 5,
}
# Within the wing of meaning, on the ground, near the disk and at the doors, there is an order too.
ORDER = {
    "journal": 0,
    "remote": 1,
    "chemistry": 0,
    "data": 1,
    "queries": 2,
    "errors": 0,
    "ground": 1,
    "interop": 0,
    "cli": 1,
    "__main__": 2,
}
ONLY_IN = {
    "h5py": {"container"},
    "pydantic": {"chemistry", "data", "queries"},
    "pint": {"chemistry", "data", "queries"},
    "rdkit": {"chemistry", "data", "queries"},
    "packaging": {"storage"},
    "rocrate": {"storage"},
    "click": {"cli"},
    "rich": {"cli"},
    "pytest": {"testing"},
    "MDAnalysis": {"storage"},
    "mdtraj": {"storage"},
    "obstore": {"remote"},
    "xarray": {"storage"},
}
# Each holds one file per like thing, so it grows with what there is.
OF_LIKE_THINGS = {"cli/commands", "codecs", "data", "queries"}
MOST_ENTRIES = 15
MOST_FILES_OF_A_WAY = 12

# Private names of other programs for which these have no public one.
OF_OTHERS = {
    "cli/isolation.py": {"_clear", "_exit", "_run_exitfuncs"},
    # How a unit is defined, in whatever registry: pint says it nowhere else.
    "chemistry/units.py": {"_REGISTRY"},
    "chemistry/unit_names/registries.py": {"_units"},
    "ground/signals.py": {"_getframe"},
    # What its readers take frames from, where they are, and what copies of them are made with.
    "storage/trajectories/mdanalysis.py": {
        *("_auxs", "_current_frame", "_file", "_frame", "_kwargs"),
        *("_read_next_timestep", "_reopen", "_xdr"),
    },
    "interop/openff/merging.py": {"_stored_object_keys"},
    "interop/openff/queries.py": {"_set_value"},
    "interop/openff/values.py": {"_custom_supported_types"},
}
# What a backend overrides, and its base calls.
HOOKS = {name for name in vars(StorageBackend) if name.startswith("_") and not name.startswith("__")}

MODULES = sorted(PACKAGE.rglob("*.py"))


def place_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("simarchive", *(part for part in parts if part != "__init__")))


NAMES = {module_name(path): path for path in MODULES}
each_module = pytest.mark.parametrize("path", MODULES, ids=place_of)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it: of other packages as they are named."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                yield submodule if submodule in NAMES else module


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@each_module
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # The front door shows what every floor has.
    for name in imports_of(path):
        if not name.startswith("simarchive."):
            continue
        other = name.split(".")[1]
        assert other in FLOOR, f"{path} imports {name}, which is on no floor"
        if other == room:
            continue
        assert FLOOR[other] <= FLOOR[room], f"{path} imports {name}, which is above it"
        if FLOOR[other] == FLOOR[room]:
            assert room in ORDER, f"{path} imports {name}, which is beside it"
            assert other in ORDER, f"{path} imports {name}, which is in the other wing"
            assert ORDER[other] < ORDER[room], f"{path} imports {name}, which is above it"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        name: {found for found in imports_of(path) if found in NAMES and found != "simarchive"}
        for name, path in NAMES.items()
        if name != "simarchive"
    }
    # Whoever imports nothing that is left goes; what stays stands in a circle, or imports one.
    while leaves := {name for name, found in graph.items() if not (found & graph.keys()) - {name}}:
        for name in leaves:
            del graph[name]
    users = {name: {user for user, found in graph.items() if name in found} for name in graph}
    while tops := {name for name, found in users.items() if not (found & users.keys()) - {name}}:
        for name in tops:
            del users[name]
    assert not users, f"these import each other: {sorted(users)}"


@each_module
def test_each_library_has_one_home(path: Path) -> None:
    for name in imports_of(path):
        library = name.split(".")[0]
        if library in ONLY_IN:
            assert room_of(path) in ONLY_IN[library], f"{path} imports {library}"


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@each_module
def test_a_private_name_stays_in_its_module(path: Path) -> None:
    tree = ast.parse(path.read_text())
    own = set(HOOKS if place_of(path).startswith(("storage/", "testing/", "collection/")) else ())
    own |= OF_OTHERS.get(place_of(path), set())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and private(node.value):
            own.add(node.value)  # of __slots__, and of object.__setattr__
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            assert node.attr in own, f"{path}:{node.lineno} uses {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("simarchive"):
            for alias in node.names:
                assert not private(alias.name), f"{path}:{node.lineno} imports {alias.name}"


def test_no_module_of_leftovers() -> None:
    for path in MODULES:
        assert path.stem not in {"utils", "helpers", "common", "misc", "core", "base_utils"}


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=place_of)
def test_no_folder_is_a_heap(folder: Path) -> None:
    # Nobody reads the first two, and every package has the others: they are no parts to choose from.
    no_parts = {"__pycache__", "py.typed", "__init__.py", "__main__.py"}
    entries = [entry.name for entry in folder.iterdir() if entry.name not in no_parts]
    if place_of(folder) not in OF_LIKE_THINGS:
        assert len(entries) <= MOST_ENTRIES, f"{folder} holds {len(entries)}: {sorted(entries)}"


def test_the_contract_of_a_backend_is_one_file() -> None:
    assert len((PACKAGE / "storage" / "backend.py").read_text().splitlines()) <= 600


def ways() -> dict[str, list[str]]:
    """Return the files that the page names in each of its sections on a way, in order."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.M)
    return {
        section.splitlines()[0]: re.findall(r"`([\w/]+\.py)`", section)
        for section in sections
        if section.startswith("The way of")
    }


def test_the_page_shows_the_two_ways() -> None:
    assert list(ways()) == ["The way of an object in", "The way of a query out"]


@pytest.mark.parametrize("way", ["The way of an object in", "The way of a query out"])
def test_a_way_is_followed_by_opening_a_dozen_files(way: str) -> None:
    files = list(dict.fromkeys(ways()[way]))
    assert 1 < len(files) <= MOST_FILES_OF_A_WAY
    for file in files:
        assert (PACKAGE / file).is_file(), f"{way} names {file}, which is not there"


def test_what_a_way_says_of_a_file_is_in_it() -> None:
    """Each step names the file and the functions or classes in it: "`a/b.py`: `function`, `Class.method`"."""
    steps = re.findall(r"^\d+\. `([\w/]+\.py)`((?:[:,] `[\w.]+`)+)", PAGE.read_text(), flags=re.M)
    assert [file for file, _ in steps] == [file for way in ways().values() for file in way]
    for file, named in steps:
        tree = ast.parse((PACKAGE / file).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        defined |= {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for name in re.findall(r"`([\w.]+)`", named):
            missing = set(name.split(".")) - defined
            assert not missing, f"{file} has no {name}"
