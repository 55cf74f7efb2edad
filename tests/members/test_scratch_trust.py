"""Scratch that others can write to: nothing false is handed out, nothing is written elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_scratch import CONTENT, Extractor, content_of

from simarchive.errors import ConflictError, StorageError
from simarchive.storage.scratch import Scratch, scratch
from simarchive.storage.scratch.stamps import StampTable, stamp_of

NAME = "folder/b.bin"
PLANTED = b"PLANTED!" * 125  # as long as what it stands for


@pytest.fixture
def extractor() -> Extractor:
    return Extractor(CONTENT)


@pytest.fixture
def root(tmp_path: Path, extractor: Extractor) -> Path:
    """A scratch directory with an extracted object, which nobody uses."""
    with Scratch(tmp_path / "s") as opened:
        opened.extract("k1", extractor.files, extractor)
    extractor.calls.clear()
    return tmp_path / "s"


def place_of(root: Path) -> Path:
    return next(root.glob("k1-*/k1"))


def stamps_of(root: Path) -> Path:
    return next(root.glob(".simarchive/*.stamps"))


def plant(root: Path, extractor: Extractor) -> None:
    """Put another file in the place of one, and a stamp for it as if it had been extracted."""
    path = place_of(root) / NAME
    path.write_bytes(PLANTED)
    file = next(file for file in extractor.files if file.name == NAME)
    mode = stamps_of(root).stat().st_mode
    with StampTable(stamps_of(root)) as table:
        table.put(file, stamp_of(file, path.lstat()))
    stamps_of(root).chmod(stat.S_IMODE(mode))


def retrieved(root: Path, extractor: Extractor) -> dict[str, bytes]:
    with Scratch(root, timeout_s=1) as opened:
        return content_of(opened.extract("k1", extractor.files, extractor))


OPEN_TO_OTHERS: dict[str, Callable[[Path], Path]] = {
    "the directory": lambda root: root,
    "its state": lambda root: root / ".simarchive",
    "the place of an object": lambda root: place_of(root).parent,
    "the folder of an object": place_of,
    "a folder in it": lambda root: place_of(root) / "folder",
    "the stamps": stamps_of,
}


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("what", OPEN_TO_OTHERS)
def test_what_others_may_have_planted_is_read_before_it_is_handed_out(
    root: Path, extractor: Extractor, what: str, mode: int
) -> None:
    path = OPEN_TO_OTHERS[what](root)
    path.chmod(path.stat().st_mode | mode)
    plant(root, extractor)
    assert retrieved(root, extractor) == CONTENT
    assert extractor.calls == [NAME]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("what", OPEN_TO_OTHERS)
def test_what_belongs_to_others_is_read_before_it_is_handed_out(
    root: Path, extractor: Extractor, what: str
) -> None:
    os.chown(OPEN_TO_OTHERS[what](root), 65534, 65534)
    plant(root, extractor)
    assert retrieved(root, extractor) == CONTENT
    assert extractor.calls == [NAME]


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_a_file_is_read_once_where_others_can_write_and_never_where_they_cannot(
    root: Path, extractor: Extractor, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.chmod(mode)
    read: list[str] = []
    digest = scratch.member_digest

    def counting(path: Any) -> Any:
        read.append(path.name)
        return digest(path)

    monkeypatch.setattr(scratch, "member_digest", counting)
    with Scratch(root) as opened:
        for _ in range(3):
            assert content_of(opened.extract("k1", extractor.files, extractor)) == CONTENT
    assert extractor.calls == []
    assert sorted(read) == (sorted(Path(name).name for name in CONTENT) if mode == 0o777 else [])


def test_what_changed_since_it_was_read_is_extracted_again(root: Path, extractor: Extractor) -> None:
    root.chmod(0o777)
    with Scratch(root) as opened:
        opened.extract("k1", extractor.files, extractor)
        plant(root, extractor)
        assert content_of(opened.extract("k1", extractor.files, extractor)) == CONTENT


def test_new_files_are_closed_to_those_to_whom_the_directory_is(tmp_path: Path, extractor: Extractor) -> None:
    before = os.umask(0)
    try:
        (tmp_path / ".simarchive").mkdir(mode=0o755)
        with Scratch(tmp_path) as opened:
            opened.extract("k1", extractor.files, extractor)
    finally:
        os.umask(before)
    assert stat.S_IMODE(stamps_of(tmp_path).stat().st_mode) == 0o644


# --- other names, links, and what is not a file ------------------------------------------------------------


def test_a_file_with_a_second_name_is_replaced_and_the_other_stays(root: Path, extractor: Extractor) -> None:
    precious = root.parent / "precious"
    precious.write_bytes(PLANTED)
    path = place_of(root) / NAME
    path.unlink()
    path.hardlink_to(precious)
    file = next(file for file in extractor.files if file.name == NAME)
    with StampTable(stamps_of(root)) as table:
        table.put(file, stamp_of(file, path.lstat()))
    assert retrieved(root, extractor) == CONTENT
    assert precious.read_bytes() == PLANTED


STATE: dict[str, Callable[[Path], Path]] = {
    "the stamps": stamps_of,
    "the manifest": lambda root: next(root.glob(".simarchive/*.json")),
    "extract.lock": lambda root: root / ".simarchive" / "extract.lock",
    "use.lock": lambda root: root / ".simarchive" / "use.lock",
    "space.lock": lambda root: root / ".simarchive" / "space.lock",
    "a file": lambda root: place_of(root) / NAME,
}
PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "a second name": lambda path, precious: path.hardlink_to(precious),
    "a link": lambda path, precious: path.symlink_to(precious),
    "a link to nowhere": lambda path, precious: path.symlink_to(precious.with_name("new")),
    "a FIFO": lambda path, precious: os.mkfifo(path),
    "a folder": lambda path, precious: path.mkdir(),
    "a device": lambda path, precious: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("planted", PLANTS)
@pytest.mark.parametrize("what", STATE)
def test_nothing_is_written_or_waited_for_in_the_place_of_a_file(
    root: Path, extractor: Extractor, what: str, planted: str
) -> None:
    precious = root.parent / "precious"
    precious.write_bytes(PLANTED)
    path = STATE[what](root)
    path.unlink()
    PLANTS[planted](path, precious)
    (place_of(root) / "a.txt").unlink()
    try:
        found = retrieved(root, extractor)
    except StorageError:
        found = CONTENT
    assert found == CONTENT
    assert precious.read_bytes() == PLANTED
    assert not precious.with_name("new").exists()


FOLDERS: dict[str, Callable[[Path], Path]] = {
    name: OPEN_TO_OTHERS[name] for name in OPEN_TO_OTHERS if name not in ("the directory", "the stamps")
}


@pytest.mark.parametrize("is_missing", [True, False])
@pytest.mark.parametrize("what", FOLDERS)
def test_a_link_in_the_place_of_a_folder_is_refused(
    root: Path, extractor: Extractor, what: str, is_missing: bool
) -> None:
    path = FOLDERS[what](root)
    other = root.parent / "other"
    path.rename(other)
    path.symlink_to(other)
    if is_missing:
        for file in other.rglob("b.bin"):
            file.unlink()
    before = sorted(other.rglob("*"))
    with pytest.raises(ConflictError, match="became a link"):
        retrieved(root, extractor)
    assert sorted(other.rglob("*")) == before


@pytest.mark.parametrize("what", ["the place of an object", "the folder of an object", "a folder in it"])
def test_a_link_that_appears_during_the_extraction_is_not_followed(
    root: Path, extractor: Extractor, what: str
) -> None:
    path = FOLDERS[what](root)
    other = root.parent / "other"
    (place_of(root) / NAME).unlink()

    def extract(name: str, destination: Path) -> None:
        extractor(name, destination)
        path.rename(root / "away")
        other.mkdir()
        path.symlink_to(other)

    with Scratch(root) as opened, pytest.raises(ConflictError, match="became a link"):
        opened.extract("k1", extractor.files, extract)
    assert list(other.iterdir()) == []


def test_a_staging_folder_that_others_exchange_is_not_written_to(root: Path, extractor: Extractor) -> None:
    (root / ".simarchive").chmod(0o777)
    other = root.parent / "other"
    other.mkdir()
    (place_of(root) / NAME).unlink()

    def extract(name: str, destination: Path) -> None:
        staging = next(root.glob(".simarchive/*.part"))
        staging.rename(root / "away")
        staging.symlink_to(other)
        extractor(name, destination)

    with Scratch(root) as opened:
        assert content_of(opened.extract("k1", extractor.files, extract)) == CONTENT
    assert list(other.iterdir()) == []


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[" * 5000, b'{"bytes": -1}', b'{"bytes": 1e999}', b'{"bytes": "x"}', bytes(10_000)]
)
def test_whatever_a_manifest_says_nothing_is_lost(root: Path, extractor: Extractor, text: bytes) -> None:
    STATE["the manifest"](root).write_bytes(text)
    with Scratch(root, max_bytes=10_000) as opened:
        assert opened.used_bytes() >= 0
        assert content_of(opened.extract("k2", extractor.files, extractor)) == CONTENT
    assert retrieved(root, extractor) == CONTENT


@pytest.mark.parametrize("name", ["mine", "..", ".", "k-xyz", "k1-0123"])
def test_what_is_not_of_scratch_never_gives_way(root: Path, extractor: Extractor, name: str) -> None:
    mine = root / name
    mine.mkdir(exist_ok=True)
    (root / "mine.txt").write_bytes(b"mine")
    (root / ".simarchive" / f"{name}.json").write_text('{"bytes": 100000}')
    with Scratch(root, max_bytes=2000) as opened:
        opened.extract("k2", extractor.files, extractor)
        opened.clear()
    assert mine.is_dir()
    assert (root / "mine.txt").is_file()


def test_what_a_killed_extraction_left_is_swept_when_scratch_is_opened(
    root: Path, extractor: Extractor
) -> None:
    left = root / ".simarchive" / f"{place_of(root).parent.name}.part"
    (left / "file").write_bytes(bytes(1000))
    Scratch(root).close()
    assert not (left / "file").exists()
    assert retrieved(root, extractor) == CONTENT
