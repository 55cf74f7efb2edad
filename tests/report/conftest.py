"""What the tests of reports share: a container with the example data, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_pages import Page, imported

from simarchive import HDF5Storage
from simarchive.interop.report import gather, page_of


@pytest.fixture(scope="session")
def water(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container with the example data; not to be changed."""
    return imported(tmp_path_factory.mktemp("report") / "water.h5")


@pytest.fixture(scope="session")
def page(water: Path) -> Page:
    """The page on it."""
    with HDF5Storage(water, mode="r") as backend:
        return Page(page_of(gather(backend)))
