"""What the tests of commands share: the command, and a container made by it from the example data."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prepared_commands
import pytest
from command_runs import EXAMPLES, Outcome, Run, command_line, environment


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `simarchive` with some arguments in an empty directory."""

    def run_command(*arguments: object, **options: Any) -> Outcome:
        if not options.keys() - {"cwd"}:
            place = options.get("cwd", tmp_path)
            code, output, errors = prepared_commands.run([*map(str, arguments)], place, environment(), 120)
            return Outcome(code, output.decode(), errors.decode())
        done = subprocess.run(
            command_line(*arguments),
            cwd=options.pop("cwd", tmp_path),
            env=environment(),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
            **options,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run_command


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A container with the example data; not to be changed."""
    path = tmp_path_factory.mktemp("imported") / "water.h5"
    done = subprocess.run(
        command_line("import", EXAMPLES / "stored_data", path),
        env=environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    path.chmod(0o444)
    before = path.read_bytes()
    yield path
    # Root writes where it may not.
    assert path.read_bytes() == before


@pytest.fixture
def water(imported: Path, tmp_path: Path) -> Path:
    """A container with the example data, for this test alone."""
    path = tmp_path / "water.h5"
    shutil.copyfile(imported, path)
    return path


@pytest.fixture(scope="session")
def manifest() -> dict[str, Any]:
    """What the example data holds: type, state, and files with their SHA-256, by key."""
    found: dict[str, Any] = json.loads((EXAMPLES / "MANIFEST.json").read_text())
    return found
