"""What is read is proved: no value comes out that does not match the digests it was stored with."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flipped_bits
import h5py
import numpy as np
import pytest
from blake3 import blake3

from simarchive import (
    CorruptError,
    CorruptMemberError,
    HDF5Storage,
    LocalFileStorage,
    SimulationDataQuery,
    StorageError,
)
from simarchive.container.members import extraction
from simarchive.storage.hdf5.salvage import salvage
from simarchive.storage.hdf5.upkeep import repack

KEY = "run-1"
LIBVER = ("v110", "v110")
Change = Callable[[h5py.Group], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    flipped_bits.build(folder / "a.h5", folder / "files")
    return folder


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "a.h5"
    copy.write_bytes((original / "a.h5").read_bytes())
    return copy


def change(path: Path, change: Change, *, early: bool = False) -> None:
    """Change the object as another HDF5 program does; if `early`, take its digests away first."""
    with h5py.File(path, "r+", libver=LIBVER) as file:
        group = file["objects"][KEY]
        if early:
            del group.attrs["object_summary"]
            edit_document(group, lambda variable: variable.pop("blake3"))
            for dataset in group.values():
                dataset.attrs.pop("member_description_blake3", None)
        change(group)


def write_text(node: Any, name: str, text: str) -> None:
    data = text.encode()
    del node.attrs[name]
    node.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", len(data)))


def edit_document(group: h5py.Group, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit what the document says of each of its variables."""
    document = json.loads(group.attrs["document"])
    for observable in document["observables"].values():
        edit(observable["value"]["value"]["@variable"])
    write_text(group, "document", json.dumps(document, separators=(",", ":")))


def seal(group: h5py.Group) -> None:
    """Give an object the summary that fits its document and attributes as they are."""
    attributes = group.attrs
    line = b"%s %d %d %s %s %s" % (
        group.name.rpartition("/")[2].encode(),
        attributes["data_class_version"],
        attributes["has_ancillary_data"],
        attributes["identity"],
        attributes["stored_at"],
        attributes["data_class"],
    )
    digest = blake3(line + b"\0" + attributes["document"]).hexdigest()
    write_text(group, "object_summary", f"{digest} {line.decode()}")


def test_digests_are_those_of_the_format_page(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        for group in file["objects"].values():
            before = group.attrs["object_summary"]
            seal(group)
            assert group.attrs["object_summary"] == before

            def compare(variable: dict[str, Any], group: h5py.Group = group) -> None:
                content = group[variable["name"]][()].astype(variable["dtype"]).tobytes()
                assert variable["blake3"] == blake3(content).hexdigest()

            if "observables" in json.loads(group.attrs["document"]):
                edit_document(group, compare)
            for dataset in group.values():
                if "member_size" in dataset.attrs:
                    attributes = dataset.attrs
                    masks = np.zeros(len(attributes["member_chunk_crc32"]), "<u4")
                    for number in range(dataset.id.get_num_chunks()):
                        chunk = dataset.id.get_chunk_info(number)
                        masks[chunk.chunk_offset[0] // dataset.chunks[0]] = chunk.filter_mask
                    line = b"%d %s %s %d\n" % (
                        attributes["member_size"],
                        attributes["member_blake3"],
                        attributes["member_codec"],
                        dataset.chunks[0] * dataset.dtype.itemsize,
                    )
                    content = line + attributes["member_chunk_crc32"].tobytes() + masks.tobytes()
                    described = blake3(content).hexdigest().encode()
                    assert attributes["member_description_blake3"] == described


# --- documents and arrays -------------------------------------------------------------------------


def a_value(group: h5py.Group) -> None:
    text = bytes(group.attrs["document"]).decode()
    assert '"value":299' in text
    write_text(group, "document", text.replace('"value":299', '"value":399', 1))


def an_element(group: h5py.Group) -> None:
    group["observables.Density"][3] += 1


def elements_of_another(group: h5py.Group) -> None:
    group["observables.Density"][...] = group["observables.PotentialEnergy"][...]


def a_shape(group: h5py.Group) -> None:
    edit_document(group, lambda variable: variable.update(shape=[199, 1]))


def a_huge_shape(group: h5py.Group) -> None:
    edit_document(group, lambda variable: variable.update(shape=[10**12]))


def a_negative_shape(group: h5py.Group) -> None:
    edit_document(group, lambda variable: variable.update(shape=[-200, -1]))


def a_shape_of_text(group: h5py.Group) -> None:
    edit_document(group, lambda variable: variable.update(shape=["200", 1.0]))


def a_type(group: h5py.Group) -> None:
    edit_document(group, lambda variable: variable.update(dtype="<i8"))


def no_array(group: h5py.Group) -> None:
    del group["observables.Density"]


def another_class(group: h5py.Group) -> None:
    write_text(group, "data_class", "StoredEquilibrationData")


def another_identity(group: h5py.Group) -> None:
    write_text(group, "identity", "0" * 64)


CHANGES = (
    a_value,
    an_element,
    elements_of_another,
    a_shape,
    a_huge_shape,
    a_negative_shape,
    a_shape_of_text,
    a_type,
    no_array,
)
FOR_OTHER_PROGRAMS = (another_class, another_identity)
SEALED = (an_element, a_shape, a_huge_shape, a_negative_shape, a_shape_of_text, a_type, no_array)


def values_of(stored: Any) -> list[np.ndarray[Any, Any]]:
    return [observable.value.magnitude for observable in stored.observables.values()]


def check_refused(path: Path, tmp_path: Path) -> None:
    """Check that the object is refused in every way, and that the others are not touched by that."""
    with HDF5Storage(path, mode="r") as backend:
        with pytest.raises(CorruptError):
            backend.retrieve_object(KEY)
        with pytest.raises(StorageError):
            values_of(backend.load(KEY))
        for matches in backend.query(SimulationDataQuery()).values():
            for key, stored, _ in matches:
                if key == KEY:
                    with pytest.raises(CorruptError):
                        values_of(stored)
        assert backend.open_member(KEY, "output.pdb").read() == b"ATOM  1\n" * 40
        for name, target in (
            ("merged", HDF5Storage(tmp_path / "merged.h5")),
            ("exported", LocalFileStorage(tmp_path / "exported")),
        ):
            with target:
                report = target.update(backend)
                assert list(report.unreadable) == [KEY], name
                assert sorted(target) == sorted(set(backend) - {KEY}), name


@pytest.mark.parametrize(
    ("changed", "early"),
    # Without digests, only the identity digest says what was stored.
    [*itertools.product(CHANGES, [False, True]), *((changed, True) for changed in FOR_OTHER_PROGRAMS)],
    ids=lambda value: value.__name__ if callable(value) else "early" if value else "digests",
)
def test_a_changed_object_is_refused_and_no_copy_makes_it_sound(
    path: Path, tmp_path: Path, changed: Change, early: bool
) -> None:
    change(path, changed, early=early)
    check_refused(path, tmp_path)
    if changed is not no_array:
        repack(path)
        for folder in ("merged.h5", "exported"):
            (tmp_path / folder).rename(tmp_path / f"{folder}-before")
        check_refused(path, tmp_path)


@pytest.mark.parametrize("changed", SEALED, ids=lambda changed: changed.__name__)
def test_arrays_are_compared_with_a_document_that_is_sound(
    path: Path, tmp_path: Path, changed: Change
) -> None:
    def change_and_seal(group: h5py.Group) -> None:
        changed(group)
        seal(group)

    change(path, change_and_seal)
    check_refused(path, tmp_path)


@pytest.mark.parametrize("changed", FOR_OTHER_PROGRAMS, ids=lambda changed: changed.__name__)
def test_a_changed_attribute_for_other_programs_costs_nothing_and_is_named(
    path: Path, tmp_path: Path, changed: Change
) -> None:
    with HDF5Storage(path, mode="r") as backend:
        before = backend.retrieve_object(KEY)[0]
    change(path, changed)
    name = changed.__name__.removeprefix("another_")
    with HDF5Storage(path, mode="r") as backend, HDF5Storage(tmp_path / "merged.h5") as target:
        assert backend.retrieve_object(KEY)[0] == before
        (problem,) = backend.verify().problems
        assert problem.key == KEY
        assert name in problem.message
        assert "it was stored with" in problem.message
        assert not target.update(backend).unreadable
        assert target.verify().ok
    with HDF5Storage(path) as backend:
        assert backend.repair().set_aside == []
        assert backend.verify().ok
        assert backend.retrieve_object(KEY)[0] == before


def test_objects_without_digests_are_read(path: Path, tmp_path: Path) -> None:
    with HDF5Storage(path, mode="r") as backend:
        expected = values_of(backend.retrieve_object(KEY)[0])
    change(path, lambda group: None, early=True)
    with HDF5Storage(path, mode="r") as backend, HDF5Storage(tmp_path / "b.h5") as target:
        for stored in (backend.retrieve_object(KEY)[0], backend.load(KEY)):
            assert all(map(np.array_equal, values_of(stored), expected))
        assert not target.update(backend).unreadable
    with h5py.File(tmp_path / "b.h5", "r") as file:
        assert "object_summary" in file["objects"][KEY].attrs


def test_the_message_names_object_and_array(path: Path) -> None:
    change(path, an_element)
    said = f"array 'observables.Density' of object '{KEY}'.*digest"
    with HDF5Storage(path, mode="r") as backend, pytest.raises(CorruptError, match=said):
        backend.retrieve_object(KEY)
    change(path, a_value)
    with HDF5Storage(path, mode="r") as backend, pytest.raises(CorruptError, match=f"object '{KEY}'.*digest"):
        backend.load(KEY)


# --- descriptions of members ----------------------------------------------------------------------


def set_number(name: str, value: Any) -> Change:
    def changed(group: h5py.Group) -> None:
        dataset = group["files/trajectory.dcd"]
        new = value(dataset.attrs[name])
        del dataset.attrs[name]
        dataset.attrs[name] = new

    return changed


DESCRIPTIONS = {
    "a byte less": set_number("member_size", lambda size: size - np.uint64(1)),
    "other checks": set_number("member_chunk_crc32", lambda crcs: crcs ^ np.uint32(1)),
    "another digest": lambda group: write_text(group["files/trajectory.dcd"], "member_blake3", "0" * 64),
    "another codec": lambda group: write_text(group["files/trajectory.dcd"], "member_codec", "zstd"),
}


@pytest.mark.parametrize("changed", DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_a_changed_description_is_refused(path: Path, tmp_path: Path, changed: Change) -> None:
    change(path, changed)
    with HDF5Storage(path, mode="r") as backend, HDF5Storage(tmp_path / "b.h5") as target:
        with pytest.raises(CorruptMemberError, match=r"trajectory.dcd"):
            backend.open_member(KEY, "trajectory.dcd").read()
        with pytest.raises(CorruptMemberError, match=r"trajectory.dcd"):
            backend.extract(KEY, tmp_path / "out")
        assert list(target.update(backend).unreadable) == [KEY]
        assert (tmp_path / "out" / "output.pdb").exists()
        assert not (tmp_path / "out" / "trajectory.dcd").exists()


# --- links to what is there -----------------------------------------------------------------------


def flip_in_member(path: Path, key: str, name: str, *, header: bool = False) -> None:
    """Flip a bit of the stored bytes of a member, or of the header of its dataset."""
    with h5py.File(path, "r") as file:
        dataset = file["objects"][key]["files"][name].id
        place = h5py.h5o.get_info(dataset).addr + 30 if header else dataset.get_chunk_info(0).byte_offset + 9
    with path.open("r+b") as raw:
        raw.seek(place)
        byte = raw.read(1)[0]
        raw.seek(place)
        raw.write(bytes([byte ^ 4]))


def test_nothing_is_linked_to_what_is_damaged(path: Path, original: Path) -> None:
    flip_in_member(path, KEY, "shared.bin")
    good = bytes(range(256)) * 300
    with HDF5Storage(path) as backend:
        stored = backend.retrieve_object(KEY)[0]
        for number in range(2):
            stored.source_calculation_id = f"another {number}"
            stored.number_of_molecules += 1
            key = backend.store_object(stored, original / "files" / "1", storage_key=f"new-{number}")
            assert backend.open_member(key, "shared.bin").read() == good
        with pytest.raises(CorruptMemberError):
            backend.open_member(KEY, "shared.bin").read()
    with h5py.File(path, "r") as file:
        places = [
            h5py.h5o.get_info(file[f"objects/{key}/files/shared.bin"].id).addr
            for key in (KEY, "new-0", "new-1")
        ]
    assert places[0] != places[1] == places[2]


def test_a_member_is_proved_once_for_many_links(
    path: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    real = extraction.read_stored
    monkeypatch.setattr(extraction, "read_stored", lambda *args: reads.append(args[0].label) or real(*args))
    with HDF5Storage(path) as backend:
        stored = backend.retrieve_object(KEY)[0]
        for number in range(5):
            stored.source_calculation_id = f"another {number}"
            backend.store_object(stored, original / "files" / "1")
    assert len([label for label in reads if "shared.bin" in label]) == 1


@pytest.mark.parametrize("name", ["shared.bin", "output.pdb"])
@pytest.mark.parametrize("header", [False, True])
def test_an_object_that_is_stored_again_is_healed(
    path: Path, original: Path, name: str, header: bool
) -> None:
    with HDF5Storage(path, mode="r") as backend:
        stored = backend.retrieve_object(KEY)[0]
        keys = list(backend)
    flip_in_member(path, KEY, name, header=header)
    with HDF5Storage(path) as backend:
        assert backend.store_object(stored, original / "files" / "1") == KEY
        assert backend.open_member(KEY, name).read() == (original / "files" / "1" / name).read_bytes()
        assert sorted(backend) == sorted(keys)
        report = backend.verify(full=True)
        # An equal file of another object was the same dataset, and stays damaged.
        assert {problem.key for problem in report.problems if problem.is_error} <= {"run-0", "run-2"}
        backend.store_object(backend.retrieve_object("run-0")[0], original / "files" / "0")
        backend.store_object(backend.retrieve_object("run-2")[0], original / "files" / "2")
        assert backend.verify(full=True).ok, backend.verify(full=True).problems


@pytest.mark.parametrize("changed", [a_value, an_element, a_shape, no_array], ids=lambda c: c.__name__)
def test_an_object_whose_values_are_damaged_is_healed(path: Path, original: Path, changed: Change) -> None:
    with HDF5Storage(path, mode="r") as backend:
        stored = backend.retrieve_object(KEY)[0]
        expected, keys = values_of(stored), list(backend)
    change(path, changed)
    with HDF5Storage(path) as backend:
        assert backend.store_object(stored, original / "files" / "1") == KEY
        assert list(backend) == keys
        assert all(map(np.array_equal, values_of(backend.retrieve_object(KEY)[0]), expected))
        assert backend.verify(full=True).ok


def test_what_is_intact_is_kept_as_it_is(path: Path, original: Path) -> None:
    with HDF5Storage(path) as backend:
        before = backend.header(KEY)
        assert backend.store_object(backend.retrieve_object(KEY)[0], original / "files" / "1") == KEY
        assert backend.header(KEY) == before


# --- one damaged member ---------------------------------------------------------------------------


def check_siblings(path: Path, tmp_path: Path, name: str) -> None:
    with HDF5Storage(path, mode="r") as backend:
        infos = {info.name: info for info in backend.list_members(KEY)}
        assert infos[name].fault
        assert not infos["output.pdb"].fault
        assert {info.name for info in backend.list_members(KEY, ["*"])} == set(infos)
        stored, place = backend.retrieve_object(KEY)
        assert values_of(stored)
        assert (place / "output.pdb").read_bytes() == b"ATOM  1\n" * 40
        with pytest.raises(CorruptMemberError):
            (place / name).read_bytes()
        with pytest.raises(CorruptMemberError):
            backend.extract(KEY, tmp_path / "out")
        assert {
            found.relative_to(tmp_path / "out").as_posix()
            for found in (tmp_path / "out").rglob("*")
            if found.is_file()
        } == set(infos) - {name}
        assert any(problem.member == name for problem in backend.verify().problems)


@pytest.mark.parametrize("name", ["trajectory.dcd", "shared.bin"])
def test_a_damaged_header_costs_its_member_alone(
    path: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "simarchive")
    flip_in_member(path, KEY, name, header=True)
    check_siblings(path, tmp_path, name)
    repack(path)
    check_siblings(path, tmp_path, name)
    with HDF5Storage(path) as backend:
        backend.remove_object(KEY)
        assert KEY not in backend
        with HDF5Storage(tmp_path / "b.h5") as target:
            target.update(backend)
            assert target.verify(full=True).ok


@pytest.mark.parametrize("name", ["trajectory.dcd", "shared.bin", "observables.Density"])
def test_an_object_with_a_damaged_header_can_be_removed_and_replaced(
    path: Path, original: Path, name: str
) -> None:
    with HDF5Storage(path, mode="r") as backend:
        stored = backend.retrieve_object(KEY)[0]
    flip_in_header(path, name)
    with HDF5Storage(path) as backend:
        backend.put(stored, backend_files(original), replacing=KEY)
        assert values_of(backend.retrieve_object(KEY)[0])
        backend.remove_object(KEY)
        assert KEY not in backend
        backend.store_object(stored, original / "files" / "1", storage_key=KEY)
        assert not [problem for problem in backend.verify(full=True).problems if problem.key == KEY]


def place_of(name: str) -> str:
    """Return where an array or a file of an object stands in its group."""
    return name if name.startswith("observables.") else f"files/{name}"


def flip_in_header(path: Path, name: str) -> None:
    with h5py.File(path, "r") as file:
        place = h5py.h5o.get_info(file["objects"][KEY][place_of(name)].id).addr + 30
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def backend_files(original: Path) -> Any:
    from simarchive.storage.ancillary import DirectoryFiles

    return DirectoryFiles(original / "files" / "1")


@pytest.mark.parametrize("name", ["observables.Density"])
def test_a_damaged_array_costs_no_file(path: Path, tmp_path: Path, name: str) -> None:
    flip_in_header(path, name)
    with HDF5Storage(path, mode="r") as backend:
        with pytest.raises(StorageError, match=name):
            backend.retrieve_object(KEY)
        assert name not in {info.name for info in backend.list_members(KEY)}
        assert name not in {info.name for info in backend.list_members(KEY, ["*"])}
        assert len(backend.extract(KEY, tmp_path / "out")) == len(backend.list_members(KEY))


# --- the key that an object says it has -------------------------------------------------------------------


def test_an_object_under_the_name_of_another_is_named(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        file.move(f"objects/{KEY}", "objects/elsewhere")
    with HDF5Storage(path, mode="r") as backend:
        assert backend.retrieve_object("elsewhere")[0] is not None
        told = [problem.message for problem in backend.verify().problems if problem.key == "elsewhere"]
        assert any(f"stored under the key {KEY!r}" in message for message in told)


def test_repair_gives_an_object_its_own_key_back(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        file.move(f"objects/{KEY}", "objects/not a key")
    with HDF5Storage(path) as backend:
        assert backend.repair().new_keys == {"not a key": KEY}
        assert backend.retrieve_object(KEY)[0] is not None
        assert backend.verify().ok


def test_another_key_is_noted_with_the_object(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        group = file["objects"][KEY]
        digest, _, rest = group.attrs["object_summary"].decode().split(" ", 2)
        said = f"-no-key {rest}"
        digest = blake3(said.encode() + b"\0" + bytes(group.attrs["document"])).hexdigest()
        write_text(group, "object_summary", f"{digest} {said}")
        file.move(f"objects/{KEY}", "objects/-no-key")
    with HDF5Storage(path) as backend:
        (key,) = backend.repair().new_keys.values()
        assert key != "-no-key"
        assert backend.retrieve_object(key)[0] is not None
        assert backend.verify().ok


def test_objects_without_list_and_index_have_their_keys(path: Path, tmp_path: Path) -> None:
    with HDF5Storage(path, mode="r") as backend:
        keys = sorted(backend)
    with h5py.File(path, "r+", libver=LIBVER) as file:
        del file["index"]
        addresses = [h5py.h5o.get_info(file["objects"].id).addr]
    with path.open("r+b") as raw:
        raw.seek(addresses[0])
        raw.write(bytes(16))
    report = salvage(path, tmp_path / "new.h5")
    assert report.new_keys == {}
    with HDF5Storage(tmp_path / "new.h5") as backend:
        # Of what was removed before, the file may still have the bytes.
        assert [key for key in sorted(backend) if not key.startswith("removed-")] == keys
        assert backend.verify().ok
