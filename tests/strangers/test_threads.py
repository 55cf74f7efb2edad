"""Threads, forks and the end of a process: nobody waits without bound, and nothing half done is kept."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from children import force_field, is_a, is_ours, keys_in, outcome, run, say, start, store
from uses_of_backends import CHANGES, ENDS, NOT_USED, READS, UNBLOCKED, USES, filled, open_stream

from simarchive import ClosedError, HDF5Storage, LockedError
from simarchive.testing.sample_objects import simulation, write_files

TIMEOUT_S = 0.1
# A wait of a tenth of a second, and whatever a loaded machine adds to it.
LIMIT_S = 8.0


def test_every_public_method_of_a_backend_is_used() -> None:
    public = {
        name
        for name in dir(HDF5Storage)
        if not name.startswith("_") or getattr(HDF5Storage, name) is not getattr(object, name, None)
    }
    own = {
        name for name in public if not name.startswith("_") or name in ("__len__", "__contains__", "__iter__")
    }
    assert own <= {*USES, *UNBLOCKED, *ENDS, *NOT_USED}, own - {*USES, *UNBLOCKED, *ENDS, *NOT_USED}


# ---- one thread finds another at work ------------------------------------------------------------------


def in_a_thread(action: Callable[[threading.Event], object]) -> threading.Thread:
    """Return a daemon thread that is in the midst of something; `action` sets the event there."""
    inside = threading.Event()
    thread = threading.Thread(target=action, args=(inside,), daemon=True)
    thread.start()
    assert inside.wait(LIMIT_S)
    return thread


def use_beside_a_transaction(use: str) -> None:
    stored = filled("a.h5", lock_timeout_s=TIMEOUT_S)

    def hold(inside: threading.Event) -> None:
        with stored.backend.transaction():
            stored.backend.store_force_field(force_field("uncommitted"))
            inside.set()
            time.sleep(60)

    in_a_thread(hold)
    before = time.monotonic()
    say(outcome(lambda: (USES | UNBLOCKED | ENDS)[use](stored)), time.monotonic() - before)
    os._exit(0)


@pytest.mark.parametrize("use", [*USES, *UNBLOCKED])
def test_a_thread_that_finds_another_in_a_transaction_gets_locked_error_in_time(
    use: str, place: Path
) -> None:
    ((said, seconds),) = run(use_beside_a_transaction, use, timeout_s=LIMIT_S).ended_well().said
    if use in UNBLOCKED:
        assert said == "ok"
    elif use in CHANGES or said != "ok":
        assert is_a(said, "LockedError"), said
        assert seconds >= TIMEOUT_S
        assert "thread" in said, said


@pytest.mark.parametrize("use", ENDS)
def test_close_beside_a_transaction_of_another_thread_ends_in_time(use: str, place: Path) -> None:
    ((said, _),) = run(use_beside_a_transaction, use, timeout_s=LIMIT_S).ended_well().said
    assert is_a(said, "ok", "LockedError"), said


def use_beside_a_long_call(call: str, use: str) -> None:
    stored = filled("a.h5", lock_timeout_s=TIMEOUT_S)
    backend = stored.backend

    def hold(inside: threading.Event) -> None:
        def wait(n_bytes: int) -> None:
            inside.set()
            time.sleep(60)

        if call == "verify":
            backend.verify(full=True, progress=wait)
        elif call == "extract":
            backend.extract(stored.simulation_key, "long", progress=wait)
        else:
            backend.progress = wait
            backend.store_object(simulation("long"), write_files(Path("long")))

    in_a_thread(hold)
    say(outcome(lambda: (USES | ENDS)[use](stored)))
    os._exit(0)


@pytest.mark.parametrize("use", ["__len__", "store_force_field", "headers", "open_member", "close"])
@pytest.mark.parametrize("call", ["verify", "extract", "store_object"])
def test_a_long_call_of_another_thread_is_waited_for_no_longer_than_a_transaction(
    call: str, use: str, place: Path
) -> None:
    ((said,),) = run(use_beside_a_long_call, call, use, timeout_s=LIMIT_S).ended_well().said
    assert is_a(said, "ok", "LockedError"), said


def use_a_pool_in_a_transaction() -> None:
    with HDF5Storage("a.h5", lock_timeout_s=TIMEOUT_S) as backend:

        def all_at_once() -> None:
            with backend.transaction(), ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda number: backend.store_force_field(force_field(number)), range(4)))

        say(outcome(all_at_once))
        say(outcome(lambda: backend.store_force_field(force_field("after it"))))


def test_a_pool_of_threads_in_a_transaction_ends(place: Path) -> None:
    (pool,), (after,) = run(use_a_pool_in_a_transaction, timeout_s=LIMIT_S).ended_well().said
    assert is_a(pool, "ok", "LockedError"), pool
    assert after == "ok"
    assert len(keys_in("a.h5")) == (5 if pool == "ok" else 1)


def read_in_threads_while_one_writes() -> None:
    stored = filled("a.h5", lock_timeout_s=20.0)
    end, wrong = time.monotonic() + 1.0, []

    def read() -> None:
        while time.monotonic() < end:
            for use in ("__len__", "query", "headers", "open_member", "columns"):
                said = outcome(lambda use=use: READS[use](stored))
                if said != "ok":
                    wrong.append(said)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    keys = []
    while time.monotonic() < end:
        keys.append(stored.backend.store_force_field(force_field(len(keys))))
    for thread in threads:
        thread.join()
    say(wrong, set(keys) <= set(stored.backend.keys()))


def test_threads_that_read_while_one_writes_wait_for_each_other_and_no_more(place: Path) -> None:
    assert run(read_in_threads_while_one_writes).ended_well().said == [[[], True]]


# ---- two stores, each of which looks into the other ----------------------------------------------------


def update_in_turns(mine: str, others: list[str], n_turns: int) -> None:
    """Update stores from each other, each in a thread of its own."""
    sys.setswitchinterval(1e-6)
    stores = [HDF5Storage(path, lock_timeout_s=1.0) for path in (mine, *others)]
    barrier, wrong, turns = threading.Barrier(len(stores)), [], []

    def go(number: int) -> None:
        target, source = stores[number], stores[(number + 1) % len(stores)]
        barrier.wait()
        for _ in range(n_turns):
            said = outcome(lambda: target.update(source))
            if not is_a(said, "ok", "LockedError"):
                wrong.append(said)
            turns.append(said == "ok")

    threads = [threading.Thread(target=go, args=(number,), daemon=True) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(wrong, sum(turns))
    for number, target in enumerate(stores):
        target.update(stores[(number + 1) % len(stores)])
    for target in stores:
        target.close()


@pytest.mark.parametrize("n_stores", [2, 3])
def test_stores_that_update_each_other_in_threads_come_to_an_end(n_stores: int, place: Path) -> None:
    paths = [f"{number}.h5" for number in range(n_stores)]
    for path in paths:
        store(path, *(f"{path} {number}" for number in range(4)))
    done = run(update_in_turns, paths[0], paths[1:], 12, timeout_s=40).ended_well()
    ((wrong, turns),) = done.said
    assert wrong == []
    assert turns
    for path in paths:
        assert len(keys_in(path)) >= 8


def update_one_from_another(target: str, source: str, n_turns: int) -> None:
    with HDF5Storage(target, lock_timeout_s=1.0) as mine, HDF5Storage(source, lock_timeout_s=1.0) as other:
        for number in range(n_turns):
            say(outcome(lambda: mine.update(other)))
            say(outcome(lambda number=number: mine.store_force_field(force_field(f"{target} {number}"))))


def test_stores_that_update_each_other_in_processes_come_to_an_end(place: Path) -> None:
    for path in ("a.h5", "b.h5"):
        store(path, path)
    children = [
        start(update_one_from_another, "a.h5", "b.h5", 10),
        start(update_one_from_another, "b.h5", "a.h5", 10),
    ]
    for child in children:
        for (said,) in child.finish(40).ended_well().said:
            assert is_a(said, "ok", "LockedError"), said
    assert len(keys_in("a.h5")) >= 2


def update_a_store_from_itself() -> None:
    with HDF5Storage("a.h5") as backend, HDF5Storage("link.h5", lock_timeout_s=1.0) as same:
        say(outcome(lambda: backend.update(backend)))
        say(outcome(lambda: backend.update(same)))
        say(outcome(lambda: same.__iadd__(backend)))


def test_a_store_that_is_updated_from_itself_by_any_name_stays_as_it_is(place: Path) -> None:
    keys = store("a.h5", "one", "two")
    Path("link.h5").symlink_to("a.h5")
    assert run(update_a_store_from_itself, timeout_s=LIMIT_S).ended_well().said == [["ok"]] * 3
    assert keys_in("a.h5") == keys


# ---- forks ---------------------------------------------------------------------------------------------


def fork_at(moment: str, how_the_child_ends: str) -> None:
    """Fork at a moment, use everything in the child, and go on in the parent."""
    stored = filled("a.h5", lock_timeout_s=5.0)
    backend = stored.backend
    go_on = threading.Event()
    stream, walk = open_stream(stored), backend.headers()
    stream.read(10)
    next(walk)

    def write(inside: threading.Event) -> None:
        with backend.transaction():
            backend.store_force_field(force_field("of the thread"))
            inside.set()
            go_on.wait()

    def read(inside: threading.Event) -> None:
        def wait(n_bytes: int) -> None:
            inside.set()
            go_on.wait()

        backend.extract(stored.simulation_key, "long", progress=wait)

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            use_in_the_child()
        _, status = os.waitpid(pid, 0)
        say("child", os.waitstatus_to_exitcode(status))

    def use_in_the_child() -> None:
        for name, use in (USES | {"stream": lambda _: stream.read(), "walk": lambda _: list(walk)}).items():
            said = outcome(lambda use=use: use(stored))
            say(name, said)
        for name, use in ENDS.items():
            say(name, outcome(lambda use=use: use(stored)))
        if how_the_child_ends == "_exit":
            os._exit(7)
        sys.exit(7)

    if moment == "in a transaction of its own":
        with backend.transaction():
            backend.store_force_field(force_field("of the thread"))
            fork()
        backend.store_force_field(force_field("after it"))
    else:
        actions = {"while a thread writes": write, "while a thread reads": read}
        thread = in_a_thread(actions[moment]) if moment in actions else None
        fork()
        go_on.set()
        if thread is not None:
            thread.join()
        backend.store_force_field(force_field("after it"))
    assert stream.read() == (stored.files / "trajectory.dcd").read_bytes()[10:]
    assert len(list(walk)) >= 1
    say("parent", len(backend))
    backend.close()
    stored.other.close()


@pytest.mark.parametrize("how_the_child_ends", ["_exit", "exit"])
@pytest.mark.parametrize(
    "moment", ["idle", "while a thread writes", "while a thread reads", "in a transaction of its own"]
)
def test_a_forked_child_gets_closed_error_for_all_it_does_and_ends(
    moment: str, how_the_child_ends: str, place: Path
) -> None:
    done = run(fork_at, moment, how_the_child_ends, torn_down=True).ended_well()
    *uses, child, parent = done.said
    assert [name for name, _ in uses] == [*USES, "stream", "walk", *ENDS]
    for name, said in uses:
        if name in ENDS or name in ("stream", "walk"):
            # What was read before the fork may be given out.
            assert is_a(said, "ok", "ClosedError"), (name, said)
        else:
            assert is_a(said, "ClosedError"), (name, said)
    assert child == ["child", 7]
    n_objects = 4 if moment in ("while a thread writes", "in a transaction of its own") else 3
    assert parent == ["parent", n_objects]
    assert len(keys_in("a.h5")) == n_objects


def fork_and_open_anew() -> None:
    stored = filled("a.h5")
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with stored.backend.transaction():
            stored.backend.store_force_field(force_field("of the thread"))
            inside.set()
            go_on.wait()

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        with HDF5Storage("a.h5", lock_timeout_s=0.2) as backend:
            say("child", len(backend), outcome(lambda: backend.store_force_field(force_field("x"))))
        os._exit(0)
    os.waitpid(pid, 0)
    go_on.set()
    thread.join()
    say("parent", len(stored.backend))


def test_a_forked_child_opens_the_container_anew_and_respects_the_parents_lock(place: Path) -> None:
    child, parent = run(fork_and_open_anew, timeout_s=LIMIT_S).ended_well().said
    assert child[:2] == ["child", 2]
    assert is_a(child[2], "LockedError")
    assert parent == ["parent", 3]


def killed_parent() -> None:
    backend = HDF5Storage("a.h5")
    with backend.transaction():
        backend.store_force_field(force_field("uncommitted"))
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_child_keeps_no_lock_of_its_dead_parent(place: Path) -> None:
    store("a.h5", "one")
    child = start(killed_parent)
    while not child.has_ended():
        time.sleep(0.01)
    done = run(store_with_little_patience, timeout_s=LIMIT_S).ended_well()
    assert done.said == [["ok"]]
    child.finish()


def store_with_little_patience() -> None:
    with HDF5Storage("a.h5", lock_timeout_s=0.2) as backend:
        say(outcome(lambda: backend.store_force_field(force_field("two"))))


def store_in_a_worker(number: int) -> str:
    with HDF5Storage("a.h5", lock_timeout_s=20.0) as backend:
        return backend.store_force_field(force_field(f"worker {number}"))


def use_multiprocessing(method: str) -> None:
    # The address of a socket has to be short.
    os.environ.pop("TMPDIR")
    tempfile.tempdir = None
    with HDF5Storage("a.h5", lock_timeout_s=20.0) as backend:
        backend.store_force_field(force_field("of the parent"))
        with multiprocessing.get_context(method).Pool(2) as pool:
            keys = pool.map(store_in_a_worker, range(4))
            pool.close()
            pool.join()
        backend.store_force_field(force_field("and after"))
        say(set(keys) <= set(backend.keys()), len(backend))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_open_the_container_anew(method: str, place: Path) -> None:
    done = run(use_multiprocessing, method, timeout_s=60, torn_down=True).ended_well()
    assert done.said == [[True, 6]]


# ---- the end of a process ------------------------------------------------------------------------------


def end_beside_a_daemon(what: str, code: int) -> None:
    stored = filled("a.h5", lock_timeout_s=30.0)
    backend = stored.backend

    def work(inside: threading.Event) -> None:
        if what == "in a transaction":
            with backend.transaction():
                backend.store_force_field(force_field("uncommitted"))
                inside.set()
                time.sleep(3600)
        elif what == "storing":
            with contextlib.suppress(ClosedError):
                for number in range(1 << 30):
                    say(backend.store_force_field(force_field(number)))
                    inside.set()
        elif what == "reading":
            with contextlib.suppress(ClosedError):
                while True:
                    for _ in backend.headers():
                        inside.set()
        elif what == "waiting for the lock":
            inside.set()
            backend.store_force_field(force_field("never"))
        else:
            backend.progress = lambda n_bytes: inside.set() or time.sleep(3600)  # type: ignore[func-returns-value]
            backend.store_object(simulation("long"), stored.files)

    in_a_thread(work)
    if what in ("storing", "reading"):
        time.sleep(0.1)
    sys.exit(code)


@pytest.mark.parametrize("code", [0, 5])
@pytest.mark.parametrize(
    "what", ["in a transaction", "storing", "reading", "storing a file", "waiting for the lock"]
)
def test_a_process_ends_whatever_a_daemon_thread_is_at(what: str, code: int, place: Path) -> None:
    store("a.h5", "one")
    holder = start(hold_for_a_while) if what == "waiting for the lock" else None
    if holder is not None:
        holder.listen(1)
    program = end_beside_a_daemon_of_a_held_container if holder else end_beside_a_daemon
    done = run(program, what, code, torn_down=True, timeout_s=LIMIT_S)
    assert done.code == code, str(done)
    assert "Traceback" not in done.err, str(done)
    acknowledged = [line[0] for line in done.said]
    if holder is not None:
        holder.signal()
        holder.finish()
    keys = keys_in("a.h5")
    assert set(acknowledged) <= set(keys)
    if what == "storing":
        # The last one may have been committed and not yet said.
        assert 3 + len(acknowledged) <= len(keys) <= 4 + len(acknowledged)
    else:
        assert len(keys) == (1 if holder else 3)


def hold_for_a_while() -> None:
    with HDF5Storage("a.h5") as backend, backend.transaction():
        say("inside")
        time.sleep(60)


def end_beside_a_daemon_of_a_held_container(what: str, code: int) -> None:
    backend = HDF5Storage("a.h5", lock_timeout_s=30.0)

    def work(inside: threading.Event) -> None:
        inside.set()
        with contextlib.suppress(ClosedError):
            backend.store_force_field(force_field("never"))

    in_a_thread(work)
    time.sleep(0.1)
    sys.exit(code)


def close_at_exit_while_a_thread_waits() -> None:
    backend = HDF5Storage("a.h5", lock_timeout_s=30.0)
    met: list[str] = []
    thread = threading.Thread(
        target=lambda: met.append(outcome(lambda: backend.store_force_field(force_field("never")))),
        daemon=True,
    )
    thread.start()
    time.sleep(0.2)
    # All that the interpreter does at its end before it stops other threads.
    atexit._run_exitfuncs()
    thread.join(5)
    say(met)


def test_a_thread_that_waits_for_the_lock_at_the_end_finds_the_backend_closed(place: Path) -> None:
    store("a.h5", "one")
    holder = start(hold_for_a_while)
    holder.listen(1)
    done = run(close_at_exit_while_a_thread_waits, timeout_s=LIMIT_S)
    holder.signal()
    holder.finish()
    (((met,),),) = done.ended_well().said
    assert is_a(met, "ClosedError"), met


def leave_all_open(moment: str) -> None:
    stored = filled("a.h5")
    say(stored.force_field_key, stored.simulation_key)
    stream, walk = open_stream(stored), stored.backend.headers()
    stream.read(10)
    next(walk)
    globals()["kept"] = (stored, stream, walk)
    if moment == "in a transaction":
        transaction = stored.backend.transaction()
        transaction.__enter__()
        globals()["kept"] = (*globals()["kept"], transaction)
        stored.backend.store_force_field(force_field("uncommitted"))
    if moment == "after an error":
        raise ValueError("of the program")


@pytest.mark.parametrize("moment", ["idle", "in a transaction", "after an error"])
def test_a_process_that_closes_nothing_ends_without_a_crash(moment: str, place: Path) -> None:
    done = run(leave_all_open, moment, torn_down=True, timeout_s=LIMIT_S)
    assert done.code == (1 if moment == "after an error" else 0), str(done)
    assert "Exception ignored" not in done.err
    ((*keys,),) = done.said
    assert keys_in("a.h5") == keys


def use_after_close_in_threads() -> None:
    stored = filled("a.h5", lock_timeout_s=5.0)
    end, wrong = time.monotonic() + 0.3, []

    def use() -> None:
        while time.monotonic() < end:
            said = outcome(lambda: READS["query"](stored))
            if not is_a(said, "ok", "ClosedError"):
                wrong.append(said)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    stored.backend.close()
    for thread in threads:
        thread.join()
    say(wrong)


def test_threads_that_find_a_backend_closed_are_told_so(place: Path) -> None:
    assert run(use_after_close_in_threads, torn_down=True).ended_well().said == [[[]]]


def say_errors_of_two_kinds() -> None:
    say(is_ours(outcome(lambda: _raise(ClosedError("x")))), is_ours(outcome(lambda: _raise(OSError("x")))))
    say(is_ours(outcome(lambda: _raise(LockedError("x")))))


def _raise(error: Exception) -> None:
    raise error


def test_outcomes_tell_our_errors_from_others(place: Path) -> None:
    assert run(say_errors_of_two_kinds).ended_well().said == [[True, False], [True]]
