"""The command line on containers that lie elsewhere, and on publishing them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from range_server import RangeServer

import simarchive
from simarchive.remote.map_format import TRAILER_BYTES, Trailer


def simarchive_with(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    source = str(Path(simarchive.__file__).parents[1])
    paths = os.pathsep.join([source, *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-m", "simarchive", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["ls", "--json"],
        ["query", "phase=liquid", "--count"],
        ["stats", "--json"],
        ["verify", "--json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_that_reads_prints_the_same_of_a_url(
    server: RangeServer, published: str, tmp_path: Path, arguments: list[str]
) -> None:
    name, *options = arguments
    local = simarchive_with(name, server.directory / "small.h5", *options, cwd=tmp_path)
    far = simarchive_with(name, published, *options, cwd=tmp_path)
    assert far.returncode == local.returncode == 0, far.stderr
    assert far.stdout.replace(published, str(server.directory / "small.h5")) == local.stdout
    assert far.stderr == local.stderr == ""


def test_files_are_extracted_from_a_url(published: str, tmp_path: Path) -> None:
    found = json.loads(simarchive_with("ls", published, "--json", cwd=tmp_path).stdout)
    keys = [one["key"] for one in found["objects"]][:3]
    done = simarchive_with("extract", published, *keys, "-o", "out", "--files", "*.dcd", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [len((tmp_path / "out" / key / "trajectory.dcd").read_bytes()) for key in keys] == [40_000] * 3


def test_objects_are_merged_from_a_url(published: str, tmp_path: Path) -> None:
    done = simarchive_with("merge", published, "-o", "mine.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert simarchive_with("verify", "mine.h5", "--full", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("arguments", [["rm", "FILE", "abc"], ["repack", "FILE"], ["repair", "FILE"]])
def test_a_command_that_changes_refuses_a_url(published: str, tmp_path: Path, arguments: list[str]) -> None:
    done = simarchive_with(*(published if word == "FILE" else word for word in arguments), cwd=tmp_path)
    assert done.returncode == 8, done.stderr
    assert "lies elsewhere and can only be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_publishing_says_what_the_map_takes(own: Path, tmp_path: Path) -> None:
    done = simarchive_with("repack", own, "--publish", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "its map takes" in done.stdout
    report = json.loads(simarchive_with("repack", own, "--publish", "--json", cwd=tmp_path).stdout)
    data = own.read_bytes()
    trailer = Trailer.at_end_of(data[-TRAILER_BYTES:], len(data))
    assert trailer is not None
    assert report["map_bytes"] == len(data) - trailer.hdf5_end - 128
    report = json.loads(simarchive_with("repack", own, "--json", cwd=tmp_path).stdout)
    assert report["map_bytes"] == 0


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
