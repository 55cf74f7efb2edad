"""The command line on containers that lie elsewhere, and on publishing them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from range_server import RangeServer

import simarchive
from simarchive.cli.application import application
from simarchive.errors import ReadOnlyError
from simarchive.remote.map_format import TRAILER_BYTES, Trailer


def run(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(application, list(map(str, arguments)))


def output_of(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["ls", "--json"],
        ["query", "phase=liquid", "--count"],
        ["stats"],
        ["verify", "--no-isolated"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_that_reads_prints_the_same_of_a_url(
    server: RangeServer, published: str, arguments: list[str]
) -> None:
    name, *options = arguments
    path = str(server.directory / "small.h5")
    assert output_of(name, published, *options).replace(published, path) == output_of(name, path, *options)


def test_files_are_extracted_from_a_url(published: str, tmp_path: Path) -> None:
    keys = [one["key"] for one in json.loads(output_of("ls", published, "--json"))["objects"]][:3]
    output_of("extract", published, *keys, "-o", tmp_path / "out", "--files", "*.dcd")
    assert [len((tmp_path / "out" / key / "trajectory.dcd").read_bytes()) for key in keys] == [40_000] * 3


def test_objects_are_merged_from_a_url(published: str, tmp_path: Path) -> None:
    output_of("merge", published, "-o", tmp_path / "mine.h5", "--no-isolated")
    assert json.loads(output_of("info", tmp_path / "mine.h5", "--json"))["n_objects"] == 60


@pytest.mark.parametrize("arguments", [["rm", "FILE", "abc"], ["repack", "FILE"]])
def test_a_command_that_changes_refuses_a_url(published: str, arguments: list[str]) -> None:
    done = run(*(published if word == "FILE" else word for word in arguments))
    assert isinstance(done.exception, ReadOnlyError)
    assert f"'{published}' lies elsewhere and can only be read" in str(done.exception)


def test_publishing_says_what_the_map_takes(own: Path) -> None:
    assert "its map takes" in output_of("repack", own, "--publish")
    report = json.loads(output_of("repack", own, "--publish", "--json"))
    data = own.read_bytes()
    trailer = Trailer.at_end_of(data[-TRAILER_BYTES:], len(data))
    assert trailer is not None
    assert report["map_bytes"] == len(data) - trailer.hdf5_end - 128
    assert json.loads(output_of("repack", own, "--json"))["map_bytes"] == 0


def test_a_local_command_loads_nothing_of_this(own: Path, tmp_path: Path) -> None:
    text = (
        "import sys; from simarchive.cli import main\n"
        f"sys.argv = ['simarchive', 'ls', {str(own)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "loaded = {name for name in sys.modules if name.startswith(('obstore', 'simarchive.remote'))}\n"
        "assert not loaded & {'obstore', 'simarchive.remote.object_store'}, loaded\n"
    )
    source = str(Path(simarchive.__file__).parents[1])
    paths = os.pathsep.join([source, *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
