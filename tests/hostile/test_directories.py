"""A hostile directory costs the object that is hostile, no more, and nothing is taken from elsewhere."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from directories import (
    IN_PLACE,
    KEYS,
    PLACES,
    REGISTRIES,
    REGISTRY,
    SAYS,
    SECRET,
    SOUND,
    TEXTS,
    VICTIM,
    WHERE,
    add_victims,
    hostile_directories,
    list_key,
    make_directory,
    put_in_place,
    say,
)

from simarchive import HDF5Storage, InvalidDataError, LocalFileStorage, StorageError, rebuild_registry
from simarchive.storage.ancillary import DirectoryFiles
from simarchive.storage.evaluator_json import parse_typed

SOURCE = Path(__file__).parents[2] / "src"
LONGEST_S = 10
# What Python and its libraries map without touching it is counted, too.
MOST_BYTES = 3 << 30


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original") / "dir"
    make_directory(place)
    return place


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Iterator[Path]:
    work = tmp_path / "work"
    (work / "home" / "inner").mkdir(parents=True)
    for name in ("id_rsa", "trajectory.dcd", "output.pdb", "inner/notes.txt"):
        (work / "home" / name).write_bytes(SECRET)
    document = (original / f"{VICTIM}.json").read_text()
    (work / "home" / "secret.json").write_text(document.replace("victim", SECRET.decode().strip()))
    shutil.copytree(original, work / "dir")
    begin, begun_at = sum(os.times()[:4]), time.monotonic()
    yield work / "dir"
    # Its own time and that of its children: a loaded machine may take a few times as long.
    assert sum(os.times()[:4]) - begin < LONGEST_S
    assert time.monotonic() - begun_at < 6 * LONGEST_S
    assert not (work / "home" / "executed").exists()


def imported(directory: Path) -> tuple[set[str], dict[str, str]]:
    """Import a directory; return the keys that are in the container, and what was said of the others."""
    path = directory.parent / "a.h5"
    with LocalFileStorage(directory, mode="r") as source, HDF5Storage(path, codec="raw") as target:
        report = target.update(source)
        said = report.unreadable | source.problems
        keys = set(target.keys())
        for key in keys:
            target.retrieve_object(key)
            target.file_digests(key)
    assert SECRET.strip() not in path.read_bytes()
    return keys, said


def check_costs_itself_alone(directory: Path) -> None:
    keys, said = imported(directory)
    assert keys >= set(SOUND)
    assert VICTIM in keys or VICTIM in said
    assert not set(said) & set(SOUND)
    assert all(len(problem) < 1000 for problem in said.values())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", IN_PLACE)
def test_what_is_not_a_file_costs_its_object(directory: Path, place: str, kind: str) -> None:
    put_in_place(directory, PLACES[place], IN_PLACE[kind])
    keys, said = imported(directory)
    assert keys == set(SOUND)
    assert VICTIM in said


@pytest.mark.parametrize("place", ["one of its files", "a file in a folder in it", "its document"])
def test_hard_links_and_links_to_files_beside_it_are_files(directory: Path, place: str) -> None:
    path = directory / PLACES[place]
    shutil.copy(path, path.with_name("same"))
    put_in_place(directory, PLACES[place], lambda path: path.symlink_to("same"))
    assert imported(directory)[0] == {VICTIM, *SOUND}
    (directory.parent / "a.h5").unlink()
    put_in_place(directory, PLACES[place], lambda path: path.hardlink_to(path.with_name("same")))
    assert imported(directory)[0] == {VICTIM, *SOUND}


@pytest.mark.parametrize("what", SAYS)
def test_whatever_a_document_says_costs_its_object(directory: Path, what: str) -> None:
    victims = {f"{number:032x}": place for number, place in enumerate(WHERE.values())}
    add_victims(directory, list(victims))
    for key, place in victims.items():
        say(directory, place, SAYS[what], key)
    keys, said = imported(directory)
    assert keys >= {VICTIM, *SOUND}
    assert set(victims) <= keys | set(said)
    assert not set(said) - set(victims)


@pytest.mark.parametrize("what", SAYS)
def test_whatever_a_document_of_a_users_class_says_costs_its_object(directory: Path, what: str) -> None:
    say(directory, ("@type",), '"my.program.Data"')
    say(directory, ("substance",), SAYS[what])
    check_costs_itself_alone(directory)


@pytest.mark.parametrize("what", TEXTS)
def test_whatever_a_document_is_costs_its_object(directory: Path, what: str) -> None:
    (directory / f"{VICTIM}.json").write_bytes(TEXTS[what])
    check_costs_itself_alone(directory)


@pytest.mark.parametrize("what", KEYS)
def test_what_is_not_a_key_is_named(directory: Path, what: str) -> None:
    list_key(directory, KEYS[what])
    keys, said = imported(directory)
    assert keys == {VICTIM, *SOUND}
    assert len(said) == 1
    assert all(key.isprintable() and len(key) <= 200 for key in said)


def test_a_key_of_which_nothing_is_there_is_no_damage(directory: Path) -> None:
    list_key(directory, "f" * 32)
    assert imported(directory) == ({VICTIM, *SOUND}, {})


@pytest.mark.parametrize("what", REGISTRIES)
def test_a_registry_that_is_none_is_refused_at_once(directory: Path, what: str) -> None:
    (directory / REGISTRY).write_bytes(REGISTRIES[what])
    with pytest.raises(StorageError, match="is not a registry"):
        LocalFileStorage(directory, mode="r")


@pytest.mark.parametrize("kind", IN_PLACE)
def test_what_is_in_the_place_of_the_registry_is_refused_at_once(directory: Path, kind: str) -> None:
    put_in_place(directory, REGISTRY, IN_PLACE[kind])
    with pytest.raises(StorageError, match=REGISTRY):
        LocalFileStorage(directory, mode="r")


@pytest.mark.parametrize("place", ["its document", "its folder"])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_nothing_outside_is_given_out_or_rebuilt(directory: Path, place: str, kind: str) -> None:
    put_in_place(directory, PLACES[place], IN_PLACE[kind])
    with LocalFileStorage(directory, mode="r") as backend:
        try:
            stored, path = backend.retrieve_object(VICTIM)
        except StorageError:
            stored = path = None
        assert path is None or Path(path).resolve().is_relative_to(directory)
        assert stored is None or place == "its folder"
    try:
        rebuild_registry(directory)
    except StorageError as error:
        assert VICTIM in str(error)


# --- what the registry lists, and what it does not ---------------------------------------------------------


@pytest.mark.parametrize("is_in_one_class", [True, False])
def test_a_key_that_is_named_twice_is_one_object(directory: Path, is_in_one_class: bool) -> None:
    path = directory / REGISTRY
    registry = json.loads(path.read_text())
    name = "StoredSimulationData" if is_in_one_class else "ForceFieldData"
    registry["object_keys"][name].append(VICTIM)
    path.write_text(json.dumps(registry))
    assert imported(directory) == ({VICTIM, *SOUND}, {})


def test_a_class_that_is_named_twice_has_the_keys_of_both(directory: Path) -> None:
    path = directory / REGISTRY
    text = path.read_text().replace('"ForceFieldData"', '"StoredSimulationData"')
    path.write_text(text)
    assert imported(directory) == ({VICTIM, *SOUND}, {})


def test_an_object_that_no_registry_names_is_named(directory: Path) -> None:
    path = directory / REGISTRY
    registry = json.loads(path.read_text())
    registry["object_keys"]["StoredSimulationData"].remove(VICTIM)
    path.write_text(json.dumps(registry))
    keys, said = imported(directory)
    assert keys == set(SOUND)
    assert "rebuild_registry() list it" in said[VICTIM]


def test_a_limit_on_the_length_of_texts_is_raised_by_a_parameter(directory: Path) -> None:
    document = directory / f"{VICTIM}.json"
    document.write_bytes(document.read_bytes() + b" " * (65 << 20))
    with (
        LocalFileStorage(directory, mode="r") as backend,
        pytest.raises(StorageError, match="max_json_bytes"),
    ):
        backend.retrieve_object(VICTIM)
    with LocalFileStorage(directory, mode="r", max_json_bytes=128 << 20) as backend:
        assert backend.retrieve_object(VICTIM)[0] is not None
    with pytest.raises(StorageError, match="is not a registry"):
        LocalFileStorage(directory, mode="r", max_json_bytes=10)


def test_a_file_that_may_not_be_read_costs_its_object(directory: Path) -> None:
    (directory / f"{VICTIM}.json").chmod(0)
    (directory / SOUND[0] / "inner").chmod(0)
    script = (
        "import os, sys; from simarchive import *\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "with LocalFileStorage(sys.argv[1], mode='r') as source, HDF5Storage(sys.argv[2]) as target:\n"
        "    report = target.update(source); print(*sorted(report.unreadable)); print(len(target))\n"
    )
    out = directory.parent / "out"
    out.mkdir()
    out.chmod(0o777)
    for parent in directory.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    done = in_python(script, directory, out / "a.h5")
    (directory / SOUND[0] / "inner").chmod(0o755)
    assert done.stdout.split() == [VICTIM, SOUND[0], "3"], done.stderr


# --- what changes meanwhile --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["its folder", "a folder in its folder", "a file in a folder in it"])
def test_a_link_that_takes_a_place_after_the_look_is_not_followed(directory: Path, place: str) -> None:
    files = DirectoryFiles(directory / VICTIM, within=directory)
    assert "inner/notes.txt" in files.names
    path = directory / PLACES[place]
    put_in_place(directory, PLACES[place], lambda _: None)
    target = {"its folder": ".", "a folder in its folder": "inner"}.get(place, "inner/notes.txt")
    path.symlink_to(directory.parent / "home" / target)
    with pytest.raises(StorageError, match="link is on the way"):
        files.digest("inner/notes.txt")
    stored = LocalFileStorage(directory, mode="r").retrieve_object(SOUND[0])[0]
    assert stored is not None
    for backend in (HDF5Storage(directory.parent / "b.h5"), LocalFileStorage(directory.parent / "b")):
        with backend, pytest.raises(StorageError, match="link is on the way"):
            backend.put(stored, files)


@pytest.mark.parametrize("what", [os.mkfifo, Path.mkdir])
def test_what_takes_the_place_of_a_file_after_the_look_is_not_waited_for(
    directory: Path, what: object
) -> None:
    files = DirectoryFiles(directory / VICTIM)
    assert "trajectory.dcd" in files.names
    put_in_place(directory, PLACES["one of its files"], what)  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="not a regular file"):
        files.digest("trajectory.dcd")


# --- the command, in a process with limits -----------------------------------------------------------------

COMMANDS = {
    "a link as a folder": lambda place: put_in_place(
        place, PLACES["its folder"], IN_PLACE["a link to a folder outside"]
    ),
    "a FIFO as a document": lambda place: put_in_place(place, PLACES["its document"], IN_PLACE["a FIFO"]),
    "a FIFO as a file": lambda place: put_in_place(place, PLACES["one of its files"], IN_PLACE["a FIFO"]),
    "a file of terabytes": lambda place: put_in_place(
        place, PLACES["one of its files"], IN_PLACE["a file of terabytes"]
    ),
    "control characters": lambda place: say(place, WHERE["a unit"], SAYS["control characters"]),
    **{
        text: lambda place, text=text: (place / f"{VICTIM}.json").write_bytes(TEXTS[text])
        for text in ("brackets", "many brackets", "many objects", "many numbers", "too long", "bytes")
    },
    **{
        key: lambda place, key=key: list_key(place, KEYS[key])
        for key in ("a terminal's command", "half a character", "a long one", "a list")
    },
}


def in_python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES)),
    )


@pytest.mark.parametrize("what", COMMANDS)
def test_the_command_names_what_it_leaves_out(directory: Path, what: str) -> None:
    COMMANDS[what](directory)
    script = (
        "import resource, sys, time; from simarchive.cli import main\n"
        "sys.argv = ['simarchive', 'import', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)\n"
    )
    done = in_python(script, directory, directory.parent / "a.h5")
    assert "Traceback" not in done.stderr
    assert done.returncode == 17, done.stderr
    assert int(done.stdout.split()[-1]) < 1024
    assert all(c.isprintable() or c == "\n" for c in done.stderr)
    with HDF5Storage(directory.parent / "a.h5", mode="r") as backend:
        assert set(backend.keys()) >= set(SOUND)


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1 << 16])
@pytest.mark.parametrize(
    "number", ["1" * 309, "-" + "9" * 210 + "e99", "1" * 220 + ".5E+99", "1e400", "2E0309"]
)
def test_a_number_beyond_all_is_refused_wherever_it_is(number: str, before: int) -> None:
    for more in range(0, 150, 29):
        text = f'{{"a": "{"x" * (before + more)}", "b": [{number}]}}'
        try:
            found = parse_typed(text)["b"][0]
        except InvalidDataError as error:
            assert "beyond the range" in str(error)
        else:
            assert isinstance(found, int)


# --- all kinds, through all commands -----------------------------------------------------------------------

EVERY = int(os.environ.get("SIMARCHIVE_HOSTILE_DIRECTORIES_EVERY", "0"))
"""1 takes all hostile directories through all commands, in most of an hour; 10 every tenth of a kind."""
SAMPLE = ("in place", "meanwhile")


def test_every_command_withstands_hostile_directories() -> None:
    # In a process of its own: those that are forked must not have touched HDF5.
    arguments = [str(EVERY)] if EVERY else ["200", *SAMPLE]
    done = subprocess.run(
        [sys.executable, "directory_campaign.py", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["faults"] == []
    assert summary["commands"] >= 10 * summary["directories"] - 10 > 0
    if EVERY:
        print(json.dumps(summary, indent=2))
    if EVERY == 1:
        assert summary["directories"] >= 800


def test_there_are_hundreds_of_hostile_directories() -> None:
    names = [hostile.name for hostile in hostile_directories()]
    assert len(names) == len(set(names)) >= 800
