"""A file is stored with the smaller of the ways that a codec has."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from MDAnalysisTests import datafiles

from simarchive import HDF5Storage, InvalidDataError
from simarchive.codecs import CODEC_CHOICES, Sample, choose_codec
from simarchive.container.members.writing import chunk_length
from simarchive.data import BaseStoredData, register_data_class

MOST = 1 << 20


@register_data_class("FilesForTests", version=1)
class Files(BaseStoredData):
    name: str

    @classmethod
    def has_ancillary_data(cls) -> bool:
        return True


def head_of(path: str) -> bytes:
    with Path(path).open("rb") as stream:
        return stream.read(MOST)


def mdcrd(moving: float, step: float = 0.05) -> bytes:
    """Return an AMBER text trajectory, of which some coordinates move from one frame to the next."""
    random = np.random.default_rng(0)
    positions = random.uniform(0, 40, 3000)
    lines = ["made for a test\n"]
    for _ in range(30):
        positions = positions + random.normal(0, step, 3000) * (random.uniform(size=3000) < moving)
        lines += ["".join(f"{v:8.3f}" for v in row) + "\n" for row in positions.reshape(-1, 10)]
    return "".join(lines).encode()


def csv_of_a_run() -> bytes:
    random = np.random.default_rng(1)
    rows = (f"{500 * step},{-1e5 + random.normal(0, 300)},{300 + random.normal()}\n" for step in range(9000))
    return b"#Step,Potential Energy (kJ/mole),Temperature (K)\n" + "".join(rows).encode()


TEXTS: dict[str, Callable[[], bytes]] = {
    "mdcrd, all move": lambda: mdcrd(1.0),
    "mdcrd, a third moves": lambda: mdcrd(0.3),
    "mdcrd, none moves": lambda: mdcrd(0.0),
    "mdcrd": lambda: head_of(datafiles.TRJ),
    "rst7": lambda: head_of(datafiles.INPCRD),
    "csv": csv_of_a_run,
    "log": lambda: head_of(datafiles.AUX_XVG) * 100,
    "pdb": lambda: head_of(datafiles.PDB),
    "gro": lambda: head_of(datafiles.GRO),
    "psf": lambda: head_of(datafiles.PSF),
    "mol2": lambda: head_of(datafiles.mol2_molecules),
    "lammps data": lambda: head_of(datafiles.LAMMPSdata),
    "gsd": lambda: head_of(datafiles.GSD),
    "with letters of other alphabets": lambda: "Ångström, µs; 水\n".encode() * 5 + csv_of_a_run(),
}
TRAJECTORIES = {
    "dcd": datafiles.DCD,
    "trr": datafiles.TRR,
    "ncdf": datafiles.NCDF,
    "xtc": datafiles.XTC,
    "trz": datafiles.TRZ,
    "pdb": datafiles.PDB,
    "gsd": datafiles.GSD,
}


def stored_size(choice: str, data: bytes) -> int:
    """Return how many bytes the chunks of a member have."""

    def piece(offset: int, n_bytes: int) -> bytes:
        return data[offset : offset + n_bytes]

    codec = choose_codec(choice, Sample(data[: 1 << 16], len(data), piece))
    length = chunk_length(len(data), codec)
    chunks = (data[start : start + length].ljust(length, b"\0") for start in range(0, len(data), length))
    return sum(len(codec.encode(memoryview(chunk)).stored) for chunk in chunks)


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_no_larger_than_zlib_makes_it(name: str) -> None:
    data = TEXTS[name]()
    for choice in ("deflate", "zstd", "trajectory"):
        assert stored_size(choice, data) <= 1.05 * len(zlib.compress(data, 6)), choice


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_the_trajectory_codec_is_never_larger_than_zstd(name: str) -> None:
    data = head_of(TRAJECTORIES[name])
    assert stored_size("trajectory", data) <= 1.002 * stored_size("zstd", data)


def test_a_codec_that_is_not_installed_stops_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "run.csv").write_bytes(csv_of_a_run())
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(InvalidDataError, match=r"pip install 'simarchive\[zstd\]'"):
        HDF5Storage(tmp_path / "a.h5", codec="zstd")
    assert not (tmp_path / "a.h5").exists()
    with HDF5Storage(tmp_path / "b.h5", codec="trajectory") as backend:
        key = backend.store_object(Files(name="a"), tmp_path / "files")
        assert [info.codec for info in backend.list_members(key)] == ["deflate-text"]


@pytest.mark.parametrize("choice", CODEC_CHOICES)
def test_what_is_chosen_comes_back(tmp_path: Path, choice: str) -> None:
    (tmp_path / "files").mkdir()
    for number, make in enumerate(TEXTS.values()):
        (tmp_path / "files" / f"{number}").write_bytes(make()[: 60_003 + number])
    with HDF5Storage(tmp_path / "a.h5", codec=choice) as backend:
        key = backend.store_object(Files(name="a"), tmp_path / "files")
        backend.extract(key, tmp_path / "out")
        assert backend.verify(full=True).ok
    for path in (tmp_path / "files").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
