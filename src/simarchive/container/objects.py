"""One object in the file: a group with attributes, arrays and members, as it is written and read."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from blake3 import blake3
from h5py import h5g, h5r

from simarchive.container import arrays, documents, layout, members, nodes
from simarchive.container.changing import history
from simarchive.container.changing.history import Event
from simarchive.container.documents import DeclaredVariable, Tree, Variable, VariableSource
from simarchive.container.members import MemberInfo, StoredMember
from simarchive.container.nodes import UNREADABLE
from simarchive.errors import CorruptError, InvalidDataError

LOGGER = logging.getLogger("simarchive")

Loader = Callable[[str, str], np.ndarray[Any, Any]]
"""Called with the mark of a document (`Summary.mark`) and the name of an array, when its values are used."""


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """What is known of an object without reading its document."""

    key: str
    data_class: str
    data_class_version: int
    identity: str  #: SHA-256 of class name and canonical document
    stored_at: str  #: its present content; ISO 8601, UTC
    has_ancillary_data: bool
    empty_folders: tuple[str, ...] = ()
    stored_key: str | None = None  #: under which it was stored; objects of early versions do not say it
    stored_whole_at: str = ""  #: earlier than `stored_at` if it was amended since


@dataclass(frozen=True, slots=True)
class Summary:
    """What an object says of itself."""

    data_class: str
    data_class_version: int
    identity: str
    stored_at: str
    has_ancillary_data: bool
    key: str | None = None  #: under which it was stored; objects of early versions have none
    digest: str | None = None  #: of this and the document; the same holds
    amended_from: str = ""  #: when it was stored as a whole, if it was amended since

    @property
    def stored_whole_at(self) -> str:
        """When it was stored as a whole, which the checks of its members stand for."""
        return self.amended_from or self.stored_at

    @property
    def mark(self) -> str:
        """What tells a document from one that takes its place."""
        return self.digest or self.identity


_IN_ATTRIBUTES = ("data_class", "data_class_version", "identity", "stored_at", "has_ancillary_data")


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """What is needed to make the object of a document."""

    data_class: str
    data_class_version: int
    has_ancillary_data: bool
    tree: Tree
    stored_at: str = ""  #: of an object with ancillary data, as `Contents.stored_at`; empty if unreadable


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept: its class, its tree, and what belongs to it."""

    data_class: str
    data_class_version: int
    tree: Tree
    has_ancillary_data: bool = False
    empty_folders: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()  #: names of the members that are executable
    times: Mapping[str, int] = field(default_factory=dict)  #: of members, as `members.keep_times` has them
    history: str = ""  #: lines of its events so far, as `history` has them
    event: Event | None = None  #: one more, at the time when it is stored
    members: Mapping[str, Path | StoredMember] = field(default_factory=dict)  #: by name, what to store


# --- reading -----------------------------------------------------------------------------------------
# `key` is how messages name the object whose group is `node`. All raise `CorruptError` if it cannot be read.


def read_summary(node: h5g.GroupID, key: str) -> Summary:
    """Return what an object says of itself: its summary, or its attributes if it is of an early version."""
    try:
        line = nodes.find_text(node, layout.OBJECT_SUMMARY)
        return _attributes_of(node) if line is None else _parsed(line)
    except UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be read: {error}") from error


def read_header(node: h5g.GroupID, key: str) -> ObjectHeader:
    """Return what is known of an object without reading its document."""
    summary = read_summary(node, key)
    return ObjectHeader(
        key,
        summary.data_class,
        summary.data_class_version,
        summary.identity,
        summary.stored_at,
        summary.has_ancillary_data,
        members.empty_folders(h5py.Group(node)),
        summary.key,
        summary.stored_whole_at,
    )


def attribute_faults(node: h5g.GroupID, key: str) -> list[str]:
    """Return which attributes of an object cannot be read, or do not say what its summary does.

    Without them it is what it was: those that the summary repeats are for other programs.
    """
    summary = read_summary(node, key)
    faults = [*members.faults_of_lists(h5py.Group(node)).values()]
    fault = _history_fault(node, summary)
    if fault is not None:
        faults.append(fault)
    if summary.digest is None:
        return faults
    try:
        found = _attributes_of(node)
    except UNREADABLE as error:
        return [*faults, f"an attribute for other programs cannot be read: {error}"]
    said = [(name, getattr(found, name), getattr(summary, name)) for name in _IN_ATTRIBUTES]
    return faults + [
        f"its attribute {name!r} is {value!r}, but it was stored with {stored!r}"
        for name, value, stored in said
        if value != stored
    ]


def _history_fault(node: h5g.GroupID, summary: Summary) -> str | None:
    try:
        history.events_of(history.read_lines(node, summary.stored_at))
    except CorruptError as error:
        return str(error)
    return None


def read_text_of_document(node: h5g.GroupID, key: str) -> str:
    """Return the document of an object as it stands there; it is not proved."""
    try:
        return nodes.read_text(node, layout.DOCUMENT)
    except UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be read: its document: {error}") from error


def read_document(node: h5g.GroupID, key: str, load: Loader | None) -> ReadDocument:
    """Return the document of an object and its class, as they were stored.

    Parameters
    ----------
    load
        Called when the values of an array are used; by default all arrays are read now.

    Raises
    ------
    CorruptError
        If something cannot be read, or does not match its digest. The values of an array that are read later
        are compared when they are read.
    """
    summary, text = read_proved(node, key)
    return ReadDocument(
        summary.data_class,
        summary.data_class_version,
        summary.has_ancillary_data,
        _tree(node, key, summary, text, load),
        summary.stored_at if summary.has_ancillary_data else "",
    )


def read_tree(node: h5g.GroupID, key: str, load: Loader | None) -> Tree:
    """Return the document of an object as a tree; `load` and errors as for `read_document`."""
    return _tree(node, key, *read_proved(node, key), load)


def variable_names(node: h5g.GroupID, key: str) -> frozenset[str]:
    """Return the names of the datasets that are arrays of an object's document.

    Raises
    ------
    CorruptError
        If its document cannot be read.
    """
    names = set()
    documents.decode(read_text_of_document(node, key), lambda declared: names.add(declared.name))
    return frozenset(names)


def _parsed(line: str) -> Summary:
    digest, key, version, ancillary, identity, times, data_class = line.split(" ", 6)
    amended_from, _, stored_at = times.rpartition("/")
    return Summary(data_class, int(version), identity, stored_at, ancillary == "1", key, digest, amended_from)


def summary_line(summary: Summary, document: str) -> str:
    """Return what `_parsed` reads, with the digest of this and a document."""
    ancillary = int(summary.has_ancillary_data)
    times = f"{summary.amended_from}/{summary.stored_at}" if summary.amended_from else summary.stored_at
    state = f"{summary.identity} {times} {summary.data_class}"
    said = f"{summary.key} {summary.data_class_version} {ancillary} {state}"
    return f"{_digest(said, document)} {said}"


def _attributes_of(node: h5g.GroupID) -> Summary:
    return Summary(
        nodes.read_text(node, layout.DATA_CLASS),
        nodes.read_integer(node, layout.DATA_CLASS_VERSION),
        nodes.read_text(node, layout.IDENTITY),
        nodes.find_text(node, layout.STORED_AT) or "",
        bool(nodes.read_integer(node, layout.ANCILLARY)),
    )


def read_proved(node: h5g.GroupID, key: str) -> tuple[Summary, str]:
    """Return the summary of an object and its document, which is proved only if the summary has a digest."""
    try:
        line = nodes.find_text(node, layout.OBJECT_SUMMARY)
        text = nodes.read_text(node, layout.DOCUMENT)
        if line is None:
            return _attributes_of(node), text
        digest, _, rest = line.partition(" ")
        if digest == _digest(rest, text):
            return _parsed(line), text
    except UNREADABLE as error:
        raise CorruptError(f"object {key!r} cannot be read: {error}") from error
    raise CorruptError(
        f"object {key!r} is not what was stored: its document and summary do not match their digest;"
        f" {arrays.REMEDY}"
    )


def _digest(summary: str, document: str) -> str:
    return blake3(f"{summary}\0{document}".encode()).hexdigest()


def _tree(node: h5g.GroupID, key: str, summary: Summary, text: str, load: Loader | None) -> Tree:
    def now(declared: DeclaredVariable) -> np.ndarray[Any, Any]:
        return arrays.proved(arrays.read_variable(node, declared.name), declared, key)

    def later(declared: DeclaredVariable) -> arrays.LazyArray:
        assert load is not None
        name, mark = declared.name, summary.mark
        return arrays.LazyArray(
            declared.shape, declared.dtype, lambda: arrays.proved(load(mark, name), declared, key)
        )

    try:
        if summary.digest is not None:
            return documents.decode(text, now if load is None else later)
        return _tree_without_digests(node, key, summary, text, load, now)
    except CorruptError as error:
        error.add_note(f"object {key!r}")
        raise


def _tree_without_digests(
    node: h5g.GroupID, key: str, summary: Summary, text: str, load: Loader | None, now: VariableSource
) -> Tree:
    """Return the document of an early version: only the identity digest of all of it says what was stored."""
    if load is None or layout.TAG_VARIABLE not in text:
        tree = documents.decode(text, now)
        _check_identity(key, summary, tree)
        return tree
    unproved = _Unproved(key, summary, text, load)

    def later(declared: DeclaredVariable) -> arrays.LazyArray:
        arrays.check_declared(node, declared, key)
        return arrays.LazyArray(declared.shape, declared.dtype, lambda: unproved.values(declared.name))

    return documents.decode(text, later)


class _Unproved:
    """The arrays of a document of an early version: all are loaded and proved when one is wanted."""

    def __init__(self, key: str, summary: Summary, text: str, load: Loader) -> None:
        self._key, self._summary, self._text, self._load = key, summary, text, load
        self._found: dict[str, np.ndarray[Any, Any]] | None = None

    def values(self, name: str) -> np.ndarray[Any, Any]:
        """Return the values of one array."""
        if self._found is None:
            found: dict[str, np.ndarray[Any, Any]] = {}

            def loaded(declared: DeclaredVariable) -> np.ndarray[Any, Any]:
                values = self._load(self._summary.mark, declared.name)
                found[declared.name] = arrays.proved(values, declared, self._key)
                return values

            _check_identity(self._key, self._summary, documents.decode(self._text, loaded))
            self._found = found
        return self._found[name]


def _check_identity(key: str, summary: Summary, tree: Tree) -> None:
    try:
        matches = documents.identity_digest(summary.data_class, tree) == summary.identity
    except (InvalidDataError, RecursionError, ValueError, TypeError) as error:
        raise CorruptError(f"the document of object {key!r} cannot be read: {error}") from error
    if not matches:
        raise CorruptError(
            f"object {key!r} is not what was stored: its document or one of its arrays does not match the"
            f" identity digest; {arrays.REMEDY}"
        )


class MemberChecks:
    """Which members an object was stored with, as far as its group says it.

    A member is a dataset of its own, sound in itself: without this, one of another object or of an earlier
    time could stand in its place, where a disk lost a write.
    """

    def __init__(self, node: h5g.GroupID, key: str) -> None:
        self._checks: np.ndarray[Any, Any] | None = None
        if nodes.has_attribute(node, layout.MEMBER_CHECKS):
            self._stored_at = read_summary(node, key).stored_whole_at
            self._checks = nodes.read_numbers(node, layout.MEMBER_CHECKS)

    @property
    def n_members(self) -> int | None:
        """How many members there were; ``None`` if the group does not say it, as in early versions."""
        return None if self._checks is None else len(self._checks)

    def check(self, name: str, dataset: h5py.Dataset) -> None:
        """Check that a dataset is the member of this name that was stored with the object.

        Raises
        ------
        ValueError
            If it is not. Damage raises one of `UNREADABLE`.
        """
        if self._checks is None:
            return
        check = member_check(self._stored_at, name, nodes.read_text(dataset.id, layout.MEMBER_DIGEST))
        if not bool((self._checks == np.uint64(check)).any()):
            raise ValueError("it is not the file that was stored with the object")


def member_check(stored_at: str, name: str, digest: str) -> int:
    """Return the check of a member of an object that was stored as a whole at a time."""
    # No two contents of an object are stored at the same time.
    text = "\0".join((stored_at, name, digest)).encode("utf-8", "backslashreplace")
    return int.from_bytes(blake3(text).digest(8), "little")


def can_be_taken_apart(node: h5g.GroupID) -> bool:
    """Return whether HDF5 can remove an object: it reads whatever describes the parts to free their space."""
    try:
        nodes.check_attributes(node)
        links = list(h5py.Group(node))
    except UNREADABLE:
        return False
    return all(part_can_be_read(node, link) for link in links)


def part_can_be_read(node: h5g.GroupID, link: str) -> bool:
    """Return whether HDF5 can read all that describes a part of an object: a dataset, or its members."""
    try:
        if link == layout.MEMBERS:
            place = nodes.find_group(node, link)
            if place is not None:
                nodes.check_attributes(place)
                for name in nodes.child_names(place):
                    _check_dataset(place, name)
                return True
        _check_dataset(node, link)
    except UNREADABLE:
        return False
    return True


def _check_dataset(node: h5g.GroupID, link: str) -> None:
    dataset = nodes.open_dataset(node, link)
    if dataset is not None:
        nodes.check_attributes(dataset)
        if h5py.Dataset(dataset).chunks is not None:
            nodes.visit_chunks(dataset, lambda _: None)


# --- writing -----------------------------------------------------------------------------------------


def forms_of(variables: Mapping[str, Variable]) -> arrays.Forms:
    """Return what `arrays.Dimensions` needs to know of all arrays of a document."""
    return {name: (variable.values.shape, variable.units) for name, variable in variables.items()}


def write_object(
    group: h5py.Group, key: str, stored: StoredDocument, identity: str, scales: dict[int, h5r.Reference]
) -> str:
    """Write all but the members of an object into an empty group; return when it was stored.

    Parameters
    ----------
    key
        Under which the object will be found; the group may be elsewhere until it is whole.
    scales
        Those that the container shares, as for `arrays.Dimensions`.
    """
    encoded = documents.encode(stored.tree, taken=(layout.MEMBERS, layout.FRAME_DIMENSION))
    # So fine that it tells apart what was stored under one key, one after the other (`Contents.stored_at`).
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    node = group.id
    summary = Summary(
        stored.data_class, stored.data_class_version, identity, now, stored.has_ancillary_data, key
    )
    _create_attributes(node, summary)
    if stored.empty_folders:
        members.keep_empty_folders(group, stored.empty_folders)
    members.keep_executables(group, {*stored.executables} & {*stored.members})
    if stored.times:
        times = {name: time for name, time in stored.times.items() if name in stored.members}
        members.keep_times(group, times)
    lines = stored.history
    if stored.event is not None:
        lines = history.with_event(lines, replace(stored.event, at=now))
    if lines:
        history.write_lines(node, now, lines)
    nodes.create_text(node, layout.DOCUMENT, encoded.text)
    nodes.create_text(node, layout.OBJECT_SUMMARY, summary_line(summary, encoded.text))
    dimensions = arrays.Dimensions(group, forms_of(encoded.variables), scales)
    for name, variable in encoded.variables.items():
        arrays.write_variable(group, name, variable, dimensions)
    return now


def _create_attributes(node: h5g.GroupID, summary: Summary) -> None:
    nodes.create_text(node, layout.DATA_CLASS, summary.data_class, is_ascii=True)
    nodes.create_integer(node, layout.DATA_CLASS_VERSION, summary.data_class_version, "<i8")
    nodes.create_text(node, layout.IDENTITY, summary.identity, is_ascii=True)
    nodes.create_text(node, layout.STORED_AT, summary.stored_at, is_ascii=True)
    nodes.create_integer(node, layout.ANCILLARY, int(summary.has_ancillary_data), "|i1")


def restore_attributes(node: h5g.GroupID, key: str) -> None:
    """Write the attributes for other programs again, as the summary of an object has them.

    What cannot be read and nothing else says is removed: a list of empty folders or of executables, the
    times of files, the history.

    Raises
    ------
    CorruptError
        If nothing proves the summary.
    """
    summary, _ = read_proved(node, key)
    for name in (
        layout.DATA_CLASS,
        layout.DATA_CLASS_VERSION,
        layout.IDENTITY,
        layout.STORED_AT,
        layout.ANCILLARY,
    ):
        nodes.delete_attribute(node, name)
    _create_attributes(node, summary)
    for name in members.faults_of_lists(h5py.Group(node)):
        nodes.delete_attribute(node, name)
    fault = _history_fault(node, summary)
    if fault is not None:
        LOGGER.warning("object %r: %s: it is removed", key, fault)
        nodes.delete_attribute(node, layout.OBJECT_HISTORY)


def write_key(node: h5g.GroupID, name: str, key: str) -> None:
    """Note that an object has another key from now on; not if nothing proves it, which is left as it is."""
    with contextlib.suppress(CorruptError):
        summary, text = read_proved(node, name)
        if summary.digest is not None:
            nodes.write_text(node, layout.OBJECT_SUMMARY, summary_line(replace(summary, key=key), text))


def write_member_checks(group: h5py.Group, stored_at: str, infos: Sequence[MemberInfo]) -> None:
    """Note with an object which members it has."""
    if infos:
        checks = [member_check(stored_at, info.name, info.digest) for info in infos]
        nodes.create_numbers(group.id, layout.MEMBER_CHECKS, np.array(checks, "<u8"))


def replace_content(group: h5py.Group, staged: h5py.Group) -> None:
    """Move all that is in `staged` into `group`, which has no links any more, in place of its attributes.

    A new link would be the last in the order, so the group stays and all in it is replaced.
    """
    for link in list(staged):
        group.file.move(f"{staged.name}/{link}", f"{group.name}/{link}")
    nodes.replace_attributes(staged, group)
