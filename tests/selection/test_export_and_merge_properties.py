"""Properties of copies: nothing is lost on the way, and the order of merging does not matter."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simarchive import HDF5Storage, LocalFileStorage
from simarchive.storage.finding.comparison import compare
from simarchive.testing.sample_objects import equilibration, simulation

CALCULATIONS = ("a", "b", "c")
Drawn = tuple[str, str, float, int]
"""Key, calculation and inefficiency of an object, and the byte that its files are full of."""


@st.composite
def stores(draw: st.DrawFn, number: int) -> list[list[Drawn]]:
    """Draw the objects of some stores.

    No two measurements of a calculation are equally good: of such, the one that was there first is kept.
    """
    inefficiencies = draw(st.permutations([1.0 + place / 8 for place in range(4 * number)]))
    found = []
    for place in range(number):
        # Each store has some, and two have at least one calculation in common: there is something to decide.
        chosen = draw(st.lists(st.sampled_from(CALCULATIONS), unique=True, min_size=2, max_size=3))
        found.append(
            [
                (
                    f"{calculation}{place}",
                    calculation,
                    inefficiencies[4 * place + rank],
                    rank,
                )
                for rank, calculation in enumerate(chosen)
            ]
        )
    return found


def filled(path: Path, objects: list[Drawn]) -> HDF5Storage:
    backend = HDF5Storage(path, durability="close")
    for key, calculation, inefficiency, byte in objects:
        content = bytes([byte]) * 70_000
        files = path.with_name(f"{path.stem}-{key}")
        files.mkdir()
        (files / "output.pdb").write_bytes(content[:1000])
        (files / "trajectory.dcd").write_bytes(content)
        backend.store_object(simulation(calculation, inefficiency), files, storage_key=key)
    if objects:
        _, calculation, inefficiency, _ = objects[0]
        layer = equilibration(calculation, 10.0 + inefficiency)
        backend.store_object(layer, files, storage_key=f"layer-{path.stem}")
    return backend


def contents(backend: HDF5Storage) -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return what there is, under whatever keys."""
    return Counter(
        (backend.header(key).identity, tuple(sorted(backend.file_digests(key).items())))
        for key in backend.keys()  # noqa: SIM118
    )


QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(stores(1))
def test_what_is_exported_and_imported_again_is_the_same(
    drawn: list[list[Drawn]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with (
            filled(folder / "a.h5", drawn[0]) as backend,
            LocalFileStorage(folder / "exported") as directory,
            HDF5Storage(folder / "back.h5", durability="close") as back,
        ):
            directory.update(backend)
            back.update(directory)
            for one, other in ((backend, directory), (directory, back), (backend, back)):
                found = compare(one, other)
                assert found.none, found
                assert found.n_equal == len(backend)
                assert not found.unreadable


@QUICK
@given(stores(2))
def test_merging_in_either_order_gives_the_same_objects(
    drawn: list[list[Drawn]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with (
            filled(folder / "a.h5", drawn[0]) as one,
            filled(folder / "b.h5", drawn[1]) as other,
            HDF5Storage(folder / "ab.h5", durability="close") as first,
            HDF5Storage(folder / "ba.h5", durability="close") as second,
        ):
            reports = [first.update(one), first.update(other)]
            second.update(other)
            second.update(one)
            assert contents(first) == contents(second)
            again = first.update(one)
            assert not again.stored
            assert contents(first) == contents(second)
            # Whatever was decided about measurements of one calculation is explained.
            for report in reports:
                assert set(report.replaced) <= set(report.reasons)
