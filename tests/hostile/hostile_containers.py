"""Containers that are made to do damage: what stands in them that no program of ours writes, and where.

A container is sound, but for one thing, which is made by plain h5py or byte by byte. `containers` gives all
of them by name; the tables of kinds are also used one by one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from simarchive import HDF5Storage, SmirnoffForceFieldSource
from simarchive.journal.superblock import lookup3
from simarchive.testing.sample_objects import simulation, write_files

BAD, GOOD = "bad", "good"
Change = Callable[[h5py.Group], object]
Make = Callable[[Path], object]


def sound_container(place: Path) -> Path:
    """Return a new container with two simulations, `BAD` and `GOOD`, and a force field."""
    with HDF5Storage(place / "sound.h5") as backend:
        for key in (BAD, GOOD):
            files = write_files(place / key, trajectory=key.encode() * 1000)
            backend.store_object(simulation(key), files, storage_key=key)
        backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF></SMIRNOFF>"))
    return place / "sound.h5"


def edit(path: Path, change: Callable[[h5py.File], object]) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110"), track_order=True) as file:
        change(file)


def text(node: h5py.HLObject, name: str, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    if name in node.attrs:
        del node.attrs[name]
    node.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def unproved(group: h5py.Group) -> None:
    """Remove the digests of an object, as in early containers: else nothing else would be looked at."""
    group.attrs.pop("object_summary", None)
    place = group["files"]
    for name in place:
        if place.get(name, getclass=True, getlink=True) is h5py.HardLink and name in place:
            with contextlib.suppress(KeyError):
                del place[name].attrs["member_description_blake3"]


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


IN_SUMMARY = ("data_class", "data_class_version", "identity", "stored_at", "has_ancillary_data")


def setting(name: str, kind: str, child: str = "") -> Change:
    """Return a change of an attribute; one that the summary has, too, is read where there is no summary."""

    def change(group: h5py.Group) -> None:
        attributes = (group[child] if child else group).attrs
        if name in IN_SUMMARY:
            attributes.pop("object_summary", None)
        attributes[name] = ATTRIBUTES[kind]()

    return change


def of_class(name: str) -> Change:
    def change(group: h5py.Group) -> None:
        group.attrs.pop("object_summary", None)
        text(group, "data_class", name)

    return change


# --- arrays and files -------------------------------------------------------------------------------------


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
        name, shape=(10**12,), maxshape=(None,), dtype="f8", chunks=(1024,)
    ),
    "8 TB": lambda group, name: group.create_dataset(name, shape=(10**12,), dtype="f8"),
    "8 TB compressed": lambda group, name: group.create_dataset(
        name, shape=(10**12,), maxshape=(None,), dtype="f8", chunks=(1024,), compression="gzip"
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


# --- documents --------------------------------------------------------------------------------------------


def field(**content: object) -> Change:
    def change(group: h5py.Group) -> None:
        document = json.loads(group.attrs["document"])
        text(group, "document", json.dumps({**document, **content}))

    return change


def array(**content: object) -> Change:
    return field(zzz={"@array": content})


def tag(tag: str, value: object) -> Change:
    return field(zzz={tag: value})


def through(link: Callable[[h5py.Group], Any], name: str, shape: list[int]) -> Change:
    """Declare an array by a path, whose first step is a link of the object."""

    def change(group: h5py.Group) -> None:
        group["way"] = link(group)
        tag("@variable", {"name": f"way/{name}", "dtype": "<f8", "shape": shape})(group)

    return change


WAYS: dict[str, Change] = {
    "through a link into another file": through(lambda _: h5py.ExternalLink("other.h5", "/"), "secret", [40]),
    "through a link to a secret": through(
        lambda _: h5py.ExternalLink("../outside/other.h5", "/"), "secret", [600]
    ),
    "through a soft link": through(
        lambda _: h5py.SoftLink(f"/objects/{GOOD}"), "observables.PotentialEnergy", [40, 1]
    ),
    "through the objects": through(
        lambda group: group.parent, f"{GOOD}/observables.PotentialEnergy", [40, 1]
    ),
}
VARIABLE = {"name": "observables.PotentialEnergy", "dtype": "<f8", "shape": [40, 1]}
DOCUMENTS: dict[str, Change] = {
    **WAYS,
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
    "a class that nobody knows": of_class("Unknown"),
    "a class of another kind": of_class("ForceFieldData"),
    "a version below": lambda group: group.attrs.__setitem__("data_class_version", np.int64(-5)),
    "a version above": lambda group: group.attrs.__setitem__("data_class_version", np.int64(2**62)),
    "empty folders that are none": lambda group: text(group, "member_empty_folders", "5"),
    "empty folders of numbers": lambda group: text(group, "member_empty_folders", "[1]"),
    "empty folders that lead out": lambda group: text(group, "member_empty_folders", '["../../out"]'),
    "empty folders that are deep": lambda group: text(group, "member_empty_folders", "[" * 9999),
}

LARGE_DOCUMENTS: dict[str, Change] = {
    "60 MB of empty lists": lambda group: text(group, "document", '{"a":[' + "[]," * 20_000_000 + "1]}"),
    "60 MB of keys": lambda group: text(
        group, "document", "{" + ",".join(f'"{number:x}":1' for number in range(4_000_000)) + "}"
    ),
    "60 MB of one text": lambda group: text(group, "document", '{"a":"' + "\\u00e9" * 10_000_000 + '"}'),
    "60 MB of base64": lambda group: text(
        group,
        "document",
        '{"a":{"@array":{"dtype":"<f8","shape":[5000000],"base64":"' + "A" * 53_333_336 + '"}}}',
    ),
}


# --- the index --------------------------------------------------------------------------------------------


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


# --- whole containers, each with one thing of a stranger --------------------------------------------------


def containers() -> dict[str, Make]:
    """Return what makes a sound container at a path hostile, by a name that says how."""
    return {
        **_of_object("document", DOCUMENTS | LARGE_DOCUMENTS),
        **_of_file(
            "table", {name: _at("index/StoredSimulationData", change) for name, change in INDEXES.items()}
        ),
        **_of_file("tables", {name: _table_change(change) for name, change in TABLES.items()}),
        **_of_file("key", {ascii(key): _renamed("objects", BAD, key) for key in STRANGE_KEYS}),
        **_of_file("file name", {ascii(name): _renamed_file(name) for name in STRANGE_NAMES}),
        **_of_file(
            "long file name", {ascii(name): _long_name(name) for name in ("../x", "/etc/x", "a\0b", "")}
        ),
        **{f"bytes: {name}": make for name, make in BYTES.items()},
        **{f"log: {name}": make for name, make in LOGS.items()},
        **{f"place: {name}": make for name, make in PLACES.items()},
        **_datasets(),
        **_links(),
        **_attributes(),
    }


def _of_file(place: str, changes: dict[str, Callable[[h5py.File], object]]) -> dict[str, Make]:
    return {f"{place}: {name}": _editing(change) for name, change in changes.items()}


def _editing(change: Callable[[h5py.File], object]) -> Make:
    return lambda path: edit(path, change)


def _at(place: str, change: Change) -> Callable[[h5py.File], object]:
    return lambda file: change(file[place])


def _table_change(change: Change) -> Callable[[h5py.File], object]:
    def replace(file: h5py.File) -> None:
        del file["index/StoredSimulationData"]
        change(file["index"])

    return replace


def _of_object(place: str, changes: dict[str, Change]) -> dict[str, Make]:
    def changed(change: Change) -> Callable[[h5py.File], object]:
        def make(file: h5py.File) -> None:
            unproved(file[f"objects/{BAD}"])
            change(file[f"objects/{BAD}"])

        return make

    return _of_file(place, {name: changed(change) for name, change in changes.items()})


# Of what is read: the root, the objects, one object, an array, a file, a table.
_ATTRIBUTES_OF = {
    "/": ("simarchive_format", "container_id", "readme"),
    "objects": ("data_classes", "lost_links"),
    f"objects/{BAD}": (
        *("document", "data_class", "data_class_version", "identity", "stored_at", "object_summary"),
        *("has_ancillary_data", "member_empty_folders", "lost_members"),
    ),
    f"objects/{BAD}/observables.PotentialEnergy": ("units", "DIMENSION_LIST", "pint_units"),
    f"objects/{BAD}/files/trajectory.dcd": (
        *("member_size", "member_blake3", "member_codec", "member_chunk_crc32", "member_description_blake3"),
    ),
    "index/StoredSimulationData": ("table", "tail", "segments", "summaries"),
    "dim_1": ("_Netcdf4Dimid", "CLASS"),
    f"objects/{BAD}/frame": ("CLASS", "NAME"),
    f"objects/{BAD}/files": ("member_size", "member_name_0123456789abcdef"),
}
_MORE_ATTRIBUTES: dict[str, Callable[[h5py.AttributeManager, str], object]] = {
    "lists of integers": lambda attrs, name: attrs.create(name, np.arange(3), dtype=h5py.vlen_dtype("i4")),
    "a reference": lambda attrs, name: attrs.create(name, h5py.Reference(), dtype=h5py.ref_dtype),
    "a reference to a region": lambda attrs, name: attrs.create(
        name, h5py.RegionReference(), dtype=h5py.regionref_dtype
    ),
    "one of a few": lambda attrs, name: attrs.create(name, 1, dtype=h5py.enum_dtype({"a": 0, "b": 1})),
    "an array as one element": lambda attrs, name: attrs.create(name, np.zeros((), "(1000,)u8")),
    "opaque bytes": lambda attrs, name: attrs.create(name, np.void(b"x" * 40)),
    "a text of 60 MB": lambda attrs, name: attrs.create(
        name, b"[" * 60_000_000, dtype=h5py.string_dtype("utf-8", 60_000_000)
    ),
    "a long text of any length": lambda attrs, name: attrs.create(
        name, "[" * 60_000_000, dtype=h5py.string_dtype()
    ),
    "control characters": lambda attrs, name: attrs.create(
        name, np.bytes_(b"\x1b]0;x\x07\x9b31m\xe2\x80\xae")
    ),
}


def _attributes() -> dict[str, Make]:
    made: dict[str, Make] = {}
    for place, names in _ATTRIBUTES_OF.items():
        for number, name in enumerate(names):
            kinds = [*ATTRIBUTES, *_MORE_ATTRIBUTES]
            # Each kind at least once for each place, and for what is read first all kinds.
            for kind in kinds if number < 2 else kinds[number :: len(names) // 2 or 1]:
                made[f"attribute {place} {name}: {kind}"] = _editing(_attribute_change(place, name, kind))
    return made


def _attribute_change(place: str, name: str, kind: str) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        node = file[place]
        node.attrs.pop(name, None)
        if kind in ATTRIBUTES:
            node.attrs[name] = ATTRIBUTES[kind]()
        else:
            _MORE_ATTRIBUTES[kind](node.attrs, name)
        if name != "object_summary":
            file[f"objects/{BAD}"].attrs.pop("object_summary", None)
        if name != "member_description_blake3":
            file[f"objects/{BAD}/files/trajectory.dcd"].attrs.pop("member_description_blake3", None)

    return change


# Paths as they are read from the directory of the container.
_OUTSIDE = ("../outside/secret", "../outside/other.h5")


def _virtual_of_secret(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((40,), "f8")
    layout[:] = h5py.VirtualSource(_OUTSIDE[1], "secret", (40,))
    group.create_virtual_dataset(name, layout)


def _bytes_of_secret(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, shape=(1000,), dtype="u1", external=[(_OUTSIDE[0], 0, 1000)])


def _filter_with(number: int, *options: int) -> Callable[[h5py.Group, str], object]:
    def change(group: h5py.Group, name: str) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((40,))
        properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, options)
        space = h5py.h5s.create_simple((40,))
        data = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F64LE, space, properties)
        data.write_direct_chunk((0,), b"\x78\x9c" + bytes(318), 0)

    return change


def _compact(group: h5py.Group, name: str) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((1000,))
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.STD_U8LE, space, properties)


DATASETS: dict[str, Callable[[h5py.Group, str], object]] = {
    **ARRAYS,
    "external bytes of a secret": _bytes_of_secret,
    "external values of a secret": lambda group, name: group.create_dataset(
        name, shape=(40, 1), dtype="f8", external=[(_OUTSIDE[0], 0, 320)]
    ),
    "external values of all kinds": lambda group, name: group.create_dataset(
        name,
        shape=(40, 1),
        dtype="f8",
        external=[("/etc/passwd", 0, 100), ("/dev/zero", 0, h5py.h5f.UNLIMITED)],
    ),
    "virtual values of a secret": _virtual_of_secret,
    "a link to a secret": lambda group, name: group.__setitem__(
        name, h5py.ExternalLink(_OUTSIDE[1], "secret")
    ),
    "a link to the bytes of a secret": lambda group, name: group.__setitem__(
        name, h5py.ExternalLink(_OUTSIDE[1], "bytes")
    ),
    "compact bytes": _compact,
    "bytes in one piece": lambda group, name: group.create_dataset(name, data=np.zeros(3000, "u1")),
    "no length": lambda group, name: group.create_dataset(
        name, shape=(0,), dtype="u1", chunks=(1,), maxshape=(None,)
    ),
    "a length without width": lambda group, name: group.create_dataset(
        name, shape=(2**40, 0), dtype="f8", chunks=(64, 64), maxshape=(None, None)
    ),
    "64 TiB of bytes": lambda group, name: group.create_dataset(
        name, shape=(64 << 40,), dtype="u1", chunks=(1 << 20,), maxshape=(None,)
    ),
    "8 TB in chunks that are listed": lambda group, name: group.create_dataset(
        name, shape=(10**12,), dtype="f8", chunks=(65536,)
    ),
    "chunks of 4 GB": lambda group, name: group.create_dataset(
        name, shape=(2**40,), dtype="u1", chunks=(2**32 - 1,), maxshape=(None,)
    ),
    "a GB of zeros in a few bytes": lambda group, name: group.create_dataset(
        name, data=np.zeros(2**26), chunks=(2**22,), compression="gzip", compression_opts=9
    ),
    "thirty axes": lambda group, name: group.create_dataset(name, data=np.zeros((1,) * 30)),
    "deflate of level 99": _filter_with(1, 99),
    "shuffle of 2**31": _filter_with(2, 2**31),
    "szip of nonsense": _filter_with(4, 2**31, 2**31, 1, 1),
    "scale and offset of nonsense": _filter_with(6, *range(20)),
    "n bits of nonsense": _filter_with(5, *[2**31] * 20),
    "a filter of many options": _filter_with(32015, *range(4000)),
    "texts in compounds in lists": lambda group, name: group.create_dataset(
        name, shape=(3,), dtype=h5py.vlen_dtype(np.dtype([("a", h5py.string_dtype()), ("b", "i4")]))
    ),
}


def _datasets() -> dict[str, Make]:
    made: dict[str, Make] = {}
    for place in (
        f"objects/{BAD}/observables.PotentialEnergy",
        f"objects/{BAD}/files/trajectory.dcd",
        f"objects/{BAD}/frame",
        f"objects/{BAD}/files",
        "dim_1",
    ):
        for kind in DATASETS:
            made[f"dataset {place}: {kind}"] = _editing(_dataset_change(place, kind))
    return made


def _dataset_change(place: str, kind: str) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        unproved(file[f"objects/{BAD}"])
        parent, _, name = place.rpartition("/")
        attributes = dict(file[place].attrs)
        group = file[parent] if parent else file
        del group[name]
        DATASETS[kind](group, name)
        with contextlib.suppress(Exception):  # what HDF5 itself refuses is no change
            for attribute, value in attributes.items():
                group[name].attrs[attribute] = value
            if "member_size" in attributes:
                group[name].attrs["member_chunk_crc32"] = np.zeros(group[name].id.get_num_chunks(), "u4")

    return change


# Where a link stands, and what may stand there.
_LINKS: dict[str, Callable[[h5py.File], Any]] = {
    "a link to nowhere": lambda file: h5py.SoftLink("/nowhere"),
    "a link to itself": lambda file: h5py.SoftLink("."),
    "a link upwards": lambda file: h5py.SoftLink("/"),
    "a link to a secret": lambda file: h5py.ExternalLink(_OUTSIDE[1], "/objects/secret"),
    "a link to secrets": lambda file: h5py.ExternalLink(_OUTSIDE[1], "/objects"),
    "a link to a device": lambda file: h5py.ExternalLink("/dev/zero", "/"),
    "a link to itself by its name": lambda file: h5py.ExternalLink("a.h5", "/objects"),
    "the root": lambda file: file["/"],
    "the objects": lambda file: file["objects"],
    "another object": lambda file: file[f"objects/{GOOD}"],
    "the index": lambda file: file["index"],
    "a file of another object": lambda file: file[f"objects/{GOOD}/files/trajectory.dcd"],
    "a type": lambda file: np.dtype("f8"),
    "numbers": lambda file: np.arange(5),
}
_PLACES_OF_LINKS = (
    *("objects", "index", "set_aside", "staging", "index/members", "index/StoredSimulationData"),
    *(
        "objects/new",
        f"objects/{BAD}",
        f"objects/{BAD}/new",
        f"objects/{BAD}/files",
        f"objects/{BAD}/frame",
        f"objects/{BAD}/files/output.pdb",
    ),
)


def _links() -> dict[str, Make]:
    def put(place: str, kind: str) -> Callable[[h5py.File], object]:
        def change(file: h5py.File) -> None:
            thing = _LINKS[kind](file)
            if place in file:
                del file[place]
            file[place] = thing

        return change

    made = {f"{place}: {kind}": _editing(put(place, kind)) for place in _PLACES_OF_LINKS for kind in _LINKS}
    return made | _of_file("objects", {name: _at("objects", change) for name, change in LINKS.items()})


STRANGE_KEYS: tuple[str, ...] = (
    *(
        "--output",
        "-",
        "-rf",
        ".hidden",
        "a b",
        " ",
        "a\tb",
        "a\nb",
        "a\x1b[2Jb",
        "a\x9bb",
        "\u202ea",
        "a\u200bb",
    ),
    *(
        "k" * 300,
        "k" * 60_000,
        "é",
        "e\u0301",
        "%2e%2e",
        "~",
        "~root",
        "$(id)",
        "a;b",
        "a'b",
        'a"b',
        "*",
        "a\\b",
    ),
    *("%s%n", "{0}", "[red]x[/red]", "C:", "con", "nul.h5", "a:b", "\ufeffx", "\ufffe", "0" * 32, "..."),
)
STRANGE_NAMES: tuple[str, ...] = (
    *(
        "%2E%2E%2Fescaped",
        "..%2Fescaped",
        "..%2F..%2Foutside%2Fsecret",
        "%2Fetc%2Fescaped",
        "a%2F..%2F..%2Fescaped",
    ),
    *(
        "a%2F%2Fb",
        "%2F",
        "a%2F",
        "%00",
        "a%00b",
        "%",
        "%zz",
        "%2",
        "%E9",
        "%ff%fe",
        "...",
        "a%0Ab",
        "a%1B[2Jb",
    ),
    *(
        "-rf",
        "--output",
        " a",
        "a ",
        "a\nb",
        "a\x1b[2Jb",
        "\u202ea",
        "n" * 300,
        "n" * 60_000,
        "output.pdb%2Fa",
    ),
    *("nested%2Fdeep", "%2e", "OUTPUT.PDB", "%6Futput.pdb", "n~0123456789abcdef", "%5C..%5Cx", "C:%2Fx"),
)


def _renamed(place: str, old: str, new: str) -> Callable[[h5py.File], object]:
    return lambda file: file[place].move(old, new)


def _renamed_file(name: str) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        unproved(file[f"objects/{BAD}"])
        file[f"objects/{BAD}/files"].move("trajectory.dcd", name)

    return change


def _long_name(name: str) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        unproved(file[f"objects/{BAD}"])
        group = file[f"objects/{BAD}/files"]
        group.move("trajectory.dcd", "n" * 238 + "~0123456789abcdef")
        text(group, "member_name_0123456789abcdef", name or " ")

    return change


# --- bytes of the file, of its log, and what lies in their place ------------------------------------------


def _patched(offset: int, data: bytes) -> Make:
    def make(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset if offset >= 0 else max(0, path.stat().st_size + offset))
            file.write(data)

    return make


def _repacked(**options: Any) -> Make:
    """Make the same tree in a file of another kind."""

    def make(path: Path) -> None:
        with h5py.File(path) as old, h5py.File(path.with_name("new"), "w", **options) as new:
            for name in old:
                old.copy(name, new)
            for name, value in old.attrs.items():
                new.attrs[name] = value
        path.with_name("new").rename(path)

    return make


def _cut(n_bytes: int) -> Make:
    return lambda path: os.truncate(path, max(0, path.stat().st_size - n_bytes))


def _crc_of_superblock(change: Callable[[bytearray], object]) -> Make:
    """Change the superblock, and give it a check that fits, as a program would."""

    def make(path: Path) -> None:
        data = bytearray(path.read_bytes())
        change(data)
        struct.pack_into("<I", data, 44, lookup3(bytes(data[:44])))
        path.write_bytes(data)

    return make


BYTES: dict[str, Make] = {
    "a user block": lambda path: path.write_bytes(bytes(512) + path.read_bytes()),
    "a user block that is a script": lambda path: path.write_bytes(
        b"#!/bin/sh\n".ljust(2048, b"\0") + path.read_bytes()
    ),
    "two signatures": lambda path: path.write_bytes(path.read_bytes()[:512] + path.read_bytes()),
    "nothing": lambda path: path.write_bytes(b""),
    "the signature": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "64 TiB at its end": lambda path: os.truncate(path, 64 << 40),
    "64 TiB and no superblock": lambda path: (_patched(8, bytes(40))(path), os.truncate(path, 64 << 40)),
    "8 GiB at its end": lambda path: os.truncate(path, 8 << 30),
    "one byte less": _cut(1),
    "100 bytes less": _cut(100),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "bytes at its end": lambda path: path.write_bytes(path.read_bytes() + b"x" * 5000),
    "version 99 of the superblock": _patched(8, b"\x63"),
    "flags of a writer": _crc_of_superblock(lambda data: data.__setitem__(11, 5)),
    "all flags": _crc_of_superblock(lambda data: data.__setitem__(11, 255)),
    "offsets of 255 bytes": _crc_of_superblock(lambda data: data.__setitem__(9, 255)),
    "offsets of 0 bytes": _crc_of_superblock(lambda data: data.__setitem__(9, 0)),
    "an end of 2**63": _crc_of_superblock(lambda data: struct.pack_into("<Q", data, 28, 2**63)),
    "an end of 2**64 - 1": _crc_of_superblock(lambda data: struct.pack_into("<Q", data, 28, 2**64 - 1)),
    "an end of 100": _crc_of_superblock(lambda data: struct.pack_into("<Q", data, 28, 100)),
    "a root at 2**62": _crc_of_superblock(lambda data: struct.pack_into("<Q", data, 36, 2**62)),
    "a root at the superblock": _crc_of_superblock(lambda data: struct.pack_into("<Q", data, 36, 0)),
    "a base at 4096": _crc_of_superblock(lambda data: struct.pack_into("<Q", data, 12, 4096)),
    "an extension at the superblock": _crc_of_superblock(lambda data: struct.pack_into("<Q", data, 20, 0)),
    "a file of the first version": _repacked(libver="earliest"),
    "a file of the latest version": _repacked(libver="latest"),
    "a file in pages": _repacked(fs_strategy="page", fs_persist=True, fs_page_size=512),
    "a file of aggregates": _repacked(fs_strategy="aggregate"),
    "a user block of HDF5": _repacked(userblock_size=1 << 20),
    "a user block of the first version": _repacked(libver="earliest", userblock_size=512),
}


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _true_log(path: Path) -> bytes:
    """Return the log that a killed process leaves, and leave it."""
    pid = os.fork()
    if pid == 0:
        backend = HDF5Storage(path)
        backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF><!-- pending --></SMIRNOFF>"))
        os._exit(0)
    os.waitpid(pid, 0)
    return _log(path).read_bytes()


def _changed_log(change: Callable[[bytearray], object]) -> Make:
    def make(path: Path) -> None:
        data = bytearray(_true_log(path))
        change(data)
        _log(path).write_bytes(data)

    return make


def _forged_log(*, count: int = 1, end: int = 1 << 20, base_end: int | None = None, page: int = 0) -> Make:
    """Make a log whose checks all fit, as a program would that knows the format."""

    def make(path: Path) -> None:
        from dataclasses import replace

        from simarchive.journal import frames

        data = _true_log(path)
        header = frames.Header.from_bytes(data[: frames.SECTOR_BYTES], str(path))
        assert header is not None
        if base_end is not None:
            header = replace(header, base_end=base_end)
        head = frames.Head(frames.COMMIT, 1, 1, end, count)
        frame = bytearray(head.to_bytes() + bytes(frames.DIGEST_BYTES)).ljust(frames.PAGE_BYTES, b"\0")
        struct.pack_into("<Q", frame, frames.HEAD_BYTES, page)
        rest = data[frames.SECTOR_BYTES : frames.FRAMES_AT]
        _log(path).write_bytes(header.to_bytes() + rest + bytes(frame) + bytes(frames.PAGE_BYTES))

    return make


LOGS: dict[str, Make] = {
    "nothing": lambda path: _log(path).write_bytes(b""),
    "random bytes": lambda path: _log(path).write_bytes(os.urandom(20_000)),
    "zeros": lambda path: _log(path).write_bytes(bytes(20_000)),
    "64 TiB": lambda path: (_log(path).write_bytes(b"x"), os.truncate(_log(path), 64 << 40)),
    "a directory": lambda path: _log(path).mkdir(),
    "a pipe": lambda path: os.mkfifo(_log(path)),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(_log(path))),
    "a link to a secret": lambda path: _log(path).symlink_to(path.parent / _OUTSIDE[0]),
    "a link to nowhere": lambda path: _log(path).symlink_to(path.parent / "../outside/new"),
    "a link to a device": lambda path: _log(path).symlink_to("/dev/zero"),
    "a link to the container": lambda path: _log(path).symlink_to(path.name),
    "a second name of a secret": lambda path: os.link(path.parent / _OUTSIDE[0], _log(path)),
    "the container itself": lambda path: os.link(path, _log(path)),
    "a true one": _true_log,
    "one of another container": lambda path: (
        _log(path).write_bytes(_true_log(path.with_name("sound.h5"))),
        _log(path.with_name("sound.h5")).unlink(),
    ),
    "one without a header": _changed_log(lambda data: data.__setitem__(slice(0, 512), bytes(512))),
    "one that is cut": _changed_log(lambda data: data.__delitem__(slice(6000, None))),
    "other pages": _changed_log(lambda data: data.__setitem__(slice(9000, 9100), bytes(100))),
    "a count of 2**60": _forged_log(count=1 << 60),
    "a count of nothing": _forged_log(count=0),
    "an end of 2**62": _forged_log(end=1 << 62),
    "an end of 0": _forged_log(end=0),
    "a base of 2**62": _forged_log(base_end=1 << 62),
    "a page at 2**52": _forged_log(page=1 << 52),
    "a page at 2**63": _forged_log(page=1 << 63),
    "the end of the container": lambda path: (_true_log(path), os.truncate(path, 4096)),
}


def _replaced(make: Make) -> Make:
    def replace(path: Path) -> None:
        path.rename(path.with_name("true.h5"))
        make(path)

    return replace


PLACES: dict[str, Make] = {
    "a pipe": _replaced(os.mkfifo),
    "a directory": _replaced(lambda path: path.mkdir()),
    "a socket": _replaced(lambda path: socket.socket(socket.AF_UNIX).bind(str(path))),
    "a link to it": _replaced(lambda path: path.symlink_to("true.h5")),
    "a link to nowhere": _replaced(lambda path: path.symlink_to("nowhere.h5")),
    "a link to itself": _replaced(lambda path: path.symlink_to(path.name)),
    "a link to a device": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to a secret": _replaced(lambda path: path.symlink_to("../outside/secret")),
    "a link to a container of secrets": _replaced(lambda path: path.symlink_to("../outside/other.h5")),
    "a second name": lambda path: os.link(path, path.with_name("second.h5")),
    "a target that is a link": lambda path: (path.parent / "merged.h5").symlink_to("../outside/new.h5"),
    "a target that is a link to a secret": lambda path: (path.parent / "subset.h5").symlink_to(
        "../outside/secret"
    ),
    "a directory that is a link": lambda path: (path.parent / "exported").symlink_to("../outside"),
    "a program": lambda path: path.chmod(0o7777),
    "nobody's": lambda path: os.chown(path, 65534, 65534) if os.geteuid() == 0 else None,
}
