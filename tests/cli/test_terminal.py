"""What a person at a terminal of 80 columns gets: colours, tables that fit, bars, and no binary bytes."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

from command_runs import EXAMPLES, command_line, environment

from simarchive.cli.output import printable

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def at_a_terminal(*arguments: object, cwd: Path) -> tuple[int, str]:
    """Run a command with a terminal of 80 columns on both outputs; return exit code and what it shows."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        command_line(*arguments),
        cwd=cwd,
        env=environment() | {"TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux says so when the other end is closed.
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    return process.returncode, shown.decode().replace("\r\n", "\n")


def test_tables_fit_the_terminal_and_say_what_does_not(imported: Path) -> None:
    code, shown = at_a_terminal("query", "water.h5", "phase=liquid", "--table", cwd=imported.parent)
    lines = _ESCAPE.sub("", shown).splitlines()
    assert code == 0
    assert len(lines) == 1 + 7 + 1
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1].startswith("more in a wider window or with --json:")
    assert "CALCULATION" in lines[-1]


def test_columns_of_own_classes_are_listed_as_far_as_they_fit(tmp_path: Path) -> None:
    (tmp_path / "own_class.py").write_text(
        "from typing import Annotated\n"
        "from simarchive import BaseStoredData, InUnit, unit, register_data_class\n"
        "@register_data_class('FitOfOthers', version=1)\n"
        "class Fit(BaseStoredData):\n"
        "    temperature: Annotated[unit.Quantity, InUnit('kelvin')]\n"
        "    method: str\n"
        "    n_windows: int\n"
        "    remarkably_long_name_of_a_column: str\n"
        "    @classmethod\n"
        "    def has_ancillary_data(cls): return False\n"
    )
    program = (
        "from own_class import Fit\nfrom simarchive import HDF5Storage, unit\n"
        "with HDF5Storage('own.h5') as backend:\n"
        "    for kelvin in (290, 300):\n"
        "        stored = Fit(method='Green-Kubo', n_windows=kelvin // 50)\n"
        "        stored.remarkably_long_name_of_a_column = 'a' * 20\n"
        "        stored.temperature = kelvin * unit.kelvin\n"
        "        backend.store_object(stored, None)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(), check=True)
    code, shown = at_a_terminal("ls", "own.h5", cwd=tmp_path)
    heading, first, _, notice = _ESCAPE.sub("", shown).splitlines()
    assert code == 0
    assert heading.split() == ["KEY", "CLASS", "T", "METHOD", "N_WINDOWS"]
    assert first.split()[1:] == ["FitOfOthers", "290", "K", "Green-Kubo", "5"]
    assert notice.endswith("--json: REMARKABLY_LONG_NAME_OF_A_COLUMN")
    piped = subprocess.run(
        command_line("ls", "own.h5"),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout.splitlines()[1].split()[-1] == "a" * 20
    assert piped.stderr == ""


def test_headings_are_bold(imported: Path) -> None:
    assert "\x1b[1m" in at_a_terminal("ls", "water.h5", cwd=imported.parent)[1]


def test_bytes_that_are_not_text_do_not_reach_a_terminal(imported: Path) -> None:
    code, shown = at_a_terminal("cat", "water.h5", "8d13/trajectory.dcd", cwd=imported.parent)
    assert code == 4
    assert shown == "simarchive: '8d13/trajectory.dcd' is not text: send it to a file or a program\n"
    code, shown = at_a_terminal("cat", "water.h5", "8d13/output.pdb", cwd=imported.parent)
    assert code == 0
    assert shown.startswith("REMARK")


def test_a_long_message_is_broken_between_words(imported: Path) -> None:
    code, shown = at_a_terminal("show", "water.h5", "e", cwd=imported.parent)
    assert code == 4
    lines = shown.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("  ") for line in lines[1:])
    assert all(len(line) <= 80 for line in lines)


def test_progress_is_shown_and_gone_when_it_is_done(tmp_path: Path) -> None:
    code, shown = at_a_terminal("import", EXAMPLES / "stored_data", "a.h5", cwd=tmp_path)
    assert code == 0
    assert "importing" in shown
    assert "13/13" in shown
    # All files of the example, as they are outside the container.
    n_bytes = sum(path.stat().st_size for path in (EXAMPLES / "stored_data").rglob("*/*") if path.is_file())
    assert f"{n_bytes / 1e6:.1f} MB" in shown
    # The bar's line is cleared before the answer is printed.
    assert re.search(r"\x1b\[2K.*13 objects stored", shown, re.DOTALL)


def test_what_a_file_holds_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\u202ec") == "a\\x1b[2Jb\\x07\\u202ec"
    assert printable("Öl — 3 µs\tx\n") == "Öl — 3 µs\tx\n"
