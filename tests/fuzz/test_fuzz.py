"""Fuzzing for a few seconds, and all that it found before; `make fuzz` does the same for minutes."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOUND = HERE / "found"
INPUTS = sorted(path for path in FOUND.iterdir() if path.is_file())
NAMES = ("documents", "evaluator-json", "expressions", "units", "log", "chunks", "attributes")
SECONDS = float(os.environ.get("SIMARCHIVE_FUZZ_SECONDS", "3"))


def run(*arguments: str, folder: Path, seconds: float = SECONDS) -> list[dict[str, str]]:
    """Return what a run of the fuzzer found."""
    done = subprocess.run(
        [sys.executable, HERE / "fuzz.py", *arguments],
        env=os.environ
        | {
            "SIMARCHIVE_FUZZ_SECONDS": str(seconds),
            "SIMARCHIVE_FUZZ_FINDINGS": str(folder),
            "SIMARCHIVE_FUZZ_ENGINE": "own",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == bool(found), done.stdout + done.stderr
    return found


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.relative_to(FOUND).as_posix())
def test_what_was_found_once_is_mended(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    if path.suffix == ".xz":
        content = lzma.decompress(content)
    (tmp_path / "input").write_bytes(content)
    target = next(name for name in (*NAMES, "container") if path.name.startswith(name))
    assert run("input", target, str(tmp_path / "input"), folder=tmp_path / "findings") == []


def test_a_few_seconds_of_bytes_find_nothing_new(tmp_path: Path) -> None:
    assert run(*NAMES, folder=tmp_path, seconds=SECONDS / 2) == []


def test_a_few_damaged_containers_find_nothing_new(tmp_path: Path) -> None:
    assert run("containers", folder=tmp_path, seconds=SECONDS / 2) == []


def test_the_fuzzer_notices_a_foreign_exception_a_crash_and_a_hang(tmp_path: Path) -> None:
    """A fuzzer that cannot find anything would be green for ever."""
    program = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import bytes_campaign, findings, targets, time, os, ctypes
from pathlib import Path
sys.argv[0] = {str(HERE / "fuzz.py")!r}
"""
    for number, (what, kind) in enumerate(
        [
            ("raise IndexError(data)", "foreign exception"),
            ("ctypes.string_at(0)", "crash"),
            ("time.sleep(100)", "hang"),
            ("bytearray(b'x') * (5 << 28)", "memory"),
        ]
    ):
        script = tmp_path / f"{number}.py"
        script.write_text(
            program
            + f"""
def run(data):
    {what}
targets.TARGETS["units"] = targets.Target(run, lambda: [b"1 K"])
page = bytes_campaign.Page(Path({str(tmp_path / f"page{number}")!r}))
found = findings.Findings(Path({str(tmp_path / "f")!r}))
bytes_campaign.feed("units", "seed", 1.0, page, found, engine="own")
"""
        )
        if kind == "hang":
            with pytest.raises(subprocess.TimeoutExpired):
                subprocess.run([sys.executable, script], capture_output=True, timeout=8, check=False)
            sys.path.insert(0, str(HERE))
            try:
                from bytes_campaign import Page
            finally:
                sys.path.remove(str(HERE))
            page = Page(tmp_path / f"page{number}")
            assert page.busy_s > 1
            assert page.data == b"1 K"
            continue
        done = subprocess.run(
            [sys.executable, script], capture_output=True, timeout=60, text=True, check=False
        )
        if kind == "crash":
            assert done.returncode == -11
        else:
            assert f'"kind": "{kind}"' in done.stdout, done.stdout + done.stderr
