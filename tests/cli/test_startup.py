"""`simarchive --help` answers at once: what is slow to import is imported by the command that needs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import environment

from simarchive import HDF5Storage
from simarchive.testing.sample_objects import simulation, write_files

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


@pytest.mark.parametrize(
    ("arguments", "needs_units"),
    [
        (["ls"], False),
        (["info"], False),
        (["stats"], False),
        (["query", "phase=liquid", "--count"], False),
        (["query", "T=298.15K", "--count"], True),
    ],
)
def test_what_lists_loads_only_what_the_question_needs(
    arguments: list[str], needs_units: bool, imported: Path
) -> None:
    script = (
        "import sys, json, atexit\n"
        "from simarchive.cli import main\n"
        "def tell():\n"
        "    import pint\n"
        "    # The definitions of all units are read when the first is asked for: a tenth of a second.\n"
        "    registry = type(pint.get_application_registry().get()).__name__\n"
        "    print(json.dumps([registry, sorted(sys.modules)]), file=sys.stderr)\n"
        "atexit.register(tell)\n"
        f"main({[arguments[0], str(imported), *arguments[1:]]!r})\n"
    )
    registry, names = json.loads(said_by(script)[1].splitlines()[-1])
    assert {name.split(".")[0] for name in names} & _OF_OTHER_QUESTIONS == set()
    assert (registry != "LazyRegistry") is needs_units
