"""What a container claims is checked before it is read: each hostile thing costs its object only.

Containers get hostile attributes, datasets, links, documents and index tables by plain h5py. All commands
then run on them: none ends by an error that is not ours, and what lies beside it is there as before.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from simarchive import CorruptError, HDF5Storage, SmirnoffForceFieldSource, StorageError
from simarchive.cli.application import main
from simarchive.queries import SimulationDataQuery
from simarchive.testing.sample_objects import simulation, write_files

BAD, GOOD = "bad", "good"
UNEXPECTED = 70
SECRET = b"PRIVATE-KEY-SECRET\n"
Change = Callable[[h5py.Group], object]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container with two simulations and a force field; not to be changed."""
    place = tmp_path_factory.mktemp("sound")
    with HDF5Storage(place / "sound.h5") as backend:
        for key in (BAD, GOOD):
            files = write_files(place / key, trajectory=key.encode() * 1000)
            backend.store_object(simulation(key), files, storage_key=key)
        backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF></SMIRNOFF>"))
    return place / "sound.h5"


@pytest.fixture
def path(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for one test, in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(sound, tmp_path / "x.h5"))


def edit(path: Path, change: Callable[[h5py.File], object]) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110"), track_order=True) as file:
        change(file)


def text(node: h5py.HLObject, name: str, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    if name in node.attrs:
        del node.attrs[name]
    node.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


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


def unproved(group: h5py.Group) -> None:
    """Remove the digests of an object, as in early containers: else they would tell, and nothing else would."""
    group.attrs.pop("object_blake3", None)
    for name in group:
        if group.get(name, getclass=True, getlink=True) is h5py.HardLink and name in group:
            with contextlib.suppress(KeyError):
                del group[name].attrs["member_description_blake3"]


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

ATTRIBUTES: dict[str, Callable[[], Any]] = {
    "many texts": lambda: np.array([b"AAAAAAAA"] * 5000),
    "two texts": lambda: np.array([b"A", b"B"]),
    "many integers": lambda: np.full(5000, 0x41),
    "eight integers of one byte": lambda: np.ones(8, "i1"),
    "two integers of four bytes": lambda: np.ones(2, "<i4"),
    "a table": lambda: np.ones((3, 3)),
    "nothing": lambda: h5py.Empty("i8"),
    "nothing of text": lambda: h5py.Empty("S8"),
    "a float": lambda: np.float64(1.0),
    "a great number": lambda: np.uint64(2**64 - 1),
    "a compound": lambda: np.zeros((), [("a", "i4"), ("b", "f4")]),
    "texts of any length": lambda: np.array(["a", "b"], h5py.string_dtype()),
    "no UTF-8": lambda: np.bytes_(b"\xff\xfe"),
    "an empty text": lambda: "",
}
NAMES = ("document", "data_class", "data_class_version", "identity", "stored_at", "has_ancillary_data")
NAMES_OF_MEMBERS = ("member_size", "member_blake3", "member_codec", "member_chunk_crc32")


def setting(name: str, kind: str, child: str = "") -> Change:
    return lambda group: (group[child] if child else group).attrs.__setitem__(name, ATTRIBUTES[kind]())


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
            group.copy("trajectory.dcd", "copy.dcd")  # its own dataset, whatever else is one
            del group["trajectory.dcd"]
            group.move("copy.dcd", "trajectory.dcd")
            setting(name, kind, "trajectory.dcd")(group)

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


def virtual(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((40,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (40,))
    group.create_virtual_dataset(name, layout)


def filtered(number: int) -> Callable[[h5py.Group, str], object]:
    def change(group: h5py.Group, name: str) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((40,))
        properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((40,))
        dataset = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F64LE, space, properties)
        dataset.write_direct_chunk((0,), bytes(320), 0)

    return change


ARRAYS: dict[str, Callable[[h5py.Group, str], object]] = {
    "a group": lambda group, name: group.create_group(name),
    "a named type": lambda group, name: group.__setitem__(name, np.dtype("f8")),
    "nothing": lambda group, name: None,
    "no values": lambda group, name: group.create_dataset(name, data=h5py.Empty("f8")),
    "texts": lambda group, name: group.create_dataset(name, data=["a"] * 40, dtype=h5py.string_dtype()),
    "a compound": lambda group, name: group.create_dataset(
        name, data=np.zeros(40, [("a", "f8"), ("b", "S5")])
    ),
    "booleans": lambda group, name: group.create_dataset(name, data=np.zeros(40, bool)),
    "half floats": lambda group, name: group.create_dataset(name, data=np.zeros(40, "f2")),
    "references": lambda group, name: group.create_dataset(name, shape=(40,), dtype=h5py.ref_dtype),
    "8 TB in chunks": lambda group, name: group.create_dataset(
        name, shape=(10**12,), dtype="f8", chunks=(1024,)
    ),
    "8 TB": lambda group, name: group.create_dataset(name, shape=(10**12,), dtype="f8"),
    "8 TB compressed": lambda group, name: group.create_dataset(
        name, shape=(10**12,), dtype="f8", chunks=(1024,), compression="gzip"
    ).__setitem__(slice(0, 1024), 1.0),
    "a huge chunk": lambda group, name: group.create_dataset(
        name, shape=(2**27,), dtype="f8", chunks=(2**27,), compression="gzip"
    ),
    "a soft link that leads nowhere": lambda group, name: group.__setitem__(name, h5py.SoftLink("/nowhere")),
    "a soft link": lambda group, name: group.__setitem__(name, h5py.SoftLink(f"/objects/{GOOD}/{name}")),
    "a link into another file": lambda group, name: group.__setitem__(
        name, h5py.ExternalLink("other.h5", "secret")
    ),
    "external storage": lambda group, name: group.create_dataset(
        name, shape=(40,), dtype="f8", external=[("secret", 0, h5py.h5f.UNLIMITED)]
    ),
    "a virtual dataset": virtual,
    "an unknown filter": filtered(32999),
    "LZF": lambda group, name: group.create_dataset(name, data=np.zeros(40), compression="lzf"),
    "the object itself": lambda group, name: group.__setitem__(name, group),
    "all objects": lambda group, name: group.__setitem__(name, group.parent),
    "other values": lambda group, name: group.create_dataset(name, data=np.zeros(40)),
    "fewer values": lambda group, name: group.create_dataset(name, data=np.zeros(38)),
    "integers": lambda group, name: group.create_dataset(name, data=np.zeros(40, "i8")),
}


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
            (name,) = (name for name in group if "member_size" not in group[name].attrs)
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
        (name,) = (name for name in group if "member_size" not in group[name].attrs)
        values = group[name][()]
        attributes = dict(group[name].attrs)
        del group[name]
        options = {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True}
        group.create_dataset(name, data=values.astype(">f8"), **options).attrs.update(attributes)

    edit(path, change)
    with HDF5Storage(path, mode="r") as backend:
        assert backend.retrieve_object(BAD)[0] == simulation(BAD)


# --- links ------------------------------------------------------------------------------------------------

LINKS: dict[str, Change] = {
    "a soft link": lambda objects: objects.__setitem__("z", h5py.SoftLink(f"/objects/{GOOD}")),
    "a soft link that leads nowhere": lambda objects: objects.__setitem__("z", h5py.SoftLink("/nowhere")),
    "a link into another file": lambda objects: objects.__setitem__(
        "z", h5py.ExternalLink("sound.h5", f"/objects/{GOOD}")
    ),
    "a dataset": lambda objects: objects.__setitem__("z", np.arange(3)),
    "a named type": lambda objects: objects.__setitem__("z", np.dtype("f8")),
    "an empty group": lambda objects: objects.create_group("z"),
    "the objects": lambda objects: objects.__setitem__("z", objects),
    "the root": lambda objects: objects.__setitem__("z", objects.parent),
    "no UTF-8": lambda objects: objects.id.move(BAD.encode(), b"k\xff\xfe"),
    "a control character": lambda objects: objects.move(BAD, "k\x1b[31m"),
    "an empty list of lost links": lambda objects: text(objects, "lost_links", "[]"),
    "a number of lost links": lambda objects: text(objects, "lost_links", "5"),
    "a nested list of lost links": lambda objects: text(objects, "lost_links", "[[1]]"),
    "a list of lost links that is deep": lambda objects: text(objects, "lost_links", "[" * 9999),
    "lost links that are not there": lambda objects: text(
        objects, "lost_links", json.dumps(list(map(str, range(40))))
    ),
    "lost links that are objects": lambda objects: text(objects, "lost_links", json.dumps([GOOD, BAD])),
    "lost links of texts": lambda objects: objects.attrs.__setitem__("lost_links", np.array([b"a", b"b"])),
    "data classes that are none": lambda objects: text(objects, "data_classes", "{}"),
    "data classes of numbers": lambda objects: text(objects, "data_classes", "[1,2]"),
    "data classes of texts": lambda objects: objects.attrs.__setitem__(
        "data_classes", np.array([b"a", b"b"])
    ),
    "no data classes": lambda objects: objects.attrs.__delitem__("data_classes"),
}


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


def field(**content: object) -> Change:
    def change(group: h5py.Group) -> None:
        document = json.loads(group.attrs["document"])
        text(group, "document", json.dumps({**document, **content}))

    return change


def array(**content: object) -> Change:
    return field(zzz={"@array": content})


def tag(tag: str, value: object) -> Change:
    return field(zzz={tag: value})


VARIABLE = {"name": "observables.PotentialEnergy", "dtype": "<f8", "shape": [40, 1]}
DOCUMENTS: dict[str, Change] = {
    "an integer out of range": array(dtype="<i8", shape=[1], data=[10**30]),
    "bytes out of range": array(dtype="|u1", shape=[1], data=[300]),
    "a float of no end": array(dtype="<f8", shape=[1], data=[10**400]),
    "a type that is none": array(dtype="(1,", shape=[1], data=[1]),
    "another type that is none": array(dtype="<c3", shape=[1], base64=""),
    "a type of fields": array(dtype=[["a", "<f8"]], shape=[1], data=[1]),
    "a type of Python objects": array(dtype="|O", shape=[1], data=[1]),
    "texts of 2 GB": array(dtype="S2000000000", shape=[4], data=["a", "b", "c", "d"]),
    "floats that are texts": array(dtype="<f8", shape=[2], data=["1", "nan"]),
    "lists in an array": array(dtype="<f8", shape=[2], data=[[1, 2], [3]]),
    "a huge shape": array(dtype="<f8", shape=[2**62, 4], data=[1.0]),
    "a negative shape": array(dtype="<f8", shape=[-1], data=[1.0]),
    "a shape of texts": array(dtype="<f8", shape=["1"], data=[1.0]),
    "too many axes": array(dtype="<f8", shape=[1] * 100, data=[1.0]),
    "bad base64": array(dtype="<f8", shape=[1], base64="§§"),
    "half of base64": array(dtype="<f8", shape=[1], base64="AAAA"),
    "base64 that is a number": array(dtype="<f8", shape=[1], base64=5),
    "texts beyond Unicode": array(dtype="<U1", shape=[1], base64="/////w=="),
    "an array of nothing": array(),
    "an array that is a number": tag("@array", 5),
    "a float that is none": tag("@float", "one"),
    "a float that is a list": tag("@float", []),
    "a variable that is a number": tag("@variable", 5),
    "a variable of numbers": tag("@variable", {"name": 5, "dtype": 5, "shape": 5}),
    "a variable without a name": tag("@variable", {**VARIABLE, "name": ""}),
    "a variable elsewhere": tag("@variable", {**VARIABLE, "name": f"../{GOOD}/observables.PotentialEnergy"}),
    "a variable by a path": tag(
        "@variable", {**VARIABLE, "name": f"/objects/{GOOD}/observables.PotentialEnergy"}
    ),
    "a variable with a zero": tag("@variable", {**VARIABLE, "name": "\0"}),
    "a variable of a huge shape": tag("@variable", {**VARIABLE, "shape": [10**12]}),
    "a variable of a negative shape": tag("@variable", {**VARIABLE, "shape": [-5, 2]}),
    "a variable of another type": tag("@variable", {**VARIABLE, "dtype": "<i8"}),
    "a tag that nobody knows": tag("@unknown", 1),
    "deep objects": lambda group: text(group, "document", '{"a":' * 10_000 + "1" + "}" * 10_000),
    "deep lists": lambda group: text(group, "document", "[" * 100_000 + "]" * 100_000),
    "deep lists in the stack": lambda group: text(group, "document", '{"a":' + "[" * 900 + "]" * 900 + "}"),
    "brackets without end": lambda group: text(group, "document", "[" * 1_000_000),
    "a list": lambda group: text(group, "document", "[1]"),
    "a number": lambda group: text(group, "document", "1"),
    "null": lambda group: text(group, "document", "null"),
    "NaN": lambda group: text(group, "document", '{"statistical_inefficiency":NaN}'),
    "a float beyond range": lambda group: text(group, "document", '{"statistical_inefficiency":1e999}'),
    "a number of many digits": lambda group: text(
        group, "document", '{"number_of_molecules":' + "9" * 5000 + "}"
    ),
    "a number of 4000 digits": field(number_of_molecules=10**4000),
    "a great number for a float": field(statistical_inefficiency=10**400),
    "a key twice": lambda group: text(group, "document", '{"a":1,"a":2}'),
    "half of a pair": lambda group: text(group, "document", '{"source_calculation_id":"\\ud800"}'),
    "no UTF-8": lambda group: text(group, "document", b'{"a":"\xff"}'),
    "no JSON": lambda group: text(group, "document", "{"),
    "an empty object": lambda group: text(group, "document", "{}"),
    "a reference that is a list": field(force_field_id=[1, {}]),
    "a substance that is a number": field(substance=5),
    "observables of a list": field(observables=[]),
    "an identity that is no digest": lambda group: text(group, "identity", "zz" * 32),
    "a short identity": lambda group: text(group, "identity", "a"),
    "a class that nobody knows": lambda group: text(group, "data_class", "Unknown"),
    "a class of another kind": lambda group: text(group, "data_class", "ForceFieldData"),
    "a version below": lambda group: group.attrs.__setitem__("data_class_version", np.int64(-5)),
    "a version above": lambda group: group.attrs.__setitem__("data_class_version", np.int64(2**62)),
    "empty folders that are none": lambda group: text(group, "member_empty_folders", "5"),
    "empty folders of numbers": lambda group: text(group, "member_empty_folders", "[1]"),
    "empty folders that lead out": lambda group: text(group, "member_empty_folders", '["../../out"]'),
    "empty folders that are deep": lambda group: text(group, "member_empty_folders", "[" * 9999),
}


def test_a_hostile_document_costs_its_object_only(
    path: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = many(path, DOCUMENTS)
    assert foreign(keys, use=show_and_extract) == {}
    check_all_commands(path, sound, capsys)


# --- the index ---------------------------------------------------------------------------------------


def segments(*numbers: int) -> Change:
    def change(table: h5py.Group) -> None:
        rows = np.zeros(len(table.attrs["segments"]), "i8")
        rows[: len(numbers)] = numbers
        table.attrs["segments"] = rows

    return change


def described(**content: object) -> Change:
    def change(table: h5py.Group) -> None:
        description = json.loads(table.attrs["table"])
        text(table, "table", json.dumps({**description, **content}))

    return change


def tail(*lines: str) -> Change:
    return lambda table: text(table, "tail", "\n".join(lines))


def column(name: str, numbers: Any) -> Change:
    def change(table: h5py.Group) -> None:
        segment = table.create_group("segment_0000000")
        segment.attrs["_dead"] = np.zeros(1, "u1")
        segment.attrs["_key"] = np.zeros(3, "<u8")
        segment.attrs["_key._lengths"] = np.array([2**63, 2**63, 4], "<u8")
        segment.attrs["_key._texts"] = np.frombuffer(b"abcd", "u1")
        segment.attrs[name] = numbers
        segments(0, 3, 0, 0, 2)(table)
        text(table, "tail", "[3,1]")

    return change


INDEXES: dict[str, Change] = {
    "8 TiB of rows": segments(1, 2**40, 0, 0, 2**40),
    "2**62 rows": segments(1, 2**62, 0, 0, 2**62),
    "2**63 - 1 rows": segments(2**63 - 1, 2**63 - 1, 0, 0, 2**63 - 1),
    "a segment of negative rows": segments(1, -5, -6, 0, 4),
    "a segment that is not there": segments(0, 1, 0, 0, 0),
    "lengths that wrap around": column("identity", np.zeros(3, "i8")),
    "floats for integers": column("identity", np.zeros(3)),
    "unsigned integers": column("identity", np.zeros(3, "u8")),
    "a column of two axes": column("identity", np.zeros((3, 1), "i8")),
    "summaries of NaN": lambda table: table.attrs.__setitem__("summaries", np.full(10_000, np.nan)),
    "summaries of one number": lambda table: table.attrs.__setitem__("summaries", np.zeros(1)),
    "segments of floats": lambda table: table.attrs.__setitem__("segments", np.zeros(10)),
    "segments of texts": lambda table: table.attrs.__setitem__("segments", np.array([b"a", b"b"])),
    "no segments": lambda table: table.attrs.__delitem__("segments"),
    "a tail of nothing": tail(""),
    "a deep tail": tail("[" * 9999),
    "a tail of great numbers": tail(f"[{10**30},{10**30}]"),
    "a tail of infinity": tail("[Infinity,1]"),
    "a tail of texts": tail('["a","b"]'),
    "a row of nothing": tail("[3,3]", "[]"),
    "a row of other values": tail("[3,3]", json.dumps([0, BAD, *(["x"] * 30)])),
    "a row of a great number": tail("[3,3]", json.dumps([10**30, BAD])),
    "a description of nothing": lambda table: text(table, "table", "{}"),
    "a description of a list": lambda table: text(table, "table", "[]"),
    "a deep description": lambda table: text(table, "table", "[" * 9999),
    "a description of texts": lambda table: table.attrs.__setitem__("table", np.array([b"a", b"b"])),
    "another format": described(format=99),
    "a format that is a list": described(format=[]),
    "columns that are a list": described(columns=[]),
    "columns of no kind": described(columns={"identity": "unknown"}),
    "other columns": described(columns={"identity": "real"}),
    "vocabularies that are a list": described(vocabularies=[]),
    "vocabularies of many texts": described(vocabularies={"phase": [[5, 2**62]]}),
    "a vocabulary that is not there": described(vocabularies={"phase": [[5, 3]]}),
    "a version of text": described(class_version="x"),
    "keys left out that are none": described(left_out=5),
    "keys left out that are not there": described(left_out=["k" * 32] * 40),
}


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


TABLES: dict[str, Change] = {
    "a dataset": lambda index: index.__setitem__("StoredSimulationData", np.arange(3)),
    "a soft link": lambda index: index.__setitem__(
        "StoredSimulationData", h5py.SoftLink("/index/ForceFieldData")
    ),
    "a link into another file": lambda index: index.__setitem__(
        "StoredSimulationData", h5py.ExternalLink("sound.h5", "/index/StoredSimulationData")
    ),
    "the index": lambda index: index.__setitem__("StoredSimulationData", index),
    "the objects": lambda index: index.__setitem__("StoredSimulationData", index.parent["objects"]),
    "nothing": lambda index: None,
}


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
        group = file[f"objects/{BAD}"].id
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
