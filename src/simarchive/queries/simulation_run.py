"""Queries for runs of any simulation program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simarchive.chemistry.substances import Substance
from simarchive.data.simulation_run import SimulationRun
from simarchive.queries.base import BaseDataQuery
from simarchive.queries.criteria import Criterion
from simarchive.queries.registry import register_query_class
from simarchive.queries.substance import SubstanceQuery

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity


@register_query_class
class RunQuery(BaseDataQuery):
    """A query for runs; `tags` is one tag or a list of tags, all of which a run must have.

    `metadata` and `composition` are dicts of names and values or criteria: ``{"seed": Between(1, 5)}``. All
    of them must hold, and a value without this name fulfils none but a `Not`.
    """

    name: Criterion[str]
    engine: Criterion[str]
    engine_version: Criterion[str]
    ensemble: Criterion[str]
    temperature: Criterion[Quantity | str]
    pressure: Criterion[Quantity | str]
    time_step: Criterion[Quantity | str]
    frame_interval: Criterion[Quantity | str]
    length: Criterion[Quantity | str]
    n_atoms: Criterion[int]
    n_residues: Criterion[int]
    number_of_molecules: Criterion[int]
    n_frames: Criterion[int]
    substance: Criterion[Substance]
    substance_query: SubstanceQuery | None
    composition: dict[str, Criterion[int]] | None
    tags: Criterion[str | list[str]]
    metadata: dict[str, Any] | None

    @classmethod
    def data_class(cls) -> type[SimulationRun]:
        """Return `SimulationRun`."""
        return SimulationRun
