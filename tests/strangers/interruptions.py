"""Ways in which a signal ends what a program is at, and operations to be ended by it."""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from children import force_field, outcome

from simarchive import HDF5Storage, SimulationDataQuery, repack
from simarchive.testing.sample_objects import simulation


class Alarm(Exception):
    """What a program raises in a handler of its own."""


class Ended(BaseException):
    """The same, in the manner of KeyboardInterrupt."""


def _raising(new: Callable[[], BaseException]) -> Callable[[int, FrameType | None], None]:
    def handler(number: int, frame: FrameType | None) -> None:
        raise new()

    return handler


@dataclass(frozen=True)
class Kind:
    """One way: a signal, and what its handler raises."""

    signal: signal.Signals
    raised: type[BaseException]
    handler: Callable[[int, FrameType | None], object]
    send: Callable[[], object] | None = None

    def arrive(self) -> None:
        """Have the signal arrive now."""
        (self.send or (lambda: signal.raise_signal(self.signal)))()


KINDS = {
    "Ctrl-C": Kind(signal.SIGINT, KeyboardInterrupt, signal.default_int_handler),
    "SystemExit": Kind(signal.SIGTERM, SystemExit, _raising(lambda: SystemExit(3))),
    "KeyboardInterrupt by an alarm": Kind(signal.SIGALRM, KeyboardInterrupt, _raising(KeyboardInterrupt)),
    "an exception of one's own": Kind(signal.SIGALRM, Alarm, _raising(Alarm)),
    "TimeoutError": Kind(signal.SIGALRM, TimeoutError, _raising(lambda: TimeoutError("of the program"))),
    "a base exception of one's own": Kind(signal.SIGUSR1, Ended, _raising(Ended)),
    "interrupt_main": Kind(
        signal.SIGINT, KeyboardInterrupt, signal.default_int_handler, send=_thread.interrupt_main
    ),
}

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1)


@contextlib.contextmanager
def installed(kind: Kind) -> Iterator[None]:
    """Have the handler of a kind, and after it the one from before."""
    before = signal.signal(kind.signal, kind.handler)
    try:
        yield
    finally:
        signal.signal(kind.signal, before)


@dataclass
class Scene:
    """Backends on one container, and what was acknowledged there."""

    path: str = "a.h5"
    backend: HDF5Storage = field(init=False)
    other: HDF5Storage = field(init=False)
    files: Path = field(init=False)
    large: Path = field(init=False)
    acknowledged: set[str] = field(default_factory=set)
    number: int = 0
    alone: str | None = None
    """Another container that the operation was about."""

    def __post_init__(self) -> None:
        self.files, self.large = Path("files"), Path("large")
        for directory, n_bytes in ((self.files, 3_000), (self.large, 2_500_000)):
            directory.mkdir(exist_ok=True)
            (directory / "output.pdb").write_text("ATOM\n" * 50)
            (directory / "trajectory.dcd").write_bytes(b"frame" * (n_bytes // 5))
        self.backend, self.other = self.opened(), self.opened()
        for _ in range(2):
            self.acknowledged.add(self.backend.store_force_field(force_field(self.new_text())))
        self.simulation_key = self.backend.store_object(simulation("first"), self.files)

    def opened(self) -> HDF5Storage:
        return HDF5Storage(self.path, lock_timeout_s=0.5)

    def open_anew(self) -> None:
        """Put other backends in the place of those that an interrupt has spoiled."""
        outcome(self.backend.close)
        outcome(self.other.close)
        self.backend, self.other = self.opened(), self.opened()

    def new_text(self) -> str:
        self.number += 1
        return f"{self.number} of {os.getpid()}"

    def store(self) -> None:
        self.acknowledged.add(self.backend.store_force_field(force_field(self.new_text())))


Operation = Callable[[], object]
"""What is interrupted."""


def store_force_field(scene: Scene) -> Operation:
    return scene.store


def store_files(scene: Scene) -> Operation:
    data = simulation(scene.new_text())
    return lambda: scene.acknowledged.add(scene.backend.store_object(data, scene.large))


def replace(scene: Scene) -> Operation:
    scene.number += 1
    data = simulation("first", inefficiency=2.0 / scene.number)
    return lambda: scene.backend.store_object(data, scene.files)


def remove(scene: Scene) -> Operation:
    key = scene.backend.store_object(simulation(scene.new_text()), scene.files)
    return lambda: scene.backend.remove_object(key)


def query(scene: Scene) -> Operation:
    return lambda: scene.backend.query(SimulationDataQuery())


def retrieve(scene: Scene) -> Operation:
    def operation() -> None:
        stored, path = scene.backend.retrieve_object(scene.simulation_key)
        assert stored is not None
        assert len(stored.observables["PotentialEnergy"]) == 40
        assert Path(path, "output.pdb").exists()

    return operation


def read_member(scene: Scene) -> Operation:
    def operation() -> None:
        # Closed in so many words: what is raised in a file's finalizer the interpreter swallows.
        with scene.backend.open_member(scene.simulation_key, "trajectory.dcd") as stream:
            stream.read()

    return operation


def walk(scene: Scene) -> Operation:
    return lambda: list(scene.backend.headers())


def extract(scene: Scene) -> Operation:
    target = f"extracted-{scene.new_text()}"
    return lambda: scene.backend.extract(scene.simulation_key, target)


def verify(scene: Scene) -> Operation:
    return scene.backend.verify


def transaction(scene: Scene) -> Operation:
    """Two objects, whose texts say that they belong together."""
    text = scene.new_text()

    def operation() -> None:
        with scene.backend.transaction():
            keys = [scene.backend.store_force_field(force_field(f"{half} half of {text}")) for half in (1, 2)]
        scene.acknowledged.update(keys)

    return operation


def update(scene: Scene) -> Operation:
    text = scene.new_text()
    with HDF5Storage(f"source-{text}.h5") as source:
        keys = [source.store_force_field(force_field(f"{half} half of {text}")) for half in (1, 2)]
    source = HDF5Storage(source.path, mode="r")

    def operation() -> None:
        scene.backend.update(source)
        scene.acknowledged.update(keys)

    return operation


def close(scene: Scene) -> Operation:
    third = scene.opened()
    third.store_force_field(force_field(scene.new_text()))
    return third.close


def close_alone(scene: Scene) -> Operation:
    """Close the only backend of another container, so that its log is copied and goes."""
    path = f"alone-{scene.new_text()}.h5"
    alone = HDF5Storage(path, lock_timeout_s=0.5)
    alone.store_object(simulation("alone"), scene.files)
    scene.alone = path
    return alone.close


def open_again(scene: Scene) -> Operation:
    def operation() -> None:
        with scene.opened() as third:
            third.keys()

    return operation


def create(scene: Scene) -> Operation:
    path = f"new/{scene.new_text()}.h5"
    Path("new").mkdir(exist_ok=True)

    def operation() -> None:
        with HDF5Storage(path, lock_timeout_s=0.5) as new:
            new.store_force_field(force_field("in a new one"))

    return operation


def rewrite(scene: Scene) -> Operation:
    path = f"rewritten-{scene.new_text()}.h5"
    with HDF5Storage(path) as new:
        new.store_force_field(force_field("in one that is rewritten"))
    scene.alone = path
    return lambda: repack(path, lock_timeout_s=0.5)


OPERATIONS: dict[str, Callable[[Scene], Operation]] = {
    "store_force_field": store_force_field,
    "store_object": store_files,
    "replacement": replace,
    "remove_object": remove,
    "query": query,
    "retrieve_object": retrieve,
    "open_member": read_member,
    "headers": walk,
    "extract": extract,
    "verify": verify,
    "transaction": transaction,
    "update": update,
    "close": close,
    "close of the last": close_alone,
    "open": open_again,
    "creation": create,
    "repack": rewrite,
}


def faults_after(scene: Scene) -> Iterator[str]:
    """Yield what an interrupt has left that is wrong; make it right for the next one."""
    if not gc.isenabled():
        yield "garbage collection stays off"
        gc.enable()
    said = outcome(lambda: scene.other.store_force_field(force_field(scene.new_text())))
    if said != "ok":
        yield f"another backend is locked out: {said[:150]}"
        scene.open_anew()
    said = outcome(lambda: (scene.backend.keys(), scene.store()))
    if said != "ok":
        yield f"the backend is unusable: {said[:150]}"
        scene.open_anew()
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(outcome(lambda: len(scene.backend))), daemon=True)
    thread.start()
    thread.join(5)
    if told != ["ok"]:
        yield f"another thread is locked out: {told}"
        scene.open_anew()
    alone, scene.alone = scene.alone, None
    if alone is not None:
        said = outcome(lambda: _check_alone(alone))
        if said != "ok":
            yield f"the container is not as it was: {said[:150]}"
    if Path("new").exists():
        yield from _faults_of_creation()


def _check_alone(path: str) -> None:
    with HDF5Storage(path, lock_timeout_s=0.5) as backend:
        if len(backend) != 1 or not backend.verify(full=True).ok:
            raise ValueError(f"{len(backend)} objects")
    left = [name for name in os.listdir() if path in name and name != path]
    if left and "rewritten" in path:
        repack(path)
        left = [name for name in os.listdir() if path in name and name != path]
    if left:
        raise ValueError(f"{left} left behind")
    Path(path).unlink()


def _faults_of_creation() -> Iterator[str]:
    """Make the container that was not, or not quite, made; see that the next creation sweeps."""
    names = {name.removesuffix("-wal") for name in os.listdir("new") if name.endswith((".h5", ".h5-wal"))}
    for name in names or {"unnamed.h5"}:
        path = f"new/{name}"
        said = outcome(lambda path=path: HDF5Storage(path, lock_timeout_s=0.5).close())
        if said != "ok":
            yield f"the container cannot be made again: {said[:150]}"
    shutil.rmtree("new")


def check_the_end(scene: Scene) -> Iterator[str]:
    """Yield what is wrong with the container in the end."""
    for backend in (scene.backend, scene.other):
        said = outcome(backend.close)
        if said != "ok":
            yield f"close: {said[:150]}"
    with HDF5Storage(scene.path) as backend:
        report = backend.verify(full=True)
        if not report.ok:
            yield f"the container is damaged: {[problem.message for problem in report.problems][:2]}"
        if lost := scene.acknowledged - set(backend.keys()):
            yield f"{len(lost)} acknowledged objects are lost"
        halves: dict[str, int] = {}
        for key in backend.keys():  # noqa: SIM118 - no mapping
            if backend.class_name_of(key) == "ForceFieldData":
                _, _, text = backend.retrieve_force_field(key).inner_xml.partition(" half of ")
                if text:
                    halves[text] = halves.get(text, 0) + 1
        if alone := [text for text, number in halves.items() if number != 2]:
            yield f"half of {len(alone)} transactions is there"
