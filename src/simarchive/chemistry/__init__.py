"""Values of chemistry: substances, states, phases, observables, force field sources, units.

Each is loaded from its module when it is first used: who shows a phase needs no units.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simarchive.chemistry.amounts import Amount as Amount
    from simarchive.chemistry.amounts import ExactAmount as ExactAmount
    from simarchive.chemistry.amounts import MoleFraction as MoleFraction
    from simarchive.chemistry.components import Component as Component
    from simarchive.chemistry.force_fields import ForceFieldSource as ForceFieldSource
    from simarchive.chemistry.force_fields import FoyerForceFieldSource as FoyerForceFieldSource
    from simarchive.chemistry.force_fields import LigParGenForceFieldSource as LigParGenForceFieldSource
    from simarchive.chemistry.force_fields import SmirnoffForceFieldSource as SmirnoffForceFieldSource
    from simarchive.chemistry.force_fields import TLeapForceFieldSource as TLeapForceFieldSource
    from simarchive.chemistry.frames import ObservableFrame as ObservableFrame
    from simarchive.chemistry.frames import ObservableType as ObservableType
    from simarchive.chemistry.gradients import ParameterGradient as ParameterGradient
    from simarchive.chemistry.gradients import ParameterGradientKey as ParameterGradientKey
    from simarchive.chemistry.observables import Observable as Observable
    from simarchive.chemistry.observables import ObservableArray as ObservableArray
    from simarchive.chemistry.phases import PropertyPhase as PropertyPhase
    from simarchive.chemistry.states import ThermodynamicState as ThermodynamicState
    from simarchive.chemistry.substances import Substance as Substance
    from simarchive.chemistry.units import Quantity as Quantity
    from simarchive.chemistry.units import unit as unit

_HOMES = {
    "amounts": (
        "Amount",
        "ExactAmount",
        "MoleFraction",
    ),
    "components": ("Component",),
    "force_fields": (
        "ForceFieldSource",
        "FoyerForceFieldSource",
        "LigParGenForceFieldSource",
        "SmirnoffForceFieldSource",
        "TLeapForceFieldSource",
    ),
    "frames": (
        "ObservableFrame",
        "ObservableType",
    ),
    "gradients": (
        "ParameterGradient",
        "ParameterGradientKey",
    ),
    "observables": (
        "Observable",
        "ObservableArray",
    ),
    "phases": ("PropertyPhase",),
    "states": ("ThermodynamicState",),
    "substances": ("Substance",),
    "units": (
        "Quantity",
        "unit",
    ),
}
_HOME_OF = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

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
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value
