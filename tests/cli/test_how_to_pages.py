"""Every `console` block of the how-to pages is run, and prints what the page says.

Pages with Python are run as a whole by tests/docs/test_pages_run.py.
"""

import os
import shutil
import subprocess
from pathlib import Path

import prepared_commands
import pytest
from command_runs import EXAMPLES, ROOT, environment
from console_blocks import Step, steps_of
from programs import named_in, path_of

RUN_ELSEWHERE = {"openff-evaluator.md"}  # needs conda: its Python is run by tests/openff
PAGES = sorted(
    path
    for path in (ROOT / "docs" / "how-to").glob("*.md")
    if path.name not in RUN_ELSEWHERE
    and "```console" in (text := path.read_text())
    and "```python" not in text
)


def test_a_page_that_says_something_else_fails() -> None:
    step = Step("echo", "one ... three\n")
    assert step.is_printed("one two three\n")
    assert not step.is_printed("one two four\n")
    assert not step.is_printed("one two three\nand more\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_console_blocks_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    shutil.copytree(EXAMPLES / "stored_data", place / "stored_data")
    shutil.copytree(ROOT / "tests" / "data" / "runs", place / "runs")
    variables = environment() | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    command = programs / "simarchive"
    command.write_text(prepared_commands.program(variables))
    command.chmod(0o755)
    steps = steps_of(page)
    assert steps
    for step in steps:
        for program in named_in(step.command):
            path_of(program)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", step.command],
            cwd=place,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        output = done.stdout.decode()
        assert step.is_printed(output), f"$ {step.command}\n{output}"
