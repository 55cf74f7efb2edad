"""`import` copies a directory of OpenFF Evaluator, `export` gives it back."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from command_runs import EXAMPLES, Run

STORED = EXAMPLES / "stored_data"


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_import_keeps_every_key_and_leaves_the_directory_as_it_is(
    run: Run, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    directory = tmp_path / "stored data"
    shutil.copytree(STORED, directory)
    before = digests(directory)
    outcome = run("import", directory, "a.h5").succeeded()
    assert outcome.output == f"{directory} -> a.h5: 13 objects stored\n"
    assert digests(directory) == before
    assert set(run("query", "a.h5", "class=force_field", "--keys").output.split()) < set(manifest["objects"])
    listed = run("ls", "a.h5", "--json").succeeded().json["objects"]
    assert {row["key"]: row["data_class"] for row in listed} == {
        key: about["type"] for key, about in manifest["objects"].items()
    }


def test_import_again_stores_nothing_twice(run: Run, water: Path) -> None:
    outcome = run("import", STORED, water, "--json").succeeded()
    [source] = outcome.json["sources"]
    assert source["stored"] == []
    assert len(source["kept"]) == 13


def test_import_reads_a_directory_that_may_not_be_written_to(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "stored_data"
    shutil.copytree(STORED, directory)
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def everything() -> dict[Path, tuple[int, int]]:
        # Root writes where it may not; a file that comes and goes leaves the time of its folder.
        return {
            path: (path.stat().st_size, path.stat().st_mtime_ns)
            for path in (directory, *directory.rglob("*"))
        }

    before = everything()
    run("import", directory, "a.h5").succeeded()
    assert everything() == before


def test_import_names_what_it_cannot_read_and_takes_the_rest(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "stored_data"
    shutil.copytree(STORED, directory)
    bad = "8d13dbc120154cbaade23403d2d22a29"
    (directory / f"{bad}.json").write_text("{ no json")
    outcome = run("import", directory, "a.h5")
    assert outcome.exit_code == 17
    assert "12 objects stored" in outcome.output
    assert "Traceback" not in outcome.errors
    assert bad in outcome.errors
    assert len(run("ls", "a.h5", "--json").json["objects"]) == 12


def test_import_with_a_codec_stores_files_with_it(run: Run) -> None:
    run("import", STORED, "raw.h5", "--codec", "raw").succeeded()
    files = run("show", "raw.h5", "ed3c43fd", "--json").json["files"]
    assert {file["codec"] for file in files} == {"raw"}


def test_export_gives_the_same_keys_and_files(run: Run, imported: Path, tmp_path: Path) -> None:
    run("export", imported, "out").succeeded()
    before, after = digests(STORED), digests(tmp_path / "out")
    files = {name for name in before if "/" in name}
    assert {name: after[name] for name in after if "/" in name} == {name: before[name] for name in files}
    assert set(after) == set(before)
    registry = json.loads((tmp_path / "out" / "object_keys.json").read_text())["object_keys"]
    original = json.loads((STORED / "object_keys.json").read_text())["object_keys"]
    assert {name: set(keys) for name, keys in registry.items() if keys} == {
        name: set(keys) for name, keys in original.items() if keys
    }


def test_what_was_exported_and_imported_again_is_equal(run: Run, imported: Path) -> None:
    run("export", imported, "out").succeeded()
    run("import", "out", "again.h5").succeeded()
    assert run("diff", imported, "again.h5").succeeded().output == "13 objects equal\n"


def test_export_refuses_a_directory_that_is_not_empty(run: Run, imported: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    run("export", imported, "out").failed(7, "not empty")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
