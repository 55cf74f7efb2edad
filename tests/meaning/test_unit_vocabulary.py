"""Units have one vocabulary in containers, whatever registry of pint wrote them and reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pint
import pytest

from simarchive import InvalidDataError, Observable, ThermodynamicState, unit
from simarchive.chemistry.unit_names import registries, texts, vocabulary
from simarchive.chemistry.units import as_quantity, quantity_from_tree, unit_named, unit_text

BARE = """
meter = [length] = m
second = [time] = s
gram = [mass] = g
mole = [substance] = mol
kelvin = [temperature]; offset: 0 = K
kilo- = 1000 = k-
milli- = 1e-3 = m-
joule = 1000 gram * meter ** 2 / second ** 2 = J
pascal = 1000 gram / meter / second ** 2 = Pa
planck = 6.62607015e-34 joule * second = h
joules_per_mole = joule / mole = joule_per_mole
timestep = [timestep]
"""
"""As that of openff-units: fewer names than pint's own, some in another sense, and some of its own."""


def bare() -> Any:
    return pint.UnitRegistry(BARE.splitlines())


def test_pint_has_every_name_in_that_spelling_and_meaning() -> None:
    assert len(vocabulary.names()) > 350
    for name in vocabulary.names():
        assert format(unit.Unit(name), "D") == name
        assert unit_text(unit_named(name)) == name
        assert registries.means_the_same(unit.get(), name), name


@pytest.mark.parametrize(
    "text",
    ["kJ/mol", "kJ/mol/nm**2", "g/ml", "m**2/s", "1/mol", "m**0.5", "kg*m/s**1.5", "dimensionless", "1/s/m"],
)
def test_the_spelling_is_that_of_pint(text: str) -> None:
    assert unit_text(unit.Unit(text)) == format(unit.Unit(text), "D")
    assert texts.canonical_text(texts.factors(unit_text(unit.Unit(text)))) == unit_text(unit.Unit(text))


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("degree_Fahrenheit", "kelvin", 255.928 - 0.0002222),
        ("pound_force_per_square_inch", "pascal", 6894.757),
        ("torr", "pascal", 133.3224),
        ("electron_volt", "joule", 1.602176634e-19),
        ("kilofoot", "meter", 304.8),
        ("microgram", "gram", 1e-6),
        ("percent", "dimensionless", 0.01),
        ("delta_degree_Fahrenheit", "kelvin", 5 / 9),
        ("hour", "second", 3600.0),
    ],
)
def test_a_name_that_a_registry_lacks_is_defined_there(name: str, target: str, expected: float) -> None:
    registry = bare()
    factors = registries.understood(registry, texts.factors(name))
    read = registry.Quantity(1.0, texts.product_text(factors))
    assert read.to(target).magnitude == pytest.approx(expected, rel=1e-6)
    assert registries.written(registry, read.units) == (1.0, name, ())


def test_a_unit_that_is_defined_in_one_registry_only_is_refused_with_the_nearest_name() -> None:
    registry = bare()
    registry.define("nanometre_like = [elsewhere]")
    for name, near in (("timestep", ""), ("nanometre_like", "'nanometer'")):
        with pytest.raises(InvalidDataError, match=rf"the value has the unit '{name}'.*defined.*{near}"):
            as_quantity(registry.Quantity(1.0, name), "the value")
    with pytest.raises(InvalidDataError, match="timestep"):
        Observable(value=registry.Quantity(1.0, "joule / timestep"))


def test_a_name_with_another_meaning_is_written_by_what_it_means() -> None:
    registry = bare()
    registry.define("calorie = 4.1868 joule")
    registry.define("sigma = 3.4e-10 meter")
    given = registry.Quantity(2.0, "kilocalorie / mole")
    assert registries.written(registry, given.units).text == "kilojoule / mole"
    assert as_quantity(given, "it").to("joule / mole").magnitude == pytest.approx(8373.6)
    assert as_quantity(registry.Quantity(2.0, "sigma"), "it") == unit.Quantity(6.8e-10, "meter")


def test_a_stored_name_with_another_meaning_here_is_refused() -> None:
    registry = bare()
    registry.define("calorie = 4.1868 joule")
    with pytest.raises(InvalidDataError, match=r"'calorie' means 4184 .*something else in this program"):
        registries.check_meaning(registry, {"calorie": 1.0})
    registries.check_meaning(registry, {"joule": 1.0, "kilogram": -1.0})


def test_numbers_stay_as_they_are_where_a_registry_joins_two_names() -> None:
    registry = bare()
    for name, text in (("kilojoule_per_mole", "kilojoule / mole"), ("joules_per_mole", "joule / mole")):
        assert registries.written(registry, registry.Unit(name)) == (1.0, text, ())
    assert as_quantity(registry.Quantity(0.1, "kilojoule_per_mole"), "it").magnitude == 0.1


@pytest.mark.parametrize("written", ["kelvn", "nanometr", "kilojoul / mole"])
def test_a_text_that_is_no_unit_is_refused_with_the_nearest_name(written: str) -> None:
    with pytest.raises(InvalidDataError, match=r"the nearest known name is '(kelvin|nanometer|kilojoule)'"):
        as_quantity(f"1 {written}", "it")


def test_units_outside_the_vocabulary_that_were_stored_before_are_read() -> None:
    read = quantity_from_tree({"value": 2.0, "unit": "acre"}, "an area")
    assert read.units == unit.acre
    assert ThermodynamicState.from_tree({"temperature": {"value": 2.0, "unit": "K"}}).kelvin == 2.0


PROGRAM = """
import sys
import pint
if sys.argv[1] == "bare":
    registry = pint.UnitRegistry(sys.argv[2].splitlines())
    pint.set_application_registry(registry)
from simarchive import *
from simarchive import unit
from simarchive.data import BaseStoredData, register_data_class

@register_data_class("WithUnits", version=1)
class WithUnits(BaseStoredData):
    value: Observable
    name: str
    @classmethod
    def has_ancillary_data(cls):
        return False

if sys.argv[3] == "store":
    with HDF5Storage(sys.argv[4]) as backend:
        for number, name in enumerate(sys.argv[5].split()):
            stored = WithUnits(name=name, value=Observable(value=unit.Quantity(2.5, name)))
            backend.store_object(stored, storage_key=f"k{number}")
else:
    with HDF5Storage(sys.argv[4], mode="r") as backend, HDF5Storage(sys.argv[4] + ".copy") as copy:
        copy.update(backend)
        for key in copy:
            stored = copy.load(key)
            value = stored.value.value
            print(stored.name, value.magnitude, stored.value.to_tree()["value"]["unit"])
"""


canonical = {
    "kilojoule_per_mole": "kilojoule / mole",
    "degF": "degree_Fahrenheit",
    "psi": "pound_force_per_square_inch",
    "kcal": "kilocalorie",
    "deg": "degree",
    "planck": "joule * second",
}


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("writer", "reader", "names"),
    [
        ("bare", "plain", "kilojoule_per_mole joules_per_mole kelvin kilogram planck joule"),
        ("plain", "bare", "degF psi torr eV percent foot kcal hour mmHg degC count deg bar atm debye"),
    ],
)
def test_what_one_registry_stores_another_one_reads_and_copies(
    tmp_path: Path, writer: str, reader: str, names: str
) -> None:
    file = str(tmp_path / "a.h5")
    run(writer, BARE, "store", file, names)
    read = run(reader, BARE, "read", file)
    assert [line.split()[0] for line in read.splitlines()] == names.split()
    for line in read.splitlines():
        name, number, text = line.split(maxsplit=2)
        assert text == canonical.get(name, text)
        assert float(number) == (2.5 * 6.62607015e-34 if name == "planck" else 2.5)
        assert all(vocabulary.meaning_of(part) is not None for part in texts.factors(text))
