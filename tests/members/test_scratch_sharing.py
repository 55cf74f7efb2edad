"""Scratch among strangers: folders that vanish, programs that hang, die or fork, Ctrl-C."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_scratch import CONTENT, Extractor, content_of

from simarchive.errors import ClosedError, LockedError
from simarchive.storage.scratch import Scratch, TemporaryFolder, temporary_folder
from simarchive.storage.scratch.locks import EXCLUSIVE, LockFile

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


@pytest.fixture
def extractor() -> Extractor:
    return Extractor(CONTENT)


def in_python(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start a process that knows the names of this module and of `test_scratch`."""
    prelude = (
        f"import sys, os, time, signal; sys.path.insert(0, {str(HERE)!r})\n"
        "from pathlib import Path; from test_scratch import *; from test_scratch_sharing import *\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
    )


def killed(process: subprocess.Popen[str]) -> str:
    """Kill a process once it has printed a line, and return the line."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return line


# --- what vanishes ---------------------------------------------------------------------------------------

REMOVED: dict[str, Callable[[Path], object]] = {
    "all": shutil.rmtree,
    "what is inside": lambda root: [shutil.rmtree(path) for path in root.iterdir()],
    "the state": lambda root: shutil.rmtree(root / ".simarchive"),
    "use.lock": lambda root: (root / ".simarchive" / "use.lock").unlink(),
    "extract.lock": lambda root: (root / ".simarchive" / "extract.lock").unlink(),
    "space.lock": lambda root: (root / ".simarchive" / "space.lock").unlink(),
    "the manifest": lambda root: next(root.glob(".simarchive/*.json")).unlink(),
    "the stamps": lambda root: next(root.glob(".simarchive/*.stamps")).unlink(),
    "the staging folder": lambda root: next(root.glob(".simarchive/*.part")).rmdir(),
    "the object": lambda root: [shutil.rmtree(path) for path in root.glob("k1-*")],
    "one folder of it": lambda root: shutil.rmtree(next(root.glob("k1-*")) / "k1" / "folder"),
}


@pytest.mark.parametrize("what", REMOVED)
@pytest.mark.parametrize("is_given", [True, False])
def test_what_was_removed_is_made_again(
    tmp_path: Path, extractor: Extractor, what: str, is_given: bool
) -> None:
    scratch = Scratch(tmp_path / "s" if is_given else None)
    try:
        for key in ("k1", "k2"):
            used = scratch.extract(key, extractor.files, extractor)
        REMOVED[what](scratch.directory)
        for _ in range(2):
            again = scratch.extract("k1", extractor.files, extractor)
            assert content_of(again) == CONTENT
        assert scratch.extract("k2", extractor.files, extractor).path == used.path
    finally:
        scratch.close()
    assert scratch.directory.exists() == is_given


@pytest.mark.parametrize("what", ["the state", "use.lock"])
def test_what_is_in_use_stays_in_use_when_the_locks_were_removed(
    tmp_path: Path, extractor: Extractor, what: str
) -> None:
    with Scratch(tmp_path) as scratch, Scratch(tmp_path) as other:
        used = scratch.extract("k1", extractor.files, extractor)
        REMOVED[what](tmp_path)
        scratch.extract("k2", extractor.files, extractor)
        other.extract("k1", extractor.files, extractor).release()
        other.clear()
        assert content_of(used) == CONTENT


def test_a_temporary_folder_is_not_made_again_where_another_user_made_one(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scratch() as scratch:
        shutil.rmtree(scratch.directory)
        scratch.directory.mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(OSError, match="taken by another user"):
            scratch.extract("k1", extractor.files, extractor)
        monkeypatch.undo()


# --- waits -----------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(tmp_path: Path, extractor: Extractor) -> Scratch:
    """A scratch of little patience with an object in it that is not in use."""
    scratch = Scratch(tmp_path, timeout_s=0.3)
    scratch.extract("k1", extractor.files, extractor).release()
    return scratch


def held(root: Path, which: str) -> LockFile:
    """Take a lock as another program does."""
    lock = LockFile(root / ".simarchive" / which)
    name = "space" if which == "space.lock" else next(root.glob("k1-*")).name
    assert lock.attempt(name, EXCLUSIVE)
    return lock


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("extract.lock", "being extracted to scratch .* nothing moved for 0.3 s"),
        ("space.lock", "makes room in scratch .* for 0.3 s"),
        ("use.lock", "being removed by another process"),
    ],
)
def test_a_wait_ends_after_the_timeout(
    waiting: Scratch, extractor: Extractor, which: str, words: str
) -> None:
    lock = held(waiting.directory, which)
    (next(waiting.directory.glob("k1-*")) / "k1" / "a.txt").unlink()
    begin = time.monotonic()
    with pytest.raises(LockedError, match=words):
        waiting.extract("k1", extractor.files, extractor)
    assert 0.3 <= time.monotonic() - begin < 30
    lock.close()
    assert content_of(waiting.extract("k1", extractor.files, extractor)) == CONTENT


def test_the_process_that_extracts_is_named(tmp_path: Path, extractor: Extractor) -> None:
    child = in_python(
        "def slow(name, destination):\n"
        "    destination.with_name('.simarchive-0.part').write_bytes(b'half')\n"
        "    print('begun', flush=True); time.sleep(60)\n"
        "Scratch(sys.argv[1]).extract('k1', Extractor(CONTENT).files, slow)\n",
        tmp_path,
    )
    assert child.stdout is not None
    child.stdout.readline()
    with Scratch(tmp_path, timeout_s=0.2) as scratch:
        with pytest.raises(LockedError, match=f"by process {child.pid} on host"):
            scratch.extract("k1", extractor.files, extractor)
        child.kill()
        child.wait()
        child.stdout.close()
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT
        assert list((tmp_path / ".simarchive").glob("*.part/*")) == []


@pytest.mark.parametrize("grows", [True, False])
def test_who_gets_on_is_waited_for(waiting: Scratch, extractor: Extractor, grows: bool) -> None:
    lock = held(waiting.directory, "extract.lock")
    next(waiting.directory.glob("k1-*/k1/a.txt")).unlink()
    staging = next(waiting.directory.glob(".simarchive/*.part"))

    def extract_slowly() -> None:
        with (staging / "growing").open("wb", buffering=0) as file:
            file.truncate(1000)
            for _ in range(25):
                time.sleep(0.05)
                if grows:
                    file.write(b"x")
        lock.close()

    thread = threading.Thread(target=extract_slowly)
    thread.start()
    try:
        if grows:
            assert content_of(waiting.extract("k1", extractor.files, extractor)) == CONTENT
        else:
            with pytest.raises(LockedError):
                waiting.extract("k1", extractor.files, extractor)
    finally:
        thread.join()


@pytest.mark.parametrize("which", ["extract.lock", "space.lock", "use.lock"])
def test_ctrl_c_ends_a_wait(tmp_path: Path, extractor: Extractor, which: str) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    scratch = Scratch(tmp_path, timeout_s=60)
    path = scratch.extract("k1", extractor.files, extractor).path
    gc.collect()
    (path / "a.txt").unlink()
    lock = held(tmp_path, which)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            scratch.extract("k1", extractor.files, extractor)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begin < 30
    lock.close()
    assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT
    scratch.close()


# --- leftovers -------------------------------------------------------------------------------------------


def test_what_a_killed_eviction_left_is_swept(tmp_path: Path, extractor: Extractor) -> None:
    with Scratch(tmp_path) as scratch:
        scratch.extract("k1", extractor.files, extractor)
    state = tmp_path / ".simarchive"
    (state / "trash-1" / "k1").mkdir(parents=True)
    (state / "trash-1" / "k1" / "f").write_bytes(b"1")
    for age_s, temporary in ((0, "new.tmp"), (3600, "old.tmp")):
        (state / temporary).write_bytes(b"")
        os.utime(state / temporary, (time.time() - age_s,) * 2)
    with Scratch(tmp_path) as scratch:
        assert sorted(path.name for path in state.iterdir() if path.suffix != ".lock") == sorted(
            ["new.tmp", *(path.name for path in state.glob("k1-*"))]
        )
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT


def test_a_killed_extraction_is_not_counted_twice(tmp_path: Path, extractor: Extractor) -> None:
    for _ in range(3):
        killed(
            in_python(
                "def slow(name, destination):\n"
                "    destination.write_bytes(b'half'); print('begun', flush=True); time.sleep(60)\n"
                "Scratch(sys.argv[1], max_bytes=1500).extract('k1', Extractor(CONTENT).files, slow)\n",
                tmp_path,
            )
        )
    with Scratch(tmp_path, max_bytes=1500) as scratch:
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT
        assert scratch.used_bytes() == sum(map(len, CONTENT.values()))


def test_temporary_folders_of_killed_processes_are_swept_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    foreign = tmp_path / "simarchive-notes"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("keep")
    script = "scratch = Scratch(); print(scratch.directory, flush=True); time.sleep(60)\n"
    living = in_python(script, TMPDIR=str(tmp_path))
    assert living.stdout is not None
    alive = Path(living.stdout.readline().strip())
    dead = Path(killed(in_python(script, TMPDIR=str(tmp_path))))
    assert dead.exists()
    monkeypatch.setattr(temporary_folder, "_SWEPT", set())
    with Scratch() as scratch:
        assert not dead.exists()
        assert alive.exists()
        assert (foreign / "mine.txt").exists()
        assert scratch.directory.parent == tmp_path
    living.kill()
    living.wait()
    living.stdout.close()


def test_a_kept_temporary_folder_is_swept_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = "print(Scratch(keep=True).directory, flush=True)\n"
    child = in_python(script, TMPDIR=str(tmp_path))
    kept = Path(child.communicate()[0].strip())
    TemporaryFolder().remove()
    assert kept.exists()


# --- forks -----------------------------------------------------------------------------------------------


def forked(action: Callable[[], object]) -> int:
    """Do something in a forked child, which then ends as Python does; return its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("is_given", [True, False])
def test_a_forked_child_removes_and_unlocks_nothing(
    tmp_path: Path, extractor: Extractor, is_given: bool
) -> None:
    root = tmp_path if is_given else None
    with Scratch(root, keep=False) as scratch, Scratch(scratch.directory) as other:
        used = [scratch.extract("k1", extractor.files, extractor)]
        before = [*used]

        def use_in_child() -> None:
            with pytest.raises(ClosedError):
                scratch.extract("k1", extractor.files, extractor)
            used.pop().release()
            before.clear()
            gc.collect()
            scratch.clear()
            scratch.close()

        assert forked(use_in_child) == 0
        other.clear()
        assert content_of(used[0]) == CONTENT


def test_a_child_keeps_no_lock_of_a_parent_that_extracts(tmp_path: Path, extractor: Extractor) -> None:
    script = (
        "def fork_and_die(name, destination):\n"
        "    if not os.fork(): time.sleep(20); os._exit(0)\n"
        "    print('begun', flush=True); time.sleep(60)\n"
        "Scratch(sys.argv[1]).extract('k1', Extractor(CONTENT).files, fork_and_die)\n"
    )
    killed(in_python(script, tmp_path))
    with Scratch(tmp_path, timeout_s=5) as scratch:
        assert content_of(scratch.extract("k1", extractor.files, extractor)) == CONTENT
        scratch.clear()
