"""Cut and damaged files: verify always gives a report, repair saves what is sound, and nothing is harmed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import campaign
import h5py
import pytest
from anatomy import BLOCKS
from damage import flip

from simarchive import CorruptError, FormatError, HDF5Storage, SmirnoffForceFieldSource, StorageError
from simarchive.container import rescue
from simarchive.storage.hdf5.salvage import salvage
from simarchive.storage.hdf5.upkeep import repack
from simarchive.storage.hdf5.verification import Problem, VerificationReport, verify_file
from simarchive.testing.sample_objects import simulation, write_files

KEYS = [f"{number:032x}" for number in range(10)]
EACH_CUT = int(os.environ.get("SIMARCHIVE_EACH_CUT", "29"))
"""Of the cuts by 1 to 600 bytes, one of so many is tried; all are with 1."""
REFUSED = r"repair .* -o NEW"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    path = folder / "sound.h5"
    with HDF5Storage(path) as backend:
        for number, key in enumerate(KEYS):
            files = write_files(folder / key, bytes(range(number, 200)) * 20)
            backend.store_object(simulation(str(number)), files, storage_key=key)
        for length in (4000, 300):
            source = SmirnoffForceFieldSource(f"<SMIRNOFF><!-- {'x' * length} --></SMIRNOFF>")
            key = backend.store_force_field(source)
        backend.remove_object(backend.keys()[-2])
    return path


def test_a_file_that_was_cut_short_is_saved_as_far_as_it_goes(sound: Path, tmp_path: Path) -> None:
    size = sound.stat().st_size
    shutil.copy(sound, tmp_path / "sound.h5")
    cuts = (1, 127, 128, 129, 600, 4096, size // 2, size - 49, size - 1)
    results = campaign.run(tmp_path, [f"cut:cut:{number}" for number in cuts])
    assert [result for result in results if result["wrong"]] == []
    assert len(results) == len(cuts)


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "a.h5"))


def test_any_number_of_bytes_that_is_missing_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for number in sorted({*range(1, 601, EACH_CUT), 64, 127, 128, 129, 600}):
        os.truncate(path, len(content) - number)
        report = verify_file(path)
        if number == 128:
            # What is left is a file as another HDF5 program leaves it.
            assert report.ok
            assert "no seal" in report.notes[0]
        else:
            missing = number if number < 128 else number - 128
            assert report.exit_code == 11
            assert f"{missing} bytes are missing" in report.problems[0].message, number


def test_a_file_that_is_longer_is_noticed(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x" * 1000)
    report = verify_file(path)
    assert report.ok
    assert "1000 bytes follow the seal" in report.notes[0]


def errors_in(report: VerificationReport) -> list[Problem]:
    return [problem for problem in report.problems if problem.is_error]


def chunk_of(path: Path, key: str, name: str) -> int:
    with h5py.File(path) as file:
        return int(file[f"objects/{key}/files/{name}"].id.get_chunk_info(0).byte_offset)


def array_of(path: Path, key: str) -> tuple[str, int]:
    with h5py.File(path) as file:
        return next(
            (name, int(node.id.get_offset()))
            for name, node in file[f"objects/{key}"].items()
            if name.startswith("observables.")
        )


def test_a_damaged_file_of_an_object_costs_that_file_and_is_remembered(path: Path, tmp_path: Path) -> None:
    place = chunk_of(path, KEYS[3], "trajectory.dcd")
    flip(path, place + 5)
    (problem,) = errors_in(verify_file(path))
    assert (problem.key, problem.member, problem.chunk, problem.offset) == (
        KEYS[3],
        "trajectory.dcd",
        0,
        place,
    )
    new = tmp_path / "new.h5"
    report = salvage(path, new)
    assert list(report.incomplete) == [KEYS[3]]
    assert list(report.incomplete[KEYS[3]]) == ["trajectory.dcd"]
    assert (len(report.saved), report.damaged, report.parts) == (len(KEYS), {}, None)
    with HDF5Storage(new, mode="r") as backend:
        assert backend.retrieve_object(KEYS[3])[0] is not None
        assert {info.name for info in backend.list_members(KEYS[3]) if not info.fault} == {
            "output.pdb",
            "nested/deep/notes.txt",
        }
        check = backend.verify(full=True)
    assert check.ok
    (warning,) = [problem for problem in check.problems if problem.member]
    assert (warning.key, warning.member, warning.is_error) == (KEYS[3], "trajectory.dcd", False)
    assert salvage(new, tmp_path / "again.h5").incomplete == {
        KEYS[3]: {"trajectory.dcd": "it was lost before"}
    }


def test_the_sound_files_of_an_object_with_a_damaged_array_are_in_the_folder(
    path: Path, tmp_path: Path
) -> None:
    flip(path, array_of(path, KEYS[2])[1] + 6)
    new = tmp_path / "new.h5"
    report = salvage(path, new)
    assert list(report.damaged) == [KEYS[2]]
    assert len(report.saved) == len(KEYS)
    folder = tmp_path / "new.h5-parts" / KEYS[2]
    assert report.parts == str(folder.parent)
    with HDF5Storage(path, mode="r") as backend:
        good = {
            info.name: backend.open_member(KEYS[2], info.name).read()
            for info in backend.list_members(KEYS[2])
        }
    assert {name: (folder / "files" / name).read_bytes() for name in good} == good
    assert json.loads((folder / "document.json").read_text())


def test_an_array_that_is_declared_otherwise_is_named(path: Path) -> None:
    name, _ = array_of(path, KEYS[4])
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        node = file[f"objects/{KEYS[4]}"]
        text = bytes(node.attrs["document"]).decode()
        node.attrs["document"] = text.replace('"shape":[40', '"shape":[38', 1).replace(
            '"shape": [40', '"shape": [38', 1
        )
    assert (KEYS[4], name) in {(problem.key, problem.array) for problem in verify_file(path).problems}


def test_what_nothing_explains_is_named(path: Path) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        file[f"objects/{KEYS[1]}"]["extra"] = [1, 2, 3]
        file[f"objects/{KEYS[5]}"]["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
        file.create_group("staging")
    found = set()
    for problem in verify_file(path).problems:
        word = re.search("extra|elsewhere|staging|$", problem.message)
        assert word is not None
        found.add((problem.key, word[0]))
    assert {(KEYS[1], "extra"), (KEYS[5], "elsewhere"), ("", "staging")} <= found


def test_commits_in_the_log_of_a_killed_writer_are_saved(path: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom simarchive import *\n"
        "backend = HDF5Storage(sys.argv[1])\n"
        "print(backend.store_force_field(SmirnoffForceFieldSource('<SMIRNOFF><!-- last --></SMIRNOFF>')))\n"
        "sys.stdout.flush()\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    key = done.stdout.strip()
    log = path.with_name("a.h5-wal").read_bytes()
    flip(path, 20)
    report = salvage(path, tmp_path / "new.h5")
    assert key in report.saved
    assert len(report.saved) == len(KEYS) + 2
    assert path.with_name("a.h5-wal").read_bytes() == log


def test_a_list_of_objects_that_is_gone_is_made_again_from_the_index(path: Path, tmp_path: Path) -> None:
    with HDF5Storage(path, mode="r") as backend:
        keys = backend.keys()
    with h5py.File(path) as file:
        places = [h5py.h5o.get_info(file[name].id).addr for name in ("/", "objects")]
    for place in places:
        with path.open("r+b") as raw:
            raw.seek(place)
            raw.write(bytes(40))
    report = salvage(path, tmp_path / "new.h5")
    assert report.ok
    assert report.saved == keys
    assert errors_in(verify_file(tmp_path / "new.h5", full=True)) == []


def test_an_older_first_page_is_never_written_upon(path: Path, tmp_path: Path) -> None:
    """Its end of file and its list of free space are the old ones."""
    for length in (100, 3000, 60_000):
        copy = Path(shutil.copy(path, tmp_path / f"{length}.h5"))
        first = copy.read_bytes()[:4096]
        with HDF5Storage(copy) as backend:
            files = write_files(tmp_path / f"files-{length}", os.urandom(length))
            backend.store_object(simulation("late"), files, storage_key="late")
            everything = backend.keys()
        with copy.open("r+b") as file:
            file.write(first)
        content = copy.read_bytes()
        with HDF5Storage(copy) as backend, pytest.raises(CorruptError, match=REFUSED):
            backend.repair()
        with HDF5Storage(copy) as backend, pytest.raises(CorruptError, match=REFUSED):
            backend.rebuild_index()
        with pytest.raises(CorruptError, match=REFUSED):
            repack(copy)
        assert copy.read_bytes() == content
        assert not verify_file(copy).ok
        report = salvage(copy, tmp_path / f"{length}-new.h5")
        assert len(report.saved) >= len(everything) - 2


def test_a_change_that_would_harm_sound_data_is_seen_before_it_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = path.read_bytes()
    place = chunk_of(path, KEYS[0], "output.pdb")
    try_it = rescue.Rehearsal.opened

    def harmful(self: rescue.Rehearsal, mode: str) -> object:
        if mode == "r":
            self.file.patch(memoryview(b"overwritten"), place)
        return try_it(self, mode)

    monkeypatch.setattr(rescue.Rehearsal, "opened", harmful)
    with HDF5Storage(path) as backend, pytest.raises(CorruptError, match="would damage 1 sound object"):
        backend.repair()
    assert path.read_bytes()[: len(content) - 128] == content[:-128]


def test_what_never_was_a_container_is_none(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"x", b"text\n" * 2000, bytes(5000))):
        path = tmp_path / f"{number}.h5"
        path.write_bytes(content)
        with pytest.raises(FormatError):
            verify_file(path)
        with pytest.raises(FormatError):
            salvage(path, tmp_path / "new.h5")
    assert not (tmp_path / "new.h5").exists()


def test_a_container_with_a_damaged_object_is_repacked_without_it(path: Path) -> None:
    with h5py.File(path) as file:
        header = h5py.h5o.get_info(file[f"objects/{KEYS[6]}"].id).addr
    flip(path, header + 30)
    with pytest.raises(CorruptError, match="--set-aside") as caught:
        repack(path)
    assert KEYS[6] in caught.value.__notes__[0]
    assert repack(path, set_aside=True).n_objects == len(KEYS)
    assert verify_file(path, full=True).ok


def test_an_object_whose_files_cannot_be_listed_can_be_removed(path: Path) -> None:
    with h5py.File(path) as file:
        header = h5py.h5o.get_info(file[f"objects/{KEYS[6]}/files/output.pdb"].id).addr
    flip(path, header + 30)
    with HDF5Storage(path) as backend:
        backend.remove_object(KEYS[6])
        assert KEYS[6] not in backend
    assert verify_file(path, full=True).ok
    # The key is free for a copy from a backup.
    with HDF5Storage(path) as backend:
        backend.store_object(simulation("6"), write_files(path.parent / "again"), storage_key=KEYS[6])


def test_a_store_into_a_damaged_file_is_whole_or_refused_in_our_words(path: Path) -> None:
    """One byte of each block of HDF5's own, in turn: headers, trees, heaps, lists of free space."""
    content = path.read_bytes()
    blocks = [match.start() for match in BLOCKS.finditer(content)][:: int(EACH_CUT**0.5) - 1 or 1]
    files = write_files(path.parent / "again", b"other" * 500)
    refused = stored = replaced = 0
    for number, start in enumerate(blocks):
        path.write_bytes(content)
        flip(path, start + 11)
        # One that replaces another, or a new one.
        fresh = simulation(str(number % len(KEYS)) if number % 3 else f"new {number}", inefficiency=1.0)
        place = f"byte {start + 11}"
        try:
            with HDF5Storage(path) as backend:
                key = backend.store_object(fresh, files)
        except StorageError:
            refused += 1
            continue
        stored += 1
        replaced += key in KEYS
        with HDF5Storage(path, mode="r") as backend:
            found, folder = backend.retrieve_object(key)
            assert found == fresh, place
            assert (Path(folder) / "trajectory.dcd").read_bytes() == b"other" * 500, place
    assert replaced > 1
    assert stored > replaced + 1
    assert refused > 0
