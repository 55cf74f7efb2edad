"""`--module NAME` imports a module that defines data classes, before the command or after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from simarchive import HDF5Storage
from simarchive.cli.application import application
from simarchive.data import data_class_named, registry
from simarchive.data.schemas import schema_of

MODULE = """
from simarchive import BaseStoredData, register_data_class

@register_data_class("ModuleForTests", version=1)
class OfModule(BaseStoredData):
    number: int

    @classmethod
    def has_ancillary_data(cls):
        return False

    def index_values(self):
        return {"number": self.number + 1000}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "module_for_tests.py").write_text(MODULE)
    (tmp_path / "broken_for_tests.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    yield tmp_path
    registry._classes.pop("ModuleForTests", None)
    sys.modules.pop("module_for_tests", None)


def test_a_command_has_the_classes_of_a_module(folder: Path) -> None:
    import module_for_tests  # type: ignore[import-not-found]

    assert schema_of(module_for_tests.OfModule) is None  # only the class knows what stands in its columns
    with HDF5Storage("a.h5") as backend:
        backend.store_object(module_for_tests.OfModule(number=3), storage_key="a")
    query = ["query", "a.h5", "class=ModuleForTests number=1003", "--keys"]
    for arguments in (["--module", "module_for_tests", *query], [*query, "--module", "module_for_tests"]):
        registry._classes.pop("ModuleForTests")
        sys.modules.pop("module_for_tests")
        assert data_class_named("ModuleForTests") is None
        done = CliRunner().invoke(application, arguments, catch_exceptions=False)
        assert done.output == "a\n"


@pytest.mark.parametrize("name", ["broken_for_tests", "no_such_module", "not a name", "..relative"])
def test_a_module_that_cannot_be_imported_is_named(folder: Path, name: str) -> None:
    done = CliRunner().invoke(application, ["ls", "a.h5", "--module", name])
    assert "cannot be imported" in str(done.exception)
    assert not Path("a.h5").exists()
