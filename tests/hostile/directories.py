"""Directories of objects as a stranger may send them: one object of each is hostile, or its registry is."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simarchive import (
    ForceFieldData,
    LocalFileStorage,
    ObservableArray,
    ObservableFrame,
    PropertyPhase,
    SmirnoffForceFieldSource,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    TrainedModelData,
    unit,
)
from simarchive.storage.evaluator_json import EvaluatorObject, TypedJSON

VICTIM = "a" * 32
SOUND = ("b" * 32, "c" * 32, "d" * 32, "e" * 32)
SECRET = b"SECRET OF SOMEBODY ELSE\n"
REGISTRY = "object_keys.json"

Change = Callable[[Path], object]


def make_directory(place: Path) -> None:
    """Make a directory with one object that is to become hostile, and some that stay sound."""
    run = place.parent / "run"
    (run / "inner").mkdir(parents=True)
    (run / "output.pdb").write_bytes(b"ATOM\n")
    (run / "trajectory.dcd").write_bytes(b"frames")
    (run / "inner" / "notes.txt").write_bytes(b"notes")
    with LocalFileStorage(place) as backend:
        for key, calculation in ((VICTIM, "victim"), (SOUND[0], "sound")):
            backend.store_object(simulation(calculation), run, storage_key=key)
        source = SmirnoffForceFieldSource("<SMIRNOFF/>")
        backend.store_object(ForceFieldData(force_field_source=source), storage_key=SOUND[1])
        users = EvaluatorObject(type_string="my.program.Data", state=TypedJSON({"window": 3}))
        backend.store_object(users, storage_key=SOUND[2])
        model = TrainedModelData(
            name="m", framework="torch", target_property="density", domain="x", metrics={"a": 0.1}
        )
        backend.store_object(model, run, storage_key=SOUND[3])
    shutil.rmtree(run)


def simulation(calculation: str) -> StoredSimulationData:
    density = ObservableArray(np.ones((3, 1)) * unit.gram / unit.milliliter)
    return StoredSimulationData(
        substance=Substance.from_components("O"),
        thermodynamic_state=ThermodynamicState("298.15 K", "1 atm"),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id=calculation,
        force_field_id=SOUND[1],
        coordinate_file_name="output.pdb",
        trajectory_file_name="trajectory.dcd",
        statistical_inefficiency=1.0,
        number_of_molecules=10,
        observables=ObservableFrame({"Density": density}),
    )


# --- what is in the place of a file or folder ---------------------------------------------------------------


def home_of(path: Path) -> Path:
    """Return the folder outside of a hostile directory that nothing may be taken from."""
    return next(parent for parent in path.parents if parent.name == "work") / "home"


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def _hollow(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 43)


IN_PLACE: dict[str, Change] = {
    "a link to a file outside": lambda path: path.symlink_to(home_of(path) / "id_rsa"),
    "a relative link to a file outside": lambda path: path.symlink_to(
        os.path.relpath(home_of(path) / "id_rsa", path.parent)
    ),
    "a link to a folder outside": lambda path: path.symlink_to(home_of(path)),
    "a link by way of another link": lambda path: (
        path.with_name("way").symlink_to(home_of(path) / "id_rsa"),
        path.symlink_to("way"),
    ),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to the process": lambda path: path.symlink_to("/proc/self/environ"),
    "a link that goes round": lambda path: path.symlink_to(path.name),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link of a long name": lambda path: path.symlink_to("x" * 4000),
    "a link to the directory": lambda path: path.symlink_to("."),
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a file of terabytes": _hollow,
}
PLACES = {
    "its document": f"{VICTIM}.json",
    "its folder": VICTIM,
    "one of its files": f"{VICTIM}/trajectory.dcd",
    "a folder in its folder": f"{VICTIM}/inner",
    "a file in a folder in it": f"{VICTIM}/inner/notes.txt",
}


def put_in_place(directory: Path, place: str, change: Change) -> None:
    path = directory / place
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    change(path)


# --- what a document says -----------------------------------------------------------------------------------

WHERE: dict[str, tuple[str, ...]] = {
    "the substance": ("substance",),
    "the components": ("substance", "components"),
    "a SMILES": ("substance", "components", "0", "smiles"),
    "an amount": ("substance", "amounts", "O{solv}", "0", "value"),
    "a unit": ("thermodynamic_state", "temperature", "unit"),
    "a number of a quantity": ("thermodynamic_state", "pressure", "value"),
    "a number": ("number_of_molecules",),
    "a real number": ("statistical_inefficiency",),
    "a reference": ("force_field_id",),
    "the name of a file": ("trajectory_file_name",),
    "the observables": ("observables",),
    "an observable": ("observables", "observables", "Density"),
    "the values of an observable": ("observables", "observables", "Density", "value", "value"),
    "the type of the object": ("@type",),
    "the type of a field": ("substance", "@type"),
}

_ARRAY = '{"@type": "numpy.ndarray", "value": %s}'
SAYS: dict[str, str] = {
    "nothing": "null",
    "a truth": "true",
    "a list": "[]",
    "an object": "{}",
    "a text": '"text"',
    "an empty text": '""',
    "half a character": '"\\ud800"',
    "control characters": '"\\u0000\\u001b]0;title\\u0007"',
    "a way out": '"../../home/id_rsa"',
    "a long text": '"' + "x" * 100_000 + '"',
    "an infinite number": "Infinity",
    "no number": "NaN",
    "a number beyond all": "1e999",
    "a long number": "1" * 5000,
    "a number of 400 digits": "1" * 400,
    "a real number of 400 digits": "1" * 400 + ".5",
    "a negative number": "-1",
    "lists in lists": "[" * 90 + "]" * 90,
    "too many lists in lists": "[" * 5000 + "]" * 5000,
    "objects in objects": '{"a":' * 90 + "1" + "}" * 90,
    "a name twice": '{"a": 1, "a": 2}',
    "a type to import": '{"@type": "os.system", "value": "touch home/executed"}',
    "a type that is a list": '{"@type": ["numpy.ndarray"]}',
    "a type without its fields": '{"@type": "openff.evaluator.unit.Quantity"}',
    "an array of texts": _ARRAY % ('["' + "x" * 50_000 + '"' + ', "y"' * 50_000 + "]"),
    "an array that is not one": _ARRAY % "[[1, 2], [3]]",
    "an array of a dtype of texts": '{"@type": "numpy.ndarray", "value": [1], "dtype": "S2000000000"}',
    "an array of a dtype of arrays": '{"@type": "numpy.ndarray", "value": [1], "dtype": "(999999999,)f8"}',
    "an array of a dtype that is none": '{"@type": "numpy.ndarray", "value": [1], "dtype": "(1,"}',
    "an array of another dtype": '{"@type": "numpy.ndarray", "value": [300.5], "dtype": "int8"}',
    "an empty array of any length": '{"@type": "numpy.ndarray", "value": [], "shape": [0, 99999999999]}',
    "an array of infinite shape": '{"@type": "numpy.ndarray", "value": [1], "shape": [Infinity]}',
    "an array of large numbers": _ARRAY % ("[" + "1" * 400 + "]"),
    "a whole number that is not": '{"@type": "numpy.int64", "value": 1.5}',
    "an infinite whole number": '{"@type": "numpy.int64", "value": Infinity}',
    "a set of sets": '{"@type": "builtins.set", "value": [{"@type": "builtins.set", "value": 3}]}',
    "a power of powers": '"kelvin ** 9 ** 9 ** 9"',
}


def say(directory: Path, where: tuple[str, ...], text: str, key: str = VICTIM) -> None:
    """Write JSON text in the place of one value of a document."""
    path = directory / f"{key}.json"
    document = json.loads(path.read_text())
    node: Any = document
    for name in where[:-1]:
        node = node[int(name) if isinstance(node, list) else name]
    node[where[-1]] = "PLACE"
    path.write_text(json.dumps(document).replace('"PLACE"', text))


def add_victims(directory: Path, keys: list[str]) -> None:
    """Add objects like the one that is to become hostile."""
    document = (directory / f"{VICTIM}.json").read_text()
    for key in keys:
        (directory / f"{key}.json").write_text(document.replace("victim", f"victim {key}"))
        shutil.copytree(directory / VICTIM, directory / key)
        list_key(directory, key)


def own(text: str) -> str:
    """Return the document of an object that only this package knows, with a text in it."""
    fields = '"@type": "simarchive.Document", "data_class": "TrainedModelData", "data_class_version": 1'
    return f"{{{fields}, {text}}}"


TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "half of it": b'{"@type": ',
    "a list": b"[]",
    "a number": b"1",
    "bytes": bytes(range(256)),
    "UTF-16": '{"@type": "a"}'.encode("utf-16"),
    "a surrogate of bytes": b'{"@type": "\xed\xa0\x80"}',
    "zeros": bytes(10_000),
    "brackets": b"[" * 1_000_000,
    "many brackets": b"[" + b"[]," * 2_000_000 + b"0]",
    "many objects": b"[" + b"{}," * 2_000_000 + b"0]",
    "many numbers": b"[" + b"1," * 10_000_000 + b"0]",
    "too long": b'"' + b"x" * (65 << 20) + b'"',
    "a type that is a number": b'{"@type": 7}',
    "no fields": b'{"@type": "openff.evaluator.storage.data.StoredSimulationData"}',
    "a type of another kind": b'{"@type": "numpy.ndarray", "value": [1]}',
    "a type of nobody": b'{"@type": "os.system"}',
    "a field that nobody knows": (
        b'{"@type": "openff.evaluator.storage.data.StoredSimulationData", "__class__": 1}'
    ),
    "its version is a text": own('"data_class_version": "abc", "document": {}').encode(),
    "its version is infinite": (
        b'{"@type": "simarchive.Document", "data_class": "TrainedModelData", "data_class_version": Infinity,'
        b' "document": {}}'
    ),
    "no document": own('"other": 1').encode(),
    "a document that is a list": own('"document": []').encode(),
    "a document of wrong fields": own('"document": {"name": {"a": [1]}, "metrics": 3}').encode(),
}

# An object of a class that a program of the user may have: kept as it is.
OF_A_USERS_CLASS = ("a type of nobody",)

# --- what a registry says -----------------------------------------------------------------------------------

KEYS: dict[str, Any] = {
    "a way out": "../home/secret",
    "an absolute path": "/etc/passwd",
    "a path": f"{VICTIM}/inner",
    "a dot": ".",
    "two dots": "..",
    "nothing": "",
    "a NUL": "a\0b",
    "a terminal's command": "a\x1b[31m\x07",
    "half a character": "\ud800",
    "a line": "a\nb",
    "a long one": "x" * 100_000,
    "a number": 5,
    "a truth": True,
    "no key": None,
    "a list": ["a"],
    "an object": {"a": 1},
    "the registry": "object_keys",
}


def list_key(directory: Path, key: Any) -> None:
    path = directory / REGISTRY
    registry = json.loads(path.read_text())
    registry["object_keys"]["StoredSimulationData"].insert(0, key)
    path.write_text(json.dumps(registry))


REGISTRIES: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]",
    "no keys": b"{}",
    "keys that are a list": b'{"object_keys": []}',
    "keys of a class that are a text": b'{"object_keys": {"ForceFieldData": "abc"}}',
    "keys of a class that are an object": b'{"object_keys": {"ForceFieldData": {"a": 1}}}',
    "brackets": b'{"object_keys": ' + b"[" * 100_000,
    "many brackets": b'{"object_keys": {"A": [' + b"[]," * 2_000_000 + b"0]}}",
    "too long": b'{"object_keys": {"A": ["' + b"x" * (65 << 20) + b'"]}}',
    "UTF-16": '{"object_keys": {}}'.encode("utf-16"),
}


# --- all of them -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostileDirectory:
    """One way in which a directory can be hostile.

    Attributes
    ----------
    kind
        What it has in common with others.
    change
        Makes a sound directory hostile.
    meanwhile
        What another process does with it all the time.
    is_directory
        Whether it still is a directory of objects, most of which are sound.
    expected
        The exit code of an import; None if that depends.
    """

    kind: str
    name: str
    change: Change
    meanwhile: Change | None = None
    is_directory: bool = True
    expected: int | None = None


def _node(kind: int, major: int, minor: int) -> Change:
    return lambda path: os.mknod(path, kind | 0o666, os.makedev(major, minor))


def _deep(path: Path) -> None:
    for _ in range(150):
        path /= "d"
    path.mkdir(parents=True)


def _links_in_a_circle(path: Path) -> None:
    path.symlink_to(path.with_name("second"))
    path.with_name("second").symlink_to(path.with_name("third"))
    path.with_name("third").symlink_to(path)


MORE_IN_PLACE: dict[str, Change] = {
    "a device": _node(stat.S_IFCHR, 1, 5),
    "a device of blocks": _node(stat.S_IFBLK, 7, 200),
    "a folder of folders": _deep,
    "links in a circle": _links_in_a_circle,
    "a link to a socket": lambda path: (_socket(path.with_name("s")), path.symlink_to("s")),
    "a link to a FIFO": lambda path: (os.mkfifo(path.with_name("f")), path.symlink_to("f")),
    "a link upwards": lambda path: path.symlink_to("../.."),
    "a link to the root": lambda path: path.symlink_to("/"),
    "a link to the memory": lambda path: path.symlink_to("/proc/self/mem"),
    "a link to standard input": lambda path: path.symlink_to("/dev/stdin"),
}
REGISTRY_PLACES = {"its registry": REGISTRY, "its own registry": "simarchive_keys.json"}

NAMES: dict[str, bytes] = {
    "an option": b"-rf",
    "a long option": b"--output=home",
    "a line": b"a\nb",
    "a terminal's command": b"\x1b]0;title\x07",
    "other directions": "\u202egnp.exe".encode(),
    "nothing to see": "\u200b\u2060".encode(),
    "no text": b"\xff\xfe",
    "half a character": b"\xed\xa0\x80",
    "dots": b"...",
    "a backslash": b"..\\..\\home",
    "percents": b"%2e%2e%2fhome",
    "a long one": b"x" * 255,
    "a wide one": "\U0001f600".encode() * 63,
    "a space": b" ",
    "a quote": b"';touch executed;'",
    "that of our log": b"a.h5-wal",
}


def _with_name(name: bytes, *, folder: bool) -> Change:
    def change(directory: Path) -> None:
        place = os.path.join(os.fsencode(directory / VICTIM), name)  # noqa: PTH118 - bytes
        if folder:
            os.mkdir(place)  # noqa: PTH102
            place = os.path.join(place, name)  # noqa: PTH118
        with open(place, "wb") as file:  # noqa: PTH123
            file.write(b"content")

    return change


def _grow(directory: Path) -> None:
    path = directory / VICTIM / "trajectory.dcd"
    with path.open("ab") as file:
        if file.tell() < 1 << 20:
            file.write(b"more")


def _shrink(directory: Path) -> None:
    path = directory / VICTIM / "trajectory.dcd"
    path.write_bytes(b"long" * 10_000)
    os.truncate(path, 3)


def _vanish(place: str) -> Change:
    def change(directory: Path) -> None:
        path = directory / place
        path.rename(path.with_name("away"))
        path.with_name("away").rename(path)

    return change


def _exchange(place: str, target: str) -> Change:
    """Exchange a file or folder and a link out of the directory, again and again."""

    def change(directory: Path) -> None:
        path = directory / place
        path.rename(path.with_name("away"))
        path.symlink_to(directory.parent / "home" / target)
        path.unlink()
        path.with_name("away").rename(path)

    return change


MEANWHILE: dict[str, Change] = {
    "a file grows": _grow,
    "a file shrinks": _shrink,
    "a document vanishes": _vanish(f"{VICTIM}.json"),
    "a file vanishes": _vanish(f"{VICTIM}/trajectory.dcd"),
    "a folder vanishes": _vanish(VICTIM),
    "a document becomes a link": _exchange(f"{VICTIM}.json", "secret.json"),
    "a file becomes a link": _exchange(f"{VICTIM}/trajectory.dcd", "id_rsa"),
    "a folder becomes a link": _exchange(VICTIM, "."),
    "a folder in a folder becomes a link": _exchange(f"{VICTIM}/inner", "inner"),
}


def _many_keys(directory: Path) -> None:
    path = directory / REGISTRY
    registry = json.loads(path.read_text())
    registry["object_keys"]["StoredSimulationData"] += [f"{number:032x}" for number in range(100_000)]
    path.write_text(json.dumps(registry))


def _in_place_of_all(change: Change) -> Change:
    def changed(directory: Path) -> None:
        shutil.rmtree(directory)
        change(directory)

    return changed


def hostile_directories() -> Iterator[HostileDirectory]:
    """Yield all hostile directories, kind by kind."""
    in_place = IN_PLACE | MORE_IN_PLACE
    for what, change in in_place.items():
        for place, name in PLACES.items():
            # A file in the place of a folder in the folder is a file, and the other way round.
            is_one_more = what == "a folder of folders" and place == "a folder in its folder"
            yield HostileDirectory(
                "in place",
                f"{what} in the place of {place}",
                lambda directory, name=name, change=change: put_in_place(directory, name, change),
                expected=None if is_one_more else 17,
            )
        for place, name in REGISTRY_PLACES.items():
            yield HostileDirectory(
                "registries in place",
                f"{what} in the place of {place}",
                lambda directory, name=name, change=change: put_in_place(directory, name, change),
            )
        if what not in ("a link to a folder outside", "a folder of folders", "a link upwards"):
            yield HostileDirectory(
                "in place of all", f"{what} as the directory", _in_place_of_all(change), is_directory=False
            )
    for what, data in TEXTS.items():
        yield HostileDirectory(
            "texts",
            f"a document that is {what}",
            lambda directory, data=data: (directory / f"{VICTIM}.json").write_bytes(data),
            expected=None if what in OF_A_USERS_CLASS else 17,
        )
    for where, place in WHERE.items():
        for what, text in SAYS.items():
            yield HostileDirectory(
                "values",
                f"{what} in the place of {where}",
                lambda directory, place=place, text=text: say(directory, place, text),
            )
    for what, key in KEYS.items():
        yield HostileDirectory(
            "keys", f"the key {what}", lambda directory, key=key: list_key(directory, key), expected=17
        )
    yield HostileDirectory("keys", "100,000 keys without objects", _many_keys, expected=17)
    for what, data in REGISTRIES.items():
        yield HostileDirectory(
            "registries",
            f"a registry that is {what}",
            lambda directory, data=data: (directory / REGISTRY).write_bytes(data),
        )
    for what, name in NAMES.items():
        for folder in (False, True):
            yield HostileDirectory(
                "names",
                f"a {'folder' if folder else 'file'} whose name is {what}",
                _with_name(name, folder=folder),
                expected=17 if what in ("no text", "half a character") else 0,
            )
    for what, change in MEANWHILE.items():
        yield HostileDirectory("meanwhile", what, lambda directory: None, change)
