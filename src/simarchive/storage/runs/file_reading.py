"""What one file of a run says, and how readers open it.

Readers speak in plain numbers: a quantity is a `Measure`. They raise `UnreadableError` for a file that they
cannot read, and note what is wrong with one that they read in part.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simarchive.errors import InvalidDataError
from simarchive.ground.files_below import FileBelow

HEAD_BYTES = 16384
"""So much of a file is looked at to find out what it is."""

LONGEST_LINE = 4096
"""So many characters of a line are read at once: a file without line ends is no text that a program wrote."""

LONGEST_SETTING = 400
"""So long may a line be in which names and values are looked for, which takes the square of its length."""

Numbers = npt.NDArray[np.float64]


class UnreadableError(InvalidDataError):
    """A file that is not what its name says, or is damaged from its start."""


class MissingReaderError(InvalidDataError):
    """A file that needs a library which is not installed."""

    def __init__(self, library: str) -> None:
        super().__init__(f"reading it needs {library}: pip install 'simarchive[runs]'")
        self.library = library


class Measure(NamedTuple):
    """A number with the name of its unit."""

    number: float
    unit: str


class Part(Enum):
    """What a file is in a run."""

    INPUT = "input"  #: settings
    LOG = "log"  #: what a program wrote about its work, and often energies
    TOPOLOGY = "topology"  #: atoms, residues
    STRUCTURE = "structure"  #: coordinates of one moment, and often atoms too
    TRAJECTORY = "trajectory"
    ENERGIES = "energies"


@dataclass
class FileReading:
    """What one file says.

    Attributes
    ----------
    facts
        Values of fields of `SimulationRun` that the file states.
    guesses
        Values that follow from it only if something is assumed, each with what that is.
    observables
        Values along the run with their unit, all of one length; ``Time`` is in picoseconds.
    n_frames, first_ps, interval_ps
        Of a trajectory: its whole frames, the time of the first and from one to the next.
    interval_steps
        The steps from one frame to the next, where only the time step of the run makes a time of them.
    has_bonds
        Whether a topology knows more than names: the better one to open a trajectory with.
    notes
        What is wrong with the file, or was not read.
    """

    file: str
    part: Part
    format: str
    engine: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    guesses: dict[str, tuple[Any, str]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    observables: dict[str, tuple[Numbers, str]] = field(default_factory=dict)
    n_frames: int | None = None
    first_ps: float | None = None
    interval_ps: float | None = None
    interval_steps: int | None = None
    has_bonds: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def n_samples(self) -> int:
        """How many values each observable has."""
        return max((len(values) for values, _ in self.observables.values()), default=0)


class TextLines:
    """The lines of a file, one after another, each of a bounded length."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def readline(self) -> str:
        """Return the next line, empty at the end of the file."""
        return self._stream.readline(LONGEST_LINE)

    def read(self, n_characters: int) -> str:
        """Return what follows, up to so many characters."""
        return self._stream.read(n_characters)

    def __iter__(self) -> Iterator[str]:
        return iter(partial(self._stream.readline, LONGEST_LINE), "")

    def __next__(self) -> str:
        line = self.readline()
        if not line:
            raise StopIteration
        return line


class RunFile:
    """One file of a run, opened without following a link that was put in its place."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path

    @property
    def suffix(self) -> str:
        """The ending of its name in lower case, with the dot."""
        return os.path.splitext(self.name)[1].lower()  # noqa: PTH122 - a tenth of the time of a path

    @property
    def stem(self) -> str:
        """The last part of its name without endings, in lower case."""
        return self.name.rpartition("/")[2].partition(".")[0].lower()

    @property
    def base(self) -> str:
        """The last part of its name in lower case."""
        return self.name.rpartition("/")[2].lower()

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Yield the file, opened for reading bytes."""
        descriptor = (
            self.path.open_file() if isinstance(self.path, FileBelow) else os.open(self.path, os.O_RDONLY)
        )
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - of a descriptor
            yield stream

    @contextmanager
    def open_text(self) -> Iterator[TextLines]:
        """Yield the file, opened for reading lines; what is no text becomes marks."""
        descriptor = (
            self.path.open_file() if isinstance(self.path, FileBelow) else os.open(self.path, os.O_RDONLY)
        )
        with open(descriptor, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            yield TextLines(stream)

    @cached_property
    def size(self) -> int:
        """Its size in bytes."""
        return self.path.stat().st_size

    @cached_property
    def head(self) -> bytes:
        """Its first bytes."""
        with self.open() as stream:
            return stream.read(HEAD_BYTES)

    @cached_property
    def head_text(self) -> str:
        """Its first bytes as text; nothing if they are none."""
        return "" if b"\0" in self.head else self.head.decode("utf-8", errors="replace")


@contextmanager
def foreign_reader(library: str) -> Iterator[None]:
    """Turn whatever a library raises about a file into an `UnreadableError`, and keep its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise MissingReaderError(library) from error
    except (InvalidDataError, MemoryError):
        raise
    except Exception as error:  # such libraries raise errors of every kind for a damaged file
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise UnreadableError(f"{library} cannot read it: {words[0][:200]}") from error


def number_in(text: str) -> float | None:
    """Return the number that a text is, Fortran's ``1.0d-3`` too, or ``None``."""
    try:
        return float(text.lower().replace("d", "e"))
    except ValueError:
        return None
