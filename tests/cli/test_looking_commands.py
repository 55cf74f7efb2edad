"""`info`, `ls`, `show`: what a person sees before asking for more."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import pytest
from command_runs import Run

from simarchive import HDF5Storage, SmirnoffForceFieldSource
from simarchive.container.contents import Contents

WATER = "8d13dbc120154cbaade23403d2d22a29"


def test_info_counts_objects_and_bytes(run: Run, imported: Path, manifest: dict[str, Any]) -> None:
    answer = run("info", imported, "--json").succeeded().json
    objects = manifest["objects"].values()
    files = [file for about in objects for file in about["files"].values()]
    assert answer["objects_by_class"] == Counter(about["type"] for about in objects)
    assert answer["n_objects"] == 13
    assert answer["n_members"] == len(files)
    assert answer["logical_bytes"] == sum(file["size"] for file in files)
    assert 0 < answer["stored_bytes"] < answer["logical_bytes"]
    assert answer["file_bytes"] == imported.stat().st_size
    assert set(answer["index"].values()) == {"ready"}


def test_info_fits_80_columns_and_names_every_class(run: Run, imported: Path) -> None:
    output = run("info", imported.name, cwd=imported.parent).succeeded().output
    assert "8 StoredSimulationData" in output
    assert re.search(r"stored +2\.\d+ MB, 7\d % of the original", output)
    assert max(map(len, output.splitlines())) <= 80


def test_info_of_many_objects_looks_at_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.h5"
    with HDF5Storage(path, durability="close") as backend, backend.transaction():
        for number in range(201):
            backend.store_force_field(SmirnoffForceFieldSource(f"<SMIRNOFF>{number}</SMIRNOFF>"))
    few, all_of_them = (run("info", path, *more, "--json").succeeded().json for more in ((), ("--files",)))
    assert few["objects_by_class"] == {"ForceFieldData": 201}
    assert "n_members" not in few
    assert {name: all_of_them[name] for name in few} == few
    assert all_of_them["n_members"] == 0
    assert "not counted: add --files" in run("info", path).succeeded().output
    with HDF5Storage(path, "r") as backend:
        opened: list[str] = []
        monkeypatch.setattr(Contents, "_node", lambda self, key: opened.append(key))
        assert backend.overview().as_dict() == {name: few[name] for name in backend.overview().as_dict()}
        assert opened == []


def test_objects_are_counted_by_class_where_the_index_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with HDF5Storage(path) as backend:
        for number in range(3):
            backend.store_force_field(SmirnoffForceFieldSource(f"<SMIRNOFF>{number}</SMIRNOFF>"))
    with h5py.File(path, "r+") as file:
        del file["index"]
    with HDF5Storage(path, "r") as backend:
        assert backend.overview().objects_by_class == {"ForceFieldData": 3}


def test_ls_has_a_line_for_each_object_that_fits_80_columns(
    run: Run, imported: Path, manifest: dict[str, Any]
) -> None:
    heading, *lines = run("ls", imported).succeeded().output.splitlines()
    assert heading.split() == ["KEY", "CLASS", "SUBSTANCE", "T", "P", "PHASE"]
    assert [line[:8] for line in lines] == [key[:8] for key in order(run, imported)]
    assert {line[:8] for line in lines} == {key[:8] for key in manifest["objects"]}
    assert max(len(line) for line in lines) <= 80
    [line] = [line for line in lines if line.startswith(WATER[:8])]
    assert line.split() == [WATER[:8], "simulation", "O", "298.15", "K", "1", "atm", "Liquid"]


def order(run: Run, container: Path) -> list[str]:
    return [row["key"] for row in run("ls", container, "--json").succeeded().json["objects"]]


def test_ls_shows_one_class_by_its_short_or_long_name(run: Run, imported: Path) -> None:
    for name in ("free_energy", "free-energy", "StoredFreeEnergyData"):
        [row] = run("ls", imported, "--class", name, "--json").succeeded().json["objects"]
        assert row["data_class"] == "StoredFreeEnergyData"
    run("ls", imported, "--class", "trained_model").failed(3, "simulation, ")


def test_ls_long_shows_whole_keys_and_files(run: Run, imported: Path, manifest: dict[str, Any]) -> None:
    lines = run("ls", imported, "--long").succeeded().output.splitlines()[1:]
    assert {line.split()[0] for line in lines} == set(manifest["objects"])
    assert max(len(line) for line in lines) <= 80
    rows = run("ls", imported, "--long", "--json").succeeded().json["objects"]
    for row in rows:
        files = manifest["objects"][row["key"]]["files"]
        assert row["n_files"] == len(files)
        assert row["size"] == sum(file["size"] for file in files.values())


def test_show_tells_state_and_files(run: Run, imported: Path, manifest: dict[str, Any]) -> None:
    output = run("show", imported, WATER[:4]).succeeded().output
    assert output.splitlines()[0] == WATER
    assert re.search(r"^thermodynamic_state +298\.15 K, 1 atm$", output, re.MULTILINE)
    for name in manifest["objects"][WATER]["files"]:
        assert name in output


def test_show_as_json_has_the_document(run: Run, imported: Path, manifest: dict[str, Any]) -> None:
    answer = run("show", imported, WATER, "--json").succeeded().json
    about = manifest["objects"][WATER]
    assert answer["data_class"] == "StoredSimulationData"
    document = answer["document"]
    assert document["thermodynamic_state"]["temperature"] == {"value": 298.15, "unit": "kelvin"}
    assert document["statistical_inefficiency"] == about["statistical_inefficiency"]
    assert document["number_of_molecules"] == 180
    sizes = {file["name"]: file["size"] for file in answer["files"]}
    assert sizes == {name: file["size"] for name, file in about["files"].items()}


def test_show_as_json_gives_the_values_of_arrays_when_asked(
    run: Run, imported: Path, manifest: dict[str, Any]
) -> None:
    def energy(*options: str) -> Any:
        document = run("show", imported, WATER, "--json", *options).succeeded().json["document"]
        return document["observables"]["PotentialEnergy"]["value"]["value"]

    frames = manifest["objects"][WATER]["n_frames"]
    assert energy() == {"shape": [frames, 1], "dtype": "float64"}
    values = energy("--arrays")
    assert len(values) == frames
    assert all(isinstance(value, float) for [value] in values)


@pytest.mark.parametrize("key", ["1377ac11", "0f996c1c", "927139cf", "e4a8b4a9", "ed3c43fd"])
def test_show_fits_80_columns_for_every_class(run: Run, imported: Path, key: str) -> None:
    lines = run("show", imported, key).succeeded().output.splitlines()
    assert max(len(line) for line in lines) <= 80


def test_json_is_strict(run: Run, imported: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    for arguments in (["show", imported, WATER, "--arrays"], ["ls", imported], ["info", imported]):
        json.loads(run(*arguments, "--json").succeeded().output, parse_constant=refuse)


def test_output_that_goes_to_a_program_has_no_colour(run: Run, imported: Path) -> None:
    for arguments in (["ls"], ["info"], ["query"]):
        assert "\x1b" not in run(arguments[0], imported).succeeded().output
