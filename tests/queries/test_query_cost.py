"""What a query costs, in counts that no machine changes: bytes read, documents parsed, fields made."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import pytest

from simarchive import (
    AnyOf,
    Between,
    HDF5Storage,
    MoleFraction,
    Not,
    PropertyPhase,
    StoredEquilibrationData,
    Substance,
    ThermodynamicState,
    unit,
)
from simarchive import EquilibrationDataQuery as Query
from simarchive.chemistry.trees import same_tree
from simarchive.container import documents
from simarchive.container.index import matching
from simarchive.container.index.tail import Tail
from simarchive.data import BaseStoredData
from simarchive.journal import PagedFile
from simarchive.storage import ancillary, incoming

SIZES = (200, 2000)


def mixture(number: int) -> Substance:
    substance = Substance()
    substance.add_component("O", MoleFraction(0.5 + number // 2 / 50))
    substance.add_component(("CO", "CCO")[number % 2], MoleFraction(0.5 - number // 2 / 50))
    return substance


def equilibration(number: int) -> StoredEquilibrationData:
    return StoredEquilibrationData(
        substance=mixture(number % 40),
        thermodynamic_state=ThermodynamicState((280 + number // 40) * unit.kelvin, 1 * unit.atmosphere),
        property_phase=PropertyPhase.Liquid,
        source_calculation_id=f"{number:032x}",
        force_field_id="f" * 32,
        coordinate_file_name="output.pdb",
        statistical_inefficiency=float(number),
        number_of_molecules=number % 10,
        max_number_of_molecules=10,
    )


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Containers of 200 and of 2,000 objects; the larger goes on where the smaller ends."""
    folder = tmp_path_factory.mktemp("cost")
    files = folder / "files"
    files.mkdir()
    (files / "output.pdb").write_text("ATOM\n")
    paths = {}
    first = 0
    for size in SIZES:
        if first:
            shutil.copy(folder / f"{first}.h5", folder / f"{size}.h5")
        paths[size] = folder / f"{size}.h5"
        with HDF5Storage(paths[size], durability="close") as backend, backend.transaction():
            for number in range(first, size):
                backend.store_object(equilibration(number), files, storage_key=f"key-{number}")
        first = size
    return paths


class Counts:
    """How often something was done."""

    def __init__(self) -> None:
        self.bytes = self.calls = self.parsed = self.objects = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    found = Counts()
    read_at, decode, from_document = PagedFile.read_at, documents.decode, BaseStoredData.from_document

    def counting_read(self: PagedFile, buffer: memoryview, offset: int) -> None:
        found.bytes += len(buffer)
        found.calls += 1
        read_at(self, buffer, offset)

    def counting_decode(*arguments: object) -> object:
        found.parsed += 1
        return decode(*arguments)

    def counting_make(cls: type[BaseStoredData], *arguments: object, **options: object) -> BaseStoredData:
        found.objects += 1
        return from_document.__func__(cls, *arguments, **options)

    monkeypatch.setattr(PagedFile, "read_at", counting_read)
    monkeypatch.setattr(documents, "decode", counting_decode)
    monkeypatch.setattr(BaseStoredData, "from_document", classmethod(counting_make))
    return found


def point(number: int) -> Query:
    """Return a query that finds one object alone."""
    stored = equilibration(number)
    return Query(substance=stored.substance, thermodynamic_state=stored.thermodynamic_state)


def test_open_and_point_query_read_no_more_of_a_larger_container(
    containers: dict[int, Path], counts: Counts
) -> None:
    cost = {}
    for size, path in containers.items():
        counts.bytes = counts.calls = 0
        with HDF5Storage(path, mode="r") as backend:
            (found,) = backend.query(point(123)).values()
            assert found[0][0] == "key-123"
        cost[size] = (counts.bytes, counts.calls)
    small, large = (cost[size] for size in SIZES)
    assert 0 < small[0] < 200_000
    assert large[0] <= 2 * small[0], cost
    assert large[1] <= 2 * small[1], cost


def test_count_keys_and_table_parse_no_document(containers: dict[int, Path], counts: Counts) -> None:
    query = Query(number_of_molecules=Between(3, 4), order_by="-temperature")
    with HDF5Storage(containers[2000], mode="r") as backend:
        assert backend.count(query) == 400
        assert len(backend.keys(query)) == 400
        assert len(backend.keys()) == 2000
        assert len(backend.columns(query)["key"]) == 400
        assert len(backend.table(query)) == 400
        assert (counts.parsed, counts.objects) == (0, 0)
        query.contains_components = ["CO"]
        assert backend.count(query) == 200
        assert (counts.parsed, counts.objects) == (0, 0)


@pytest.mark.parametrize(
    ("criterion", "number"),
    [
        (AnyOf(Between(3, 4), Between(9)), 600),
        (AnyOf(Between(3, 4), 9), 600),
        (AnyOf(3, Not(Between(None, 8))), 400),
        (Not(AnyOf(Not(AnyOf(Between(3, 4), 9)), 3)), 400),
    ],
)
def test_either_of_two_ranges_is_found_without_parsing_a_document(
    containers: dict[int, Path], counts: Counts, criterion: object, number: int
) -> None:
    query = Query(number_of_molecules=criterion, order_by="temperature")
    with HDF5Storage(containers[2000], mode="r") as backend:
        assert backend.count(query) == len(backend.keys(query)) == number
        assert len(backend.columns(query)["key"]) == number
        assert (counts.parsed, counts.objects) == (0, 0)
        query.limit = 7
        assert sum(map(len, backend.query(query).values())) == 7
        assert (counts.parsed, counts.objects) == (7, 7)


def test_a_query_parses_the_matches_alone(containers: dict[int, Path], counts: Counts) -> None:
    with HDF5Storage(containers[2000], mode="r") as backend:
        for query, number in [(point(7), 1), (Query(number_of_molecules=7), 200), (Query(limit=5), 5)]:
            counts.parsed = counts.objects = 0
            assert sum(map(len, backend.query(query).values())) == number
            assert (counts.parsed, counts.objects) == (number, number)


def test_storing_parses_no_document_of_others(
    containers: dict[int, Path], counts: Counts, tmp_path: Path
) -> None:
    path = shutil.copy(containers[2000], tmp_path / "more.h5")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "output.pdb").write_text("ATOM\n")
    with HDF5Storage(path) as backend:
        backend.store_object(equilibration(5000), tmp_path / "files")
        assert counts.parsed == 0
        assert counts.objects == 1  # the check that it can be read back


def test_what_is_derived_from_an_object_is_derived_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counting(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: object, **options: object) -> object:
            calls.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    counting(incoming, "identity_digest")
    counting(documents, "identity_digest")
    counting(documents, "encode")
    counting(StoredEquilibrationData, "index_values")
    counting(StoredEquilibrationData, "to_document")
    counting(ancillary, "ancillary_files")
    counting(Tail, "write")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "output.pdb").write_text("ATOM\n")
    with HDF5Storage(tmp_path / "once.h5") as backend, backend.transaction():
        for number in range(30):
            backend.store_object(equilibration(number), tmp_path / "files")
    counts = {name: calls.count(name) for name in set(calls)}
    # The second document is that of the object as it was read back.
    assert counts.pop("to_document") == 60
    assert counts.pop("write") == 1
    assert counts == dict.fromkeys(("identity_digest", "encode", "index_values", "ancillary_files"), 30)


def test_new_objects_are_told_from_old_ones_without_looking_at_rows(
    containers: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(containers[2000], tmp_path / "more.h5")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "output.pdb").write_text("ATOM\n")
    looked_at: list[str] = []
    original = matching.matching_rows
    monkeypatch.setattr(matching, "matching_rows", lambda *a: looked_at.append("") or original(*a))
    with HDF5Storage(path) as backend, backend.transaction():
        for number in range(5000, 5002):
            backend.store_object(equilibration(number), tmp_path / "files")
        looked_at.clear()
        for number in range(5002, 5020):
            backend.store_object(equilibration(number), tmp_path / "files")
        assert looked_at == []
        assert backend.store_object(equilibration(5010), tmp_path / "files") in backend
        assert len(backend) == 2020


def matched(path: Path) -> BaseStoredData:
    with HDF5Storage(path, mode="r") as backend:
        (((_, stored, _),),) = backend.query(point(7)).values()
    return stored


USES = {
    "equality": lambda stored: stored,
    "document": lambda stored: StoredEquilibrationData.from_document(stored.to_document()),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda stored: pickle.loads(pickle.dumps(stored)),
    "model_copy": lambda stored: stored.model_copy(deep=True),
    "model_dump": lambda stored: StoredEquilibrationData(**stored.model_dump()),
    "iteration": lambda stored: StoredEquilibrationData(**dict(stored)),
}


@pytest.mark.parametrize("use", USES)
def test_a_match_is_as_good_as_a_retrieved_object(containers: dict[int, Path], use: str) -> None:
    stored, expected = matched(containers[200]), equilibration(7)
    again = USES[use](stored)
    assert again == expected
    assert same_tree(again.to_document(), expected.to_document())
    assert repr(matched(containers[200])) == repr(expected)
    assert list(vars(again)) == list(vars(expected)) or use in ("equality", "document")
    again.validate()
    with pytest.raises(AttributeError):
        _ = again.nothing


def test_a_match_can_be_changed_before_it_is_looked_at(containers: dict[int, Path]) -> None:
    stored = matched(containers[200])
    stored.number_of_molecules = 99
    stored.calculation_layer = "layer"
    expected = equilibration(7)
    expected.number_of_molecules = 99
    expected.calculation_layer = "layer"
    assert stored == expected
    assert repr(stored) == repr(expected)
    assert stored.number_of_molecules == 99
