"""Queries: criteria for stored data, and the expressions that write them in one line."""

from simarchive.queries.any_data import AnyDataQuery
from simarchive.queries.base import BaseDataQuery
from simarchive.queries.criteria import AnyOf, Between, Not
from simarchive.queries.equilibration import EquilibrationDataQuery
from simarchive.queries.expression import parse_query
from simarchive.queries.force_field import ForceFieldQuery
from simarchive.queries.free_energy import FreeEnergyDataQuery
from simarchive.queries.registry import query_class_for, register_query_class
from simarchive.queries.simulation import BaseSimulationDataQuery, SimulationDataQuery
from simarchive.queries.simulation_run import RunQuery
from simarchive.queries.substance import SubstanceQuery
from simarchive.queries.trained_model import TrainedModelQuery

__all__ = [
    "AnyDataQuery",
    "AnyOf",
    "BaseDataQuery",
    "BaseSimulationDataQuery",
    "Between",
    "EquilibrationDataQuery",
    "ForceFieldQuery",
    "FreeEnergyDataQuery",
    "Not",
    "RunQuery",
    "SimulationDataQuery",
    "SubstanceQuery",
    "TrainedModelQuery",
    "parse_query",
    "query_class_for",
    "register_query_class",
]
