"""What commands print as JSON is JSON: no NaN and no Infinity, wherever such a number comes from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from command_runs import Run

from simarchive import HDF5Storage, SimulationDataQuery
from simarchive.cli.output import as_json
from simarchive.cli.streams import json_text
from simarchive.storage.hdf5 import answers
from simarchive.testing.sample_objects import simulation, write_files


def strictly(text: str) -> object:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [lambda x: x, lambda x: [x], lambda x: {"a": {"b": [1.0, x]}}])
def test_numbers_that_json_lacks_are_refused_if_nobody_made_them_texts(number: float, place: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_text(place(number))
    shown = strictly(json_text(as_json(place(number))))
    name = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(number)]
    assert json.dumps(shown) == json.dumps(place(name))
    assert strictly(json_text(as_json(place(np.float32(number))))) == shown
    assert strictly(json_text(as_json(place(np.array([number]))))) == place([name])


def test_a_table_with_numbers_that_json_lacks_is_json(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with HDF5Storage(path) as backend:
        for key, inefficiency in (("a", 2.0), ("b", math.inf), ("c", math.nan)):
            files = tmp_path / key
            stored = simulation(key, inefficiency=2.0)
            stored.statistical_inefficiency = inefficiency
            backend.store_object(stored, write_files(files), storage_key=key)
        assert len(backend.keys(SimulationDataQuery())) == 3
    for words in (
        ("query", path, "", "--table", "--json"),
        ("show", path, "c", "--json"),
    ):
        outcome = run(*words).succeeded()
        assert strictly(outcome.output)
        assert "Infinity" in outcome.output or "NaN" in outcome.output
    assert answers.plain({"x": np.array([1.0, math.nan])}) == {"x": [1.0, None]}
