"""`merge`, `subset`, `diff` and `rm`."""

from pathlib import Path

import pytest
from command_runs import EXAMPLES, Run

WATER = "8d13dbc120154cbaade23403d2d22a29"
METHANE = "5881a78ba8dc46f2ab14e67259f3d06b"  # in water: C{sol}{n=1}|O
FORCE_FIELD = "1377ac1104d545dabe75d0f3fc830153"
TLEAP = "e4a8b4a976664d85bddf0893910125c8"
OF_TLEAP = "ba2c4bfb48ce4bcc9a8d1ecd9a5d18c8"


def keys_of(run: Run, container: object) -> set[str]:
    return {row["key"] for row in run("ls", container, "--json").succeeded().json["objects"]}


def test_what_a_subset_leaves_out_merges_back_to_the_whole(run: Run, imported: Path) -> None:
    run("subset", imported, "wet.h5", "--include-component", "O").succeeded()
    run("subset", imported, "dry.h5", "--exclude-component", "O").succeeded()
    run("merge", "wet.h5", "dry.h5", "-o", "all.h5").succeeded()
    assert run("diff", imported, "all.h5").succeeded().output == "13 objects equal\n"


def test_subset_excludes_a_component_in_every_role_and_keeps_what_is_referred_to(
    run: Run, imported: Path
) -> None:
    run("subset", imported, "dry.h5", "--exclude-component", "O").succeeded()
    dry = keys_of(run, "dry.h5")
    assert WATER not in dry
    assert METHANE not in dry
    assert {OF_TLEAP, TLEAP, FORCE_FIELD} <= dry
    run("subset", imported, "sol.h5", "--include-component", "C{sol}").succeeded()
    assert keys_of(run, "sol.h5") == {METHANE, "0f996c1c27dd4cf7960325cafbd16113", FORCE_FIELD}


def test_subset_by_substance(run: Run, imported: Path) -> None:
    run("subset", imported, "mix.h5", "--include-substance", "O|CO").succeeded()
    rows = run("ls", "mix.h5", "--json").json["objects"]
    substances = {row["substance"] for row in rows if "substance" in row}
    assert substances == {"CO{solv}{x=0.500000}|O{solv}{x=0.500000}"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--include-component", "O", "--exclude-component", "O"], ["both included and excluded"]),
        (["--include-component", "water?"], ["water?"]),
        ([], ["no filter"]),
    ],
)
def test_a_filter_that_makes_no_sense_makes_no_container(
    run: Run, imported: Path, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    run("subset", imported, "out.h5", *options).failed(4, *words)
    assert not list(tmp_path.iterdir())


def test_merge_reads_directories_too_and_stores_equal_objects_once(run: Run, imported: Path) -> None:
    outcome = run("merge", imported, EXAMPLES / "stored_data", "-o", "all.h5", "--json").succeeded()
    first, second = outcome.json["sources"]
    assert len(first["stored"]) == 13
    assert second["stored"] == []
    assert len(second["kept"]) == 13


def test_a_dry_run_says_the_same_and_writes_nothing(run: Run, imported: Path, tmp_path: Path) -> None:
    run("subset", imported, "wet.h5", "--include-component", "O").succeeded()
    before = {path.name for path in tmp_path.iterdir()}
    planned = run("merge", imported, "wet.h5", "-o", "all.h5", "--dry-run", "--json").succeeded().json
    assert {path.name for path in tmp_path.iterdir()} == before
    done = run("merge", imported, "wet.h5", "-o", "all.h5", "--json").succeeded().json
    assert planned == {**done, "dry_run": True}


def test_merge_never_takes_the_place_of_a_file(run: Run, imported: Path, tmp_path: Path) -> None:
    (tmp_path / "all.h5").write_text("mine")
    run("merge", imported, "-o", "all.h5").failed(7, "exists already")
    run("subset", imported, "all.h5", "--exclude-component", "O").failed(7, "exists already")
    assert (tmp_path / "all.h5").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["all.h5"]


def test_a_merge_that_fails_leaves_nothing(run: Run, imported: Path, tmp_path: Path) -> None:
    run("merge", imported, "missing.h5", "-o", "all.h5").failed(3, "missing.h5")
    assert list(tmp_path.iterdir()) == []


def test_diff_names_what_is_missing_and_what_changed(run: Run, imported: Path, water: Path) -> None:
    assert run("diff", imported, water).succeeded().output == "13 objects equal\n"
    run("rm", water, WATER).succeeded()
    outcome = run("diff", imported, water, "--json")
    assert outcome.exit_code == 1
    assert outcome.json["only_in_first"] == [WATER]
    assert outcome.json["n_equal"] == 12
    assert outcome.json["equal"] is False
    text = run("diff", water, imported)
    assert text.exit_code == 1
    assert text.errors == ""
    assert WATER in text.output


def test_rm_removes_all_or_nothing(run: Run, water: Path) -> None:
    before = keys_of(run, water)
    run("rm", water, "8d13", "no-such-key").failed(3, "no-such-key")
    assert keys_of(run, water) == before
    outcome = run("rm", water, "8d13", "0a70", "8d13dbc1").succeeded()
    assert outcome.output == f"{water}: 2 objects removed\n"
    assert keys_of(run, water) == before - {WATER, "0a701d4c16ac42e1bc24450e699d7783"}


def test_rm_keeps_what_others_refer_to_unless_they_go_too(run: Run, water: Path) -> None:
    before = keys_of(run, water)
    run("rm", water, TLEAP).failed(7, OF_TLEAP, "--force")
    assert keys_of(run, water) == before
    run("rm", water, TLEAP, OF_TLEAP).succeeded()
    assert keys_of(run, water) == before - {TLEAP, OF_TLEAP}
    run("rm", water, FORCE_FIELD, "--force").succeeded()
    assert FORCE_FIELD not in keys_of(run, water)
