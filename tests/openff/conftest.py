"""What the tests with OpenFF Evaluator share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    """An empty `EvaluatorStorage`."""
    from simarchive.interop.openff import EvaluatorStorage

    with EvaluatorStorage(tmp_path / "stored_data.h5") as opened:
        yield opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of Evaluator and what it imports are not ours to mend."""
    for item in items:
        if item.path.name.startswith("test_evaluator_"):
            item.add_marker(pytest.mark.filterwarnings("ignore"))
