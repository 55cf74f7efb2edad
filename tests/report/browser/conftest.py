"""A browser without a window, and pages in it that note whatever they should not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from simarchive import HDF5Storage
from simarchive.interop.report import gather, write_report


@pytest.fixture(scope="session")
def report(water: Path) -> Path:
    """The report on the example data, as a file."""
    page = water.parent / "report.html"
    with HDF5Storage(water, mode="r") as backend:
        write_report(gather(backend), page)
    return page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as it is installed here."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            # Structures are drawn without a graphics card.
            args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"],
        )
        yield launched
        launched.close()
