"""A small server on loopback that speaks as much S3 as a collection needs, and can be told to misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

_DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Bucket:
    """What is stored, by path, and how the server behaves.

    Attributes
    ----------
    requests
        Method and path of each request.
    heeds_conditions
        Whether If-None-Match keeps what is there.
    lost_answers
        So many PUTs are carried out, and the connection is closed without an answer.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    heeds_conditions: bool = True
    lost_answers: int = 0
    lock: Any = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, code: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _noted(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.bucket.requests.append((self.command, path))
        return path

    def do_GET(self) -> None:
        path, query = self._noted(), parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            start = query.get("prefix", [""])[0]
            names = sorted(name.split("/", 2)[2] for name in self.bucket.objects)
            found = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{_DATE}</LastModified><Size>1</Size>"
                '<ETag>"x"</ETag></Contents>'
                for name in names
                if name.startswith(start)
            )
            self._answer(
                200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
            )
            return
        data = self.bucket.objects.get(path)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        first, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")
        begin = int(first) if first else max(0, len(data) - int(last))
        end = min(len(data), int(last) + 1) if first and last else len(data)
        self._answer(
            206,
            data[begin:end],
            Content_Range=f"bytes {begin}-{end - 1}/{len(data)}",
            ETag=f'"{hashlib.md5(data).hexdigest()}"',
            Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT",
        )

    def do_PUT(self) -> None:
        path = self._noted()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.bucket.lock:
            is_there = path in self.bucket.objects
            if is_there and self.bucket.heeds_conditions and self.headers.get("If-None-Match") == "*":
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.bucket.objects[path] = data
            if self.bucket.lost_answers and path.endswith((".h5", ".json")):
                self.bucket.lost_answers -= 1
                self.close_connection = True
                return
        self._answer(200, ETag='"x"')

    def do_POST(self) -> None:
        # The deletion of several names.
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        bucket = self._noted()
        for name in re.findall("<Key>(.*?)</Key>", text):
            self.bucket.objects.pop(f"{bucket}/{unescape(name)}", None)
        self._answer(200, b"<DeleteResult></DeleteResult>")


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Bucket]]:
    """Serve a bucket; give the endpoint and what is in it."""
    bucket = Bucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"bucket": bucket}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
