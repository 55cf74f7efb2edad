"""`simarchive amend`, `append` and `show --history`, as somebody types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest_of_amending import FILES, KEY, Stored

from simarchive import HDF5Storage
from simarchive.cli.application import main


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    assert ended.value.code == code, output.err
    return (output.err if code else output.out).splitlines()


def test_all_changes_of_a_line_are_one_commit(stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    new, fixed = stored.source(b"1,2\n"), stored.source(b"ATOM\n")
    lines = said(
        capsys,
        *("amend", stored.path, KEY[:4], "--add", f"analysis/rdf.csv={new}", "--add", fixed),
        *("--replace", f"system.pdb={fixed}", "--rename", "twin.bin=same.bin", "--remove", "folder/log.txt"),
        *("--tag", "production", "--untag", "draft", "--note", "restarted at 40 ns", "--by", "Ada"),
    )
    assert lines == [
        "renamed twin.bin to same.bin",
        "removed folder/log.txt",
        "replaced system.pdb, 5 B now",
        "added analysis/rdf.csv, 4 B now",
        f"added {fixed.name}, 5 B now",
        "untagged draft",
        "tagged production",
        "note: restarted at 40 ns",
    ]
    stored.files |= {"analysis/rdf.csv": b"1,2\n", fixed.name: b"ATOM\n", "system.pdb": b"ATOM\n"}
    stored.files["same.bin"] = stored.files.pop("twin.bin")
    del stored.files["folder/log.txt"]
    stored.check()
    shown = said(capsys, "show", stored.path, KEY[:4], "--history")
    assert shown[0] == KEY
    assert [line.split("  ")[-1].strip() for line in shown[2:]] == ["stored", *lines]
    assert sum(" Ada " in line for line in shown) == len(lines)


def test_one_change_that_cannot_be_made_undoes_the_others(
    stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stored.path.read_bytes()
    (line,) = said(
        capsys, "amend", stored.path, KEY[:4], "--tag", "x", "--remove", "twin.bin", "--remove", "no", code=3
    )
    assert line.startswith(f"simarchive: object '{KEY}' has no file 'no': it has ")
    assert stored.path.read_bytes() == before


WRONG = {
    "nothing is to be changed": [],
    "--rename takes OLD=NEW": ["--rename", "twin.bin"],
    "does not exist": ["--add", "missing.txt"],
    "names the file 'system.pdb'": ["--remove", "system.pdb"],
}


@pytest.mark.parametrize("words", WRONG)
def test_what_makes_no_sense_is_said_in_one_line(
    stored: Stored, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["amend", str(stored.path), KEY[:4], *WRONG[words]])
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert ended.value.code not in (0, 1)


def test_a_path_with_an_equals_sign_is_a_path_if_it_is_there(
    stored: Stored, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "T=300.csv").write_bytes(b"300")
    said(capsys, "amend", stored.path, KEY[:4], "--add", tmp_path / "T=300.csv")
    stored.files["T=300.csv"] = b"300"
    stored.check()


def test_append_says_what_is_new(stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    source = stored.source(FILES["frames.bin"] + bytes(1_000_000))
    place = f"{KEY[:4]}/frames.bin"
    assert said(capsys, "append", stored.path, place, source) == ["frames.bin: 1 MB added, 3.4 MB now"]
    assert said(capsys, "append", stored.path, place, source) == ["frames.bin: nothing new, 3.4 MB as before"]
    stored.files["frames.bin"] = source.read_bytes()
    stored.check()
    source.write_bytes(b"x" + source.read_bytes()[1:] + b"y")
    (line,) = said(capsys, "append", stored.path, place, source, code=7)
    assert "does not begin with what is stored as 'frames.bin'" in line
    (line,) = said(capsys, "append", stored.path, KEY[:4], source, code=4)
    assert "is only a key" in line
    with HDF5Storage(stored.path, mode="r") as backend:
        assert [event.action for event in backend.history(KEY)] == ["store", "append"]


def test_programs_get_json(stored: Stored) -> None:
    import json

    from simarchive.cli.commands import amend, append, show

    def answer(command: object, *arguments: object) -> object:
        result: Result = CliRunner().invoke(command, [*map(str, arguments), "--json"])  # type: ignore[arg-type]
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    amended = answer(amend.command, stored.path, KEY[:4], "--tag", "x", "--by", "Ada")
    assert amended["key"] == KEY
    (event,) = amended["events"]
    assert {**event, "at": ""} == {"at": "", "action": "add-tags", "by": "Ada", "tags": ["x"]}
    source = stored.source(FILES["system.pdb"] + b"END\n")
    appended = answer(append.command, stored.path, f"{KEY[:4]}/system.pdb", source)
    assert {**appended, "blake3": ""} == {
        "schema": 1,
        "key": KEY,
        "file": "system.pdb",
        "added_bytes": 4,
        "size": 204,
        "blake3": "",
    }
    history = answer(show.command, stored.path, KEY[:4], "--history")["history"]
    assert [one["action"] for one in history] == ["store", "add-tags", "append"]
