"""What an archive says of itself: checked where it is given, attributes in the file, kept by every copy."""

from __future__ import annotations

import json
import os
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from archives import METADATA
from hypothesis import given, settings
from hypothesis import strategies as st

from simarchive import HDF5Storage, InvalidDataError, ReadOnlyError, TrainedModelData, repack
from simarchive.container import layout
from simarchive.container import metadata as archive_texts
from simarchive.storage.hdf5.salvage import salvage
from simarchive.storage.merging import merge, plan
from simarchive.storage.publication import toml_text
from simarchive.storage.publication.metadata import FIELDS, LISTS, ArchiveMetadata, Author, Funding

ALL = ArchiveMetadata(**METADATA)
MODEL = {"framework": "torch", "target_property": "density", "domain": "water"}


# --- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_text", "orcid"),
    [
        ("0000-0002-1825-0097", "0000-0002-1825-0097"),
        ("https://orcid.org/0000-0002-1694-233x", "0000-0002-1694-233X"),
        ("0000-0001-5109-3700", "0000-0001-5109-3700"),
    ],
)
def test_an_orcid_is_kept_without_its_address(given_text: str, orcid: str) -> None:
    assert Author("A", given_text).orcid == orcid


@pytest.mark.parametrize("place", range(16))
def test_a_mistyped_digit_of_an_orcid_is_found(place: int) -> None:
    right = "0000000218250097"
    for digit in string.digits:
        wrong = right[:place] + digit + right[place + 1 :]
        text = "-".join(wrong[start : start + 4] for start in range(0, 16, 4))
        if wrong == right:
            assert Author("A", text).orcid == text
        else:
            with pytest.raises(InvalidDataError, match="check digit"):
                Author("A", text)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("license", "CC BY 4.0", "did you mean 'CC-BY-4.0'"),
        ("license", "free", "spdx.org/licenses"),
        ("doi", "zenodo.123", "10.5281"),
        ("authors", ["Ada <ada@example.org>"], "e-mail"),
        ("authors", ["<0000-0002-1825-0097>"], "cannot be read"),
        ("authors", [{"name": "Ada", "mail": "x"}], "has no 'mail'"),
        ("authors", [{"orcid": "0000-0002-1825-0097"}], "lacks its name"),
        ("authors", [7], "has to be a text"),
        ("keywords", ["a, b"], "comma"),
        ("references", ["the paper"], "neither a DOI nor"),
        ("published", "1 March 2027", "2027-03-01"),
        ("title", "a\0b", "place 2"),
        ("title", 7, "has to be a text"),
        ("readme", "x" * ((1 << 20) + 1), "longer than"),
        ("keywords", ["x" * 1000] * 1 + [f"{n:0>900}" for n in range(400)], "longer than"),
        ("keywords", [str(n) for n in range(10_001)], "10,001 elements"),
        ("funding", ["((("], "Funder"),
    ],
)
def test_what_is_not_valid_is_refused_with_what_to_write(field: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidDataError) as caught:
        ArchiveMetadata(**{field: value})
    assert words in str(caught.value)


def test_a_field_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidDataError, match="no field 'licence'"):
        ALL.with_changes(licence="MIT")
    with pytest.raises(InvalidDataError):
        ArchiveMetadata.from_dict(["title"])


def test_values_are_cleaned() -> None:
    found = ArchiveMetadata(
        title="  two\n lines ",
        license="cc0-1.0",
        doi="https://doi.org/10.5281/Zenodo.1",
        keywords=["a", "", "a", " b "],
        readme="one\r\ntwo\rthree\n",
    )
    assert found.as_dict() == {
        "title": "two lines",
        "license": "CC0-1.0",
        "doi": "10.5281/Zenodo.1",
        "keywords": ["a", "b"],
        "readme": "one\ntwo\nthree",
    }


def test_names_are_taken_apart() -> None:
    assert Author("Josiah Carberry").family_and_given == ("Carberry", "Josiah")
    assert Author("van der Berg, Anna").family_and_given == ("van der Berg", "Anna")
    assert Author("Plato").family_and_given == ("Plato", None)


LINES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30
).filter(str.strip)
NAMES = LINES.filter(lambda text: not set(text) & set(";<>{}()"))
AUTHORS = st.builds(
    Author,
    NAMES,
    st.sampled_from([None, "0000-0002-1825-0097"]),
    st.none() | LINES,
    is_organization=st.just(False),
) | st.builds(Author, NAMES, st.none(), st.none() | LINES, is_organization=st.just(True))
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")) | st.sampled_from('\n\t"\\')
).filter(str.strip)
ANY_METADATA = st.builds(
    ArchiveMetadata,
    title=st.none() | LINES,
    description=st.none() | TEXTS,
    readme=st.none() | TEXTS,
    license=st.sampled_from([None, "CC-BY-4.0", "MIT OR Apache-2.0"]),
    authors=st.lists(AUTHORS, max_size=3),
    doi=st.sampled_from([None, "10.5281/zenodo.1"]),
    version=st.none() | LINES,
    keywords=st.lists(LINES.filter(lambda text: "," not in text), max_size=3),
    funding=st.lists(st.builds(Funding, NAMES, st.none() | NAMES), max_size=3),
    software=st.lists(LINES, max_size=3),
    references=st.lists(st.sampled_from(["https://doi.org/10.1000/x", "https://example.org/a?b=c"])),
    published=st.sampled_from([None, "2027-03-01"]),
)


@given(ANY_METADATA)
@settings(max_examples=150, deadline=None)
def test_toml_text_reads_back_as_it_was(metadata: ArchiveMetadata) -> None:
    assert toml_text.read(toml_text.written(metadata)) == metadata
    assert ArchiveMetadata.from_dict(metadata.as_dict()) == metadata
    for author in metadata.authors:
        assert Author.parse(str(author)) == author


@given(metadata=ANY_METADATA)
@settings(max_examples=25, deadline=None)
def test_the_file_reads_back_as_it_was(
    metadata: ArchiveMetadata, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.h5"
    with HDF5Storage(path, durability="close") as backend:
        backend.set_metadata(metadata)
    with HDF5Storage(path, mode="r") as backend:
        assert backend.metadata == metadata
        assert backend.stored_metadata().faults == {}
        assert backend.verify().ok


# --- on the disk -----------------------------------------------------------------------------------------


def test_other_programs_find_the_names_of_the_convention(archive: Path) -> None:
    with h5py.File(archive) as file:
        found = {name: value.decode() for name, value in file.attrs.items() if isinstance(value, np.bytes_)}
    wanted = {
        "Conventions": "ACDD-1.3",
        "title": METADATA["title"],
        "summary": METADATA["description"],
        "license": "CC-BY-4.0",
        "id": METADATA["doi"],
        "naming_authority": "org.doi",
        "product_version": "1.1",
        "keywords": "water, force fields",
        "creator_name": "Josiah Carberry; van der Berg, Anna; The Open Force Field Initiative",
        "creator_type": "group",
        "creator_url": "https://orcid.org/0000-0002-1825-0097",
        "creator_institution": "Brown University; Institute (North), Oslo",
        "acknowledgement": "Deutsche Forschungsgemeinschaft (123456); NIH",
        "source": "OpenMM 8.1.1\nOpenFF Evaluator 0.4.10",
        "references": "\n".join(METADATA["references"]),
        "publisher_name": "Zenodo",
        "date_issued": "2027-03-01",
        "archive_readme": METADATA["readme"],
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert json.loads(found["archive_authors"])[0] == {
        "name": "Josiah Carberry",
        "orcid": "0000-0002-1825-0097",
        "affiliation": "Brown University",
    }
    assert json.loads(found["archive_funding"])[1] == {"funder": "NIH"}


def test_fields_are_set_alone_and_removed_alone(archive: Path) -> None:
    with HDF5Storage(archive) as backend:
        backend.set_metadata(title="Other", doi="", keywords=[])
    with HDF5Storage(archive, mode="r") as backend:
        assert backend.metadata == ALL.with_changes(title="Other", doi=None, keywords=())
    with h5py.File(archive) as file:
        assert not {"id", "naming_authority", "keywords"} & set(file.attrs)


def test_all_can_be_removed_and_the_file_says_nothing_any_more(archive: Path) -> None:
    with HDF5Storage(archive) as backend:
        backend.set_metadata(ArchiveMetadata())
        assert backend.metadata.is_empty
    with h5py.File(archive) as file:
        assert not set(archive_texts.NAMES) & set(file.attrs)
        assert layout.ARCHIVE_DIGEST not in file.attrs


def test_what_is_refused_changes_nothing(archive: Path) -> None:
    before = archive.read_bytes()
    with HDF5Storage(archive) as backend:
        with pytest.raises(InvalidDataError):
            backend.set_metadata(title="New", license="nonsense")
        with pytest.raises(InvalidDataError):
            backend.set_metadata("a title")  # type: ignore[arg-type]
        assert backend.metadata == ALL
    assert archive.read_bytes() == before
    with HDF5Storage(archive, mode="r") as backend, pytest.raises(ReadOnlyError):
        backend.set_metadata(title="New")


def test_setting_what_is_set_commits_nothing(archive: Path) -> None:
    with HDF5Storage(archive) as backend:
        before = backend.stored_metadata()
        backend.set_metadata(**METADATA)
        assert backend.stored_metadata() == before
        assert backend.statistics().log_bytes <= 8192  # no page was logged


def test_metadata_are_part_of_a_transaction(archive: Path) -> None:
    with HDF5Storage(archive) as backend:
        with pytest.raises(RuntimeError), backend.transaction():
            backend.set_metadata(title="New")
            raise RuntimeError
        assert backend.metadata == ALL


def test_they_can_be_set_ever_again(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    random = np.random.default_rng(3)
    for number in range(60):
        fields = {name: METADATA[name] for name in FIELDS if random.random() < 0.5}
        fields["description"] = "x" * int(random.integers(1, 100_000))
        with HDF5Storage(path, durability="close") as backend:
            backend.set_metadata(ArchiveMetadata(**fields))
        with HDF5Storage(path, mode="r") as backend:
            assert backend.metadata == ArchiveMetadata(**fields), number
    assert path.stat().st_size < 2_000_000  # the space of old texts is used again


def test_reading_them_does_not_depend_on_the_number_of_objects(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_list(*_: object) -> None:
        raise AssertionError("the objects were listed")

    with HDF5Storage(archive) as backend:
        monkeypatch.setattr("simarchive.container.contents.Contents.names", no_list)
        assert backend.metadata == ALL
        backend.set_metadata(title="Other")


# --- what strangers and damage do ---------------------------------------------------------------------------


def set_attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def soft_type(file: h5py.File) -> None:
    file.attrs.create("title", [file.ref], dtype=h5py.ref_dtype)


TAMPERED = {
    "a title that is numbers": (set_attribute("title", [1, 2]), "title"),
    "a title that is a reference": (soft_type, "title"),
    "several titles": (set_attribute("title", np.array([b"a", b"b"])), "title"),
    "a title that is no UTF-8": (set_attribute("title", np.bytes_(b"\xff\xfe")), "title"),
    "a title that is too long": (set_attribute("title", np.bytes_(b"x" * ((1 << 20) + 1))), "title"),
    "a title with control characters": (set_attribute("title", "a\x1b[2Jb"), "title"),
    "a licence that is none": (set_attribute("license", "CC BY 4.0"), "license"),
    "an id that is no DOI": (set_attribute("id", "my-data"), "doi"),
    "authors that are no JSON": (set_attribute("archive_authors", "[{"), "authors"),
    "authors that are a number": (set_attribute("archive_authors", "7"), "authors"),
    "authors nested deeply": (set_attribute("archive_authors", "[" * 100_000), "authors"),
    "an author without a name": (set_attribute("archive_authors", '[{"orcid": null}]'), "authors"),
    "an author of another kind": (set_attribute("archive_authors", '[{"name": ["a"]}]'), "authors"),
    "another creator_name": (set_attribute("creator_name", "Somebody Else"), "authors"),
    "another title": (set_attribute("title", "Another title"), "metadata"),
    "a digest that is a number": (set_attribute("archive_metadata_blake3", 7), "archive_metadata_blake3"),
    "another digest": (set_attribute("archive_metadata_blake3", "0" * 64), "metadata"),
}


@pytest.fixture(params=TAMPERED)
def tampered(request: pytest.FixtureRequest, archive: Path) -> tuple[Path, str]:
    change, field = TAMPERED[request.param]
    with h5py.File(archive, "r+") as file:
        change(file)
    return archive, field


def test_a_malformed_field_costs_no_other_and_no_object(tampered: tuple[Path, str]) -> None:
    path, field = tampered
    with HDF5Storage(path, mode="r") as backend:
        stored = backend.stored_metadata()
        assert list(stored.faults) == [field]
        untouched = [
            name for name in FIELDS if name != field and not (field == "metadata" and name == "title")
        ]
        assert all(getattr(stored.metadata, name) == getattr(ALL, name) for name in untouched)
        assert len(backend) == 13
        report = backend.verify()
        assert [(problem.key, problem.is_error) for problem in report.problems] == [("", True)]
        assert f"{field} in the metadata of the archive" in report.problems[0].message


def test_what_is_malformed_stays_until_it_is_set(tampered: tuple[Path, str]) -> None:
    path, field = tampered
    with h5py.File(path) as file:
        names = {"title": "title", "license": "license", "doi": "id", "authors": "archive_authors"}
        before = None if field not in names else repr(file.attrs.get_id(names[field]).dtype)
    with HDF5Storage(path) as backend:
        backend.set_metadata(version="1.2")
        if field in names and not getattr(backend.metadata, field):
            assert field in backend.stored_metadata().faults
            with h5py.File(path) as file:
                assert repr(file.attrs.get_id(names[field]).dtype) == before
        backend.set_metadata(ALL)
        assert backend.stored_metadata().faults == {}
        assert backend.verify().ok


def test_every_copy_goes_on_without_what_is_malformed(tampered: tuple[Path, str], tmp_path: Path) -> None:
    path, field = tampered
    saved = salvage(path, tmp_path / "saved.h5")
    assert len(saved.saved) == 13
    assert any(field in remark for remark in saved.remarks)
    with HDF5Storage(tmp_path / "merged.h5") as merged, HDF5Storage(path, mode="r") as source:
        report = merge(merged, source)
        assert len(report.stored) == 13
        assert any(field in remark for remark in report.metadata)
    repack(path)
    for copy in (path, tmp_path / "saved.h5", tmp_path / "merged.h5"):
        with HDF5Storage(copy, mode="r") as backend:
            assert len(backend) == 13
            assert backend.metadata.description == ALL.description


def test_what_other_programs_wrote_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    HDF5Storage(path).close()
    with h5py.File(path, "r+") as file:
        file.attrs["title"] = "Of ncatted"
        file.attrs["creator_name"] = "Josiah Carberry; Anna Berg"
        file.attrs["acknowledgement"] = "NIH (7)"
    with HDF5Storage(path, mode="r") as backend:
        assert backend.metadata == ArchiveMetadata(
            title="Of ncatted", authors=["Josiah Carberry", "Anna Berg"], funding=["NIH (7)"]
        )
        assert backend.verify().ok


def test_a_file_of_an_early_version_has_none_and_gets_some(tmp_path: Path) -> None:
    [early] = sorted((Path(__file__).parents[1] / "data" / "format-v1").glob("*.h5"))[:1]
    path = Path(shutil.copyfile(early, tmp_path / "early.h5"))
    with HDF5Storage(path) as backend:
        assert backend.stored_metadata().faults == {}
        n_objects = len(backend)
        backend.set_metadata(ALL)
    with HDF5Storage(path, mode="r") as backend:
        assert (backend.metadata, len(backend)) == (ALL, n_objects)


# --- copies ------------------------------------------------------------------------------------------------


def test_repack_and_repair_keep_them(archive: Path, tmp_path: Path) -> None:
    repack(archive)
    salvage(archive, tmp_path / "saved.h5")
    for path in (archive, tmp_path / "saved.h5"):
        with HDF5Storage(path, mode="r") as backend:
            assert backend.metadata == ALL
            assert backend.verify().ok


def test_repair_saves_them_from_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path, files = tmp_path / "a.h5", tmp_path / "files"
    files.mkdir()
    with HDF5Storage(path) as backend:
        backend.set_metadata(ALL)
        for number in range(40):
            backend.store_object(TrainedModelData(name=str(number), **MODEL), files)
    os.truncate(path, path.stat().st_size - 10_000)
    report = salvage(path, tmp_path / "saved.h5")
    assert any("searched for" in remark for remark in report.remarks)
    with HDF5Storage(tmp_path / "saved.h5", mode="r") as backend:
        assert backend.metadata == ALL
        assert len(backend) > 10


def test_a_subset_keeps_them_but_is_not_the_archive_of_that_doi(archive: Path, tmp_path: Path) -> None:
    with (
        HDF5Storage(archive, mode="r") as backend,
        backend.subset(tmp_path / "part.h5", exclude_components=["O"]) as part,
    ):
        assert part.metadata == ALL.with_changes(
            doi=None,
            publisher=None,
            published=None,
            references=[*METADATA["references"], "10.5281/zenodo.1234567"],
        )


def test_a_merge_keeps_the_target_takes_what_it_lacks_and_says_what_differs(
    archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.h5"
    with HDF5Storage(other) as target:
        target.set_metadata(
            title="Mine",
            license="MIT",
            keywords=["mine"],
            authors=["J. Carberry <0000-0002-1825-0097>", "B C"],
        )
        with HDF5Storage(archive, mode="r") as source:
            [planned] = plan(target, [source])
            report = merge(target, source)
        assert planned.metadata == report.metadata
        assert report.metadata == [
            "title: 'Mine' stays, the source has 'Liquid water at 298.15 K'",
            "license: 'MIT' stays, the source has 'CC-BY-4.0'",
        ]
        merged = target.metadata
    assert (merged.title, merged.license, merged.version) == ("Mine", "MIT", "1.1")
    assert merged.description == ALL.description
    assert merged.keywords == ("mine", "water", "force fields")
    # The person with the same ORCID iD is there once.
    assert [author.name for author in merged.authors] == [
        "J. Carberry",
        "B C",
        "van der Berg, Anna",
        "The Open Force Field Initiative",
    ]
    assert merged.doi is None
    assert "https://doi.org/10.5281/zenodo.1234567" in merged.references


def test_a_licence_is_not_extended_to_objects_that_came_without_one(archive: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.h5"
    shutil.copyfile(archive, bare)
    with HDF5Storage(bare) as target, HDF5Storage(archive, mode="r") as source:
        target.set_metadata(ArchiveMetadata())
        report = merge(target, source)
        assert target.metadata.license is None
        assert target.metadata.title == ALL.title
    assert report.metadata == [
        "license: 'CC-BY-4.0' of the source is not taken, because other objects came without one"
    ]


def test_all_fields_are_tried_here() -> None:
    assert set(METADATA) == set(FIELDS)
    assert all(isinstance(METADATA[name], list) == (name in LISTS) for name in FIELDS)
