"""Bad input: one line that says what to do, an exit code, and a container that is as it was."""

import json
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import h5py
import pytest
from command_runs import EXAMPLES, Run, command_line, environment

STORED = EXAMPLES / "stored_data"
READING = (
    ["info"],
    ["ls"],
    ["show", "8d13"],
    ["query", "substance=O"],
    ["verify"],
    ["cat", "8d13/output.pdb"],
    ["extract", "8d13", "-o", "out"],
    ["export", "out"],
)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, Path]:
    """Paths at which there is no container, each in its own way."""
    names = ("missing", "directory", "text", "empty", "foreign", "modern")
    places = {name: tmp_path / f"{name}.h5" for name in names}
    places["directory"].mkdir()
    places["text"].write_text("This is a text.\n" * 100)
    places["empty"].write_bytes(b"")
    with h5py.File(places["foreign"], "w") as file:
        file["data"] = [1.0, 2.0]
    with h5py.File(places["modern"], "w", libver=("v110", "v110")) as file:
        file["data"] = [1.0, 2.0]
    return places


@pytest.mark.parametrize(
    ("arguments", "place", "code", "words"),
    [
        *((arguments, "missing", 3, "there is no container") for arguments in READING),
        (["info"], "directory", 10, "is a directory"),
        (["info"], "text", 10, "not an HDF5 file"),
        (["query", "substance=O"], "empty", 10, "not an HDF5 file"),
        (["ls"], "foreign", 10, "container"),
        (["verify"], "modern", 10, "another program"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_reading_what_is_no_container(
    run: Run, tmp_path: Path, bad: dict[str, Path], arguments: list[str], place: str, code: int, words: str
) -> None:
    before = snapshot(tmp_path)
    line = run(arguments[0], bad[place], *arguments[1:]).failed(code, words)
    assert str(bad[place]) in line
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(("place", "code"), [("directory", 10), ("text", 10), ("empty", 10), ("foreign", 10)])
def test_importing_into_what_is_no_container(
    run: Run, tmp_path: Path, bad: dict[str, Path], place: str, code: int
) -> None:
    before = snapshot(tmp_path)
    run("import", STORED, bad[place]).failed(code, str(bad[place]))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "code"), [("{ no json", 11), ("[]", 11), ('{"object_keys": 3}', 11), ("", 11)]
)
def test_a_registry_that_is_none_imports_nothing(
    run: Run, tmp_path: Path, water: Path, text: str, code: int
) -> None:
    directory = tmp_path / "stored_data"
    shutil.copytree(STORED, directory)
    (directory / "object_keys.json").write_text(text)
    before = snapshot(tmp_path)
    run("import", directory, water).failed(code, "object_keys.json")
    run("import", directory, "new.h5").failed(code, "object_keys.json")
    assert snapshot(tmp_path) == before


def test_importing_from_what_is_no_directory(run: Run, tmp_path: Path, water: Path) -> None:
    before = snapshot(tmp_path)
    run("import", "missing", water).failed(3, "missing")
    run("import", water, "new.h5").failed(4, "is a file")
    assert snapshot(tmp_path) == before


def test_a_container_cut_short_is_said_to_be_damaged(run: Run, water: Path) -> None:
    with water.open("r+b") as file:
        file.truncate(water.stat().st_size // 2)
    before = water.read_bytes()
    run("info", water).failed(10, "damaged or was cut short")
    assert water.read_bytes() == before


@pytest.mark.parametrize("command", ["show", "rm", "extract"])
@pytest.mark.parametrize(("key", "code"), [("nothing", 3), ("", 3), ("../water", 3), ("e", 4)])
def test_a_key_that_names_no_object_or_several(
    run: Run, water: Path, command: str, key: str, code: int
) -> None:
    before = water.read_bytes()
    more = ["-o", "out"] if command == "extract" else []
    run(command, water, key, *more).failed(code, repr(key))
    assert water.read_bytes() == before


def test_a_full_disk_keeps_what_was_stored(run: Run, imported: Path, tmp_path: Path) -> None:
    water = tmp_path / "most.h5"
    run("subset", imported, water, "--exclude-substance", "CO").succeeded()
    room = water.stat().st_size + 100_000  # The object that is missing needs four times as much.

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    outcome = run("import", STORED, water, preexec_fn=little_room)
    outcome.failed(13, "make room")
    assert len(run("ls", water, "--json").json["objects"]) == 12
    run("verify", water, "--full").succeeded()
    run("import", STORED, water).succeeded()
    assert len(run("ls", water, "--json").json["objects"]) == 13


def test_a_full_disk_under_a_new_container_leaves_none(run: Run, tmp_path: Path) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    run("import", STORED, "new.h5", preexec_fn=little_room).failed(13, "new.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_an_extraction_leaves_no_half_file(
    run: Run, imported: Path, tmp_path: Path
) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    run("extract", imported, "ed3c", "--files", "*.dcd", "-o", "out", preexec_fn=little_room).failed(14)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_writer_that_waits_in_vain_names_the_holder(run: Run, water: Path, tmp_path: Path) -> None:
    holding = (
        "import sys, time\n"
        "from simarchive import HDF5Storage\n"
        "with HDF5Storage(sys.argv[1]) as backend, backend.transaction():\n"
        "    backend.remove_object('ed3c43fdc7ed421a9217cdb3af675f35')\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [command_line()[0], "-c", holding, str(water)], env=environment(), stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        run("rm", water, "8d13", "--wait", "0.2").failed(9, str(holder.pid))
        assert len(run("ls", water, "--json").json["objects"]) == 13
        holder.kill()
    run("rm", water, "8d13").succeeded()


def test_errors_are_json_lines_when_json_is_asked_for(run: Run, imported: Path) -> None:
    outcome = run("show", imported, "nothing", "--json")
    assert outcome.exit_code == 3
    assert outcome.output == ""
    error = json.loads(outcome.errors)
    assert error["type"] == "NotFoundError"
    assert error["exit_code"] == 3
    assert "nothing" in error["error"]
    usage = run("show", imported, "--json")
    assert usage.exit_code == 2
    assert json.loads(usage.errors)["type"] == "UsageError"


@pytest.mark.parametrize("arguments", [["nonsense"], ["ls"], ["ls", "a.h5", "--nonsense"], ["rm", "a.h5"]])
def test_a_wrong_command_line_is_said_in_two_lines(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments)
    outcome.failed(2, "--help")
    assert len(outcome.errors.splitlines()) == 2


def test_control_c_leaves_with_130(water: Path) -> None:
    waiting = (
        "import sys\n"
        "from simarchive.cli import selection\n"
        "def wait(*arguments):\n"
        "    import time\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "selection.choose = wait\n"
        "from simarchive.cli import main\n"
        "main(['rm', sys.argv[1], '8d13'])\n"
    )
    before = water.read_bytes()
    # A shell starts what runs in the background deaf to Ctrl-C, and this test may be run there.
    waiting = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + waiting
    with subprocess.Popen(
        [command_line()[0], "-c", waiting, str(water)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == b"simarchive: interrupted\n"
    assert water.read_bytes() == before


def test_an_error_that_nobody_expected_keeps_its_traceback(water: Path) -> None:
    script = (
        "import sys\n"
        "from simarchive.cli import selection\n"
        "selection.choose = None\n"
        "from simarchive.cli import main\n"
        "main(['show', sys.argv[1], '8d13'])\n"
    )
    done = subprocess.run(
        [command_line()[0], "-c", script, str(water)], env=environment(), capture_output=True, timeout=60
    )
    assert done.returncode == 70
    assert b"Traceback" in done.stderr
    assert b"TypeError" in done.stderr
