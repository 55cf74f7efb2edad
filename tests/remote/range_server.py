"""A small HTTP server of ranges on loopback that counts what it answers, and can be told to misbehave."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_PAUSE_S = 0.05


@dataclass
class RangeServer:
    """Serves the files of a directory; `get` of a URL is a path below it.

    Attributes
    ----------
    requests
        Path, first byte and number of bytes of each answer.
    failures
        So many requests are answered with status 503 first.
    sends_tags
        Whether answers have an ETag.
    knows_conditions
        Whether If-Match is heeded.
    most_at_once
        How many requests were answered at the same time.
    """

    directory: Path
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    failures: int = 0
    sends_tags: bool = True
    knows_conditions: bool = True
    ignores_ranges: bool = False
    most_at_once: int = 0
    port: int = 0
    rounds: int = 0
    _at_work: int = 0
    is_pacing: bool = False
    _arrived: float = 0.0
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def n_bytes(self) -> int:
        return sum(size for _, _, size in self.requests)

    def forget(self) -> None:
        self.requests.clear()
        self.rounds = 0

    def rounds_of(self, work: Callable[[], object]) -> int:
        """Return in how many rounds of requests at the same time some work is done.

        None is answered before no other has come for a while.
        """
        self.rounds, self.is_pacing = 0, True
        try:
            work()
        finally:
            self.is_pacing = False
        return self.rounds

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.rounds += not self._at_work
            self._at_work += 1
            self._arrived = time.monotonic()
            self.most_at_once = max(self.most_at_once, self._at_work)
            fails, self.failures = self.failures > 0, max(0, self.failures - 1)
        while self.is_pacing and time.monotonic() - self._arrived < _PAUSE_S:
            time.sleep(_PAUSE_S / 10)
        try:
            self._answer(handler, fails=fails)
        finally:
            with self._lock:
                self._at_work -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, *, fails: bool) -> None:
        path = unquote(handler.path.partition("?")[0].lstrip("/"))
        file = self.directory / path
        if fails or not file.is_file():
            self._send(handler, 503 if fails else 404, b"", {})
            return
        status = file.stat()
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        headers = {"Last-Modified": formatdate(status.st_mtime, usegmt=True), "Accept-Ranges": "bytes"}
        if self.sends_tags:
            headers["ETag"] = tag
        wanted = handler.headers.get("If-Match")
        if wanted is not None and self.knows_conditions and wanted != tag:
            self._send(handler, 412, b"", headers)
            return
        first, last, code = 0, status.st_size - 1, 200
        asked = handler.headers.get("Range", "")
        if asked.startswith("bytes=") and not self.ignores_ranges:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            if low:
                first, last = int(low), min(last, int(high)) if high else last
            else:
                first = max(0, status.st_size - int(high))
            headers["Content-Range"], code = f"bytes {first}-{last}/{status.st_size}", 206
        with file.open("rb") as opened:
            opened.seek(first)
            data = opened.read(last + 1 - first)
        with self._lock:
            self.requests.append((path, first, len(data)))
        self._send(handler, code, data, headers)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, code: int, data: bytes, headers: dict[str, str]) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                handler.wfile.write(data)


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[RangeServer]:
    server = RangeServer(directory)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
