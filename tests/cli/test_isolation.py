"""`--isolated`: whatever a file does to the process that reads it is a sentence and an exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import pytest
from command_runs import EXAMPLES, Outcome, Run, command_line, environment

from simarchive.cli import isolation
from simarchive.container import layout

CRASHED = 18
WATER = "8d13dbc120154cbaade23403d2d22a29"

# What a hostile file would make the HDF5 library do, at the moment when this object is opened.
FATES = {
    "a wild read": "import ctypes; ctypes.string_at(0)",
    "SIGSEGV": "os.kill(os.getpid(), signal.SIGSEGV)",
    "SIGBUS": "os.kill(os.getpid(), signal.SIGBUS)",
    "SIGFPE": "os.kill(os.getpid(), signal.SIGFPE)",
    "abort": "os.abort()",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "endless": "while True: pass",
    "asleep": "time.sleep(1000)",
    "bomb": "bytearray(1 << 46)",
    "slow bomb": "kept = []\nwhile True: kept.append(bytearray(1 << 26))",
    "interrupted": "signal.raise_signal(signal.SIGINT)",
    "terminated": "signal.raise_signal(signal.SIGTERM)",
}
PROGRAM = """
import os, signal, sys, time
from simarchive.container import nodes
real, key, fate = nodes.open_group, sys.argv[1], sys.argv[2]
def open_group(parent, name):
    if name == key:
        if len(sys.argv[3]):
            open(sys.argv[3], "w").close()
        exec(fate)
    return real(parent, name)
nodes.open_group = open_group
from simarchive.cli import main
main(sys.argv[4:])
"""


# Not as an exception, which would be one of the server.
DOOMED = PROGRAM.replace(
    "main(sys.argv[4:])",
    "try: main(sys.argv[4:])\nexcept SystemExit as leaving: sys.stdout.flush(); os._exit(leaving.code or 0)",
)


def doomed(fate: str, *arguments: object, mark: object = "") -> list[str]:
    return [sys.executable, "-c", PROGRAM, WATER, fate, str(mark), *map(str, arguments)]


# Starts Python once, and forks for each command: most of the time of a command is that it is imported.
SERVER = """
import importlib, json, os, resource, sys
import simarchive.storage.hdf5.verification, simarchive.storage.merging
from simarchive.cli.application import COMMANDS, module_of
for names in COMMANDS.values():
    for name in names:
        importlib.import_module("simarchive.cli.commands." + module_of(name))
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.chdir(order["folder"])
        for number, name in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
        os.environ.update(order["variables"])
        if order["memory"]:
            resource.setrlimit(resource.RLIMIT_AS, (order["memory"],) * 2)
        sys.argv = ["-c", *order["argv"]]
        exec(compile(order["program"], "<doomed>", "exec"), {"__name__": "__main__"})
        os._exit(99)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
PLAIN = "import sys\nfrom simarchive.cli import main\ntry: main(sys.argv[1:])\n" + (
    "except SystemExit as leaving:\n    sys.stdout.flush()\n    import os\n    os._exit(leaving.code or 0)\n"
)


class Commands:
    """Runs commands in children of one process that has everything imported."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, program: str, argv: Sequence[object], *, memory_bytes: int = 0, **variables: str
    ) -> Outcome:
        self._count += 1
        out, err = self._place / f"{self._count}.out", self._place / f"{self._count}.err"
        order = {
            "folder": str(Path.cwd()),
            "out": str(out),
            "err": str(err),
            "variables": variables,
            "memory": memory_bytes,
            "argv": list(map(str, argv)),
            "program": program,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        return Outcome(code, out.read_bytes().decode("utf-8", "replace"), err.read_text())

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


RunDoomed = Callable[..., Outcome]


@pytest.fixture
def run_doomed(commands: Commands) -> RunDoomed:
    """Run a command that comes to an end of its own when it opens the object `WATER`."""

    def run(fate: str, *arguments: object, memory_bytes: int = 0, **variables: str) -> Outcome:
        argv = doomed(FATES[fate], *arguments)[3:]
        return commands.run(DOOMED, argv, memory_bytes=memory_bytes, **variables)

    return run


@pytest.mark.parametrize("fate", ["a wild read", "SIGSEGV", "SIGBUS", "SIGFPE", "abort"])
def test_a_crash_of_the_library_is_a_sentence_that_names_the_object(
    imported: Path, run_doomed: RunDoomed, fate: str
) -> None:
    line = run_doomed(fate, "verify", imported).failed(CRASHED, "crashed the HDF5 library (SIG", "hostile")
    assert WATER in line
    assert str(imported) in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"], ["ls", "--long"], ["show", WATER], ["query", "phase=liquid"],
        ["cat", f"{WATER}/output.pdb"], ["extract", WATER, "-o", "out"],
        ["verify"], ["diff"], ["merge", "-o", "out.h5"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_every_command_that_only_reads_can_be_isolated(
    imported: Path,
    tmp_path: Path,
    run_doomed: RunDoomed,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *others = arguments
    files = [imported, imported] if name == "diff" else [imported]
    error = run_doomed("abort", name, *files, *others, "--isolated").failed(CRASHED, "SIGABRT")
    assert error.count("\n") == 0
    assert not list(tmp_path.rglob("*.h5"))


def test_what_a_crashed_merge_had_made_is_removed(
    imported: Path, tmp_path: Path, run_doomed: RunDoomed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_doomed("SIGSEGV", "merge", imported, "-o", "out.h5", "--isolated").failed(CRASHED)
    assert list(tmp_path.iterdir()) == []


def test_with_json_the_error_is_one_line_of_json(imported: Path, run_doomed: RunDoomed) -> None:
    done = run_doomed("SIGSEGV", "verify", imported, "--json")
    assert done.exit_code == CRASHED
    assert done.output == ""
    error = json.loads(done.errors.splitlines()[-1])
    assert (error["type"], error["exit_code"]) == ("CrashedError", CRASHED)


@pytest.mark.parametrize("fate", ["endless", "asleep"])
def test_what_never_ends_is_given_up(imported: Path, run_doomed: RunDoomed, fate: str) -> None:
    begin = time.monotonic()
    done = run_doomed(fate, "show", "--isolated", imported, WATER, SIMARCHIVE_ISOLATED_SECONDS="2")
    done.failed(CRASHED, "more than 2 s", WATER, isolation.TIME_VARIABLE)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("fate", ["bomb", "slow bomb"])
def test_what_takes_all_memory_is_given_up(imported: Path, run_doomed: RunDoomed, fate: str) -> None:
    done = run_doomed(fate, "show", "--isolated", imported, WATER, SIMARCHIVE_ISOLATED_MB="1000")
    done.failed(CRASHED, "of memory", WATER, isolation.MEMORY_VARIABLE)


def test_too_little_memory_is_no_damage(imported: Path, run_doomed: RunDoomed) -> None:
    """Without isolation, too: and nobody may take a sound object for a damaged one, and leave it out."""
    for arguments in (["show", imported, WATER], ["merge", imported, "-o", "out.h5"], ["repack", imported]):
        run_doomed("bomb", *arguments).failed(19, "memory", WATER)


def test_a_child_that_the_system_kills_is_a_sentence(imported: Path, run_doomed: RunDoomed) -> None:
    run_doomed("killed", "show", "--isolated", imported, WATER).failed(CRASHED, "was killed", WATER)


def test_signals_end_the_command_as_they_would_without_isolation(
    imported: Path, run_doomed: RunDoomed
) -> None:
    for how in ("--isolated", "--no-isolated"):
        assert (
            run_doomed("interrupted", "show", how, imported, WATER).failed(130) == "simarchive: interrupted"
        )
        assert run_doomed("terminated", "show", how, imported, WATER).exit_code == -signal.SIGTERM


@pytest.mark.parametrize("to", ["parent", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_from_another_process_ends_parent_and_child(
    imported: Path, tmp_path: Path, to: str, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        doomed(FATES["asleep"], "show", "--isolated", imported, WATER, mark=tmp_path / "there"),
        env=environment(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(tmp_path / "there")
    # Handlers wait while a file is read; a child that sleeps there has to be asked three times.
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        (os.killpg if to == "group" else os.kill)(process.pid, number)
        time.sleep(1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("still running")
    assert process.stderr is not None
    errors = process.stderr.read().decode()  # ends when no child is left
    process.stderr.close()
    if number == signal.SIGINT:
        assert (process.wait(), errors) == (130, "simarchive: interrupted\n")
    else:
        assert process.wait() == -signal.SIGTERM


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_parent_that_is_killed_takes_its_child_along(imported: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        doomed(FATES["asleep"], "show", "--isolated", imported, WATER, mark=tmp_path / "there"),
        env=environment(),
        stdout=subprocess.PIPE,
    ) as process:
        wait_for(tmp_path / "there")
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == b""  # ends when no child is left


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"], ["info", "--json"], ["ls"], ["show", "8d13"], ["show", "8d13", "--json"], ["show", "nope"],
        ["query", "phase=liquid"], ["query", "phase=="], ["query", "--table"], ["cat", "8d13/trajectory.dcd"],
        ["verify"], ["verify", "--json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_output_and_exit_code_are_those_without_isolation(
    imported: Path, commands: Commands, arguments: list[str]
) -> None:
    def outcome(how: str) -> Outcome:
        return commands.run(PLAIN, [arguments[0], how, imported, *arguments[1:]])

    assert outcome("--isolated") == outcome("--no-isolated")


def test_a_closed_pipe_is_an_exit_code(imported: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command_line("cat", "--isolated", imported, f"{WATER}/trajectory.dcd"),
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_whoever_reads_the_output_page_by_page_has_all_the_time(imported: Path) -> None:
    with subprocess.Popen(
        command_line("cat", "--isolated", imported, *[f"{WATER}/trajectory.dcd"] * 3),
        env=environment() | {isolation.TIME_VARIABLE: "5"},
        stdout=subprocess.PIPE,
    ) as process:
        time.sleep(8)
        assert process.poll() is None
        read, _ = process.communicate(timeout=60)
    assert len(read) == 3 * (EXAMPLES / "stored_data" / WATER / "trajectory.dcd").stat().st_size
    assert process.returncode == 0


def test_the_terminal_is_that_of_the_command(imported: Path) -> None:
    from test_terminal import at_a_terminal

    code, shown = at_a_terminal("ls", "--isolated", "water.h5", cwd=imported.parent)
    assert code == 0
    assert "\x1b[1m" in shown
    code, shown = at_a_terminal("verify", "water.h5", cwd=imported.parent)
    assert code == 0
    assert re.search(r"verifying.*\x1b\[2K.*all is well", shown, re.DOTALL)


def test_ctrl_c_at_the_terminal_reaches_the_child_once(imported: Path, tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ.update(environment())
        arguments = doomed(
            "while True: signal.sigtimedwait((), 0.1); SIGNALS.deliver()".replace(
                "SIGNALS", "__import__('simarchive.ground.signals').ground.signals.SIGNALS"
            ),
            "show",
            "--isolated",
            imported,
            WATER,
            mark=tmp_path / "there",
        )
        os.execv(arguments[0], arguments)
    wait_for(tmp_path / "there")
    os.write(terminal, b"\x03")
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert shown.replace(b"\r\n", b"\n") == b"^Csimarchive: interrupted\n"


def test_a_crash_gives_the_cursor_back_to_the_terminal(imported: Path) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        doomed(FATES["SIGSEGV"], "verify", imported), env=environment(), stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 1 << 16)
            except OSError:
                break
    os.close(master)
    assert process.returncode == CRASHED
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert shown.rstrip().endswith(b"--isolated")


def test_verify_is_isolated_and_what_lists_is_not(imported: Path, run_doomed: RunDoomed) -> None:
    assert run_doomed("SIGSEGV", "verify", imported).exit_code == CRASHED
    assert run_doomed("SIGSEGV", "verify", "--no-isolated", imported).exit_code == -signal.SIGSEGV
    assert run_doomed("SIGSEGV", "show", imported, WATER).exit_code == -signal.SIGSEGV


def test_whose_a_file_is_decides_for_merge(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isolation.of_others([imported, Path("missing")])
    monkeypatch.setattr(os, "geteuid", lambda: imported.stat().st_uid + 1)
    assert isolation.of_others([Path("missing"), imported])


@pytest.mark.parametrize("is_own", [True, False])
def test_merge_is_isolated_if_a_file_is_of_another_user(
    tmp_path: Path, water: Path, run_doomed: RunDoomed, is_own: bool
) -> None:
    if not is_own:
        if os.geteuid() != 0:
            pytest.skip("needs root, to give a file to another user")
        os.chown(water, 12345, 12345)
    done = run_doomed("SIGSEGV", "merge", water, "-o", tmp_path / "out.h5")
    assert done.exit_code == (-signal.SIGSEGV if is_own else CRASHED)


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e3", "٣", "9" * 40])
@pytest.mark.parametrize("variable", [isolation.MEMORY_VARIABLE, isolation.TIME_VARIABLE])
def test_a_limit_that_is_no_number_is_refused(
    imported: Path, commands: Commands, variable: str, value: str
) -> None:
    commands.run(PLAIN, ["verify", imported], **{variable: value}).failed(2, variable)


def test_a_tighter_limit_of_the_system_holds(imported: Path, run_doomed: RunDoomed) -> None:
    done = run_doomed("slow bomb", "show", "--isolated", imported, WATER, memory_bytes=1 << 30)
    done.failed(CRASHED, "1.07 GB")


def test_a_program_that_calls_the_command_line_goes_on_once(imported: Path) -> None:
    """The child never comes back into the code of its caller."""
    script = (
        "import atexit, sys\n"
        "from simarchive.cli import main\n"
        "atexit.register(print, 'the end')\n"
        "try: main(['verify', sys.argv[1]])\n"
        "except SystemExit as leaving: print('left with', leaving.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(imported)], env=environment(), capture_output=True, timeout=60
    )
    lines = done.stdout.decode().splitlines()
    assert lines[1:] == ["left with 0", "the end"]
    assert lines[0].endswith("all is well")


def test_sizes_are_those_on_the_disk(tmp_path: Path) -> None:
    claim: Callable[[Path], int] = isolation._size
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 43)
    assert claim(tmp_path / "sparse") < 1 << 20
    assert claim(tmp_path) < 1 << 20
    assert claim(tmp_path / "missing") == 0


def test_an_array_that_claims_64_tib_ends_show_in_words_and_costs_no_memory(water: Path, run: Run) -> None:
    with h5py.File(water, "r+", libver=("v110", "v110"), track_order=True) as file:
        for group in file[layout.OBJECTS].values():
            for name in [name for name in group if layout.UNITS in group[name].attrs]:
                attributes = dict(group[name].attrs)
                del group[name]
                claim = group.create_dataset(name, shape=(8 << 40,), dtype="f8", chunks=(1 << 18,))
                claim.attrs.update(attributes)
                key = group.name.rpartition("/")[2]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = run("show", "--isolated", "--json", "--arrays", water, key)
    assert done.exit_code in (11, CRASHED)
    assert "Traceback" not in done.errors
    assert done.output == ""
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 500_000)
