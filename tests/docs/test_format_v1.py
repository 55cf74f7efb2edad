"""A container of format 1 that was written once opens, and everything in it is found.

The files are never made anew: an addition to the format gets a folder of its own
(tests/data/make_format_v1.py).
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from blake3 import blake3

from simarchive import HDF5Storage, SimulationDataQuery, ThermodynamicState
from simarchive.container.documents import identity_digest
from simarchive.data import registered_data_classes
from simarchive.storage.hdf5.upkeep import repack

DATA = Path(__file__).parents[1] / "data"
FOLDERS = ("format-v1", "format-v1-digests", "format-v1-runs", "format-v1-netcdf")
EXPECTED: dict[str, Any] = {name: json.loads((DATA / name / "expected.json").read_text()) for name in FOLDERS}


def objects_of(container: Path) -> dict[str, Any]:
    """Return what is in the copy of the container of a folder."""
    found: dict[str, Any] = EXPECTED[container.stem]["objects"]
    return found


def identities(name: str) -> dict[str, str]:
    return {key: expected["identity"] for key, expected in EXPECTED[name]["objects"].items()}


def test_each_folder_holds_what_the_ones_before_it_hold() -> None:
    for before, after in itertools.pairwise(FOLDERS):
        assert identities(before).items() <= identities(after).items()


@pytest.fixture(params=FOLDERS)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Give a copy that cannot be written to, and has not been, not even by root, unless a test allows it."""
    path = Path(shutil.copy(DATA / request.param / "container.h5", tmp_path / f"{request.param}.h5"))
    before = path.read_bytes()
    path.chmod(0o444)
    yield path
    assert path.stat().st_mode & 0o200 or path.read_bytes() == before


def test_the_container_is_small_and_of_format_1(container: Path) -> None:
    assert container.stat().st_size < 350_000
    with h5py.File(container, "r") as file:
        assert file.attrs["simarchive_format"] == EXPECTED[FOLDERS[0]]["format"] == 1


def test_every_object_is_found_and_reads_to_the_bit(container: Path) -> None:
    with HDF5Storage(container, mode="r") as backend:
        assert list(backend) == list(objects_of(container))
        for header in backend.headers():
            expected = objects_of(container)[header.key]
            assert header.data_class == expected["data_class"]
            assert header.data_class_version == expected["version"]
            stored, _ = backend.retrieve_object(header.key)
            assert stored is not None
            assert identity_digest(header.data_class, stored.to_document()) == expected["identity"]


def test_every_member_extracts_with_its_digest(container: Path, tmp_path: Path) -> None:
    with HDF5Storage(container, mode="r") as backend:
        for key, expected in objects_of(container).items():
            found = {
                info.name: {"size": info.size, "blake3": info.digest, "codec": info.codec}
                for info in backend.list_members(key)
            }
            assert found == expected["members"]
            for path in backend.extract(key, tmp_path / key):
                name = path.relative_to(tmp_path / key).as_posix()
                assert blake3(path.read_bytes()).hexdigest() == expected["members"][name]["blake3"]
            for folder in expected["empty_folders"]:
                assert (tmp_path / key / folder).is_dir()


def test_the_index_answers_and_nothing_is_wrong(container: Path, caplog: pytest.LogCaptureFixture) -> None:
    with HDF5Storage(container, mode="r") as backend:
        assert backend.count(SimulationDataQuery()) == 2
        query = SimulationDataQuery(thermodynamic_state=ThermodynamicState("300 K", "100000 Pa"))
        assert backend.keys(query) == ["StoredSimulationData-3"]
        report = backend.verify(full=True)
    assert report.ok, report.problems
    assert [problem for problem in report.problems if problem.is_error] == []
    assert not caplog.records, "the index is not used"


def test_digests_are_where_the_folder_says(container: Path, request: pytest.FixtureRequest) -> None:
    has_digests = request.node.callspec.params["container"] != "format-v1"
    with h5py.File(container, "r") as file:
        for group in file["objects"].values():
            assert ("object_summary" in group.attrs) is has_digests
            assert (b'"blake3":' in group.attrs["document"]) is (
                has_digests and "@variable" in str(group.attrs["document"])
            )
            for dataset in group.get("files", group).values():
                if "member_size" in dataset.attrs:
                    assert ("member_description_blake3" in dataset.attrs) is has_digests


def test_copies_get_digests_of_what_was_proved_only(container: Path, tmp_path: Path) -> None:
    container.chmod(0o644)
    with HDF5Storage(container, mode="r") as source, HDF5Storage(tmp_path / "copy.h5") as target:
        report = target.update(source)
        assert not report.unreadable
        assert target.verify(full=True).ok
    repack(container)
    with HDF5Storage(container, mode="r") as backend:
        assert backend.verify(full=True).ok


def test_a_copy_can_be_changed(container: Path) -> None:
    container.chmod(0o644)
    with HDF5Storage(container) as backend:
        backend.remove_object("tleap")
        assert list(backend) == [key for key in objects_of(container) if key != "tleap"]
        assert backend.verify(full=True).ok


def test_every_data_class_and_codec_is_in_it() -> None:
    ours = {
        cls.data_class_name
        for cls in registered_data_classes()
        if cls.__module__.startswith("simarchive.data")
    }
    newest = EXPECTED[FOLDERS[-1]]["objects"].values()
    assert {expected["data_class"] for expected in newest} == ours
    codecs = {member["codec"] for expected in newest for member in expected["members"].values()}
    assert codecs >= {"deflate", "deflate-text", "zstd", "zstd-text", "raw", "trajectory"}
