"""Frames: the thermodynamic observables of one simulation, all of one length."""

from __future__ import annotations

import csv
import enum
import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simarchive.chemistry.observables import ObservableArray
from simarchive.chemistry.trees import Tree, describe
from simarchive.chemistry.units import as_quantity, check_dimensions, registry
from simarchive.errors import InvalidDataError, NotFoundError

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity


class ObservableType(enum.Enum):
    """What a frame can hold."""

    PotentialEnergy = "PotentialEnergy"
    KineticEnergy = "KineticEnergy"
    TotalEnergy = "TotalEnergy"
    Temperature = "Temperature"
    Volume = "Volume"
    Density = "Density"
    Enthalpy = "Enthalpy"
    ReducedPotential = "ReducedPotential"


UNITS = {
    ObservableType.PotentialEnergy: "kilojoule / mole",
    ObservableType.KineticEnergy: "kilojoule / mole",
    ObservableType.TotalEnergy: "kilojoule / mole",
    ObservableType.Temperature: "kelvin",
    ObservableType.Volume: "nanometer ** 3",
    ObservableType.Density: "gram / milliliter",
    ObservableType.Enthalpy: "kilojoule / mole",
    ObservableType.ReducedPotential: "dimensionless",
}
"""The unit that the values of each type must be convertible to."""

_OPENMM_HEADERS = {
    "Potential Energy (kJ/mole)": ObservableType.PotentialEnergy,
    "Kinetic Energy (kJ/mole)": ObservableType.KineticEnergy,
    "Total Energy (kJ/mole)": ObservableType.TotalEnergy,
    "Temperature (K)": ObservableType.Temperature,
    "Box Volume (nm^3)": ObservableType.Volume,
    "Density (g/mL)": ObservableType.Density,
}


class ObservableFrame(MutableMapping[str | ObservableType, ObservableArray]):
    """The observables of a simulation by their type; keys may be given by name.

    All arrays have one length, which `len` returns (so it is not the number of observables).
    """

    def __init__(self, observables: Mapping[str | ObservableType, ObservableArray] | None = None) -> None:
        self._observables: dict[ObservableType, ObservableArray] = {}
        for key, value in (observables or {}).items():
            self[key] = value

    def __getitem__(self, key: str | ObservableType) -> ObservableArray:
        return self._observables[_type_of(key)]

    def __setitem__(self, key: str | ObservableType, value: ObservableArray) -> None:
        kind = _type_of(key)
        if not isinstance(value, ObservableArray) or value.units is None:
            raise InvalidDataError(
                f"{kind.value} must be an ObservableArray with values, not {describe(value)}"
            )
        others = [other for name, other in self._observables.items() if name is not kind]
        if others and len(value) != len(others[0]):
            raise InvalidDataError(
                f"{kind.value} has {len(value)} values, but the frame has {len(others[0])}: "
                "all observables of a frame must have one length"
            )
        check_dimensions(value.units, UNITS[kind], kind.value)
        self._observables[kind] = value

    def __delitem__(self, key: str | ObservableType) -> None:
        del self._observables[_type_of(key)]

    def __iter__(self) -> Iterator[ObservableType]:
        return iter(self._observables)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str | ObservableType) and _type_of(key) in self._observables

    def __len__(self) -> int:
        observable = next(iter(self._observables.values()), None)
        return 0 if observable is None else len(observable)

    def __bool__(self) -> bool:
        # By the number of observables: a frame of a run without samples is not an empty frame.
        return bool(self._observables)

    @classmethod
    def from_openmm(
        cls, file_path: str | os.PathLike[str], pressure: Quantity | str | None = None
    ) -> ObservableFrame:
        """Return the observables in the CSV file of an OpenMM state data reporter.

        Parameters
        ----------
        file_path
            The file; header lines that a continued run repeats are skipped.
        pressure
            If given, the enthalpy is added: total energy plus volume times pressure.

        Raises
        ------
        NotFoundError
            If there is no such file.
        InvalidDataError
            If the file is none of such a reporter, or lacks what the enthalpy needs.
        """
        path = Path(file_path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {str(path)!r}") from error
        frame = cls()
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return frame
        header = next(csv.reader([lines[0].removeprefix("#")]))
        rows = list(csv.reader(line for line in lines[1:] if not line.startswith("#")))
        for name, kind in _OPENMM_HEADERS.items():
            if name in header:
                values = _column(rows, header.index(name), len(header), path)
                frame[kind] = ObservableArray(registry().Quantity(values, UNITS[kind]))
        if pressure is not None:
            frame._add_enthalpy(as_quantity(pressure, "the pressure", compatible_with="pascal"), path)
        return frame

    def _add_enthalpy(self, pressure: Quantity, path: Path) -> None:
        needed = (ObservableType.TotalEnergy, ObservableType.Volume)
        if any(kind not in self for kind in needed):
            raise InvalidDataError(f"{str(path)!r} lacks total energy or volume, which the enthalpy needs")
        energy, volume = (self[kind].value for kind in needed)
        work = (volume * pressure * registry().avogadro_constant).to("kilojoule / mole")
        self[ObservableType.Enthalpy] = ObservableArray(energy + work)

    def subset(self, indices: Iterable[int]) -> ObservableFrame:
        """Return a frame of the values at some indices."""
        chosen = indices if isinstance(indices, slice) else list(indices)
        return ObservableFrame({kind: self[kind].subset(chosen) for kind in self})

    @classmethod
    def join(cls, *observable_frames: ObservableFrame) -> ObservableFrame:
        """Return the values of two or more frames, of the same observables, one after another."""
        if len(observable_frames) < 2:
            raise InvalidDataError("at least two frames must be given to join")
        first = observable_frames[0]
        if any(set(frame) != set(first) for frame in observable_frames):
            raise InvalidDataError("the frames to join must hold the same types of observables")
        return cls(
            {kind: ObservableArray.join(*(frame[kind] for frame in observable_frames)) for kind in first}
        )

    def clear_gradients(self) -> None:
        """Forget the gradients of all observables."""
        for observable in self._observables.values():
            observable.clear_gradients()

    def to_tree(self) -> Tree:
        """Return the observables by name; arrays that are not loaded are passed on as they are."""
        return {kind.value: observable.to_tree() for kind, observable in self._observables.items()}

    @classmethod
    def from_tree(cls, tree: Tree) -> ObservableFrame:
        """Return the frame of a tree, its arrays not loaded if they were not."""
        if not isinstance(tree, dict):
            raise InvalidDataError(f"a frame must be stored as a mapping, not as {describe(tree)}")
        return cls(
            {_type_of(name): ObservableArray.from_tree(observable) for name, observable in tree.items()}
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObservableFrame):
            return NotImplemented
        return self._observables == other._observables

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        names = ", ".join(kind.value for kind in self._observables) or "no observables"
        return f"<ObservableFrame of {len(self)} values: {names}>"


class _UnknownObservableError(InvalidDataError, KeyError):
    """A name that is not a type of observable; also what a mapping raises."""


def _type_of(key: Any) -> ObservableType:
    try:
        return ObservableType(key)
    except ValueError as error:
        known = ", ".join(kind.value for kind in ObservableType)
        raise _UnknownObservableError(f"{key!r} is not a type of observable: use one of {known}") from error


def _column(rows: list[list[str]], index: int, width: int, path: Path) -> np.ndarray[Any, Any]:
    try:
        return np.array([float(row[index] or "nan") for row in rows if len(row) == width], dtype=np.float64)
    except ValueError as error:
        raise InvalidDataError(f"{str(path)!r} holds a value that is not a number: {error}") from error
