"""What the tests of publication share."""

import shutil
from pathlib import Path

import pytest
from archives import complete_archive


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that lacks nothing; not to be changed."""
    return complete_archive(tmp_path_factory.mktemp("complete") / "water.h5")


@pytest.fixture
def archive(complete: Path, tmp_path: Path) -> Path:
    """The same, for this test alone."""
    return Path(shutil.copyfile(complete, tmp_path / "water.h5"))
