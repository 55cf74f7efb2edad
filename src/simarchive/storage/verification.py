"""Is everything in a container what it was when it was stored? One report that says what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from simarchive.container.contents import Contents, ObjectHeader
from simarchive.container.documents import identity_digest
from simarchive.container.index import IndexTable
from simarchive.data import BaseStoredData, data_class_named
from simarchive.errors import CorruptError, InvalidDataError, StorageError
from simarchive.storage import indexing
from simarchive.storage.merging import references

if TYPE_CHECKING:
    from simarchive.container.container import Container


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    key: str  #: of the object, or empty for the container
    member: str | None
    chunk: int | None
    message: str
    is_error: bool = True  #: False: odd, but nothing is lost


@dataclass(slots=True)
class VerificationReport:
    """What was checked, and what was found."""

    path: str
    full: bool
    n_objects: int = 0
    n_members: int = 0
    n_bytes: int = 0  #: of members, as files
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return not any(problem.is_error for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "ok": self.ok}


def verify(
    container: Container, *, full: bool = False, progress: Callable[[int], None] | None = None
) -> VerificationReport:
    """Check every object, member and index table of a container.

    Parameters
    ----------
    full
        Also decode every member and compare its digest. Without it every stored byte of the members is
        still read and compared with its CRC-32.
    progress
        Called with the bytes of each member after it was checked.
    """
    report = VerificationReport(str(container.path), full)
    headers: dict[str, ObjectHeader] = {}
    loaded: dict[str, BaseStoredData | None] = {}
    with container.reading() as contents:
        for key in contents.keys():  # noqa: SIM118 - not a mapping
            report.n_objects += 1
            try:
                headers[key] = contents.header(key)
                loaded[key] = _checked_object(contents, headers[key], report)
                _check_members(contents, key, report, progress)
            except StorageError as error:
                report.problems.append(Problem(key, None, None, str(error)))
        _check_references(loaded, set(contents.keys()), report)
        _check_duplicates(contents, headers, report)
        _check_index(contents, headers, loaded, report)
    return report


def checked_tree(contents: Contents, header: ObjectHeader) -> Any:
    """Return the document of an object with all its arrays.

    Raises
    ------
    CorruptError
        If they cannot be read, or do not match the identity digest.
    """
    tree = contents.tree(header.key)
    if identity_digest(header.data_class, tree) != header.identity:
        raise CorruptError("the document or one of its arrays does not match the identity digest")
    return tree


def _checked_object(
    contents: Contents, header: ObjectHeader, report: VerificationReport
) -> BaseStoredData | None:
    tree = checked_tree(contents, header)
    data_class = data_class_named(header.data_class)
    if data_class is None:
        report.problems.append(
            Problem(
                header.key,
                None,
                None,
                f"the data class {header.data_class!r} is not registered: the document was not interpreted",
                is_error=False,
            )
        )
        return None
    try:
        stored = data_class.from_document(tree, header.data_class_version)
        stored.validate()
    except InvalidDataError as error:
        raise CorruptError(f"the document is no {header.data_class}: {error}") from error
    names = {info.name for info in contents.members(header.key)}
    for name in stored.member_names():
        if name not in names:
            report.problems.append(
                Problem(header.key, name, None, "the document names it, but it is missing")
            )
    return stored


def _check_members(
    contents: Contents, key: str, report: VerificationReport, progress: Callable[[int], None] | None
) -> None:
    for info in contents.members(key):
        for fault in contents.verify_member(key, info.name, full=report.full):
            report.problems.append(Problem(key, info.name, fault.chunk, fault.message))
        report.n_members += 1
        report.n_bytes += info.size
        if progress is not None:
            progress(info.size)


def _check_references(
    loaded: dict[str, BaseStoredData | None], keys: set[str], report: VerificationReport
) -> None:
    for key, stored in loaded.items():
        for other in references(stored) if stored is not None else ():
            if other not in keys:
                report.problems.append(
                    Problem(key, None, None, f"it refers to {other!r}, which is not here", is_error=False)
                )


def _check_duplicates(
    contents: Contents, headers: dict[str, ObjectHeader], report: VerificationReport
) -> None:
    alike: dict[tuple[str, str], list[str]] = {}
    for key, header in headers.items():
        alike.setdefault((header.data_class, header.identity), []).append(key)
    for keys in alike.values():
        first: dict[frozenset[tuple[str, str]], str] = {}
        for key in keys if len(keys) > 1 else ():
            files = frozenset((info.name, info.digest) for info in contents.members(key))
            twin = first.setdefault(files, key)
            if twin != key:
                message = f"it is the same as {twin!r}, document and files: one of the two can go"
                report.problems.append(Problem(key, None, None, message, is_error=False))


def _check_index(
    contents: Contents,
    headers: dict[str, ObjectHeader],
    loaded: dict[str, BaseStoredData | None],
    report: VerificationReport,
) -> None:
    by_class: dict[str, list[str]] = {}
    for key, header in headers.items():
        by_class.setdefault(header.data_class, []).append(key)
    for class_name in sorted({*by_class, *contents.tables.class_names()}):
        table = indexing.usable_table(contents, class_name)
        if table is None:
            message = f"the index of {class_name} is missing or out of date: 'simarchive repair --index'"
            report.problems.append(Problem("", None, None, message))
            continue
        try:
            _check_table(class_name, table, by_class.get(class_name, []), headers, loaded, report)
        except CorruptError as error:
            message = f"the index of {class_name} is damaged ({error}): 'simarchive repair --index'"
            report.problems.append(Problem("", None, None, message))


def _check_table(
    class_name: str,
    table: IndexTable,
    expected: list[str],
    headers: dict[str, ObjectHeader],
    loaded: dict[str, BaseStoredData | None],
    report: VerificationReport,
) -> None:
    for key in sorted(set(table.keys()) - set(expected)):
        report.problems.append(Problem(key, None, None, f"the index of {class_name} has it, /objects not"))
    for key in expected:
        stored = loaded.get(key)
        row = indexing.row_of({} if stored is None else stored.index_values(), headers[key].identity)
        if table.row(key) != row:
            message = f"its row in the index of {class_name} is wrong"
            report.problems.append(Problem(key, None, None, message))
