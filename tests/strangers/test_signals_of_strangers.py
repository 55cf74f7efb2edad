"""Signals as they come: by a timer, from other processes, and with handlers that use the store themselves."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from children import force_field, is_a, keys_in, outcome, run, say, start, store
from interruptions import KINDS, OPERATIONS, Scene, check_the_end, faults_after, installed
from uses_of_backends import filled

from simarchive import HDF5Storage, SimulationDataQuery, StorageError
from simarchive.testing.sample_objects import simulation

INTERRUPTS = int(os.environ.get("SIMARCHIVE_INTERRUPTS", "200"))
TURNS = max(20, INTERRUPTS // 8)
"""How often a handler that uses a store comes, at most."""


# ---- interrupts by a timer -----------------------------------------------------------------------------


def interrupt_by_a_timer(kind_name: str, n_interrupts: int, seed: int) -> None:
    """Interrupt operations at random moments, so many times; say what was wrong."""
    rng, kind, scene = random.Random(seed), KINDS[kind_name], Scene()
    names = [name for name in OPERATIONS if name not in ("creation", "repack")]
    interrupted, tries, begun = 0, 0, time.monotonic()
    typical_s = dict.fromkeys(names, 0.01)
    faults = 0
    while interrupted < n_interrupts and tries < 20 * n_interrupts and faults < 20:
        tries += 1
        name = rng.choice(names)
        operation = OPERATIONS[name](scene)
        with installed(kind):
            began = time.monotonic()
            try:
                arm(kind_name, rng.uniform(0, 1.2 * typical_s[name]))
                try:
                    operation()
                finally:
                    disarm(kind_name)
                typical_s[name] = time.monotonic() - began
            except kind.raised as error:
                interrupted += 1
                KEPT[:] = [error]
            except BaseException as error:
                faults += 1
                say("fault", f"{name}: it comes as {type(error).__name__}: {str(error)[:200]}")
        for fault in faults_after(scene):
            faults += 1
            say("fault", f"{name}: {fault}")
    for fault in check_the_end(scene):
        say("fault", fault)
    say("interrupted", interrupted, tries, time.monotonic() - begun)


def arm(kind_name: str, delay_s: float) -> None:
    """Have the signal come after a delay, once."""
    if KINDS[kind_name].signal is signal.SIGALRM:
        signal.setitimer(signal.ITIMER_REAL, max(delay_s, 1e-5))
    else:
        # From another thread, as another process would.
        timer = threading.Timer(delay_s, os.kill, (os.getpid(), KINDS[kind_name].signal))
        timer.daemon = True
        TIMERS.append(timer)
        timer.start()


def disarm(kind_name: str) -> None:
    """See that the signal has come, or never comes; its exception may leave here."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    while TIMERS:
        timer = TIMERS[-1]
        timer.cancel()
        timer.join()
        TIMERS.pop()


KEPT: list[BaseException] = []
"""The last exception of an interrupt: a program may keep it, with all that it keeps alive."""
TIMERS: list[threading.Timer] = []
TIMER_KINDS = ("KeyboardInterrupt by an alarm", "Ctrl-C", "an exception of one's own", "SystemExit")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", TIMER_KINDS)
def test_interrupts_at_random_moments_arrive_and_leave_nothing_behind(
    kind: str, seed: int, place: Path
) -> None:
    wanted = -(-INTERRUPTS // (2 * len(TIMER_KINDS)))
    done = start(interrupt_by_a_timer, kind, wanted, seed).watch(60 + wanted)
    faults = [line[1] for line in done.said if line[0] == "fault"]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:20])
    # An interrupt in a finalizer is reported and swallowed by the interpreter; it does not count.
    assert done.code == 0, str(done)
    ((_, interrupted, *_),) = done.said
    assert interrupted == wanted


# ---- handlers that use a store -------------------------------------------------------------------------


def _store(backend: HDF5Storage, turn: int) -> str:
    return backend.store_force_field(force_field(f"signal {turn} of {os.getpid()}"))


def _in_a_transaction(backend: HDF5Storage, turn: int) -> str:
    with backend.transaction():
        return _store(backend, turn)


def _read(backend: HDF5Storage, turn: int) -> None:
    backend.keys()
    backend.query(SimulationDataQuery())
    for header in backend.headers():
        backend.class_name_of(header.key)


def _remove(backend: HDF5Storage, turn: int) -> None:
    backend.remove_object(backend.keys()[-1])


def _open_anew(backend: HDF5Storage, turn: int) -> str:
    with HDF5Storage(backend.path, lock_timeout_s=0.02) as another:
        return _store(another, turn)


def _close(backend: HDF5Storage, turn: int) -> None:
    if turn == 12:
        backend.close()


HANDLERS: dict[str, Callable[[HDF5Storage, int], str | None]] = {
    "stores": _store,
    "stores in a transaction": _in_a_transaction,
    "reads": _read,
    "opens anew and stores": _open_anew,
    "closes": _close,
}


def store_while_a_handler(action: str, whose: str, work: str, n_stores: int) -> None:
    stored = filled("a.h5", lock_timeout_s=0.5)
    second = HDF5Storage("a.h5", lock_timeout_s=0.02)
    handled = {"the same": stored.backend, "another": stored.other, "one on the same file": second}[whose]
    acknowledged: dict[str, list[str]] = {"a.h5": [], "a.h5.other": []}
    of_the_handler = acknowledged["a.h5.other" if whose == "another" else "a.h5"]
    said: Counter[str] = Counter()
    turn = 0

    def handler(*_: object) -> None:
        nonlocal turn
        turn += 1
        try:
            key = HANDLERS[action](handled, turn)
            said["done"] += 1
            if key is not None:
                of_the_handler.append(key)
        except StorageError as error:
            said[f"refused {type(error).__name__}"] += 1
        except Exception as error:
            say("fault", f"FOREIGN in the handler: {type(error).__name__}: {error}")
        finally:
            if is_at_work and turn < TURNS:
                signal.setitimer(signal.ITIMER_REAL, 0.003)  # Never in the handler itself.

    def change(number: int) -> None:
        if work == "files":
            key = stored.backend.store_object(simulation(f"work {number}"), stored.files)
        else:
            key = stored.backend.store_force_field(force_field(f"work {number}"))
        acknowledged["a.h5"].append(key)

    is_at_work = True
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.003)
    for number in range(n_stores):
        text = outcome(lambda number=number: change(number))
        if text != "ok" and not (action == "closes" and is_a(text, "ClosedError")):
            say("fault", f"main program: {text}")
    while turn < 13:  # So that a handler has come to its turn to close.
        time.sleep(0.001)
    is_at_work = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    for backend in (handled, stored.backend, stored.other):
        text = outcome(backend.close)
        if text != "ok":
            say("fault", f"close: {text}")
    say("turns", turn, acknowledged, said)


@pytest.mark.parametrize(
    ("whose", "work"),
    [
        ("the same", "documents"),
        ("the same", "files"),
        ("another", "documents"),
        ("one on the same file", "documents"),
    ],
)
@pytest.mark.parametrize("action", HANDLERS)
def test_a_handler_that_uses_a_store_and_the_program_it_interrupts_do_each_other_no_harm(
    action: str, whose: str, work: str, place: Path
) -> None:
    done = run(store_while_a_handler, action, whose, work, 25, torn_down=True, timeout_s=40)
    faults = [line[1] for line in done.said if line[0] == "fault"]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:10])
    ((_, turns, acknowledged, said),) = done.ended_well().said
    assert turns > 5
    assert said, "the handler neither did its work nor was refused"
    for path, keys in acknowledged.items():
        assert len(keys) == len(set(keys))
        assert set(keys) <= set(keys_in(path))


# ---- a handler that closes and leaves ------------------------------------------------------------------


def leave_in(what: str) -> None:
    """Be at something until SIGTERM comes, whose handler closes and leaves with its own exit code."""
    stored = filled("a.h5", lock_timeout_s=30.0)
    backend = stored.backend

    def handler(*_: object) -> None:
        backend.close()
        sys.exit(3)

    signal.signal(signal.SIGTERM, handler)
    large = Path("large")
    large.mkdir()
    (large / "output.pdb").write_text("ATOM\n" * 50)
    (large / "trajectory.dcd").write_bytes(os.urandom(24_000_000))
    say("ready")
    number = 0
    while True:
        number += 1
        if what == "a store":
            say(backend.store_force_field(force_field(number)))
        elif what == "a transaction":
            with backend.transaction():
                for part in range(20):
                    backend.store_force_field(force_field(f"{number} {part}"))
            say("committed", number)
        elif what == "a walk over the headers":
            for _ in backend.headers():
                pass
        elif what == "a query":
            for matches in backend.query(SimulationDataQuery()).values():
                for _, data, path in matches:
                    assert data.observables["PotentialEnergy"] is not None
                    assert os.path.exists(os.fspath(path))
        elif what == "a store of a large file":
            say(backend.store_object(simulation(str(number)), large))
        elif what == "a read of a file":
            backend.open_member(stored.simulation_key, "trajectory.dcd").read()
        elif what == "nothing":
            time.sleep(0.01)


def holding() -> None:
    with HDF5Storage("a.h5") as backend, backend.transaction():
        say("inside")
        time.sleep(60)


def wait_for_a_lock(use: str) -> None:
    backend = HDF5Storage("a.h5", lock_timeout_s=30.0)

    def handler(*_: object) -> None:
        backend.close()
        sys.exit(3)

    signal.signal(signal.SIGTERM, handler)
    say("ready")
    if use == "store":
        backend.store_force_field(force_field("never"))
    else:
        with backend.transaction():
            pass


MOMENTS = (
    "a store",
    "a transaction",
    "a walk over the headers",
    "a query",
    "a store of a large file",
    "a read of a file",
    "nothing",
)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("what", MOMENTS)
def test_a_handler_that_closes_and_leaves_does_so_with_its_exit_code(
    what: str, seed: int, place: Path
) -> None:
    rng = random.Random(f"{what} {seed}")
    child = start(leave_in, what, torn_down=True)
    child.listen(1)
    time.sleep(rng.uniform(0.01, 0.15))
    child.signal(signal.SIGTERM)
    done = child.finish(10)
    assert done.code == 3, str(done)
    assert "Traceback" not in done.err, str(done)
    acknowledged = [line[0] for line in done.said if line[0] not in ("ready", "committed")]
    keys = keys_in("a.h5")
    assert set(acknowledged) <= set(keys)
    if what == "a transaction":
        assert (len(keys) - 2) % 20 == 0, "a half transaction was kept"
        assert (len(keys) - 2) // 20 >= len([line for line in done.said if line[0] == "committed"])


@pytest.mark.parametrize("use", ["store", "transaction"])
def test_a_handler_that_closes_and_leaves_does_so_while_the_program_waits_for_a_lock(
    use: str, place: Path
) -> None:
    (key,) = store("a.h5", "one")
    holder = start(holding)
    holder.listen(1)
    child = start(wait_for_a_lock, use, torn_down=True)
    child.listen(1)
    time.sleep(0.1)
    child.signal(signal.SIGTERM)
    done = child.finish(5)
    holder.signal()
    holder.finish()
    assert done.code == 3, str(done)
    assert "Traceback" not in done.err, str(done)
    assert keys_in("a.h5") == [key]


def interrupt_a_wait(use: str) -> None:
    backend = HDF5Storage("a.h5", lock_timeout_s=30.0)
    threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()
    try:
        if use == "store":
            backend.store_force_field(force_field("never"))
        else:
            with backend.transaction():
                pass
    except KeyboardInterrupt:
        say("interrupted")
    backend.close()


@pytest.mark.parametrize("use", ["store", "transaction"])
def test_ctrl_c_ends_a_wait_for_a_lock(use: str, place: Path) -> None:
    store("a.h5", "one")
    holder = start(holding)
    holder.listen(1)
    done = run(interrupt_a_wait, use, timeout_s=5)
    holder.signal()
    holder.finish()
    assert done.ended_well().said == [["interrupted"]]


def wait_for_a_thread(use: str) -> None:
    """Wait for another thread's transaction, and be interrupted."""
    backend = HDF5Storage("a.h5", lock_timeout_s=30.0)
    inside = threading.Event()

    def hold() -> None:
        with backend.transaction():
            inside.set()
            time.sleep(60)

    threading.Thread(target=hold, daemon=True).start()
    inside.wait()
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        len(backend) if use == "read" else backend.store_force_field(force_field("never"))
    except KeyboardInterrupt:
        say("interrupted")
    os._exit(0)


@pytest.mark.parametrize("use", ["read", "store"])
def test_ctrl_c_ends_a_wait_for_another_thread(use: str, place: Path) -> None:
    done = run(wait_for_a_thread, use, timeout_s=5).ended_well()
    assert done.said in ([["interrupted"]], [] if use == "read" else None)


def leave_by_an_error(way: str) -> None:
    with HDF5Storage("a.h5") as backend:
        say(backend.store_force_field(force_field("committed")))
        with backend.transaction():
            backend.store_force_field(force_field("not committed"))
            if way == "sys.exit":
                sys.exit(4)
            if way == "KeyboardInterrupt":
                raise KeyboardInterrupt
            raise ValueError("of the program")


@pytest.mark.parametrize(("way", "code"), [("sys.exit", 4), ("KeyboardInterrupt", -2), ("error", 1)])
def test_an_error_that_leaves_a_transaction_leaves_the_program_as_it_is(
    way: str, code: int, place: Path
) -> None:
    done = run(leave_by_an_error, way, torn_down=True)
    assert done.code == code, str(done)
    assert "Exception ignored" not in done.err
    assert keys_in("a.h5") == [done.said[0][0]]
