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
import importlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE)]

from by_hand import changes_by_hand  # noqa: E402
from changes import Change, Sampler  # noqa: E402
from noticing import PACKAGES, SOURCE, package_of, tests_for  # noqa: E402

WANTED = 0.85
# Enough for each rule; `make torture` is for the rare moments.
FEWER = {"SIMARCHIVE_CRASH_IMAGES": "400", "SIMARCHIVE_KILLS": "4", "SIMARCHIVE_MODELS": "4"}
# An endless loop ends by its processor time, however busy the machine is; what waits for ever, by the clock.
MOST_PROCESSOR_S, MOST_S = 300, 1800
# Loaded once; each run of the tests begins with all but the project itself.
LOADED = ("numpy", "h5py", "pint", "pydantic", "rdkit.Chem", "netCDF4", "blake3", "click")


@dataclass(frozen=True)
class Outcome:
    """What became of one change: killed, survived or timeout; after how long; the test that noticed."""

    change: Change
    result: str
    seconds: float
    test: str = ""


class FirstFailure:
    """A plugin of pytest that writes down which test failed first; a name may hold any character."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self._place.exists():
            self._place.write_text(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self._place.exists():
            self._place.write_text(report.nodeid)


class Copy:
    """A copy of the project in which changes are made."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.root = folder, folder / "project"
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
        for name in LOADED:
            importlib.import_module(name)
        assert "simarchive" not in sys.modules
        self._sound: set[str] = set()
        self._failing: set[str] = set()

    def _run(self, *arguments: str) -> tuple[int | None, str, str]:
        """Run pytest in the copy and return its code, the test that failed, and what it printed.

        The code is None if it took too long. No process of it is left.
        """
        output, temporary, failed = (self._folder / name for name in ("output", "tmp", "failed"))
        temporary.mkdir()
        failed.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            self._become_pytest(output, temporary, failed, arguments)
        try:
            code = self._code_of(child)
            return code, failed.read_text() if failed.exists() else "", output.read_text(errors="replace")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)

    def _become_pytest(
        self, output: Path, temporary: Path, failed: Path, arguments: tuple[str, ...]
    ) -> NoReturn:
        code: int = pytest.ExitCode.INTERNAL_ERROR
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (MOST_PROCESSOR_S, MOST_PROCESSOR_S + 5))
            fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(fd, stream)
            os.chdir(self.root)
            os.environ.update(
                FEWER, PYTHONPATH=str(self.root / "src"), PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(temporary)
            )
            tempfile.tempdir = sys.pycache_prefix = None
            sys.dont_write_bytecode = True
            sys.path[:0] = [str(self.root / "src")]
            place = importlib.import_module("simarchive").__file__
            assert Path(place or "").is_relative_to(self.root), "another copy was imported"
            code = pytest.main(
                ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no", *arguments],
                [FirstFailure(failed)],
            )
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    @staticmethod
    def _code_of(child: int) -> int | None:
        end = time.monotonic() + MOST_S
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return None if code == -signal.SIGXCPU else code
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None

    def outcome(self, change: Change) -> Outcome:
        """Make a change, run the tests that should notice, and take it back."""
        tests = [name for name in tests_for(change.path) if (self.root / name).exists()]
        begun = time.monotonic()
        while True:
            code, failed, _ = self._run_changed(
                change, *(f"--deselect={test}" for test in self._failing), *tests
            )
            if not failed or (self._passes_unchanged(failed) and self._fails_again(change, failed)):
                break
        result = {None: "timeout", 0: "survived"}.get(code, "killed")
        if result == "killed" and not failed:
            # Nothing could be imported, or the process is gone; or these tests cannot run here at all.
            code, _, output = self._run("--collect-only", *tests)
            if code:
                raise SystemExit(f"without any change, the tests cannot be run:\n{output[-3000:]}")
        return Outcome(change, result, time.monotonic() - begun, failed)

    def _run_changed(self, change: Change, *arguments: str) -> tuple[int | None, str, str]:
        path = self.root / change.path
        path.write_text(change.after)
        try:
            return self._run(*arguments)
        finally:
            path.write_text(change.before)

    def _fails_again(self, change: Change, test: str) -> bool:
        """Return whether a test fails again by itself; else it was the machine that it noticed."""
        code, _, _ = self._run_changed(change, test)
        if code == 0:
            self._failing.add(test)
            print(f"left out, since it fails now and then: {test}", flush=True)
        return code != 0

    def _passes_unchanged(self, test: str) -> bool:
        """Return whether a test passes without any change; one that does not says nothing about a change."""
        if test in self._sound:
            return True
        code, _, _ = self._run(test)
        (self._failing if code else self._sound).add(test)
        if code:
            print(f"left out, since it fails without any change: {test}", flush=True)
        return not code


def chosen(words: list[str]) -> list[Change]:
    """Return the changes to make, those made by hand first."""
    count = int(os.environ.get("SIMARCHIVE_MUTANTS", "40"))
    seed = os.environ.get("SIMARCHIVE_MUTANTS_SEED", "simarchive-1")
    print(f"seed {seed}, {count} changes", flush=True)
    found = changes_by_hand(ROOT) if os.environ.get("SIMARCHIVE_MUTANTS_BY_HAND") != "0" else []
    sampler = Sampler(ROOT, seed)
    shares = []
    for number, package in enumerate(PACKAGES):
        share = (count + number) // len(PACKAGES)
        paths = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / SOURCE / package).rglob("*.py"))
        shares.append(sampler.draw(paths, share))
    # In turn, so that each package has its part if the time is over.
    found += [change for turn in itertools.zip_longest(*shares) for change in turn if change is not None]
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
