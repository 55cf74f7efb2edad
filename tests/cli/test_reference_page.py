"""docs/reference/command-line.md says what the code does: every command, option and exit code."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from command_runs import ROOT, Run

from simarchive import errors
from simarchive.cli import failures
from simarchive.cli.application import application
from simarchive.cli.arguments import CODECS
from simarchive.codecs import CODEC_CHOICES
from simarchive.queries.expression import parse_query

PAGE = (ROOT / "docs" / "reference" / "command-line.md").read_text()
SECTIONS = dict(re.findall(r"^### simarchive (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
CONTEXT = click.Context(application, info_name="simarchive")


def command_named(name: str) -> click.Command:
    command = application.get_command(CONTEXT, name)
    assert command is not None
    return command


NAMES = application.list_commands(CONTEXT)


def test_every_command_has_its_section_and_no_other() -> None:
    assert list(SECTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_usage_and_options_are_those_of_the_code(name: str) -> None:
    command = command_named(name)
    usage = command.get_usage(click.Context(command, info_name=name, parent=CONTEXT))
    assert f"```text\n{usage.removeprefix('Usage: ')}\n```" in SECTIONS[name]
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    documented = re.findall(r"^\| (`-.*?`) \|", SECTIONS[name], re.MULTILINE)
    written = {option.split()[0] for cell in documented for option in re.findall(r"`([^`]*)`", cell)}
    assert written == {text for option in options for text in option.opts}
    for option in options:
        assert str(option.help) in SECTIONS[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_help_page_has_an_example_of_its_command_and_fits_80_columns(name: str) -> None:
    command = command_named(name)
    context = click.Context(command, info_name=name, parent=CONTEXT, terminal_width=80, max_content_width=80)
    text = command.get_help(context)
    assert re.search(rf"^    simarchive {name} \S", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [["info"], ["ls", "--long"], ["show", "8d13"], ["query"], ["query", "--table"], ["verify"]],
    ids=" ".join,
)
def test_the_fields_of_json_documents_are_described(run: Run, imported: Path, arguments: list[str]) -> None:
    name, *options = arguments
    document = run(name, imported, *options, "--json").succeeded().json
    described = SECTIONS[name].partition("\nJSON: ")[2]
    # What all documents have is said once, for all.
    for field in document.keys() - {"schema"}:
        assert f"`{field}`" in described


def exit_codes() -> Iterator[tuple[int, str]]:
    for name, value in inspect.getmembers(errors, inspect.isclass):
        if issubclass(value, errors.StorageError) and "exit_code" in vars(value):
            yield value.exit_code, name
    yield failures.USAGE, "UsageError"
    for code in (0, failures.UNEXPECTED, failures.INTERRUPTED, failures.BROKEN_PIPE):
        yield code, ""


def test_exit_codes_are_those_of_the_code_and_no_two_errors_share_one() -> None:
    table = PAGE.partition("## Exit codes")[2]
    documented = re.findall(r"^\| (\d+) \| (\w*) ?\| \S.* \|$", table, re.MULTILINE)
    assert [(int(code), name) for code, name in documented] == sorted(exit_codes())
    assert len({code for code, _ in documented}) == len(documented)


def test_every_criterion_of_the_page_can_be_read() -> None:
    cells = re.findall(r"^\| (`.*?`) \| ", SECTIONS["query"], re.MULTILINE)
    expressions = [
        text.replace("\\|", "|").strip('"')
        for cell in cells
        if not cell.startswith("`-")
        for text in re.findall(r"`([^`]*)`", cell)
    ]
    assert len(expressions) > 20
    for expression in expressions:
        parse_query(expression)


def test_codecs_are_those_that_there_are() -> None:
    assert set(CODECS) == set(CODEC_CHOICES)
