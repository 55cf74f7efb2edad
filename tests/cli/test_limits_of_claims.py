"""A limit on what a file claims can be raised, and lowered, from the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from simarchive import HDF5Storage
from simarchive.ground.limits import Limits
from simarchive.testing.sample_objects import simulation, write_files

PAGE = Path(__file__).parents[2] / "docs/reference/command-line.md"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits")
    with HDF5Storage(folder / "a.h5") as backend:
        files = write_files(folder / "files")
        # Zeros take no room in the container: nothing but the claim says how many there are.
        (files / "zeros.bin").write_bytes(bytes(1 << 20))
        backend.store_object(simulation("1"), files, storage_key="one")
    return folder / "a.h5"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simarchive", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_the_option_lowers_and_raises_the_limits(path: Path) -> None:
    low = run("--max-bytes", 1000, "cat", path, "one/zeros.bin")
    assert low.returncode == 11, low.stderr
    assert "zeros.bin" in low.stderr
    assert "simarchive --max-bytes N" in low.stderr
    high = run("--max-bytes", 1 << 20, "cat", path, "one/zeros.bin", SIMARCHIVE_MAX_BYTES="1000")
    assert high.stdout == "\0" * (1 << 20)


@pytest.mark.parametrize("text", ["0", "-5", "many"])
def test_a_limit_that_is_none_is_refused(path: Path, text: str) -> None:
    assert run("--max-bytes", text, "show", path, "one").returncode == 2


def test_the_page_has_the_limits() -> None:
    text = PAGE.read_text()
    section = text[text.index("## Limits") : text.index("## Exit codes")]
    numbers = [int(number.replace(",", "")) for number in re.findall(r"\| ([\d,]+) bytes \|", section)]
    assert numbers == list(asdict(Limits()).values())
