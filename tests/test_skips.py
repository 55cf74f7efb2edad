"""A test that cannot run is skipped with the way to get what it needs; in CI that is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NEEDS_B3SUM = "tests/members/test_members.py::test_b3sum_prints_the_stored_digest"
NEEDS_EVALUATOR = "tests/openff/test_evaluator_page.py"


def run(test: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a test as on a machine that has no program of INSTALL and no OpenFF Evaluator."""
    script = (
        "import sys, pytest\n"
        "sys.modules['openff.evaluator'] = None\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', sys.argv[1]]))\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-c", script, test],
        cwd=TESTS.parent,
        env=kept | {"SIMARCHIVE_NO_SKIP": "0", "PATH": "/nowhere"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (NEEDS_B3SUM, "test_b3sum_prints_the_stored_digest: needs the program b3sum: apt-get install b3sum"),
        (NEEDS_EVALUATOR, "docs/environments/openff-evaluator.yml"),
    ],
)
def test_a_skip_names_the_test_and_what_is_missing_and_fails_in_ci(test: str, reason: str) -> None:
    done = run(test)
    assert "1 skipped" in done.stdout
    assert reason in done.stdout
    done = run(test, SIMARCHIVE_NO_SKIP="1")
    assert done.returncode in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert "skipped" not in done.stdout
    assert reason.rpartition(": ")[2] in done.stdout
