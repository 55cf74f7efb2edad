"""`simarchive --help` answers at once: what is slow to import is imported by the command that needs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import environment

from simarchive import HDF5Storage, SimulationRun
from simarchive.testing.sample_objects import equilibration, simulation, write_files

HEAVY = {"h5py", "numpy", "pydantic", "pint", "rdkit", "rich", "pandas"}


def said_by(script: str, *arguments: object) -> tuple[str, str]:
    """Return what a program prints on its two streams."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    return done.stdout.decode(), done.stderr.decode()


def modules_after(*arguments: str) -> set[str]:
    script = (
        "import sys, json, atexit\n"
        "from simarchive.cli import main\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"main({list(arguments)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, timeout=60, check=False
    )
    return {name.split(".")[0] for name in json.loads(done.stderr.decode().splitlines()[-1])}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["query", "--help"], ["import"]])
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str]) -> None:
    assert modules_after(*arguments) & HEAVY == set()


def test_a_command_imports_only_its_own_module() -> None:
    script = (
        "import sys\n"
        "from simarchive.cli.application import application\n"
        "application.get_command(None, 'cat')\n"
        "print(*[name for name in sys.modules if name.startswith('simarchive.cli.')])\n"
    )
    loaded = said_by(script)[0].split()
    assert "simarchive.cli.commands.cat" in loaded
    assert "simarchive.cli.commands.query" not in loaded
    assert "simarchive.cli.commands.merge" not in loaded


def test_what_numpy_loads_late_is_not_loaded_by_a_query(tmp_path: Path) -> None:
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for name in ("first", "second", "third"):
            backend.store_object(simulation(name), files)
    script = (
        "import sys\n"
        "from simarchive import HDF5Storage, SimulationDataQuery\n"
        "with HDF5Storage(sys.argv[1], mode='r') as backend:\n"
        "    backend.query('class=simulation phase=liquid')\n"
        "    backend.columns(SimulationDataQuery(), ['substance', 'temperature'])\n"
        "    backend.keys(SimulationDataQuery(source_calculation_id='first'))\n"
        "print('numpy.ma' in sys.modules)\n"
    )
    assert said_by(script, tmp_path / "a.h5")[0] == "False\n"


_OF_OTHER_QUESTIONS = {"rdkit", "pandas", "MDAnalysis", "mdtraj", "matplotlib", "netCDF4", "obstore", "pyedr"}
_OF_VALUES = {"pint", "pydantic", "dask", "packaging"}
_WATCHED = {*_OF_OTHER_QUESTIONS, *_OF_VALUES, "rich", "asyncio", "numpy.ma", "importlib.metadata"}


@pytest.fixture
def with_all_classes(tmp_path: Path) -> Path:
    """Return a container with an object of several classes, and one that was removed."""
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as backend:
        for name in ("first", "second"):
            backend.store_object(simulation(name), files)
        backend.store_object(equilibration("layer"), files)
        backend.store_object(SimulationRun(name="apo", engine="openmm"), files)
        backend.remove_object(backend.store_object(SimulationRun(name="holo"), files))
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("ls", set()),
        ("ls --long", set()),
        ("ls --class run", set()),
        ("info", set()),
        ("stats", set()),
        ("stats --by substance", set()),
        ("log", set()),
        ("query phase=liquid --count", {"pydantic"}),
        ("query molecules>=100 --keys", {"pydantic"}),
        ("query engine=openmm class=run --table", {"pydantic"}),
        ("query T=298.15K --count", {"pydantic", "pint"}),
    ],
)
def test_what_lists_loads_only_what_the_question_needs(
    line: str, needed: set[str], with_all_classes: Path
) -> None:
    command, *rest = line.split()
    script = (
        "import sys, json, atexit\n"
        "from simarchive.cli import main\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"main({[command, str(with_all_classes), *rest]!r})\n"
    )
    printed, loaded = said_by(script)
    assert printed.strip()
    found = set(json.loads(loaded.splitlines()[-1])) & _WATCHED
    # pint itself loads what it finds installed, dask for example.
    allowed = {*needed, "dask", "packaging", "importlib.metadata", "asyncio"} if "pint" in needed else needed
    if "pydantic" in needed:
        allowed = {*allowed, "importlib.metadata"}
    assert needed <= found <= allowed


def test_a_class_of_others_is_loaded_where_its_objects_are_listed(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from simarchive import BaseStoredData, HDF5Storage, register_data_class\n"
        "@register_data_class('Note', version=1)\n"
        "class Note(BaseStoredData):\n"
        "    text: str | None = None\n"
        "    @classmethod\n"
        "    def has_ancillary_data(cls):\n"
        "        return False\n"
        "with HDF5Storage(sys.argv[1]) as backend:\n"
        "    backend.store_object(Note(text='hello'))\n"
    )
    said_by(script, tmp_path / "a.h5")
    script = "import sys\nfrom simarchive.cli import main\nmain(['ls', sys.argv[1], '--json'])\n"
    rows = json.loads(said_by(script, tmp_path / "a.h5")[0])["objects"]
    assert [(row["data_class"], row["text"]) for row in rows] == [("Note", "hello")]
