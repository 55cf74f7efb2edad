"""What a report says: read in one pass over the objects, bounded, each object for itself."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simarchive.errors import CorruptError, InvalidDataError, OutOfMemoryError, StorageError
from simarchive.ground.texts import date_text, one_line, size_text
from simarchive.interop.report import drawings, structures
from simarchive.interop.report.drawings import Drawings
from simarchive.storage.display import documents, rows, series, wording
from simarchive.storage.display.series import Series, Summary
from simarchive.storage.hdf5 import verification
from simarchive.storage.hdf5.grouping import GroupStatistics
from simarchive.storage.hdf5.storage import HDF5Storage
from simarchive.storage.hdf5.upkeep import ContainerStatistics
from simarchive.storage.hdf5.verification import VerificationReport

MOST_OBJECTS = 20_000
"""So many objects has a page: the first; those beyond are counted."""

MOST_BYTES = 17_000_000
"""So many bytes do the details of all objects take in a page; what is beyond is counted, and left out."""

MOST_BYTES_OF_ONE = 60_000
"""So many bytes do the details of one object take, so that one does not take the room of all others."""

# A page of many objects draws each with fewer points.
_MANY = 1500
_POINTS, _POINTS_OF_MANY = 64, 16
_BINS, _BINS_OF_MANY = 24, 12
_MOST_SERIES = 24
_MOST_LINES, _LONGEST_LINE = 120, 240
_MOST_FILES = 60
_MOST_PROBLEMS = 500
_LONGEST_METADATA = 2000

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of one observable of one object."""

    key: str
    substance: str
    kelvin: float | None
    mean: float
    error: float


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object as the table of objects shows it."""

    key: str
    data_class: str
    substance: str
    kelvin: float | None
    pascal: float | None
    phase: str
    n_files: int
    n_bytes: int

    @property
    def temperature(self) -> str:
        """The temperature as text."""
        return wording.temperature_text(self.kelvin)

    @property
    def pressure(self) -> str:
        """The pressure as text."""
        return wording.pressure_text(self.pascal)


@dataclass(slots=True)
class Facts:
    """All that a page shows."""

    name: str  #: of the container's file
    statistics: ContainerStatistics
    by_extension: list[GroupStatistics]
    verification: VerificationReport | None
    metadata: list[tuple[str, str]]
    made_at: str
    objects: list[ObjectRow] = field(default_factory=list)
    details: list[str] = field(default_factory=list)  #: JSON text of each object, in the order of `objects`
    observables: dict[tuple[str, str], list[Mean]] = field(default_factory=dict)  #: by name and unit
    problems: dict[str, str] = field(default_factory=dict)  #: of objects that could not be read, or not whole
    n_not_listed: int = 0
    n_without_plots: int = 0
    n_without_details: int = 0
    drawings: Drawings = field(default_factory=Drawings)  #: structures, that of one file once, and frames
    n_without_structures: int = 0
    example: tuple[str, str, str] | None = None
    """For the examples: key of an object, name of a file and of an array of it; "" for what there is not."""


def gather(
    backend: HDF5Storage,
    *,
    checked: VerificationReport | None = None,
    progress: Callable[[object], None] | None = None,
    keys: Sequence[str] | None = None,
) -> Facts:
    """Return what a report says of a container.

    Parameters
    ----------
    checked
        What `verify` found, if it was asked.
    progress
        Called once for each object that is done.
    keys
        The objects that the page is about, in their order; all by default.
    """
    listed = rows.rows_of(backend, keys)
    facts = Facts(
        name=backend.path.name,
        statistics=backend.statistics(keys),
        by_extension=backend.statistics_by("extension", keys)[0],
        verification=checked,
        metadata=metadata_of(backend),
        made_at=date_text(datetime.now(UTC).isoformat(timespec="seconds")),
        problems={one_line(name): problem for name, problem in backend.problems.items()},
        n_not_listed=max(0, len(listed) - MOST_OBJECTS),
    )
    gathering = _Gathering(backend, facts, len(listed))
    del listed[MOST_OBJECTS:]
    # Nothing is held between two objects: the device may fail at one, and be read again for the next.
    for row in listed:
        gathering.add(row)
        if progress is not None:
            progress(row)
    return facts


def metadata_of(backend: object) -> list[tuple[str, str]]:
    """Return what the container says of itself, such as title, authors and licence: names and texts.

    That is the fields that are set of the dataclass which is the backend's `metadata`, if it has one.
    """
    metadata = getattr(backend, "metadata", None)
    if not dataclasses.is_dataclass(metadata):
        return []
    found = []
    for each in dataclasses.fields(metadata):
        value = getattr(metadata, each.name)
        text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")
        if len(text) > _LONGEST_METADATA:
            text = f"{text[:_LONGEST_METADATA]} ..."
        if text:
            found.append((each.name.replace("_", " "), text))
    return found


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What is kept of a structure that is on the page, whose atoms are many."""

    place: int
    note: str
    n_atoms: int  #: of its file
    numbers: NDArray[np.int32]  #: of those that are shown


class _Gathering:
    """Adds one object after another to the facts."""

    def __init__(self, backend: HDF5Storage, facts: Facts, n_objects: int) -> None:
        self._backend = backend
        self._facts = facts
        is_of_many = n_objects > _MANY
        self._n_points = _POINTS_OF_MANY if is_of_many else _POINTS
        self._n_bins = _BINS_OF_MANY if is_of_many else _BINS
        self._n_bytes = 0
        # Structures and their places in the page, by the digest of their file.
        self._structures: dict[str, _Drawn | None] = {}
        # For the structure of a file of this size there was no room: that of a larger one is not looked at.
        self._too_large = structures.LARGEST_FILE_BYTES
        self._bytes_of_frames = drawings.MOST_BYTES_OF_FRAMES / max(n_objects, 1)

    def add(self, row: rows.Row) -> None:
        """Add an object; whatever is wrong with it is noted, and nothing else suffers."""
        key = row["key"]
        details: dict[str, Any] = {"class": wording.short_class_name(row["data_class"])}
        files: list[Any] = []
        with self._noting(key, "its files cannot be listed"):
            files = self._backend.list_members(key)
            self._add_files(details, files)
        with self._noting(key, "its document cannot be shown"):
            header = self._backend.header(key)
            details["type"] = f"{header.data_class}, version {header.data_class_version}"
            details["stored"] = date_text(header.stored_at)
            _, _, tree = self._backend.retrieve_document(key)
            self._add_lines(details, tree)
            self._add_series(row, details, tree)
            self._add_structure(key, details, files, tree)
            self._keep_example(key, files, tree)
        if key in self._facts.problems:
            details["problem"] = self._facts.problems[key]
        self._facts.objects.append(_object_row(row, files))
        self._facts.details.append(self._bounded(details))

    @contextlib.contextmanager
    def _noting(self, key: str, what: str) -> Iterator[None]:
        """Note whatever error leaves the block as a problem of the object, and go on behind it."""
        try:
            with verification.as_damage(), self._backend.reading():
                yield
        except OutOfMemoryError:
            raise
        except StorageError as error:
            if len(self._facts.problems) < _MOST_PROBLEMS:
                self._facts.problems.setdefault(key, f"{what}: {one_line(str(error))}")

    def _add_files(self, details: dict[str, Any], files: Sequence[Any]) -> None:
        details["files"] = [
            [one_line(info.name), size_text(info.size), size_text(info.stored_size), info.codec, info.digest]
            for info in files[:_MOST_FILES]
        ]
        if len(files) > _MOST_FILES:
            details["more_files"] = len(files) - _MOST_FILES

    def _add_lines(self, details: dict[str, Any], tree: Any) -> None:
        lines = itertools.islice(documents.lines_of(tree), _MOST_LINES + 1)
        shown = [one_line(line)[:_LONGEST_LINE] for line in lines]
        if len(shown) > _MOST_LINES:
            shown[-1] = "... (the rest is left out here)"
        details["lines"] = shown

    def _add_series(self, row: rows.Row, details: dict[str, Any], tree: Any) -> None:
        plots = details["series"] = []
        kelvin, substance = _number(row.get("temperature")), _substance(row)
        for number, one in enumerate(series.series_of(tree)):
            if number == _MOST_SERIES:
                details["more_series"] = True
                break
            with self._noting(row["key"], f"{one.name} cannot be read"):
                summary = series.summary_of(one, n_points=self._n_points, n_bins=self._n_bins)
                if summary is None:
                    plots.append([one_line(one.short_name), f"{one.n_values:,} values, not summed up here"])
                    continue
                name, unit = one_line(one.short_name), one_line(wording.unit_text(one.unit))
                plots.append(_plot(name, unit, summary))
                if math.isfinite(summary.mean):
                    self._facts.observables.setdefault((name, unit), []).append(
                        Mean(row["key"], substance, kelvin, summary.mean, summary.error)
                    )

    def _add_structure(self, key: str, details: dict[str, Any], files: Sequence[Any], tree: Any) -> None:
        """Add the structure of the file that the document names, or of the first."""
        texts = {value for value in tree.values() if isinstance(value, str)} if isinstance(tree, dict) else ()
        found = [info for info in files if structures.is_structure(info.name) and info.size]
        if not found:
            return
        info = next((info for info in found if info.name in texts), found[0])
        if info.digest not in self._structures:
            self._structures[info.digest] = None
            if info.size < self._too_large:
                with self._noting(key, f"{info.name} cannot be read"):
                    self._structures[info.digest] = self._drawn(key, info)
        drawn = self._structures[info.digest]
        if drawn is None:
            self._facts.n_without_structures += 1
        else:
            details["structure"] = [drawn.place, one_line(info.name), drawn.note]
            with self._noting(key, "its trajectory cannot be read"):
                details["structure"] += self._frames(key, drawn)

    def _drawn(self, key: str, info: Any) -> _Drawn | None:
        with self._backend.open_member(key, info.name) as stream:
            structure = structures.structure_of(info.name, stream)
        if structure is None:
            return None
        place = self._facts.drawings.add(structure)
        if place is None:
            self._too_large = info.size
            return None
        return _Drawn(place, structure.note, structure.n_atoms, np.array(structure.numbers, np.int32))

    def _frames(self, key: str, drawn: _Drawn) -> list[Any]:
        """Return where frames are, their numbers, how many there are, and of what file; or nothing."""
        n_shown = drawings.frames_within(self._bytes_of_frames, len(drawn.numbers))
        if not n_shown:
            return []
        try:
            frames = self._backend.frames(key)
        except CorruptError:
            raise
        except StorageError:
            return []  # There is none, or there are several, or none that can be read here.
        with frames:
            if frames.n_atoms != drawn.n_atoms or len(frames) < 2:
                return []
            numbers = drawings.spread(len(frames), n_shown)
            try:
                positions = np.stack([frames[number].positions[drawn.numbers] for number in numbers])
            except InvalidDataError:
                return []  # What would decode it is not installed.
            if not np.isfinite(positions).all():
                return []
            place = self._facts.drawings.add_frames(drawn.place, positions)
            return [] if place is None else [place, numbers, len(frames), one_line(frames.name)]

    def _keep_example(self, key: str, files: Sequence[Any], tree: Any) -> None:
        """Keep the first object that has both a file and an array for the examples, else the first at all."""
        first: Series | None = next(series.series_of(tree), None)
        array = "" if first is None else first.name.partition("[")[0]
        # Other names are written in another way in the container.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", array):
            array = ""
        file = files[0].name if files else ""
        if self._facts.example is None or (file and array and not all(self._facts.example)):
            self._facts.example = (key, file, array)

    def _bounded(self, details: dict[str, Any]) -> str:
        """Return the details as JSON text; if they take too much room, without what takes most of it."""
        text = json_line(details)
        room = min(MOST_BYTES_OF_ONE, MOST_BYTES - self._n_bytes)
        if len(text) > room and details.get("series"):
            self._facts.n_without_plots += 1
            text = json_line({**details, "series": [plot[:2] for plot in details["series"]]})
        if len(text) > room:
            self._facts.n_without_details += 1
            kept = {name: details[name] for name in ("class", "type", "stored") if name in details}
            text = json_line({**kept, "left_out": True})
        self._n_bytes += len(text)
        return text


def _object_row(row: rows.Row, files: Sequence[Any]) -> ObjectRow:
    return ObjectRow(
        key=row["key"],
        data_class=one_line(wording.short_class_name(row["data_class"])),
        substance=_substance(row),
        kelvin=_number(row.get("temperature")),
        pascal=_number(row.get("pressure")),
        phase=wording.phase_text(row.get("property_phase")),
        n_files=len(files),
        n_bytes=sum(info.size for info in files),
    )


def _substance(row: rows.Row) -> str:
    return one_line(wording.substance_text(row["substance"])) if row.get("substance") else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _plot(name: str, unit: str, summary: Summary) -> list[Any]:
    """Return a series as the page draws it: texts, and curves as digits between lowest and highest."""
    facts = f"{summary.n_values:,} values, statistical inefficiency {summary.inefficiency:.3g}"
    if summary.n_left_out:
        facts += f"; {summary.n_left_out:,} that are no finite numbers are left out"
    low, high = summary.lowest, summary.highest
    return [
        name,
        series.mean_text(summary, unit),
        facts,
        series.number_text(low),
        series.number_text(high),
        _as_digits(summary.trace, low, high),
        _as_digits(summary.running, low, high),
        "".join(_DIGITS[math.ceil(count * 63 / max(summary.counts))] for count in summary.counts),
    ]


def _as_digits(values: Sequence[float], low: float, high: float) -> str:
    """Return numbers as two digits of base 64 each: 0 is the lowest, 4095 the highest."""
    width = high - low
    places = [
        min(max(round((value - low) / width * 4095), 0), 4095)
        if width > 0 and math.isfinite(width) and math.isfinite(value)
        else 2048
        for value in values
    ]
    return "".join(_DIGITS[place // 64] + _DIGITS[place % 64] for place in places)


def json_line(value: Any) -> str:
    """Return JSON on one line in which no browser finds the end of a script, or any markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
