"""The real command in a process of its own."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simarchive

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    exit_code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document."""
        return json.loads(self.output)

    def succeeded(self) -> "Outcome":
        assert self.exit_code == 0, self.errors
        assert self.errors == ""
        return self

    def failed(self, exit_code: int, *words: str) -> str:
        """Check that the command failed with one line that holds all words, and return the line."""
        assert "Traceback" not in self.errors
        lines = self.errors.splitlines()
        assert self.exit_code == exit_code, self.errors
        assert lines[0].startswith("simarchive: "), self.errors
        assert all(line.startswith("  ") for line in lines[1:]), self.errors
        for word in words:
            assert word in self.errors
        return lines[0]


Run = Callable[..., Outcome]


def environment() -> dict[str, str]:
    """Return the environment of a command: this source tree, and nothing of the terminal."""
    source = str(Path(simarchive.__file__).parents[1])
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return kept | {"PYTHONPATH": source, "PYTHONWARNINGS": "error::DeprecationWarning:simarchive"}


def command_line(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "simarchive", *map(str, arguments)]
