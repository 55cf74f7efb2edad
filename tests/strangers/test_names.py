"""One file is one store, whatever it is called, and wherever it is moved."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from children import (
    command,
    force_field,
    is_a,
    is_ours,
    keys_in,
    killed_writer,
    outcome,
    run,
    say,
    store,
    use,
)
from names_of_files import RESOLVED, UNRESOLVED, in_this_process, other_name

from simarchive import HDF5Storage, repack
from simarchive.testing.sample_objects import simulation, write_files

REFUSALS = ("ForeignChangeError", "LockedError")
MODES = ("r", "a")


@pytest.fixture
def real(place: Path) -> Path:
    """A container that holds one object, in a directory of its own."""
    path = place / "real" / "a.h5"
    path.parent.mkdir()
    store(path, "before")
    return path


def logs_below(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*-wal")}


# ---- names that a path resolves ------------------------------------------------------------------------


def say_where_a_writer_works(name: str, mode: str) -> None:
    name = in_this_process(name)
    backend = HDF5Storage(name, mode=mode)
    os.chdir("/")
    if mode == "a":
        backend.store_force_field(force_field("one more"))
    say(str(backend.path), len(backend))
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", RESOLVED)
def test_a_container_and_its_log_are_where_the_file_really_is(kind: str, mode: str, real: Path) -> None:
    with other_name(kind, real) as name:
        done = run(say_where_a_writer_works, name, mode)
    assert done.said == [[str(real), 1 + (mode == "a")]], str(done)
    assert logs_below(real.parent) == ({"a.h5-wal"} if mode == "a" else set())


def two_writers_by_two_names(real: str, name: str) -> None:
    a = HDF5Storage(real, lock_timeout_s=0.2)
    b = HDF5Storage(in_this_process(name), lock_timeout_s=0.2)
    with a.transaction():
        a.store_force_field(force_field("first"))
        say("beside a transaction", outcome(lambda: b.store_force_field(force_field("x"))))
    acknowledged = {}
    for which, backend in (("one", a), ("two", b)):
        files = write_files(Path(f"files-{which}"), os.urandom(400_000))
        key = backend.store_object(simulation(which), files)
        acknowledged[key] = (files / "trajectory.dcd").read_bytes()
    for backend in (a, b):
        for key, data in acknowledged.items():
            assert backend.open_member(key, "trajectory.dcd").read() == data
    a.close()
    b.close()
    say("acknowledged", *acknowledged)


@pytest.mark.parametrize("kind", RESOLVED)
def test_all_names_share_one_writer_lock_and_one_log(kind: str, real: Path) -> None:
    with other_name(kind, real) as name:
        done = run(two_writers_by_two_names, str(real), name).ended_well()
        (_, refusal), (_, *keys) = done.said
        assert is_a(refusal, "LockedError")
        assert set(keys) < set(keys_in(real))
        assert len(keys_in(real)) == 4
    assert logs_below(real.parent) == set()


@pytest.mark.parametrize(
    "kind", ["symbolic link", "link to a link", "link in another directory", "linked directory"]
)
def test_what_a_killed_writer_committed_by_a_link_is_there_by_every_name(kind: str, real: Path) -> None:
    with other_name(kind, real) as name:
        keys = killed_writer(name, "one", "two")
        assert set(keys) < set(keys_in(real))
        assert set(keys) < set(keys_in(name))
        keys += store(real, "after")
        for path in (real, name):
            assert set(keys) < set(keys_in(path))
            assert "4 objects" in command("verify", path).ended_well().out


def follow_a_link_that_is_turned_round(link: str, other: str) -> None:
    backend = HDF5Storage(link)
    (key,) = backend.keys()
    stored = backend.store_object(simulation("one"), write_files(Path("files")))
    os.unlink(link)
    os.symlink(other, link)
    backend.store_force_field(force_field("two"))
    found, _ = backend.retrieve_object(stored)
    assert found is not None
    backend.close()
    # Arrays are read when someone looks at them, from the file that the backend had open.
    assert len(found.observables["PotentialEnergy"]) == 40
    say(key, stored)


def test_a_link_is_resolved_once_when_a_container_is_opened(place: Path, real: Path) -> None:
    store(place / "other.h5", "of another container")
    (place / "link.h5").symlink_to(real)
    done = run(follow_a_link_that_is_turned_round, str(place / "link.h5"), str(place / "other.h5"))
    ((before, stored),) = done.ended_well().said
    assert {before, stored} < set(keys_in(real))
    assert len(keys_in(real)) == 3
    assert len(keys_in(place / "other.h5")) == 1


def use_a_relative_name_after_chdir(mode: str) -> None:
    backend = HDF5Storage("real/a.h5", mode=mode)
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    say(len(backend))
    if mode == "a":
        backend.store_force_field(force_field("after chdir"))
    say(len(backend))
    backend.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_relative_name_stays_the_same_file_after_chdir(mode: str, place: Path, real: Path) -> None:
    done = run(use_a_relative_name_after_chdir, mode).ended_well()
    assert done.said == [[1], [1 + (mode == "a")]]
    assert len(keys_in(real)) == 1 + (mode == "a")
    assert sorted(path.name for path in place.rglob("*")) == ["a.h5", "elsewhere", "real"]


def open_what_is_deleted(mode: str, of_another_process: bool) -> None:
    fd = os.open("real/a.h5", os.O_RDWR)
    os.unlink("real/a.h5")
    name = f"/proc/{os.getppid() if of_another_process else 'self'}/fd/{fd}"
    if of_another_process:
        name = f"/proc/{os.getpid()}/fd/{fd}"
    say(outcome(lambda: HDF5Storage(name, mode=mode).keys()))


@pytest.mark.parametrize("of_another_process", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_deleted_file_that_is_still_open_somewhere_is_refused(
    mode: str, of_another_process: bool, real: Path
) -> None:
    ((said,),) = run(open_what_is_deleted, mode, of_another_process).ended_well().said
    assert said != "ok"
    assert is_ours(said), said
    assert list(real.parent.iterdir()) == []


# ---- names that only the file gives away ---------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", UNRESOLVED)
def test_while_commits_wait_beside_another_name_of_the_file_it_is_refused(
    kind: str, mode: str, real: Path
) -> None:
    with other_name(kind, real) as name:
        keys = killed_writer(real, "one", "two")
        before, log_before = real.read_bytes(), Path(f"{real}-wal").read_bytes()
        said = use(name, mode)
        assert is_a(said, *REFUSALS), said
        assert real.read_bytes() == before
        assert Path(f"{real}-wal").read_bytes() == log_before
        assert logs_below(real.parent) == {"a.h5-wal"}
        assert set(keys) < set(keys_in(real))
        keys += store(real, "three")  # and closes, so that nothing is pending
        assert use(name, mode) == "ok"
        assert set(keys) < set(keys_in(name))
        assert set(keys) < set(keys_in(real))


def use_two_names_in_turns(real: str, name: str, mode: str) -> None:
    a, b = HDF5Storage(real, lock_timeout_s=0.2), HDF5Storage(name, mode, lock_timeout_s=0.2)
    say(*b.keys())
    with a.transaction():
        if mode == "a":
            say(outcome(lambda: b.store_force_field(force_field("beside a transaction"))))
        key = a.store_force_field(force_field("pending"))
    say(outcome(b.keys))
    if mode == "a":
        say(outcome(lambda: b.store_force_field(force_field("beside a commit"))))
    a.close()
    say(key, *b.keys())
    if mode == "a":
        b.store_force_field(force_field("after it"))
    b.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", UNRESOLVED)
def test_a_backend_that_is_open_by_another_name_is_refused_for_as_long_as_commits_wait(
    kind: str, mode: str, real: Path
) -> None:
    with other_name(kind, real) as name:
        (before,), *refusals, (key, *after) = (
            run(use_two_names_in_turns, str(real), name, mode).ended_well().said
        )
        assert len(refusals) == (3 if mode == "a" else 1)
        for (said,) in refusals:
            assert is_a(said, *REFUSALS), said
        assert set(after) == {before, key}
        assert len(keys_in(real)) == (3 if mode == "a" else 2)


@pytest.mark.parametrize("kind", UNRESOLVED)
def test_another_name_of_the_file_works_when_nothing_waits(kind: str, real: Path) -> None:
    with other_name(kind, real) as name:
        keys = store(name, "by the other") + store(real, "by the first") + store(name, "and back")
        assert logs_below(real.parent) == set()
        for path in (name, real):
            assert set(keys) < set(keys_in(path))


# ---- repack --------------------------------------------------------------------------------------------


@pytest.fixture
def wasteful(place: Path) -> Path:
    """A container most of which is room that removed objects left."""
    path = place / "wasteful.h5"
    run(remove_most, str(path)).ended_well()
    return path


def remove_most(path: str) -> None:
    with HDF5Storage(path) as backend:
        with backend.transaction():
            keys = [backend.store_force_field(force_field(str(number) * 2000)) for number in range(40)]
        with backend.transaction():
            for key in keys[:30]:
                backend.remove_object(key)


def say_repacked(path: str) -> None:
    say(repack(path).n_objects)


@pytest.mark.parametrize("by", ["function", "command"])
@pytest.mark.parametrize("kind", ["relative", *(kind for kind in RESOLVED if "link" in kind)])
def test_repack_by_a_link_rewrites_the_file_itself(kind: str, by: str, wasteful: Path) -> None:
    before, size_before = set(keys_in(wasteful)), wasteful.stat().st_size
    with other_name(kind, wasteful) as name:
        links = {path: os.readlink(path) for path in wasteful.parent.rglob("*") if path.is_symlink()}
        run(say_repacked, name).ended_well() if by == "function" else command("repack", name).ended_well()
        assert {path: os.readlink(path) for path in wasteful.parent.rglob("*") if path.is_symlink()} == links
        assert wasteful.stat().st_size < size_before
        assert set(keys_in(wasteful)) == set(keys_in(name)) == before
        assert not list(wasteful.parent.rglob(".*"))


def say_repacked_with_umask(path: str, umask: int) -> None:
    os.umask(umask)
    say_repacked(path)


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_repack_keeps_mode_owner_and_group(mode: int, umask: int, wasteful: Path) -> None:
    wasteful.chmod(mode)
    if os.geteuid() == 0:
        os.chown(wasteful, 1234, 2345)
    before = wasteful.stat()
    run(say_repacked_with_umask, str(wasteful), umask).ended_well()
    after = wasteful.stat()
    assert after.st_ino != before.st_ino
    assert stat.S_IMODE(after.st_mode) == mode
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


@pytest.mark.parametrize("by", ["function", "command"])
@pytest.mark.parametrize("which", ["first", "second"])
def test_repack_of_a_file_with_several_hard_links_is_refused(which: str, by: str, wasteful: Path) -> None:
    second = wasteful.with_name("second.h5")
    os.link(wasteful, second)
    before = wasteful.read_bytes()
    name = str(wasteful if which == "first" else second)
    if by == "function":
        ((said,),) = run(say_outcome_of_repack, name).ended_well().said
        assert is_a(said, "ConflictError")
        assert "link" in said
    else:
        done = command("repack", name)
        assert done.code == 7, str(done)
        assert "link" in done.err
    assert wasteful.read_bytes() == before
    assert wasteful.samefile(second)
    assert sorted(path.name for path in wasteful.parent.iterdir()) == ["second.h5", "wasteful.h5"]


def say_outcome_of_repack(path: str) -> None:
    say(outcome(lambda: repack(path)))


def test_repack_by_a_name_that_is_mounted_is_refused_in_words(wasteful: Path) -> None:
    # The system refuses to give a name away on which something is mounted.
    before = wasteful.read_bytes()
    with other_name("bind mount", wasteful) as name:
        ((said,),) = run(say_outcome_of_repack, name).ended_well().said
        assert said != "ok"
        assert is_ours(said), said
        assert wasteful.read_bytes() == before
        assert keys_in(name) == keys_in(wasteful)
    assert not list(wasteful.parent.rglob(".*"))


# ---- a file that is replaced, renamed or removed while it is open --------------------------------------


def copy_over(path: Path, copy: Path) -> None:
    os.replace(copy, path)


def write_over(path: Path, copy: Path) -> None:
    with path.open("r+b") as file:
        file.write(copy.read_bytes())
    copy.unlink()


def restore(path: Path, copy: Path) -> None:
    path.unlink()
    shutil.copy2(copy, path)
    copy.unlink()


WAYS_TO_REPLACE = {"cp and mv": copy_over, "rsync --inplace": write_over, "restore": restore}


def use_what_is_replaced(mode: str, way: str, pending: bool) -> None:
    path = Path("real/a.h5")
    with HDF5Storage(path) as backend, backend.transaction():
        for number in range(60):
            backend.store_force_field(force_field("x" * 3000 + str(number)))
    writer = HDF5Storage(path)
    if pending:
        writer.store_force_field(force_field("pending"))
    user = writer if mode == "a" else HDF5Storage(path, mode="r")
    keys = user.keys()
    for turn in range(3):
        shutil.copy2(path, "copy")
        WAYS_TO_REPLACE[way](path, Path("copy"))
        assert user.keys() == keys
        for key in keys[-3:]:
            user.retrieve_force_field(key)
        if mode == "a":
            keys.append(user.store_force_field(force_field(f"new {turn}")))
    if user is not writer:
        user.close()
    writer.close()
    say(*keys)


@pytest.mark.parametrize("pending", [False, True], ids=["nothing waits", "commits wait"])
@pytest.mark.parametrize("way", WAYS_TO_REPLACE)
@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_is_replaced_by_its_equal_is_followed(
    mode: str, way: str, pending: bool, real: Path
) -> None:
    (keys,) = run(use_what_is_replaced, mode, way, pending).ended_well().said
    assert keys_in(real) == keys


def put_an_older_backup_back(mode: str) -> None:
    path = Path("real/a.h5")
    shutil.copy(path, "backup")
    with HDF5Storage(path) as later:
        later.store_force_field(force_field("after the backup"))
    writer = HDF5Storage(path)
    key = writer.store_force_field(force_field("pending"))
    user = writer if mode == "a" else HDF5Storage(path, mode="r")
    say(key in user)
    os.replace("backup", path)
    say(outcome(user.keys))
    if mode == "a":
        say(outcome(lambda: user.store_force_field(force_field("after"))))
    os._exit(0)


@pytest.mark.parametrize("mode", MODES)
def test_an_older_backup_under_commits_that_wait_is_refused(mode: str, real: Path) -> None:
    (there,), *refusals = run(put_an_older_backup_back, mode).ended_well().said
    assert there is True
    for (said,) in refusals:
        assert is_a(said, "ForeignChangeError"), said
    log = Path(f"{real}-wal").read_bytes()
    for mode_now in MODES:
        assert is_a(use(real, mode_now), "ForeignChangeError")
    assert Path(f"{real}-wal").read_bytes() == log


def rename_what_is_open(moment: str, destination: str) -> None:
    path = Path("real/a.h5")
    backend = HDF5Storage(path)
    keys = [backend.store_force_field(force_field("one"))]
    said = []

    def rename() -> None:
        Path(destination).parent.mkdir(exist_ok=True)
        os.rename(path, destination)

    def change() -> None:
        with backend.transaction():
            key = backend.store_force_field(force_field("two"))
            if moment == "in a transaction":
                rename()
        keys.append(key)

    if moment != "in a transaction":
        rename()
    if moment != "just before it is closed":
        said.append(outcome(change))
        said.append(outcome(lambda: keys.append(backend.store_force_field(force_field("three")))))
        said.append(outcome(backend.keys))
    said.append(outcome(backend.close))
    say(keys, said)


@pytest.mark.parametrize("destination", ["real/b.h5", "elsewhere/a.h5"])
@pytest.mark.parametrize("moment", ["just before it is closed", "between two operations", "in a transaction"])
def test_a_file_that_was_renamed_while_it_was_open_holds_every_commit_by_itself(
    moment: str, destination: str, place: Path, real: Path
) -> None:
    ((keys, said),) = run(rename_what_is_open, moment, destination).ended_well().said
    for text in said:
        assert is_a(text, "ok", "NotFoundError"), said
    assert said[-1] == "ok"
    (place / "alone").mkdir()
    shutil.copy(destination, place / "alone" / "c.h5")
    assert set(keys) < set(keys_in(place / "alone" / "c.h5"))
    assert set(keys) < set(keys_in(destination))
    assert use(destination, "a") == "ok"
    # What is left at the old name is in nobody's way.
    assert use(real, "a") == "ok"


def rename_the_directory(mode: str) -> None:
    backend = HDF5Storage("real/a.h5")
    reader = HDF5Storage("real/a.h5", mode="r")
    key = backend.store_force_field(force_field("one"))
    assert key in reader
    os.rename("real", "moved")
    user = backend if mode == "a" else reader
    for action in (user.keys, lambda: user.store_force_field(force_field("two")) if mode == "a" else None):
        say(outcome(action))
    reader.close()
    say(outcome(backend.close))


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_was_renamed_loses_nothing(mode: str, place: Path, real: Path) -> None:
    done = run(rename_the_directory, mode).ended_well()
    for (said,) in done.said:
        assert is_a(said, "ok", "NotFoundError"), said
    assert done.said[-1] == ["ok"]
    assert len(keys_in(place / "moved" / "a.h5")) >= 2
    assert use(place / "moved" / "a.h5", "a") == "ok"


def make_another_where_one_was_renamed() -> None:
    backend = HDF5Storage("real/a.h5")
    key = backend.store_force_field(force_field("one"))
    os.rename("real/a.h5", "real/b.h5")
    say(outcome(lambda: HDF5Storage("real/a.h5")), os.path.exists("real/a.h5"))
    backend.close()
    say(outcome(lambda: HDF5Storage("real/a.h5").close()), key)


def test_no_container_is_made_at_the_old_name_while_commits_of_the_renamed_one_wait(real: Path) -> None:
    (beside, is_made), (after, key) = run(make_another_where_one_was_renamed).ended_well().said
    assert is_a(beside, "ForeignChangeError"), beside
    assert is_made is False
    assert after == "ok"
    assert key in keys_in(real.with_name("b.h5"))


def remove_what_is_open(pending: bool, moment: str) -> None:
    backend = HDF5Storage("real/a.h5")
    reader = HDF5Storage("real/a.h5", mode="r")
    if pending:
        backend.store_force_field(force_field("one"))

    def change() -> None:
        with backend.transaction():
            backend.store_force_field(force_field("two"))
            if moment == "in a transaction":
                os.unlink("real/a.h5")

    if moment != "in a transaction":
        os.unlink("real/a.h5")
    for action in (change, backend.keys, reader.keys, reader.close, backend.close):
        say(outcome(action))


@pytest.mark.parametrize("moment", ["between two operations", "in a transaction"])
@pytest.mark.parametrize("pending", [False, True], ids=["nothing waits", "commits wait"])
def test_a_file_that_was_removed_while_it_was_open_is_missed_in_words(
    pending: bool, moment: str, real: Path
) -> None:
    done = run(remove_what_is_open, pending, moment).ended_well()
    assert len(done.said) == 5
    for (said,) in done.said:
        assert is_ours(said), said
    assert not real.exists()


def test_commands_print_the_name_that_they_were_given(real: Path) -> None:
    link = real.with_name("link.h5")
    link.symlink_to(real)
    done = command("info", link, "--json").ended_well()
    assert json.loads(done.out)["path"] == str(link)
