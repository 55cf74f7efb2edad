"""Changes to the code that some test has to notice: `python tests/mutants/mutants.py`, or `make mutants`.

The changes made by hand in `by_hand.py`, and a sample of those that a program makes, are made one at a time
in a copy of the project; then the tests that should notice run until one fails. Survivors are shown as diffs.
Exit code 1: fewer than 85 of 100 were noticed, or a change made by hand no longer fits the code.
Arguments are words; only changes whose path has one of them are made.

Environment
-----------
SIMARCHIVE_MUTANTS
    How many of the changes that a program makes: 40, in equal parts over the packages.
SIMARCHIVE_MUTANTS_SEED
    A word: the same word, the same changes.
SIMARCHIVE_MUTANTS_BY_HAND
    0: none of those made by hand.
SIMARCHIVE_MUTANTS_SECONDS
    No change is begun after so many seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE)]

from by_hand import changes_by_hand  # noqa: E402
from changes import Change, Sampler  # noqa: E402
from noticing import PACKAGES, SOURCE, package_of, tests_for  # noqa: E402

WANTED = 0.85
# Enough for each rule; `make torture` is for the rare moments.
FEWER = {"SIMARCHIVE_CRASH_IMAGES": "400", "SIMARCHIVE_KILLS": "4", "SIMARCHIVE_MODELS": "4"}


@dataclass(frozen=True)
class Outcome:
    """What became of one change: killed, survived or timeout; after how long; the test that noticed."""

    change: Change
    result: str
    seconds: float
    test: str = ""


@dataclass(frozen=True)
class Unchanged:
    """How long tests take without any change, and which of them fail even then."""

    seconds: float
    failing: list[str]


class Copy:
    """A copy of the project in which changes are made."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.root / name)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        self._environment = (
            variables
            | FEWER
            | {
                "PYTHONPATH": str(self.root / "src"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(folder / "tmp"),
            }
        )
        self._unchanged: dict[tuple[str, ...], Unchanged] = {}
        self._check_that_it_is_imported()

    def _check_that_it_is_imported(self) -> None:
        found = self._python("-c", "import simarchive; print(simarchive.__file__)", timeout_s=60)[1].strip()
        if not Path(found).is_relative_to(self.root):
            raise SystemExit(f"the tests would import {found!r}, not the copy in {str(self.root)!r}")

    def _python(self, *arguments: str, timeout_s: float) -> tuple[int | None, str]:
        """Run Python in the copy; the code is None if it took too long. No process of it is left."""
        temporary = Path(self._environment["TMPDIR"])
        temporary.mkdir()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)

    def _run(self, tests: Iterable[str], timeout_s: float, *options: str) -> tuple[int | None, str]:
        quiet = ("-q", "-p", "no:cacheprovider", "--no-header", "--tb=no")
        return self._python("-m", "pytest", *quiet, *options, *tests, timeout_s=timeout_s)

    def unchanged(self, tests: tuple[str, ...]) -> Unchanged:
        """Run tests without any change: those that fail then say nothing about one."""
        if tests not in self._unchanged:
            begun = time.monotonic()
            code, output = self._run(tests, 1800)
            failing = noticing_tests(output)
            if code not in (0, 1) or len(failing) > 5:
                raise SystemExit(f"without any change, tests fail:\n{output[-3000:]}")
            for test in failing:
                print(f"left out, since it fails without any change: {test}", flush=True)
            self._unchanged[tests] = Unchanged(time.monotonic() - begun, failing)
        return self._unchanged[tests]

    def outcome(self, change: Change) -> Outcome:
        """Make a change, run the tests that should notice, and take it back."""
        tests = tuple(name for name in tests_for(change.path) if (self.root / name).exists())
        unchanged = self.unchanged(tests)
        options = ("-x", *(f"--deselect={test}" for test in unchanged.failing))
        path, begun = self.root / change.path, time.monotonic()
        path.write_text(change.after)
        try:
            code, output = self._run(tests, 60 + 4 * unchanged.seconds, *options)
        finally:
            path.write_text(change.before)
        result = {None: "timeout", 0: "survived"}.get(code, "killed")
        return Outcome(change, result, time.monotonic() - begun, next(iter(noticing_tests(output)), ""))


def noticing_tests(output: str) -> list[str]:
    """Return the tests that failed, from what pytest prints at its end."""
    return [line.split()[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]


def chosen(words: list[str]) -> list[Change]:
    """Return the changes to make, those made by hand first."""
    count = int(os.environ.get("SIMARCHIVE_MUTANTS", "40"))
    seed = os.environ.get("SIMARCHIVE_MUTANTS_SEED", "simarchive-1")
    print(f"seed {seed}, {count} changes", flush=True)
    found = changes_by_hand(ROOT) if os.environ.get("SIMARCHIVE_MUTANTS_BY_HAND") != "0" else []
    sampler = Sampler(ROOT, seed)
    for number, package in enumerate(PACKAGES):
        share = (count + number) // len(PACKAGES)
        paths = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / SOURCE / package).rglob("*.py"))
        found += sampler.draw(paths, share)
    return [change for change in found if not words or any(word in change.path for word in words)]


def main(words: list[str]) -> int:
    """Make the changes and say what became of them; return the exit code."""
    begun = time.monotonic()
    seconds = float(os.environ.get("SIMARCHIVE_MUTANTS_SECONDS", "inf"))
    changes, outcomes = chosen(words), []
    with tempfile.TemporaryDirectory(prefix="simarchive-mutants-") as folder:
        copy = Copy(Path(folder))
        for number, change in enumerate(changes, 1):
            if time.monotonic() - begun > seconds:
                print(f"the time is over: {len(changes) - number + 1} changes were not made")
                break
            done = copy.outcome(change)
            outcomes.append(done)
            place = f"{change.path.removeprefix(SOURCE)}:{change.line}"
            print(
                f"[{number}/{len(changes)}] {done.result:8} {place} {change.kind} "
                f"({done.seconds:.0f} s) {done.test}",
                flush=True,
            )
            if done.result == "survived":
                print(change.diff(), flush=True)
    return report(outcomes)


def report(outcomes: list[Outcome]) -> int:
    """Print the counts; return 1 if too few changes were noticed."""
    counts = Counter((package_of(done.change.path), done.result) for done in outcomes)
    results = ("killed", "timeout", "survived")
    print(f"\n{'package':14}" + "".join(f"{result:>10}" for result in results))
    for package in dict.fromkeys(package for package, _ in counts):
        print(f"{package:14}" + "".join(f"{counts[package, result]:10}" for result in results))
    survived = [done for done in outcomes if done.result == "survived"]
    score = 1 - len(survived) / max(1, len(outcomes))
    print(f"{len(outcomes)} changes, {len(survived)} survived: {100 * score:.0f}% noticed")
    return int(score < WANTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
