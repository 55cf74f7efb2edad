"""Commands that begin where their imports are done: each in a process of its own, forked from one that waits.

Two thirds of the time of a small command are imports of what never changes. What a test sees of a command
that begins here is the same: another process, with its own streams, directory, environment and exit code.
Tests of start-up, signals, terminals and limits start the real program.

    python command_server.py SOCKET       the process that waits, until its standard input ends
    python command_server.py SOCKET NAME  the command that stands for `simarchive NAME` in a shell
"""

from __future__ import annotations

import array
import contextlib
import io
import json
import os
import socket
import struct
import sys
from pathlib import Path

_LENGTH = struct.Struct("<I")
_CODE = struct.Struct("<i")
_STREAMS = (0, 1, 2)


def ask(
    path: str, arguments: list[str], streams: tuple[int, ...] = _STREAMS, **place: object
) -> socket.socket:
    """Have a command begun; return what says how it ended."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    asked = {"arguments": arguments, "directory": str(Path.cwd()), "environment": dict(os.environ)} | place
    text = json.dumps(asked).encode()
    # The streams go with the first bytes.
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
    connection.sendmsg([_LENGTH.pack(len(text))], rights)
    connection.sendall(text)
    return connection


def exit_code(connection: socket.socket) -> int:
    """Wait for the end of a command and return its exit code, negative for a signal, as `subprocess` does."""
    with connection:
        return _CODE.unpack(_all(connection, _CODE.size))[0]


def _all(connection: socket.socket, n_bytes: int) -> bytes:
    found = b""
    while len(found) < n_bytes:
        more = connection.recv(n_bytes - len(found))
        if not more:
            raise ConnectionError("the process that begins commands has ended")
        found += more
    return found


def serve(path: str) -> None:
    """Wait for commands; returns in the process of each, which is then to do it, and when all is over."""
    import selectors
    import signal

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    for source in (listening, woken, 0):
        selector.register(source, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj == 0:
                Path(path).unlink()
                Path(path).parent.rmdir()
                raise SystemExit
            if key.fileobj == woken:
                os.read(woken, 4096)
                _tell(running)
                continue
            connection, _ = listening.accept()
            streams, asked = _read(connection)
            pid = os.fork()
            if pid:
                running[pid] = connection
                for stream in streams:
                    os.close(stream)
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            selector.close()
            for other in (listening, connection, *running.values()):
                other.close()
            os.close(woken)
            os.close(waking)
            _become(streams, asked)
            return


def _read(connection: socket.socket) -> tuple[list[int], dict[str, object]]:
    length, ancillary, _, _ = connection.recvmsg(_LENGTH.size, socket.CMSG_SPACE(len(_STREAMS) * 4))
    streams = array.array("i")
    for _, _, content in ancillary:
        streams.frombytes(content)
    asked = json.loads(_all(connection, _LENGTH.unpack(length)[0]))
    return list(streams), asked


def _tell(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        # Whoever asked may wait no longer.
        with running.pop(pid) as connection, contextlib.suppress(BrokenPipeError):
            connection.sendall(_CODE.pack(os.waitstatus_to_exitcode(status)))


def _become(streams: list[int], asked: dict[str, object]) -> None:
    import importlib

    for stream, wanted in zip(streams, _STREAMS, strict=True):
        os.dup2(stream, wanted)
        os.close(stream)
    # Anew, for those of the process that waited know whether theirs could seek.
    for number, name, mode in ((0, "stdin", "rb"), (1, "stdout", "wb"), (2, "stderr", "wb")):
        old = getattr(sys, name)
        binary = open(number, mode, closefd=False)  # noqa: SIM115 - of a descriptor, until the end
        by_line = name == "stderr" or os.isatty(number)
        text = io.TextIOWrapper(binary, old.encoding, old.errors, line_buffering=by_line)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    os.chdir(str(asked["directory"]))
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [str(asked["directory"]), *(path for path in [*paths, *sys.path[1:]] if path)]
    sys.argv[1:] = list(asked["arguments"])  # type: ignore[call-overload]
    importlib.invalidate_caches()


def main() -> None:
    if len(sys.argv) > 2:
        code = exit_code(ask(sys.argv[1], sys.argv[2:]))
        if code < 0:
            os.kill(os.getpid(), -code)
        raise SystemExit(code)
    import gc
    import importlib
    import pkgutil
    import runpy

    import simarchive.cli.commands

    for module in pkgutil.iter_modules(simarchive.cli.commands.__path__):
        importlib.import_module(f"simarchive.cli.commands.{module.name}")
    for name in simarchive.__all__:
        getattr(simarchive, name)
    gc.collect()
    gc.freeze()  # what was imported stays shared by all
    serve(sys.argv[1])
    runpy.run_module("simarchive", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
