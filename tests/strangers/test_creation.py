"""Many make the same container at the same moment: all get it, and what each stores is there."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import force_field, keys_in, outcome, run, say, start

from simarchive import HDF5Storage

ROUNDS = int(os.environ.get("SIMARCHIVE_CREATION_ROUNDS", "20"))
AT_ONCE = 8


def create_and_store(path: str, number: int) -> list[str]:
    """Return the outcome, and the key if there is one."""
    keys: list[str] = []

    def store() -> None:
        with HDF5Storage(path, lock_timeout_s=30.0) as backend:
            keys.append(backend.store_force_field(force_field(number)))

    return [outcome(store), *keys]


def name_of(turn: int, number: int) -> str:
    """Return one of several names of the container of a turn."""
    return (f"n{turn}.h5", f"door/n{turn}.h5", f"./n{turn}.h5", os.path.abspath(f"n{turn}.h5"))[number % 4]


def race_in_threads(n_rounds: int) -> None:
    Path("door").symlink_to(".")
    for turn in range(n_rounds):
        barrier, said = threading.Barrier(AT_ONCE), []

        def create(number: int, turn: int = turn, barrier: Any = barrier, said: Any = said) -> None:
            barrier.wait()
            said.append(create_and_store(name_of(turn, number), number))

        threads = [threading.Thread(target=create, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say(turn, said)


def race_in_processes(n_rounds: int) -> None:
    Path("door").symlink_to(".")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(AT_ONCE)

    def create(number: int) -> None:
        for turn in range(n_rounds):
            barrier.wait(60)
            said = create_and_store(name_of(turn, number), number)
            say(turn, [said])

    processes = [context.Process(target=create, args=(number,)) for number in range(AT_ONCE)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def look_at_all(n_rounds: int) -> None:
    for turn in range(n_rounds):
        with HDF5Storage(f"n{turn}.h5", mode="r") as backend:
            say(turn, backend.keys(), backend.verify(full=True).ok)


@pytest.mark.slow
@pytest.mark.parametrize("race", [race_in_threads, race_in_processes])
def test_all_who_make_a_container_at_once_get_it_and_lose_nothing(
    race: Callable[[int], None], place: Path
) -> None:
    done = run(race, ROUNDS, timeout_s=30 + ROUNDS).ended_well()
    acknowledged: dict[int, set[str]] = {}
    for turn, said in done.said:
        for what, *keys in said:
            assert what == "ok", what
            acknowledged.setdefault(turn, set()).update(keys)
    assert [len(acknowledged[turn]) for turn in range(ROUNDS)] == [AT_ONCE] * ROUNDS
    for turn, keys, is_sound in run(look_at_all, ROUNDS, timeout_s=30 + ROUNDS).ended_well().said:
        assert set(keys) == acknowledged[turn]
        assert is_sound
    # A log may be left where all closed at once, each waiting for the other only a moment.
    left = {name for name in os.listdir() if not name.endswith(".h5-wal")}
    assert left == {"door", *(f"n{turn}.h5" for turn in range(ROUNDS))}


# ---- one who pauses ------------------------------------------------------------------------------------

CALLS = ("open", "pwrite", "ftruncate", "fsync", "fdatasync", "link", "rename", "replace", "unlink", "remove")


def create_and_pause(pause_before: int) -> None:
    """Make a container, and wait before the n-th system call until the file "go on" is there."""
    n_calls = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **options: object) -> object:
            nonlocal n_calls
            n_calls += 1
            if n_calls == pause_before:
                say("paused")
                while not os.path.exists("go on"):
                    time.sleep(0.002)
            return call(*arguments, **options)

        return wrapper

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    said = outcome(lambda: HDF5Storage("a.h5").close())
    n_of_creation = n_calls
    say("made", said, n_of_creation)
    say("stored", *create_and_store("a.h5", 1))


def create_beside() -> None:
    say(*create_and_store("a.h5", 2))


def test_who_pauses_while_making_a_container_and_who_makes_it_meanwhile_both_get_it(place: Path) -> None:
    (_, _, n_calls), _ = run(create_and_pause, 0).ended_well().said
    assert n_calls > 3
    for pause_before in range(1, n_calls + 1):
        for name in os.listdir():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        paused = start(create_and_pause, pause_before)
        if paused.listen(1) != [["paused"]]:
            break
        beside = run(create_beside).ended_well()
        Path("go on").touch()
        _, (_, made, _), (_, stored, *keys) = paused.finish().ended_well().said
        assert (made, stored) == ("ok", "ok"), pause_before
        ((said, *others),) = beside.said
        assert said == "ok", pause_before
        assert set(keys_in("a.h5")) == {*keys, *others}, pause_before
        assert set(os.listdir()) == {"a.h5", "go on"}, pause_before


def create_where_something_is(what: str) -> None:
    if what == "an empty file":
        Path("a.h5").touch()
    elif what == "a text":
        Path("a.h5").write_text("not HDF5")
    elif what == "no directory":
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
    say(outcome(lambda: HDF5Storage("a.h5").close()))
    if what in ("an empty file", "a text"):
        say(Path("a.h5").read_bytes().decode())


@pytest.mark.parametrize(
    ("what", "content"), [("an empty file", ""), ("a text", "not HDF5"), ("no directory", None)]
)
def test_what_is_there_already_is_never_overwritten_by_a_creation(
    what: str, content: str | None, place: Path
) -> None:
    (said,), *found = run(create_where_something_is, what).ended_well().said
    assert said.split(":")[0] in ("FormatError", "NotFoundError", "StorageIOError"), said
    assert found == ([] if content is None else [[content]])
    assert set(os.listdir()) <= {"a.h5"}
