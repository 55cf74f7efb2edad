from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from blake3 import blake3

from simarchive.errors import ClosedError, ConflictError, InvalidDataError, StorageFullError
from simarchive.storage.scratch import Scratch, ScratchFile

SOURCE = Path(__file__).parents[2] / "src"
CONTENT = {"a.txt": b"first", "folder/b.bin": bytes(1000), "ü c": b"x" * 50}


class Extractor:
    """Writes the files of one object, and counts."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.calls: list[str] = []

    @property
    def files(self) -> list[ScratchFile]:
        return [ScratchFile(name, len(data), blake3(data).hexdigest()) for name, data in self.content.items()]

    def __call__(self, name: str, destination: Path) -> None:
        self.calls.append(name)
        temporary = destination.with_name(f".part{os.getpid()}")
        temporary.write_bytes(self.content[name])
        temporary.replace(destination)


@pytest.fixture
def extractor() -> Extractor:
    return Extractor(CONTENT)


def content_of(directory: os.PathLike[str]) -> dict[str, bytes]:
    root = Path(directory)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_files_and_empty_folders_are_extracted(tmp_path: Path, extractor: Extractor) -> None:
    with Scratch(tmp_path / "s") as scratch:
        found = scratch.extract("k1", extractor.files, extractor, folders=["empty/inner"])
        assert content_of(found) == CONTENT
        assert (found.path / "empty" / "inner").is_dir()
        assert os.fspath(found) == str(found) == str(found.path)
        assert found.path.name == "k1"
        assert found.path.parent.parent == scratch.directory


def test_valid_files_are_not_extracted_again_even_by_another_scratch(
    tmp_path: Path, extractor: Extractor
) -> None:
    for _ in range(2):
        with Scratch(tmp_path) as scratch:
            for _ in range(2):
                scratch.extract("k1", extractor.files, extractor)
    assert sorted(extractor.calls) == sorted(CONTENT)


@pytest.mark.parametrize("change", ["append", "same-size", "old-time", "remove", "replace", "folder-gone"])
def test_what_a_user_changed_is_extracted_again(tmp_path: Path, extractor: Extractor, change: str) -> None:
    with Scratch(tmp_path) as scratch:
        path = scratch.extract("k1", extractor.files, extractor).path / "a.txt"
        before = path.stat()
        if change == "append":
            path.write_bytes(b"first and more")
        elif change == "same-size":
            path.write_bytes(b"FIRST")
        elif change == "old-time":
            path.write_bytes(b"FIRST")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif change == "remove":
            path.unlink()
        elif change == "replace":
            path.unlink()
            path.symlink_to("/etc/passwd")
        else:
            (path.parent / "folder" / "b.bin").unlink()
            (path.parent / "folder").rmdir()
        extractor.calls.clear()
        again = scratch.extract("k1", extractor.files, extractor)
        assert extractor.calls == (["folder/b.bin"] if change == "folder-gone" else ["a.txt"])
        assert content_of(again) == CONTENT
        assert not path.is_symlink()


def test_a_replaced_object_is_never_served_the_old_files(tmp_path: Path, extractor: Extractor) -> None:
    newer = Extractor({**CONTENT, "a.txt": b"FIRST"})
    with Scratch(tmp_path) as scratch:
        old = scratch.extract("k1", extractor.files, extractor)
        new = scratch.extract("k1", newer.files, newer)
        assert content_of(old) == CONTENT
        assert content_of(new) == newer.content


def test_only_the_files_asked_for_are_extracted(tmp_path: Path, extractor: Extractor) -> None:
    with Scratch(tmp_path) as scratch:
        assert list(content_of(scratch.extract("k1", extractor.files, extractor, names=["a.txt"]))) == [
            "a.txt"
        ]
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT
        assert sorted(extractor.calls) == sorted(CONTENT)
        with pytest.raises(InvalidDataError, match=r"no file 'zzz'"):
            scratch.extract("k1", extractor.files, extractor, names=["zzz"])


@pytest.mark.parametrize("key", ["../up", "/abs", "..", ".simarchive", "a/b", ""])
def test_b19_a_key_never_leads_out_of_scratch(tmp_path: Path, extractor: Extractor, key: str) -> None:
    with Scratch(tmp_path / "s") as scratch, pytest.raises(InvalidDataError):
        scratch.extract(key, extractor.files, extractor)
    assert extractor.calls == []
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("name", ["../up", "/abs", "a/../../b", "."])
def test_a_name_never_leads_out_of_scratch(tmp_path: Path, name: str) -> None:
    extractor = Extractor({name: b"x"})
    with Scratch(tmp_path / "s") as scratch:
        with pytest.raises(InvalidDataError):
            scratch.extract("k1", extractor.files, extractor)
        with pytest.raises(InvalidDataError):
            scratch.extract("k1", [], extractor, folders=[name])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path, extractor: Extractor) -> None:
    (tmp_path / "elsewhere").mkdir()
    with Scratch(tmp_path / "s") as scratch:
        path = scratch.extract("k1", extractor.files, extractor).path
        (path / "folder" / "b.bin").unlink()
        (path / "folder").rmdir()
        (path / "folder").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConflictError, match="became a link"):
            scratch.extract("k1", extractor.files, extractor)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_b20_the_place_stays_when_the_program_changes_its_directory(
    tmp_path: Path, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Scratch("s") as scratch:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT
    assert list((tmp_path / "other").iterdir()) == []


def test_a_temporary_scratch_vanishes_and_a_given_one_stays(tmp_path: Path, extractor: Extractor) -> None:
    with Scratch() as scratch:
        found = scratch.extract("k1", extractor.files, extractor)
        assert content_of(found) == CONTENT
    assert not scratch.directory.exists()
    scratch.close()
    with pytest.raises(ClosedError):
        scratch.extract("k1", extractor.files, extractor)
    with Scratch(tmp_path) as kept:
        found = kept.extract("k1", extractor.files, extractor)
    assert content_of(found) == CONTENT


def test_a_given_directory_is_emptied_if_asked_but_what_others_use_stays(
    tmp_path: Path, extractor: Extractor
) -> None:
    (tmp_path / "mine").write_bytes(b"not scratch")
    with Scratch(tmp_path, keep=False) as scratch:
        scratch.extract("k1", extractor.files, extractor)
        used = scratch.extract("k2", extractor.files, extractor)
        gc.collect()
    assert content_of(used) == CONTENT
    assert {path.name for path in tmp_path.iterdir()} == {"mine", ".simarchive", used.path.parent.name}


def test_a_temporary_scratch_vanishes_with_its_process_but_not_with_a_forked_child(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from simarchive.storage.scratch import Scratch\n"
        "scratch = Scratch(); print(scratch.directory, flush=True)\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit(0)\n"
        "os.waitpid(child, 0); print(scratch.directory.exists(), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path)},
    )
    directory, survived = done.stdout.split()
    assert Path(directory).parent == tmp_path
    assert survived == "True"
    assert not Path(directory).exists()


def test_the_oldest_unused_directory_gives_way(tmp_path: Path) -> None:
    objects = {f"k{n}": Extractor({"f": bytes([n]) * 1000}) for n in range(4)}
    with Scratch(tmp_path, max_bytes=3000) as scratch:
        paths = {}
        for key in ("k0", "k1", "k2"):
            paths[key] = scratch.extract(key, objects[key].files, objects[key]).path
            time.sleep(0.02)
        scratch.extract("k0", objects["k0"].files, objects["k0"]).release()
        assert scratch.used_bytes() == 3000
        paths["k3"] = scratch.extract("k3", objects["k3"].files, objects["k3"]).path
        assert [key for key, path in paths.items() if path.exists()] == ["k0", "k2", "k3"]
        assert scratch.used_bytes() == 3000


def test_a_directory_in_use_never_gives_way(tmp_path: Path) -> None:
    one, two = Extractor({"f": b"1" * 1000}), Extractor({"f": b"2" * 1000})
    with Scratch(tmp_path, max_bytes=1500) as scratch, Scratch(tmp_path, max_bytes=1500) as other:
        used = scratch.extract("k1", one.files, one)
        with pytest.raises(StorageFullError, match="500 more are needed"):
            other.extract("k2", two.files, two)
        assert two.calls == []
        assert content_of(used) == one.content
        del used
        gc.collect()
        assert content_of(other.extract("k2", two.files, two)) == two.content
        assert other.used_bytes() == 1000


def test_thousands_of_directories_may_be_in_use(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from simarchive.storage.scratch import *\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        f"scratch = Scratch({str(tmp_path)!r})\n"
        "extract = lambda name, destination: destination.write_bytes(b'x')\n"
        "used = [scratch.extract(f'k{n}', [ScratchFile('f', 1, 'd')], extract) for n in range(300)]\n"
        "scratch.clear(); print(sum(path.path.exists() for path in used))\n"
        "del used; scratch.clear(); print(len(list(Path(scratch.directory).iterdir())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.stdout.split() == ["300", "1"], done.stderr


def test_one_directory_is_in_use_until_its_last_user_releases_it(
    tmp_path: Path, extractor: Extractor
) -> None:
    with Scratch(tmp_path) as scratch, Scratch(tmp_path) as other:
        users = [scratch.extract("k1", extractor.files, extractor) for _ in range(2)]
        users.append(other.extract("k1", extractor.files, extractor))
        for user in users:
            scratch.clear()
            other.clear()
            assert content_of(user) == CONTENT
            user.release()
            user.release()
        scratch.clear()
        assert not users[0].path.exists()


def test_an_object_of_empty_folders_alone_has_a_directory(tmp_path: Path, extractor: Extractor) -> None:
    with Scratch(tmp_path) as scratch:
        found = scratch.extract("k1", [], extractor, folders=["a/b"])
        assert (found.path / "a" / "b").is_dir()
        found.release()
        scratch.clear()
        assert not found.path.exists()


def test_a_device_without_room_is_refused_before_extraction(
    tmp_path: Path, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 20_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    big = [ScratchFile("big", 10_000_000, "0" * 64)]
    with Scratch(tmp_path) as scratch:
        scratch.extract("k1", extractor.files, extractor)
        extractor.calls.clear()
        with pytest.raises(StorageFullError, match="choose another scratch"):
            scratch.extract("k2", big, extractor)
    assert extractor.calls == []


def test_a_failed_extraction_is_tried_again(tmp_path: Path, extractor: Extractor) -> None:
    def fail(name: str, destination: Path) -> None:
        if name != "a.txt":
            raise ConnectionError("gone")
        extractor(name, destination)

    with Scratch(tmp_path) as scratch:
        with pytest.raises(Exception, match="gone"):
            scratch.extract("k1", extractor.files, fail)
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT


def test_a_damaged_manifest_only_costs_another_extraction(tmp_path: Path, extractor: Extractor) -> None:
    with Scratch(tmp_path) as scratch:
        scratch.extract("k1", extractor.files, extractor)
        (manifest,) = (tmp_path / ".simarchive").glob("*.json")
        for damage in ("", "[1, 2]", '{"files": 3, "bytes": "x"}', '{"files": {"a.txt": 7}, "bytes": 3}'):
            manifest.write_text(damage)
            assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT


def work_in_scratch(directory: str, number: int, rounds: int) -> int:
    """Extract and read random objects in a scratch too small for all; return how often bytes were wrong."""
    wrong = 0
    for turn in range(rounds):
        key = f"k{(turn * 7 + number) % 5}"
        extractor = Extractor({"f": key.encode() * 500, "g/h": key.encode() * 100})
        with Scratch(directory, max_bytes=20_000) as scratch:
            found = scratch.extract(key, extractor.files, extractor)
            wrong += content_of(found) != extractor.content
            found.release()
    return wrong


def test_processes_share_one_scratch_and_one_member(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        wrong = pool.starmap(work_in_scratch, [(str(tmp_path), number, 40) for number in range(4)])
    assert wrong == [0, 0, 0, 0]
    assert Scratch(tmp_path).used_bytes() <= 20_000


def test_a_killed_process_neither_blocks_nor_spoils_scratch(tmp_path: Path, extractor: Extractor) -> None:
    script = (
        "import sys, time; from pathlib import Path; from simarchive.storage.scratch import *\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_scratch import CONTENT, Extractor\n"
        "def slow(name, destination):\n"
        "    Path(destination).write_bytes(b'half'); print('begun', flush=True); time.sleep(60)\n"
        f"Scratch({str(tmp_path)!r}).extract('k1', Extractor(CONTENT).files, slow)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with Scratch(tmp_path, max_bytes=2000) as scratch:
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT
