"""What the tests of strangers share: a directory that they work in, with nothing in it."""

from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of the test and of its children: empty, and without a link in its path."""
    directory = tmp_path.resolve() / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory
