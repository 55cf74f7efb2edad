"""Substances: which components a system holds, and how much of each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import Any

from simarchive.chemistry.amounts import Amount, ExactAmount, MoleFraction
from simarchive.chemistry.components import Component
from simarchive.chemistry.trees import Tree, describe, fields_of
from simarchive.errors import InvalidDataError, NotFoundError

_COMPONENT_WITH_AMOUNTS = re.compile(r"(.+?)\{(solv|sol|lig|rec)\}\{([xn]=[^{}|]*)\}(?:\||\Z)")


class Substance:
    """The components of a system, their roles and amounts.

    It is built up by `add_component`, or at once by `from_components`. Two substances are equal if their
    identifiers are, so the order of the components does not matter. Do not add components to a substance
    that is a key of a dict.
    """

    def __init__(self) -> None:
        self._components: tuple[Component, ...] = ()
        self._amounts: dict[str, tuple[Amount, ...]] = {}
        self._identifier: str | None = None

    @classmethod
    def from_components(cls, *components: Component | str) -> Substance:
        """Return a substance with equal mole fractions of the components, given as such or as SMILES."""
        if not components:
            raise InvalidDataError("a substance needs at least one component")
        substance = cls()
        for component in components:
            substance.add_component(component, MoleFraction(1.0 / len(components)))
        return substance

    @classmethod
    def from_identifier(cls, identifier: str) -> Substance:
        """Return the substance that an identifier describes, amounts to the 6 decimals it has.

        RDKit is not asked. Equal to the substance the identifier came from.
        """
        substance = cls()
        position = 0
        while position < len(identifier):
            match = _COMPONENT_WITH_AMOUNTS.match(identifier, position)
            if match is None:
                raise InvalidDataError(f"{identifier!r} is not the identifier of a substance")
            component = Component.as_stored(match[1], Component.Role(match[2]))
            amounts = tuple(_amount(text, identifier) for text in match[3].split(","))
            substance._append(component, amounts)
            position = match.end()
        return substance

    def add_component(self, component: Component | str, amount: Amount) -> None:
        """Add some amount of a component; amounts of one kind of one component add up.

        Raises
        ------
        InvalidDataError
            If the mole fractions would add up to more than 1. The substance is then as before.
        """
        if isinstance(component, str):
            component = Component(component)
        if not isinstance(component, Component):
            raise InvalidDataError(f"a Component or a SMILES is expected, not {describe(component)}")
        if not isinstance(amount, Amount):
            raise InvalidDataError(f"a MoleFraction or ExactAmount is expected, not {describe(amount)}")
        if isinstance(amount, MoleFraction):
            total = amount.value + self._total_mole_fraction()
            if total > 1.0 and not _is_one(total):
                raise InvalidDataError(f"the mole fractions would add up to {total}, more than 1")
        present = self._amounts.get(component.identifier, ())
        same_kind = [other for other in present if type(other) is type(amount)]
        if same_kind:
            amount = _sum(amount, same_kind[0])
        else:
            present = (*present, amount)
        amounts = tuple(amount if type(other) is type(amount) else other for other in present)
        if component.identifier in self._amounts:
            self._amounts[component.identifier] = amounts
            self._identifier = None
        else:
            self._append(component, amounts)

    def _append(self, component: Component, amounts: tuple[Amount, ...]) -> None:
        self._components = (*self._components, component)
        self._amounts[component.identifier] = amounts
        self._identifier = None

    def _total_mole_fraction(self) -> float:
        return sum(
            amount.value
            for amounts in self._amounts.values()
            for amount in amounts
            if isinstance(amount, MoleFraction)
        )

    @property
    def components(self) -> tuple[Component, ...]:
        """The components in the order they were added."""
        return self._components

    @property
    def amounts(self) -> Mapping[str, tuple[Amount, ...]]:
        """The amounts of each component by its identifier, read-only."""
        return MappingProxyType(self._amounts)

    @property
    def number_of_components(self) -> int:
        """How many different components there are."""
        return len(self._components)

    @property
    def identifier(self) -> str:
        """The sorted components with their amounts, such as ``CO{solv}{x=0.500000}|O{solv}{x=0.500000}``."""
        if self._identifier is None:
            self._identifier = "|".join(
                f"{name}{{{','.join(sorted(amount.identifier for amount in self._amounts[name]))}}}"
                for name in sorted(self._amounts)
            )
        return self._identifier

    @property
    def is_mixed_by_fractions(self) -> bool:
        """Whether it has mole fractions below 1, which a box of whole molecules has nearly only."""
        return any(
            isinstance(amount, MoleFraction) and amount.value < 1.0
            for amounts in self._amounts.values()
            for amount in amounts
        )

    def get_amounts(self, component: Component | str) -> tuple[Amount, ...]:
        """Return the amounts of a component, given as such or by its identifier.

        Raises
        ------
        NotFoundError
            If the substance has no such component.
        """
        identifier = component if isinstance(component, str) else component.identifier
        try:
            return self._amounts[identifier]
        except KeyError as error:
            known = ", ".join(self._amounts) or "none"
            raise NotFoundError(
                f"{self!r} has no component {identifier}; its components are: {known}"
            ) from error

    def validate(self) -> None:
        """Raise InvalidDataError unless there are components and the mole fractions add up to 1."""
        if not self._components:
            raise InvalidDataError("a substance needs at least one component: use add_component")
        total = self._total_mole_fraction()
        if total and not _is_one(total):
            raise InvalidDataError(f"the mole fractions of {self!r} add up to {total:.6f}, not to 1")

    def get_molecules_per_component(
        self,
        maximum_molecules: int,
        tolerance: float | None = None,
        *,
        count_exact_amount: bool = True,
        truncate_n_molecules: bool = True,
    ) -> dict[str, int]:
        """Return the number of molecules of each component among at most `maximum_molecules`.

        Parameters
        ----------
        maximum_molecules
            The largest total.
        tolerance
            How far a mole fraction may be from the one asked for.
        count_exact_amount
            Whether exact amounts count towards the total.
        truncate_n_molecules
            Whether one molecule after the other (at most as many as there are components) is taken from the
            most frequent component if rounding gave too many.

        Raises
        ------
        InvalidDataError
            If the total or the tolerance cannot be kept.
        """
        exact = sum(
            amount.to_number_of_molecules(maximum_molecules)
            for amounts in self._amounts.values()
            for amount in amounts
            if isinstance(amount, ExactAmount)
        )
        counted = exact if count_exact_amount else 0
        if counted > maximum_molecules:
            raise InvalidDataError(f"{counted} molecules are required, more than {maximum_molecules}")
        numbers = dict.fromkeys(self._amounts, 0)
        by_fraction: dict[str, int] = {}
        for name, amounts in self._amounts.items():
            for amount in amounts:
                number = amount.to_number_of_molecules(maximum_molecules - counted, tolerance)
                numbers[name] += number
                if isinstance(amount, MoleFraction):
                    by_fraction[name] = by_fraction.get(name, 0) + number
        for _ in range(len(self._components) if truncate_n_molecules else 0):
            if counted + sum(by_fraction.values()) <= maximum_molecules or not any(by_fraction.values()):
                break
            largest = max(by_fraction, key=by_fraction.__getitem__)
            numbers[largest] -= 1
            by_fraction[largest] -= 1
        total = counted + sum(by_fraction.values())
        if total > maximum_molecules:
            raise InvalidDataError(f"the total of {total} molecules exceeds {maximum_molecules}")
        return numbers

    def to_substance_n_molecules(
        self,
        maximum_molecules: int,
        tolerance: float | None = None,
        *,
        count_exact_amount: bool = True,
        truncate_n_molecules: bool = True,
    ) -> Substance:
        """Return the substance with the mole fractions that at most `maximum_molecules` really have.

        The parameters are those of `get_molecules_per_component`.
        """
        numbers = self.get_molecules_per_component(
            maximum_molecules,
            tolerance,
            count_exact_amount=count_exact_amount,
            truncate_n_molecules=truncate_n_molecules,
        )
        exact = {
            name: next((amount for amount in amounts if isinstance(amount, ExactAmount)), None)
            for name, amounts in self._amounts.items()
        }
        by_fraction = {
            name: numbers[name] - (amount.value if amount else 0) for name, amount in exact.items()
        }
        total = sum(by_fraction.values())
        substance = Substance()
        for component in self._components:
            name = component.identifier
            for amount in self._amounts[name]:
                is_fraction = isinstance(amount, MoleFraction)
                new = MoleFraction(by_fraction[name] / total) if is_fraction else amount
                substance.add_component(component, new)
        return substance

    def to_tree(self) -> Tree:
        """Return components and amounts in their order."""
        return {
            "components": [component.to_tree() for component in self._components],
            "amounts": {
                name: [amount.to_tree() for amount in amounts] for name, amounts in self._amounts.items()
            },
        }

    @classmethod
    def from_tree(cls, tree: Tree) -> Substance:
        """Return the substance of a tree, the SMILES as they were stored."""
        fields = fields_of(tree, "a substance", ("components", "amounts"))
        if not isinstance(fields["components"], list):
            raise InvalidDataError("the components of a substance must be a list")
        components = [Component.from_tree(component) for component in fields["components"]]
        names = [component.identifier for component in components]
        if len(set(names)) != len(names):
            raise InvalidDataError(f"a substance has a component twice: {', '.join(names)}")
        amounts = fields_of(fields["amounts"], "the amounts of a substance", names)
        substance = cls()
        for component, name in zip(components, names, strict=True):
            if not isinstance(amounts[name], list) or not amounts[name]:
                raise InvalidDataError(f"the amounts of {name} must be a list with at least one amount")
            substance._append(component, tuple(Amount.from_tree(amount) for amount in amounts[name]))
        return substance

    def __len__(self) -> int:
        return len(self._components)

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components)

    def __contains__(self, component: object) -> bool:
        return component in self._components

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Substance):
            return NotImplemented
        return self.identifier == other.identifier

    def __hash__(self) -> int:
        return hash(self.identifier)

    def __str__(self) -> str:
        return self.identifier

    def __repr__(self) -> str:
        return f"<Substance {self.identifier}>"


NOMINAL_TOLERANCE = 0.001
"""How far the mole fractions of a box may be from those that it was made for: one molecule in a thousand."""

_NOMINAL_SHARE = 0.1
_FRACTION = re.compile(r"(?<=[{,]x=)([0-9.]+)(?=[},])")


class NearSubstances:
    """The substances that stand for one that was asked for, by their identifiers.

    A box holds whole molecules: 490 of 999 for a mole fraction of 0.49. So components, roles and exact
    amounts must be those asked for, and each mole fraction may be off by `tolerance`, yet by no more than a
    tenth of the one asked for.

    Parameters
    ----------
    wanted
        The identifier of the one asked for.
    """

    def __init__(self, wanted: str, tolerance: float) -> None:
        self._identifier = wanted
        self._spans = [match.span(1) for match in _FRACTION.finditer(self._identifier)]
        self._fractions = self._fractions_of(self._identifier)
        self._allowed = [min(tolerance, _NOMINAL_SHARE * number) + 1e-9 for number in self._fractions]
        self._between = self._without_fractions(self._identifier)
        pairs = zip(self._fractions, self._allowed, strict=True)
        digits = [_common_digits(number - allowed, number + allowed) for number, allowed in pairs]
        self.form = "".join(chain(*zip_longest(self._between, digits, fillvalue=""))).encode()
        """What all of their identifiers look like in UTF-8, with a zero for each byte that may differ.

        Mole fractions have six decimals, and none is above one: each takes the same room, and those from a
        least to a greatest one begin with the digits that these two have in common.
        """

    def __contains__(self, identifier: str) -> bool:
        if len(identifier) != len(self._identifier) or self._without_fractions(identifier) != self._between:
            return False
        try:
            numbers = self._fractions_of(identifier)
        except ValueError:
            return False
        pairs = zip(numbers, self._fractions, self._allowed, strict=True)
        return all(abs(number - wanted) <= allowed for number, wanted, allowed in pairs)

    def _fractions_of(self, identifier: str) -> list[float]:
        return [float(identifier[start:end]) for start, end in self._spans]

    def _without_fractions(self, identifier: str) -> list[str]:
        starts = [0, *(end for _, end in self._spans)]
        ends = [*(start for start, _ in self._spans), len(identifier)]
        return [identifier[start:end] for start, end in zip(starts, ends, strict=True)]


def _common_digits(least: float, greatest: float) -> str:
    """Return the digits with which all mole fractions in a range begin, and a zero for each other one."""
    first, last = f"{least:.6f}", f"{greatest:.6f}"
    differ = [one != other for one, other in zip(first, last, strict=True)]
    return first[: [*differ, True].index(True)].ljust(len(first), "\0")


def _sum(first: Amount, second: Amount) -> Amount:
    if isinstance(first, ExactAmount) and isinstance(second, ExactAmount):
        return ExactAmount(first.value + second.value)
    # Shares that add up to one may do so with a rounding error upwards.
    return MoleFraction(min(1.0, first.value + second.value))


def _is_one(total: float) -> bool:
    # numpy.isclose(total, 1.0), the rule of OpenFF Evaluator
    return math.isclose(total, 1.0, rel_tol=0.0, abs_tol=1e-8 + 1e-5)


def _amount(text: str, identifier: str) -> Amount:
    kind, _, number = text.partition("=")
    try:
        value: Any = float(number)
    except ValueError as error:
        raise InvalidDataError(f"{identifier!r} is not the identifier of a substance") from error
    return MoleFraction(value) if kind == "x" else ExactAmount(value)
