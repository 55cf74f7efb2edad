"""What queries can ask of substances: whole ones, parts of them, and the components they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simarchive.chemistry.amounts import Amount, ExactAmount
from simarchive.chemistry.components import Component, canonical_smiles
from simarchive.chemistry.substances import NOMINAL_TOLERANCE, Substance
from simarchive.chemistry.trees import describe
from simarchive.errors import InvalidDataError
from simarchive.ground.conditions import Condition, Negated, Satisfies

_SMILES_WITH_ROLE = re.compile(r"(.+)\{(solv|sol|lig|rec)\}")


@dataclass
class SubstanceQuery:
    """Which part of the `substance` of a query data may be about, and how near its amounts must be.

    Parameters
    ----------
    components_only
        Match data of a pure substance that is one of the components, in the same role, and with the same
        kinds of amount: mole fractions of any value, exact amounts of the same number. If False, the whole
        substance must match.
    mole_fraction_tolerance
        How far each mole fraction of a mixture may be from the one asked for; never more than a tenth of it.
        A box for x = 0.49 may hold 490 of 999 molecules, so 0.001 if nothing else is said; 0 asks for all six
        decimals.
    """

    components_only: bool = False
    mole_fraction_tolerance: float = NOMINAL_TOLERANCE

    def validate(self) -> None:
        """Raise InvalidDataError if one of them is no such value."""
        if not isinstance(self.components_only, bool):
            raise InvalidDataError(
                f"components_only must be True or False, not {describe(self.components_only)}"
            )
        tolerance: object = self.mole_fraction_tolerance
        is_number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
        if not is_number or not 0.0 <= self.mole_fraction_tolerance <= 1.0:
            raise InvalidDataError(
                f"mole_fraction_tolerance must be a number from 0 to 1, not {describe(tolerance)}"
            )


@dataclass(frozen=True)
class ComponentPattern:
    """A molecule in one role, or in any."""

    smiles: str
    role: Component.Role | None = None

    @classmethod
    def of(cls, component: object) -> ComponentPattern:
        """Return the pattern of a component, or of a SMILES, with a role in braces or of any role."""
        if isinstance(component, ComponentPattern):
            return component
        if isinstance(component, Component):
            return cls(component.smiles, component.role)
        if not isinstance(component, str):
            raise InvalidDataError(f"a Component or a SMILES is expected, not {describe(component)}")
        match = _SMILES_WITH_ROLE.fullmatch(component)
        if match is None:
            return cls(canonical_smiles(component))
        return cls(canonical_smiles(match[1]), Component.Role(match[2]))

    def is_in(self, substance: Substance) -> bool:
        """Return whether a substance has such a component."""
        return any(
            component.smiles == self.smiles and self.role in (None, component.role)
            for component in substance.components
        )

    def __str__(self) -> str:
        return self.smiles if self.role is None else f"{self.smiles}{{{self.role.value}}}"


def component_patterns(components: Any) -> tuple[ComponentPattern, ...] | None:
    """Return the patterns of several components; none at all if there are none."""
    if components is None:
        return None
    if isinstance(components, str | Component) or not isinstance(components, Iterable):
        raise InvalidDataError(f"a list of components is expected, not {describe(components)}")
    return tuple(ComponentPattern.of(component) for component in components) or None


def is_a_component_of(substance: Substance, column: str, *, in_any_amount: bool = False) -> Condition:
    """Return the condition for pure substances that are a component of `substance`."""

    def test(text: str) -> bool:
        return any(
            _is_a_component(candidate, substance, in_any_amount=in_any_amount)
            for candidate in _substances(text)
        )

    return Satisfies(column, test, f"is a pure component of {substance.identifier}")


def _is_a_component(candidate: Substance, substance: Substance, *, in_any_amount: bool) -> bool:
    if candidate.number_of_components != 1:
        return False
    identifier = candidate.components[0].identifier
    if identifier not in substance.amounts:
        return False
    if in_any_amount:
        return True
    # All of the amounts, whatever their order: of each kind that one has, the other one must have the same.
    return _compared(candidate.amounts[identifier]) == _compared(substance.amounts[identifier])


def _compared(amounts: tuple[Amount, ...]) -> set[Amount | type[Amount]]:
    return {amount if isinstance(amount, ExactAmount) else type(amount) for amount in amounts}


def contains(patterns: tuple[ComponentPattern, ...], column: str) -> Condition:
    """Return the condition for substances that hold all of the components."""

    def test(text: str) -> bool:
        substances = _substances(text)
        return all(any(pattern.is_in(substance) for substance in substances) for pattern in patterns)

    return Satisfies(column, test, f"contains {', '.join(map(str, patterns))}")


def excludes(patterns: tuple[ComponentPattern, ...], column: str) -> Condition:
    """Return the condition for substances that hold none of the components."""

    def test(text: str) -> bool:
        return any(pattern.is_in(substance) for substance in _substances(text) for pattern in patterns)

    return Negated(Satisfies(column, test, f"contains one of {', '.join(map(str, patterns))}"))


@lru_cache(maxsize=8192)
def _substances(text: str) -> tuple[Substance, ...]:
    """Return the substances whose identifiers stand in a text, one a line."""
    try:
        return tuple(Substance.from_identifier(line) for line in text.split("\n"))
    except InvalidDataError:
        # A stored SMILES that no SMILES writer makes: nobody can ask for such a component.
        return ()
