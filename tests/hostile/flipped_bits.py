"""A small container with a bit of everything, copies with one bit flipped, and all that is read of them."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
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
from simarchive.container.layout import MEMBER_SIZE
from simarchive.storage.hdf5.upkeep import repack

Region = tuple[int, int]
"""Offset and length in bytes."""

LONG_NAME = "analysis/" + "long " * 60 + "name.txt"


def build(path: Path, files: Path) -> None:
    """Write the container: documents short and long, arrays, members shared and not, with long names."""
    generator = np.random.default_rng(5)
    with HDF5Storage(path) as backend:
        force_field = backend.store_force_field(SmirnoffForceFieldSource(_text(3_000)))
        backend.store_force_field(SmirnoffForceFieldSource(_text(70_000)))
        for number in range(3):
            folder = files / str(number)
            (folder / "empty").mkdir(parents=True)
            (folder / "analysis").mkdir()
            (folder / "output.pdb").write_bytes(b"ATOM  %d\n" % number * 40)
            (folder / "trajectory.dcd").write_bytes(generator.normal(size=3_000).astype("<f4").tobytes())
            (folder / "shared.bin").write_bytes(bytes(range(256)) * 300)
            (folder / "zeros.bin").write_bytes(bytes(10_000))
            if number == 1:
                with contextlib.suppress(OSError):  # Not every file system has such names.
                    (folder / LONG_NAME).write_bytes(b"a long name")
            stored = _simulation(number, force_field, generator)
            backend.store_object(stored, folder, storage_key=f"run-{number}")


def _text(size: int) -> str:
    return f"<SMIRNOFF><!-- {'x' * size} --></SMIRNOFF>"


def _simulation(number: int, force_field: str, generator: np.random.Generator) -> StoredSimulationData:
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


def regions(path: Path) -> dict[str, list[Region]]:
    """Return where what lies in a container, by kind."""
    found: dict[str, list[Region]] = {"arrays": [], "members": [], "headers": [], "documents": []}
    with h5py.File(path, "r") as file:
        for group in file["objects"].values():
            found["headers"].append((h5py.h5o.get_info(group.id).addr, 600))
            for dataset in group.values():
                found["headers"].append((h5py.h5o.get_info(dataset.id).addr, 400))
                if MEMBER_SIZE not in dataset.attrs:
                    found["arrays"].append((dataset.id.get_offset(), dataset.nbytes))
                    continue
                for number in range(dataset.id.get_num_chunks()):
                    chunk = dataset.id.get_chunk_info(number)
                    found["members"].append((chunk.byte_offset, chunk.size))
        texts = [bytes(group.attrs["document"]) for group in file["objects"].values()]
    content = path.read_bytes()
    for text in texts:
        if (place := content.find(text)) >= 0:
            found["documents"].append((place, len(text)))
    assert all(found.values())
    return found


def choose(path: Path, count: int, seed: int) -> Iterator[tuple[str, int, int]]:
    """Yield kind, offset and bit of single-bit flips, as many of each kind of place."""
    chooser = random.Random(seed)
    places = regions(path)
    for number in range(count):
        kind = list(places)[number % len(places)]
        start, length = chooser.choice(places[kind])
        end = min(start + length, path.stat().st_size)
        yield kind, chooser.randrange(start, end), chooser.randrange(8)


def flipped(sound: Path, path: Path, offset: int, bit: int) -> None:
    """Write a copy of a container with one bit changed."""
    content = bytearray(sound.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


# --- all that is read -------------------------------------------------------------------------------------

Answers = dict[str, Any]
"""What was read, by what was asked; an error of ours is left out."""


def read_all(path: Path, folder: Path) -> Answers:
    """Ask everything of a container, in every way, and return the answers that are no errors of ours."""
    answers: Answers = {}
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
            _note(answers, f"{key}: retrieved", lambda key=key: _identity(backend.retrieve_object(key)[0]))
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
