"""Hostile directories through every command that takes one, each command in a forked process with limits.

    python directory_campaign.py [EVERY] [KIND...]

prints JSON: how many directories and commands there were, with which exit codes, and what was wrong. With
EVERY, each so many-th directory of a kind is taken; with KIND, only those of these kinds.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import directories
from directories import SECRET, SOUND, VICTIM, HostileDirectory

from simarchive.cli import main
from simarchive.errors import StorageError
from simarchive.storage.evaluator_directory import LocalFileStorage
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.merging import merge

LONGEST_S = 10
MOST_BYTES = 1 << 30
# What Python and its libraries map without touching it is counted, too.
MOST_ADDRESSES = 4 << 30
DOCUMENTED = {0, 17, *(code for code in range(1, 19))}
_ALARM_S = 60

assert LocalFileStorage and HDF5Storage and merge  # imported once, for all processes that are forked


@dataclass
class Done:
    """What a command did."""

    code: int  # negative: the signal that ended it
    said: str
    seconds: float
    peak_bytes: int


@dataclass
class Summary:
    """What the campaign found."""

    directories: int = 0
    commands: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0
    seconds: Counter[str] = field(default_factory=Counter)  #: by command
    peak_bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def run(work: Path, *arguments: str | Path) -> Done:
    """Run a command in a forked process."""
    begin = time.monotonic()
    said = work.parent / "said"
    child = os.fork()
    if not child:
        code = 99
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_ALARM_S)
            for number, path, how in ((0, "/dev/null", os.O_RDONLY), (1, said, os.O_WRONLY | os.O_CREAT)):
                os.dup2(os.open(path, how | os.O_TRUNC * (number > 0), 0o600), number)
            os.dup2(1, 2)
            os.chdir(work)
            sys.argv = ["simarchive", *map(str, arguments)]
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    text = said.read_bytes().decode("utf-8", "surrogateescape")
    return Done(os.waitstatus_to_exitcode(status), text, time.monotonic() - begin, usage.ru_maxrss << 10)


def prepared(original: Path, work: Path) -> None:
    """Make a copy of the directory, and beside it what nobody may take or change."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "home" / "inner").mkdir(parents=True)
    (work / "home" / "empty").mkdir()
    for name in ("id_rsa", "trajectory.dcd", "output.pdb", "inner/notes.txt"):
        (work / "home" / name).write_bytes(SECRET)
    document = (original / f"{VICTIM}.json").read_text()
    (work / "home" / "secret.json").write_text(document.replace("victim", SECRET.decode().strip()))
    shutil.copytree(original, work / "dir")


def state_of(place: Path) -> list[tuple[object, ...]]:
    """Return all that is below a folder, with what changes when someone writes to it."""
    found: list[tuple[object, ...]] = []
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        found.append((path, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino))
    return found


class Campaign:
    """The commands for one directory after the other."""

    def __init__(self, root: Path) -> None:
        self.summary = Summary()
        self._original, self._work = root / "original", root / "work"
        directories.make_directory(self._original)

    def take(self, hostile: HostileDirectory) -> None:
        """Make a hostile directory, and run all commands on it."""
        prepared(self._original, self._work)
        try:
            hostile.change(self._work / "dir")
        except PermissionError:
            self.summary.skipped.append(f"{hostile.name}: needs root")
            return
        self.summary.directories += 1
        self.summary.kinds[hostile.kind] += 1
        before = state_of(self._work / "home")
        with _meanwhile(hostile, self._work / "dir"):
            for arguments in COMMANDS if hostile.is_directory else REFUSING_COMMANDS:
                # Where the user names a link as the place to write to, it is followed.
                if arguments[0] != "extract" or not (self._work / arguments[-1]).is_symlink():
                    self._check(hostile, arguments)
        if state_of(self._work / "home") != before:
            self._fault(hostile, "", "something outside was changed")

    def _check(self, hostile: HostileDirectory, arguments: tuple[str, ...]) -> None:
        done = run(self._work, *arguments)
        summary, what = self.summary, " ".join(arguments)
        summary.commands += 1
        summary.codes[done.code] += 1
        summary.longest_s = max(summary.longest_s, done.seconds)
        summary.seconds[arguments[0]] += done.seconds
        summary.peak_bytes = max(summary.peak_bytes, done.peak_bytes)
        if done.code not in DOCUMENTED or "Traceback" in done.said:
            self._fault(hostile, what, f"exit code {done.code}: {done.said[-300:]!r}")
        if done.seconds > LONGEST_S or done.peak_bytes > MOST_BYTES:
            self._fault(hostile, what, f"{done.seconds:.1f} s, {done.peak_bytes >> 20} MiB")
        if not all(c.isprintable() or c in "\n\r\t" for c in done.said):
            self._fault(hostile, what, f"says {done.said[-300:]!r}")
        self._check_result(hostile, arguments, done)

    def _check_result(self, hostile: HostileDirectory, arguments: tuple[str, ...], done: Done) -> None:
        what = " ".join(arguments)
        kept = [path for path in self._work.iterdir() if path.name not in ("dir", "home")]
        files = [file for path in kept for file in (path.rglob("*") if path.is_dir() else [path])]
        for file in files:
            if stat.S_ISREG(file.lstat().st_mode) and SECRET.strip() in file.read_bytes():
                self._fault(hostile, what, f"the secret is in {file.name}")
        if SECRET.decode().strip() in done.said:
            self._fault(hostile, what, "the secret was said")
        if hostile.is_directory and arguments[0] == "import" and done.code in (0, 17):
            try:
                with HDF5Storage(self._work / "a.h5", mode="r") as backend:
                    keys = set(backend.keys())
            except StorageError as error:
                self._fault(hostile, what, f"no container: {error}")
                return
            if not keys >= set(SOUND):
                self._fault(hostile, what, f"left out what is sound: {set(SOUND) - keys}")
            if VICTIM not in keys and (VICTIM not in done.said or done.code != 17):
                self._fault(
                    hostile, what, f"left out in silence, exit code {done.code}: {done.said[-300:]!r}"
                )
            if hostile.expected is not None and done.code != hostile.expected:
                self._fault(hostile, what, f"exit code {done.code}: {done.said[-300:]!r}")
        elif hostile.is_directory and arguments[0] == "import" and hostile.expected in (0, 17):
            self._fault(hostile, what, f"exit code {done.code}: {done.said[-300:]!r}")

    def _fault(self, hostile: HostileDirectory, what: str, fault: str) -> None:
        self.summary.faults.append(f"{hostile.name}: {what}: {fault}")


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("import", "--codec", "raw", "dir", "a.h5"),
    ("import", "--codec", "raw", "dir", "a.h5"),
    ("merge", "--codec", "raw", "dir", "-o", "m.h5"),
    ("merge", "--dry-run", "dir", "a.h5", "-o", "n.h5"),
    ("diff", "a.h5", "dir"),
    ("verify", "dir"),
    ("verify", "--full", "a.h5"),
    ("export", "a.h5", "dir"),
    ("export", "a.h5", "out"),
    ("extract", "a.h5", SOUND[0], "--flat", "--overwrite", "-o", f"dir/{VICTIM}"),
)
REFUSING_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("import", "dir", "b.h5"),
    ("merge", "dir", "-o", "m.h5"),
    ("diff", "dir", "dir"),
    *((name, "dir") for name in ("info", "ls", "verify", "repair", "repack")),
    ("query", "dir", "n_molecules > 1"),
    ("show", "dir", VICTIM),
    ("rm", "dir", VICTIM),
    ("subset", "dir", "-o", "s.h5"),
)


@contextlib.contextmanager
def _meanwhile(hostile: HostileDirectory, directory: Path) -> Iterator[None]:
    """Have another process change the directory all the time, as a hostile one may."""
    if hostile.meanwhile is None:
        yield
        return
    child = os.fork()
    if not child:
        end = time.monotonic() + _ALARM_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                hostile.meanwhile(directory)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def campaign(every: int = 1, *kinds: str) -> Summary:
    """Run the campaign over each so many-th directory of some kinds, or of all."""
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as root:
        running = Campaign(Path(root))
        # Ctrl-C ends it with what was found so far.
        with contextlib.suppress(KeyboardInterrupt):
            for hostile in directories.hostile_directories():
                if seen[hostile.kind] % every == 0 and (not kinds or hostile.kind in kinds):
                    running.take(hostile)
                seen[hostile.kind] += 1
    return running.summary


if __name__ == "__main__":
    print(json.dumps(vars(campaign(int(sys.argv[1]), *sys.argv[2:])), indent=2))
