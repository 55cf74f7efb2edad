"""`make demo` runs, prints nothing that is not its own, and ends with commands that work."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(place: Path, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_demo_ends_with_commands_that_work(tmp_path: Path) -> None:
    printed = run(tmp_path, ROOT / "examples" / "demo.py")
    assert "as it was" in printed
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  simarchive ")]
    assert len(commands) == 3
    for command in commands:
        assert run(tmp_path, "-m", *shlex.split(command))
