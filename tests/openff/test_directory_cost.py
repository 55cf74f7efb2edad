"""`LocalFileStorage`: what storing, finding and removing cost does not grow with the number of objects."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_directory_interruption import files, simulation

from simarchive import (
    ForceFieldData,
    HDF5Storage,
    LocalFileStorage,
    NotFoundError,
    SmirnoffForceFieldSource,
    StorageBackend,
    TrainedModelData,
)
from simarchive.storage.evaluator_directory import storage
from simarchive.storage.evaluator_json import EvaluatorObject, TypedJSON

FEW, MANY = 10, 80

_counted: Counter[str] | None = None
_EVENTS = {"open": "open", "os.listdir": "list", "os.scandir": "list", "os.link": "link"}


def _audit(event: str, _: Any) -> None:
    if _counted is not None and event in _EVENTS:
        _counted[_EVENTS[event]] += 1


sys.addaudithook(_audit)


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the files that are opened, listed and looked at."""
    global _counted
    counts: Counter[str] = Counter()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            counts["stat"] += 1
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("stat", "lstat"):
            patch.setattr(os, name, counted(getattr(os, name)))
        _counted = counts
        try:
            yield counts
        finally:
            _counted = None


def force_field(number: object) -> SmirnoffForceFieldSource:
    return SmirnoffForceFieldSource(f"<SMIRNOFF><!-- {number} --></SMIRNOFF>")


def umbrella(number: object) -> EvaluatorObject:
    return EvaluatorObject(type_string="my.program.UmbrellaData", state=TypedJSON({"window": f"{number}"}))


def model(number: object) -> TrainedModelData:
    return TrainedModelData(
        name=f"m{number}", framework="torch", target_property="density", domain="x", metrics={"a": 0.1}
    )


KINDS: dict[str, tuple[Callable[[object], Any], bool]] = {
    "of Evaluator": (lambda number: simulation(f"c{number}"), True),
    "hashable": (lambda number: ForceFieldData(force_field_source=force_field(number)), False),
    "of a user's class": (umbrella, False),
    "of ours alone": (model, True),
}


def filled(directory: Path, kind: str, count: int, run: Path) -> LocalFileStorage:
    make, has_files = KINDS[kind]
    with LocalFileStorage(directory) as backend, backend.transaction():
        for number in range(count):
            backend.store_object(make(number), run if has_files else None, storage_key=f"k{number}")
    return LocalFileStorage(directory)


ACTIONS: dict[str, Callable[[LocalFileStorage, Any, Path | None], object]] = {
    "store": lambda backend, new, run: backend.store_object(new, run, storage_key="new"),
    "store what is there": lambda backend, new, run: backend.store_object(
        backend.retrieve_object("k1")[0],  # type: ignore[arg-type]
        run,
    ),
    "retrieve": lambda backend, new, run: backend.retrieve_object("k3"),
    "retrieve what is not there": lambda backend, new, run: backend.retrieve_object("k3x"),
    "in": lambda backend, new, run: "k3" in backend,
    "has_object": lambda backend, new, run: backend.has_object(new),
    "remove": lambda backend, new, run: backend.remove_object("k2"),
    "len": lambda backend, new, run: len(backend),
    "keys": lambda backend, new, run: backend.keys(),
    "open": lambda backend, new, run: LocalFileStorage(backend.directory),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_call_looks_at_more_files_where_there_are_more_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, action: str
) -> None:
    make, has_files = KINDS[kind]
    run = files(tmp_path / "run", "x")
    found = []
    for count in (FEW, MANY):
        backend = filled(tmp_path / str(count), kind, count, run)
        # The first question reads each object once.
        assert backend.has_object(make("not there")) is None
        backend.remove_object("k0")
        with counting(monkeypatch) as counts:
            ACTIONS[action](backend, make("new"), run if has_files else None)
        found.append(counts)
    assert found[0] == found[1]
    assert sum(found[0].values()) < 200


@pytest.mark.parametrize("kind", KINDS)
def test_storing_many_reads_no_object_again_and_writes_the_registry_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, has_files = KINDS[kind]
    run = files(tmp_path / "run", "x") if has_files else None
    per_object = []
    for count in (FEW, MANY):
        backend = LocalFileStorage(tmp_path / str(count))
        with counting(monkeypatch) as counts, backend.transaction():
            for number in range(count):
                backend.store_object(make(number), run)
        per_object.append({name: times / count for name, times in counts.items()})
    assert all(per_object[1][name] <= per_object[0][name] for name in per_object[0]), per_object


@pytest.mark.parametrize("target_kind", ["directory", "container"])
@pytest.mark.parametrize("source_kind", ["directory", "container"])
def test_copying_a_store_costs_each_object_the_same_whatever_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source_kind: str, target_kind: str
) -> None:
    run = files(tmp_path / "run", "x")

    def opened(kind: str, name: str) -> StorageBackend:
        return (
            LocalFileStorage(tmp_path / name) if kind == "directory" else HDF5Storage(tmp_path / f"{name}.h5")
        )

    per_object = []
    for count in (FEW, MANY):
        with (
            opened(source_kind, f"from{count}") as source,
            source._atomic(),  # type: ignore[attr-defined]
        ):
            for number in range(count):
                source.store_object(simulation(f"c{number}"), run)
        with opened(source_kind, f"from{count}") as source, opened(target_kind, f"to{count}") as target:
            with counting(monkeypatch) as counts:
                target.update(source)
            assert len(target) == count
        per_object.append({name: times / count for name, times in counts.items()})
    assert all(per_object[1][name] <= per_object[0][name] * 1.05 for name in per_object[0]), per_object


def test_the_registry_of_a_directory_is_written_once_for_each_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simarchive.storage.evaluator_directory.registry import DirectoryRegistry

    written = []
    real = DirectoryRegistry.text
    monkeypatch.setattr(DirectoryRegistry, "text", lambda self: written.append(1) or real(self))
    backend = LocalFileStorage(tmp_path / "s")
    for number in range(3):
        backend.store_force_field(force_field(number))
    assert len(written) == 3
    backend.store_force_field(force_field(0))
    assert len(written) == 3, "nothing changed"
    with backend.transaction():
        for number in range(3, 9):
            backend.store_force_field(force_field(number))
        backend.remove_object(backend.keys()[0])
    assert len(written) == 4
    target = LocalFileStorage(tmp_path / "t")
    target.update(backend)
    assert len(written) == 5


# --- what others change is seen --------------------------------------------------------------------------


def test_what_another_backend_stores_replaces_or_removes_is_known_at_the_next_question(
    tmp_path: Path,
) -> None:
    run, other_run = files(tmp_path / "run", "x"), files(tmp_path / "other", "y")
    mine, theirs = LocalFileStorage(tmp_path / "s"), LocalFileStorage(tmp_path / "s")
    assert mine.has_object(simulation("1")) is None
    key = theirs.store_object(simulation("1", 3.0), run)
    assert mine.has_object(simulation("1", 3.0)) == key
    theirs.store_object(simulation("1", 2.0), other_run)
    assert mine.store_object(simulation("1", 2.5), run) == key
    assert mine.retrieve_object(key)[0] == simulation("1", 2.0)
    theirs.remove_object(key)
    assert mine.has_object(simulation("1", 2.0)) is None
    # Another object under the same key.
    theirs.store_object(simulation("2"), run, storage_key=key)
    assert mine.has_object(simulation("2")) == key
    assert mine.has_object(simulation("1", 2.0)) is None


def test_two_backends_that_take_turns_read_only_what_the_other_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = [LocalFileStorage(tmp_path / "s"), LocalFileStorage(tmp_path / "s")]
    opened = []
    for number in range(40):
        with counting(monkeypatch) as counts:
            backends[number % 2].store_force_field(force_field(number))
        opened.append(counts["open"])
    assert len(set(opened[10:])) == 1


def test_what_evaluator_writes_during_a_transaction_stays_registered(tmp_path: Path) -> None:
    backend = LocalFileStorage(tmp_path / "s")
    first = backend.store_force_field(force_field(1))
    document = (backend.directory / f"{first}.json").read_text()
    with backend.transaction():
        mine = backend.store_force_field(force_field(2))
        # Evaluator takes no turns: it writes over the registry in place.
        (backend.directory / "theirs.json").write_text(document.replace("1", "7"))
        registry = backend.directory / "object_keys.json"
        typed = json.loads(registry.read_text())
        typed["object_keys"]["ForceFieldData"].append("theirs")
        registry.write_text(json.dumps(typed))
    assert backend.keys() == [first, "theirs", mine]
    assert LocalFileStorage(tmp_path / "s").keys() == [first, "theirs", mine]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (simulation("1", float("nan")), simulation("1", float("nan"))),
        (simulation("1", 0.0), simulation("1", -0.0)),
    ],
)
def test_objects_that_are_equal_are_found_whatever_their_numbers_look_like(
    tmp_path: Path, one: Any, other: Any
) -> None:
    assert one == other
    backend = LocalFileStorage(tmp_path / "s")
    key = backend.store_object(one, files(tmp_path / "run", "x"))
    assert LocalFileStorage(tmp_path / "s").has_object(other) == backend.has_object(other) == key


def test_equal_states_in_other_units_and_equal_lists_in_other_order_are_found(tmp_path: Path) -> None:
    from simarchive import ThermodynamicState

    backend = LocalFileStorage(tmp_path / "s")
    one, other = simulation("1"), simulation("1")
    other.thermodynamic_state = ThermodynamicState("298.15 K", "101.325 kPa")
    assert one == other
    key = backend.store_object(one, files(tmp_path / "run", "x"))
    assert LocalFileStorage(tmp_path / "s").has_object(other) == key


@pytest.mark.parametrize("mode", ["a", "r"])
def test_an_object_that_cannot_be_read_is_reported_and_in_nobodys_way(tmp_path: Path, mode: str) -> None:
    backend = LocalFileStorage(tmp_path / "s")
    keys = [backend.store_force_field(force_field(number)) for number in range(3)]
    (backend.directory / f"{keys[1]}.json").write_text("{")
    again = LocalFileStorage(tmp_path / "s", mode=mode)
    assert again.has_force_field(force_field(2)) == keys[2]
    assert list(again.problems) == [keys[1]]


def test_the_keys_of_a_class_are_gone_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simarchive.storage.evaluator_directory.registry import DirectoryRegistries

    passes = []
    for name in ("keys_under", "listed", "_merged"):
        real = getattr(DirectoryRegistries, name)
        monkeypatch.setattr(
            DirectoryRegistries, name, lambda *given, real=real: (passes.append(1), real(*given))[1]
        )
    backend = LocalFileStorage(tmp_path / "s")
    backend.store_force_field(force_field(0))
    passes.clear()
    for number in range(1, 4):
        key = backend.store_force_field(force_field(number))
        assert backend.retrieve_object(key)[0] is not None
        assert key in backend
    backend.remove_object(key)
    # Once in all, when the class was first there.
    assert len(passes) <= 1


def test_a_copy_reads_each_document_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_object = storage.read_object

    def counted(root: Path, storage_key: str, max_bytes: int) -> object:
        read.append(storage_key)
        return read_object(root, storage_key, max_bytes)

    with LocalFileStorage(tmp_path / "dir") as source:
        run = files(tmp_path / "run", "text")
        keys = [source.store_object(simulation(f"{number}"), run) for number in range(5)]
        monkeypatch.setattr(storage, "read_object", counted)
        with HDF5Storage(tmp_path / "a.h5") as target:
            assert len(target.update(source).stored) == 5
        assert sorted(read) == sorted(keys)


def test_the_files_of_an_object_whose_document_changed_are_those_of_the_new_one(tmp_path: Path) -> None:
    with LocalFileStorage(tmp_path / "dir") as backend:
        key = backend.store_object(simulation("one"), files(tmp_path / "run", "text"))
        model = backend.store_object(ForceFieldData(force_field_source=force_field(1)))
        assert backend.load(key) is not None
        assert backend.members(key) is not None
        document = tmp_path / "dir" / f"{key}.json"
        document.write_bytes((tmp_path / "dir" / f"{model}.json").read_bytes())
        assert backend.members(key) is None
        assert backend.members(model) is None
        document.unlink()
        with pytest.raises(NotFoundError):
            backend.members(key)
