"""Every Python and console block of README and docs/ is run, page by page, and prints what the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import prepared_commands
import pytest
from page_steps import WARNINGS, Block, Step, blocks_of, is_printed, steps_of
from programs import named_in, path_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

# Why not here, and where instead.
RUN_ELSEWHERE = {
    "docs/how-to/openff-evaluator.md": "needs OpenFF Evaluator: tests/openff/test_evaluator_page.py",
}
# Blocks of other kinds are never run; each kind says why.
NOT_RUN = {
    "text": "what something prints, or a picture",
    "toml": "part of a file of another project",
    "sh": "make, pip and git in a clone: CI itself does what they do",
}


def label_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run(page: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a page in a directory that has copies of the example data, and the command in its path."""
    programs = place / ".programs"
    programs.mkdir()
    shutil.copytree(ROOT / "examples" / "stored_data", place / "stored_data")
    shutil.copytree(ROOT / "tests" / "data" / "runs", place / "runs")
    variables = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "COLUMNS": "120",
    }
    python = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    texts = {"simarchive": prepared_commands.program(variables), "python": python, "python3": python}
    for name, text in texts.items():
        program = programs / name
        program.write_text(text)
        program.chmod(0o755)
    return subprocess.run(
        [sys.executable, *WARNINGS, str(HERE / "run_page.py"), str(page)],
        cwd=place,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def has_python(page: Path) -> bool:
    return any(block.kind == "python" for block in blocks_of(page))


def runs_here(page: Path) -> bool:
    """Return whether a page has steps that no other test runs."""
    if label_of(page) in RUN_ELSEWHERE:
        return False
    return bool(steps_of(page)) and (has_python(page) or page.parent.name != "how-to")


@pytest.mark.parametrize("page", [page for page in PAGES if runs_here(page)], ids=label_of)
def test_the_blocks_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr
    # What needs a program that is missing was left out.
    for step in steps_of(page):
        for program in named_in(step.text) if step.kind == "console" else ():
            path_of(program)


def test_pages_that_are_not_run_here_are_run_elsewhere() -> None:
    for label, reason in RUN_ELSEWHERE.items():
        other = ROOT / reason.rpartition(" ")[2]
        assert label.rpartition("/")[2] in other.read_text()
    # How-to pages of console blocks alone.
    assert '(ROOT / "docs" / "how-to").glob("*.md")' in (ROOT / "tests/cli/test_how_to_pages.py").read_text()


def test_every_block_is_of_a_kind_that_is_run_or_justified() -> None:
    for page in PAGES:
        for block in blocks_of(page):
            assert block.kind in {"python", "console", "shell-session", *NOT_RUN}, (
                f"{label_of(page)}:{block.line}"
            )


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "instead of"),
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```console\n$ echo one\ntwo\n```\n", "instead of"),
        ("```python\n# script.py\nimport missing_module\n```\n", "exit code 1"),
    ],
)
def test_a_page_that_says_something_else_fails(page: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(page)
    done = run(path, tmp_path)
    assert done.returncode == 1
    assert reason in done.stderr


def test_steps_are_read_as_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "1. one\n\n   ```python\n   x = 1\n   ```\n\n```python\nprint(x)\n```\n\n```text\n1\n```\n"
        "\nwords\n\n```console\n$ echo a\na\n$ true\n```\n"
    )
    assert [block.kind for block in blocks_of(page)] == ["python", "python", "text", "console"]
    assert blocks_of(page)[0] == Block("python", "x = 1\n", 3, "1. one\n\n")
    assert steps_of(page) == [
        Step("python", "x = 1\n", None, 3),
        Step("python", "print(x)\n", "1\n", 7),
        Step("console", "echo a", "a\n", 17),
        Step("console", "true", "", 17),
    ]
    assert is_printed("one ... three\n", "one two three\n")
    assert not is_printed("one ... three\n", "one two\n")
