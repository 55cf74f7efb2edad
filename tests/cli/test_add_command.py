"""`simarchive add`: runs go in with one command, what is none is named, and nothing is stored twice."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_runs import ROOT, Run, command_line, environment

from simarchive import (
    HDF5Storage,
    IncompleteError,
    InvalidDataError,
    NotFoundError,
    RunQuery,
    parse_query,
)

RUNS = ROOT / "tests" / "data" / "runs"
TABLE = '#"Step","Potential Energy (kJ/mole)","Temperature (K)"\n10,-1.5,299.0\n20,-1.25,{temperature}\n'


def make_runs(place: Path, number: int) -> list[Path]:
    """Return some small runs of OpenMM that differ in one number."""
    made = []
    for index in range(number):
        directory = place / f"r{index:04}"
        directory.mkdir(parents=True)
        (directory / "output.csv").write_text(TABLE.format(temperature=300.0 + index))
        made.append(directory)
    return made


def test_one_run_goes_in_and_is_found_again(run: Run, tmp_path: Path) -> None:
    done = run("add", "lab.h5", RUNS / "openmm-water", "--tag", "apo", "--set", "seed=7", "--set", "T=310K")
    assert (done.exit_code, done.errors) == (0, "")
    assert max(map(len, done.output.splitlines()[1:])) <= 80
    for words in ("OpenMM 8.6.1", "774 atoms, 258 residues", "NPT 310 K", "guessed", "lab.h5: 1 run stored"):
        assert words in done.output
    found = run(
        "query", "lab.h5", "class=any tag=apo atoms>500 metadata.seed=7 T=310K engine=openmm", "--count"
    )
    assert found.output == "1\n"
    listed = run("ls", "lab.h5")
    assert listed.output.split() == [
        "KEY",
        "CLASS",
        "NAME",
        "SUBSTANCE",
        "T",
        "P",
        "PHASE",
        *listed.output.split()[7:],
    ]
    assert "openmm-water" in listed.output


def test_an_add_that_is_repeated_stores_nothing_twice(run: Run) -> None:
    first = run("add", "lab.h5", RUNS / "lammps-lj", RUNS / "lammps-argon")
    assert "2 runs stored" in first.output
    again = run("add", "lab.h5", RUNS / "lammps-lj", RUNS / "lammps-argon")
    assert again.exit_code == 0
    assert "0 runs stored, 2 there already" in again.output


def test_the_same_files_with_other_words_are_told(run: Run, tmp_path: Path) -> None:
    made = make_runs(tmp_path / "runs", 3)
    # Of the name of one of them, and with other files.
    namesake = shutil.copytree(made[1], tmp_path / "others" / "r0000")
    assert run("add", "lab.h5", *made).errors == ""
    assert run("add", "lab.h5", *made).errors == "", "without other words they are there already"
    again = run("add", "lab.h5", *made[:2], namesake, "--tag", "apo", "--json")
    first, second, new = (told["same_files_as"] for told in json.loads(again.output)["runs"])
    assert (len(first), len(second), new) == (1, 1, [])
    told = run("add", "lab.h5", *made, "--tag", "holo")
    assert "3 runs stored" in told.output
    assert "3 runs have the very files of a run that was there" in told.errors
    assert f", as {first[0][:8]}, " in told.errors, "and the one that was added with the tag apo"
    assert "simarchive rm lab.h5 KEY" in told.errors
    # But for the names of directories, which are as long as they are.
    assert max(len(line) for line in told.errors.splitlines() if not line.startswith("  ")) <= 80


def test_links_out_of_a_run_are_followed_when_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    (annexed,) = make_runs(tmp_path / "runs", 1)
    (tmp_path / "annex").mkdir()
    shutil.move(annexed / "output.csv", tmp_path / "annex" / "content")
    (annexed / "output.csv").symlink_to(tmp_path / "annex" / "content")
    refused = run("add", "lab.h5", annexed)
    assert refused.exit_code == InvalidDataError.exit_code
    assert "--follow-links" in refused.errors
    assert "1 run stored" in run("add", "lab.h5", annexed, "--follow-links").output
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        (key,) = backend.keys(RunQuery(name="r0000"))
        assert [(one.name, one.size > 0) for one in backend.list_members(key)] == [("output.csv", True)]
        assert backend.add_run(annexed, follow_links=True) == key
        with pytest.raises(InvalidDataError, match="leads out"):
            backend.add_run(annexed)


def test_a_dry_run_tells_all_and_makes_nothing(run: Run, tmp_path: Path) -> None:
    done = run("add", "lab.h5", RUNS / "lammps-lj", "--dry-run")
    assert done.exit_code == 0
    assert "LAMMPS" in done.output
    assert "1 run would be stored" in done.output
    assert list(tmp_path.iterdir()) == []


def test_json_says_what_was_done_and_understood(run: Run) -> None:
    done = run("add", "lab.h5", RUNS / "gromacs-water", "--json")
    [told] = json.loads(done.output)["runs"]
    assert told["action"] == "add"
    assert len(told["key"]) == 32
    assert (told["engine"], told["n_atoms"], told["temperature"], told["name"]) == (
        "gromacs",
        639,
        300.0,
        "gromacs-water",
    )
    assert {"file": "em.edr", "note": "named like no trajectory, not counted"} in told["notes"]
    assert "Potential" in told["observables"]


def test_a_directory_that_is_no_run_is_named_and_the_rest_is_stored(run: Run, tmp_path: Path) -> None:
    runs = make_runs(tmp_path / "runs", 3)
    (runs[1] / "output.csv").unlink()
    (runs[1] / "notes.txt").write_text("to do\n")
    (tmp_path / "a file").write_text("x")
    done = run("add", "lab.h5", *runs, tmp_path / "missing", tmp_path / "a file")
    assert done.exit_code == IncompleteError.exit_code
    assert "2 runs stored" in done.output
    assert "3 directories left out" in done.errors
    for name in ("r0001", "missing", "a file"):
        assert name in done.errors


@pytest.mark.parametrize(("name", "error"), [("notes", InvalidDataError), ("missing", NotFoundError)])
def test_what_is_no_run_makes_no_container(
    name: str, error: type[Exception], run: Run, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("to do\n")
    done = run("add", "lab.h5", name)
    assert done.exit_code == error.exit_code
    assert name in done.errors
    several = run("add", "lab.h5", name, name)
    assert several.exit_code == IncompleteError.exit_code
    assert not (tmp_path / "lab.h5").exists()


@pytest.mark.parametrize("what", ["runs", "notes"])
def test_a_folder_of_folders_is_no_run_and_the_way_is_named(what: str, run: Run, tmp_path: Path) -> None:
    for made in make_runs(tmp_path / "runs", 2):
        if what == "notes":
            (made / "output.csv").write_text("to do\n")
    done = run("add", "lab.h5", "runs")
    assert done.exit_code == InvalidDataError.exit_code
    assert "name its folders: runs/*/" in done.errors
    assert not (tmp_path / "lab.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--name", "x", "a", "b"), "--name names one run"),
        (("a", "--set", "nothing"), "KEY=VALUE"),
        (("a", "--set", "temperature=warm"), "--set temperature"),
        (("a", "--set", "atoms=many"), "--set atoms"),
        (("a", "--set", "tags=x"), "use --tag"),
        (("a", "--tag", " "), "not blank"),
        (("a", "--substance", "not a smiles"), "smiles"),
        (("a", "--parent", "8d13"), "there is no container"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(
    arguments: tuple[str, ...], words: str, run: Run
) -> None:
    done = run("add", "lab.h5", *arguments)
    assert done.exit_code not in (0, 1, 70)
    assert words.lower() in done.errors.lower()


def test_a_continuation_names_its_parent_by_the_start_of_its_key(run: Run, tmp_path: Path) -> None:
    run("add", "lab.h5", RUNS / "lammps-lj")
    with HDF5Storage(tmp_path / "lab.h5", mode="r") as backend:
        [key] = backend.keys()
    done = run(
        "add", "lab.h5", RUNS / "lammps-argon", "--parent", key[:6], "--name", "next", "--substance", "[Ar]"
    )
    assert done.exit_code == 0, done.errors
    with HDF5Storage(tmp_path / "lab.h5", mode="r") as backend:
        [child] = backend.keys(RunQuery(name="next"))
        assert backend.load(child).parents == [key]
        assert backend.keys(parse_query("class=any contains=[Ar]")) == [child]


def test_an_add_that_is_killed_and_repeated_stores_each_run_once(run: Run, tmp_path: Path) -> None:
    runs = make_runs(tmp_path / "runs", 300)
    running = subprocess.Popen(
        command_line("add", "lab.h5", *runs),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Killed once the first of them are committed: the log has grown by more than a new container's.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        log = tmp_path / "lab.h5-wal"
        if log.exists() and log.stat().st_size > 100_000:
            break
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    with HDF5Storage(tmp_path / "lab.h5", mode="r") as backend:
        n_before = len(backend)
    assert n_before < 300
    done = run("add", "lab.h5", *runs)
    assert done.exit_code == 0, done.errors
    assert f"{300 - n_before} runs stored" in done.output
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        names = [backend.load(key).name for key in backend]
        assert sorted(names) == [f"r{index:04}" for index in range(300)]
        assert backend.verify(full=True).problems == []


def test_many_runs_take_few_commits(run: Run, tmp_path: Path) -> None:
    runs = make_runs(tmp_path / "runs", 200)
    done = run("add", "lab.h5", *runs)
    assert "200 runs stored" in done.output
    # No line for each of so many.
    assert len(done.output.splitlines()) == 1
    from simarchive.storage.runs import adding

    class Counting(HDF5Storage):
        n_transactions = 0

        def transaction(self):  # type: ignore[no-untyped-def]
            self.n_transactions += 1
            return super().transaction()

    with Counting(tmp_path / "other.h5") as backend:
        stored = list(adding.add_runs(backend, adding.read_runs(runs)))
        assert len(stored) == len(backend) == 200
        assert backend.n_transactions <= 200 // adding.MOST_TOGETHER + 10


def test_one_that_cannot_be_stored_stops_none_of_its_commit(tmp_path: Path) -> None:
    from simarchive.storage.runs import adding

    runs = make_runs(tmp_path / "runs", 5)
    read = list(adding.read_runs(runs))
    # It vanishes between the look and the store.
    shutil.rmtree(runs[2])
    with HDF5Storage(tmp_path / "lab.h5") as backend:
        stored = list(adding.add_runs(backend, read))
        assert [one.problem is None for one in stored] == [True, True, False, True, True]
        assert len(backend) == 4


def test_import_of_a_run_says_so_and_names_add(run: Run, tmp_path: Path) -> None:
    done = run("import", RUNS / "openmm-water", "lab.h5")
    assert done.exit_code == InvalidDataError.exit_code
    assert "no directory of OpenFF Evaluator" in done.errors
    assert "simarchive add lab.h5" in done.errors
    assert list(tmp_path.iterdir()) == []
