"""Two writers by two names of one file, one of which is killed: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from children import Child, command, force_field, run, say, start, store, text_of
from names_of_files import in_this_process, other_name

from simarchive import HDF5Storage, StorageError
from simarchive.errors import ForeignChangeError, LockedError

ROUNDS = int(os.environ.get("SIMARCHIVE_NAME_ROUNDS", "8"))
NAMES = ("symbolic link", "hard link", "bind mount", "/proc/self/fd", "relative")
RESOLVED = ("symbolic link", "/proc/self/fd", "relative")
LONGEST_S = 20.0


def write_by(name: str, who: str, changes_directory: bool) -> None:
    """Store until the file "stop" is there; say what was acknowledged, and what was refused."""
    stop = Path("stop").absolute()
    name = in_this_process(name)
    end, number = time.monotonic() + LONGEST_S, 0
    backend = None
    while time.monotonic() < end and not stop.exists():
        number += 1
        text = f"{who} {number}"
        try:
            if backend is None:
                backend = HDF5Storage(name, lock_timeout_s=5.0)
                if changes_directory:
                    os.chdir("/")
            with backend.transaction():
                key = backend.store_force_field(force_field(text))
            say("stored", text, key)
            if number % 7 == 0 and not changes_directory:
                backend, closing = None, backend
                closing.close()
        except (ForeignChangeError, LockedError) as error:
            say("refused", type(error).__name__)
            time.sleep(0.005)
        except StorageError as error:
            say("error", f"{type(error).__name__}: {error}")
            break
    if backend is not None:
        try:
            backend.close()
        except (ForeignChangeError, LockedError) as error:
            say("refused", type(error).__name__)


def look(name: str) -> None:
    """Say what a container holds by one of its names, or that this name is refused."""
    try:
        with HDF5Storage(in_this_process(name), mode="r", lock_timeout_s=5.0) as backend:
            say("sound", backend.verify(full=True).ok)
            for key in backend.keys():  # noqa: SIM118 - no mapping
                say("there", text_of(backend, key), key)
    except (ForeignChangeError, LockedError) as error:
        say("refused", str(error))


def finished(child: Child) -> list[list[str]]:
    done = child.finish(LONGEST_S + 10)
    assert done.code in (0, -9), str(done)
    assert "Traceback" not in done.err, str(done)
    assert not [line for line in done.said if line[0] == "error"], str(done)
    return done.said


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
def test_two_writers_by_two_names_one_of_them_killed_lose_nothing(kind: str, place: Path) -> None:
    real = place / "a.h5"
    store(real, "before")
    rng = random.Random(kind)
    acknowledged: dict[str, str] = {}
    counts: Counter[str] = Counter()
    with other_name(kind, real) as name:
        changes_directory = kind == "relative"
        for turn in range(ROUNDS):
            children = {
                "first": start(write_by, str(real), f"{turn} first", False),
                "second": start(write_by, name, f"{turn} second", changes_directory),
            }
            doomed, survivor = rng.sample(sorted(children), 2)
            children[doomed].listen(rng.randint(0, 6))
            time.sleep(rng.uniform(0, 0.02))
            children[doomed].signal()
            children[survivor].listen(rng.randint(1, 3))
            time.sleep(rng.uniform(0, 0.02))
            (place / "stop").touch()
            for child in children.values():
                for what, *words in finished(child):
                    counts[what] += 1
                    if what == "stored":
                        acknowledged[words[0]] = words[1]
            (place / "stop").unlink()
            opened = 0
            for path in (str(real), name):
                said = run(look, path).ended_well().said
                if said[0][0] == "refused":
                    assert kind not in RESOLVED, said
                    continue
                opened += 1
                assert said[0] == ["sound", True], (turn, path)
                there = [words[0] for what, *words in said if what == "there"]
                keys = {words[0]: words[1] for what, *words in said if what == "there"}
                assert len(there) == len(set(there)), "an object is there twice"
                lost = {text: key for text, key in acknowledged.items() if keys.get(text) != key}
                assert not lost, (
                    f"round {turn}, by {path}: {len(lost)} of {len(acknowledged)} are lost: {lost}"
                )
            assert opened, f"round {turn}: neither name opens"
            if opened == 1:
                tidy(str(real), name)
        command("verify", real).ended_well()
    assert counts["stored"] > ROUNDS, counts


def tidy(*names: str) -> None:
    """Open for writing and close by the name whose log it is, so that nothing is pending for the other."""
    for name in names:
        run(open_and_close, name)


def open_and_close(name: str) -> None:
    try:
        with HDF5Storage(in_this_process(name), lock_timeout_s=5.0) as backend, backend.transaction():
            pass
    except (ForeignChangeError, LockedError):
        pass
