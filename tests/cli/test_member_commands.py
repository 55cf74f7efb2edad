"""`extract` and `cat`: files come out byte for byte."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_runs import Run, command_line, environment

WATER = "8d13dbc120154cbaade23403d2d22a29"
METHANOL = "ed3c43fdc7ed421a9217cdb3af675f35"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_file_extracts_as_it_was(
    run: Run, imported: Path, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    keys = [key for key, about in manifest["objects"].items() if about["files"]]
    outcome = run("extract", imported, *keys, "-o", "out").succeeded()
    expected = {
        f"out/{key}/{name}": file["sha256"]
        for key in keys
        for name, file in manifest["objects"][key]["files"].items()
    }
    assert set(outcome.output.splitlines()) == set(expected)
    assert {path: sha256(tmp_path / path) for path in expected} == expected
    found = {str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == set(expected)


def test_patterns_choose_files_by_whole_name_or_last_part(run: Run, imported: Path, tmp_path: Path) -> None:
    outcome = run("extract", imported, "ed3c", "--files", "*.csv", "--files", "*.pdb", "-o", "out", "--json")
    names = [file["name"] for file in outcome.succeeded().json["files"]]
    assert sorted(names) == ["analysis/energies/statistics.csv", "analysis/rdf_O_O.csv", "output.pdb"]
    assert (tmp_path / "out" / METHANOL / "analysis" / "energies" / "statistics.csv").is_file()


def test_flat_puts_files_into_the_directory_itself(run: Run, imported: Path) -> None:
    outcome = run("extract", imported, "8d13", "--files", "*.pdb", "--flat", "-o", "out").succeeded()
    assert outcome.output == "out/output.pdb\n"
    run("extract", imported, "8d13", "0a70", "--flat", "-o", "two").failed(7, "output.pdb")


def test_a_file_that_exists_is_replaced_only_when_asked(run: Run, imported: Path, tmp_path: Path) -> None:
    place = tmp_path / "out" / WATER / "output.pdb"
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    run("extract", imported, "8d13", "-o", "out").failed(7, "exists already")
    assert place.read_text() == "mine"
    assert list(place.parent.iterdir()) == [place]
    run("extract", imported, "8d13", "-o", "out", "--overwrite").succeeded()
    assert place.read_text() != "mine"


def test_nothing_to_extract_is_said(run: Run, imported: Path, tmp_path: Path) -> None:
    run("extract", imported, "8d13", "--files", "*.xtc", "-o", "out").failed(3, "*.xtc")
    run("extract", imported, "1377", "-o", "out").failed(3, "has no files")
    assert not (tmp_path / "out").exists()


def test_cat_writes_the_bytes_of_files_one_after_another(imported: Path, manifest: dict[str, Any]) -> None:
    names = ("output.pdb", "trajectory.xtc")
    done = subprocess.run(
        command_line("cat", imported, *(f"ed3c43fd/{name}" for name in names)),
        env=environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    files = manifest["objects"][METHANOL]["files"]
    first = done.stdout[: files[names[0]]["size"]]
    assert hashlib.sha256(first).hexdigest() == files[names[0]]["sha256"]
    assert hashlib.sha256(done.stdout[len(first) :]).hexdigest() == files[names[1]]["sha256"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_cat_gives_a_slow_reader_every_byte(
    imported: Path, manifest: dict[str, Any], unbuffered: str
) -> None:
    with subprocess.Popen(
        command_line("cat", imported, f"{WATER}/trajectory.dcd"),
        env=environment() | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        digest = hashlib.sha256()
        while piece := process.stdout.read(1000):
            digest.update(piece)
    assert process.returncode == 0
    assert digest.hexdigest() == manifest["objects"][WATER]["files"]["trajectory.dcd"]["sha256"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_ends_the_command_silently(water: Path, unbuffered: str) -> None:
    with subprocess.Popen(
        command_line("cat", water, "ed3c/trajectory.dcd", "ed3c/trajectory.nc"),
        cwd=water.parent,
        env=environment() | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("8d13/nothing.pdb", 3, ["has no file 'nothing.pdb'", "it has output.pdb, trajectory.dcd"]),
        ("8d13/../../etc/passwd", 4, [".."]),
        ("8d13//etc/passwd", 4, ["/etc/passwd"]),
        ("8d13", 4, ["add the file"]),
        ("ffff/output.pdb", 3, ["ffff"]),
        ("1377/output.pdb", 3, ["none"]),
    ],
)
def test_cat_of_no_file_says_what_there_is(
    run: Run, imported: Path, name: str, code: int, words: list[str]
) -> None:
    outcome = run("cat", imported, name)
    outcome.failed(code, *words)
    assert outcome.output == ""


def test_a_full_disk_under_standard_output_is_one_line(imported: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command_line("cat", imported, "8d13/trajectory.dcd"),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 13
    assert done.stderr.decode() == "simarchive: No space left on device\n"
