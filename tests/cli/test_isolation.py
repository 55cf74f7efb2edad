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
from collections.abc import Callable
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


def doomed(fate: str, *arguments: object, mark: object = "") -> list[str]:
    return [sys.executable, "-c", PROGRAM, WATER, fate, str(mark), *map(str, arguments)]


def run_doomed(fate: str, *arguments: object, **variables: str) -> Outcome:
    done = subprocess.run(
        doomed(FATES[fate], *arguments),
        env=environment() | variables,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("fate", ["a wild read", "SIGSEGV", "SIGBUS", "SIGFPE", "abort"])
def test_a_crash_of_the_library_is_a_sentence_that_names_the_object(imported: Path, fate: str) -> None:
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
    imported: Path, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *others = arguments
    files = [imported, imported] if name == "diff" else [imported]
    error = run_doomed("abort", name, *files, *others, "--isolated").failed(CRASHED, "SIGABRT")
    assert error.count("\n") == 0
    assert not list(tmp_path.rglob("*.h5"))


def test_what_a_crashed_merge_had_made_is_removed(
    imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_doomed("SIGSEGV", "merge", imported, "-o", "out.h5", "--isolated").failed(CRASHED)
    assert list(tmp_path.iterdir()) == []


def test_with_json_the_error_is_one_line_of_json(imported: Path) -> None:
    done = run_doomed("SIGSEGV", "verify", imported, "--json")
    assert done.exit_code == CRASHED
    assert done.output == ""
    error = json.loads(done.errors.splitlines()[-1])
    assert (error["type"], error["exit_code"]) == ("CrashedError", CRASHED)


@pytest.mark.parametrize("fate", ["endless", "asleep"])
def test_what_never_ends_is_given_up(imported: Path, fate: str) -> None:
    begin = time.monotonic()
    done = run_doomed(fate, "show", "--isolated", imported, WATER, SIMARCHIVE_ISOLATED_SECONDS="3")
    done.failed(CRASHED, "more than 3 s", WATER, isolation.TIME_VARIABLE)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("fate", ["bomb", "slow bomb"])
def test_what_takes_all_memory_is_given_up(imported: Path, fate: str) -> None:
    done = run_doomed(fate, "show", "--isolated", imported, WATER, SIMARCHIVE_ISOLATED_MB="1000")
    done.failed(CRASHED, "of memory", WATER, isolation.MEMORY_VARIABLE)


def test_a_child_that_the_system_kills_is_a_sentence(imported: Path) -> None:
    run_doomed("killed", "show", "--isolated", imported, WATER).failed(CRASHED, "was killed", WATER)


def test_signals_end_the_command_as_they_would_without_isolation(imported: Path) -> None:
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
def test_output_and_exit_code_are_those_without_isolation(imported: Path, arguments: list[str]) -> None:
    def outcome(how: str) -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            command_line(arguments[0], how, imported, *arguments[1:]),
            env=environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

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


def test_verify_is_isolated_and_what_lists_is_not(imported: Path) -> None:
    assert run_doomed("SIGSEGV", "verify", imported).exit_code == CRASHED
    assert run_doomed("SIGSEGV", "verify", "--no-isolated", imported).exit_code == -signal.SIGSEGV
    assert run_doomed("SIGSEGV", "show", imported, WATER).exit_code == -signal.SIGSEGV


@pytest.mark.parametrize("is_own", [True, False])
def test_merge_is_isolated_if_a_file_is_of_another_user(tmp_path: Path, water: Path, is_own: bool) -> None:
    if not is_own:
        if os.geteuid() != 0:
            pytest.skip("needs root, to give a file to another user")
        os.chown(water, 12345, 12345)
    done = run_doomed("SIGSEGV", "merge", water, "-o", tmp_path / "out.h5")
    assert done.exit_code == (-signal.SIGSEGV if is_own else CRASHED)


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e3", "٣", "9" * 40])
@pytest.mark.parametrize("variable", [isolation.MEMORY_VARIABLE, isolation.TIME_VARIABLE])
def test_a_limit_that_is_no_number_is_refused(imported: Path, variable: str, value: str) -> None:
    done = subprocess.run(
        command_line("verify", imported),
        env=environment() | {variable: value},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert variable in done.stderr.decode()


def test_a_tighter_limit_of_the_system_holds(imported: Path) -> None:
    def tighten() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    done = subprocess.run(
        doomed(FATES["slow bomb"], "show", "--isolated", imported, WATER),
        env=environment(),
        preexec_fn=tighten,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == CRASHED
    assert b"1.07 GB" in done.stderr


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
            for name in [name for name in group if layout.MEMBER_SIZE not in group[name].attrs]:
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
