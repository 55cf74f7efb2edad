"""`verify`, `repair` and `repack`."""

import re
from pathlib import Path

import h5py
import pytest
from command_runs import Run

WATER = "8d13dbc120154cbaade23403d2d22a29"


def flip_a_byte_of(container: Path, key: str, name: str) -> None:
    with h5py.File(container, "r") as file:
        chunk = file[f"objects/{key}/files/{name}"].id.get_chunk_info(0)
    with container.open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        byte = raw.read(1)
        raw.seek(-1, 1)
        raw.write(bytes([byte[0] ^ 1]))


def test_a_good_container_verifies(run: Run, imported: Path) -> None:
    for options in ([], ["--full"]):
        outcome = run("verify", imported, *options).succeeded()
        assert "13 objects" in outcome.output
        assert outcome.output.endswith("all is well\n")
    assert run("verify", imported, "--full", "--json").succeeded().json["ok"] is True


@pytest.mark.parametrize("options", [[], ["--full"]])
def test_one_flipped_bit_is_named(run: Run, water: Path, options: list[str]) -> None:
    flip_a_byte_of(water, WATER, "trajectory.dcd")
    outcome = run("verify", water, "--json", *options)
    assert outcome.exit_code == 11
    assert outcome.errors == ""
    report = outcome.json
    assert report["ok"] is False
    assert {(problem["key"], problem["member"]) for problem in report["problems"]} == {
        (WATER, "trajectory.dcd")
    }
    text = run("verify", water, *options)
    assert text.exit_code == 11
    assert WATER in text.output
    assert "trajectory.dcd" in text.output


def test_a_damaged_file_is_not_extracted(run: Run, water: Path, tmp_path: Path) -> None:
    flip_a_byte_of(water, WATER, "trajectory.dcd")
    run("extract", water, WATER, "--files", "*.dcd", "-o", "out").failed(11, "trajectory.dcd")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    run("cat", water, f"{WATER}/trajectory.dcd").failed(11)
    run("extract", water, WATER, "--files", "*.pdb", "-o", "out").succeeded()


def test_repair_rebuilds_a_lost_index(run: Run, water: Path) -> None:
    before = run("query", water, "phase=liquid", "--keys").succeeded().output
    with h5py.File(water, "r+", libver=("v110", "v110")) as file:
        del file["index"]
    assert "missing" in run("info", water).succeeded().output
    assert run("verify", water).exit_code == 11
    assert sorted(run("query", water, "phase=liquid", "--keys").output.split()) == sorted(before.split())
    rows = run("repair", water, "--index", "--json").json["rows"]
    assert rows["StoredSimulationData"] == 8
    run("verify", water).succeeded()
    assert run("query", water, "phase=liquid", "--keys").succeeded().output == before


def test_repair_sets_damaged_objects_aside(run: Run, water: Path) -> None:
    key = "8d13dbc120154cbaade23403d2d22a29"
    with h5py.File(water, "r+") as file:
        file[f"objects/{key}"].attrs["document"] = "{ no JSON"
    report = run("repair", water, "--json").json
    assert [damaged["key"] for damaged in report["set_aside"]] == [key]
    assert report["n_objects"] == 12
    assert run("verify", water).exit_code == 0
    run("show", water, key).failed(3)


def test_repack_gives_back_the_room_of_what_was_removed(run: Run, imported: Path, water: Path) -> None:
    run("rm", water, "ed3c", "0f99").succeeded()
    report = run("repack", water, "--json").succeeded().json
    assert report["bytes_after"] < report["bytes_before"]
    assert report["bytes_after"] == water.stat().st_size
    run("verify", water, "--full").succeeded()
    answer = run("diff", imported, water, "--json").json
    assert answer["n_equal"] == 11
    assert answer["changed"] == {}
    assert [path.name for path in water.parent.iterdir()] == ["water.h5"]


def test_a_command_never_makes_the_container_that_it_was_to_change(run: Run, tmp_path: Path) -> None:
    for arguments in (["rm", "no.h5", "k"], ["repair", "no.h5", "--index"], ["repack", "no.h5"]):
        run(*arguments).failed(3, "no.h5")
    assert list(tmp_path.iterdir()) == []


def test_reading_commands_change_no_byte(run: Run, imported: Path) -> None:
    before = imported.read_bytes(), imported.stat().st_mtime_ns
    for arguments in (["info"], ["ls"], ["show", WATER], ["query", "phase=liquid"], ["verify", "--full"]):
        run(arguments[0], imported, *arguments[1:]).succeeded()
    assert (imported.read_bytes(), imported.stat().st_mtime_ns) == before
    assert [path.name for path in imported.parent.iterdir()] == ["water.h5"]


def test_one_damaged_object_hides_no_other(run: Run, water: Path) -> None:
    with h5py.File(water, "r+", libver=("v110", "v110")) as file:
        del file["index"]
        del file[f"objects/{WATER}"].attrs["object_summary"]
        del file[f"objects/{WATER}"].attrs["data_class"]
    classes = {row["key"]: row["data_class"] for row in run("ls", water, "--json").json["objects"]}
    assert len(classes) == 13
    assert classes.pop(WATER) == "damaged"
    assert "damaged" not in classes.values()
    for options in ([], ["--long"]):
        assert WATER[:8] in run("ls", water, *options).output
    assert re.search(r"damaged +1 object", run("info", water).output)
    outcome = run("verify", water, "--json")
    assert outcome.exit_code == 11
    assert WATER in {problem["key"] for problem in outcome.json["problems"]}
    run("show", water, WATER).failed(11, WATER)
    outcome = run("merge", water, "-o", "rest.h5", cwd=water.parent)
    assert outcome.exit_code == 17
    assert "12 objects stored" in outcome.output
    assert "Traceback" not in outcome.errors
