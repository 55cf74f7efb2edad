"""Make trajectories of any size for benchmarks: real coordinates plus thermal motion, no frame twice.

The start is 9,000 atoms of adenylate kinase in water (from MDAnalysisTests): the protein and some of its
water. Protein atoms move by a slow and a fast autoregressive walk about where they are, water molecules
diffuse and tumble, with the amplitudes of molecular dynamics at 300 K. MDAnalysis writes the first two frames
of each file, which give the header and the layout of a frame; the others are put together by numpy, because
MDAnalysis would take minutes. XTC is written by MDAnalysis throughout.

    python benchmarks/trajectories.py dcd water.dcd --size 512MiB
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Coordinates = NDArray[np.float32]

N_ATOMS = 9000
BOX = np.array([80.0, 80.0, 80.0, 90.0, 90.0, 90.0], np.float32)

# Per coordinate: fluctuation of a protein atom in angstroms and its correlation time in ps; the
# self-diffusion of water in square angstroms per ps.
SLOW_AMPLITUDE, SLOW_TIME = 0.6, 50.0
FAST_AMPLITUDE, FAST_TIME = 0.2, 0.3
WATER_DIFFUSION = 0.23
TUMBLING_AMPLITUDE, TUMBLING_TIME = 0.4, 3.0


class Walk:
    """An endless trajectory: each `step` moves on by `spacing_ps` and returns coordinates in angstroms."""

    def __init__(self, *, spacing_ps: float, protein_only: bool = False, seed: int = 1) -> None:
        start, n_protein = _start()
        self._n_protein = n_protein
        self._start = (
            start[:n_protein] if protein_only else start[: n_protein + (N_ATOMS - n_protein) // 3 * 3]
        )
        self._random = np.random.default_rng(seed)
        self._spacing = spacing_ps
        self._walks: dict[str, Coordinates] = {}
        self._centres = self._start[n_protein:].copy()
        self.n_atoms = len(self._start)

    def step(self) -> Coordinates:
        """Return the next frame."""
        frame = self._start.copy()
        protein = frame[: self._n_protein]
        protein += self._correlated("slow", protein.shape, SLOW_AMPLITUDE, SLOW_TIME)
        protein += self._correlated("fast", protein.shape, FAST_AMPLITUDE, FAST_TIME)
        water = frame[self._n_protein :]
        if len(water):
            length = np.float32(np.sqrt(2 * WATER_DIFFUSION * self._spacing))
            moves = self._random.standard_normal((len(water) // 3, 3), np.float32) * length
            self._centres += np.repeat(moves, 3, axis=0)
            # Whole molecules are wrapped into the box by their first atom.
            shift = np.repeat(np.floor(self._centres[::3] / BOX[0]) * BOX[0], 3, axis=0)
            self._centres -= shift
            water[:] = self._centres
            water += self._correlated("tumbling", water.shape, TUMBLING_AMPLITUDE, TUMBLING_TIME)
        return frame

    def _correlated(self, name: str, shape: tuple[int, ...], amplitude: float, time: float) -> Coordinates:
        kick = self._random.standard_normal(shape, np.float32)
        memory = np.float32(np.exp(-self._spacing / time))
        before = self._walks.get(name)
        now = kick if before is None else before * memory + kick * np.sqrt(1 - memory**2)
        self._walks[name] = now
        scaled: Coordinates = now * np.float32(amplitude)
        return scaled


def on_xtc_grid(frame: Coordinates) -> Coordinates:
    """Return the coordinates as they come back from an XTC file of the usual precision, in angstroms."""
    steps = np.rint(frame / np.float32(10) * np.float32(1000)).astype(np.int32)
    return steps.astype(np.float32) * np.float32(1 / np.float32(1000)) * np.float32(10)


def _start() -> tuple[Coordinates, int]:
    import MDAnalysis
    from MDAnalysisTests.datafiles import GRO

    universe = MDAnalysis.Universe(GRO)
    protein = universe.select_atoms("protein")
    water = universe.select_atoms("resname SOL")[: N_ATOMS // 3 * 3]
    coordinates = np.concatenate([protein.positions, water.positions])
    return coordinates.astype(np.float32), len(protein)


def _write_frames(
    path: Path, frames: Iterator[Coordinates], n_frames: int, n_atoms: int, **options: Any
) -> None:
    import MDAnalysis

    universe = MDAnalysis.Universe.empty(n_atoms, trajectory=True)
    universe.dimensions = BOX
    with warnings.catch_warnings(), MDAnalysis.Writer(str(path), n_atoms, dt=1.0, **options) as writer:
        warnings.simplefilter("ignore")
        for number in range(n_frames):
            universe.atoms.positions = next(frames)
            universe.trajectory.ts.frame = number
            universe.trajectory.ts.time = float(number)
            writer.write(universe.atoms)


def _frame_template(path: Path, walk: Walk, **options: Any) -> tuple[bytearray, bytes]:
    """Return the header of a file of this format, and the bytes of its second frame."""
    for n_frames in (1, 2):
        _write_frames(
            path,
            iter([np.zeros((walk.n_atoms, 3), np.float32)] * n_frames),
            n_frames,
            walk.n_atoms,
            **options,
        )
        if n_frames == 1:
            one = path.stat().st_size
    both = path.read_bytes()
    frame = len(both) - one
    return bytearray(both[: len(both) - 2 * frame]), both[-frame:]


def _write_by_template(
    path: Path,
    walk: Walk,
    size: int,
    place: Callable[[NDArray[np.uint8], Coordinates, int], None],
    count_at: tuple[int, str] | None,
    change: Callable[[Coordinates], Coordinates],
    **options: Any,
) -> None:
    header, template = _frame_template(path, walk, **options)
    n_frames = max(2, (size - len(header)) // len(template))
    if count_at is not None:
        offset, kind = count_at
        header[offset : offset + 4] = np.array(n_frames, kind).tobytes()
    with path.open("wb") as out:
        out.write(header)
        frame = np.frombuffer(template, np.uint8).copy()
        for number in range(n_frames):
            place(frame, change(walk.step()), number)
            out.write(frame.data)


def _place_dcd(frame: NDArray[np.uint8], coordinates: Coordinates, number: int) -> None:
    # 56 bytes of unit cell, then X, Y and Z, each between two markers of 4 bytes.
    blocks = frame[56:].view("<i4").reshape(3, -1)[:, 1:-1].view("<f4")
    blocks[:] = coordinates.T


def _place_netcdf(n_atoms: int) -> Callable[[NDArray[np.uint8], Coordinates, int], None]:
    def place(frame: NDArray[np.uint8], coordinates: Coordinates, number: int) -> None:
        frame[: 12 * n_atoms].view(">f4")[:] = coordinates.reshape(-1)
        # Time follows the coordinates, then the cell.
        frame[12 * n_atoms : 12 * n_atoms + 4].view(">f4")[0] = number

    return place


def _place_trr(frame: NDArray[np.uint8], coordinates: Coordinates, number: int) -> None:
    # The header ends with step, nre, time and lambda; the box follows, then the coordinates in nanometres.
    x = len(frame) - 12 * len(coordinates)
    frame[x:].view(">f4")[:] = (coordinates / np.float32(10)).reshape(-1)
    frame[x - 52 : x - 48].view(">i4")[0] = number
    frame[x - 44 : x - 40].view(">f4")[0] = number


def make_trajectory(kind: str, path: Path, size: int, seed: int = 1) -> None:
    """Write a trajectory of about `size` bytes; `kind` is one of `KINDS`."""
    kept: Callable[[Coordinates], Coordinates] = lambda frame: frame  # noqa: E731
    spacing = 1.0 if kind == "protein-dcd" else 10.0
    walk = Walk(spacing_ps=spacing, protein_only=kind == "protein-dcd", seed=seed)
    if kind in ("dcd", "protein-dcd"):
        _write_by_template(path, walk, size, _place_dcd, (8, "<i4"), kept)
    elif kind == "dcd-from-xtc":
        _write_by_template(path, walk, size, _place_dcd, (8, "<i4"), on_xtc_grid)
    elif kind == "netcdf":
        _write_by_template(path, walk, size, _place_netcdf(walk.n_atoms), (4, ">i4"), kept)
    elif kind == "trr":
        _write_by_template(path, walk, size, _place_trr, None, kept)
    else:
        per_frame = 5.6 * walk.n_atoms  # what 3 coordinates of an atom take in XTC
        n_frames = max(2, int(size / per_frame))
        _write_frames(path, (walk.step() for _ in range(n_frames)), n_frames, walk.n_atoms)


KINDS = {
    "dcd": ".dcd",
    "netcdf": ".nc",
    "trr": ".trr",
    "xtc": ".xtc",
    "dcd-from-xtc": ".dcd",
    "protein-dcd": ".dcd",
}


def parse_size(text: str) -> int:
    """Return a number of bytes: ``512MiB``, ``4GiB`` or plain digits."""
    for unit, factor in (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)):
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=parse_size, default=512 << 20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    make_trajectory(arguments.kind, arguments.path, arguments.size, arguments.seed)


if __name__ == "__main__":
    main()
