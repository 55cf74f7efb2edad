"""What happens where OpenFF Evaluator is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import simarchive

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


def test_the_rest_of_the_package_does_not_need_it() -> None:
    code = """
import importlib, pkgutil, simarchive
for module in pkgutil.walk_packages(simarchive.__path__, "simarchive."):
    if not module.name.startswith("simarchive.interop.openff") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
