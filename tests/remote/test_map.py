"""The map behind the seal: who ignores it, what cuts it off, and that no other than a sound one is used."""

import random
import shutil
import struct
import subprocess
from pathlib import Path

import h5py
import netCDF4
import pytest
from blake3 import blake3
from programs import path_of
from range_server import RangeServer

from simarchive import HDF5Storage, StorageError
from simarchive.journal.seal import SEAL_BYTES
from simarchive.remote.map_format import TRAILER_BYTES, Map, Trailer, deflated, inflated
from simarchive.storage.hdf5.upkeep import repack
from simarchive.storage.hdf5.verification import verify_file
from simarchive.testing.sample_objects import simulation, write_files


def url_of(server: RangeServer, path: Path) -> str:
    return f"{server.url}/{path.name}"


def trailer_of(path: Path) -> Trailer | None:
    data = path.read_bytes()
    return Trailer.at_end_of(data[-TRAILER_BYTES:], len(data))


def has_map(path: Path) -> bool:
    return trailer_of(path) is not None


def map_of(path: Path) -> Map:
    trailer = trailer_of(path)
    assert trailer is not None
    data = path.read_bytes()
    return Map(trailer, data[trailer.directory_offset :][: trailer.directory_size])


def errors_of(path: Path) -> list[str]:
    return [problem.message for problem in verify_file(path).problems if problem.is_error]


def assert_read_as_hdf5(server: RangeServer, path: Path, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """Check that all objects are read from a container without using its map, and that a warning says so."""
    caplog.clear()
    with (
        HDF5Storage(path, mode="r") as local,
        HDF5Storage(url_of(server, path), mode="r") as far,
    ):
        keys = local.keys()
        assert far.keys() == keys
        assert [far.load(key) for key in keys[:5]] == [local.load(key) for key in keys[:5]]
        with far.open_member(keys[-1], "trajectory.dcd") as file:
            assert len(file.read()) > 1000
    [warning] = [record.getMessage() for record in caplog.records if "publish" in record.getMessage()]
    assert why in warning
    assert "simarchive repack FILE --publish" in warning


# --- who ignores it --------------------------------------------------------------------------------


def test_hdf5_programs_read_a_published_container(own: Path) -> None:
    with h5py.File(own) as file:
        keys = list(file["objects"])
        assert len(keys) == 60
        assert file["objects"][keys[0]].attrs["document"]
    with netCDF4.Dataset(own) as dataset:
        assert len(dataset.groups["objects"].groups) == 60
    done = subprocess.run(
        [path_of("h5dump"), "-H", str(own)], capture_output=True, text=True, check=True, timeout=60
    )
    assert keys[-1] in done.stdout


def test_a_local_reader_does_not_care(own: Path) -> None:
    before = own.read_bytes()
    with HDF5Storage(own, mode="r") as backend:
        assert len(backend.keys()) == 60
    with HDF5Storage(own) as backend:
        assert backend.load(backend.keys()[0])
    assert own.read_bytes() == before
    assert verify_file(own).ok
    assert not verify_file(own).notes


def test_it_holds_every_byte_that_describes_an_object(server: RangeServer, own: Path) -> None:
    """So the only bytes that are fetched beside the map's are those of files."""
    found = map_of(own)
    end = found.trailer.hdf5_end
    with HDF5Storage(url_of(server, own), mode="r") as far:
        for key in far:
            far.load(key)
            far.header(key)
            far.list_members(key)
        assert not [first for _, first, size in server.requests if first + size <= end]


def test_files_lie_last(own: Path) -> None:
    places, headers = [], []

    def look(name: str, node: h5py.HLObject) -> None:
        if "member_size" in node.attrs:
            places.extend(
                node.id.get_chunk_info(0).byte_offset for _ in range(bool(node.id.get_num_chunks()))
            )
        elif "document" in node.attrs:
            headers.append(h5py.h5o.get_info(node.id).addr)

    with h5py.File(own) as file:
        file["objects"].visititems(look)
    assert len(headers) == 60
    assert len(places) >= 60
    assert max(headers) < min(places)


def test_publishing_twice_puts_one_map_in_the_place_of_the_other(own: Path) -> None:
    repack(own, publish=True)
    first = own.read_bytes()
    assert has_map(own)
    report = repack(own, publish=True)
    assert report.map_bytes == len(own.read_bytes()) - map_of(own).trailer.hdf5_end - SEAL_BYTES
    assert abs(len(own.read_bytes()) - len(first)) < 1000


# --- what cuts it off ------------------------------------------------------------------------------


def test_whatever_changes_the_container_cuts_it_off(own: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.h5"
    shutil.copy(own, copy)
    with HDF5Storage(copy) as backend:
        backend.store_object(simulation("another"), write_files(tmp_path / "files"))
    assert not has_map(copy)
    assert verify_file(copy).ok
    shutil.copy(own, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["title"] = "Water"
    assert not has_map(copy)
    shutil.copy(own, copy)
    repack(copy)
    assert not has_map(copy)


def test_a_map_that_was_cut_is_not_used(
    server: RangeServer, own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = own.read_bytes()
    trailer = trailer_of(own)
    assert trailer is not None
    for length in (
        len(data) - 1,
        len(data) - TRAILER_BYTES,
        trailer.directory_offset + 5,
        trailer.hdf5_end + 300,
    ):
        own.write_bytes(data[:length])
        assert_read_as_hdf5(server, own, caplog, "it has no map")
        assert verify_file(own).notes


def test_a_map_of_an_earlier_state_is_not_used(
    server: RangeServer, own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody would have to put it back behind the new end, and mend its trailer."""
    trailer, data = trailer_of(own), own.read_bytes()
    assert trailer is not None
    with HDF5Storage(own) as backend:
        backend.set_metadata(title="Water")
    changed = own.read_bytes()
    shift = len(changed) - SEAL_BYTES - trailer.hdf5_end
    stored = data[trailer.directory_offset :][: trailer.directory_size]
    moved = Trailer(
        trailer.hdf5_end + shift,
        trailer.directory_offset + shift,
        trailer.directory_size,
        trailer.directory_length,
        trailer.state,
        b"",
    )
    moved = Trailer(**{**vars(moved), "digest": moved.digest_with(stored)})
    blocks = data[trailer.hdf5_end + SEAL_BYTES : trailer.directory_offset]
    own.write_bytes(changed + blocks + stored + moved.to_bytes())
    assert_read_as_hdf5(server, own, caplog, "the seal is of another state")
    assert any("another state" in error for error in errors_of(own))
    own.write_bytes(changed + data[trailer.hdf5_end + SEAL_BYTES :])
    assert_read_as_hdf5(server, own, caplog, "does not fit the size")
    assert any("does not fit the size" in error for error in errors_of(own))


# --- damage, and ill will -----------------------------------------------------------------------------


def test_every_flipped_byte_is_found_by_verify_and_by_readers(server: RangeServer, tiny: Path) -> None:
    own = tiny
    data = own.read_bytes()
    trailer = trailer_of(own)
    assert trailer is not None
    with HDF5Storage(own, mode="r") as local:
        keys = local.keys()
        expected = [local.load(key) for key in keys]
    start = trailer.hdf5_end + SEAL_BYTES
    places = random.Random(3).sample(range(start, len(data)), 16) + [len(data) - n for n in (1, 60, 70, 112)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        own.write_bytes(damaged)
        report = verify_file(own)
        assert not report.ok or report.notes, place
        try:
            with HDF5Storage(url_of(server, own), mode="r") as far:
                assert far.keys() == keys
                found = [far.load(key) for key in keys]
        except StorageError as error:
            assert "map" in str(error), place
        else:
            assert found == expected, place


def signed(trailer: Trailer, stored: bytes, **changes: int) -> bytes:
    """Return a directory and a trailer that matches it."""
    made = Trailer(**{**vars(trailer), "directory_size": len(stored), **changes})
    return stored + Trailer(**{**vars(made), "digest": made.digest_with(stored)}).to_bytes()


def test_a_map_that_was_made_to_do_damage_is_refused(server: RangeServer, tiny: Path) -> None:
    own = tiny
    data, trailer = own.read_bytes(), trailer_of(own)
    assert trailer is not None
    stored = data[trailer.directory_offset : -TRAILER_BYTES]
    body = data[: trailer.directory_offset]
    plain = inflated(stored, trailer.directory_length)
    rng = random.Random(5)

    def directory(text: bytes, **changes: int) -> bytes:
        return signed(trailer, deflated(text), **{"directory_length": len(text), **changes})

    head = struct.unpack_from("<QQQQ", plain)
    hostile = [
        directory(b""),
        directory(plain[:-1]),
        directory(plain + b"x"),
        directory(struct.pack("<QQQQ", 1 << 63, *head[1:]) + plain[32:]),
        directory(struct.pack("<QQQQ", head[0], 1 << 40, *head[2:]) + plain[32:]),
        directory(struct.pack("<QQQQ", head[0], head[1], 1 << 60, head[3]) + plain[32:]),
        signed(trailer, deflated(bytes(100 << 20)), directory_length=100 << 20),
        signed(trailer, stored, directory_length=(1 << 62)),
        signed(trailer, stored, hdf5_end=1 << 62),
        signed(trailer, b"no zlib stream"),
    ]
    for _ in range(20):
        text = bytearray(plain)
        for _ in range(rng.choice([1, 1, 8])):
            at = rng.randrange(len(text))
            text[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), rng.randbytes(8)])
        hostile.append(directory(bytes(text[: len(plain)])))
    with HDF5Storage(own, mode="r") as local:
        keys = local.keys()
    for end in hostile:
        own.write_bytes(body + end)
        try:
            with HDF5Storage(url_of(server, own), mode="r") as far:
                assert far.keys() == keys
                for key in keys[:3]:
                    far.load(key)
        except StorageError:
            pass
        verify_file(own)


def test_a_block_that_says_something_else_than_the_file_is_found_by_verify(own: Path) -> None:
    found = map_of(own)
    data = own.read_bytes()
    trailer = found.trailer
    block = found.n_blocks - 1
    offset, size = found.block_range(block)
    content = bytearray(found.block(block, data[offset : offset + size]))
    content[100] ^= 1
    forged = deflated(bytes(content))
    plain = bytearray(inflated(data[trailer.directory_offset : -TRAILER_BYTES], trailer.directory_length))
    struct.pack_into("<I", plain, 32 + 4 * block, len(forged))
    plain[-16:] = blake3(forged).digest(16)
    end = signed(trailer, deflated(bytes(plain)), directory_offset=offset + len(forged))
    own.write_bytes(data[:offset] + forged + end)
    assert any("does not say what stands in the file at byte" in error for error in errors_of(own))


def test_a_container_without_a_map_is_read_all_the_same(
    server: RangeServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert_read_as_hdf5(server, server.directory / "plain.h5", caplog, "it has no map")
