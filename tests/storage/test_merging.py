"""Merging: shared files once, each document once, locks in one order, all or nothing."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from simarchive import (
    HDF5Storage,
    LocalFileStorage,
    StorageFullError,
    TLeapForceFieldSource,
    TrainedModelData,
)
from simarchive.container import members
from simarchive.container.contents import Contents
from simarchive.container.members import MemberInfo
from simarchive.storage import merging
from simarchive.storage.merging import plan
from simarchive.storage.scratch import SharedFiles
from simarchive.testing.sample_objects import simulation, write_files


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each member was extracted, or copied to another container, by name."""
    counts: Counter[str] = Counter()
    extract, copy = Contents.extract_member, members.copy_member

    def extracting(self, key, name, *arguments, **options):
        counts[name] += 1
        return extract(self, key, name, *arguments, **options)

    def copying(group, name, *arguments, **options):
        counts[name] += 1
        return copy(group, name, *arguments, **options)

    monkeypatch.setattr(Contents, "extract_member", extracting)
    monkeypatch.setattr(members, "copy_member", copying)
    return counts


@pytest.fixture
def sharing(tmp_path: Path):
    """A container of objects that share one large file, some by two names, and have one each of their own."""
    with HDF5Storage(tmp_path / "source.h5") as source:
        for number in range(6):
            files = write_files(tmp_path / f"run{number}", trajectory=b"%d" % number * 100_000)
            (files / "shared.bin").write_bytes(b"shared" * 20_000)
            if number % 2:
                (files / "again.bin").write_bytes(b"shared" * 20_000)
            source.store_object(simulation(calculation=str(number)), files, storage_key=f"k{number}")
        yield source


def target_of(kind: str, path: Path):
    return LocalFileStorage(path) if kind == "directory" else HDF5Storage(path.with_suffix(".h5"))


@pytest.mark.parametrize("kind", ["directory", "container"])
@pytest.mark.parametrize("how", ["update", "merge", "subset"])
def test_a_file_that_objects_share_is_extracted_once_and_is_whole_in_each(
    sharing: HDF5Storage, tmp_path: Path, extracted: Counter[str], how: str, kind: str
) -> None:
    with target_of(kind, tmp_path / "target") as target:
        if how == "update":
            target.update(sharing)
        else:
            merging.merge(target, sharing, keep=(lambda stored: True) if how == "subset" else None)
        assert extracted["shared.bin"] + extracted["again.bin"] == 1
        assert extracted["trajectory.dcd"] == 6
        digests = {key: sharing.file_digests(key) for key in sharing}
        assert {key: target.file_digests(key) for key in target} == digests
    assert not list(tmp_path.glob("simarchive-*"))


def info(name: str, size: int, digest: str) -> MemberInfo:
    return MemberInfo(name, size, size, digest, "raw")


def test_kept_files_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    with SharedFiles(kept_bytes=250) as shared:
        for number in range(8):
            directory = tmp_path / str(number) / "object"
            directory.mkdir(parents=True)
            members = [(info("a", 100, "a"), 8), (info(f"b{number}", 100, f"b{number}"), 8)]
            shared.extract(directory, members, lambda name, place: place.write_bytes(name[:1].encode() * 100))
            assert (directory / "a").read_bytes() == b"a" * 100
            kept = [path for path in tmp_path.glob("simarchive-*/*") if path.is_file()]
            assert sum(path.stat().st_size for path in kept) <= 250
    assert not list(tmp_path.glob("simarchive-*"))


def test_a_file_is_kept_until_its_last_object_and_no_longer(tmp_path: Path) -> None:
    calls: list[str] = []

    def extract(name: str, place: Path) -> None:
        calls.append(name)
        place.write_bytes(b"x")

    with SharedFiles() as shared:
        for number in range(3):
            directory = tmp_path / str(number) / "object"
            directory.mkdir(parents=True)
            shared.extract(directory, [(info("sub/f", 1, "f"), 3)], make_parents(extract))
            left = [path for path in tmp_path.glob("simarchive-*/*") if path.is_file()]
            assert len(left) == (1 if number < 2 else 0)
    assert calls == ["sub/f"]


def test_equal_files_that_were_changed_at_other_times_are_extracted_once(tmp_path: Path) -> None:
    calls: list[str] = []

    def extract(name: str, place: Path) -> None:
        calls.append(name)
        place.write_bytes(b"x")
        os.utime(place, ns=(10**18, 10**18))

    times = [10**18, 10**18 + 7 * 10**9, 10**18, 10**18 + 9 * 10**9]
    with SharedFiles() as shared:
        for number, time_ns in enumerate(times):
            directory = tmp_path / str(number) / "object"
            directory.mkdir(parents=True)
            shared.extract(directory, [(info("f", 1, "f"), len(times))], extract, {"f": time_ns})
    assert calls == ["f"]
    assert [(tmp_path / f"{number}/object/f").stat().st_mtime_ns for number in range(len(times))] == times


def make_parents(extract):
    def extract_below(name: str, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        extract(name, place)

    return extract_below


def test_a_file_that_can_have_one_name_only_is_copied(
    sharing: HDF5Storage, tmp_path: Path, extracted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with target_of("directory", tmp_path / "target") as target:
        target.update(sharing)
        assert extracted["trajectory.dcd"] == 6
        assert sum(count for name, count in extracted.items() if name.endswith(".bin")) == 1
        assert all(target.file_digests(key) == sharing.file_digests(key) for key in target)


def test_each_document_is_read_once_unless_it_came_before_what_it_refers_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    real = Contents.document
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as source, HDF5Storage(tmp_path / "b.h5") as target:
        source.store_object(simulation("0", force_field="ff"), files, storage_key="first")
        from simarchive import ForceFieldData

        source.store_object(ForceFieldData(force_field_source=TLeapForceFieldSource()), storage_key="ff")
        for number in range(1, 6):
            source.store_object(simulation(str(number), force_field="ff"), files)

        def counting(self, key, *arguments):
            reads[key] += 1
            return real(self, key, *arguments)

        monkeypatch.setattr(Contents, "document", counting)
        report = target.update(source)
    assert report.stored[:2] == ["ff", "first"]
    assert reads.pop("first") == 2
    assert set(reads.values()) == {1}


def test_references_in_lists_follow_a_key_that_had_to_change(tmp_path: Path) -> None:
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as source, HDF5Storage(tmp_path / "b.h5") as target:
        target.store_object(simulation("other"), files, storage_key="k")
        source.store_object(simulation("mine"), files, storage_key="k")
        model = TrainedModelData(
            name="m",
            framework="torch",
            target_property="density",
            domain="liquids",
            training_data_keys=["k", "k2"],
            metrics={"rmse": 0.1},
        )
        source.store_object(model, files, storage_key="m")
        report = target.update(source)
        assert target.retrieve_object("m")[0].training_data_keys == [report.new_keys["k"], "k2"]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_objects_that_refer_to_each_other_in_a_circle_are_all_copied(tmp_path: Path, length: int) -> None:
    files = write_files(tmp_path / "files")
    with HDF5Storage(tmp_path / "a.h5") as source, HDF5Storage(tmp_path / "b.h5") as target:
        for number in range(length):
            model = TrainedModelData(
                name=f"m{number}",
                framework="torch",
                target_property="density",
                domain="liquids",
                training_data_keys=[f"m{(number + 1) % length}", "missing"],
                metrics={"rmse": 0.1},
            )
            source.store_object(model, files, storage_key=f"m{number}")
        report = target.update(source)
        assert sorted(target) == sorted(report.stored) == [f"m{number}" for number in range(length)]


@pytest.mark.parametrize("kind", ["directory", "container"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageFullError, RuntimeError])
def test_a_merge_that_fails_halfway_leaves_the_target_as_it_was(
    sharing: HDF5Storage, tmp_path: Path, kind: str, error: type[BaseException]
) -> None:
    with target_of(kind, tmp_path / "target") as target:
        target.store_object(
            simulation(calculation="0", inefficiency=9.0), tmp_path / "run0", storage_key="old"
        )
        before = {key: (target.retrieve_object(key)[0], target.file_digests(key)) for key in target}

        def fail(key: str) -> None:
            if key == "k3":
                raise error("halfway")

        with pytest.raises(error):
            merging.merge(target, sharing, progress=fail)
        assert {key: (target.retrieve_object(key)[0], target.file_digests(key)) for key in target} == before
        assert len(merging.merge(target, sharing).stored) == 5


def test_locks_are_taken_in_one_order_whatever_the_order_of_the_arguments() -> None:
    taken: list[str] = []

    class Lock:
        def __init__(self, name: str, order: int) -> None:
            self.name, self.order = name, order

        def __enter__(self) -> None:
            taken.append(self.name)

        def __exit__(self, *exception: object) -> None:
            taken.append(f"-{self.name}")

    a, b, c = (Lock(name, order) for order, name in enumerate("abc"))
    for locks in ((a, b, c), (c, b, a), (b, c, a, b)):
        with merging.locked(*locks):
            pass
        assert taken == ["a", "b", "c", "-c", "-b", "-a"]
        taken.clear()


@pytest.mark.parametrize("way", ["merge", "plan"])
def test_threads_that_merge_stores_into_each_other_come_to_an_end(tmp_path: Path, way: str) -> None:
    files = write_files(tmp_path / "files")
    backends = [HDF5Storage(tmp_path / f"{name}.h5") for name in "abc"]
    for number, backend in enumerate(backends):
        backend.store_object(simulation(calculation=str(number)), files)
    barrier = threading.Barrier(3)

    def work(number: int) -> None:
        target, *sources = backends[number:] + backends[:number]
        barrier.wait()
        for _ in range(10):
            if way == "plan":
                plan(target, sources)
            else:
                for source in sources:
                    target.update(source)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for backend in backends:
        assert len(backend) == (3 if way == "merge" else 1)
        backend.close()
