"""One scratch directory for containers that say the same of their objects, and hold other files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import pytest
from blake3 import blake3
from test_members_of_objects import simulation
from test_scratch import content_of

from simarchive import HDF5Storage
from simarchive.container.contents import Contents

SOURCE = Path(__file__).parents[2] / "src"
KEY = "a" * 32
OURS = {"output.pdb": b"ATOM", "trajectory.dcd": b"frames", "notes.txt": b"ours"}
THEIRS: dict[str, dict[str, bytes]] = {
    "another file of the same size": {**OURS, "trajectory.dcd": b"FRAMES"},
    "another file of another size": {**OURS, "trajectory.dcd": b"false frames"},
    "other files throughout": {name: b"false " + data for name, data in OURS.items()},
    "one file more": {**OURS, ".trajectory.dcd_offsets.npz": b"planted"},
    "one file less": {name: OURS[name] for name in ("output.pdb", "trajectory.dcd")},
    "another name": {**{name: OURS[name] for name in ("output.pdb", "trajectory.dcd")}, "setup.py": b"ours"},
}


def made(path: Path, files: dict[str, bytes], folders: tuple[str, ...] = ()) -> Path:
    folder = path.with_suffix(".files")
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name in folders:
        (folder / name).mkdir()
    with HDF5Storage(path, codec="raw") as backend:
        backend.store_object(simulation("one"), folder, storage_key=KEY)
    shutil.rmtree(folder)
    return path


def say_what_the_other_says(path: Path, other: Path) -> None:
    """Give an object the time of the other one, with all digests that belong to it."""
    with h5py.File(other) as source, h5py.File(path, "r+") as target:
        attributes = target["objects"][KEY].attrs
        attributes["stored_at"] = source["objects"][KEY].attrs["stored_at"]
        _, rest = source["objects"][KEY].attrs["object_summary"].decode().split(" ", 1)
        said = f"{rest}\0".encode() + attributes["document"]
        attributes["object_summary"] = f"{blake3(said).hexdigest()} {rest}"


@pytest.fixture(params=THEIRS)
def containers(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Path]:
    """Two containers, and what each is expected to give."""
    ours, theirs = made(tmp_path / "ours.h5", OURS), made(tmp_path / "theirs.h5", THEIRS[request.param])
    say_what_the_other_says(theirs, ours)
    generations = set()
    for path in (ours, theirs):
        with HDF5Storage(path, mode="r") as backend, backend._container.reading() as contents:
            generations.add(contents.generation(KEY))
    assert len(generations) == 1
    return {"ours": ours, "theirs": theirs}


def expected(request: pytest.FixtureRequest) -> dict[str, dict[str, bytes]]:
    return {"ours": OURS, "theirs": THEIRS[request.node.callspec.params["containers"]]}


@contextmanager
def opened(containers: dict[str, Path], order: tuple[str, ...]) -> Iterator[dict[str, HDF5Storage]]:
    scratch = containers["ours"].parent / "scratch"
    with ExitStack() as stack:
        yield {
            who: stack.enter_context(HDF5Storage(containers[who], mode="r", scratch_directory=scratch))
            for who in order
        }


ORDERS = [("ours", "theirs"), ("theirs", "ours")]


@pytest.mark.parametrize("order", ORDERS)
def test_each_container_gives_all_of_its_files_and_no_others(
    request: pytest.FixtureRequest, containers: dict[str, Path], order: tuple[str, ...]
) -> None:
    with opened(containers, order) as backends:
        paths = {who: backends[who].retrieve_object(KEY)[1] for who in order}
        for _ in range(2):
            for who in order:
                assert content_of(paths[who]) == expected(request)[who]
        for who in order:
            assert content_of(backends[who].retrieve_object(KEY)[1]) == expected(request)[who]


@pytest.mark.parametrize("order", ORDERS)
def test_files_that_are_asked_for_in_turn_lie_beside_no_file_of_the_other(
    request: pytest.FixtureRequest, containers: dict[str, Path], order: tuple[str, ...]
) -> None:
    files, held = expected(request), []
    with opened(containers, order) as backends:
        paths = {who: backends[who].retrieve_object(KEY)[1] for who in order}
        for name in sorted({*files["ours"], *files["theirs"]}):
            for who in order:
                if name in files[who]:
                    path = paths[who] / name
                    held.append((who, path, path.stat()))
        for who, path, status in held:
            assert path.read_bytes() == files[who][path.name]
            assert os.path.samestat(path.stat(), status)
            assert path.stat().st_mtime_ns == status.st_mtime_ns
            assert {other.name for other in path.parent.iterdir()} <= set(files[who])
        for who in order:
            assert content_of(paths[who]) == files[who]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("containers", ["other files throughout"], indirect=True)
def test_a_file_that_one_has_open_is_not_replaced_by_another_process(
    request: pytest.FixtureRequest, containers: dict[str, Path], order: tuple[str, ...]
) -> None:
    first, second = order
    script = (
        "import os, sys; from simarchive import HDF5Storage\n"
        "with HDF5Storage(sys.argv[1], mode='r', scratch_directory=sys.argv[2]) as backend:\n"
        f"    path = backend.retrieve_object({KEY!r})[1]\n"
        "    (path / 'trajectory.dcd').read_bytes()\n"
        "    for file in sorted(os.listdir(path)): print(file, open(os.path.join(path, file), 'rb').read())\n"
    )
    files = expected(request)
    with opened(containers, (first,)) as backends:
        path = backends[first].retrieve_object(KEY)[1]
        before = {name: (path / name).stat() for name in files[first]}
        done = subprocess.run(
            [sys.executable, "-c", script, containers[second], containers["ours"].parent / "scratch"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        assert done.stdout.splitlines() == [f"{name} {files[second][name]}" for name in sorted(files[second])]
        for name, status in before.items():
            assert os.path.samestat((path / name).stat(), status)
        assert content_of(path) == files[first]


@pytest.mark.parametrize("order", ORDERS)
def test_empty_folders_of_another_container_do_not_appear(tmp_path: Path, order: tuple[str, ...]) -> None:
    folders = {"ours": ("empty",), "theirs": ("empty", "more")}
    containers = {who: made(tmp_path / f"{who}.h5", OURS, folders[who]) for who in folders}
    say_what_the_other_says(containers["theirs"], containers["ours"])
    with opened(containers, order) as backends:
        paths = {who: Path(backends[who].retrieve_object(KEY)[1]) for who in order}
        for who, path in paths.items():
            assert {inner.name for inner in path.iterdir() if inner.is_dir()} == set(folders[who])


def test_copies_of_a_container_share_what_was_extracted(tmp_path: Path) -> None:
    path = made(tmp_path / "a.h5", OURS)
    shutil.copy(path, tmp_path / "b.h5")
    found = set()
    for name in ("a.h5", "b.h5"):
        with HDF5Storage(tmp_path / name, mode="r", scratch_directory=tmp_path / "s") as backend:
            found.add(os.fspath(backend.retrieve_object(KEY)[1]))
    assert len(found) == 1


def test_names_of_files_are_listed_once_and_their_digests_only_in_a_dispute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("names_of_parts", "content_of_files"):
        method = getattr(Contents, name)

        def counting(self: Contents, key: str, name: str = name, method: object = method) -> object:
            asked.append(name)
            return method(self, key)  # type: ignore[operator]

        monkeypatch.setattr(Contents, name, counting)
    path = made(tmp_path / "a.h5", OURS)
    with HDF5Storage(path, mode="r") as backend:
        for name in OURS:
            assert (backend.retrieve_object(KEY)[1] / name).read_bytes() == OURS[name]
        for _ in range(2):
            assert content_of(backend.retrieve_object(KEY)[1]) == OURS
    assert asked == ["names_of_parts"]
