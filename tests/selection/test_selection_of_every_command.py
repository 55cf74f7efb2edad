"""One grammar for all commands: a command with a selection answers as the same command on a subset does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from simarchive import HDF5Storage
from simarchive.cli.application import application
from simarchive.testing.sample_objects import simulation, write_files

STORED_DATA = Path(__file__).parents[2] / "examples" / "stored_data"
WATER, COLD = "8d13dbc120154cbaade23403d2d22a29", "0a701d4c16ac42e1bc24450e699d7783"
FORCE_FIELD = "1377ac1104d545dabe75d0f3fc830153"

SELECTIONS: dict[str, tuple[list[str], str | None]] = {
    "criteria in words": (["phase=liquid", "T=298.15K", "P=1atm"], None),
    "criteria in one word": (["phase=liquid T=290..310K"], None),
    "starts of keys": (["8d13", "0a701d4c"], None),
    "a pattern": (["*a8*"], None),
    "keys on standard input": (["-"], f"{WATER}\n\n{COLD} and more\n"),
    "lines of JSON": (["-"], f'{{"key": "{WATER}", "class": "x"}}\n{{"key": "{FORCE_FIELD}"}}\n'),
    "keys that fulfil criteria": (["-", "phase=liquid"], f"{WATER}\n{COLD}\n"),
    "another class": (["class=equilibration"], None),
}


def invoke(*arguments: object, stdin: str | None = None, code: int = 0) -> Result:
    result = CliRunner().invoke(application, [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        code_of = getattr(result.exception, "exit_code", None)
        if code_of != code:
            raise result.exception
    else:
        assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("whole") / "water.h5"
    invoke("import", STORED_DATA, path)
    yield path


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }


def printed(path: Path, what: list[str], stdin: str | None, *arguments: object) -> Any:
    """Return the JSON of a command on a file, without what names the file."""
    first, *rest = arguments
    answer = json.loads(invoke(first, path, *what, *rest, "--json", stdin=stdin).stdout)
    return {name: value for name, value in answer.items() if name not in ("path", "target", "page")}


def listed(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    return printed(path, what, stdin, "ls")


def listed_as_rows(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    rows = invoke("ls", path, *what, "--ndjson", stdin=stdin).stdout.splitlines()
    assert all(json.loads(row)["schema"] == 1 for row in rows)
    return rows


def shown(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    objects = [{**facts, "stored_at": ""} for facts in printed(path, what, stdin, "show")["objects"]]
    return sorted(objects, key=lambda facts: facts["key"])


def counted(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    return printed(path, what, stdin, "stats", "--by", "class")


def counted_by_extension(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    return printed(path, what, stdin, "stats")


def verified(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    return printed(path, what, stdin, "verify", "--full", "--no-isolated")


def extracted(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    invoke("extract", path, *what, "-o", folder / "out", stdin=stdin)
    return tree(folder / "out")


def exported(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    invoke("export", path, folder / "out", *what, stdin=stdin)
    return tree(folder / "out")


def merged(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    words = [word for word in what if "=" in word]
    others = [option for word in what if "=" not in word for option in ("--only", word)]
    invoke("merge", path, *words, *others, "-o", folder / "out.h5", stdin=stdin)
    return contents(folder / "out.h5")


def copied(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    invoke("subset", path, folder / "out.h5", *what, stdin=stdin)
    return contents(folder / "out.h5")


def reported(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    return printed(path, what, stdin, "report", "-o", folder / "page.html", "--no-isolated")["n_objects"]


def removed(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    copy = Path(shutil.copy(path, folder / "copy.h5"))
    invoke("rm", copy, *what, "--force", stdin=stdin)
    with HDF5Storage(copy, mode="r") as backend:
        return sorted(one.key for one in backend.removed())


def compared(path: Path, what: list[str], stdin: str | None, folder: Path) -> Any:
    return printed(path, [str(STORED_DATA), *what], stdin, "diff")


def contents(path: Path) -> Any:
    with HDF5Storage(path, mode="r") as backend:
        return {key: (backend.header(key).identity, backend.file_digests(key)) for key in backend}


COMMANDS: list[Callable[[Path, list[str], str | None, Path], Any]] = [
    listed,
    listed_as_rows,
    shown,
    counted,
    counted_by_extension,
    verified,
    extracted,
    exported,
    merged,
    copied,
    reported,
    removed,
    compared,
]


# Criteria for each command, and each other way to select for two of them.
CASES = [
    *((command, "criteria in words") for command in COMMANDS),
    *((command, name) for name in SELECTIONS for command in (listed, copied)),
]


@pytest.fixture(scope="session")
def subsets(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("subsets")
    made = {}
    for number, (name, (what, stdin)) in enumerate(SELECTIONS.items()):
        made[name] = folder / f"{number}.h5"
        invoke("subset", whole, made[name], *what, stdin=stdin)
    return made


@pytest.mark.parametrize(("command", "name"), CASES)
def test_a_selection_answers_as_the_same_on_a_subset(
    whole: Path, tmp_path: Path, subsets: dict[str, Path], command: Callable[..., Any], name: str
) -> None:
    what, stdin = SELECTIONS[name]
    subset = subsets[name]
    folders = [tmp_path / "of-whole", tmp_path / "of-subset"]
    for folder in folders:
        folder.mkdir()
    ours, theirs = (
        command(path, what, stdin, folder) for path, folder in zip((whole, subset), folders, strict=True)
    )
    assert ours == theirs
    assert ours


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("starts of keys", {WATER, COLD}),
        ("keys on standard input", {WATER, COLD}),
        ("lines of JSON", {WATER, FORCE_FIELD}),
        ("keys that fulfil criteria", {WATER, COLD}),
    ],
)
def test_keys_select_no_other_object(whole: Path, tmp_path: Path, name: str, keys: set[str]) -> None:
    # A subset is made by the same words, so that it would have what was selected wrongly, too.
    what, stdin = SELECTIONS[name]
    assert {row["key"] for row in listed(whole, what, stdin, tmp_path)["objects"]} == keys


def test_a_selection_reads_no_object_that_it_does_not_select(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    load = HDF5Storage.load

    def noted(self: HDF5Storage, storage_key: str) -> Any:
        seen.append(storage_key)
        return load(self, storage_key)

    monkeypatch.setattr(HDF5Storage, "load", noted)
    invoke("subset", whole, tmp_path / "cold.h5", "T=280K", "phase=liquid")
    assert set(seen) == {COLD, FORCE_FIELD}
    seen.clear()
    for command in (listed, counted, verified):
        command(whole, ["T=280K"], None, tmp_path)
    assert seen == []


@pytest.mark.parametrize(
    ("filters", "by_object"),
    [
        (["--include-component", "CO"], lambda names: "CO" in names),
        (["--exclude-component", "O"], lambda names: "O" not in names),
        (
            ["--include-component", "O", "--exclude-component", "CO"],
            lambda names: "O" in names and "CO" not in names,
        ),
        (["--include-substance", "O"], lambda names: names == {"O"}),
    ],
)
def test_filters_of_substances_read_no_object_that_they_leave_out(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: list[str], by_object: Any
) -> None:
    with HDF5Storage(whole, mode="r") as backend:
        substances = {
            key: {component.smiles for component in stored.substance.components}
            for key in backend
            if hasattr(stored := backend.load(key), "substance")
        }
        without = {key for key in backend if key not in substances}
    expected = {key for key, names in substances.items() if by_object(names)}
    assert expected
    assert len(expected) < len(substances)
    seen: set[str] = set()
    for name in ("load", "glance"):
        method = getattr(HDF5Storage, name)
        monkeypatch.setattr(
            HDF5Storage, name, lambda self, key, method=method: (seen.add(key), method(self, key))[1]
        )
    invoke("subset", whole, tmp_path / "some.h5", *filters)
    assert seen <= expected | without
    with HDF5Storage(tmp_path / "some.h5", mode="r") as backend:
        assert set(backend.keys()) - without == expected


@pytest.mark.parametrize(
    ("words", "stdin", "code", "said"),
    [
        (["nothing-like-it"], None, 3, "nothing-like-it"),
        (["zz*"], None, 3, "no key matches the pattern"),
        (["phase=plasma"], None, 5, "plasma"),
        (["0"], None, 4, "keys start with '0'"),
        (["-"], "{not json\n", 4, "neither a key nor JSON"),
        (["-"], '{"class": "x"}\n', 4, "neither a key nor JSON"),
    ],
)
def test_what_selects_nothing_that_there_is_is_said(
    whole: Path, words: list[str], stdin: str | None, code: int, said: str
) -> None:
    result = invoke("ls", whole, *words, stdin=stdin, code=code)
    assert said in str(result.exception)


def test_an_empty_standard_input_selects_nothing_not_everything(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(whole, tmp_path / "copy.h5"))
    assert json.loads(invoke("rm", copy, "-", "--json", stdin="\n").stdout)["removed"] == []
    assert json.loads(invoke("ls", copy, "-", "--json", stdin="").stdout)["objects"] == []


def test_a_key_that_looks_like_a_criterion_is_a_key(tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    with HDF5Storage(path) as backend:
        files = write_files(tmp_path / "files")
        for key in ("T=280K", "other"):
            backend.store_object(simulation(key), files, storage_key=key)
    assert [row["key"] for row in listed(path, ["T=280K"], None, tmp_path)["objects"]] == ["T=280K"]


# --- the file of the environment ----------------------------------------------------------------------


def test_the_environment_names_the_file(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMARCHIVE_FILE", str(whole))
    assert len(json.loads(invoke("ls", "--json").stdout)["objects"]) == 13
    assert json.loads(invoke("show", "8d13", "--json").stdout)["key"] == WATER
    assert json.loads(invoke("query", "T=280K", "--keys", "--json").stdout)["keys"] == [COLD]
    assert json.loads(invoke("info", "--json").stdout)["n_objects"] == 13
    # A file that is named counts, also if it is missing.
    result = invoke("ls", "missing.h5", code=3)
    assert "there is no container" in str(result.exception)


@pytest.mark.parametrize("command", ["rm", "show", "extract", "restore"])
def test_what_changes_or_shows_objects_needs_a_selection(whole: Path, command: str) -> None:
    options = ["-o", "out"] if command == "extract" else []
    result = invoke(command, whole, *options, code=2)
    assert "name what is to be" in result.output


# --- what else all commands have ------------------------------------------------------------------------


@pytest.mark.parametrize("dry", ["-n", "--dry-run"])
def test_a_dry_run_changes_nothing(whole: Path, tmp_path: Path, dry: str) -> None:
    copy = Path(shutil.copy(whole, tmp_path / "copy.h5"))
    invoke("rm", copy, "8d13")
    before = tree(tmp_path)
    assert "would be removed" in invoke("rm", copy, "T=280K", dry).output
    assert "would be restored" in invoke("restore", copy, "8d13", dry).output
    assert "would be stored" in invoke("subset", copy, tmp_path / "s.h5", "T=280K", dry).output
    assert "would be stored" in invoke("merge", copy, "T=280K", "-o", tmp_path / "m.h5", dry).output
    assert "would be stored" in invoke("import", STORED_DATA, tmp_path / "i.h5", dry).output
    assert "would be stored" in invoke("import", STORED_DATA, copy, dry).output
    assert tree(tmp_path) == before


def test_quiet_and_verbose(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(whole, tmp_path / "copy.h5"))
    assert invoke("rm", copy, "8d13", "-q").output == ""
    assert invoke("restore", copy, "8d13", "--quiet", "--no-progress").output == ""
    assert COLD in invoke("rm", copy, "T=280K", "--verbose").output


# --- completion -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "8d1", [WATER]),
        ([], "pha", ["phase="]),
        ([], "phase=", ["phase=Gas", "phase=Liquid"]),
        ([], "T=", ["T=280K", "T=298.15K", "T=320K"]),
        ([], "class=equi", ["class=equilibration"]),
        (["class=equilibration"], "max_m", ["max_molecules="]),
        (["class=nothing"], "phas", ["phase="]),
    ],
)
def test_keys_criteria_and_values_are_completed(
    whole: Path, words: list[str], incomplete: str, expected: list[str]
) -> None:
    from click.shell_completion import ShellComplete

    found = ShellComplete(application, {}, "simarchive", "_X").get_completions(
        ["ls", str(whole), *words], incomplete
    )
    values = [item.value for item in found]
    assert [value for value in values if value in expected] == expected
    assert len(values) <= len(expected) + 2


def test_a_file_that_cannot_be_read_completes_to_nothing(tmp_path: Path) -> None:
    from click.shell_completion import ShellComplete

    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no HDF5")
    complete = ShellComplete(application, {}, "simarchive", "_X").get_completions
    assert complete(["ls", str(broken)], "8") == []
    assert complete(["ls", str(tmp_path / "missing.h5")], "8") == []
