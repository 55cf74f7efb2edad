"""Damage a container many times, one copy for each, and count what comes of it by the class of place.

    python campaign.py FOLDER --flips 10000 [--seconds 3600]
    python campaign.py FOLDER --kinds 1000

The folder keeps the container and the results, so that a campaign that was broken off goes on where it was.
At the end it prints the counts as a table; ``FOLDER/counts.json`` and ``FOLDER/counts.md`` have them, too.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flipped_bits
from anatomy import anatomy

PROGRAM = Path(__file__).with_name("damaged_runs.py")
PAGE, SECTOR = 4096, 512
COUNTED = (
    "wrong value",
    "foreign exception",
    "hang or crash",
    "not named",
    "not saved",
    "no report",
    "harmed",
)

Result = dict[str, Any]


def container(folder: Path) -> Path:
    """Return the sound container of a campaign, which is made if it is not there."""
    path = folder / "sound.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        flipped_bits.build(folder / "unfinished.h5", folder / "files", n_runs=1)
        (folder / "unfinished.h5").rename(path)
    return path


def flips(path: Path, count: int, seed: int = 11) -> list[str]:
    """Return single-bit flips, as many in each class of place."""
    return [f"{name}:flip:{offset}:{bit}" for name, offset, bit in anatomy(path).choose(count, seed)]


def other_kinds(path: Path, count: int, seed: int = 12) -> list[str]:
    """Return bytes, 8 bytes, sectors and pages that are others, and files that were cut short."""
    chooser, size = random.Random(seed), path.stat().st_size
    places = list(anatomy(path).choose(count, seed))
    found = []
    for number, (name, offset, _) in enumerate(places):
        kind = number % 5
        if kind == 4:
            short = chooser.randrange(1, 601) if chooser.random() < 0.5 else chooser.randrange(1, size)
            found.append(f"cut:cut:{short}")
            continue
        length = (1, 8, SECTOR, PAGE)[kind]
        value = 0 if length >= SECTOR else chooser.randrange(256)
        found.append(f"{name}:fill:{offset // length * length}:{length}:{value}")
    return found


def run(folder: Path, damages: Sequence[str], *, seconds: float = 1e9) -> list[Result]:
    """Return the result of each damage that was tried before the time was over.

    What ends or stops the program that tries them is a result, too.
    """
    results, end = folder / "results.jsonl", time.monotonic() + seconds
    wanted = dict.fromkeys(damages)
    while time.monotonic() < end:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(folder), str(results), str(end - time.monotonic()), "-"],
            input="\n".join(damages),
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.returncode:
            break
        if not done.stdout or (done.returncode == 1 and "Timeout" not in done.stderr):
            raise RuntimeError(done.stderr)
        how = json.loads(done.stdout.splitlines()[-1])["how"]
        wrong = {"hang or crash": [f"exit code {done.returncode}: {done.stderr[-2000:]}"]}
        with results.open("a") as lines:
            print(json.dumps({"how": how, "named": False, "wrong": wrong, "s": 0}), file=lines)
    found = [json.loads(line) for line in results.read_text().splitlines()]
    return [result for result in found if result["how"] in wanted]


def counts(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """Return how often what happened, by class of place."""
    table: dict[str, dict[str, int]] = {}
    for result in results:
        name, kind, *details = result["how"].split(":")
        if kind != "flip":
            name = {"cut": "cut short", "pages": "old pages"}.get(kind) or f"{details[1]} bytes"
        for row in (table.setdefault(name, _empty()), table.setdefault("all", _empty())):
            row["tried"] += 1
            row["named by verify" if result["named"] else "harmless"] += not set(result["wrong"]) & {
                "not named"
            }
            for what in COUNTED:
                row[what] += what in result["wrong"]
    table["all"] = table.pop("all", _empty())
    return table


def _empty() -> dict[str, int]:
    return dict.fromkeys(("tried", "named by verify", "harmless", *COUNTED), 0)


def as_markdown(table: dict[str, dict[str, int]]) -> str:
    """Return counts as a table of Markdown."""
    columns = list(_empty())
    lines = [f"| place | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(str(row[column]) for column in columns)} |" for name, row in table.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flips", type=int, default=0)
    parser.add_argument("--kinds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9)
    arguments = parser.parse_args()
    path = container(arguments.folder)
    damages = flips(path, arguments.flips) + other_kinds(path, arguments.kinds)
    results = run(arguments.folder, damages, seconds=arguments.seconds)
    for result in results:
        if result["wrong"]:
            print(json.dumps(result))
    table = counts(results)
    (arguments.folder / "counts.json").write_text(json.dumps(table, indent=2))
    (arguments.folder / "counts.md").write_text(as_markdown(table))
    print(as_markdown(table))


if __name__ == "__main__":
    main()
