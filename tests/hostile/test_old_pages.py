"""Pages of an older state of a container in the place of newer ones: verify names every wrong answer.

A disk that loses a write leaves the page as it was before: sound in itself, with right checksums.
``SIMARCHIVE_OLD_PAGES`` sets how many are put back, one or a few in each copy.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import campaign
import damaged_runs
import flipped_bits
import h5py
import numpy as np
import pytest

from simarchive import CorruptMemberError, HDF5Storage, NotFoundError, SmirnoffForceFieldSource
from simarchive.container import nodes
from simarchive.storage.hdf5.salvage import salvage
from simarchive.storage.hdf5.verification import verify_file

COUNT = int(os.environ.get("SIMARCHIVE_OLD_PAGES", "10"))
SEED = int(os.environ.get("SIMARCHIVE_SEED", "11"))
FOLDER = os.environ.get("SIMARCHIVE_CAMPAIGN_FOLDER")
PAGE, MANY = 4096, 50


def history(folder: Path) -> list[Path]:
    """Return the states of one container after each of some commits, as files of their own."""
    path, states = folder / "a.h5", []
    files = folder / "files"
    flipped_bits.build(path, files, n_runs=2)
    generator = np.random.default_rng(6)

    def commit(*changes: object) -> None:
        with HDF5Storage(path) as backend, backend.transaction():
            for change in changes:
                change(backend)  # type: ignore[operator]
        states.append(Path(shutil.copy(path, folder / f"state-{len(states)}.h5")))

    def store(key: str, number: int, name: str, content: bytes):  # type: ignore[no-untyped-def]
        place = files / f"{key}-{len(states)}-{number}"
        shutil.copytree(files / "0", place)
        (place / name).write_bytes(content)

        def change(backend: HDF5Storage) -> None:
            stored, _ = backend.retrieve_object("run-0") if number == 0 else (None, None)
            if stored is None:
                force_field = backend.keys()[0]
                stored = flipped_bits.simulation(number, force_field, generator)
            backend.store_object(stored, place, storage_key=key)

        return change

    def remove(key: str):  # type: ignore[no-untyped-def]
        return lambda backend: backend.remove_object(key)

    def force_field(length: int):  # type: ignore[no-untyped-def]
        text = f"<SMIRNOFF><!-- {'y' * length} --></SMIRNOFF>"
        return lambda backend: backend.store_force_field(SmirnoffForceFieldSource(text))

    commit()
    # The same document with another small file, and with another large one.
    commit(store("run-0", 0, "output.pdb", b"ATOM  9\n" * 40))
    commit(store("run-0", 0, "shared.bin", generator.bytes(70_000)))
    # What takes the room of another object.
    commit(remove("run-1"))
    commit(store("run-2", 2, "output.pdb", b"ATOM  2\n" * 40))
    commit(store("run-2", 3, "output.pdb", b"ATOM  3\n" * 40), force_field(2000))
    commit(lambda backend: backend.remove_object(backend.keys()[1]), force_field(68_000))
    commit(store("run-3", 4, "analysis/x.txt", b"x" * 300), remove("run-0"))
    return states


def replays(states: list[Path], count: int, seed: int) -> dict[Path, list[str]]:
    """Return for each state pages of older ones to be put into it: one, or several in a row."""
    chooser = random.Random(seed)
    contents = [state.read_bytes() for state in states]
    choices = []
    # Each state that gets old pages has to be read once as it is, which takes longer than a few pages do.
    for new in range(1, len(states)) if count >= MANY else (len(states) - 1,):
        for old in range(new):
            size = min(len(contents[old]), len(contents[new]))
            pages = [
                page
                for page in range(size // PAGE)
                if contents[old][page * PAGE :][:PAGE] != contents[new][page * PAGE :][:PAGE]
            ]
            choices += [(new, old, page, 1) for page in pages]
            # All of them would be the old file, of which nothing says that it is old.
            choices += [(new, old, page, chooser.randrange(2, 9)) for page in pages[1:-1]]
    found: dict[Path, list[str]] = {}
    for new, old, page, length in chooser.sample(choices, min(count, len(choices))):
        found.setdefault(states[new], []).append(f"old:pages:{states[old]}:{page}:{length}")
    return found


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = Path(FOLDER) if FOLDER else tmp_path_factory.mktemp("history")
    folder.mkdir(exist_ok=True, parents=True)
    return history(folder)


def is_a_crash_of_hdf5(result: campaign.Result, folder: Path) -> bool:
    """Return whether HDF5 ends the process where names lie that do not fit, and the command says so.

    HDF5 2.0 does so when it lists a group of more than eight links of whose names some are old.
    """
    if result["wrong"].keys() != {"hang or crash"} or "exit code -" not in str(result["wrong"]):
        return False
    how = result["how"]
    (state,) = (found for found in folder.glob("state-*") if how in (found / "results.jsonl").read_text())
    copy = Path(shutil.copy(state / "sound.h5", folder / "crash.h5"))
    damaged_runs.damage(copy, how)
    command = [sys.executable, "-m", "simarchive", "verify", copy]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 18


def test_an_old_page_gives_no_wrong_answer_without_a_word(states: list[Path], tmp_path: Path) -> None:
    results = []
    for state, damages in replays(states, COUNT, SEED).items():
        folder = tmp_path / state.stem
        folder.mkdir()
        shutil.copy(state, folder / "sound.h5")
        results += campaign.run(folder, damages)
    assert len(results) >= COUNT * 0.9
    print(campaign.as_markdown(campaign.counts(results)))
    wrong = [result for result in results if result["wrong"] and not is_a_crash_of_hdf5(result, tmp_path)]
    assert wrong == [], "\n".join(json.dumps(result) for result in wrong)


def test_a_sound_file_that_was_not_stored_with_an_object_is_named_and_not_copied(tmp_path: Path) -> None:
    """A disk that loses writes leaves older datasets where newer ones should be, sound in themselves."""
    flipped_bits.build(tmp_path / "a.h5", tmp_path / "files")
    with h5py.File(tmp_path / "a.h5", "r+", libver=("v110", "v110")) as file:
        one, other = file["objects/run-0"], file["objects/run-1"]
        for group, name in ((one, "one"), (other, "other")):
            file.move(f"{group.name}/files/output.pdb", f"/{name}")
        file.move("/one", f"{other.name}/files/output.pdb")
        file.move("/other", f"{one.name}/files/output.pdb")
        del one["files/zeros.bin"]
    problems = {(problem.key, problem.member) for problem in verify_file(tmp_path / "a.h5").problems}
    assert {("run-0", "output.pdb"), ("run-1", "output.pdb"), ("run-0", None)} <= problems
    saved = salvage(tmp_path / "a.h5", tmp_path / "new.h5")
    assert {key: list(lost) for key, lost in saved.incomplete.items()} == {
        "run-0": ["output.pdb", "(lost name 1)"],
        "run-1": ["output.pdb"],
    }
    assert verify_file(tmp_path / "new.h5", full=True).ok
    with HDF5Storage(tmp_path / "a.h5", mode="r") as source, HDF5Storage(tmp_path / "b.h5") as target:
        assert set(target.update(source).unreadable) == {"run-0", "run-1"}


def test_a_file_that_is_listed_and_cannot_be_found_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 lists links in one tree and finds them in another: one of the two may be older."""
    flipped_bits.build(tmp_path / "a.h5", tmp_path / "files", n_runs=1)
    link_exists, open_dataset = nodes.link_exists, nodes.open_dataset

    def not_found(parent: nodes.Node, link: str) -> bool:
        return link != "output.pdb" and link_exists(parent, link)

    def not_opened(parent: nodes.Node, link: str) -> object:
        if link == "output.pdb":
            raise KeyError("Object 'output.pdb' doesn't exist")
        return open_dataset(parent, link)

    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        names = {info.name for info in backend.list_members("run-0")}
        monkeypatch.setattr(nodes, "link_exists", not_found)
        monkeypatch.setattr(nodes, "open_dataset", not_opened)
        with pytest.raises(CorruptMemberError, match="it is listed, but cannot be found"):
            backend.extract("run-0", tmp_path / "one", ["output.pdb"])
        with pytest.raises(CorruptMemberError, match="it is listed, but cannot be found"):
            backend.extract("run-0", tmp_path / "all")
        found = {str(path.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*.*")}
        assert found == names - {"output.pdb"}
        with pytest.raises(NotFoundError, match="has no member"):
            backend.open_member("run-0", "none.txt")
