"""`init`, `meta`, `publish-check`, and `export` of metadata: what they print, refuse and leave alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import h5py
import pytest
from command_runs import Run, command_line, environment
from test_reference_page import CONTEXT, PAGE, command_named

from simarchive import HDF5Storage

AUTHOR = "Josiah Carberry <0000-0002-1825-0097> (Brown University)"


@pytest.fixture(scope="session")
def with_metadata(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container with the example data that says what it is; not to be changed."""
    path = Path(shutil.copyfile(imported, tmp_path_factory.mktemp("described") / "water.h5"))
    with HDF5Storage(path) as backend:
        backend.set_metadata(title="Water", license="CC-BY-4.0", authors=[AUTHOR], description="D")
    return path


@pytest.fixture
def described(with_metadata: Path, tmp_path: Path) -> Path:
    """The same, for this test alone."""
    return Path(shutil.copyfile(with_metadata, tmp_path / "water.h5"))


def test_init_makes_a_container_that_says_what_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Title\n\nText\n")
    done = run("init", "a.h5", "--title", "T", "--readme", "README.md", "--keyword", "a, b", "--keyword", "c")
    assert done.succeeded().output == "a.h5: made, with no objects\n"
    shown = run("meta", "show", "a.h5", "--json").succeeded().json
    assert shown["metadata"] == {"title": "T", "readme": "# Title\n\nText", "keywords": ["a", "b", "c"]}
    assert (shown["path"], shown["faults"]) == ("a.h5", {})
    assert run("meta", "show", "a.h5", "--readme").succeeded().output == "# Title\n\nText\n"
    said = run("init", "b.h5", "--json").succeeded().json
    assert said == {"schema": 1, "path": "b.h5", "metadata": {}}


def test_init_touches_nothing_that_is_there_and_leaves_nothing_when_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"mine")
    run("init", "a.h5").failed(7, "exists already")
    assert (tmp_path / "a.h5").read_bytes() == b"mine"
    run("init", "b.h5", "--license", "nonsense").failed(4, "SPDX")
    run("init", "b.h5", "--readme", "missing.md").failed(3, "missing.md")
    run("init", "not/there.h5").failed(3, "no directory")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--license", "CC BY 4.0"], 4, "did you mean 'CC-BY-4.0'"),
        (["--author", "A <0000-0002-1825-0098>"], 4, "check digit"),
        (["--author", "A <a@example.org>"], 4, "e-mail"),
        (["--doi", "none"], 4, "10.5281"),
        (["--title", "New", "--published", "today"], 4, "2027-03-01"),
        (["--title", "\udcff"], 4, "the title"),
        (["--readme", "water.h5"], 4, "not text in UTF-8"),
        ([], 2, "--title"),
    ],
)
def test_what_is_not_valid_changes_nothing(
    run: Run, described: Path, options: list[str], code: int, words: str
) -> None:
    before = described.read_bytes()
    run("meta", "set", described, *options).failed(code, words)
    assert described.read_bytes() == before


def test_set_says_what_it_set_and_removed(run: Run, described: Path) -> None:
    done = run("meta", "set", described, "--doi", "doi:10.5281/zenodo.1", "--title", "")
    assert done.succeeded().output == f"{described}: doi set; title removed\n"
    document = run("meta", "set", described, "--version", "2", "--json").succeeded().json
    assert document["metadata"]["doi"] == "10.5281/zenodo.1"
    assert "title" not in document["metadata"]


def test_a_readme_comes_from_standard_input_too(described: Path) -> None:
    command = command_line("meta", "set", described, "--readme", "-")
    subprocess.run(command, input=b"# From a pipe", env=environment(), check=True, stdout=subprocess.DEVNULL)
    with h5py.File(described) as file:
        assert file.attrs["archive_readme"] == b"# From a pipe"


def test_info_shows_title_authors_and_licence_where_there_are_any(
    run: Run, water: Path, described: Path
) -> None:
    lines = run("info", described).succeeded().output.splitlines()
    assert lines[1:4] == ["  title    Water", "  authors  Josiah Carberry", "  license  CC-BY-4.0"]
    assert run("info", described, "--json").succeeded().json["metadata"]["title"] == "Water"


def test_a_hostile_title_commands_no_terminal(run: Run, water: Path) -> None:
    with h5py.File(water, "r+") as file:
        file.attrs["title"] = "\x1b]0;owned\x07"
        file.attrs["creator_name"] = "a\u202eb"
    for command in (["info"], ["meta", "show"], ["publish-check"]):
        output = run(*command, water).output
        assert "\x1b" not in output
        assert "\u202e" not in output
    assert "title" in run("meta", "show", water, "--json").succeeded().json["faults"]


# --- edit --------------------------------------------------------------------------------------------------


def edit(container: Path, program: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run `meta edit` with an editor that does what a line of Python says to `text`."""
    editor = container.parent / "editor.py"
    editor.write_text(
        "import sys, pathlib\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
        f"{program}\npath.write_text(text)\n"
    )
    variables = environment() | {"EDITOR": f"{sys.executable} {editor}"}
    variables.pop("VISUAL", None)
    return subprocess.run(
        command_line("meta", "edit", container, *options),
        env=variables | {"TMPDIR": str(container.parent)},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def texts_beside(container: Path) -> list[Path]:
    return sorted(container.parent.glob("simarchive-*.toml"))


def test_edit_writes_what_was_edited(run: Run, described: Path) -> None:
    done = edit(
        described,
        "text = text.replace('\"Water\"', '\"Ice\"').replace('keywords = []', 'keywords = [\"k\"]')",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    found = run("meta", "show", described, "--json").succeeded().json["metadata"]
    assert (found["title"], found["keywords"], found["license"]) == ("Ice", ["k"], "CC-BY-4.0")
    assert found["authors"][0]["orcid"] == "0000-0002-1825-0097"
    assert texts_beside(described) == []


def test_edit_without_a_change_changes_nothing(described: Path) -> None:
    before = described.read_bytes()
    done = edit(described, "pass")
    assert done.stdout.decode() == f"{described}: nothing was changed\n"
    assert described.read_bytes() == before
    assert texts_beside(described) == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("text = 'title = \"A\"\\nlicense = CC-BY\\n'", "at line 2"),
        ("text = text.replace('CC-BY-4.0', 'CC BY 4.0', 2)", "line 10: 'CC BY 4.0' is no SPDX"),
        ("text = text + '[x]\\n'", "no field 'x'"),
        ("text = '[' * 100_000", "no TOML"),
    ],
)
def test_a_text_that_cannot_be_read_is_kept_and_gone_on_with(
    run: Run, described: Path, program: str, words: str
) -> None:
    before = described.read_bytes()
    done = edit(described, program)
    message = done.stderr.decode()
    assert done.returncode == 4
    assert words in message
    assert "Traceback" not in message
    assert described.read_bytes() == before
    [kept] = texts_beside(described)
    assert f"--from {kept}" in message
    again = edit(described, "text = 'title = \"Again\"'", "--from", str(kept))
    assert again.returncode == 0, again.stderr
    assert run("meta", "show", described, "--json").succeeded().json["metadata"] == {"title": "Again"}
    # The text that the person names is the person's.
    assert texts_beside(described) == [kept]


def test_a_change_of_somebody_else_is_not_overwritten(run: Run, described: Path) -> None:
    program = (
        "import subprocess\n"
        f"subprocess.run({command_line('meta', 'set', described, '--title', 'Theirs')!r}, check=True)\n"
        "text = text.replace('Water', 'Mine')"
    )
    done = edit(described, program)
    assert done.returncode == 7
    [kept] = texts_beside(described)
    assert "Mine" in kept.read_text()
    assert run("meta", "show", described, "--json").json["metadata"]["title"] == "Theirs"


def test_an_editor_that_fails_changes_nothing(described: Path) -> None:
    before = described.read_bytes()
    done = edit(described, "sys.exit(3)")
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert described.read_bytes() == before
    assert texts_beside(described) == []


# --- publish-check and export ----------------------------------------------------------------------


def test_publish_check_tells_by_its_exit_code(run: Run, described: Path) -> None:
    done = run("publish-check", described).succeeded()
    assert done.output == f"{described}: 13 objects, 25 files: ready to be published\n"
    run("meta", "set", described, "--title", "").succeeded()
    found = run("publish-check", described)
    assert (found.exit_code, found.errors) == (1, "")
    assert "the archive has no title" in found.output
    document = run("publish-check", described, "--json")
    assert document.exit_code == 1
    assert [finding["kind"] for finding in document.json["findings"]] == ["title"]
    assert not document.json["ok"]
    assert run("publish-check", described, "--ignore", "title", "--isolated").exit_code == 0
    run("publish-check", described, "--ignore", "titel").failed(4, "titel")


def test_publish_check_looks_at_what_it_can_of_unknown_classes(
    run: Run, described: Path, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "run.log").write_text("mail jane.doe@example.org\n")
    program = (
        "import sys\nfrom simarchive import *\n"
        "@register_data_class('OfSomebodyElse', version=1)\nclass OfSomebodyElse(BaseStoredData):\n"
        "    name: str = 'a'\n    @classmethod\n    def has_ancillary_data(cls): return True\n"
        # A class whose methods decide what is in its columns has no schema.
        "    def index_values(self): return super().index_values()\n"
        "with HDF5Storage(sys.argv[1]) as backend: backend.store_object(OfSomebodyElse(), sys.argv[2])\n"
    )
    interpreter = command_line()[0]
    subprocess.run(
        [interpreter, "-c", program, str(described), str(tmp_path / "files")], env=environment(), check=True
    )
    document = run("publish-check", described, "--json").json
    assert document["unknown_classes"] == {"OfSomebodyElse": 1}
    assert [(finding["kind"], finding["member"]) for finding in document["findings"]] == [
        ("e-mail", "run.log")
    ]


def test_many_findings_of_a_kind_are_counted(run: Run, described: Path) -> None:
    run("rm", described, "1377", "e4a8", "--force").succeeded()
    output = run("publish-check", described).output
    assert len(re.findall("^force-field  ", output, re.M)) == 5
    assert "force-field: 6 more, see --json" in output


def test_export_writes_what_others_read_and_overwrites_nothing(
    run: Run, described: Path, tmp_path: Path
) -> None:
    options = ["--citation", "CITATION.cff", "--datacite", "datacite.json", "--ro-crate", "crate"]
    done = run("export", described, *options, "--json").succeeded().json
    assert done["written"] == [
        "crate/CITATION.cff",
        "crate/ro-crate-metadata.json",
        "crate/water.h5",
        "CITATION.cff",
        "datacite.json",
    ]
    assert json.loads((tmp_path / "datacite.json").read_text())["titles"] == [{"title": "Water"}]
    run("export", described, "--citation", "CITATION.cff").failed(7, "exists already")
    run("export", described, "--ro-crate", "crate").failed(7, "not empty")
    shown = run("export", described, "--citation", "-").succeeded().output
    assert shown == (tmp_path / "CITATION.cff").read_text()


def test_export_says_what_is_missing_before_it_writes(run: Run, water: Path, tmp_path: Path) -> None:
    run("export", water, "--ro-crate", "crate").failed(4, "title, description, license, authors", "meta set")
    run("export", water, "--citation", "c.cff", "--datacite", "d.json").failed(4, "title, authors")
    refused = run("export", water, "--citation", "-", "--json")
    assert (refused.exit_code, refused.output) == (2, "")
    assert "exclude each other" in json.loads(refused.errors)["error"]
    run("export", water).failed(2, "DIR")
    run("export", water, "dir", "--citation", "c.cff").failed(2, "excludes")
    assert [entry.name for entry in tmp_path.iterdir()] == ["water.h5"]


# --- the page --------------------------------------------------------------------------------

META: Any = command_named("meta")
SECTIONS = dict(re.findall(r"^#### simarchive meta (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_has_a_section_for_each_command_of_meta() -> None:
    assert set(SECTIONS) == set(META.commands)


@pytest.mark.parametrize("name", sorted(META.commands))
def test_usage_options_and_help_of_meta_are_on_the_page(name: str) -> None:
    command = META.commands[name]
    parent = click.Context(META, info_name="meta", parent=CONTEXT)
    context = click.Context(command, info_name=name, parent=parent, terminal_width=80, max_content_width=80)
    assert f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```" in SECTIONS[name]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    documented = re.findall(r"^\| `(-\S+).*?` \|", SECTIONS[name], re.MULTILINE)
    assert set(documented) == {text for option in options for text in option.opts}
    assert all(str(option.help) in SECTIONS[name] for option in options)
    text = command.get_help(context)
    assert re.search(rf"^    simarchive meta {name} \S", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


def test_publish_check_documents_every_kind() -> None:
    from simarchive.storage.publication.check import KINDS

    for kind, meaning in KINDS.items():
        assert f"| `{kind}` | {meaning} |" in PAGE
