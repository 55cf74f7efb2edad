"""A command asks for all keys of a container once at most, however many keys it is given or prints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from simarchive import HDF5Storage
from simarchive.cli.application import application
from simarchive.container.contents import Contents

COMMANDS = {
    "query in groups": ["query", "{}", "phase=liquid,gas"],
    "query with explanation": ["query", "{}", "substance=O", "--explain"],
    "query without a match": ["query", "{}", "phase=solid"],
    "ls": ["ls", "{}"],
    "show": ["show", "{}", "8d13"],
    "cat": ["cat", "{}", "8d13/output.pdb", "ed3c/output.pdb", "0a70/output.pdb"],
    "extract": ["extract", "{}", "8d13", "ed3c", "0a70", "--files", "output.pdb", "-o", "out"],
    "rm": ["rm", "{}", "8d13", "ed3c", "0a70", "--force"],
}


@pytest.mark.parametrize("what", COMMANDS)
def test_all_keys_are_asked_for_once(
    water: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    keys = HDF5Storage.keys

    def counted(backend: HDF5Storage, *query: object) -> list[str]:
        if not query:
            asked.append(what)
        return keys(backend, *query)  # type: ignore[arg-type]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HDF5Storage, "keys", counted)
    arguments = [part.format(water) for part in COMMANDS[what]]
    outcome = CliRunner().invoke(application, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    assert len(asked) == (0 if "without" in what else 1)


def test_cat_looks_at_no_other_file(water: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Contents, "members")
    outcome = CliRunner().invoke(application, ["cat", str(water), "8d13/output.pdb"], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "HETATM" in outcome.output


def test_extract_looks_at_chosen_files_only(
    water: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Contents, "members")
    arguments = ["extract", str(water), "8d13", "--files", "output.pdb", "-o", str(tmp_path / "out")]
    outcome = CliRunner().invoke(application, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    shutil.rmtree(tmp_path / "out")
