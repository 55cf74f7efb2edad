"""The text of a unit is looked up, never calculated: it is answered or refused at once."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pint
import pytest

from simarchive import InvalidDataError, ThermodynamicState
from simarchive.chemistry.unit_names import texts as unit_texts
from simarchive.chemistry.units import (
    as_quantity,
    quantity_from_tree,
    quantity_named,
    unit,
    unit_named,
    unit_text,
)
from simarchive.queries.expression import parse_query

ARITHMETIC = [
    "kelvin*9**9**9",
    "kelvin**(9**9**9)",
    "kelvin**9**9",
    "(kelvin**9)**9",
    "((kelvin**9)**9)**9",
    "(kelvin²)³",
    "kelvin**1000",
    "kelvin**-100",
    "kelvin**99**1",
    "(" * 9 + "kelvin" + ")" * 9,
    "(" * 120 + "kelvin" + ")" * 120,
    "(kelvin squared) squared",
    "square kelvin ** 2",
    "2*kelvin",
    "kelvin*10**10**10",
    "kelvin + kelvin",
    "kelvin // kelvin",
    "kelvin ** kelvin",
    "kelvin.real",
    "kelvin[0]",
    "kelvin, kelvin",
    "lambda: kelvin",
    "'kelvin'",
    "kelvin\0",
    "kelvin # more",
    "kelvin * " * 60 + "kelvin",
    "k" * 257,
    "*kelvin",
    "kelvin*",
    "kelvin**",
    "()",
    ")",
    "(kelvin",
]

WRITTEN = [
    "",
    "1",
    "dimensionless",
    "degC",
    "°C",
    "%",
    "Å",
    "µm",
    "kJ mol^-1",
    "kJ·mol⁻¹",
    "kJ/(mol*K)",
    "(kJ/mol)**2",
    "kJ per mol",
    "square meter",
    "m squared",
    "1/mole",
    "gram / milliliter",
    "g*degC",
    "kJ/degC",
    "m**0.5",
    "meter ** 2.0",
    "m ** (-1)",
    "kilogram * meter ** 2 / kelvin ** 1.5 / mole / second ** 2",
]


@pytest.mark.parametrize("text", ARITHMETIC)
def test_arithmetic_is_refused_at_once_wherever_a_unit_is_read(text: str) -> None:
    begin = time.perf_counter()
    for read in (
        unit_named,
        lambda text: quantity_named(f"1 {text}"),
        lambda text: ThermodynamicState(f"1 {text}"),
        lambda text: parse_query(f'T="1 {text}"'),
        lambda text: quantity_from_tree({"value": 1.0, "unit": text}, "it", compatible_with="kelvin"),
        lambda text: quantity_from_tree({"value": np.ones(2), "unit": text}, "it"),
    ):
        with pytest.raises(InvalidDataError) as caught:
            read(text)
        assert len(str(caught.value)) < 1000
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("text", WRITTEN)
def test_what_people_write_means_what_pint_makes_of_it(text: str) -> None:
    assert unit_named(text) == unit.Unit(text)
    assert unit_named(unit_text(unit_named(text))) == unit_named(text)


def test_every_unit_of_pint_has_a_text_that_is_read_back() -> None:
    names = [name for name in unit.get()._units if name.isidentifier()]
    assert len(names) > 900
    for name in names:
        assert unit_texts.factors(name) == {name: 1.0}
        assert unit_named(name) == unit.Unit(name)


def test_reading_takes_time_in_proportion_to_the_length() -> None:
    def seconds(size: int) -> float:
        begin = time.perf_counter()
        for text in ("k" * size, "(" * size, "a*" * size, "1" * size, " " * size + "x", "**" * size):
            with pytest.raises(InvalidDataError):
                quantity_named(f"1 {text}!")
        return time.perf_counter() - begin

    seconds(1000)
    assert seconds(2_000_000) < 2


_OF_ANOTHER = """
import json, sys
import numpy as np, pint
registry = pint.UnitRegistry()
registry.define("kilojoule_per_mole = kilojoule / mole")
registry.define("lump = 3 kilojoule / mole = lmp")
registry.define("heap = 2 lump")
if sys.argv[1] == "application":
    pint.set_application_registry(registry)
from simarchive import unit
from simarchive.chemistry.units import as_quantity, quantity_to_tree
for name in ("kilojoule_per_mole", "lump", "heap", "kiloheap", "heap ** 2 / kelvin"):
    tree = quantity_to_tree(as_quantity(registry.Quantity(2.0, name), "it"))
    print(json.dumps({"name": name, "value": tree["value"], "unit": tree["unit"]}))
"""


@pytest.mark.parametrize("registry", ["application", "foreign"])
def test_a_unit_of_one_registry_is_written_so_that_every_registry_reads_it(registry: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OF_ANOTHER, registry], capture_output=True, text=True, check=True, timeout=60
    )
    expected = {
        "kilojoule_per_mole": (2.0, "kJ/mol"),
        "lump": (6.0, "kJ/mol"),
        "heap": (12.0, "kJ/mol"),
        "kiloheap": (12000.0, "kJ/mol"),
        "heap ** 2 / kelvin": (72.0, "(kJ/mol)**2/K"),
    }
    plain: pint.UnitRegistry = pint.UnitRegistry()
    trees = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trees) == len(expected)
    for tree in trees:
        value, units = expected[tree.pop("name")]
        found = plain.Quantity(tree["value"], plain.Unit(tree["unit"]))
        assert found.to(units).magnitude == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("name", ["kilojoule_per_mole", "calories_per_mole", "kilocalorie_per_mole"])
def test_names_of_openff_units_in_older_files_are_known(name: str) -> None:
    energy = name.removesuffix("_per_mole").removesuffix("s")
    read = quantity_from_tree({"value": 2.0, "unit": name}, "it")
    assert read == unit.Quantity(2.0, f"{energy} / mole")
    assert as_quantity(f"2 {name} / kelvin", "it").units == unit.Unit(f"{energy} / mole / kelvin")


@pytest.mark.parametrize("digits", [19, 300, 400, 5000])
def test_a_number_of_a_document_fits_a_float_or_is_refused(digits: int) -> None:
    sys.set_int_max_str_digits(0)
    try:
        number = int("9" * digits)
        if digits < 309:
            assert quantity_from_tree({"value": number, "unit": "kelvin"}, "it").magnitude == number
        else:
            with pytest.raises(InvalidDataError, match="fits a float"):
                quantity_from_tree({"value": number, "unit": "kelvin"}, "it")
    finally:
        sys.set_int_max_str_digits(4300)


def test_nothing_else_gives_pint_a_text_to_evaluate() -> None:
    source = Path(unit_texts.__file__).parents[2]
    for path in source.rglob("*.py"):
        text = path.read_text()
        assert "parse_expression" not in text, path
        assert "parse_units" not in text, path
        for line in text.splitlines():
            if "unit.Unit(" in line:
                assert "product_text" in line, f"{path}: {line}"
