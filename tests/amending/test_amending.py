"""Files, tags and notes of a stored object are changed; all else of it stays, and every proof holds."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest_of_amending import FILES, KEY, OTHER, Stored, datasets_of, floats

from simarchive import HDF5Storage, RunQuery, SimulationRun, SmirnoffForceFieldSource, repack
from simarchive.errors import (
    ConflictError,
    CorruptMemberError,
    InvalidDataError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
)
from simarchive.storage.hdf5.salvage import salvage

LONG = next(name for name in FILES if len(name) > 255)
DATA = Path(__file__).parents[1] / "data"


def test_a_file_is_added_with_its_permission_and_time(stored: Stored, tmp_path: Path) -> None:
    source = stored.source(b"#!/bin/sh\n")
    source.chmod(0o755)
    os.utime(source, ns=(1, 1_600_000_000_123_456_789))
    with stored.opened() as backend:
        backend.add_file(KEY[:5], "analysis/plot.sh", source)
        place = backend.extract(KEY, tmp_path / "out", ["plot.sh"])[0]
    assert place.stat().st_mode & 0o111
    assert place.stat().st_mtime_ns == 1_600_000_000_123_456_789
    stored.files["analysis/plot.sh"] = b"#!/bin/sh\n"
    stored.check()


@pytest.mark.parametrize("name", FILES)
def test_any_file_is_replaced_and_the_others_are_not_touched(stored: Stored, name: str) -> None:
    before = datasets_of(stored.path, KEY)
    with stored.opened() as backend:
        backend.replace_file(KEY, name, stored.source(b"something else"))
    stored.files[name] = b"something else"
    stored.check()
    after = datasets_of(stored.path, KEY)
    same = [link for link, place in before.items() if after.get(link) == place]
    assert len(same) >= len(FILES) - 1


@pytest.mark.parametrize("name", [name for name in FILES if name != "system.pdb"])
def test_any_file_that_nothing_names_is_removed(stored: Stored, name: str) -> None:
    with stored.opened() as backend:
        backend.remove_file(KEY, name)
    del stored.files[name]
    stored.check()


@pytest.mark.parametrize("new_name", ["m" * 250 + "/" + "ü" * 60, "nothing/c"])
@pytest.mark.parametrize("name", ["twin.bin", "system.pdb", LONG])
def test_a_file_is_renamed_also_where_the_object_names_it(stored: Stored, name: str, new_name: str) -> None:
    before = datasets_of(stored.path, KEY)
    with stored.opened() as backend:
        backend.rename_file(KEY, name, new_name)
        topology = backend.load(KEY).topology_file_name
    assert topology == (new_name if name == "system.pdb" else "system.pdb")
    stored.files[new_name] = stored.files.pop(name)
    stored.check()
    assert sorted(datasets_of(stored.path, KEY).values()) == sorted(before.values())


def test_what_a_file_had_goes_with_its_new_name(stored: Stored, tmp_path: Path) -> None:
    source = stored.source(b"x")
    source.chmod(0o755)
    os.utime(source, ns=(1, 10**18))
    with stored.opened() as backend:
        backend.add_file(KEY, "a", source)
        backend.rename_file(KEY, "a", "b")
        backend.add_file(KEY, "a", stored.source(b"y"))
        one, two = sorted(backend.extract(KEY, tmp_path / "out", ["a", "b"]))
    assert (one.stat().st_mode & 0o111, two.stat().st_mode & 0o111) == (0, 0o111)
    assert two.stat().st_mtime_ns == 10**18 != one.stat().st_mtime_ns


def test_tags_are_found_by_queries_at_once(stored: Stored) -> None:
    def tagged(tag: str) -> list[str]:
        query = RunQuery()
        query.tags = tag
        return backend.keys(query)

    with stored.opened() as backend:
        backend.add_tags(KEY, "production", "draft", "production")
        backend.remove_tags(KEY, "draft")
        assert backend.load(KEY).tags == ["production"]
        assert (tagged("production"), tagged("draft")) == ([KEY], [OTHER])
        assert backend.keys() == [KEY, OTHER]
        backend.remove_tags(KEY, "production")
        assert backend.load(KEY).tags is None
    stored.check()


def test_the_history_says_what_was_done_by_whom_and_when(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMARCHIVE_AUTHOR", "Ada")
    with stored.opened() as backend:
        (first,) = backend.history(KEY)
        assert first.as_dict() == {"at": backend.header(KEY).stored_at, "action": "store"}
        with backend.transaction():
            backend.add_file(KEY, "a", stored.source(b"abc"))
            backend.replace_file(KEY, "a", stored.source(b"abcd"), by="Grace")
            backend.rename_file(KEY, "a", "b")
            backend.remove_file(KEY, "b")
            backend.add_note(KEY, "two\nlines, and ünicode")
            backend.add_tags(KEY, "x", "y")
            backend.remove_tags(KEY, "y")
        events = backend.history(KEY)
        times = [event.at for event in events]
        assert times == sorted(times)
        assert backend.header(KEY).stored_at in times[1:]
        assert backend.header(KEY).stored_whole_at == times[0]
    said = [(event.action, event.by, event.file) for event in events[1:]]
    assert said == [
        ("add-file", "Ada", "a"),
        ("replace-file", "Grace", "a"),
        ("rename-file", "Ada", "a"),
        ("remove-file", "Ada", "b"),
        ("note", "Ada", ""),
        ("add-tags", "Ada", ""),
        ("remove-tags", "Ada", ""),
    ]
    assert (events[1].size, events[2].size, events[3].new_name) == (3, 4, "b")
    assert events[2].was == events[1].digest
    assert events[5].text == "two\nlines, and ünicode"
    assert (events[6].tags, events[7].tags) == (("x", "y"), ("y",))
    del stored.files  # nothing else was changed
    stored.files = dict(FILES)
    stored.check()


def test_a_note_changes_nothing_but_the_history(stored: Stored) -> None:
    with stored.opened() as backend:
        before = backend.header(KEY)
        path = backend.retrieve_object(KEY)[1]
        backend.add_note(KEY, "well")
        assert backend.header(KEY) == before
        assert (path / "system.pdb").read_bytes() == FILES["system.pdb"]
    stored.check()


def test_an_object_that_takes_the_place_of_another_goes_on_with_its_history(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMARCHIVE_AUTHOR", "Ada")
    with stored.opened() as backend:
        backend.add_note(KEY, "before")
        first = backend.header(KEY).stored_at
        backend.put(SimulationRun(name="new"), backend.members(OTHER), replacing=KEY)
        events = backend.history(KEY)
        assert [event.action for event in events] == ["store", "note", "store"]
        assert (events[2].at, events[2].by, events[2].was) == (backend.header(KEY).stored_at, "Ada", first)
        backend.put(SimulationRun(name="newer"), backend.members(OTHER), replacing=KEY)
        assert [event.times for event in backend.history(KEY)] == [1, 1, 2]
    stored.check()


WAYS = ("repack", "merge", "salvage", "subset")


@pytest.mark.parametrize("way", WAYS)
def test_history_goes_along_on_every_way_to_another_container(
    stored: Stored, tmp_path: Path, way: str
) -> None:
    with stored.opened() as backend:
        backend.add_file(KEY, "new", stored.source(b"new"))
        backend.add_note(KEY, "a note")
        events = backend.history(KEY)
        if way == "subset":
            backend.subset(tmp_path / "b.h5").close()
    if way == "repack":
        shutil.copy(stored.path, tmp_path / "b.h5")
        repack(tmp_path / "b.h5")
    elif way == "merge":
        with HDF5Storage(tmp_path / "b.h5") as target, HDF5Storage(stored.path, mode="r") as source:
            target.update(source)
    elif way == "salvage":
        salvage(stored.path, tmp_path / "b.h5")
    copy = Stored(tmp_path / "b.h5", stored.sources, {**stored.files, "new": b"new"})
    copy.check()
    with copy.opened() as backend:
        assert backend.history(KEY) == events
        backend.remove_file(KEY, "new")
    del copy.files["new"]
    copy.check()


def test_notes_of_an_object_that_is_there_already_come_along_with_a_merge(
    stored: Stored, tmp_path: Path
) -> None:
    shutil.copy(stored.path, tmp_path / "b.h5")
    with stored.opened() as target, HDF5Storage(tmp_path / "b.h5") as source:
        target.add_note(KEY, "mine")
        source.add_note(KEY, "theirs")
        for _ in range(2):
            assert target.update(source).kept == [KEY, OTHER]
            assert [event.text for event in target.history(KEY)] == ["", "mine", "theirs"]


Refused = tuple[str, tuple[Any, ...], type[Exception], str]
REFUSED: list[Refused] = [
    ("add_file", ("frames.bin", "SOURCE"), ConflictError, "has a file 'frames.bin' already"),
    ("add_file", ("folder", "SOURCE"), ConflictError, "has a folder 'folder'"),
    ("add_file", ("nothing", "SOURCE"), ConflictError, "has a folder 'nothing'"),
    ("add_file", ("system.pdb/a", "SOURCE"), ConflictError, "has a file 'system.pdb'"),
    ("add_file", ("../out", "SOURCE"), InvalidDataError, "out"),
    ("add_file", ("/etc/passwd", "SOURCE"), InvalidDataError, "passwd"),
    ("add_file", ("new", "MISSING"), NotFoundError, "does not exist"),
    ("add_file", ("new", "FOLDER"), InvalidDataError, "not a regular file"),
    ("replace_file", ("new", "SOURCE"), NotFoundError, "has no file 'new': it has .*system.pdb"),
    ("replace_file", ("frames.bin", "MISSING"), NotFoundError, "does not exist"),
    ("rename_file", ("new", "newer"), NotFoundError, "has no file 'new'"),
    ("rename_file", ("frames.bin", "twin.bin"), ConflictError, "has a file 'twin.bin' already"),
    ("rename_file", ("frames.bin", "frames.bin"), ConflictError, "already"),
    ("rename_file", ("frames.bin", "../x"), InvalidDataError, "x"),
    ("remove_file", ("new",), NotFoundError, "has no file 'new'"),
    ("remove_file", ("system.pdb",), InvalidDataError, "names the file 'system.pdb'"),
    ("remove_tags", ("new",), NotFoundError, "has no tag 'new': it has draft"),
    ("add_tags", ("ok", " "), InvalidDataError, "not blank"),
    ("add_note", ("",), InvalidDataError, "not blank"),
    ("add_note", ("\ud800",), InvalidDataError, "Unicode"),
]


@pytest.mark.parametrize(("method", "arguments", "error", "words"), REFUSED)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    stored: Stored, method: str, arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    places = {"SOURCE": stored.source(b"x"), "MISSING": stored.sources / "missing", "FOLDER": stored.sources}
    before = stored.path.read_bytes()
    with stored.opened() as backend:
        with pytest.raises(error, match=words):
            getattr(backend, method)(KEY, *(places.get(argument, argument) for argument in arguments))
        assert len(backend.history(KEY)) == 1
    assert stored.path.read_bytes() == before
    stored.check()


def test_objects_that_cannot_have_it_say_so(stored: Stored) -> None:
    with stored.opened() as backend:
        key = backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF/>"))
        with pytest.raises(InvalidDataError, match="stored without files"):
            backend.add_file(key, "a", stored.source(b"x"))
        with pytest.raises(InvalidDataError, match="has no tags"):
            backend.add_tags(key, "x")
        backend.add_note(key, "a note can be added to anything")
        assert backend.history(key)[-1].action == "note"
        with pytest.raises(NotFoundError):
            backend.add_note("nobody", "x")
    with HDF5Storage(stored.path, mode="r") as backend, pytest.raises(ReadOnlyError):
        backend.add_note(KEY, "x")


def test_several_changes_are_one_commit_or_none(stored: Stored) -> None:
    with stored.opened() as backend:
        with pytest.raises(ConflictError), backend.transaction():
            backend.remove_file(KEY, "twin.bin")
            backend.add_tags(KEY, "x")
            backend.add_file(KEY, "frames.bin", stored.source(b"x"))
        assert len(backend.history(KEY)) == 1
    stored.check()


@pytest.mark.parametrize("seed", range(int(os.environ.get("SIMARCHIVE_AMENDMENTS", "2"))))
def test_random_changes_end_as_those_of_a_dict(stored: Stored, seed: int) -> None:
    chance = random.Random(seed)
    pool = [*FILES, "new", "folder/new", "é" * 100, "x" * 200 + "/" + "y" * 200]
    tags = {"draft"}
    for _ in range(12):
        with stored.opened() as backend:
            for _ in range(chance.randrange(1, 4)):
                action = chance.choice(["add", "replace", "rename", "remove", "append", "tag", "note"])
                name, data = chance.choice(pool), floats(chance.choice([0, 9, 70_000, 3_000_000]), seed)
                files, has = stored.files, name in stored.files
                if action == "add" and not has:
                    backend.add_file(KEY, name, stored.source(data))
                    files[name] = data
                elif action == "replace" and has:
                    backend.replace_file(KEY, name, stored.source(data))
                    files[name] = data
                elif action == "append" and has:
                    backend.append_member(KEY, name, stored.source(files[name] + data))
                    files[name] += data
                elif action == "remove" and has and name != backend.load(KEY).topology_file_name:
                    backend.remove_file(KEY, name)
                    del files[name]
                elif action == "rename" and has:
                    new = chance.choice(pool)
                    if new not in files:
                        backend.rename_file(KEY, name, new)
                        files[new] = files.pop(name)
                elif action == "tag":
                    tag = chance.choice("abc")
                    (backend.remove_tags if tag in tags else backend.add_tags)(KEY, tag)
                    tags ^= {tag}
                elif action == "note":
                    backend.add_note(KEY, name)
    stored.check()
    with stored.opened() as backend:
        assert set(backend.load(KEY).tags or ()) == tags


def flip(path: Path, name: str) -> None:
    """Flip a bit in the middle of the stored bytes of a file that the object does not share."""
    _, chunks = datasets_of(path, KEY)[name]
    with path.open("r+b") as raw:
        raw.seek(chunks[0] + 100)
        (byte,) = raw.read(1)
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 1]))


def test_a_damaged_file_can_be_replaced_or_removed_and_stops_no_other(stored: Stored) -> None:
    with stored.opened() as backend:
        backend.add_file(KEY, "own.bin", stored.source(floats(100_000, 9)))
    flip(stored.path, "own.bin")
    with stored.opened() as backend:
        assert not backend.verify().ok
        backend.add_tags(KEY, "seen")
        backend.replace_file(KEY, "twin.bin", stored.source(b"twin"))
        backend.add_file(KEY, "more", stored.source(b"more"))
        assert [problem.member for problem in backend.verify().problems] == ["own.bin"]
        backend.replace_file(KEY, "own.bin", stored.source(b"mended"))
    stored.files |= {"twin.bin": b"twin", "more": b"more", "own.bin": b"mended"}
    stored.check()


def test_a_file_whose_description_is_damaged_can_be_replaced(stored: Stored) -> None:
    with h5py.File(stored.path, "r+") as file:
        found: list[h5py.Dataset] = []
        group = file["objects"][KEY]
        group.visititems(lambda name, node: found.append(node) if name.endswith("log.txt") else None)
        del found[0].attrs["member_blake3"]
    with stored.opened() as backend:
        with pytest.raises(CorruptMemberError):
            backend.rename_file(KEY, "folder/log.txt", "b")
        backend.add_file(KEY, "new", stored.source(b"new"))
        assert {problem.member for problem in backend.verify().problems} == {"folder/log.txt"}
        backend.replace_file(KEY, "folder/log.txt", stored.source(b"again"))
    stored.files |= {"new": b"new", "folder/log.txt": b"again"}
    stored.check()


def test_a_file_that_is_not_the_one_that_was_stored_is_not_taken_for_it(stored: Stored) -> None:
    with h5py.File(stored.path, "r+") as file:
        checks = file["objects"][KEY].attrs["member_checks"]
        file["objects"][KEY].attrs["member_checks"] = checks ^ (checks == checks[1])
    with stored.opened() as backend:
        (member,) = (problem.member for problem in backend.verify().problems)
        with pytest.raises(CorruptMemberError, match="not what was stored"):
            backend.rename_file(KEY, member, "b")
        with pytest.raises(CorruptMemberError, match="not what was stored"):
            backend.append_member(KEY, member, stored.source(FILES[member] + b"more"))
        backend.replace_file(KEY, member, stored.source(FILES[member]))
    stored.check()


def test_a_damaged_history_is_named_and_costs_nothing_else(stored: Stored) -> None:
    with stored.opened() as backend:
        backend.add_file(KEY, "new", stored.source(b"new"))
    with h5py.File(stored.path, "r+") as file:
        attributes = file["objects"][KEY].attrs
        attributes["object_history"] = np.bytes_(
            attributes["object_history"].replace(b"add-file", b"add-fiXe")
        )
    stored.files["new"] = b"new"
    assert stored.found() == stored.files
    with stored.opened() as backend:
        (problem,) = backend.verify(full=True).problems
        assert (problem.key, problem.member) == (KEY, None)
        assert "history" in problem.message
        backend.repair()
        assert [event.action for event in backend.history(KEY)] == ["store"]
    stored.check()


@pytest.mark.parametrize("corpus", ["format-v1", "format-v1-digests", "format-v1-runs"])
def test_objects_of_early_versions_can_be_amended(tmp_path: Path, corpus: str) -> None:
    path = shutil.copy(DATA / corpus / "container.h5", tmp_path / "old.h5")
    (tmp_path / "new").write_bytes(b"new")
    with HDF5Storage(path) as backend:
        problems = backend.verify(full=True).problems
        with_files = [key for key in backend if backend.members(key) is not None]
        with backend.transaction():
            for key in with_files:
                names = {
                    info.name: backend.open_member(key, info.name).read()
                    for info in backend.list_members(key)
                }
                backend.add_file(key, "added/new", tmp_path / "new")
                backend.rename_file(key, "added/new", "new")
                longer = [*names][:3]
                for name in longer:
                    data = names[name]
                    (tmp_path / "grown").write_bytes(data + b"more")
                    backend.append_member(key, name, tmp_path / "grown")
                found = {
                    info.name: backend.open_member(key, info.name).read()
                    for info in backend.list_members(key)
                }
                assert found == {"new": b"new", **names, **{name: names[name] + b"more" for name in longer}}
                backend.add_note(key, "note")
                if isinstance(backend.load(key), SimulationRun):
                    backend.add_tags(key, "old")
        assert with_files
        assert backend.verify(full=True).problems == problems


def test_one_who_reads_meanwhile_is_told_and_another_object_is_not(stored: Stored) -> None:
    with HDF5Storage(stored.path, mode="r") as reader:
        stream, other = reader.open_member(KEY, "frames.bin"), reader.open_member(OTHER, "frames.bin")
        path = reader.retrieve_object(KEY)[1]
        assert stream.read(10) == FILES["frames.bin"][:10]
        with stored.opened() as backend:
            backend.add_file(KEY, "new", stored.source(b"x"))
            assert stream.read() == FILES["frames.bin"][10:]
            backend.replace_file(KEY, "frames.bin", stored.source(b"y"))
            with pytest.raises(ConflictError, match="open it again"):
                stream.seek(0)
                stream.read(10)
            assert other.read() == FILES["frames.bin"]
            with pytest.raises(ConflictError):
                (path / "frames.bin").read_bytes()
            assert (reader.retrieve_object(KEY)[1] / "frames.bin").read_bytes() == b"y"


def test_an_amendment_waits_for_no_other_writer_longer_than_it_was_told(stored: Stored) -> None:
    with stored.opened() as first, first.transaction():
        first.add_note(KEY, "mine")
        with HDF5Storage(stored.path, lock_timeout_s=0.1) as second, pytest.raises(LockedError):
            second.add_note(KEY, "yours")


def test_what_is_not_asked_about_is_not_read(stored: Stored, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.txt").write_bytes(b"%d" % number)
    with stored.opened() as backend:
        backend.store_object(SimulationRun(name="many"), folder, storage_key="many")
        opened = count_of_datasets_opened(backend)
        backend.add_note("many", "x")
        backend.replace_file("many", "7.txt", stored.source(b"seven"))
        backend.append_member("many", "8.txt", stored.source(b"88"))
        assert opened() < 40


def count_of_datasets_opened(backend: HDF5Storage) -> Any:
    from simarchive.container import nodes

    calls = []
    real = nodes.open_dataset

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return real(*arguments)

    patch = pytest.MonkeyPatch()
    patch.setattr(nodes, "open_dataset", counted)

    def count() -> int:
        patch.undo()
        return len(calls)

    return count


def test_an_error_halfway_leaves_the_last_commit(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    from simarchive.container.changing import history

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with stored.opened() as backend:
        with monkeypatch.context() as patch:
            patch.setattr(history, "write_lines", fail)
            with pytest.raises(OSError, match="Input/output"):
                backend.replace_file(KEY, "frames.bin", stored.source(b"x"))
        assert len(backend.history(KEY)) == 1
    stored.check()
