"""What is asked of one file costs the same however many there are; what is asked of all, in proportion."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest
from test_members_of_objects import simulation

from simarchive import HDF5Storage, NotFoundError
from simarchive.container.members import MemberNames, shared
from simarchive.storage.scratch import AncillaryPath

FEW, MANY = 40, 320


def name(number: int) -> str:
    return f"frames/frame{number:05d}.pdb"


def folder_with(path: Path, count: int) -> Path:
    (path / "frames").mkdir(parents=True)
    (path / "output.pdb").write_bytes(b"ATOM")
    (path / "trajectory.dcd").write_bytes(b"frames")
    for number in range(count):
        (path / name(number)).write_bytes(b"%d" % number)
    return path


@dataclass
class Cost:
    """What an action took: calls of functions, HDF5 objects opened, bytes read and written."""

    calls: int = 0
    opened: int = 0
    transferred: int = 0


@contextmanager
def counted() -> Iterator[Cost]:
    cost = Cost()
    open_object, open_dataset = h5py.h5o.open, h5py.h5d.open

    def count(frame: object, event: str, argument: object) -> None:
        cost.calls += event in ("call", "c_call")

    def counting(function: Callable[..., object]) -> Callable[..., object]:
        def opened(*arguments: object, **options: object) -> object:
            cost.opened += 1
            return function(*arguments, **options)

        return opened

    h5py.h5o.open, h5py.h5d.open = counting(open_object), counting(open_dataset)
    before = transferred_bytes()
    sys.setprofile(count)
    try:
        yield cost
    finally:
        sys.setprofile(None)
        cost.transferred = transferred_bytes() - before
        h5py.h5o.open, h5py.h5d.open = open_object, open_dataset


def transferred_bytes() -> int:
    numbers = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(numbers["rchar"]) + int(numbers["wchar"])


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, str]]:
    """Containers with one object of few and of many files; not to be changed but for other objects."""
    root = tmp_path_factory.mktemp("many")
    found = {}
    for count in (FEW, MANY):
        path = root / f"{count}.h5"
        with HDF5Storage(path, codec="raw") as backend:
            key = backend.store_object(simulation("one"), folder_with(root / str(count), count))
        found[count] = path, key
    return found


def path_of(backend: HDF5Storage, key: str) -> AncillaryPath:
    path = backend.retrieve_object(key)[1]
    assert isinstance(path, AncillaryPath)
    return path


def reading_on(backend: HDF5Storage, key: str, number: int) -> None:
    """Read a file, commit something else, and read on in the same file."""
    with backend.open_member(key, name(number)) as file:
        assert file.read(1)
        with HDF5Storage(backend.path) as writer:
            other = writer.store_object(simulation(f"other {number}"), backend.path.parent / "small")
            writer.remove_object(other)
        file.seek(0)
        assert file.read() == b"%d" % number


def extracted_from_all(backend: HDF5Storage, key: str, number: int) -> None:
    """A file of an object of which every file was extracted before, perhaps by another process."""
    assert (path_of(backend, key) / name(number)).read_bytes() == b"%d" % number


def no_such_file(backend: HDF5Storage, key: str, number: int) -> None:
    with pytest.raises(NotFoundError):
        backend.open_member(key, f"no {number}")


ONE = {
    "open_member": lambda backend, key, number: backend.open_member(key, name(number)).read(),
    "path": lambda backend, key, number: path_of(backend, key) / name(number),
    "extract": lambda backend, key, number: backend.extract(key, backend.path.parent / "o", [name(number)]),
    "extract by its last part": lambda backend, key, number: backend.extract(
        key, backend.path.parent / "o", [name(number).rpartition("/")[2]]
    ),
    "list_members": lambda backend, key, number: backend.list_members(key, [name(number)]),
    "no such file": no_such_file,
    "reading on after a commit": reading_on,
    "one of those extracted before": extracted_from_all,
}


@pytest.mark.parametrize("what", ONE)
def test_one_file_costs_the_same_of_few_and_of_many(
    containers: dict[int, tuple[Path, str]], tmp_path: Path, what: str
) -> None:
    costs = {}
    for count, (path, key) in containers.items():
        (path.parent / "small").mkdir(exist_ok=True)
        for file in ("output.pdb", "trajectory.dcd"):
            (path.parent / "small" / file).write_bytes(b"1")
        scratch = tmp_path / f"scratch-{count}"
        if what == "one of those extracted before":
            with HDF5Storage(path, mode="r", scratch_directory=scratch) as earlier:
                os.fspath(path_of(earlier, key))
        with HDF5Storage(path, mode="r", scratch_directory=scratch) as backend:
            for number in range(3):  # What is read once only, such as the names, is read now.
                ONE[what](backend, key, number)
            with counted() as costs[count]:
                for number in range(10, 20):
                    ONE[what](backend, key, number)
    few, many = costs[FEW], costs[MANY]
    assert many.opened <= few.opened + 10
    assert many.calls <= 1.3 * few.calls + 200
    assert many.transferred <= 2 * few.transferred + 100_000


def test_a_pattern_opens_only_what_fits_it(containers: dict[int, tuple[Path, str]], tmp_path: Path) -> None:
    path, key = containers[MANY]
    for patterns, found in ((["*00.pdb"], 4), (["frame0000?.pdb", "output.pdb"], 11), (["*.xtc"], 0)):
        with HDF5Storage(path, mode="r") as backend:
            backend.header(key)
            with counted() as cost:
                assert len(backend.extract(key, tmp_path, patterns)) == found
            assert cost.opened <= 4 * found + 4


@pytest.mark.parametrize(
    "patterns",
    [
        ["*.pdb"],
        ["a.pdb"],
        ["f/a.pdb"],
        ["[ab].pdb", "c"],
        ["f/*"],
        ["?"],
        [""],
        [],
        ["f"],
        ["[x]"],
        ["*"],
        ["A.pdb"],
    ],
)
def test_patterns_choose_as_shell_patterns_do(patterns: list[str]) -> None:
    names = ["z.pdb", "a.pdb", "f/a.pdb", "f/g/a.pdb", "f/b.pdb", "c", "[x]", "x", "f/new\nline"]
    assert MemberNames(names).chosen(patterns) == [
        name
        for name in names
        if any(fnmatch.fnmatchcase(part, p) for p in patterns for part in (name, name.rpartition("/")[2]))
    ]
    assert MemberNames(names).chosen(None) == names


def test_a_plain_name_is_compared_with_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fnmatch, "translate")
    assert MemberNames(map(name, range(9))).chosen([name(3), name(1)]) == [name(1), name(3)]


def test_many_patterns_are_not_each_compared_with_every_name(
    containers: dict[int, tuple[Path, str]], tmp_path: Path
) -> None:
    costs = {}
    for count, (path, key) in containers.items():
        with HDF5Storage(path, mode="r") as backend, counted() as costs[count]:
            assert len(backend.list_members(key, [name(number) for number in range(count)])) == count
    assert costs[MANY].calls <= 1.3 * MANY / FEW * costs[FEW].calls


def store(backend: HDF5Storage, key: str, folder: Path) -> None:
    backend.store_object(simulation("two"), folder)


def replace(backend: HDF5Storage, key: str, folder: Path) -> None:
    (folder / "output.pdb").write_bytes(b"other")
    assert backend.store_object(simulation("one"), folder) == key


def one_by_one(backend: HDF5Storage, key: str, folder: Path) -> None:
    path = path_of(backend, key)
    for file in sorted((folder / "frames").iterdir()):
        assert (path / f"frames/{file.name}").read_bytes() == file.read_bytes()


def extracted_one_by_one(backend: HDF5Storage, key: str, folder: Path) -> None:
    for file in (folder / "frames").iterdir():
        backend.extract(key, folder.parent / "out", [f"frames/{file.name}"])


ALL = {
    "store": store,
    "replace": replace,
    "list": lambda backend, key, folder: backend.list_members(key),
    "digests": lambda backend, key, folder: backend.file_digests(key),
    "extract": lambda backend, key, folder: backend.extract(key, folder.parent / "out"),
    "path": lambda backend, key, folder: os.fspath(path_of(backend, key)),
    "paths one by one": one_by_one,
    "extract one by one": extracted_one_by_one,
    "statistics": lambda backend, key, folder: backend.statistics(),
    "verify": lambda backend, key, folder: backend.verify(),
    "remove": lambda backend, key, folder: backend.remove_object(key),
}


@pytest.mark.parametrize(
    ("what", "are_shared"),
    [*((what, False) for what in ALL), ("store", True), ("replace", True), ("remove", True)],
)
def test_all_files_cost_in_proportion(
    tmp_path: Path, what: str, are_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if are_shared:  # as large files are
        monkeypatch.setattr(shared, "MIN_SHARED_BYTES", 1)
    costs = {}
    for count in (FEW, MANY):
        root = tmp_path / str(count)
        folder = folder_with(root / "in", count)
        with HDF5Storage(root / "a.h5", codec="raw", scratch_directory=root / "scratch") as backend:
            key = backend.store_object(simulation("one"), folder)
            with counted() as costs[count]:
                ALL[what](backend, key, folder)
    few, many = costs[FEW], costs[MANY]
    assert few.calls > FEW
    growth = MANY / FEW
    assert many.opened <= 1.3 * growth * few.opened
    assert many.calls <= 1.6 * growth * few.calls
    # Tables merge what they hold from time to time, as trees grow in depth.
    assert many.transferred <= 2.5 * growth * few.transferred + 1_000_000
