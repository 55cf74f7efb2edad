"""What fuzzing found: written down once for each place in the code, with the input that shows it."""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from dataclasses import dataclass, field
from pathlib import Path

MOST_SECONDS = 10.0
MOST_BYTES = 1 << 30
SOURCE = "simarchive"


@dataclass
class Findings:
    """Findings of one run, in a folder.

    Parameters
    ----------
    folder
        Where an input, and a text that says what it did, are written.
    """

    folder: Path
    seen: dict[str, str] = field(default_factory=dict)

    def add(self, target: str, kind: str, what: str, content: bytes, suffix: str = "") -> None:
        """Note what an input did, unless another one did the same."""
        signature = f"{target} {kind} {signature_of(what)}"
        if signature in self.seen:
            return
        name = f"{target}-{hashlib.sha256(content).hexdigest()[:10]}{suffix}"
        self.seen[signature] = name
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        (self.folder / f"{name}.txt").write_text(f"{target}: {kind}\n{what}\n")
        print(
            json.dumps({"target": target, "kind": kind, "what": signature_of(what), "input": name}),
            flush=True,
        )


def signature_of(trace: str) -> str:
    """Return the last line of a traceback without its numbers, and the innermost place in our code."""
    places = re.findall(rf'File ".*?/({SOURCE}/[\w/]+\.py)", line \d+, in (\w+)', trace)
    last = (trace.strip().splitlines() or [""])[-1]
    return (
        f"{re.sub(r'[0-9a-fx]*[0-9][0-9a-fx]*', '#', last)[:120]} ({':'.join(places[-1]) if places else ''})"
    )


def trace_of(error: BaseException) -> str:
    """Return a traceback as text."""
    return "".join(traceback.format_exception(error))[-6000:]
