from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from member_material import Box

DATA = Path(__file__).parents[2] / "examples" / "stored_data"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "box.h5")


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Path]:
    def find(name: str) -> Path:
        # A copy: MDAnalysis writes the offsets of frames beside an XTC file.
        place = tmp_path / "example" / name
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(next(iter(sorted(DATA.glob(f"*/{name}")))), place)
        return place

    return find
