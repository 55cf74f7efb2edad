"""The type strings of OpenFF Evaluator's typed JSON, by the short names that this package gives them.

Evaluator writes the module path of a class into the JSON and imports it when it reads. Here a type
string is looked up in a fixed table and nothing is ever imported.

References
----------
`openff.evaluator.utils.serialization` of OpenFF Evaluator 0.5.3.
"""

from __future__ import annotations

from simarchive.errors import InvalidDataError

TYPE = "@type"

_PREFIX = "openff.evaluator."
_BETA_PREFIX = "evaluator."

TYPE_STRINGS = {
    "ForceFieldData": "openff.evaluator.storage.data.ForceFieldData",
    "StoredSimulationData": "openff.evaluator.storage.data.StoredSimulationData",
    "StoredEquilibrationData": "openff.evaluator.storage.data.StoredEquilibrationData",
    "StoredFreeEnergyData": "openff.evaluator.storage.data.StoredFreeEnergyData",
    "ObjectKeys": "openff.evaluator.storage.storage.StorageBackend._ObjectKeyData",
    "Component": "openff.evaluator.substances.components.Component",
    "Role": "openff.evaluator.substances.components.Component.Role",
    "MoleFraction": "openff.evaluator.substances.amounts.MoleFraction",
    "ExactAmount": "openff.evaluator.substances.amounts.ExactAmount",
    "Substance": "openff.evaluator.substances.substances.Substance",
    "ThermodynamicState": "openff.evaluator.thermodynamics.ThermodynamicState",
    "PropertyPhase": "openff.evaluator.datasets.datasets.PropertyPhase",
    "Observable": "openff.evaluator.utils.observables.Observable",
    "ObservableArray": "openff.evaluator.utils.observables.ObservableArray",
    "ObservableFrame": "openff.evaluator.utils.observables.ObservableFrame",
    "ObservableType": "openff.evaluator.utils.observables.ObservableType",
    "ParameterGradient": "openff.evaluator.forcefield.gradients.ParameterGradient",
    "ParameterGradientKey": "openff.evaluator.forcefield.gradients.ParameterGradientKey",
    "Smirnoff": "openff.evaluator.forcefield.forcefield.SmirnoffForceFieldSource",
    "TLeap": "openff.evaluator.forcefield.forcefield.TLeapForceFieldSource",
    "LigParGen": "openff.evaluator.forcefield.forcefield.LigParGenForceFieldSource",
    "Foyer": "openff.evaluator.forcefield.forcefield.FoyerForceFieldSource",
    "ChargeModel": "openff.evaluator.forcefield.forcefield.LigParGenForceFieldSource.ChargeModel",
    "Undefined": "openff.evaluator.attributes.attributes.UndefinedAttribute",
    "Quantity": "openff.evaluator.unit.Quantity",
    "Measurement": "openff.evaluator.unit.Measurement",
    "ndarray": "numpy.ndarray",
    "float16": "numpy.float16",
    "float32": "numpy.float32",
    "float64": "numpy.float64",
    "int32": "numpy.int32",
    "int64": "numpy.int64",
    "set": "builtins.set",
    "frozenset": "builtins.frozenset",
    "datetime": "datetime.datetime",
}
"""The type string that Evaluator writes for each short name."""

FORCE_FIELD_FIELDS = {
    "Smirnoff": ("inner_xml",),
    "TLeap": ("leap_source", "cutoff"),
    "LigParGen": ("preferred_charge_model", "cutoff", "request_url", "download_url"),
    "Foyer": ("foyer_source", "cutoff"),
}
"""The fields of each kind of force field source, by its short name."""


def _with_public_modules() -> dict[str, str]:
    # Earlier releases kept a class one module higher, where today's packages still export it.
    names = {type_string: name for name, type_string in TYPE_STRINGS.items()}
    for inner, outer in (
        ("substances.components.", "substances."),
        ("substances.amounts.", "substances."),
        ("substances.substances.", "substances."),
        ("forcefield.gradients.", "forcefield."),
        ("forcefield.forcefield.", "forcefield."),
        ("datasets.datasets.", "datasets."),
        ("attributes.attributes.", "attributes."),
        ("storage.storage.", "storage."),
    ):
        for name, type_string in TYPE_STRINGS.items():
            if type_string.startswith(_PREFIX + inner):
                names[type_string.replace(_PREFIX + inner, _PREFIX + outer, 1)] = name
    return names


_NAMES = _with_public_modules()


def full_type_string(type_string: object) -> str:
    """Return a type string as releases since the beta write it.

    Raises
    ------
    InvalidDataError
        If it is not a string.
    """
    if not isinstance(type_string, str):
        raise InvalidDataError(f"a type must be a string, not {type(type_string).__name__}: check the JSON")
    return f"openff.{type_string}" if type_string.startswith(_BETA_PREFIX) else type_string


def short_name(type_string: object) -> str | None:
    """Return the short name of an Evaluator type string, or ``None`` if it is not in the table."""
    return _NAMES.get(full_type_string(type_string))


def class_name_of(type_string: str) -> str:
    """Return the name of the class in a type string, under which Evaluator files the keys of its objects."""
    return type_string.rpartition(".")[2]


def shown(value: object) -> str:
    """Return how a value is shown in an error, however long it is."""
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 100 else f"{text[:100]}..."
