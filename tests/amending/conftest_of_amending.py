"""What the tests of amended objects share: a run with files of each kind, and what is on disk of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest

from simarchive import HDF5Storage, SimulationRun
from simarchive.codecs import CHUNK_BYTES

KEY = "k" * 32
OTHER = "o" * 32


def floats(n_bytes: int, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).normal(size=-(-n_bytes // 4)).astype("<f4")
    return values.tobytes()[:n_bytes]


FILES = {
    "system.pdb": b"ATOM\n" * 40,
    "frames.bin": floats(CHUNK_BYTES + 300_000),
    "twin.bin": floats(90_000, 3),
    "folder/log.txt": b"step 1\n",
    "folder/deeper/empty.txt": b"",
    "n" * 240 + "/" + "long" * 20: b"a long name",
}


@dataclass
class Stored:
    """A container with two objects that share a file, and what the first should have."""

    path: Path
    sources: Path
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))

    def source(self, data: bytes) -> Path:
        """Return a new file."""
        path = self.sources / f"source-{len(list(self.sources.iterdir()))}"
        path.write_bytes(data)
        return path

    def opened(self) -> HDF5Storage:
        return HDF5Storage(self.path)

    def found(self) -> dict[str, bytes]:
        """Return the files of the object as anybody reads them."""
        with HDF5Storage(self.path, mode="r") as backend:
            return {
                info.name: backend.open_member(KEY, info.name).read() for info in backend.list_members(KEY)
            }

    def check(self) -> None:
        """Check that the object has the files that it should have, and that all proofs hold."""
        assert self.found() == self.files
        with HDF5Storage(self.path, mode="r") as backend:
            report = backend.verify(full=True)
            assert report.problems == []
            assert report.ok
            assert {name: backend.open_member(OTHER, name).read() for name in FILES} == FILES


@pytest.fixture(scope="session")
def stored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("amending")
    folder = place / "run"
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "nothing").mkdir()
    with HDF5Storage(place / "a.h5") as backend:
        run = SimulationRun(name="run", tags=["draft"], topology_file_name="system.pdb")
        backend.store_object(run, folder, storage_key=KEY)
        backend.store_object(SimulationRun(name="another", tags=["draft"]), folder, storage_key=OTHER)
    return place / "a.h5"


@pytest.fixture
def stored(stored_once: Path, tmp_path: Path) -> Stored:
    (tmp_path / "sources").mkdir()
    return Stored(Path(shutil.copy(stored_once, tmp_path / "a.h5")), tmp_path / "sources")


def datasets_of(path: Path, key: str) -> dict[str, tuple[int, list[int]]]:
    """Return where each member of an object is in the file, and where its chunks are."""
    found: dict[str, tuple[int, list[int]]] = {}

    def note(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and "member_size" in node.attrs:
            chunks: list[int] = []
            node.id.chunk_iter(lambda chunk: chunks.append(chunk.byte_offset))
            found[name.rpartition("/")[2]] = h5py.h5o.get_info(node.id).addr, chunks

    with h5py.File(path) as file:
        file["objects"][key].visititems(note)
    return found
