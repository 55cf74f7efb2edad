"""Run every benchmark, one after another: ``python -m benchmarks [name...]``.

Each is a program of its own (``python benchmarks/members.py --help``). Quote figures from a quiet machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAMS: dict[str, list[str]] = {
    "commit_cost": [],
    "queries": [],
    "report": [],
    "index": [],
    "members": ["--size", "512MiB", "--repeats", "5"],
    "many_runs": [],
    "in_place": ["--size", "512MiB", "--repeats", "5"],
}


def main() -> int:
    names = sys.argv[1:] or list(PROGRAMS)
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}: there are {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"== {name}", flush=True)
        program = Path(__file__).with_name(f"{name}.py")
        subprocess.run([sys.executable, str(program), *PROGRAMS[name]], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
