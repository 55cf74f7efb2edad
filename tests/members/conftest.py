from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from member_material import Box

DATA = Path(__file__).parents[2] / "examples" / "stored_data"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "box.h5")


@pytest.fixture
def example() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        return next(iter(sorted(DATA.glob(f"*/{name}"))))

    return find
