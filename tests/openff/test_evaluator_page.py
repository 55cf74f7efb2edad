"""The how-to page about OpenFF Evaluator: it runs, and its table names every fault."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "openff.evaluator",
        reason="needs OpenFF Evaluator, which is on conda-forge only: docs/environments/openff-evaluator.yml",
    )
    from openff.evaluator.storage import LocalFileStorage

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "openff-evaluator.md").read_text()


def run_commands(block: str) -> list[str]:
    """Run the lines of a console block that call simarchive; return them."""
    commands = re.findall(r"^ *\$ simarchive (.*)$", block, re.MULTILINE)
    for command in commands:
        subprocess.run([sys.executable, "-m", "simarchive", *shlex.split(command)], check=True)
    return commands


def test_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples" / "stored_data", tmp_path / "stored_data")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^( *)```(python|console)\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    assert [kind for _, kind, _ in blocks].count("python") == 5
    commands: list[str] = []
    for indent, kind, block in blocks:
        if kind == "console":
            commands += run_commands(block)
            continue
        namespace: dict[str, object] = {}
        exec(re.sub(f"^{indent}", "", block, flags=re.MULTILINE), namespace)
        storage = namespace.get("storage")
        if storage is not None:
            storage.close()  # type: ignore[attr-defined]
    assert [command.split()[0] for command in commands] == ["import", "export"]
    assert (tmp_path / "project.h5").stat().st_size > 100_000
    again = LocalFileStorage("stored_data_again")
    assert sum(map(len, again._stored_object_keys.values())) == 13


def test_every_fault_has_a_row_and_a_test() -> None:
    tests = (Path(__file__).parent / "test_evaluator_faults.py").read_text()
    for number in range(1, 33):
        assert f"| B{number:02} |" in PAGE
        assert f"def test_b{number:02}_" in tests
