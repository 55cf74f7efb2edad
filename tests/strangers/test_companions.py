"""What lies beside a container: its log, files that are being made, and what strangers put there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from children import (
    Run,
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

from simarchive import HDF5Storage, LocalFileStorage, repack
from simarchive.testing.sample_objects import simulation, write_files

MINE = b"do not touch\n" * 2000
AT_ONCE_S = 6.0
KILLS = int(os.environ.get("SIMARCHIVE_MOMENTS", "9")) or 1 << 30


@pytest.fixture
def container(place: Path) -> Path:
    path = place / "a.h5"
    store(path, "one", "two")
    return path


# ---- the place of the log ------------------------------------------------------------------------------


def put_link(path: Path) -> None:
    Path("mine").write_bytes(MINE)
    path.symlink_to("mine")


def put_dangling_link(path: Path) -> None:
    path.symlink_to("made")


def put_link_to_a_log(path: Path) -> None:
    killed_writer("other.h5", "of another")
    path.symlink_to("other.h5-wal")


def put_link_to_directory(path: Path) -> None:
    path.symlink_to(".")


def put_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def put_socket(path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path.name)  # The whole path may be too long for an address.


def put_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("not allowed to make a device")


def put_block_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFBLK | 0o666, os.makedev(7, 250))
    except PermissionError:
        pytest.skip("not allowed to make a device")


STRANGERS: dict[str, Callable[[Path], object]] = {
    "link": put_link,
    "dangling link": put_dangling_link,
    "link to a log": put_link_to_a_log,
    "link to a directory": put_link_to_directory,
    "link to itself": put_link_to_itself,
    "FIFO": os.mkfifo,
    "socket": put_socket,
    "directory": Path.mkdir,
    "device": put_device,
    "block device": put_block_device,
}


def every_use(path: str) -> None:
    """Try all that opens a container, by functions; say what came of it."""

    def change() -> None:
        with HDF5Storage(path, lock_timeout_s=1.0) as backend:
            backend.store_force_field(force_field("new"))

    say("read", outcome(lambda: HDF5Storage(path, mode="r").keys()))
    say("open", outcome(lambda: HDF5Storage(path).close()))
    say("store", outcome(change))
    say("repack", outcome(lambda: repack(path)))


def everything_below(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return type and content of everything in a directory, without following links."""
    found = {}
    for path in directory.rglob("*"):
        kind = path.lstat().st_mode
        content = os.readlink(path).encode() if path.is_symlink() else b""
        found[path.relative_to(directory).as_posix()] = (
            kind,
            path.read_bytes() if stat.S_ISREG(kind) else content,
        )
    return found


@pytest.mark.parametrize("kind", STRANGERS)
def test_anything_but_a_plain_file_in_the_place_of_the_log_is_refused_at_once(
    kind: str, place: Path, container: Path
) -> None:
    STRANGERS[kind](Path(f"{container}-wal"))
    before = everything_below(place)
    done = run(every_use, str(container), timeout_s=AT_ONCE_S).ended_well()
    assert len(done.said) == 4
    for what, said in done.said:
        assert is_a(said, "FormatError", "StorageIOError"), (what, said)
        assert "a.h5-wal" in said, (what, said)
    assert everything_below(place) == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "directory"])
@pytest.mark.parametrize("arguments", [("ls",), ("verify",), ("repair",), ("repack",), ("rm", "--force")])
def test_commands_refuse_a_stranger_in_the_place_of_the_log(
    arguments: tuple[str, ...], kind: str, place: Path, container: Path
) -> None:
    key = keys_in(container)[0]
    STRANGERS[kind](Path(f"{container}-wal"))
    before = everything_below(place)
    done = command(*arguments, container, *([key] if arguments[0] == "rm" else []), timeout_s=AT_ONCE_S)
    assert done.code in (10, 14), str(done)
    assert "a.h5-wal" in done.err
    assert everything_below(place) == before


def use_where_a_stranger_comes(kind: str, pending: bool) -> None:
    backend = HDF5Storage("a.h5", lock_timeout_s=1.0)
    log = Path("a.h5-wal")
    if pending:
        backend.store_force_field(force_field("pending"))
        log.rename("log")
    STRANGERS[kind](log)
    say(outcome(lambda: backend.store_force_field(force_field("new"))))
    say(outcome(backend.keys))
    log.rmdir() if log.is_dir() and not log.is_symlink() else log.unlink()
    if pending:
        Path("log").rename(log)
    say(outcome(lambda: backend.store_force_field(force_field("after it"))))
    backend.close()


@pytest.mark.parametrize("pending", [False, True], ids=["nothing waits", "commits wait"])
@pytest.mark.parametrize(
    "kind", ["link", "dangling link", "link to a directory", "FIFO", "socket", "directory", "device"]
)
def test_a_stranger_that_takes_the_place_of_the_log_of_an_open_backend_is_refused(
    kind: str, pending: bool, place: Path, container: Path
) -> None:
    done = run(use_where_a_stranger_comes, kind, pending, timeout_s=AT_ONCE_S).ended_well()
    (stored,), (read,), (after,) = done.said
    assert is_a(stored, "FormatError", "StorageIOError", "ForeignChangeError"), stored
    assert read == "ok" or is_ours(read), read
    assert after == "ok"
    assert len(keys_in(container)) == 3 + pending
    assert not (place / "made").exists()
    if kind == "link":
        assert (place / "mine").read_bytes() == MINE


def test_a_log_with_a_second_hard_link_is_a_log(container: Path) -> None:
    keys = killed_writer(container, "three")
    os.link(f"{container}-wal", "kept")
    keys += killed_writer(container, "four")
    assert set(keys) < set(keys_in(container))
    keys += store(container, "five")
    assert set(keys) < set(keys_in(container))
    assert not Path(f"{container}-wal").exists()


@pytest.mark.parametrize(
    "kind", ["FIFO", "socket", "directory", "device", "block device", "link to itself", "link to a directory"]
)
def test_anything_but_a_plain_file_as_the_container_is_refused_at_once(kind: str, place: Path) -> None:
    STRANGERS[kind](place / "a.h5")
    before = everything_below(place)
    done = run(every_use, "a.h5", timeout_s=AT_ONCE_S).ended_well()
    assert len(done.said) == 4
    for what, said in done.said:
        assert said != "ok", what
        assert is_ours(said), (what, said)
        assert "a.h5" in said or "work" in said, (what, said)
    for arguments in (("ls",), ("info",), ("verify",), ("repair",), ("repack",), ("rm", "0" * 32)):
        refused = command(arguments[0], "a.h5", *arguments[1:], timeout_s=AT_ONCE_S)
        assert refused.code not in (None, 0, 70), str(refused)
    assert everything_below(place) == before


# ---- permissions ---------------------------------------------------------------------------------------


def store_with_umask_and_die(path: str, umask: int) -> None:
    os.umask(umask)
    backend = HDF5Storage(path)
    backend.store_force_field(force_field(os.urandom(8).hex()))
    os.kill(os.getpid(), 9)


def permissions(path: Path) -> tuple[int, int]:
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_gid


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666])
def test_the_log_has_mode_and_group_of_its_container_whatever_the_umask(
    mode: int, umask: int, container: Path
) -> None:
    container.chmod(mode)
    if os.geteuid() == 0:
        os.chown(container, 1234, 2345)
    log = Path(f"{container}-wal")
    for _ in range(2):
        run(store_with_umask_and_die, str(container), umask)
        assert permissions(log) == permissions(container) == (mode, container.stat().st_gid)
        store(container, os.urandom(8).hex())  # and closes: the next log is a new one
        assert not log.exists()
        assert permissions(container)[0] == mode


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_a_new_container_has_the_mode_that_the_umask_leaves_and_so_has_its_log(
    umask: int, place: Path
) -> None:
    run(store_with_umask_and_die, "a.h5", umask)
    assert permissions(place / "a.h5") == permissions(place / "a.h5-wal")
    assert permissions(place / "a.h5")[0] == 0o666 & ~umask


def act_as_member_of_a_group(path: str, uid: int, text: str, is_killed: bool) -> None:
    with HDF5Storage("warm.h5") as backend:  # loads what lies where other users may not read
        backend.store_force_field(force_field(text))
    os.setgroups([7000])
    os.setgid(7000)
    os.setuid(uid)
    os.umask(0o022)
    backend = HDF5Storage(path)
    say(backend.store_force_field(force_field(text)))
    if is_killed:
        os.kill(os.getpid(), 9)
    backend.close()


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """A directory for the members of group 7000, where every user finds it."""
    if os.geteuid() != 0:
        pytest.skip("acts as several users: needs root")
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, 0, 7000)
        Path(name).chmod(0o2775)
        yield Path(name)


def test_the_members_of_a_group_take_turns_after_a_kill(place: Path, shared_directory: Path) -> None:
    path = shared_directory / "g.h5"
    store(path, "one")
    os.chown(path, 7001, 7000)
    path.chmod(0o664)
    for uid in (7001, 7002, 7003):
        done = run(act_as_member_of_a_group, str(path), uid, f"killed {uid}", True)
        assert done.said, str(done)
    run(act_as_member_of_a_group, str(path), 7004, "closed", False).ended_well()
    assert len(keys_in(path)) == 5


# ---- the names of what is being made -------------------------------------------------------------------


def make_a_directory() -> None:
    """Make a directory such as OpenFF Evaluator's, to be imported."""
    write_files(Path("files"))
    with LocalFileStorage("directory") as source:
        source.store_force_field(force_field("one"))
        source.store_object(simulation(), Path("files"))
    with HDF5Storage("source.h5") as backend:
        backend.update(LocalFileStorage("directory", mode="r"))


def create(path: str) -> None:
    HDF5Storage(path).close()


def import_directory(path: str) -> None:
    from simarchive.cli import main

    main(["import", "directory", path])


def merge(path: str) -> None:
    from simarchive.cli import main

    main(["merge", "source.h5", "-o", path])


def subset(path: str) -> None:
    from simarchive.cli import main

    main(["subset", "source.h5", path])


def create_without_unnamed_files(path: str) -> None:
    """Make a container where the file system has no files without names."""
    opened = os.open

    def open_with_a_name(path: str, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        return opened(path, flags, *arguments, **options)

    os.open = open_with_a_name  # type: ignore[assignment]
    try:
        create(path)
    finally:
        os.open = opened


MAKERS: dict[str, Callable[[str], object]] = {
    "creation": create,
    "creation with hidden names": create_without_unnamed_files,
    "import": import_directory,
    "repack": repack,
}


def quietly(maker: Callable[[str], object], path: str) -> None:
    """Make something without printing; a command that fails is a `CommandError`."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        maker(path)
    except SystemExit as leaving:
        if leaving.code:
            raise CommandError(f"exit code {leaving.code}") from leaving
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)


class CommandError(Exception):
    """A command that failed."""


def say_names_in_use(how: str, number: int) -> None:
    """Say which names come and go in a directory while something is made, and which are not opened anew."""
    Path(f"place{number}").mkdir()
    if how == "repack":
        shutil.copy("source.h5", f"place{number}/a.h5")
    seen: set[str] = set()
    careless: set[str] = set()
    inside = False

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal inside
        if inside or event not in (
            "open",
            "os.rename",
            "os.link",
            "os.remove",
            "os.mkdir",
            "os.rmdir",
            "os.truncate",
        ):
            return
        inside = True
        for path in Path().glob(f"place{number}/**/*"):
            seen.add(path.relative_to(f"place{number}").as_posix())
        name, *_, flags = arguments
        if event == "open" and isinstance(name, str) and f"place{number}/" in name and isinstance(flags, int):
            temporary = Path(name).name.removesuffix("-wal") != "a.h5"
            if flags & os.O_CREAT and temporary and not flags & os.O_EXCL and "-wal" not in name:
                careless.add(Path(name).name)
        inside = False

    sys.addaudithook(look)
    quietly(MAKERS[how], os.path.abspath(f"place{number}/a.h5"))
    say(sorted(seen - {"a.h5", "a.h5-wal"}), sorted(careless))


def parts_that_nobody_foresees(names: list[str]) -> set[str]:
    """Return the first components that hold at least eight characters beside the container's name."""
    return {
        name.split("/")[0] for name in names if re.search(r"\w{8}", name.split("/")[0].replace("a.h5", ""))
    }


@pytest.mark.parametrize("how", MAKERS)
def test_files_that_are_being_made_have_names_that_nobody_foresees(how: str, place: Path) -> None:
    run(make_a_directory).ended_well()
    first, second = (run(say_names_in_use, how, number).ended_well().said[0] for number in (1, 2))
    for names, careless in (first, second):
        assert careless == []
        assert {name.split("/")[0] for name in names} == parts_that_nobody_foresees(names)
    assert not parts_that_nobody_foresees(first[0]) & parts_that_nobody_foresees(second[0])


def plant_and_make(how: str, planted: list[str]) -> None:
    Path("mine").write_bytes(MINE)
    if how == "repack":
        shutil.copy("source.h5", "a.h5")
    for name in planted:
        Path(name.format(pid=os.getpid())).symlink_to("mine")
    quietly(MAKERS[how], "a.h5")


@pytest.mark.parametrize("how", MAKERS)
def test_a_link_at_a_name_that_was_foreseeable_is_not_written_through(how: str, place: Path) -> None:
    run(make_a_directory).ended_well()
    planted = ["a.h5.{pid}.new", "a.h5.new", ".a.h5.repacked", ".a.h5.repacked-wal", ".a.h5.new", "a.h5.tmp"]
    run(plant_and_make, how, planted).ended_well()
    assert (place / "mine").read_bytes() == MINE
    assert len(keys_in("a.h5")) == (0 if "creation" in how else 2)


# ---- what the killed leave behind ----------------------------------------------------------------------

CALLS = (
    "open",
    "pwrite",
    "ftruncate",
    "fsync",
    "fdatasync",
    "fchmod",
    "fchown",
    "chmod",
    "chown",
    "link",
    "rename",
    "replace",
    "unlink",
    "remove",
    "mkdir",
    "rmdir",
)


def make_and_die(how: str, fatal_call: int) -> None:
    """Make something, and die before the n-th system call that changes something; say how many there are."""
    n_calls = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **options: object) -> object:
            nonlocal n_calls
            n_calls += 1
            if n_calls == fatal_call:
                os.kill(os.getpid(), 9)
            return call(*arguments, **options)

        return wrapper

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    quietly(MAKERS[how], "a.h5")
    say(n_calls)


def make_again(how: str) -> None:
    say(outcome(lambda: quietly(MAKERS[how], "a.h5")))


def make_by_repack() -> None:
    say(outcome(lambda: repack("a.h5")))


def spread(n_calls: int) -> list[int]:
    """Return which calls are fatal: every one, or a share of them that reaches from the first to the last."""
    step = max(1.0, n_calls / KILLS)
    return sorted({1, n_calls, *(int(1 + number * step) for number in range(int(n_calls / step)))})


def said_of(done: Run) -> str:
    ((said,),) = done.ended_well().said
    return str(said)


@pytest.mark.slow
@pytest.mark.parametrize("how", MAKERS)
def test_what_the_killed_leave_behind_blocks_nothing_and_goes_with_the_next(how: str, place: Path) -> None:
    run(make_a_directory).ended_well()
    Path(".a.h5.notes").write_bytes(MINE)
    Path("a.h5.bak").write_bytes(MINE)
    Path(".a.h5.old").mkdir()
    Path(".a.h5.old/kept").write_bytes(MINE)
    if how == "repack":
        shutil.copy("source.h5", "a.h5")
    sound = everything_below(place)
    ((n_calls,),) = run(make_and_die, how, 0).ended_well().said
    assert n_calls > 3
    left = 0
    for fatal_call in spread(n_calls):
        for path in place.iterdir():
            if path.name not in sound:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if how == "repack":
            shutil.copy("source.h5", "a.h5")
        done = run(make_and_die, how, fatal_call)
        assert done.code == -9, str(done)
        was_named = Path("a.h5").exists()
        left += set(os.listdir()) - {"a.h5", *sound} != set()
        assert said_of(run(make_again, how)) == "ok", fatal_call
        if was_named and how != "repack":
            # It had its name already, so what came next was no creation.
            assert said_of(run(make_by_repack)) == "ok", fatal_call
        found = everything_below(place)
        assert found.keys() == sound.keys() | {"a.h5"}, (fatal_call, sorted(found))
        assert len(keys_in("a.h5")) == (0 if "creation" in how else 2), fatal_call
        kept = {name for name in sound if name != "a.h5"}
        assert {name: found[name] for name in kept} == {name: sound[name] for name in kept}
    # A file without a name leaves nothing; where nothing else was left, the wrong calls were counted.
    assert left or how == "creation"


@pytest.mark.parametrize("how", ["repack"])
def test_what_a_killed_repack_left_of_a_private_container_is_private(how: str, place: Path) -> None:
    run(make_a_directory).ended_well()
    ((n_calls,),) = run(make_repack_and_die, 0).ended_well().said
    for fatal_call in spread(n_calls)[::2]:
        for path in place.glob(".a.h5*"):
            path.unlink()
        run(make_repack_and_die, fatal_call)
        for path in place.iterdir():
            if "a.h5" in path.name:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, (fatal_call, path.name)


def make_repack_and_die(fatal_call: int) -> None:
    os.umask(0)
    shutil.copy("source.h5", "a.h5")
    Path("a.h5").chmod(0o600)
    make_and_die("repack", fatal_call)


# ---- a log alone, and the log of another ---------------------------------------------------------------

CREATORS: dict[str, Callable[[str], object]] = MAKERS | {"merge": merge, "subset": subset}


@pytest.mark.parametrize("how", ["creation", "import", "merge"])
def test_a_log_with_commits_whose_container_is_gone_is_noticed_before_anything_is_made(
    how: str, place: Path
) -> None:
    run(make_a_directory).ended_well()
    killed_writer("a.h5", "old")
    Path("a.h5").unlink()
    before = everything_below(place)
    if how == "creation":
        said = use("a.h5", "a")
        assert is_a(said, "ForeignChangeError"), said
        assert "a.h5-wal" in said
    else:
        sources = {"import": ("import", "directory", "a.h5"), "merge": ("merge", "source.h5", "-o", "a.h5")}
        done = command(*sources[how])
        assert done.code == 12, str(done)
        assert "a.h5-wal" in done.err
    assert everything_below(place) == before
    Path("a.h5-wal").unlink()
    assert use("a.h5", "a") == "ok"


@pytest.mark.parametrize("name", ["link.h5", "door/a.h5", "elsewhere/../a.h5"])
def test_a_log_alone_is_noticed_by_every_name_of_the_file_that_would_be_made(name: str, place: Path) -> None:
    killed_writer("a.h5", "old")
    Path("a.h5").unlink()
    Path("elsewhere").mkdir()
    Path("door").symlink_to(".")
    Path("link.h5").symlink_to("a.h5")
    before = everything_below(place)
    said = use(name, "a")
    # Whether a dangling link is resolved or refused: nothing is made, and no commit is lost.
    assert is_ours(said), said
    assert said != "ok"
    assert everything_below(place) == before


def test_a_log_alone_is_no_container_for_readers(place: Path) -> None:
    killed_writer("a.h5", "old")
    Path("a.h5").unlink()
    said = use("a.h5", "r")
    assert is_a(said, "NotFoundError", "ForeignChangeError"), said
    assert os.listdir() == ["a.h5-wal"]


def begin_and_die(path: str) -> None:
    backend = HDF5Storage(path)
    with backend.transaction():
        backend.store_force_field(force_field("never committed"))
        os.kill(os.getpid(), 9)


@pytest.mark.parametrize("how", sorted(CREATORS.keys() - {"repack", "subset"}))
@pytest.mark.parametrize("log", ["empty", "uncommitted"])
def test_a_log_without_commits_whose_container_is_gone_is_swept(log: str, how: str, place: Path) -> None:
    run(make_a_directory).ended_well()
    if log == "empty":
        Path("a.h5-wal").touch()
    else:
        run(begin_and_die, "a.h5")
        assert Path("a.h5-wal").exists()
        Path("a.h5").unlink()
    assert said_of(run(create_by, how)) == "ok"
    assert not Path("a.h5-wal").exists()
    assert len(keys_in("a.h5")) == (0 if "creation" in how else 2)


def create_by(how: str) -> None:
    say(outcome(lambda: quietly(CREATORS[how], "a.h5")))


@pytest.mark.parametrize("whose", ["another container", "a copy that went its own way"])
def test_the_log_of_another_is_noticed_before_anything_is_stored(
    whose: str, place: Path, container: Path
) -> None:
    if whose == "another container":
        killed_writer("b.h5", "other")
    else:
        shutil.copy(container, "b.h5")
        store("b.h5", "its own way")
        killed_writer("b.h5", "other")
    os.rename("b.h5-wal", "a.h5-wal")
    before = everything_below(place)
    for mode in ("r", "a"):
        said = use(container, mode)
        assert is_a(said, "ForeignChangeError"), said
        assert "a.h5-wal" in said
    assert command("repack", container).code == 12
    assert everything_below(place) == before
    Path("a.h5-wal").unlink()
    assert use(container, "a") == "ok"


def keep_a_copy_of_the_log(is_closed: bool) -> None:
    backend = HDF5Storage("a.h5")
    backend.store_force_field(force_field("three"))
    shutil.copy("a.h5-wal", "old")
    if is_closed:
        backend.close()


@pytest.mark.parametrize("later", [(), ("four",)], ids=["nothing later", "later commits"])
def test_an_old_log_that_comes_back_takes_nothing_away(later: tuple[str, ...], container: Path) -> None:
    run(keep_a_copy_of_the_log, True).ended_well()
    if later:
        store(container, *later)
    keys = keys_in(container)
    os.rename("old", "a.h5-wal")
    for mode in ("r", "a"):
        said = use(container, mode)
        assert is_a(said, "ok", "ForeignChangeError"), said
        if said == "ok":
            assert set(keys) <= set(keys_in(container))
    Path("a.h5-wal").unlink(missing_ok=True)
    assert set(keys) <= set(keys_in(container))


FOREIGN = {
    "another file": (MINE, False),
    "another file with a second name": (MINE, True),
    "an empty file with a second name": (b"", True),
    "zeros with a second name": (bytes(9000), True),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_kind_in_the_place_of_the_log_is_left_alone(
    name: str, place: Path, container: Path
) -> None:
    content, has_second_name = FOREIGN[name]
    Path("a.h5-wal").write_bytes(content)
    if has_second_name:
        os.link("a.h5-wal", "mine")
    before = everything_below(place)
    done = run(every_use, "a.h5", timeout_s=AT_ONCE_S).ended_well()
    for what, said in done.said:
        if what == "read":
            assert said == "ok"
        else:
            assert is_a(said, "FormatError"), (what, said)
            assert "a.h5-wal" in said
    for arguments in (("repair",), ("repack",), ("rm", "--force")):
        key = [keys_in(container)[0]] if arguments[0] == "rm" else []
        assert command(*arguments, container, *key, timeout_s=AT_ONCE_S).code == 10
    assert everything_below(place) == before
    assert len(keys_in(container)) == 2


@pytest.mark.parametrize("how", sorted(CREATORS.keys() - {"repack", "subset"}))
@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_kind_where_the_log_of_a_new_container_will_be_is_left_alone(
    name: str, how: str, place: Path
) -> None:
    run(make_a_directory).ended_well()
    content, has_second_name = FOREIGN[name]
    Path("a.h5-wal").write_bytes(content)
    if has_second_name:
        os.link("a.h5-wal", "mine")
    said = said_of(run(create_by, how))
    # Commands leave with the code of this error.
    assert said.endswith("exit code 10") or (is_a(said, "FormatError") and "a.h5-wal" in said), said
    assert Path("a.h5-wal").read_bytes() == content
    assert not has_second_name or Path("mine").read_bytes() == content


@pytest.mark.parametrize("pending", [False, True], ids=["nothing waits", "commits wait"])
def test_a_log_of_ours_with_a_second_name_is_used_and_what_is_new_goes_into_it(
    pending: bool, container: Path
) -> None:
    keys = killed_writer(container, "three")
    os.link("a.h5-wal", "backup")
    if not pending:
        keys += store(container, "four")
        os.link("backup", "a.h5-wal")
    keys += store(container, "five")
    assert set(keys) < set(keys_in(container))
