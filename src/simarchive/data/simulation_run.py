"""Runs of any simulation program: what is known of them, and all of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from simarchive.chemistry.observables import ObservableArray
from simarchive.chemistry.substances import Substance
from simarchive.data.base import UNSET, BaseStoredData
from simarchive.data.fields import InUnit, NotIndexed, Searched
from simarchive.data.kinds import FilePath
from simarchive.data.registry import register_data_class
from simarchive.data.value_kinds import PRESSURE_TOLERANCE_PA, TEMPERATURE_TOLERANCE_K
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import ColumnKind

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity
else:
    from simarchive.chemistry.units import AnyQuantity as Quantity


@register_data_class("SimulationRun", version=1)
class SimulationRun(BaseStoredData):
    """One run of a simulation program; only a name is required, and its files are the ancillary data.

    Two runs are one object only if all of their values and all of their files are equal: replicas and
    continuations never replace each other, whatever their names.
    """

    reference_fields: ClassVar[tuple[str, ...]] = ("parents",)

    name: Annotated[str, ColumnKind.IDENTIFIER] = UNSET
    """What the run is called."""
    engine: str | None = None
    """The program, in lower case: ``openmm``, ``gromacs``, ``amber``, ``lammps``, ``namd`` or another."""
    engine_version: str | None = None
    """The version of the program, as it writes it."""
    ensemble: str | None = None
    """The ensemble, such as ``NVE``, ``NVT`` or ``NPT``."""
    temperature: Annotated[Quantity, InUnit("kelvin", TEMPERATURE_TOLERANCE_K)] | None = None
    """The temperature of the thermostat, or the mean temperature."""
    pressure: Annotated[Quantity, InUnit("pascal", PRESSURE_TOLERANCE_PA)] | None = None
    """The pressure of the barostat."""
    time_step: Annotated[Quantity, InUnit("femtosecond")] | None = None
    """The time from one step of the integrator to the next."""
    frame_interval: Annotated[Quantity, InUnit("picosecond")] | None = None
    """The time from one frame of the trajectory to the next."""
    length: Annotated[Quantity, InUnit("nanosecond")] | None = None
    """How much time was simulated."""
    n_atoms: int | None = None
    """How many atoms, or particles, the system has."""
    n_residues: int | None = None
    """How many residues the system has."""
    number_of_molecules: int | None = None
    """How many molecules the system has."""
    n_frames: int | None = None
    """How many frames all trajectories have together."""
    box: Annotated[list[float], NotIndexed()] | None = None
    """The first known box: three lengths in angstroms and three angles in degrees, as MDAnalysis has them."""
    substance: Substance | None = None
    """The composition by SMILES."""
    composition: Annotated[dict[str, int], Searched()] | None = None
    """The composition by counts of named residues or molecules."""
    tags: Annotated[list[str], Searched()] | None = None
    """Words by which the run is found again."""
    metadata: Annotated[dict[str, Any], Searched()] | None = None
    """Numbers, texts, truth values and quantities by name."""
    parents: list[str] | None = None
    """The keys of what the run started from, or continues."""
    topology_file_name: FilePath | None = None
    """The file with the topology of the system."""
    trajectory_file_names: list[FilePath] | None = None
    """The files with the configurations, in their order."""
    observables: dict[str, ObservableArray] | None = None
    """Observables by the names that the program gives them; those of one file have one length."""
    guesses: Annotated[dict[str, str], NotIndexed()] | None = None
    """For each field that no file says outright: what its value was guessed from."""

    @classmethod
    def has_ancillary_data(cls) -> bool:
        """Return True: a run is made of files."""
        return True

    def validate(self) -> None:  # type: ignore[override]
        """Raise InvalidDataError unless there is a name, and every value makes sense."""
        super().validate()
        if not self.name.strip():
            raise InvalidDataError("SimulationRun.name must not be blank: say what the run is called")
        for field in ("n_atoms", "n_residues", "number_of_molecules", "n_frames"):
            number = getattr(self, field)
            if number is not None and number < 0:
                raise InvalidDataError(f"SimulationRun.{field} must not be negative, not {number}")
        if self.box is not None and len(self.box) != 6:
            raise InvalidDataError(
                f"SimulationRun.box must have three lengths and three angles, not {len(self.box)} numbers"
            )

    def member_names(self) -> tuple[str, ...]:
        """Return the files that the fields name."""
        return (*super().member_names(), *map(str, self.trajectory_file_names or ()))
