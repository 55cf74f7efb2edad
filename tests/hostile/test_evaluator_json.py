"""Evaluator's JSON with a wrong value in one place, any place: an object of ours, or an error of ours."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simarchive import StorageError
from simarchive.storage import evaluator_json
from simarchive.storage.evaluator_json.documents import to_evaluator
from simarchive.storage.evaluator_json.types import TYPE
from simarchive.testing.sample_objects import equilibration, free_energy, simulation

EXAMPLES = Path(__file__).parents[2] / "examples" / "stored_data"
WRONG: list[Any] = [
    None,
    True,
    -1,
    2.5,
    10**30,
    "text",
    "",
    [],
    {},
    [[1, 2], [3]],
    [{"a": 1}, None],
    {TYPE: "float"},
    {TYPE: "numpy.ndarray", "value": [1.0, 2.0]},
    {TYPE: "set", "value": [{TYPE: "numpy.ndarray", "value": [1.0]}, "a"]},
    {TYPE: "openff.evaluator.utils.observables.ObservableArray", "value": 3.0, "gradients": [4.0]},
    {TYPE: "openff.evaluator.utils.observables.Observable", "value": "x", "gradients": {"a": 1}},
    {TYPE: "openff.units.units.Quantity", "value": "5", "unit": []},
    {TYPE: "openff.units.units.Quantity", "value": 1.0, "unit": "kelvin"},
]


def written() -> dict[str, Any]:
    """Return the JSON of an object of each kind, from real files and from here."""
    found = {
        type(stored).__name__: json.loads(
            evaluator_json.dump_typed(to_evaluator(stored.data_class_name, stored.to_document()))
        )
        for stored in (simulation(n_frames=3), equilibration("layer"), free_energy(3.0))
    }
    for path in sorted(EXAMPLES.glob("*.json"), key=lambda path: path.stat().st_size)[:2]:
        found[path.stem] = json.loads(path.read_text())
    return found


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for place, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, place
        if isinstance(value, dict | list):
            yield from places(value)


def read(typed: Any) -> bool:
    try:
        text = json.dumps(typed).encode()
        parsed = evaluator_json.parse_typed(text)
        evaluator_json.check_characters(parsed, text)
        stored = evaluator_json.object_of(parsed, with_files=True)
        stored.validate()
        stored.index_values()
        stored.to_document()
    except StorageError:
        return False
    return True


@pytest.mark.parametrize("name", written())
def test_a_wrong_value_in_any_place_is_an_error_of_ours(name: str) -> None:
    sound = written()[name]
    assert read(sound)
    rng = random.Random(name)
    refused = 0
    n_places = sum(1 for _ in places(sound))
    for number in range(n_places):
        # Each place has some of them; all of them where there are few places.
        for wrong in WRONG if n_places < 100 else rng.sample(WRONG, 4):
            changed = copy.deepcopy(sound)
            holder, place = next(found for count, found in enumerate(places(changed)) if count == number)
            holder[place] = copy.deepcopy(wrong)
            refused += not read(changed)
    assert refused > n_places // 2
