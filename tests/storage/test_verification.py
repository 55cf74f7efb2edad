"""verify reports whatever it finds, counts what it could not check, and goes on to the end."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from early_tables import forget_checks

from simarchive import (
    BaseStoredData,
    ForceFieldData,
    HDF5Storage,
    StorageIOError,
    TLeapForceFieldSource,
    register_data_class,
)
from simarchive.container import rescue
from simarchive.container.container import Container
from simarchive.container.contents import Contents
from simarchive.container.index import IndexTable
from simarchive.container.layout import SCHEMA_PREFIX
from simarchive.data import registry
from simarchive.journal.files import Files
from simarchive.storage.hdf5 import verification
from simarchive.storage.hdf5.verification import VerificationReport
from simarchive.testing.sample_objects import simulation, write_files

LIBVER = ("v110", "v110")
NAME = "VerifiedThing"
LARGE = b"\x00\x01\x02\x03" * 30_000  # large enough for the table of shared files
DAMAGED = ("files-2", "trajectory.dcd")


@register_data_class(NAME, version=1)
class Thing(BaseStoredData):
    label: str
    number: int

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return False


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a container in which the last file of the last object is damaged."""
    folder = tmp_path_factory.mktemp("verification")
    path = folder / "made.h5"
    with HDF5Storage(path, durability="close", codec="raw") as backend:
        for some in (range(70), range(70, 80)):
            with backend.transaction():
                for number in some:
                    backend.store_object(
                        Thing(label=f"l{number}", number=number), storage_key=f"thing-{number}"
                    )
        force_field = ForceFieldData(force_field_source=TLeapForceFieldSource())
        backend.store_object(force_field, storage_key="f" * 32)
        for number in range(3):
            files = write_files(folder / f"files-{number}", LARGE[: -1 - number % 2])
            backend.store_object(simulation(str(number)), files, storage_key=f"files-{number}")
        assert backend.verify(full=True).problems == []
        # Stored last, so that whatever ends a verification early misses it.
        (files / "trajectory.dcd").write_bytes(b"the last one" * 9000)
        backend.remove_object("files-2")
        backend.store_object(simulation("2"), files, storage_key="files-2")
    with h5py.File(path) as file:
        offset = file["/".join(["objects", DAMAGED[0], "files", DAMAGED[1]])].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(offset + 10)
        raw.write(b"!")
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "verified.h5"))


def verified(path: Path) -> VerificationReport:
    with HDF5Storage(path, mode="r") as backend:
        report = backend.verify()
    json.dumps(report.as_dict(), ensure_ascii=False).encode()
    assert not report.ok
    assert DAMAGED in {(problem.key, problem.member) for problem in report.problems}, "it went to the end"
    return report


def found_in(report: VerificationReport) -> list[verification.Problem]:
    """Return all problems but that of every container here."""
    return [problem for problem in report.problems if (problem.key, problem.member) != DAMAGED]


def test_what_is_damaged_in_every_container_here_is_one_file(path: Path) -> None:
    report = verified(path)
    assert found_in(report) == []
    assert (report.n_objects, report.n_members, report.n_not_checked) == (84, 9, 0)


def test_rows_that_were_replaced_are_where_they_should_be(path: Path) -> None:
    with HDF5Storage(path) as backend, backend.transaction():
        for number in (100, 101):
            backend.store_object(Thing(label="new", number=number), storage_key=f"thing-{number}")
        for number in (40, 3, 75):
            # Rows of a segment come behind newer ones.
            backend._store_object(Thing(label="other", number=number), f"thing-{number}")
        assert found_in(backend.verify()) == []
    assert found_in(verified(path)) == []


# --- what other programs leave in a file --------------------------------------------------------

Change = Callable[[h5py.File], object]
TABLE = f"index/{NAME}"


def attribute(place: str, name: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        file[place].attrs.pop(name, None)
        file[place].attrs[name] = value

    return change


def copied(file: h5py.File) -> None:
    file.copy("objects/thing-3", file["objects"], "copied")


def hard_link(file: h5py.File) -> None:
    file["objects/twin"] = file["objects/thing-3"]


def soft_link(file: h5py.File) -> None:
    file["objects/twin"] = h5py.SoftLink("/objects/thing-3")


def hidden(file: h5py.File) -> None:
    file.copy("objects/thing-3", file["objects"], ".hidden")


def not_utf8(file: h5py.File) -> None:
    file["objects"].id.move(b"thing-3", b"k\xff\xfe")


def put(place: str, value: Callable[[h5py.File], object]) -> Change:
    def change(file: h5py.File) -> None:
        if file.get(place, getlink=True) is not None:
            del file[place]
        made = value(file)
        if made is not None:
            file[place] = made

    return change


def numbers(file: h5py.File) -> object:
    return np.arange(3)


def nowhere(file: h5py.File) -> object:
    return h5py.SoftLink("/nowhere")


def other_file(file: h5py.File) -> object:
    return h5py.ExternalLink("nowhere.h5", "/x")


def named_type(file: h5py.File) -> object:
    return np.dtype("f8")


def nothing(file: h5py.File) -> object:
    return None


def empty_group(file: h5py.File) -> object:
    return file.create_group(None)


def text_of(file: h5py.File, name: str) -> bytes:
    return bytes(np.asarray(file[TABLE].attrs[name]).tobytes()).rstrip(b"\0")


def described(old: bytes, new: bytes) -> Change:
    """Return the change that puts other words into the description of a table."""

    def change(file: h5py.File) -> None:
        forget_checks(file[TABLE])
        text = text_of(file, "table")
        assert old in text
        attribute(TABLE, "table", np.bytes_(text.replace(old, new)))(file)

    return change


def flipped_key_in_tail(file: h5py.File) -> None:
    forget_checks(file[TABLE])
    tail = text_of(file, "tail")
    assert b'"thing-75"' in tail
    attribute(TABLE, "tail", np.bytes_(tail.replace(b'"thing-75"', b'"thinf-75"').ljust(5000, b"\0")))(file)


def flipped_key_in_segment(file: h5py.File) -> None:
    forget_checks(file[TABLE])
    segment = next(part for name, part in file[TABLE].items() if name.startswith("segment"))
    texts = segment.attrs["_key._texts"]
    texts[0] ^= 1
    segment.attrs["_key._texts"] = texts


def flipped_value(file: h5py.File, column: str = "number", row: int = 5) -> None:
    forget_checks(file[TABLE])
    segment = next(part for name, part in file[TABLE].items() if name.startswith("segment"))
    values = segment.attrs[column]
    values[row] ^= 1
    segment.attrs[column] = values


def wrong_bounds(file: h5py.File) -> None:
    forget_checks(file[TABLE])
    summaries = file[TABLE].attrs["summaries"]
    summaries[1] = summaries[0]
    file[TABLE].attrs["summaries"] = summaries


def segments_of(*fields: int) -> Change:
    def change(file: h5py.File) -> None:
        forget_checks(file[TABLE])
        rows = file[TABLE].attrs["segments"]
        rows[: len(fields)] = fields
        file[TABLE].attrs["segments"] = rows

    return change


def removed_without_its_row(file: h5py.File) -> None:
    del file["objects/thing-3"]


def in_another_order(file: h5py.File) -> None:
    file.move("objects/thing-3", "objects/aside")
    file.move("objects/aside", "objects/thing-3")


def lost_member(file: h5py.File) -> None:
    del file["objects/files-0/files/trajectory.dcd"]


def renamed_member(file: h5py.File) -> None:
    file.move("objects/files-0/files/trajectory.dcd", "objects/files-0/files/other.dcd")


DOCUMENT = ("objects/thing-3", "document")
CHANGES: dict[str, tuple[Change, str]] = {
    "an object that the index lacks": (copied, "copied"),
    "one group under two keys": (hard_link, "twin"),
    "one group under two keys by a soft link": (soft_link, "twin"),
    "a name that is no key": (hidden, ".hidden"),
    "a name that is no text": (not_utf8, "k\\udcff\\udcfe"),
    "a dataset among the objects": (put("objects/x", numbers), "x"),
    "a link to nowhere among the objects": (put("objects/x", nowhere), "x"),
    "a link to another file among the objects": (put("objects/x", other_file), "x"),
    "a type among the objects": (put("objects/x", named_type), "x"),
    "an empty group among the objects": (put("objects/x", empty_group), "x"),
    "no document": (put("objects/thing-3", empty_group), "thing-3"),
    "a document that is no JSON": (attribute(*DOCUMENT, np.bytes_(b"{")), "thing-3"),
    "a document without end": (attribute(*DOCUMENT, np.bytes_(b'{"a":' * 9000)), "thing-3"),
    "a document of another shape": (attribute(*DOCUMENT, np.bytes_(b"[1]")), "thing-3"),
    "a document of bytes": (attribute(*DOCUMENT, np.bytes_(b'"\xff\xfe"')), "thing-3"),
    "a document that is no text": (attribute(*DOCUMENT, np.arange(5.0)), "thing-3"),
    "a document with an odd array": (
        attribute(*DOCUMENT, np.bytes_(b'{"label":{"@array":{"dtype":"<q9","shape":[-7]}}}')),
        "thing-3",
    ),
    "a document with an unknown tag": (
        attribute(*DOCUMENT, np.bytes_(b'{"label":{"@float":"x"}}')),
        "thing-3",
    ),
    "an identity that is none": (attribute("objects/thing-3", "identity", np.bytes_(b"zz")), "thing-3"),
    "a class version that is none": (
        attribute("objects/thing-3", "data_class_version", np.bytes_(b"one")),
        "thing-3",
    ),
    "a member without size": (
        lambda file: file["objects/files-0/files/output.pdb"].attrs.__delitem__("member_size"),
        "files-0",
    ),
    "a member of an unknown codec": (
        attribute("objects/files-0/files/output.pdb", "member_codec", np.bytes_(b"\xff\xfe")),
        "files-0",
    ),
    "a member without checksums": (
        attribute("objects/files-0/files/output.pdb", "member_chunk_crc32", np.bytes_(b"none")),
        "files-0",
    ),
    "empty folders that are none": (
        attribute("objects/files-0", "member_empty_folders", np.bytes_(b"5")),
        "files-0",
    ),
    "a member that is lost": (lost_member, "files-0"),
    "a member of another name": (renamed_member, "files-0"),
    "no index": (put("index", nothing), ""),
    "an index that is no group": (put("index", numbers), ""),
    "an index that leads nowhere": (put("index", nowhere), ""),
    "no table": (put(TABLE, nothing), ""),
    "a table that is no group": (put(TABLE, numbers), ""),
    "a table that leads nowhere": (put(TABLE, nowhere), ""),
    "a table that is empty": (put(TABLE, empty_group), ""),
    "a table of another format": (described(b'"format": 1', b'"format": 9'), ""),
    "a table of other columns": (described(b"label", b"lebal"), ""),
    "a tail that counts from below": (attribute(TABLE, "tail", np.bytes_(b"[-5,-5]".ljust(5000, b"\0"))), ""),
    "a tail that is no JSON": (attribute(TABLE, "tail", np.bytes_(b"\xff" * 5000)), ""),
    "a tail without end": (attribute(TABLE, "tail", np.bytes_(b"[" * 20000)), ""),
    "a bit in a key of the tail": (flipped_key_in_tail, "thing-75"),
    "a bit in a key of a segment": (flipped_key_in_segment, ""),
    "a bit in a value of a segment": (flipped_value, "thing-5"),
    "a bound that is wrong": (wrong_bounds, ""),
    "8 TiB of rows": (segments_of(1, 2**40, 0, 0, 2**40), ""),
    "2**62 rows": (segments_of(1, 2**62, 0, 0, 2**62), ""),
    "a row of no object": (removed_without_its_row, "thing-3"),
    "rows in another order": (in_another_order, ""),
    "shared files that are no table": (put("index/members", numbers), ""),
    "no table of shared files": (put("index/members", nothing), "files-0"),
    "a damaged table of shared files": (
        attribute("index/members", "tail", np.bytes_(b"[" * 5000)),
        "",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_says_what_it_finds_and_goes_on(path: Path, name: str) -> None:
    change, key = CHANGES[name]
    with h5py.File(path, "r+", libver=LIBVER, track_order=True) as file:
        change(file)
    found = found_in(verified(path))
    assert key in {problem.key for problem in found}, found
    assert all(problem.message for problem in found)


def test_objects_that_cannot_even_be_listed_are_not_said_to_be_missing_elsewhere(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        put("index/ForceFieldData", numbers)(file)

    keys, failed = Contents.names, []

    def failing_once(self: Contents) -> list[str]:
        if not failed:
            failed.append(True)
            raise OSError("Can't iterate over links")
        return keys(self)

    monkeypatch.setattr(Contents, "names", failing_once)
    report = verified(path)
    listing, table, *rest = found_in(report)
    assert "none of them was checked: OSError" in listing.message
    assert "index of ForceFieldData is damaged" in table.message
    # Searched for by their headers, they are found, and checked all the same.
    assert (report.n_objects, report.n_members) == (84, 9)
    assert not any("missing" in problem.message for problem in rest)


@pytest.mark.parametrize("name", ["a bit in a key of the tail", "no index", "a bound that is wrong"])
def test_the_remedy_that_it_names_is_one(path: Path, name: str) -> None:
    with h5py.File(path, "r+", libver=LIBVER, track_order=True) as file:
        CHANGES[name][0](file)
    with HDF5Storage(path) as backend:
        backend.rebuild_index()
    assert found_in(verified(path)) == []


def test_an_object_that_cannot_be_read_is_said_once_and_its_row_is_not_called_wrong(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        attribute(*DOCUMENT, np.bytes_(b"{"))(file)
        put("objects/x", numbers)(file)
    report = verified(path)
    assert sorted(problem.key for problem in found_in(report)) == ["thing-3", "x"]
    assert report.n_not_checked == 2


def test_what_was_not_checked_is_counted(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        attribute("objects/files-0/files/output.pdb", "member_chunk_crc32", np.bytes_(b"none"))(file)
        attribute(TABLE, "tail", np.bytes_(b"x" * 5000))(file)
    report = verified(path)
    assert report.n_not_checked >= 1
    assert report.n_objects == 84


# --- errors of every kind, in every check -------------------------------------------------------

ERRORS = [
    OSError("Can't synchronously read data"),
    RuntimeError("Unspecified error"),
    KeyError("Unable to open object"),
    ValueError("Not a location"),
    TypeError("No NumPy equivalent"),
    AttributeError("'bytes' object has no attribute 'encode'"),
    MemoryError("Unable to allocate 8 TiB"),
    OverflowError("too large to convert"),
    ZeroDivisionError("division by zero"),
    RecursionError("maximum recursion depth exceeded"),
    json.JSONDecodeError("Expecting value", "x", 0),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    SystemError("returned a result with an exception set"),
    StorageIOError("the device failed"),
]
PLACES = [
    (Contents, "names"),
    (Contents, "header"),
    (Contents, "tree"),
    (rescue, "survey"),
    (Contents, "verify_member"),
    (Contents, "address"),
    (IndexTable, "rows"),
    (IndexTable, "check"),
    (Thing, "from_document"),
    (Thing, "index_values"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("owner", "name"), PLACES, ids=lambda part: getattr(part, "__name__", part))
def test_no_error_of_a_check_ends_it(
    path: Path, owner: type, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object, **options: object) -> object:
        raise error

    with HDF5Storage(path, mode="r") as backend:
        monkeypatch.setattr(owner, name, failing)
        report = backend.verify()
    assert not report.ok
    assert report.n_not_checked
    said = str(error) if isinstance(error, StorageIOError) else type(error).__name__
    assert any(said in problem.message for problem in report.problems)
    if name not in ("names", "survey", "verify_member"):
        assert DAMAGED in {(problem.key, problem.member) for problem in report.problems}


class FailingDevice(Files):
    """A device with a bad sector."""

    def __init__(self, offset: int) -> None:
        self.sector = range(offset - offset % 512, offset - offset % 512 + 512)
        self.failures = 0

    def _check(self, offset: int, size: int) -> None:
        if offset < self.sector.stop and offset + size > self.sector.start:
            self.failures += 1
            raise OSError(errno.EIO, "Input/output error")

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self._check(offset, size)
        return super().pread(fd, size, offset)

    def preadv(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        self._check(offset, sum(map(len, buffers)))
        return super().preadv(fd, buffers, offset)


@pytest.mark.parametrize(
    "place",
    ["objects/files-0", "objects/thing-3", "objects/files-0/files", "objects/files-0/files/trajectory.dcd"],
)
def test_a_bad_sector_costs_what_lies_in_it(path: Path, place: str) -> None:
    with h5py.File(path) as file:
        node = file[place]
        if isinstance(node, h5py.Dataset):
            offset = node.id.get_chunk_info(0).byte_offset
        else:
            offset = h5py.h5o.get_info(node.id).addr
    device = FailingDevice(offset)
    with contextlib.closing(Container(path, writable=False, files=device)) as container:
        report = verification.verify(container)
        assert device.failures
        assert 0 < report.n_not_checked < 20, "the next step is not spoilt"
        assert any("Input/output error" in problem.message for problem in report.problems)
        assert DAMAGED in {(problem.key, problem.member) for problem in report.problems}
        assert report.n_objects == 84
        assert report.n_members >= 5
        device.sector = range(0)
        assert found_in(verification.verify(container)) == [], "nothing half read is kept"


def test_a_failure_of_the_device_that_nobody_noticed_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 takes what cannot be read for something that is not there, now and then."""
    survey = rescue.survey

    def unnoticed(contents: Contents, key: str) -> list[object]:
        if key == "files-0":
            contents._file.failure = StorageIOError("the device failed")
            return []
        return survey(contents, key)

    monkeypatch.setattr(rescue, "survey", unnoticed)
    (problem,) = [found for found in found_in(verified(path)) if found.key == "files-0" and not found.member]
    assert problem.message == "the device failed"


@pytest.mark.parametrize("counters", [b"[1,100]", b"[1000,0]"])
def test_counters_behind_the_rows_are_damage(path: Path, counters: bytes) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        attribute(TABLE, "tail", np.bytes_(counters.ljust(5000, b"\0")))(file)
    (problem,) = found_in(verified(path))
    assert "taken" in problem.message


def test_what_interrupts_it_is_no_finding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> object:
        raise KeyboardInterrupt

    with HDF5Storage(path, mode="r") as backend:
        monkeypatch.setattr(Contents, "header", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backend.verify()


@pytest.mark.parametrize("error", [ValueError("stop"), StorageIOError("stop"), StopIteration()])
def test_an_error_of_who_watches_the_progress_is_his(path: Path, error: Exception) -> None:
    def progress(n_bytes: int) -> None:
        raise error

    with HDF5Storage(path, mode="r") as backend, pytest.raises(type(error)):
        backend.verify(progress=progress)


# --- data classes that are not known ------------------------------------------------------------


def as_newer_version(path: Path) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        for name, group in file["objects"].items():
            if name.startswith("thing"):
                group.attrs["data_class_version"] = np.int64(2)
                del group.attrs["object_summary"]
        described(b'"class_version": 1', b'"class_version": 2')(file)


@pytest.mark.parametrize("newer", [False, True])
def test_a_class_that_is_not_known_is_no_fault(
    path: Path, newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if newer:
        as_newer_version(path)
    else:
        monkeypatch.delitem(registry._classes, NAME)
        assert not verified(path).unknown_classes  # the container describes it
        with h5py.File(path, "r+", libver=LIBVER) as file:
            del file["objects"].attrs[SCHEMA_PREFIX + NAME]
    report = verified(path)
    assert found_in(report) == []
    assert report.unknown_classes == {NAME + (" version 2" if newer else ""): 80}
    assert report.n_not_checked == 0
    assert report.as_dict()["unknown_classes"] == report.unknown_classes


def test_what_can_be_checked_of_an_unknown_class_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(path, "r+", libver=LIBVER) as file:
        copied(file)
        attribute(*DOCUMENT, np.bytes_(b"{}"))(file)
        del file["objects/thing-5"]
        flipped_value(file, "identity", 7)
    monkeypatch.delitem(registry._classes, NAME)
    found = {problem.key: problem.message for problem in found_in(verified(path)) if problem.is_error}
    assert sorted(found) == ["copied", "thing-3", "thing-5", "thing-7"]
    assert "its row" in found["thing-7"]
    assert "digest" in found["thing-3"]
    assert "lacks it" in found["copied"]
    assert "/objects not" in found["thing-5"]
