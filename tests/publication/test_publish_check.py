"""Whatever a repository would miss is found where it is planted, and nothing in a whole archive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
from archives import simulation

from simarchive import (
    BaseStoredData,
    FilePath,
    HDF5Storage,
    InvalidDataError,
    Substance,
    ThermodynamicState,
    TrainedModelData,
    register_data_class,
)
from simarchive.storage.publication.check import KINDS, Finding, publish_check

FORCE_FIELD = "1377ac1104d545dabe75d0f3fc830153"
WITH_DCD = "0a701d4c16ac42e1bc24450e699d7783"


@register_data_class("PublishedAnyway", version=1)
class PublishedAnyway(BaseStoredData):
    """A class of somebody else, whose composition and state may be missing."""

    name: str = ""
    substance: Substance | None = None
    thermodynamic_state: ThermodynamicState | None = None
    note: str | None = None

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return True."""
        return True


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, complete: Path) -> Path:
    """An archive of one simulation and its force field that lacks nothing; not to be changed."""
    path = tmp_path_factory.mktemp("small") / "water.h5"
    with HDF5Storage(path) as backend, HDF5Storage(complete, mode="r") as source:
        for key in (FORCE_FIELD, WITH_DCD):
            backend.put(source.load(key), source.members(key), storage_key=key)
        backend.set_metadata(source.metadata)
    return path


@pytest.fixture
def archive(small: Path, tmp_path: Path) -> Path:
    """The same, for this test alone."""
    return Path(shutil.copyfile(small, tmp_path / "water.h5"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory for the files of an object."""
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def findings(path: Path, **options: Any) -> list[Finding]:
    with HDF5Storage(path, mode="r") as backend:
        return publish_check(backend, **options).findings


def files_of_example(path: Path, place: Path, key: str = WITH_DCD) -> tuple[Path, int]:
    """Return a directory with the files of an example, and how many frames its trajectory has."""
    with HDF5Storage(path, mode="r") as backend:
        backend.extract(key, place)
        stored = backend.load(key)
    return place, len(stored.observables)  # type: ignore[attr-defined]


Plant = Callable[[Path, Path], None]
PLANTS: dict[str, Plant] = {}


def plants(kind: str) -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        PLANTS[f"{kind}: {plant.__name__}"] = plant
        return plant

    return note


def without(field: str) -> Plant:
    def remove(path: Path, _: Path) -> None:
        with HDF5Storage(path) as backend:
            backend.set_metadata(**{field: None})

    remove.__name__ = "removed"
    return remove


for name in ("title", "description", "license", "authors"):
    plants(name)(without(name))


@plants("metadata")
def another_program_set_a_licence(path: Path, _: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["license"] = "CC BY 4.0"


@plants("reference")
def a_model_without_its_data(path: Path, place: Path) -> None:
    (place / "weights").write_bytes(b"w")
    model = TrainedModelData(
        name="m", framework="torch", target_property="x", domain="y", training_data_keys=["gone", WITH_DCD]
    )
    with HDF5Storage(path) as backend:
        backend.store_object(model, place)


@plants("force-field")
def a_force_field_that_nobody_stored(path: Path, place: Path) -> None:
    files, n_frames = files_of_example(path, place)
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("f" * 32, n_frames), files)


@plants("topology")
def a_trajectory_alone(path: Path, place: Path) -> None:
    files, n_frames = files_of_example(path, place)
    (files / "output.pdb").rename(files / "numbers.txt")
    with HDF5Storage(path) as backend:
        stored = simulation(FORCE_FIELD, n_frames, coordinate_file_name=FilePath("numbers.txt"))
        backend.store_object(stored, files)


@plants("atoms")
def the_topology_of_another_system(path: Path, place: Path) -> None:
    files, n_frames = files_of_example(path, place)
    lines = (files / "output.pdb").read_text().splitlines()
    removed = next(number for number, line in enumerate(lines) if line.startswith(("ATOM", "HETATM")))
    (files / "output.pdb").write_text("\n".join(lines[:removed] + lines[removed + 1 :]))
    with HDF5Storage(path) as backend:
        backend.store_object(simulation(FORCE_FIELD, n_frames), files)


@plants("frames")
def observables_of_another_run(path: Path, place: Path) -> None:
    files, n_frames = files_of_example(path, place)
    with HDF5Storage(path) as backend:
        backend.store_object(simulation(FORCE_FIELD, n_frames + 1), files)


@plants("frames")
def a_trajectory_that_was_broken_off(path: Path, place: Path) -> None:
    files, n_frames = files_of_example(path, place)
    os.truncate(files / "trajectory.dcd", (files / "trajectory.dcd").stat().st_size - 10)
    with HDF5Storage(path) as backend:
        backend.store_object(simulation(FORCE_FIELD, n_frames), files)


@plants("damage")
def a_flipped_bit(path: Path, _: Path) -> None:
    with h5py.File(path) as file:
        offset = file[f"objects/{WITH_DCD}/files/trajectory.dcd"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 100] ^= 1
    path.write_bytes(content)


def store_text(path: Path, place: Path, text: str, **fields: Any) -> None:
    (place / "run.log").write_text(text)
    state = ThermodynamicState.from_tree({"temperature": {"value": 298.15, "unit": "kelvin"}})
    stored = PublishedAnyway(substance=Substance.from_components("O"), thermodynamic_state=state, **fields)
    with HDF5Storage(path) as backend:
        backend.store_object(stored, place)


@plants("path")
def a_log_with_a_home_directory(path: Path, place: Path) -> None:
    store_text(path, place, "Working dir: /home/jdoe/water/run7\n")


@plants("path")
def a_log_of_windows(path: Path, place: Path) -> None:
    store_text(path, place, "Working dir: C:\\Users\\jdoe\\water\n")


@plants("path")
def a_document_with_a_home_directory(path: Path, place: Path) -> None:
    store_text(path, place, "x", note="copied from /Users/jdoe/water")


@plants("path")
def the_title_of_a_binary_file(path: Path, place: Path) -> None:
    store_text(path, place, "T\0\0\0CORD\0\0REMARKS FILENAME=/home/jdoe/out.dcd")


@plants("user")
def a_log_with_a_user(path: Path, place: Path) -> None:
    store_text(path, place, "HOST=node7\nUSER=jdoe\n")


@plants("e-mail")
def a_log_with_an_address(path: Path, place: Path) -> None:
    store_text(path, place, "questions to jane.doe@example.org\n")


@plants("composition")
def an_object_without_substance(path: Path, place: Path) -> None:
    store_text(path, place, "x", name="a")
    with HDF5Storage(path) as backend:
        key = backend.keys()[-1]
        stored = backend.load(key)
        stored.substance = None  # type: ignore[attr-defined]
        backend.remove_object(key)
        backend.purge_removed()
        backend.store_object(stored, place)


@plants("state")
def an_object_without_state(path: Path, place: Path) -> None:
    (place / "run.log").write_text("x")
    with HDF5Storage(path) as backend:
        backend.store_object(PublishedAnyway(substance=Substance.from_components("O")), place)


@plants("empty-file")
def a_file_without_content(path: Path, place: Path) -> None:
    (place / "empty.dat").write_bytes(b"")
    store_text(path, place, "x")


@plants("log")
def commits_that_wait_in_the_log(path: Path, _: Path) -> None:
    pid = os.fork()
    if pid == 0:
        backend = HDF5Storage(path)
        backend.set_metadata(version="2")
        os._exit(0)  # as if killed
    os.waitpid(pid, 0)


@plants("removed")
def an_object_that_can_be_restored(path: Path, place: Path) -> None:
    store_text(path, place, "nothing that anybody could object to")
    with HDF5Storage(path) as backend:
        backend.remove_object(backend.keys()[-1])


@plants("objects")
def nothing_in_it(path: Path, _: Path) -> None:
    with HDF5Storage(path, mode="r") as backend:
        metadata = backend.metadata
    path.unlink()
    with HDF5Storage(path) as backend:
        backend.set_metadata(metadata)


def test_a_whole_archive_lacks_nothing(complete: Path) -> None:
    with HDF5Storage(complete, mode="r") as backend:
        report = publish_check(backend)
    assert report.findings == []
    assert report.ok
    assert (report.n_objects, report.n_members) == (13, 25)


@pytest.mark.parametrize("planted", PLANTS)
def test_what_is_planted_is_found_and_nothing_else(planted: str, archive: Path, place: Path) -> None:
    PLANTS[planted](archive, place)
    found = findings(archive)
    kind = planted.partition(":")[0]
    assert [finding.kind for finding in found] == [kind], found
    assert findings(archive, ignore=[kind]) == []


def test_every_kind_is_planted() -> None:
    assert {planted.partition(":")[0] for planted in PLANTS} == set(KINDS)


def test_a_finding_names_object_and_file(archive: Path, place: Path) -> None:
    the_topology_of_another_system(archive, place)
    [finding] = findings(archive)
    with HDF5Storage(archive, mode="r") as backend:
        assert finding.key == backend.keys()[-1]
    assert finding.member == "trajectory.dcd"
    assert finding.message.startswith("it has ")
    assert "output.pdb has" in finding.message


def test_all_that_is_planted_is_found_at_once(archive: Path, tmp_path: Path) -> None:
    together = [name for name in PLANTS if not name.startswith(("objects", "damage", "log", "metadata"))]
    for number, name in enumerate(together):
        (tmp_path / str(number)).mkdir()
        PLANTS[name](archive, tmp_path / str(number))
    found = {finding.kind for finding in findings(archive)}
    assert found == {name.partition(":")[0] for name in together}


def test_a_kind_that_does_not_exist_is_refused(complete: Path) -> None:
    with pytest.raises(InvalidDataError, match="e-mail"):
        findings(complete, ignore=["email"])


def test_a_file_that_objects_share_is_read_once(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_member = HDF5Storage.open_member

    def noted(self: HDF5Storage, key: str, name: str) -> Any:
        opened.append(name)
        return open_member(self, key, name)

    monkeypatch.setattr(HDF5Storage, "open_member", noted)
    assert findings(archive) == []
    before, opened = opened, []
    # Once for private traces, once for numbers.
    assert sorted(before) == ["output.pdb", "output.pdb", "trajectory.dcd", "trajectory.dcd"]
    with HDF5Storage(archive) as backend:
        stored = backend.load(WITH_DCD)
        for number in range(5):
            copy = stored.model_copy(update={"source_calculation_id": str(number)})
            backend.put(copy, backend.members(WITH_DCD))
    assert findings(archive) == []
    assert opened == before


def test_findings_are_plain_values(archive: Path) -> None:
    finding = Finding("title", "x")
    assert replace(finding, key="k").key == "k"
    with HDF5Storage(archive, mode="r") as backend:
        assert set(publish_check(backend).as_dict()) == {
            "path",
            "n_objects",
            "n_members",
            "findings",
            "unknown_classes",
            "ok",
        }
