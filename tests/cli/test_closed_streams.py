"""Standard streams that are closed, broken or full: the work is done, and the exit code is its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import environment

from simarchive import HDF5Storage

SIMARCHIVE = f"{sys.executable} -m simarchive"


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", line.replace("simarchive", SIMARCHIVE, 1)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )


CLOSED = [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"]
IN_EVERY_WAY = [
    ("show water.h5 8d13 --json", 0),
    ("extract water.h5 8d13 -o out", 0),
    ("rm water.h5 8d13 --force", 0),
    ("ls none.h5 --json", 3),
]
IN_ALL_AT_ONCE = [
    ("ls water.h5", 0),
    ("query water.h5 substance=O", 0),
    ("cat water.h5 8d13/output.pdb", 0),
    ("repack water.h5", 0),
    ("subset water.h5 small.h5 --exclude-component O", 0),
    ("ls none.h5", 3),
    ("nonsense", 2),
    ("--help", 0),
    ("diff water.h5 water.h5", 0),
]


@pytest.mark.parametrize(
    ("arguments", "code", "closed"),
    [
        *((arguments, code, closed) for arguments, code in IN_EVERY_WAY for closed in CLOSED),
        *((arguments, code, CLOSED[-1]) for arguments, code in IN_ALL_AT_ONCE),
    ],
)
def test_a_closed_stream_changes_nothing(arguments: str, code: int, closed: str, water: Path) -> None:
    done = shell(f"simarchive {arguments} {closed}", water.parent)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr + done.stdout
    assert b"simarchive:" not in done.stdout  # no error where an answer should be
    if "verify" not in arguments and ">&-" in closed.split():
        assert done.stdout == b""
    with HDF5Storage(water, mode="r") as backend:
        assert backend.verify().ok
        assert len(backend) == (12 if arguments.startswith("rm") else 13)
    if arguments.startswith("extract"):
        assert len(list((water.parent / "out").rglob("*.dcd"))) == 1


@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1 "])
@pytest.mark.parametrize("arguments", ["ls none.h5", "merge water.h5 -o w.h5", "nonsense", "verify water.h5"])
def test_nobody_who_reads_the_errors_is_no_error(arguments: str, unbuffered: str, water: Path) -> None:
    expected = shell(f"simarchive {arguments}", water.parent).returncode
    (water.parent / "w.h5").unlink(missing_ok=True)
    line = f"{{ {unbuffered}simarchive {arguments} 2>&1 >out; echo $? >code; }} | true"
    shell(line, water.parent)
    assert int((water.parent / "code").read_text()) == expected


@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1 "])
def test_a_reader_who_has_seen_enough_ends_a_command_with_141(unbuffered: str, water: Path) -> None:
    line = f"{{ {unbuffered}simarchive cat water.h5 8d13/trajectory.dcd; echo $? >code; }} | head -c 1"
    done = shell(line, water.parent)
    assert int((water.parent / "code").read_text()) == 141
    assert done.stderr == b""


@pytest.mark.parametrize("arguments", ["ls water.h5", "show water.h5 8d13 --json"])
def test_an_answer_that_cannot_be_written_is_an_error(arguments: str, water: Path) -> None:
    done = shell(f"simarchive {arguments} >/dev/full", water.parent)
    assert done.returncode == 13
    assert b"No space left" in done.stderr
    assert shell(f"simarchive {arguments} 2>/dev/full", water.parent).returncode == 0
