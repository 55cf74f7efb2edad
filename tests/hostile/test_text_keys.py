"""A key is one word that is neither an option nor a path: when it is stored, and when it is read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from simarchive import HDF5Storage, InvalidDataError, LocalFileStorage, SmirnoffForceFieldSource
from simarchive.data import ForceFieldData
from simarchive.ground.keys import check_key, is_key, new_key
from simarchive.queries import ForceFieldQuery
from simarchive.testing.sample_objects import simulation, write_files

NOT_KEYS = [
    "-",
    "--",
    "--overwrite",
    "-o",
    "--output=..",
    ".",
    "..",
    ".profile",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\nb",
    "a\rb",
    "a\x1b[2Jb",
    "a\x7f",
    "a\x9b31m",
    "a\u00a0b",
    "a\u2028b",
    "a\u2029b",
    "a\u202eb",
    "a\u2066b",
    "a\u200eb",
    "a\u061cb",
    "a\u200bb",
    "a\ufeffb",
    "a\\b",
    "it's",
    'say"so',
    "ö" * 101,
    "k" * 201,
]
KEYS = [
    "a",
    "0",
    "_",
    "thing-1",
    "a.b",
    "k" * 200,
    "ö" * 100,
    "a=b",
    "a+b",
    "x@y",
    "réplique",
    "水",
    "~a",
    "*",
]


@pytest.mark.parametrize("key", KEYS)
def test_what_is_a_key(key: str) -> None:
    assert check_key(key) == key
    assert is_key(key)


@pytest.mark.parametrize("key", ["", "a/b", "/a", "a\0b", "a\ud800", *NOT_KEYS])
def test_what_is_not(key: str) -> None:
    assert not is_key(key)
    with pytest.raises(InvalidDataError):
        check_key(key)


def test_random_keys_are_keys() -> None:
    assert all(is_key(new_key()) for _ in range(100))


def force_field(text: str) -> ForceFieldData:
    return ForceFieldData(
        force_field_source=SmirnoffForceFieldSource(f"<SMIRNOFF><!-- {text} --></SMIRNOFF>")
    )


@pytest.mark.parametrize("kind", [HDF5Storage, LocalFileStorage])
@pytest.mark.parametrize("key", ["--flat", ".x", "a b", "a\x1bb", "a/b", "a\nb"])
def test_no_backend_stores_under_what_is_not_a_key(kind: type, key: str, tmp_path: Path) -> None:
    with kind(tmp_path / "store") as backend:
        with pytest.raises(InvalidDataError, match="key"):
            backend.store_object(force_field("one"), storage_key=key)
        assert key not in backend
        assert backend.retrieve_object(key) == (None, None)
        assert backend.keys() == []


def misnamed(path: Path, names: list[str], *, with_index: bool = True) -> list[str]:
    """Make a container whose objects, but the first, have these names; return all names."""
    with HDF5Storage(path) as backend:
        keys = [backend.store_object(force_field(str(number))) for number in range(len(names) + 1)]
    with h5py.File(path, "r+", libver=("v110", "v110"), track_order=True) as file:
        for key, name in zip(keys[1:], names, strict=True):
            file["objects"].id.move(key.encode(), name.encode())
        if not with_index:
            del file["index"]
    return [keys[0], *names]


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simarchive", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_objects_under_other_names_are_left_out_with_a_warning_named_and_given_keys(tmp_path: Path) -> None:
    names = [name for name in NOT_KEYS if name != "."]
    path = tmp_path / "a.h5"
    sound, *_ = misnamed(path, names, with_index=False)
    with HDF5Storage(path, mode="r") as backend:
        assert backend.keys() == [sound]
        assert [header.key for header in backend.headers()] == [sound]
        assert backend.keys(ForceFieldQuery()) == [sound]
        assert backend.columns(ForceFieldQuery())["key"] == [sound]
        assert [key for found in backend.query(ForceFieldQuery()).values() for key, _, _ in found] == [sound]
        assert list(backend.problems) == names
        assert all(name not in backend for name in names)
        report = backend.verify()
        assert sorted({problem.key for problem in report.problems if problem.key}) == sorted(names)
        assert all("not a key" in problem.message for problem in report.problems if problem.key), (
            report.problems
        )
    with HDF5Storage(path) as backend:
        repaired = backend.repair()
        assert sorted(repaired.new_keys) == sorted(names)
        assert repaired.set_aside == []
        assert sorted(backend.keys()) == sorted([sound, *repaired.new_keys.values()])
        texts = {backend.retrieve_object(key)[0].force_field_source.json() for key in backend}
        assert len(texts) == len(names) + 1
        assert backend.verify(full=True).problems == []
        assert len(backend) == len(names) + 1


def test_repack_keeps_objects_under_other_names(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    misnamed(path, ["--flat", "a b", ".."])
    assert command("repack", path, cwd=tmp_path).returncode == 0
    with HDF5Storage(path, mode="r") as backend:
        assert list(backend.problems) == ["--flat", "a b", ".."]


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize(
    "arguments", [["merge", "-o", "b.h5"], ["merge", "-o", "b.h5", "--dry-run"], ["export"]]
)
def test_a_copy_names_what_it_leaves_out(arguments: list[str], with_index: bool, tmp_path: Path) -> None:
    misnamed(tmp_path / "a.h5", ["--flat", "a\x1b]0;b\x07"], with_index=with_index)
    done = command(arguments[0], "a.h5", *(arguments[1:] or ["dir"]), cwd=tmp_path)
    assert done.returncode == 17
    assert "2 objects left out" in done.stderr
    assert "--flat: its name is not a key" in done.stderr
    assert "a\\x1b]0;b\\x07: its name is not a key" in done.stderr
    done = command(arguments[0], "a.h5", *(arguments[1:] or ["dir2"]), "--json", cwd=tmp_path)
    if done.returncode == 17:
        (source,) = json.loads(done.stdout)["sources"]
        assert list(source["unreadable"]) == ["--flat", "a\x1b]0;b\x07"]
    else:
        assert done.returncode == 7  # b.h5 exists by now


def test_an_index_that_has_other_names_answers_nothing(tmp_path: Path) -> None:
    """The names in a hostile index never become keys, whether there are such objects or not."""
    path = tmp_path / "a.h5"
    with HDF5Storage(path) as backend:
        key = backend.store_object(force_field("one"), storage_key="x" * 12)
        other = backend.store_object(force_field("two"))
    data = path.read_bytes()
    assert data.count(b"x" * 12) >= 2
    with h5py.File(path, "r+", libver=("v110", "v110"), track_order=True) as file:
        table = file["index/ForceFieldData"]
        for name, value in list(table.attrs.items()):
            if isinstance(value, bytes | str):
                raw = value if isinstance(value, bytes) else value.encode()
                if b"x" * 12 in raw:
                    raw = raw.replace(b"x" * 12, b"--output=../")
                    del table.attrs[name]
                    table.attrs.create(name, raw, dtype=h5py.string_dtype("utf-8", len(raw)))
    with HDF5Storage(path, mode="r") as backend:
        assert backend.keys(ForceFieldQuery()) == [key, other]
        assert backend.columns(ForceFieldQuery())["key"] == [key, other]
        assert backend.select(["ForceFieldData"]) == [key, other]


def test_a_directory_with_other_names_is_imported_without_them(tmp_path: Path) -> None:
    source = tmp_path / "dir"
    with LocalFileStorage(source) as backend:
        keys = [backend.store_object(force_field(str(number))) for number in range(3)]
    names = ["--overwrite", "a\x1bb"]
    registry = source / "object_keys.json"
    text = registry.read_text()
    for key, name in zip(keys[1:], names, strict=True):
        text = text.replace(key, json.dumps(name)[1:-1])
        (source / f"{key}.json").rename(source / f"{name}.json")
    registry.write_text(text)
    done = command("import", source, "a.h5", cwd=tmp_path)
    assert done.returncode == 17
    assert "--overwrite" in done.stderr
    assert "a\\x1bb" in done.stderr
    assert "\x1b" not in done.stderr
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        assert backend.keys() == [keys[0]]
    with LocalFileStorage(source) as backend:
        backend.store_object(force_field("more"))
    listed = json.loads(registry.read_text())["object_keys"]
    assert all(any(name in keys for keys in listed.values()) for name in names)


def test_every_pipeline_of_the_docs_ends_options_before_keys() -> None:
    root = Path(__file__).parents[2]
    pages = [*root.rglob("docs/**/*.md"), root / "README.md", *root.rglob("src/simarchive/cli/**/*.py")]
    found = [line for page in pages for line in page.read_text().splitlines() if "xargs" in line]
    commands = [line for line in found if "xargs simarchive" in line]
    assert len(commands) >= 2
    for line in commands:
        assert line.rstrip(" `.").endswith(" --"), line


def test_the_pipeline_of_the_pages_takes_no_key_for_an_option(tmp_path: Path) -> None:
    home = tmp_path / "home"
    work = home / "work"
    work.mkdir(parents=True)
    (home / "mine").write_text("mine")
    files = write_files(tmp_path / "files")
    (files / "mine").write_text("taken over")
    with HDF5Storage(work / "a.h5") as backend:
        keys = []
        for number in range(4):
            keys.append(backend.store_object(simulation(str(number)), files))
    with h5py.File(work / "a.h5", "r+", libver=("v110", "v110"), track_order=True) as file:
        for key, name in zip(keys[1:], ["--overwrite", "--flat", "--output=.."], strict=True):
            file["objects"].id.move(key.encode(), name.encode())
        del file["index"]
    simarchive = f"{sys.executable} -m simarchive"
    for ending in ("", " --"):
        extract = f"xargs {simarchive} extract a.h5 -o out{ending}"
        pipe = f"{simarchive} query a.h5 --keys | {extract}"
        done = subprocess.run(
            pipe,
            shell=True,
            cwd=work,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ},
        )
        assert done.returncode == 0, done.stderr
        assert (home / "mine").read_text() == "mine"
        assert sorted(path.name for path in work.iterdir()) == ["a.h5", "out"]
        shutil.rmtree(work / "out")
