"""Values of chemistry: substances, states, phases, observables, force field sources, units."""

from simarchive.chemistry.amounts import Amount, ExactAmount, MoleFraction
from simarchive.chemistry.components import Component
from simarchive.chemistry.force_fields import (
    ForceFieldSource,
    FoyerForceFieldSource,
    LigParGenForceFieldSource,
    SmirnoffForceFieldSource,
    TLeapForceFieldSource,
)
from simarchive.chemistry.frames import ObservableFrame, ObservableType
from simarchive.chemistry.gradients import ParameterGradient, ParameterGradientKey
from simarchive.chemistry.observables import Observable, ObservableArray
from simarchive.chemistry.phases import PropertyPhase
from simarchive.chemistry.states import ThermodynamicState
from simarchive.chemistry.substances import Substance
from simarchive.chemistry.units import Quantity, unit

__all__ = [
    "Amount",
    "Component",
    "ExactAmount",
    "ForceFieldSource",
    "FoyerForceFieldSource",
    "LigParGenForceFieldSource",
    "MoleFraction",
    "Observable",
    "ObservableArray",
    "ObservableFrame",
    "ObservableType",
    "ParameterGradient",
    "ParameterGradientKey",
    "PropertyPhase",
    "Quantity",
    "SmirnoffForceFieldSource",
    "Substance",
    "TLeapForceFieldSource",
    "ThermodynamicState",
    "unit",
]
