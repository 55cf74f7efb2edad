"""An installed package names its data classes by entry points; it is imported when one of them is met."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MODULE = """
from simarchive import BaseStoredData, register_data_class

@register_data_class("PackagedForTests", version=1)
class Packaged(BaseStoredData):
    number: int

    @classmethod
    def has_ancillary_data(cls):
        return False

    def half(self):
        return self.number / 2
"""
STORE = """
import sys
sys.path.insert(0, sys.argv[1])
from packaged_for_tests import Packaged
from simarchive import HDF5Storage
with HDF5Storage(sys.argv[2]) as backend:
    backend.store_object(Packaged(number=3), storage_key="a")
"""
READ = """
import sys
sys.path.insert(0, sys.argv[1])
from simarchive import HDF5Storage
assert "packaged_for_tests" not in sys.modules
with HDF5Storage(sys.argv[2], mode="r") as backend:
    stored = backend.load("a")
    print(type(stored).__module__, stored.number, getattr(stored, "half", lambda: "no method")())
"""


def run(program: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_a_class_is_imported_from_its_package(tmp_path: Path) -> None:
    site, other = tmp_path / "site", tmp_path / "other"
    other.mkdir()
    information = site / "packaged_for_tests-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "packaged_for_tests.py").write_text(MODULE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: packaged-for-tests\nVersion: 1.0\n")
    entry_points = "[simarchive.data_classes]\nPackagedForTests = packaged_for_tests:Packaged\n"
    (information / "entry_points.txt").write_text(entry_points)
    file = tmp_path / "a.h5"
    run(STORE, site, file)
    assert run(READ, site, file).stdout.split() == ["packaged_for_tests", "3", "1.5"]
    assert run(READ, other, file).stdout.split() == ["simarchive.data.schemas", "3", "no", "method"]
    (site / "packaged_for_tests.py").write_text("raise RuntimeError('it is broken')\n")
    done = run(READ, site, file)
    assert done.stdout.split() == ["simarchive.data.schemas", "3", "no", "method"]
    assert "cannot be imported: it is broken" in done.stderr
