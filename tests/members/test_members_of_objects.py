"""Members as somebody meets them: through a backend."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from blake3 import blake3
from member_material import floats, noise, text

from simarchive import (
    HDF5Storage,
    ObservableFrame,
    PropertyPhase,
    SmirnoffForceFieldSource,
    StoredSimulationData,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive.codecs import CHUNK_BYTES, CODEC_CHOICES
from simarchive.errors import ConflictError, CorruptMemberError, LockedError, StorageFullError
from simarchive.storage.scratch.locks import EXCLUSIVE, LockFile

TRAJECTORY = floats(2 * CHUNK_BYTES + 1000)
SOURCE = Path(__file__).parents[2] / "src"


def simulation(calculation: str) -> StoredSimulationData:
    return StoredSimulationData(
        substance=Substance.from_components("O"),
        thermodynamic_state=ThermodynamicState(298.15 * unit.kelvin, 1.0 * unit.atmosphere),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id=calculation,
        force_field_id="f" * 32,
        coordinate_file_name="output.pdb",
        trajectory_file_name="trajectory.dcd",
        observables=ObservableFrame({}),
        statistical_inefficiency=2.0,
        number_of_molecules=100,
    )


def directory(path: Path, trajectory: bytes = TRAJECTORY, **more: bytes) -> Path:
    path.mkdir()
    (path / "trajectory.dcd").write_bytes(trajectory)
    (path / "output.pdb").write_bytes(text(5000) + path.name.encode())
    for name, data in more.items():
        (path / name).write_bytes(data)
    return path


def store(container: Path, tmp_path: Path, *calculations: str, codec: str = "deflate") -> list[str]:
    with HDF5Storage(container, codec=codec) as backend:
        return [
            backend.store_object(simulation(name), directory(tmp_path / f"{container.stem}-{name}"))
            for name in calculations
        ]


def stored_once(container: Path, *keys: str) -> bool:
    """Whether the trajectories of all keys are one dataset, by plain h5py."""
    with h5py.File(container, "r") as file:
        datasets = [file[f"objects/{key}/files/trajectory.dcd"] for key in keys]
        links = h5py.h5o.get_info(datasets[0].id).rc
        return all(dataset == datasets[0] for dataset in datasets) and links == len(keys)


def test_equal_files_of_two_objects_are_stored_once_and_counted_as_shared(tmp_path: Path) -> None:
    one, two = store(tmp_path / "a.h5", tmp_path, "one", "two")
    assert stored_once(tmp_path / "a.h5", one, two)
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        numbers = backend.statistics()
        infos = [info for key in (one, two) for info in backend.list_members(key)]
    assert numbers.logical_bytes == sum(info.size for info in infos)
    assert numbers.shared_bytes == len(TRAJECTORY)
    twice = next(info.stored_size for info in infos if info.name == "trajectory.dcd")
    assert numbers.stored_bytes == sum(info.stored_size for info in infos) - twice
    assert numbers.file_bytes < 1.1 * numbers.stored_bytes + 200_000


@pytest.mark.parametrize("removed", [0, 1])
def test_removing_one_of_two_sharers_keeps_the_bytes_of_the_other(tmp_path: Path, removed: int) -> None:
    keys = store(tmp_path / "a.h5", tmp_path, "one", "two")
    kept = keys[1 - removed]
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.remove_object(keys[removed])
        backend.purge_removed()
    assert stored_once(tmp_path / "a.h5", kept)
    with HDF5Storage(tmp_path / "a.h5") as backend:
        assert backend.open_member(kept, "trajectory.dcd").read() == TRAJECTORY
        assert backend.statistics().shared_bytes == 0
        assert backend.verify(full=True).ok
        again = backend.store_object(simulation("three"), directory(tmp_path / "three"))
    assert stored_once(tmp_path / "a.h5", kept, again)


def test_a_merge_shares_within_the_source_and_with_what_was_there(tmp_path: Path) -> None:
    one, two = store(tmp_path / "source.h5", tmp_path, "one", "two")
    (three,) = store(tmp_path / "target.h5", tmp_path, "three")
    with (
        HDF5Storage(tmp_path / "source.h5", mode="r") as source,
        HDF5Storage(tmp_path / "target.h5") as target,
    ):
        target.update(source)
        assert target.statistics().shared_bytes == 2 * len(TRAJECTORY)
    assert stored_once(tmp_path / "target.h5", one, two, three)


@pytest.mark.parametrize("codec", CODEC_CHOICES)
def test_a_flipped_bit_is_named_by_object_member_and_chunk(tmp_path: Path, codec: str) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one", codec=codec)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        dataset = file[f"objects/{key}/files/trajectory.dcd"]
        chunk, start = dataset.id.get_chunk_info(1), dataset.chunks[0] * dataset.dtype.itemsize
    with (tmp_path / "a.h5").open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        (byte,) = raw.read(1)
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 1]))
    named = rf"member 'trajectory.dcd' of object '{key}': chunk 1 \(bytes "
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        with pytest.raises(CorruptMemberError, match=named):
            backend.extract(key, tmp_path / "out", patterns=("*.dcd",))
        with backend.open_member(key, "trajectory.dcd") as stream:
            assert stream.read(1000) == TRAJECTORY[:1000]
            stream.seek(start + 5)
            with pytest.raises(CorruptMemberError, match=named):
                stream.read(10)
        for full in (False, True):
            problems = [p for p in backend.verify(full=full).problems if p.is_error]
            assert [(p.key, p.member, p.chunk) for p in problems] == [(key, "trajectory.dcd", 1)]
    assert list((tmp_path / "out").iterdir()) == []


def test_members_are_listed_opened_and_extracted_by_pattern(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    done: list[int] = []
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        by_name = {info.name: info for info in backend.list_members(key)}
        assert sorted(by_name) == ["output.pdb", "trajectory.dcd"]
        assert by_name["trajectory.dcd"].size == len(TRAJECTORY)
        assert by_name["trajectory.dcd"].digest == blake3(TRAJECTORY).hexdigest()
        with backend.open_member(key, "trajectory.dcd") as stream:
            assert (stream.seekable(), stream.readable(), stream.writable()) == (True, True, False)
            stream.seek(-1000, os.SEEK_END)
            assert stream.read() == TRAJECTORY[-1000:]
        for sync in (False, True):
            out = tmp_path / f"out-{sync}"
            assert backend.extract(key, out, patterns=("*.pdb",), progress=done.append, sync=sync) == [
                out / "output.pdb"
            ]
            assert [path.name for path in out.iterdir()] == ["output.pdb"]
    assert sum(done) == 2 * by_name["output.pdb"].size


def test_storing_reports_every_byte_also_of_files_that_are_shared(tmp_path: Path) -> None:
    done: list[int] = []
    with HDF5Storage(tmp_path / "a.h5") as backend:
        backend.progress = done.append
        for name in ("one", "two"):
            done.clear()
            folder = directory(tmp_path / name)
            backend.store_object(simulation(name), folder)
            assert sum(done) == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("codec", CODEC_CHOICES)
def test_odd_names_and_folders_come_back_through_every_codec(tmp_path: Path, codec: str) -> None:
    folder = directory(tmp_path / "in")
    for name in ("a b.txt", " edge ", "Zürich-漢字-😀.csv", "x" * 200, "50%2Foff", "nested/deep/file.xtc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(noise(70_000, seed=len(name)))
    (folder / "nothing").write_bytes(b"")
    (folder / "empty" / "emptier").mkdir(parents=True)
    with HDF5Storage(tmp_path / "a.h5", codec=codec) as backend:
        key = backend.store_object(simulation("one"), folder)
        backend.extract(key, tmp_path / "out")
    for path in folder.rglob("*"):
        copy = tmp_path / "out" / path.relative_to(folder)
        assert copy.is_dir() if path.is_dir() else copy.read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "out").rglob("*"))) == len(list(folder.rglob("*")))


def test_a_file_open_over_a_member_does_not_change_under_its_reader(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    with HDF5Storage(tmp_path / "a.h5") as backend:
        stream = backend.open_member(key, "trajectory.dcd")
        assert stream.read(10) == TRAJECTORY[:10]
        backend.store_object(simulation("two"), directory(tmp_path / "two", noise(100_000)))
        stream.seek(CHUNK_BYTES)
        assert stream.read(10) == TRAJECTORY[CHUNK_BYTES:][:10]
        backend.remove_object(key)
        stream.seek(2 * CHUNK_BYTES)
        with pytest.raises(ConflictError, match="open it again"):
            stream.read(10)


def test_processes_extract_one_member_of_one_container_at_once(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    script = (
        "import sys; from pathlib import Path; from simarchive import HDF5Storage\n"
        f"with HDF5Storage({str(tmp_path / 'a.h5')!r}, mode='r',"
        f" scratch_directory={str(tmp_path / 'scratch')!r}) as backend:\n"
        f"    _, path = backend.retrieve_object({key!r})\n"
        "    print(path, flush=True)\n"
        "    sys.stdin.read()\n"
        f"    backend.extract({key!r}, {str(tmp_path / 'out')!r})\n"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        for _ in range(3)
    ]
    places = {child.stdout.readline() for child in children if child.stdout is not None}
    for child in children:
        child.communicate()
        assert child.returncode == 0
    (place,) = places
    for folder in (Path(place.strip()), tmp_path / "out"):
        assert (folder / "trajectory.dcd").read_bytes() == TRAJECTORY
        assert sorted(path.name for path in folder.iterdir()) == ["output.pdb", "trajectory.dcd"]


def scratch_bytes(scratch: Path) -> int:
    return sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())


USES = {
    "fspath": os.fspath,
    "str": str,
    "Path": Path,
    "open": lambda path: (path / "output.pdb").open().close(),
    "joinpath": lambda path: path.joinpath("output.pdb").stat(),
    "listdir": os.listdir,
    "exists": lambda path: os.path.exists(path) or pytest.fail("not there"),  # noqa: PTH110
    "stat": os.stat,
}


@pytest.mark.parametrize("use", USES)
def test_nothing_is_extracted_before_a_path_is_used(tmp_path: Path, use: str) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    scratch = tmp_path / "scratch"
    with HDF5Storage(tmp_path / "a.h5", mode="r", scratch_directory=scratch) as backend:
        stored, path = backend.retrieve_object(key)
        assert stored == simulation("one")
        assert repr(path)
        assert path == path
        assert not scratch.exists()
        USES[use](path)
        assert scratch_bytes(scratch) > 5000
        assert Path(path).is_dir()
        assert (Path(path) / "trajectory.dcd").read_bytes() == TRAJECTORY


def test_all_files_of_an_object_lie_in_one_directory(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        _, path = backend.retrieve_object(key)
        _, again = backend.retrieve_object(key)
        assert (path / "output.pdb").parent == (again / "trajectory.dcd").parent == Path(path)


def test_an_object_can_be_had_though_its_files_do_not_fit_scratch(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    with HDF5Storage(
        tmp_path / "a.h5", mode="r", scratch_directory=tmp_path / "s", scratch_max_bytes=10_000
    ) as backend:
        _, path = backend.retrieve_object(key)
        assert (path / "output.pdb").is_file()
        with pytest.raises(StorageFullError):
            os.fspath(path)


@pytest.mark.parametrize("by", ["replaced", "removed", "removed and stored again"])
@pytest.mark.parametrize("was_used", [True, False])
def test_a_path_never_leads_to_the_files_of_another_object(tmp_path: Path, by: str, was_used: bool) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    other = directory(tmp_path / "other", noise(100_000))
    with HDF5Storage(tmp_path / "a.h5", scratch_directory=tmp_path / "scratch") as backend:
        _, path = backend.retrieve_object(key)
        if was_used:
            os.fspath(path)
        if by != "replaced":
            backend.remove_object(key)
        if by != "removed":
            # The same document, and within the same second.
            assert backend.store_object(simulation("one"), other, storage_key=key) == key
            _, newer = backend.retrieve_object(key)
            assert (newer / "trajectory.dcd").read_bytes() == noise(100_000)
        if was_used:
            assert (path / "trajectory.dcd").read_bytes() == TRAJECTORY
            assert (Path(path) / "trajectory.dcd").read_bytes() == TRAJECTORY
        else:
            for use in (os.fspath, lambda path: path / "trajectory.dcd"):
                with pytest.raises(ConflictError, match="retrieve it again"):
                    use(path)


def test_files_extracted_by_an_earlier_process_are_used_again(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    inodes = []
    for _ in range(2):
        with HDF5Storage(tmp_path / "a.h5", scratch_directory=tmp_path / "scratch") as backend:
            path = Path(backend.retrieve_object(key)[1])
            inodes.append((path, (path / "trajectory.dcd").stat().st_ino))
            backend.store_force_field(SmirnoffForceFieldSource(f"<a><!-- {len(inodes)} --></a>"))  # a commit
    assert inodes[0] == inodes[1]


@pytest.mark.parametrize(
    ("name", "extracted"),
    [
        ("output.pdb", ["output.pdb"]),
        ("./output.pdb", ["output.pdb"]),
        ("nested", ["nested/a", "nested/deep/b"]),
        ("nested/deep/", ["nested/deep/b"]),
        ("empty", []),
        ("nothing", []),
        ("../output.pdb", []),
        ("/output.pdb", []),
        (".", ["nested/a", "nested/deep/b", "output.pdb", "trajectory.dcd"]),
    ],
)
def test_a_part_of_the_path_extracts_what_it_names(tmp_path: Path, name: str, extracted: list[str]) -> None:
    folder = directory(tmp_path / "in")
    for path in ("nested/deep", "empty/inner"):
        (folder / path).mkdir(parents=True)
    (folder / "nested" / "a").write_bytes(b"a")
    (folder / "nested" / "deep" / "b").write_bytes(b"b")
    with HDF5Storage(tmp_path / "a.h5", scratch_directory=tmp_path / "scratch") as backend:
        key = backend.store_object(simulation("one"), folder)
        found = backend.retrieve_object(key)[1] / name
    root = next((tmp_path / "scratch").glob(f"{key}-*")) / key
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert files == extracted
    assert found.exists() == bool(extracted or name == "empty")
    assert (root / "empty" / "inner").is_dir() == (name in ("empty", "."))


def test_a_scratch_that_vanished_is_made_again(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    for options in ({}, {"scratch_directory": tmp_path / "scratch"}):
        with HDF5Storage(tmp_path / "a.h5", mode="r", **options) as backend:  # type: ignore[arg-type]
            _, path = backend.retrieve_object(key)
            shutil.rmtree(Path(path).parents[1])
            assert (path / "output.pdb").is_file()
            assert (Path(path) / "trajectory.dcd").read_bytes() == TRAJECTORY


def test_the_timeout_of_the_backend_is_that_of_scratch(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    with HDF5Storage(tmp_path / "a.h5", scratch_directory=tmp_path / "s", lock_timeout_s=0.2) as backend:
        _, path = backend.retrieve_object(key)
        place = path / "output.pdb"
        lock = LockFile(tmp_path / "s" / ".simarchive" / "extract.lock")
        assert lock.attempt(place.parents[1].name, EXCLUSIVE)
        with pytest.raises(LockedError, match=r"nothing moved for 0\.2 s"):
            os.fspath(path)
        lock.close()


def test_a_child_reads_what_its_parent_extracted_and_removes_nothing(tmp_path: Path) -> None:
    (key,) = store(tmp_path / "a.h5", tmp_path, "one")
    with HDF5Storage(tmp_path / "a.h5", mode="r") as backend:
        _, path = backend.retrieve_object(key)
        os.fspath(path)
        child = os.fork()
        if not child:
            code = 1
            try:
                assert (Path(path) / "trajectory.dcd").read_bytes() == TRAJECTORY
                backend.close()
                del path, backend
                gc.collect()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (Path(path) / "trajectory.dcd").read_bytes() == TRAJECTORY


@pytest.mark.parametrize("place", ["inner", "inner/deep", "empty", "empty/more"])
@pytest.mark.parametrize("is_dangling", [True, False])
def test_files_are_never_extracted_through_a_link_in_the_directory(
    tmp_path: Path, place: str, is_dangling: bool
) -> None:
    source = tmp_path / "source"
    for folder in ("inner/deep", "empty/more"):
        (source / folder).mkdir(parents=True)
    for name in ("output.pdb", "trajectory.dcd", "inner/deep/notes.txt"):
        (source / name).write_bytes(b"content")
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / place).parent.mkdir(parents=True)
    (out / place).symlink_to(elsewhere)
    if not is_dangling:
        elsewhere.mkdir()
    with HDF5Storage(tmp_path / "a.h5") as backend:
        key = backend.store_object(simulation("one"), source)
        with pytest.raises(ConflictError, match="is a link"):
            backend.extract(key, out)
        assert not elsewhere.exists() or list(elsewhere.iterdir()) == []
        (tmp_path / "link").symlink_to(tmp_path / "named")
        (tmp_path / "named").mkdir()
        backend.extract(key, tmp_path / "link")
        assert (tmp_path / "named" / "inner" / "deep" / "notes.txt").read_bytes() == b"content"
