"""What goes wrong between a reader and a server, and what the reader is told."""

import io
import os
import shutil
from pathlib import Path

import pytest
from range_server import RangeServer

from simarchive import (
    ClosedError,
    ConflictError,
    FormatError,
    HDF5Storage,
    InvalidDataError,
    NotFoundError,
    ReadOnlyError,
    StorageIOError,
)
from simarchive.errors import DetachedLogError
from simarchive.testing.sample_objects import simulation, write_files


def url_of(server: RangeServer, path: Path) -> str:
    return f"{server.url}/{path.name}"


def overwrite(path: Path, source: Path) -> None:
    """Put another file in the place of one, with another time."""
    shutil.copy(source, path)
    os.utime(path, (1, 1))


def test_a_busy_server_is_asked_again(server: RangeServer, published: str) -> None:
    server.failures = 2
    with HDF5Storage(published, mode="r") as backend:
        server.failures = 1
        with backend.open_member(backend.keys()[5], "trajectory.dcd") as file:
            assert len(file.read()) == 40_000
    assert server.failures == 0


@pytest.mark.parametrize("tags", [True, False], ids=["tags", "no tags"])
@pytest.mark.parametrize("conditions", [True, False], ids=["conditions", "no conditions"])
def test_a_container_that_is_overwritten_meanwhile_is_noticed(
    server: RangeServer, own: Path, tags: bool, conditions: bool
) -> None:
    server.sends_tags, server.knows_conditions = tags, conditions
    with HDF5Storage(url_of(server, own), mode="r") as backend:
        keys = backend.keys()
        overwrite(own, server.directory / "plain.h5")
        with pytest.raises(ConflictError, match="overwritten while it was being read: open it again"):
            backend.open_member(keys[0], "trajectory.dcd").read()
        # What is here already stays good.
        assert backend.keys() == keys


def test_a_missing_container_is_named(server: RangeServer) -> None:
    with pytest.raises(NotFoundError, match=f"there is no container '{server.url}/none.h5'"):
        HDF5Storage(f"{server.url}/none.h5", mode="r")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(StorageIOError, match=r"'http://127\.0\.0\.1:9/a\.h5' cannot be read"):
        HDF5Storage("http://127.0.0.1:9/a.h5", mode="r")


def test_a_server_without_ranges_is_named(server: RangeServer, published: str) -> None:
    server.ignores_ranges = True
    with pytest.raises(StorageIOError, match="ranges of bytes: download the file"):
        HDF5Storage(published, mode="r")


def test_something_else_is_no_container(server: RangeServer, own: Path) -> None:
    for content in (b"", b"<html>" * 100, b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(3000)):
        own.write_bytes(content)
        with pytest.raises((FormatError, StorageIOError)) as caught:
            HDF5Storage(url_of(server, own), mode="r")
        assert own.name in str(caught.value)


def test_what_lies_elsewhere_is_only_read(server: RangeServer, published: str, tmp_path: Path) -> None:
    with pytest.raises(ReadOnlyError, match="lies elsewhere and can only be read"):
        HDF5Storage(published)
    with HDF5Storage(published, mode="r") as backend:
        with pytest.raises(ReadOnlyError):
            backend.store_object(simulation(), write_files(tmp_path / "files"))
        with pytest.raises(ReadOnlyError):
            backend.set_metadata(title="Water")


def test_a_closed_one_says_so(published: str) -> None:
    backend = HDF5Storage(published, mode="r")
    backend.close()
    backend.close()
    with pytest.raises(ClosedError, match="is closed: open it again"):
        backend.keys()


def test_a_forked_child_has_to_open_it_itself(published: str) -> None:
    with HDF5Storage(published, mode="r") as backend:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                backend.keys()
            except ClosedError:
                os.write(writing, b"refused")
            finally:
                os._exit(0)
        os.close(writing)
        assert os.read(reading, 100) == b"refused"
        os.waitpid(pid, 0)
        os.close(reading)
        assert len(backend.keys()) == 60


def test_a_copy_taken_while_commits_were_in_a_log_is_refused(server: RangeServer, own: Path) -> None:
    with HDF5Storage(own) as backend:
        backend.store_object(simulation("later"), write_files(server.directory / f"{own.stem}-files"))
        shutil.copy(own, server.directory / "torn.h5")
    with pytest.raises(DetachedLogError, match="copied while it was in use"):
        HDF5Storage(f"{server.url}/torn.h5", mode="r")


def test_without_obstore_the_extra_is_named(published: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(InvalidDataError, match=r"pip install 'simarchive\[remote\]'"):
        HDF5Storage(published, mode="r")


def test_a_bucket_is_read_with_what_the_environment_says(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses, ranges, conditions and tags of S3 are those of any web server."""
    (server.directory / "bucket" / "a b").mkdir(parents=True)
    path = shutil.copy(server.directory / "small.h5", server.directory / "bucket" / "a b" / "c.h5")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with HDF5Storage(path, mode="r") as local, HDF5Storage("s3://bucket/a b/c.h5", mode="r") as far:
        assert far.keys() == local.keys()
        assert str(far.path) == "s3://bucket/a b/c.h5"
    with pytest.raises(NotFoundError, match="there is no container 's3://bucket/none"):
        HDF5Storage("s3://bucket/none.h5", mode="r")


# --- file objects ----------------------------------------------------------------------------------


def test_a_file_object_is_read_and_stays_open(server: RangeServer) -> None:
    path = server.directory / "small.h5"
    with HDF5Storage(path, mode="r") as local:
        expected = local.keys()
    with path.open("rb") as file:
        with HDF5Storage(file, mode="r") as backend:
            assert backend.keys() == expected
            assert str(backend.path) == str(path)
        assert not file.closed
    with HDF5Storage(io.BytesIO(path.read_bytes()), mode="r") as backend:
        assert backend.keys() == expected


def test_a_file_object_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with (tmp_path / "a.h5").open("ab") as file, pytest.raises(InvalidDataError, match="open it in binary"):
        HDF5Storage(file, mode="r")  # type: ignore[arg-type]
    for other in (7, None, ["a.h5"]):
        with pytest.raises(InvalidDataError, match="named by a path or a URL"):
            HDF5Storage(other, mode="r")  # type: ignore[arg-type]


def test_a_file_of_fsspec_is_read_through_its_file_system(server: RangeServer) -> None:
    path = server.directory / "small.h5"
    asked: list[tuple[int, int]] = []

    class FileSystem:
        def cat_file(self, name: str, start: int, end: int) -> bytes:
            asked.append((start, end))
            return path.read_bytes()[start:end]

    class File(io.BytesIO):
        fs = FileSystem()
        path = "bucket/small.h5"

        def read(self, *_: object) -> bytes:
            raise AssertionError("it is read by its file system, at several places at once")

    with HDF5Storage(File(path.read_bytes()), mode="r") as backend:
        assert len(backend.keys()) == 60
    assert len(asked) in (1, 2)
