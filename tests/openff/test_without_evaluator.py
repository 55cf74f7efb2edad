"""What happens where OpenFF Evaluator is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import simarchive
from simarchive import HDF5Storage
from simarchive.storage.evaluator_json import EvaluatorObject

SOURCE = Path(simarchive.__file__).parents[1]


def run(code: str) -> subprocess.CompletedProcess[str]:
    # As if it were not installed, wherever this runs.
    hidden = "import sys; sys.modules['openff'] = None\n"
    return subprocess.run(
        [sys.executable, "-c", hidden + code],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_error_says_what_to_install() -> None:
    done = run("import simarchive.interop.openff")
    assert done.returncode == 1
    assert "conda install -c conda-forge openff-evaluator" in done.stderr.splitlines()[-1]


def test_an_object_of_a_users_class_is_there_for_everyone(tmp_path: Path) -> None:
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.store_object(EvaluatorObject.of({"@type": "my_project.Note", "text": "hello"}))
    code = f"""
from simarchive import HDF5Storage
with HDF5Storage({str(tmp_path / "a.h5")!r}, "r") as backend:
    for key in backend.keys():
        stored, _ = backend.retrieve_object(key)
        print(type(stored).__name__, stored.type_string, stored.to_typed()["text"])
"""
    done = run(code)
    assert (done.stdout, done.stderr) == ("EvaluatorObject my_project.Note hello\n", "")


def test_the_rest_of_the_package_does_not_need_it() -> None:
    code = """
import importlib, pkgutil, simarchive
for module in pkgutil.walk_packages(simarchive.__path__, "simarchive."):
    if not module.name.startswith("simarchive.interop.openff") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
