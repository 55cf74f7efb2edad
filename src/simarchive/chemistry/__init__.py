"""Values of chemistry: substances, states, phases, observables, force field sources, units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simarchive.chemistry import units
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

if TYPE_CHECKING:
    from simarchive.chemistry.units import Quantity as Quantity
    from simarchive.chemistry.units import unit as unit

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


def __getattr__(name: str) -> Any:
    # Both load pint, which most commands do without.
    if name in ("Quantity", "unit"):
        return getattr(units, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
