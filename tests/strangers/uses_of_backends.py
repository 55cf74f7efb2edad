"""Every public method of a backend, each used once: for tests of what all of them do in the same place."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from children import force_field

from simarchive import ForceFieldQuery, HDF5Storage, SimulationDataQuery
from simarchive.storage.ancillary import AncillaryData
from simarchive.storage.incoming import Incoming
from simarchive.testing.sample_objects import simulation, write_files


@dataclass(frozen=True)
class Stored:
    """A backend, and what is stored in it."""

    backend: HDF5Storage
    force_field_key: str
    simulation_key: str
    files: Path
    other: HDF5Storage
    """Another container, with other objects."""
    other_members: AncillaryData
    """The files of an object of the other."""
    removed_key: str
    """Of what was removed, and can be restored."""


def filled(path: str, **options: Any) -> Stored:
    """Return a new container with a force field and a simulation, and another one."""
    backend = HDF5Storage(path, **options)
    files = write_files(Path("files"))
    other = HDF5Storage(f"{path}.other", **options)
    other.store_force_field(force_field("of the other"))
    other_key = other.store_object(simulation("of the other"), files)
    removed_key = backend.store_force_field(force_field("removed"))
    backend.remove_object(removed_key)
    return Stored(
        backend,
        backend.store_force_field(force_field("stored")),
        backend.store_object(simulation(), files),
        files,
        other,
        other.members(other_key),
        removed_key,
    )


def enter_and_leave(stored: Stored) -> None:
    with stored.backend.transaction():
        pass


def extract_by_path(stored: Stored) -> None:
    _, path = stored.backend.retrieve_object(stored.simulation_key)
    assert Path(path, "output.pdb").exists()


def read_member(stored: Stored) -> None:
    assert stored.backend.open_member(stored.simulation_key, "output.pdb").read()


def use_directory(stored: Stored) -> None:
    with stored.backend.members(stored.simulation_key).directory() as directory:
        assert (directory / "output.pdb").exists()


def read_in_a_block(stored: Stored) -> None:
    with stored.backend.reading() as backend:
        assert backend.keys() == backend.keys()


def a_run() -> Path:
    """Return a directory with a run of OpenMM."""
    folder = Path("run")
    folder.mkdir(exist_ok=True)
    (folder / "state.csv").write_text('#"Step","Temperature (K)"\n10,300.0\n20,301.5\n')
    return folder


def add_a_run(stored: Stored, *tags: str) -> str:
    return stored.backend.add_run(a_run(), name=new_text(), tags=tags)


def new_text() -> str:
    return os.urandom(8).hex()


Use = Callable[[Stored], object]

READS: dict[str, Use] = {
    "__len__": lambda s: len(s.backend),
    "__contains__": lambda s: s.force_field_key in s.backend,
    "__iter__": lambda s: list(s.backend),
    "keys": lambda s: s.backend.keys(),
    "keys of a query": lambda s: s.backend.keys(SimulationDataQuery()),
    "query": lambda s: s.backend.query(SimulationDataQuery()),
    "count": lambda s: s.backend.count(ForceFieldQuery()),
    "columns": lambda s: s.backend.columns(SimulationDataQuery()),
    "indexed_rows": lambda s: s.backend.indexed_rows(),
    "table": lambda s: s.backend.table(SimulationDataQuery()),
    "explain": lambda s: s.backend.explain(SimulationDataQuery()),
    "select": lambda s: s.backend.select(["ForceFieldData"]),
    "header": lambda s: s.backend.header(s.simulation_key),
    "problems": lambda s: s.backend.problems,
    "headers": lambda s: list(s.backend.headers()),
    "retrieve_object": extract_by_path,
    "retrieve_force_field": lambda s: s.backend.retrieve_force_field(s.force_field_key),
    "retrieve_document": lambda s: s.backend.retrieve_document(s.simulation_key),
    "class_name_of": lambda s: s.backend.class_name_of(s.simulation_key),
    "has_object": lambda s: s.backend.has_object(simulation()),
    "has_force_field": lambda s: s.backend.has_force_field(force_field("stored")),
    "load": lambda s: s.backend.load(s.simulation_key),
    "members": lambda s: s.backend.members(s.simulation_key).digests(),
    "directory of members": use_directory,
    "ancillary_path": lambda s: (s.backend.ancillary_path(s.simulation_key) / "output.pdb").read_text(),
    "possible_duplicates": lambda s: list(s.backend.possible_duplicates(Incoming(simulation()))),
    "reading": read_in_a_block,
    "list_members": lambda s: s.backend.list_members(s.simulation_key),
    "file_digests": lambda s: s.backend.file_digests(s.simulation_key),
    "open_member": read_member,
    "extract": lambda s: s.backend.extract(s.simulation_key, f"extracted-{new_text()}"),
    "statistics": lambda s: s.backend.statistics(),
    "statistics_by": lambda s: s.backend.statistics_by("class"),
    "metadata": lambda s: s.backend.metadata,
    "stored_metadata": lambda s: s.backend.stored_metadata(),
    "created_at": lambda s: s.backend.created_at,
    "full_key": lambda s: s.backend.full_key(s.simulation_key[:20]),
    "data_class": lambda s: s.backend.data_class("OfNobody"),
    "data_classes": lambda s: s.backend.data_classes(),
    "asked": lambda s: s.backend.asked("phase=liquid"),
    "verify": lambda s: s.backend.verify(),
    "history": lambda s: s.backend.history(s.simulation_key),
    "history_lines": lambda s: s.backend.history_lines(s.simulation_key),
    "removed": lambda s: s.backend.removed(),
    "plan_pull": lambda s: s.backend.plan_pull(s.other),
    "prefetch": lambda s: s.backend.prefetch([s.simulation_key]),
    "find_removed": lambda s: s.backend.find_removed(s.removed_key),
    "class_of_removed": lambda s: s.backend.class_of_removed(s.backend.find_removed(s.removed_key)),
    "overview": lambda s: s.backend.overview(),
    "glance": lambda s: s.backend.glance(s.simulation_key),
    "references_if_there": lambda s: s.backend.references_if_there(s.other, next(iter(s.other))),
    "dataset": lambda s: s.backend.dataset(s.simulation_key).load(),
    "subset": lambda s: s.backend.subset(f"subset-{new_text()}.h5").close(),
}
CHANGES: dict[str, Use] = {
    "store_force_field": lambda s: s.backend.store_force_field(force_field(new_text())),
    "store_object": lambda s: s.backend.store_object(simulation(new_text()), s.files),
    "add_run": add_a_run,
    "set_metadata": lambda s: s.backend.set_metadata(title=new_text()),
    "put": lambda s: s.backend.put(simulation(new_text()), s.other_members),
    "remove_object": lambda s: s.backend.remove_object(s.simulation_key),
    "transaction": enter_and_leave,
    "update": lambda s: s.backend.update(s.other),
    "pull": lambda s: s.backend.pull(s.other),
    "__iadd__": lambda s: s.backend.__iadd__(s.other),
    "rebuild_index": lambda s: s.backend.rebuild_index(),
    "repair": lambda s: s.backend.repair(),
    "store": lambda s: s.backend.store(simulation(new_text()), s.files),
    "add_file": lambda s: s.backend.add_file(s.simulation_key, new_text(), s.files / "output.pdb"),
    "replace_file": lambda s: s.backend.replace_file(
        s.simulation_key, "nested/deep/notes.txt", s.files / "output.pdb"
    ),
    "rename_file": lambda s: s.backend.rename_file(s.simulation_key, "nested/deep/notes.txt", new_text()),
    "remove_file": lambda s: s.backend.remove_file(s.simulation_key, "nested/deep/notes.txt"),
    "append_member": lambda s: s.backend.append_member(
        s.simulation_key, "trajectory.dcd", s.files / "trajectory.dcd"
    ),
    "add_note": lambda s: s.backend.add_note(s.simulation_key, new_text()),
    "add_tags": lambda s: s.backend.add_tags(add_a_run(s), new_text()),
    "remove_tags": lambda s: s.backend.remove_tags(add_a_run(s, "old"), "old"),
    "take_history": lambda s: s.backend.take_history(s.simulation_key, "", only_notes=True),
    "restore": lambda s: s.backend.restore(s.removed_key),
    "purge_removed": lambda s: s.backend.purge_removed(),
    "set_aside": lambda s: s.backend.set_aside(s.simulation_key),
}
UNBLOCKED: dict[str, Use] = {
    "path": lambda s: s.backend.path,
    "mode": lambda s: s.backend.mode,
    "closed": lambda s: s.backend.closed,
    "__repr__": lambda s: repr(s.backend),
    "is_same_store": lambda s: s.backend.is_same_store(s.other),
    "watch_requests": lambda s: s.backend.watch_requests(None),
}
"""What says nothing about the objects, and so waits for nobody."""
ENDS: dict[str, Use] = {
    "close": lambda s: s.backend.close(),
    "__exit__": lambda s: s.backend.__exit__(None, None, None),
}
# Those for trajectories, and for containers elsewhere, have tests of their own, with files that can be read.
NOT_USED = {
    "is_far",
    "plan_to",
    "split",
    "plan_split",
    "frames",
    "universe",
    "mdtraj",
    "mdtraj_chunks",
    "export_trajectory",
    "lock",
    "__enter__",
    "__class__",
    "__init__",
    "progress",
    "codec",
    "__del__",
}
USES = READS | CHANGES


def open_stream(stored: Stored) -> io.BufferedIOBase:
    """Return a stream over a member that has not been read."""
    return stored.backend.open_member(stored.simulation_key, "trajectory.dcd")  # type: ignore[return-value]
