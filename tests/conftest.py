"""Which tests run: one that is left out is named, and is a failure where SIMARCHIVE_NO_SKIP=1, as in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

NO_SKIP = os.environ.get("SIMARCHIVE_NO_SKIP") == "1"
HAS_EVALUATOR = bool(importlib.util.find_spec("openff") and importlib.util.find_spec("openff.evaluator"))

HAS_BROWSER = bool(
    importlib.util.find_spec("playwright")
    and importlib.util.find_spec("axe_playwright_python")
    and shutil.which("chromium")
)

# A browser is no Python package: what pip cannot install, no environment made with pip can run.
collect_ignore = [] if HAS_BROWSER else ["report/browser"]

# OpenFF Evaluator is on conda-forge only, so no environment made with pip can run these.
collect_ignore_glob = [] if HAS_EVALUATOR else ["openff/test_evaluator_*.py"]

Report = pytest.TestReport | pytest.CollectReport


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not HAS_BROWSER and {Path(argument).name for argument in config.args} & {"tests", "report"}:
        terminalreporter.write_line(
            "No browser is installed: tests/report/browser needs chromium and the extra 'browser'."
        )
    if not HAS_EVALUATOR and {Path(argument).name for argument in config.args} & {"tests", "openff"}:
        terminalreporter.write_line(
            "OpenFF Evaluator is not installed: tests/openff/test_evaluator_*.py are run by 'make evaluator'."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Report, Report]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        path, line, _ = item.location
        _name_the_skipped(report, f"{path}:{(line or 0) + 1}", item.name)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Report, Report]:
    report = yield
    if report.skipped:
        _name_the_skipped(report, collector.nodeid, "all of its tests")
    return report


def _name_the_skipped(report: Report, place: str, name: str) -> None:
    """Say which test is skipped, not which helper found out why; or make it a failure."""
    assert isinstance(report.longrepr, tuple)
    reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    if NO_SKIP:
        report.outcome = "failed"
        report.longrepr = f"{place}: {name}: SIMARCHIVE_NO_SKIP=1 allows no skip: {reason}"
    else:
        path, _, line = place.partition(":")
        report.longrepr = (path, int(line or 1), f"{name}: {reason}")
