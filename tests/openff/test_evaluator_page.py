"""The how-to page about OpenFF Evaluator: its Python runs, and its table names every fault."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "openff.evaluator",
        reason="needs OpenFF Evaluator, which is on conda-forge only: docs/environments/openff-evaluator.yml",
    )

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "openff-evaluator.md").read_text()


def test_the_python_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples" / "stored_data", tmp_path / "stored_data")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^( *)```python\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    for indent, block in blocks:
        namespace: dict[str, object] = {}
        exec(re.sub(f"^{indent}", "", block, flags=re.MULTILINE), namespace)
        storage = namespace.get("storage")
        if storage is not None:
            storage.close()  # type: ignore[attr-defined]
    assert (tmp_path / "project.h5").stat().st_size > 100_000


def test_every_fault_has_a_row_and_a_test() -> None:
    tests = (Path(__file__).parent / "test_evaluator_faults.py").read_text()
    for number in range(1, 33):
        assert f"| B{number:02} |" in PAGE
        assert f"def test_b{number:02}_" in tests
