"""Commands for tests in processes that need not import anything first: see `command_server`."""

from __future__ import annotations

import atexit
import functools
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import command_server

SERVER = Path(command_server.__file__)


def program(environment: Mapping[str, str]) -> str:
    """Return the text of a shell script that does what `python -m simarchive` does in an environment."""
    command = map(shlex.quote, [sys.executable, "-I", "-S", str(SERVER), socket_of(environment)])
    return f'#!/bin/sh\nexec {" ".join(command)} "$@"\n'


def run(
    arguments: list[str], directory: Path, environment: dict[str, str], timeout_s: float
) -> tuple[int, bytes, bytes]:
    """Run a command without input; return its exit code, and what it printed on its two streams."""
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        Path(os.devnull).open("rb") as nothing,
    ):
        streams = nothing.fileno(), output.fileno(), errors.fileno()
        connection = command_server.ask(
            socket_of(environment), arguments, streams, directory=str(directory), environment=environment
        )
        connection.settimeout(timeout_s)
        code = command_server.exit_code(connection)
        output.seek(0)
        errors.seek(0)
        return code, output.read(), errors.read()


def socket_of(environment: Mapping[str, str]) -> str:
    """Return the socket of the process that begins commands in an environment."""
    variables = ((name, value) for name, value in environment.items() if _counts_at_start(name))
    return _started(tuple(sorted(variables)))


def _counts_at_start(name: str) -> bool:
    """Return whether a variable counts only when an interpreter starts, or the libraries are loaded."""
    return name.startswith(("PYTHON", "LC_", "LANG", "HDF5_")) and name != "PYTHONPATH"


@functools.cache
def _started(variables: tuple[tuple[str, str], ...]) -> str:
    kept = {name: value for name, value in os.environ.items() if not _counts_at_start(name)}
    # Threads are not there any more after a fork.
    kept |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    place = Path(tempfile.mkdtemp(prefix="simarchive-commands-"))
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(place / "socket")],
        env=kept | dict(variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.communicate, timeout=10)  # it ends with its input
    return str(place / "socket")
