from __future__ import annotations

import io
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the zstd filter for plain h5py
import netCDF4
import numpy as np
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from member_material import Box, floats, frames, noise, text
from programs import path_of

from simarchive.codecs import CHUNK_BYTES, CODEC_CHOICES
from simarchive.container.members import (
    empty_folders,
    extract_member,
    find_member,
    keep_empty_folders,
    link_member,
    list_members,
    member_digest,
    open_member,
    store_member,
    verify_member,
)
from simarchive.errors import ConflictError, InvalidDataError, NotFoundError, StorageIOError

SIZES = {
    "empty": b"",
    "one": b"\x00",
    "three": b"abc",
    "below": floats(CHUNK_BYTES - 1),
    "exact": floats(CHUNK_BYTES),
    "above": floats(CHUNK_BYTES + 1),
    "noise-below": noise(2 * CHUNK_BYTES - 1),
    "noise-above": noise(2 * CHUNK_BYTES + 1),
    "text": text(3 * CHUNK_BYTES + 7),
    "zeros": bytes(3 * CHUNK_BYTES + 5),
    "sparse": floats(CHUNK_BYTES) + bytes(2 * CHUNK_BYTES) + b"end",
    "mixed": noise(CHUNK_BYTES) + text(CHUNK_BYTES) + floats(CHUNK_BYTES),
}
NAMES = [
    "plain.dcd",
    "with space.txt",
    " leading and trailing ",
    "nested/folder/file.pdb",
    "percent%2F.txt",
    "Zürich-漢字-😀.csv",
    "decomposed-e\u0301",
    "new\nline\tand\x7f",
    "back\\slash",
    "#hash&amp;<tag>\"'",
    "x" * 200,
    "漢" * 80,
    "/".join(["folder-" * 25] * 6),
    "/".join(["漢字" * 35] * 5),
]


def check_member(box: Box, name: str, data: bytes, tmp_path: Path) -> None:
    with box.reading() as (group, file):
        dataset = find_member(group, name)
        extract_member(dataset, file, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert open_member(dataset, file).read() == data
        assert verify_member(dataset, file, full=True) == ()
        assert verify_member(dataset, file, full=False) == ()
        if dataset.attrs["member_codec"] != b"trajectory":
            # Plain h5py, with HDF5's own filters.
            assert dataset[()].tobytes()[: len(data)] == data
        assert dataset.attrs["member_blake3"].decode() == blake3(data).hexdigest()


@pytest.mark.parametrize("codec", CODEC_CHOICES)
@pytest.mark.parametrize("case", SIZES)
def test_bytes_come_back_through_every_codec(box: Box, tmp_path: Path, codec: str, case: str) -> None:
    data = SIZES[case]
    (tmp_path / "in").write_bytes(data)
    with box.writing() as group:
        info = store_member(group, "file", tmp_path / "in", codec=codec)
    assert (info.size, info.digest) == (len(data), blake3(data).hexdigest())
    check_member(box, "file", data, tmp_path)


@pytest.mark.parametrize("codec", CODEC_CHOICES)
def test_fifty_random_megabytes_come_back_and_cost_no_more(box: Box, tmp_path: Path, codec: str) -> None:
    data = noise(50_000_000)
    (tmp_path / "in").write_bytes(data)
    with box.writing() as group:
        info = store_member(group, "file", tmp_path / "in", codec=codec)
    assert info.stored_size < 1.005 * len(data)
    check_member(box, "file", data, tmp_path)


@given(data=st.binary(max_size=3000), codec=st.sampled_from(CODEC_CHOICES))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_small_file_comes_back(tmp_path_factory: pytest.TempPathFactory, data: bytes, codec: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    box = Box(folder / "box.h5")
    with box.writing() as group:
        store_member(group, "file", io.BytesIO(data), codec=codec)
    check_member(box, "file", data, folder)


def dcd(coordinates: np.ndarray) -> bytes:
    n_frames, n_atoms, _ = coordinates.shape
    control = np.zeros(20, "<i4")
    control[[0, 10, 19]] = n_frames, 1, 24

    def fortran(data: bytes) -> bytes:
        return len(data).to_bytes(4, "little") + data + len(data).to_bytes(4, "little")

    head = fortran(b"CORD" + control.tobytes()) + fortran((1).to_bytes(4, "little") + b"title".ljust(80))
    cell = fortran(np.array([60, 90, 60, 90, 90, 60], "<f8").tobytes())
    body = b"".join(
        cell + b"".join(fortran(axis.astype("<f4").tobytes()) for axis in frame.T) for frame in coordinates
    )
    return head + fortran(n_atoms.to_bytes(4, "little")) + body


@pytest.mark.parametrize("grid", [False, True])
def test_the_trajectory_codec_is_taken_where_it_wins(box: Box, tmp_path: Path, grid: bool) -> None:
    data = dcd(frames(150, 3000, grid=grid))
    with box.writing() as group:
        small = store_member(group, "small", io.BytesIO(data), codec="trajectory")
        default = store_member(group, "default", io.BytesIO(data))
    assert (small.codec, default.codec) == ("trajectory", "deflate")
    assert small.stored_size < (0.6 if grid else 0.9) * default.stored_size
    check_member(box, "small", data, tmp_path)


def test_the_trajectory_codec_is_not_taken_for_frames_without_likeness(box: Box) -> None:
    data = dcd(np.random.default_rng(0).uniform(0, 60, (60, 3000, 3)).astype(np.float32))
    with box.writing() as group:
        # Whichever of the two is smaller.
        assert store_member(group, "file", io.BytesIO(data), codec="trajectory").codec in ("deflate", "zstd")


@pytest.mark.parametrize("name", ["trajectory.dcd", "trajectory.nc", "trajectory.xtc", "output.pdb"])
@pytest.mark.parametrize("codec", CODEC_CHOICES)
def test_example_files_come_back(
    box: Box, tmp_path: Path, example: Callable[[str], Path], name: str, codec: str
) -> None:
    path = example(name)
    with box.writing() as group:
        store_member(group, name, path, codec=codec)
    check_member(box, name, path.read_bytes(), tmp_path)


def test_names_come_back_and_every_reader_opens_the_file(box: Box, tmp_path: Path) -> None:
    with box.writing() as group:
        for number, name in enumerate(NAMES):
            store_member(group, name, io.BytesIO(str(number).encode()))
    with box.reading() as (group, _):
        assert [info.name for info in list_members(group)] == NAMES
    for number, name in enumerate(NAMES):
        check_member(box, name, str(number).encode(), tmp_path)
    assert_foreign_readers_agree(box, len(NAMES))


def test_every_kind_of_member_is_readable_by_h5dump_ncdump_and_netcdf4(box: Box) -> None:
    with box.writing() as group:
        for case, data in SIZES.items():
            for codec in ("deflate", "raw"):
                store_member(
                    group,
                    f"{case} {codec}",
                    io.BytesIO(data[: 1_100_000 if case in ("above", "sparse") else 20_000]),
                    codec=codec,
                )
    assert_foreign_readers_agree(box, 2 * len(SIZES))


def assert_foreign_readers_agree(box: Box, n_members: int) -> None:
    with box.reading() as (group, _), netCDF4.Dataset(box.path) as dataset:
        variables = dataset["objects"]["k1"].variables
        assert len(variables) == n_members
        for name, variable in variables.items():
            variable.set_auto_mask(False)
            assert variable[:].tobytes() == group[name][()].tobytes()
            assert variable.getncattr("member_blake3") == group[name].attrs["member_blake3"].decode()
            assert int(variable.getncattr("member_size")) == group[name].attrs["member_size"]
            assert np.array_equal(
                np.atleast_1d(variable.getncattr("member_chunk_crc32")),
                group[name].attrs["member_chunk_crc32"],
            )
    for program in ("h5dump", "ncdump"):
        done = subprocess.run([path_of(program), box.path], capture_output=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")


def test_b3sum_prints_the_stored_digest(box: Box, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(floats(100_000))
    with box.writing() as group:
        info = store_member(group, "file", tmp_path / "in")
    assert info.digest == member_digest(tmp_path / "in")[1] == blake3(floats(100_000)).hexdigest()
    done = subprocess.run(
        [path_of("b3sum"), "--no-names", tmp_path / "in"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == info.digest


def test_zero_chunks_are_not_written(box: Box) -> None:
    with box.writing() as group:
        assert store_member(group, "zeros", io.BytesIO(bytes(10 << 20))).stored_size == 0
        assert (
            store_member(group, "sparse", io.BytesIO(SIZES["sparse"]), codec="raw").stored_size
            < 3 * CHUNK_BYTES
        )


def test_an_extracted_sparse_file_stays_sparse(box: Box, tmp_path: Path) -> None:
    with box.writing() as group:
        store_member(group, "zeros", io.BytesIO(bytes(20 << 20)))
    with box.reading() as (group, file):
        extract_member(find_member(group, "zeros"), file, tmp_path / "out")
    assert (tmp_path / "out").stat().st_size == 20 << 20
    assert (tmp_path / "out").stat().st_blocks * 512 < 1 << 20


def test_a_small_member_takes_few_bytes(tmp_path: Path) -> None:
    sizes = []
    for count in (100, 1100):
        path = tmp_path / f"{count}.h5"
        with h5py.File(path, "w", libver=("v110", "v110"), track_order=True) as file:
            for number in range(count):
                group = file.create_group(f"k{number:06}", track_order=True)
                store_member(group, "a.csv", io.BytesIO(b"%06d" % number))
        sizes.append(path.stat().st_size)
    assert (sizes[1] - sizes[0]) / 1000 < 1100


def test_stored_bytes_do_not_depend_on_threads(box: Box) -> None:
    data = SIZES["mixed"] + frames(40, 3000).tobytes()
    with box.writing() as group:
        for number in range(3):
            store_member(group, f"m{number}", io.BytesIO(data))
        tables = [[(c.filter_mask, c.size) for c in chunks(group[f"m{n}"])] for n in range(3)]
        crcs = [group[f"m{n}"].attrs["member_chunk_crc32"].tolist() for n in range(3)]
    assert tables[0] == tables[1] == tables[2]
    assert crcs[0] == crcs[1] == crcs[2]


def chunks(dataset: h5py.Dataset) -> list[h5py.h5d.StoreInfo]:
    return [dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks())]


def test_a_name_is_given_once(box: Box) -> None:
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(b"1"))
        with pytest.raises(ConflictError, match="already stored"):
            store_member(group, "a", io.BytesIO(b"2"))
        with pytest.raises(ConflictError, match="already stored"):
            link_member(group, "a", group["a"])


def test_names_that_are_no_relative_paths_are_refused(box: Box) -> None:
    with box.writing() as group:
        for name in ("", "/abs", "a/../b", "a//b", ".", "a\0b", "y" * 256, "\udcff"):
            with pytest.raises(InvalidDataError):
                store_member(group, name, io.BytesIO(b"1"))
        assert list(group) == []


def test_linked_members_share_bytes_and_outlive_each_other(box: Box, tmp_path: Path) -> None:
    long_name = NAMES[-1]
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(floats(3 << 20)))
        size = box.path.stat().st_size
        link_member(group, long_name, find_member(group, "a"))
        del group["a"]
        with pytest.raises(NotFoundError):
            find_member(group, "a")
        assert [info.name for info in list_members(group)] == [long_name]
    assert box.path.stat().st_size < size + 100_000
    check_member(box, long_name, floats(3 << 20), tmp_path)


def test_members_are_told_from_other_datasets(box: Box) -> None:
    with box.writing() as group:
        group["energy"] = np.arange(5.0)
        group.create_group("other")
        store_member(group, "a", io.BytesIO(b"1"))
        assert [info.name for info in list_members(group)] == ["a"]
        with pytest.raises(NotFoundError):
            find_member(group, "energy")


def test_empty_folders_are_kept(box: Box) -> None:
    with box.writing() as group:
        assert empty_folders(group) == ()
        keep_empty_folders(group, ["b/ü", "a"])
        assert empty_folders(group) == ("a", "b/ü")
        keep_empty_folders(group, [])
        assert empty_folders(group) == ()


def test_a_missing_or_special_source_is_named(box: Box, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with box.writing() as group:
        with pytest.raises(NotFoundError, match="gone"):
            store_member(group, "a", tmp_path / "gone.dcd")
        with pytest.raises(InvalidDataError, match="not a regular file"):
            store_member(group, "a", tmp_path / "fifo")
        with pytest.raises(InvalidDataError, match="not a regular file"):
            store_member(group, "a", tmp_path)
        assert list(group) == []


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_source_that_changes_while_read_is_refused(box: Box, tmp_path: Path, change: str) -> None:
    path = tmp_path / "in"
    path.write_bytes(noise(8 << 20))

    def progress(n_bytes: int) -> None:
        if change == "grow":
            with path.open("ab") as out:
                out.write(b"more")
        elif change == "shrink":
            os.truncate(path, 100)
        else:
            os.utime(path, ns=(1, 1))

    with box.writing() as group:
        with pytest.raises(ConflictError, match="changed while it was read"):
            store_member(group, "a", path, progress=progress)
        assert list(group) == []


def test_an_unreadable_source_is_named(box: Box) -> None:
    class Failing(io.BytesIO):
        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with box.writing() as group, pytest.raises(StorageIOError, match="cannot be read"):
        store_member(group, "a", Failing(b"xyz"))


def test_a_pipe_is_stored_if_its_size_is_said(box: Box, tmp_path: Path) -> None:
    data = floats(3 << 20)
    read_end, write_end = os.pipe()

    def feed() -> None:
        with os.fdopen(write_end, "wb") as out:
            out.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read_end, "rb", buffering=0) as stream, box.writing() as group:
        with pytest.raises(InvalidDataError, match="say its size"):
            store_member(group, "a", stream)
        store_member(group, "a", stream, size=len(data))
    feeder.join()
    check_member(box, "a", data, tmp_path)


def test_a_stream_is_read_from_where_it_is(box: Box, tmp_path: Path) -> None:
    stream = io.BytesIO(b"skip" + floats(100_000))
    stream.seek(4)
    assert member_digest(stream) == (100_000, blake3(floats(100_000)).hexdigest())
    with box.writing() as group:
        store_member(group, "a", stream)
    check_member(box, "a", floats(100_000), tmp_path)


def test_progress_adds_up_to_the_size(box: Box, tmp_path: Path) -> None:
    stored: list[int] = []
    extracted: list[int] = []
    verified: list[int] = []
    with box.writing() as group:
        store_member(group, "a", io.BytesIO(SIZES["mixed"] + b"x"), progress=stored.append)
    with box.reading() as (group, file):
        extract_member(find_member(group, "a"), file, tmp_path / "out", progress=extracted.append)
        verify_member(find_member(group, "a"), file, full=False, progress=verified.append)
    assert sum(stored) == sum(extracted) == sum(verified) == len(SIZES["mixed"]) + 1
    assert len(stored) > 2
