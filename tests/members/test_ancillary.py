from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simarchive.errors import InvalidDataError, NotFoundError
from simarchive.storage.ancillary import AncillaryFile, ancillary_files

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "b" / "deep").mkdir(parents=True)
    (root / "empty" / "nested-empty").mkdir(parents=True)
    (root / "z.dcd").write_bytes(b"1")
    (root / "b" / "deep" / "x y.csv").write_bytes(b"2")
    (root / "b" / "ü.txt").write_bytes(b"3")
    return root


def found(name: str, folder: Path) -> AncillaryFile:
    return AncillaryFile(name, folder / name, modified_ns=(folder / name).stat().st_mtime_ns)


def test_files_and_empty_folders_are_found_in_order(folder: Path) -> None:
    assert ancillary_files(folder) == [
        found("b/deep/x y.csv", folder),
        found("b/ü.txt", folder),
        AncillaryFile("empty/nested-empty", None),
        found("z.dcd", folder),
    ]
    assert ancillary_files(str(folder)) == ancillary_files(folder)


def test_an_empty_directory_has_no_files(tmp_path: Path) -> None:
    assert ancillary_files(tmp_path) == []


def test_b31_a_file_is_no_directory(folder: Path) -> None:
    with pytest.raises(InvalidDataError, match="is a file"):
        ancillary_files(folder / "z.dcd")
    with pytest.raises(NotFoundError, match="does not exist"):
        ancillary_files(folder / "gone")


def test_b32_links_to_files_inside_count_as_the_files(folder: Path) -> None:
    (folder / "link").symlink_to("b/deep/x y.csv")
    (folder / "b" / "up").symlink_to(folder / "z.dcd")
    names = [file.name for file in ancillary_files(folder)]
    assert names == ["b/deep/x y.csv", "b/up", "b/ü.txt", "empty/nested-empty", "link", "z.dcd"]


def test_the_directory_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("z.dcd")
    (tmp_path / "alias").symlink_to(folder)
    assert len(ancillary_files(tmp_path / "alias")) == 5


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/etc/passwd", "leads out of the directory"),
        ("../outside", "leads out of the directory"),
        ("nowhere", "leads nowhere"),
        ("b", "leads to a folder"),
        (".", "leads to a folder"),
        ("loop", "leads nowhere"),
    ],
)
def test_b32_other_links_are_refused(folder: Path, target: str, message: str) -> None:
    (folder.parent / "outside").write_bytes(b"secret")
    (folder / "loop").symlink_to(target)
    with pytest.raises(InvalidDataError, match=message):
        ancillary_files(folder)


def test_special_files_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    with pytest.raises(InvalidDataError, match="fifo' is not a regular file"):
        ancillary_files(folder)
    (folder / "fifo").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        with pytest.raises(InvalidDataError, match="not a regular file"):
            ancillary_files(folder)


def test_names_that_are_not_unicode_are_refused(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.dcd")).write_bytes(b"1")
    with pytest.raises(InvalidDataError, match="rename the file"):
        ancillary_files(folder)


@pytest.mark.parametrize("blocked", ["z.dcd", "b"])
def test_what_may_not_be_read_is_named(folder: Path, blocked: str) -> None:
    (folder / blocked).chmod(0)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    script = (
        # The reading process must not be root, whom no mode stops.
        "import sys, os; from simarchive.storage.ancillary import ancillary_files\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        f"try: ancillary_files({str(folder)!r})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
    finally:
        (folder / blocked).chmod(0o755)
    assert done.stdout.startswith("StorageIOError"), done.stderr
    assert blocked in done.stdout
