"""The `console` blocks of a page: commands after ``$``, and below each what it prints."""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command line, and what it prints; ``...`` stands for any text."""

    command: str
    expected: str

    def is_printed(self, output: str) -> bool:
        pattern = ".*?".join(re.escape(part) for part in self.expected.split("..."))
        return re.fullmatch(pattern, output, re.DOTALL) is not None


def steps_of(page: Path) -> list[Step]:
    steps = []
    for block in _BLOCK.findall(page.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            steps.append(Step(command, expected))
    return steps
