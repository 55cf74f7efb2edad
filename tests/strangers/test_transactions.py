"""Transactions inside others, and walks: half of something is never kept, and walks hold nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from children import force_field, is_ours, keys_in, outcome, run, say, start, store

from simarchive import (
    ForceFieldQuery,
    HDF5Storage,
    NotFoundError,
    SimulationDataQuery,
)
from simarchive.storage.merging import merge
from simarchive.testing.sample_objects import simulation, write_files

# ---- transactions inside others ------------------------------------------------------------------------


class OfTheProgram(Exception):
    """What a program raises and catches."""


def _stores_then_fails(backend: HDF5Storage) -> None:
    with backend.transaction():
        backend.store_force_field(force_field("inner 1"))
        raise OfTheProgram


def _removes_then_fails(backend: HDF5Storage) -> None:
    with backend.transaction():
        backend.remove_object(backend.keys()[0])
        raise OfTheProgram


def _replaces_then_fails(backend: HDF5Storage) -> None:
    with backend.transaction():
        backend.store_object(simulation("first", inefficiency=0.5), Path("files"))
        raise OfTheProgram


def _stores_then_misses(backend: HDF5Storage) -> None:
    with backend.transaction():
        backend.store_force_field(force_field("inner 1"))
        backend.remove_object("0" * 32)


def _fails_two_deep(backend: HDF5Storage) -> None:
    with backend.transaction(), backend.transaction():
        backend.store_force_field(force_field("inner 1"))
        raise OfTheProgram


def _update_that_fails(backend: HDF5Storage) -> None:
    """Copy from a store, and fail after the third object."""
    copied: list[str] = []

    def fail(key: str) -> None:
        copied.append(key)
        if len(copied) == 3:
            raise OfTheProgram

    with HDF5Storage("source.h5", mode="r") as source:
        merge(backend, source, progress=fail)


def _interrupted(backend: HDF5Storage) -> None:
    with backend.transaction():
        backend.store_force_field(force_field("inner 1"))
        raise KeyboardInterrupt


SPOILERS: dict[str, Callable[[HDF5Storage], None]] = {
    "stores": _stores_then_fails,
    "removes": _removes_then_fails,
    "replaces": _replaces_then_fails,
    "stores, then does not find": _stores_then_misses,
    "two deep": _fails_two_deep,
    "update": _update_that_fails,
    "is interrupted": _interrupted,
}


def keep_on_after_an_inner_failure(spoiler: str) -> None:
    write_files(Path("files"))
    with HDF5Storage("source.h5") as source, source.transaction():
        for number in range(8):
            source.store_force_field(force_field(f"of the source {number}"))
    with HDF5Storage("a.h5") as backend:
        backend.store_object(simulation("first"), Path("files"))
        before = backend.keys()
        kept = []

        def outer() -> None:
            with backend.transaction():
                kept.append(backend.store_force_field(force_field("outer 1")))
                try:
                    SPOILERS[spoiler](backend)
                except (OfTheProgram, NotFoundError, KeyboardInterrupt):
                    say("caught")
                kept.append(backend.store_force_field(force_field("outer 2")))

        said = outcome(outer)
        found, report = backend.keys(), backend.verify(full=True)
        replaced = backend.retrieve_object(before[0])[0]
        inefficiency = getattr(replaced, "statistical_inefficiency", None)
        after = outcome(lambda: backend.store_force_field(force_field("after")))
        say(said, before, kept, found, report.ok, inefficiency, after)


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_of_a_transaction_whose_inner_one_failed_all_that_was_meant_is_kept_or_nothing(
    spoiler: str, place: Path
) -> None:
    caught, (said, before, kept, found, is_sound, inefficiency, after) = (
        run(keep_on_after_an_inner_failure, spoiler).ended_well().said
    )
    assert caught == ["caught"]
    assert is_ours(said), said
    assert set(found) == (set(before) | set(kept) if said == "ok" else set(before)), said
    assert inefficiency == 2.0
    assert is_sound
    assert after == "ok"


def fail_before_anything_is_changed(failure: str) -> None:
    files = write_files(Path("files"))
    with HDF5Storage("a.h5") as backend:
        vanishing = write_files(Path("vanishing"))
        (vanishing / "large.dcd").write_bytes(os.urandom(3 << 20))
        failures: dict[str, Callable[[], object]] = {
            "no directory": lambda: backend.store_object(simulation("x")),
            "a directory that is none": lambda: backend.store_object(simulation("x"), "nowhere"),
            "no object": lambda: backend.store_object("x"),  # type: ignore[arg-type]
            "a missing file": lambda: backend.store_object(simulation("x"), Path("empty")),
            "an impossible key": lambda: backend.store_object(simulation("x"), files, storage_key="../x"),
            "a file that vanishes": lambda: backend.store_object(simulation("x"), vanishing),
            "no such object": lambda: backend.remove_object("0" * 32),
            "nothing to retrieve": lambda: backend.retrieve_force_field("0" * 32),
            "no such member": lambda: backend.open_member(kept[0], "nothing").read(),
        }
        Path("empty").mkdir()
        kept = []

        def vanish(n_bytes: int) -> None:
            (vanishing / "trajectory.dcd").unlink(missing_ok=True)
            (vanishing / "output.pdb").unlink(missing_ok=True)

        with backend.transaction():
            kept.append(backend.store_force_field(force_field("before")))
            backend.progress = vanish
            say(outcome(failures[failure]))
            backend.progress = None
            kept.append(backend.store_force_field(force_field("after")))
        report = backend.verify(full=True)
        say(kept, backend.keys(), report.ok)


@pytest.mark.parametrize(
    "failure",
    [
        "no directory",
        "a directory that is none",
        "no object",
        "a missing file",
        "an impossible key",
        "a file that vanishes",
        "no such object",
        "nothing to retrieve",
        "no such member",
    ],
)
def test_a_store_that_is_refused_does_not_spoil_the_transaction(failure: str, place: Path) -> None:
    (said,), (kept, found, is_sound) = run(fail_before_anything_is_changed, failure).ended_well().said
    assert said != "ok"
    assert is_ours(said), said
    assert found == kept
    assert is_sound


def raise_own_error_through(depth: int) -> None:
    with HDF5Storage("a.h5") as backend:

        def nested(left: int) -> None:
            with backend.transaction():
                backend.store_force_field(force_field(left))
                if left:
                    nested(left - 1)
                else:
                    raise OfTheProgram("in its own words")

        try:
            nested(depth)
        except OfTheProgram as error:
            say(str(error), len(backend))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_that_leaves_all_blocks_is_the_very_error_and_keeps_nothing(depth: int, place: Path) -> None:
    assert run(raise_own_error_through, depth).ended_well().said == [["in its own words", 0]]


def use_exit_twice() -> None:
    with HDF5Storage("a.h5") as backend:
        with backend.transaction(), backend.transaction():
            backend.store_force_field(force_field("one"))
        say(len(backend))
        with backend.transaction():
            say(outcome(backend.close), backend.closed)


def test_close_inside_a_transaction_takes_it_back_and_says_so(place: Path) -> None:
    done = run(use_exit_twice)
    assert done.said == [[1], ["ok", True]]
    assert len(keys_in("a.h5")) == 1
    assert done.code == 1, str(done)
    assert "was closed inside a transaction: nothing was kept" in done.err, str(done)


# ---- walks ---------------------------------------------------------------------------------------------

WALKS: dict[str, Callable[[HDF5Storage], Iterator[object]]] = {
    "headers": lambda backend: iter(backend.headers()),
    "iteration": lambda backend: iter(backend),
    "query": lambda backend: iter(backend.query(ForceFieldQuery()).values()),
}
N_OBJECTS = 300


def filled_backend() -> HDF5Storage:
    backend = HDF5Storage("a.h5", lock_timeout_s=0.3)
    with backend.transaction():
        for number in range(N_OBJECTS):
            backend.store_force_field(force_field("y" * 400 + str(number)))
    return backend


def interleave(walk: str) -> None:
    backend = filled_backend()
    first, second = WALKS[walk](backend), WALKS[walk](backend)
    next(first)
    next(second)
    rest = list(first)
    say(len(rest), len(list(second)))
    third = WALKS[walk](backend)
    next(third)
    del third
    fourth = WALKS[walk](backend)
    next(fourth)
    say(outcome(lambda: backend.store_force_field(force_field("while a walk is open"))))
    say(outcome(backend.close), is_ours(outcome(lambda: list(fourth))))


@pytest.mark.parametrize("walk", WALKS)
def test_walks_at_once_and_walks_that_are_given_up_disturb_nothing(walk: str, place: Path) -> None:
    lengths, stored, closed = run(interleave, walk, torn_down=True).ended_well().said
    assert lengths == ([N_OBJECTS - 1] * 2 if walk != "query" else [lengths[0]] * 2)
    assert stored == ["ok"]
    assert closed == ["ok", True]
    assert len(keys_in("a.h5")) == N_OBJECTS + 1


def change_in_a_walk(walk: str) -> None:
    """Remove what was visited, and what is still to be visited; store; let others do so too."""
    backend = filled_backend()
    keys = backend.keys()
    other = HDF5Storage("a.h5", lock_timeout_s=0.3)
    told: list[str] = []
    visited = 0
    for number, item in enumerate(WALKS[walk](backend)):
        visited += 1
        if number == 0:
            told.append(outcome(lambda: backend.remove_object(keys[0])))
            told.append(outcome(lambda: backend.remove_object(keys[-1])))
            told.append(outcome(lambda: other.remove_object(keys[-2])))
            told.append(outcome(lambda: other.store_force_field(force_field("of the other"))))
            told.append(outcome(lambda: backend.store_force_field(force_field("of the walker"))))
            thread = threading.Thread(target=lambda: told.append(outcome(lambda: len(backend))))
            thread.start()
            thread.join()
            other.close()
        assert item is not None
    say(told, visited)
    backend.close()
    say(os.path.exists("a.h5-wal"))


@pytest.mark.parametrize("walk", WALKS)
def test_everything_can_change_between_two_items_of_a_walk(walk: str, place: Path) -> None:
    (told, visited), (log_is_left,) = run(change_in_a_walk, walk, torn_down=True).ended_well().said
    assert told == ["ok"] * 6
    assert visited >= N_OBJECTS - 2 if walk != "query" else visited
    assert not log_is_left
    assert len(keys_in("a.h5")) == N_OBJECTS - 1


def walk_in_a_transaction(walk: str) -> None:
    backend = filled_backend()
    with backend.transaction():
        steps = WALKS[walk](backend)
        next(steps)
        backend.store_force_field(force_field("in it"))
    say(len(list(steps)))
    backend.close()


@pytest.mark.parametrize("walk", ["headers", "iteration"])
def test_a_walk_that_began_in_a_transaction_goes_on_after_it(walk: str, place: Path) -> None:
    ((rest,),) = run(walk_in_a_transaction, walk, torn_down=True).ended_well().said
    assert rest in (N_OBJECTS - 1, N_OBJECTS)


def look_at_results_late() -> None:
    """Look at what a query found when the backend is at something else, or closed, or the object is gone."""
    files = write_files(Path("files"))
    backend = HDF5Storage("a.h5")
    keys = [backend.store_object(simulation(str(number)), files) for number in range(3)]
    matches = [m for group in backend.query(SimulationDataQuery()).values() for m in group]
    assert [key for key, _, _ in matches] == keys
    with backend.transaction():
        say(outcome(lambda: len(matches[0][1].observables["PotentialEnergy"])))
        backend.remove_object(keys[1])
    say(outcome(lambda: len(matches[1][1].observables["PotentialEnergy"])))
    say(outcome(lambda: os.fspath(matches[1][2])))
    backend.close()
    say(outcome(lambda: len(matches[2][1].observables["PotentialEnergy"])))


def test_what_a_query_found_can_be_looked_at_later(place: Path) -> None:
    first, *gone, last = run(look_at_results_late, torn_down=True).ended_well().said
    assert first == ["ok"]
    for (said,) in gone:
        assert is_ours(said), said
    assert last == ["ok"]


def hold_a_walk() -> None:
    backend = HDF5Storage("a.h5", mode="r")
    walk = backend.headers()
    next(walk)
    say("inside")
    input_from_the_test = Path("go on")
    while not input_from_the_test.exists():
        threading.Event().wait(0.005)
    say(len(list(walk)))


def test_a_walk_of_one_process_holds_up_no_other(place: Path) -> None:
    store("a.h5", *map(str, range(20)))
    child = start(hold_a_walk)
    child.listen(1)
    store("a.h5", "while another process walks")
    assert not Path("a.h5-wal").exists()
    Path("go on").touch()
    done = child.finish().ended_well()
    assert done.said[1][0] in (19, 20)
