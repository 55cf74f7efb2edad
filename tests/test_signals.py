"""Handlers of signals wait while something must not be left half done, and none is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from simarchive.errors import ClosedError, LockedError, StorageError
from simarchive.ground import signals
from simarchive.ground.signals import GivenUp, SignalHold
from simarchive.ground.thread_lock import ThreadLock


class Stop(BaseException):
    pass


@pytest.fixture
def hold() -> Iterator[SignalHold]:
    """Return a hold of our own, and put the handlers back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield SignalHold()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_waits_for_the_end_of_the_outermost_operation(hold: SignalHold) -> None:
    hold.begin()
    hold.begin()
    signal.raise_signal(signal.SIGINT)
    hold.end()
    with pytest.raises(KeyboardInterrupt):
        hold.end()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_is_answered_where_the_operation_can_be_given_up(hold: SignalHold) -> None:
    hold.begin()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(GivenUp):
        hold.deliver()
    hold.deliver()
    with pytest.raises(KeyboardInterrupt):
        hold.end()
    hold.begin()
    hold.end()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, TimeoutError, ValueError, Stop])
def test_no_operation_takes_what_a_handler_raises_for_an_error_of_its_own(
    hold: SignalHold, raised: type[BaseException]
) -> None:
    def handler(*_: object) -> None:
        raise raised

    signal.signal(signal.SIGUSR1, handler)
    hold.begin()
    signal.raise_signal(signal.SIGUSR1)
    with contextlib.suppress(Exception, GivenUp):
        try:
            hold.deliver()
        except (OSError, ValueError):
            pytest.fail("the operation could have gone on")
    with pytest.raises(raised):
        hold.end()


NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.mark.parametrize("raising", NUMBERS)
def test_of_several_signals_none_is_lost_if_a_handler_raises(hold: SignalHold, raising: int) -> None:
    ran = []

    def handler(number: int, _: object) -> None:
        ran.append(number)
        if number == raising:
            raise Stop

    for number in NUMBERS:
        signal.signal(number, handler)
    hold.begin()
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        signal.raise_signal(number)
    assert not ran
    with pytest.raises(Stop):
        hold.end()
    assert sorted(ran) == sorted(NUMBERS)


def test_a_handler_that_the_program_installs_meanwhile_stays(hold: SignalHold) -> None:
    hold.begin()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hold.end()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_inside_an_open_block_handlers_run_at_once_but_not_in_guarded_functions(hold: SignalHold) -> None:
    @hold.guards
    def leave() -> None:
        signal.raise_signal(signal.SIGINT)
        hold.take_back()

    hold.begin()
    hold.open_up()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    hold.begin()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        hold.end()
    leave()
    with pytest.raises(KeyboardInterrupt):
        hold.end()


def test_a_signal_does_not_interrupt_its_own_handler(hold: SignalHold) -> None:
    depth = [0, 0]

    def handler(*_: object) -> None:
        depth[0] += 1
        depth[1] = max(depth)
        if depth[1] < 50:
            hold.begin()
            signal.raise_signal(signal.SIGUSR1)
            hold.end()
        depth[0] -= 1

    signal.signal(signal.SIGUSR1, handler)
    signal.raise_signal(signal.SIGUSR1)
    assert depth[1] == 1


def test_whoever_presses_ctrl_c_again_and_again_gets_an_end(
    hold: SignalHold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_PATIENCE_S", -1.0)
    hold.begin()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
    hold.end()


def test_other_threads_hold_nothing_off(hold: SignalHold) -> None:
    hold.begin()
    thread = threading.Thread(target=lambda: (hold.begin(), hold.end(), hold.open_up(), hold.take_back()))
    thread.start()
    thread.join()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        hold.end()


@pytest.mark.parametrize("where", ["held off", "in an open block", "in the handler"])
def test_a_child_that_leaves_the_operations_of_its_parent_holds_nothing_off(where: str) -> None:
    hold, codes = signals.SIGNALS, []
    # A shell that runs this in the background has it ignore Ctrl-C, which nobody holds off then.
    ours, before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.default_int_handler

    def fork() -> None:
        pid = os.fork()
        if pid:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        else:
            codes.append(None)

    handler = signal.signal(signal.SIGUSR1, lambda *_: fork())
    try:
        hold.begin()
        if where == "in an open block":
            hold.open_up()
            fork()
            hold.take_back()
        elif where == "held off":
            fork()
        else:
            signal.raise_signal(signal.SIGUSR1)
            hold.deliver()
        hold.end()
        for _ in range(2):
            hold.begin()
            is_held = signal.getsignal(signal.SIGINT) is not before
            hold.end()
            is_as_before = signal.getsignal(signal.SIGINT) is before
            if not (is_held and is_as_before):
                codes.append("wrong")
    finally:
        signal.signal(signal.SIGUSR1, handler)
        signal.signal(signal.SIGINT, ours)
        if codes[:1] == [None]:
            os._exit(7 if codes == [None] else 8)
    assert codes == [7]


# ---- the lock of threads ------------------------------------------------------------------------


@contextlib.contextmanager
def held_by_a_thread(lock: ThreadLock) -> Iterator[None]:
    inside, go = threading.Event(), threading.Event()

    def hold_it() -> None:
        with lock:
            inside.set()
            go.wait(20)

    thread = threading.Thread(target=hold_it)
    thread.start()
    inside.wait(20)
    try:
        yield
    finally:
        go.set()
        thread.join()


def test_a_thread_waits_no_longer_than_the_timeout_and_says_for_what() -> None:
    lock = ThreadLock("the store", 0.1)
    with lock:
        found: list[BaseException] = []

        def wait() -> None:
            try:
                lock.acquire()
            except LockedError as error:
                found.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(10)
    assert "the store is in use by another thread" in str(found[0])
    with lock, lock:
        assert lock.is_mine
    assert not lock.is_mine


def test_a_thread_that_waits_is_interrupted() -> None:
    lock = ThreadLock("it", 20)
    timer = threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with held_by_a_thread(lock):
            timer.start()
            with pytest.raises(KeyboardInterrupt), lock:
                pass
    finally:
        signal.signal(signal.SIGINT, before)
    with lock:
        pass


def test_a_handler_in_the_midst_of_an_operation_is_refused() -> None:
    lock, said = ThreadLock("it"), []

    def handler(*_: object) -> None:
        try:
            lock.acquire()
        except StorageError as error:
            said.append(str(error))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with lock:
            signal.raise_signal(signal.SIGUSR1)
            signals.SIGNALS.deliver()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "in the middle of an operation" in said[0]


@pytest.mark.parametrize(("can_fork", "code"), [(False, 7), (True, 8)])
def test_a_child_does_not_wait_for_a_thread_of_its_parent(can_fork: bool, code: int) -> None:
    lock = ThreadLock("it", 20, can_fork=can_fork)
    with held_by_a_thread(lock):
        pid = os.fork()
        if not pid:
            try:
                lock.acquire()
            except ClosedError:
                os._exit(7)
            os._exit(8)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == code
