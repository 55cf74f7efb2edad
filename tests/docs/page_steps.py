"""The fenced blocks of a page that can be run: Python, with the text it prints, and console sessions."""

from __future__ import annotations

import itertools
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

# Warnings are errors, but for one that MDAnalysis gives to everybody who opens a DCD.
WARNINGS = ("-W", "error", "-W", "ignore::DeprecationWarning:MDAnalysis.coordinates.DCD")

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>[\w-]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)
# Those of the first kind can be run without the Python of their page.
CONSOLE_KINDS = ("console", "shell-session")
_SCRIPT_NAME = re.compile(r"# (\w+\.py)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: what kind it is, its text without indentation, and where it stands."""

    kind: str
    body: str
    line: int
    follows: str
    """The text between the block before and this one."""


@dataclass(frozen=True)
class Step:
    """Something to run, and what it has to print: ``None`` for anything, ``...`` for any text within."""

    kind: str
    """``python``: runs in the namespace of the page. ``script``: is kept as a file, and run. ``console``."""
    text: str
    expected: str | None
    line: int


def blocks_of(page: Path) -> list[Block]:
    text, end, blocks = page.read_text(), 0, []
    for match in _FENCE.finditer(text):
        body = textwrap.dedent(match["body"])
        blocks.append(
            Block(match["kind"], body, text.count("\n", 0, match.start()) + 1, text[end : match.start()])
        )
        end = match.end()
    return blocks


def steps_of(page: Path) -> list[Step]:
    """Return what a page does, in order.

    A ``text`` block right after a Python block is what that prints. A Python block whose first line is a
    comment with a file's name is such a file. In a console block, ``$`` begins a command.
    """
    blocks = blocks_of(page)
    steps: list[Step] = []
    for block, after in itertools.zip_longest(blocks, blocks[1:]):
        if block.kind == "python":
            printed = after is not None and after.kind == "text" and not after.follows.strip()
            kind = "script" if _SCRIPT_NAME.match(block.body.splitlines()[0]) else "python"
            steps.append(Step(kind, block.body, after.body if printed and after else None, block.line))
        elif block.kind in CONSOLE_KINDS:
            for part in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
                command, _, expected = part.partition("\n")
                steps.append(Step("console", command, expected, block.line))
    return steps


def script_name(step: Step) -> str:
    match = _SCRIPT_NAME.match(step.text.splitlines()[0])
    assert match is not None
    return match[1]


def is_printed(expected: str, output: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, output, re.DOTALL) is not None
