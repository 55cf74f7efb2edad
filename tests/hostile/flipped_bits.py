"""A small container with a bit of everything, and all that is read of it or of a damaged copy."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simarchive import (
    ForceFieldQuery,
    HDF5Storage,
    LocalFileStorage,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    SimulationDataQuery,
    SmirnoffForceFieldSource,
    StorageError,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.container.documents import identity_digest
from simarchive.storage.hdf5.upkeep import repack

LONG_NAME = "analysis/" + "long " * 60 + "name.txt"


def build(path: Path, files: Path, *, n_runs: int = 3) -> None:
    """Write the container: documents short and long, arrays, members shared and not, with long names.

    Its index has a sealed segment and rows of its tail, and it has room that removed objects left.
    """
    generator = np.random.default_rng(5)
    with HDF5Storage(path) as backend:
        force_field = backend.store_force_field(SmirnoffForceFieldSource(_text(3_000)))
        backend.store_force_field(SmirnoffForceFieldSource(_text(70_000)))
        with backend.transaction():
            many = [backend.store_force_field(SmirnoffForceFieldSource(_text(n))) for n in range(70)]
        with backend.transaction():
            for key in many[1:]:
                backend.remove_object(key)
        for number in range(n_runs):
            folder = files / str(number)
            (folder / "empty").mkdir(parents=True)
            (folder / "analysis").mkdir()
            (folder / "output.pdb").write_bytes(b"ATOM  %d\n" % number * 40)
            (folder / "trajectory.dcd").write_bytes(generator.normal(size=3_000).astype("<f4").tobytes())
            (folder / "shared.bin").write_bytes(bytes(range(256)) * 300)
            (folder / "zeros.bin").write_bytes(bytes(10_000))
            if number == 1 or n_runs == 1:
                with contextlib.suppress(OSError):  # Not every file system has such names.
                    (folder / LONG_NAME).write_bytes(b"a long name")
            # Another one before it leaves room when it is gone.
            stored = simulation(10 + number, force_field, generator)
            other = shutil.copytree(folder, files / f"removed-{number}")
            (other / "shared.bin").write_bytes(generator.bytes(30_000))
            backend.store_object(stored, other, storage_key=f"removed-{number}")
            stored = simulation(number, force_field, generator)
            backend.store_object(stored, folder, storage_key=f"run-{number}")
        for number in range(n_runs):
            backend.remove_object(f"removed-{number}")


def _text(size: int) -> str:
    return f"<SMIRNOFF><!-- {'x' * size} --></SMIRNOFF>"


def simulation(number: int, force_field: str, generator: np.random.Generator) -> StoredSimulationData:
    def values(units: Any) -> ObservableArray:
        return ObservableArray(generator.normal(size=(200, 1)) * units)

    return StoredSimulationData(
        substance=Substance.from_components("O"),
        thermodynamic_state=ThermodynamicState(f"{298 + number} K", "1 atm"),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id=f"calculation {number}",
        force_field_id=force_field,
        coordinate_file_name="output.pdb",
        trajectory_file_name="trajectory.dcd",
        statistical_inefficiency=1.5,
        number_of_molecules=100,
        observables=ObservableFrame(
            {
                "Density": values(unit.gram / unit.milliliter),
                "PotentialEnergy": values(unit.kilojoule / unit.mole),
            }
        ),
    )


# --- all that is read -------------------------------------------------------------------------------------

Answers = dict[str, Any]
"""What was read, by what was asked; an error of ours is left out."""


def read_all(path: Path, folder: Path) -> Answers:
    """Ask everything of a container, in every way, and return the answers that are no errors of ours."""
    answers: Answers = {}
    folder.mkdir(exist_ok=True)
    with _quiet():
        _note(answers, "", lambda: _read(path, folder, answers))
        for name, copying in COPYING.items():
            target = folder / name
            _note(answers, name, lambda copying=copying, target=target: copying(path, target))
            if target.exists():
                copied: Answers = {}
                read = functools.partial(_read, target, folder, copied, is_copy=True)
                _note(copied, "", read)
                answers |= {f"{name}: {asked}": answer for asked, answer in copied.items()}
    return answers


def _merge(path: Path, target: Path) -> None:
    with HDF5Storage(path, mode="r") as source, HDF5Storage(target) as backend:
        backend.update(source)


def _export(path: Path, target: Path) -> None:
    with HDF5Storage(path, mode="r") as source, LocalFileStorage(target) as backend:
        backend.update(source)


def _repack(path: Path, target: Path) -> None:
    copy = Path(shutil.copy(path, target))
    repack(copy)


COPYING: dict[str, Callable[[Path, Path], None]] = {
    "merged.h5": _merge,
    "exported": _export,
    "repacked.h5": _repack,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _note(answers: Answers, asked: str, ask: Callable[[], Any]) -> None:
    try:
        answer = ask()
    except StorageError:
        return
    if asked:
        answers[asked] = answer


def _read(path: Path, folder: Path, answers: Answers, *, is_copy: bool = False) -> None:
    backend = LocalFileStorage(path, mode="r") if path.is_dir() else HDF5Storage(path, mode="r")
    with backend:
        for key in list(backend):
            found: list[Any] = []
            _note(answers, "", lambda key=key, found=found: found.extend(backend.retrieve_object(key)))
            if found:
                _note(answers, f"{key}: retrieved", lambda found=found: _identity(found[0]))
            if found and found[1] is not None and not isinstance(backend, HDF5Storage):
                answers[f"{key}: files"] = _files_below(Path(found[1]))
            if isinstance(backend, HDF5Storage):
                _read_files(backend, key, folder, answers, is_copy=is_copy)
            if not is_copy:
                _note(answers, f"{key}: loaded", lambda key=key: _identity(backend.load(key)))
        if is_copy:
            return
        for query in (SimulationDataQuery(), ForceFieldQuery()):
            name = type(query).__name__
            for matches in _found(backend, query):
                for key, stored, _ in matches:
                    _note(answers, f"{key}: queried", lambda stored=stored: _identity(stored))
            if isinstance(backend, HDF5Storage):
                _note(answers, f"{name}: columns", lambda query=query: _rows(backend, query))


def _files_below(folder: Path) -> dict[str, bytes]:
    places = (place for place in folder.rglob("*") if place.is_file())
    return {str(place.relative_to(folder)): place.read_bytes() for place in places}


def _found(backend: Any, query: Any) -> list[Any]:
    try:
        return list(backend.query(query).values())
    except StorageError:
        return []


def _rows(backend: HDF5Storage, query: Any) -> dict[str, str]:
    columns = backend.columns(query)
    rows = zip(*columns.values(), strict=True)
    return {str(row[0]): repr(row) for row in rows}


def _identity(stored: Any) -> str:
    return identity_digest(type(stored).data_class_name, stored.to_document())


def _read_files(backend: HDF5Storage, key: str, folder: Path, answers: Answers, *, is_copy: bool) -> None:
    names: list[str] = []
    place = folder / "extracted" / key
    _note(answers, "", lambda: names.extend(info.name for info in backend.list_members(key)))
    for name in names:
        _note(answers, f"{key}/{name}: opened", lambda name=name: _opened(backend, key, name))
        if is_copy:
            continue
        _note(answers, f"{key}/{name}: at random", lambda name=name: _at_random(backend, key, name))
        _note(
            answers,
            f"{key}/{name}: extracted",
            lambda name=name: backend.extract(key, place, [name])[0].read_bytes(),
        )
    shutil.rmtree(folder / "extracted", ignore_errors=True)


def _opened(backend: HDF5Storage, key: str, name: str) -> bytes:
    with backend.open_member(key, name) as stream:
        return stream.read()


def _at_random(backend: HDF5Storage, key: str, name: str) -> bytes:
    with backend.open_member(key, name) as stream:
        stream.seek(-100 if stream.seek(0, 2) > 100 else 0, 2 if stream.tell() > 100 else 0)
        return stream.read()


def false_answers(sound: Answers, found: Answers) -> dict[str, Any]:
    """Return the answers that a damaged container gave and a sound one does not give."""
    false = {}
    for asked, answer in found.items():
        expected = sound.get(asked, "nothing of the kind")
        if isinstance(answer, dict) and isinstance(expected, dict):
            if any(expected.get(key) != row for key, row in answer.items()):
                false[asked] = answer
        elif answer != expected:
            false[asked] = answer
    return false
