"""What a container claims is checked before it is read: each hostile thing costs its object only.

Containers get hostile attributes, datasets, links, documents and index tables by plain h5py. All commands
then run on them: none ends by an error that is not ours, and what lies beside it is there as before.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hostile_containers import (
    ARRAYS,
    ATTRIBUTES,
    BAD,
    DOCUMENTS,
    GOOD,
    IN_SUMMARY,
    INDEXES,
    LINKS,
    TABLES,
    WAYS,
    Change,
    edit,
    setting,
    sound_container,
    unproved,
)

from simarchive import CorruptError, HDF5Storage, StorageError
from simarchive.cli.application import main
from simarchive.queries import SimulationDataQuery
from simarchive.storage.display.documents import lines_of
from simarchive.testing.sample_objects import simulation

UNEXPECTED = 70
SECRET = b"PRIVATE-KEY-SECRET\n"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container with two simulations and a force field; not to be changed."""
    return sound_container(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def path(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for one test, in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(sound, tmp_path / "x.h5"))


def code_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    """Run a command in this process; return its exit code."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    captured = capsys.readouterr()
    code = left.value.code
    assert code != UNEXPECTED, (arguments, captured.err[-1500:])
    assert "Traceback" not in captured.err
    assert isinstance(code, int)
    return code


COMMANDS = (
    ("info", "x.h5"),
    ("ls", "x.h5", "--long"),
    ("query", "x.h5"),
    ("diff", "x.h5", "sound.h5"),
    ("verify", "x.h5"),
    ("subset", "x.h5", "s.h5"),
    ("merge", "x.h5", "-o", "m.h5"),
    ("export", "x.h5", "directory"),
)
INDEX_COMMANDS = (("info", "x.h5"), ("query", "x.h5"), ("verify", "x.h5"))


def many(path: Path, kinds: dict[str, Change]) -> dict[str, str]:
    """Make an object for each kind of hostile thing in one container; return the kinds by key."""
    keys = {f"k{number}": kind for number, kind in enumerate(kinds)}

    def change(file: h5py.File) -> None:
        for key, kind in keys.items():
            file["objects"].copy(BAD, key)
            unproved(file[f"objects/{key}"])
            kinds[kind](file[f"objects/{key}"])
        file["objects"].move(GOOD, "last")
        file["objects"].move("last", GOOD)
        del file["index"]

    edit(path, change)
    return keys


def check_siblings(*names: str) -> None:
    """Compare the object that nobody touched with what was stored."""
    for name in names:
        with HDF5Storage(name, mode="r") as backend:
            stored, files = backend.retrieve_object(GOOD)
            assert stored == simulation(GOOD)
            assert (files / "trajectory.dcd").read_bytes() == GOOD.encode() * 1000
            matches = backend.query(SimulationDataQuery())
            assert GOOD in [match[0] for group in matches.values() for match in group]


def foreign(keys: dict[str, str], *, use: Callable[[HDF5Storage, str], object]) -> dict[str, str]:
    """Return the errors that are not ours, by kind."""
    found = {}
    with HDF5Storage("x.h5", mode="r") as backend:
        for key, kind in keys.items():
            try:
                use(backend, key)
            except StorageError:
                continue
            except Exception as error:
                found[kind] = f"{type(error).__name__}: {error}"
    return found


def show_and_extract(backend: HDF5Storage, key: str) -> None:
    backend.header(key)
    backend.retrieve_document(key)
    stored, files = backend.retrieve_object(key)
    np.asarray(backend.load(key).observables["PotentialEnergy"].value.magnitude)
    backend.extract(key, f"out-{key}")
    assert stored is not None
    assert files is not None


def check_all_commands(
    path: Path,
    sound: Path,
    capsys: pytest.CaptureFixture[str],
    commands: tuple[tuple[str, ...], ...] = COMMANDS,
) -> None:
    """Run every command; none may end by a foreign error."""
    shutil.copy(sound, path.parent / "sound.h5")
    for command in commands:
        code_of(capsys, *command)
    check_siblings("x.h5", *(["m.h5"] if commands is COMMANDS else []))
    shutil.copy("x.h5", "y.h5")
    code_of(capsys, "repack", "y.h5")
    code_of(capsys, "repair", "x.h5")
    code_of(capsys, "verify", "x.h5")
    check_siblings("x.h5")


# --- attributes -------------------------------------------------------------------------------------------

NAMES = ("document", "object_summary", *IN_SUMMARY)
NAMES_OF_MEMBERS = ("member_size", "member_blake3", "member_codec", "member_chunk_crc32")


def test_an_attribute_of_another_kind_costs_its_object_only(
    path: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {f"{name}: {kind}": setting(name, kind) for name in NAMES for kind in ATTRIBUTES}
    keys = many(path, kinds)
    assert foreign(keys, use=show_and_extract) == {}
    check_all_commands(path, sound, capsys)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "kind",
    ["many texts", "two texts", "many integers", "eight integers of one byte", "two integers of four bytes"],
)
def test_an_attribute_that_is_an_array_is_refused(path: Path, name: str, kind: str) -> None:
    edit(path, lambda file: setting(name, kind)(file[f"objects/{BAD}"]))
    with HDF5Storage(path, mode="r") as backend, pytest.raises(CorruptError, match=BAD):
        backend.load(BAD) if name == "document" else backend.header(BAD)


def test_an_attribute_of_a_file_costs_that_file_only(
    path: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [(name, kind) for name in NAMES_OF_MEMBERS for kind in ATTRIBUTES]

    def copied(name: str, kind: str) -> Change:
        def change(group: h5py.Group) -> None:
            files = group["files"]
            files.copy("trajectory.dcd", "copy.dcd")  # its own dataset, whatever else is one
            del files["trajectory.dcd"]
            files.move("copy.dcd", "trajectory.dcd")
            setting(name, kind, "files/trajectory.dcd")(group)

        return change

    keys = many(path, {f"{name}: {kind}": copied(name, kind) for name, kind in pairs})
    with HDF5Storage("x.h5", mode="r") as backend:
        for key, kind in keys.items():
            with pytest.raises(StorageError):
                backend.extract(key, f"out-{key}", ["trajectory.dcd"])
                pytest.fail(kind)
            assert backend.extract(key, f"out-{key}", ["output.pdb"])
    check_all_commands(path, sound, capsys)


@pytest.mark.parametrize(
    "kind", ["many integers", "eight integers of one byte", "a float", "nothing", "two texts"]
)
@pytest.mark.parametrize("name", ["container_id", "created_by", "created_at", "readme"])
def test_what_a_container_says_of_itself_is_no_obstacle(
    path: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(path, lambda file: file.attrs.__setitem__(name, ATTRIBUTES[kind]()))
    for command in COMMANDS[:4]:
        code_of(capsys, *command)


@pytest.mark.parametrize("kind", [kind for kind in ATTRIBUTES if kind != "a great number"])
def test_a_format_of_another_kind_is_no_container(
    path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(path, lambda file: file.attrs.__setitem__("simarchive_format", ATTRIBUTES[kind]()))
    assert code_of(capsys, "ls", "x.h5") == 10


# --- arrays -----------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(path: Path) -> Path:
    """Files outside of the container that it is about to name."""
    (path.parent / "secret").write_bytes(SECRET * 100)
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["secret"] = np.frombuffer(SECRET * 100, "f8", 40)
    return path.parent


def test_an_array_of_another_kind_costs_its_object_only(
    path: Path, sound: Path, secrets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def replaced(kind: str) -> Change:
        def change(group: h5py.Group) -> None:
            name = "observables.PotentialEnergy"
            del group[name]
            ARRAYS[kind](group, name)

        return change

    keys = many(path, {kind: replaced(kind) for kind in ARRAYS})
    with HDF5Storage("x.h5", mode="r") as backend:
        for key, kind in keys.items():
            if kind in ("other values", "fewer values", "integers"):  # which the document has to tell
                continue
            with pytest.raises(CorruptError):
                backend.retrieve_document(key)[2]["observables"]["PotentialEnergy"]["value"][
                    "value"
                ].__array__()
                pytest.fail(kind)
    check_all_commands(path, sound, capsys)
    found = [
        copy for copy in secrets.rglob("*") if copy.is_file() and copy.name not in ("secret", "other.h5")
    ]
    assert not [copy for copy in found if SECRET in copy.read_bytes()]


def test_arrays_as_h5repack_writes_them_are_read(path: Path) -> None:
    def change(file: h5py.File) -> None:
        group = file[f"objects/{BAD}"]
        (name,) = (name for name in group if name.startswith("observables."))
        values = group[name][()]
        attributes = dict(group[name].attrs)
        del group[name]
        options = {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True}
        group.create_dataset(name, data=values.astype(">f8"), **options).attrs.update(attributes)

    edit(path, change)
    with HDF5Storage(path, mode="r") as backend:
        assert backend.retrieve_object(BAD)[0] == simulation(BAD)


# --- links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LINKS)
def test_what_is_wrong_among_the_objects_costs_no_other(
    path: Path, sound: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(path, lambda file: LINKS[kind](file["objects"]))
    with HDF5Storage(path, mode="r") as backend:
        keys = backend.keys()
        assert len(backend) == len(keys)
    assert GOOD in keys
    assert foreign({key: key for key in keys}, use=HDF5Storage.retrieve_object) == {}
    check_all_commands(path, sound, capsys, INDEX_COMMANDS)


@pytest.mark.parametrize("name", ["objects", "index"])
@pytest.mark.parametrize(
    "kind", ["a dataset", "a soft link", "a link into another file", "a named type", "nothing", "the root"]
)
def test_what_stands_for_the_objects_or_the_index_is_a_group(
    path: Path, sound: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(sound, "other.h5")
    things: dict[str, Any] = {
        "a dataset": np.arange(3),
        "a soft link": h5py.SoftLink("/nowhere"),
        "a link into another file": h5py.ExternalLink("other.h5", f"/{name}"),
        "a named type": np.dtype("f8"),
    }

    def change(file: h5py.File) -> None:
        del file[name]
        if kind != "nothing":
            file[name] = file if kind == "the root" else things[kind]

    edit(path, change)
    if name == "index":
        check_all_commands(path, sound, capsys, INDEX_COMMANDS)
    elif kind == "the root":
        code_of(capsys, "ls", "x.h5", "--long")
    else:
        assert code_of(capsys, "ls", "x.h5") == 10


# --- documents ---------------------------------------------------------------------------------------


def test_a_hostile_document_costs_its_object_only(
    path: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = many(path, DOCUMENTS)
    assert foreign(keys, use=show_and_extract) == {}
    check_all_commands(path, sound, capsys)


# --- the index ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INDEXES)
def test_a_hostile_table_changes_no_answer(
    path: Path, sound: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(path, lambda file: INDEXES[kind](file["index/StoredSimulationData"]))
    with HDF5Storage(path, mode="r") as backend:
        assert backend.keys(SimulationDataQuery()) == [BAD, GOOD]
        assert backend.count(SimulationDataQuery()) == 2
    for command in (("verify", "x.h5"), ("repair", "x.h5"), ("verify", "x.h5")):
        code_of(capsys, *command)
    check_siblings("x.h5")


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("name", ["StoredSimulationData", "members"])
def test_what_stands_for_a_table_changes_no_answer(
    path: Path, sound: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(file: h5py.File) -> None:
        index = file["index"]
        if "StoredSimulationData" in index:
            del index["StoredSimulationData"]
        TABLES[kind](index)
        if name == "members" and kind != "nothing":
            if "members" in index:
                del index["members"]
            index.move("StoredSimulationData", "members")

    edit(path, change)
    check_all_commands(path, sound, capsys, INDEX_COMMANDS)


def test_a_name_that_is_no_utf_8_among_the_tables_changes_no_answer(
    path: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(path, lambda file: file["index"].id.move(b"StoredSimulationData", b"k\xff\xfe"))
    check_all_commands(path, sound, capsys, INDEX_COMMANDS)


# --- files of objects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64 << 40, 1 << 40, 8 << 30])
def test_a_file_of_zeros_that_are_not_there_is_refused_at_once(
    path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = 64 << 20

    def change(file: h5py.File) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((chunk,))
        space = h5py.h5s.create_simple((size,))
        group = file[f"objects/{BAD}/files"].id
        data = h5py.Dataset(h5py.h5d.create(group, b"z.bin", h5py.h5t.STD_U8LE, space, properties))
        data.attrs["member_size"] = np.uint64(size)
        data.attrs["member_blake3"] = np.bytes_("0" * 64)
        data.attrs["member_codec"] = np.bytes_("raw")
        data.attrs["member_chunk_crc32"] = np.zeros(size // chunk, "u4")

    edit(path, change)
    for command in (
        ("verify", "x.h5", "--full"),
        ("extract", "x.h5", BAD, "--files", "z.bin", "-o", "out"),
        ("merge", "x.h5", "-o", "m.h5"),
    ):
        assert code_of(capsys, *command) in (11, 17)
    with HDF5Storage("m.h5", mode="r") as backend:
        assert GOOD in backend


@pytest.mark.parametrize("kind", WAYS)
def test_no_array_is_read_by_a_path(path: Path, secrets: Path, kind: str) -> None:
    def change(file: h5py.File) -> None:
        unproved(file[f"objects/{BAD}"])
        WAYS[kind](file[f"objects/{BAD}"])

    edit(path, change)
    with HDF5Storage(path, mode="r") as backend, pytest.raises(CorruptError, match="is a path"):
        np.asarray(backend.retrieve_document(BAD)[2]["zzz"])


# --- what is shown ----------------------------------------------------------------------------------------

NAMES_IN_DOCUMENTS = (
    *("value", "unit", "error", "gradients", "components", "amounts", "temperature", "pressure"),
    *("property_phase", "substance", "x"),
)


def any_tree(rng: random.Random, depth: int) -> Any:
    """Return what a document can hold, often with the names of quantities, substances and states."""
    if depth == 0 or rng.random() < 0.3:
        return rng.choice([True, None, 0, -1.5, "kelvin", "", [], {}, np.zeros(3), np.zeros((2, 0))])
    if rng.random() < 0.3:
        return [any_tree(rng, depth - 1) for _ in range(rng.randrange(3))]
    names = rng.choice(
        (
            *(("value", "unit"), ("value", "gradients"), ("value", "error", "gradients")),
            *(("components", "amounts"), ("temperature",), ("temperature", "pressure")),
            rng.sample(NAMES_IN_DOCUMENTS, 3),
        )
    )
    return {name: any_tree(rng, depth - 1) for name in names}


def test_every_document_can_be_shown() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        tree = {"x": any_tree(rng, 4), "property_phase": any_tree(rng, 1)}
        assert all(isinstance(line, str) for line in lines_of(tree))
