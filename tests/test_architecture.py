"""Imports go down only, and one package alone knows HDF5: read from the source, not from intentions."""

import ast
from pathlib import Path

import pytest

import simarchive

PACKAGE = Path(simarchive.__file__).parent

GROUND = {"errors", "ground"}
FLOOR = {
    **dict.fromkeys(GROUND, 0),
    "journal": 1,
    "codecs": 1,
    "container": 2,
    "chemistry": 2,
    "data": 2,
    "queries": 2,
    "storage": 3,
    "collection": 4,
    "cli": 5,
    "interop": 5,
    "__main__": 5,
}
WINGS = [{"container"}, {"chemistry", "data", "queries"}]
# Within the wing of meaning, too, there is an order.
MEANING = {"chemistry": 0, "data": 1, "queries": 2}
ONLY_IN = {
    "h5py": {"container"},
    "pydantic": {"chemistry", "data", "queries"},
    "pint": {"chemistry", "data", "queries"},
    "rdkit": {"chemistry", "data", "queries"},
    "click": {"cli"},
    "rich": {"cli"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            found.add(module)
            if module == "simarchive":
                found.update(f"simarchive.{alias.name}" for alias in node.names)
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
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
        if FLOOR[other] == FLOOR[room] and room != "__main__":
            if FLOOR[room] == 0:
                assert other == "errors", f"{path} imports {name}: errors are below all else"
                continue
            assert room in MEANING, f"{path} imports {name}, which is beside it"
            assert other in MEANING, f"{path} imports {name}, which is in the other wing"
            assert MEANING[other] <= MEANING[room], f"{path} imports {name}, which is above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_has_one_home(path: Path) -> None:
    for name in imports_of(path):
        library = name.split(".")[0]
        if library in ONLY_IN:
            assert room_of(path) in ONLY_IN[library], f"{path} imports {library}"


def test_no_module_of_leftovers() -> None:
    for path in MODULES:
        assert path.stem not in {"utils", "helpers", "common", "misc", "core", "base_utils"}
