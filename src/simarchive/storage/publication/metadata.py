"""The metadata of an archive: what a person needs to know, cite and reuse it, checked where it is given."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from simarchive.errors import InvalidDataError

LARGEST_TEXT_BYTES = 1 << 20
MOST_PARTS = 10_000
"""Of a list: authors, keywords and so on."""

# Control characters but line ends and tabs, and halves of surrogate pairs.
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dXx])/?")
# The DOI handbook, 2.2: a prefix of numbers, and a suffix of any printable characters.
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}(?:\.\d+)*/\S+)", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"]+")
_AUTHOR = re.compile(
    r"(?P<name>\{[^{}]*\}|[^<>(){}]+?)\s*(?:<(?P<orcid>[^<>]*)>)?\s*(?:\((?P<affiliation>.*)\))?"
)
_FUNDING = re.compile(r"(?P<funder>[^()]+?)\s*(?:\((?P<award>[^()]*)\))?")

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Author:
    """One author: a person, or a group or institution.

    Parameters
    ----------
    name
        ``"Given Family"`` or ``"Family, Given"``. Without a comma the last word is taken for the family
        name, so write ``"van der Berg, Anna"``.
    orcid
        The ORCID iD, with or without ``https://orcid.org/``; its check digit is compared.
    affiliation
        Where the author works.
    is_organization
        Whether it is no person.

    Raises
    ------
    InvalidDataError
        If a value is not what it should be.

    References
    ----------
    ISO 7064, MOD 11-2: the check digit of an ORCID iD.
    """

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    is_organization: bool = False

    def __post_init__(self) -> None:
        name = _line("the name of an author", self.name)
        if name is None:
            raise InvalidDataError("an author has no name")
        if any(mark in name for mark in ";<>{}()"):
            raise InvalidDataError(f"the name of an author has none of ; < > {{ }} ( ), and {name!r} has")
        orcid = None if self.orcid is None or not self.orcid.strip() else checked_orcid(self.orcid)
        if orcid is not None and self.is_organization:
            raise InvalidDataError(f"{name!r} is an organization, which has no ORCID iD")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "orcid", orcid)
        object.__setattr__(self, "affiliation", _line(f"the affiliation of {name}", self.affiliation))

    @classmethod
    def parse(cls, text: str) -> Author:
        """Return the author that a text names: ``"Name <orcid> (affiliation)"``, ``"{Organization}"``.

        Raises
        ------
        InvalidDataError
            If it cannot be read, or names something that is not valid.
        """
        found = _AUTHOR.fullmatch(text.strip())
        if found is None:
            raise InvalidDataError(
                f'the author {text!r} cannot be read: write "Name <ORCID iD> (affiliation)",'
                ' or "{Name of an organization}"'
            )
        name, orcid = found["name"].strip(), found["orcid"]
        if orcid is not None and "@" in orcid:
            raise InvalidDataError(
                f"the author {text!r} has an e-mail address in <>, which is not kept: put the ORCID iD there"
            )
        is_organization = name.startswith("{")
        return cls(name.strip("{}"), orcid, found["affiliation"], is_organization)

    @property
    def family_and_given(self) -> tuple[str, str | None]:
        """Family name and given names of a person; the given names may be missing."""
        family, comma, given = self.name.partition(",")
        if comma:
            return family.strip(), given.strip() or None
        given, _, family = self.name.rpartition(" ")
        return family, given.strip() or None

    def __str__(self) -> str:
        name = f"{{{self.name}}}" if self.is_organization else self.name
        orcid = f" <{self.orcid}>" if self.orcid else ""
        affiliation = f" ({self.affiliation})" if self.affiliation else ""
        return name + orcid + affiliation


@dataclass(frozen=True, slots=True)
class Funding:
    """Who paid, and the number of the award, if there is one."""

    funder: str
    award: str | None = None

    def __post_init__(self) -> None:
        funder = _line("a funder", self.funder)
        if funder is None:
            raise InvalidDataError("a funding has no funder")
        if any(mark in funder for mark in ";()"):
            raise InvalidDataError(f"the name of a funder has none of ; ( ), and {funder!r} has")
        award = _line(f"the award of {funder}", self.award)
        if award is not None and any(mark in award for mark in ";()"):
            raise InvalidDataError(f"the number of an award has none of ; ( ), and {award!r} has")
        object.__setattr__(self, "funder", funder)
        object.__setattr__(self, "award", award)

    @classmethod
    def parse(cls, text: str) -> Funding:
        """Return the funding that a text names: ``"Funder (award)"``.

        Raises
        ------
        InvalidDataError
            If it cannot be read.
        """
        found = _FUNDING.fullmatch(text.strip())
        if found is None:
            raise InvalidDataError(f'the funding {text!r} cannot be read: write "Funder (award number)"')
        return cls(found["funder"], found["award"])

    def __str__(self) -> str:
        return f"{self.funder} ({self.award})" if self.award else self.funder


@dataclass(frozen=True, slots=True)
class ArchiveMetadata:
    """What an archive says of itself. Whatever is not set is ``None`` or an empty tuple.

    Parameters
    ----------
    title
        One line.
    description
        What the data is, and what it was made for, in a paragraph or two.
    readme
        The whole README, Markdown, up to 1 MiB.
    license
        An SPDX licence expression: ``"CC-BY-4.0"``, ``"CC0-1.0"``, ``"MIT OR Apache-2.0"``.
    authors
        The authors in order; each an `Author`, or a text as `Author.parse` reads it.
    doi
        The DOI of this archive, with or without ``https://doi.org/``.
    version
        Of the data, such as ``"1.1"``.
    keywords
        Words to find it by; without commas.
    funding
        Each a `Funding`, or a text as `Funding.parse` reads it.
    software
        What made the data, with versions: ``"OpenMM 8.1.1"``.
    references
        DOIs and addresses (http, https) of what belongs to it: the article, the code, other data.
    publisher
        The repository, such as ``"Zenodo"``.
    published
        The day of publication, ``"2027-03-01"``.

    Raises
    ------
    InvalidDataError
        If a value is not what it should be; the message names it.

    References
    ----------
    SPDX licence list; ISO 7064 (ORCID iD); ISO 26324 (DOI).
    """

    title: str | None = None
    description: str | None = None
    readme: str | None = None
    license: str | None = None
    authors: tuple[Author, ...] = ()
    doi: str | None = None
    version: str | None = None
    keywords: tuple[str, ...] = ()
    funding: tuple[Funding, ...] = ()
    software: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    publisher: str | None = None
    published: str | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, checked(field.name, getattr(self, field.name)))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set."""
        return not self.as_dict()

    def with_changes(self, **changes: Any) -> ArchiveMetadata:
        """Return these metadata with some fields set to other values; an empty value removes one.

        Raises
        ------
        InvalidDataError
            If a value is not what it should be, or there is no such field.
        """
        unknown = changes.keys() - set(FIELDS)
        if unknown:
            raise InvalidDataError(f"metadata have no field {min(unknown)!r}: there are {', '.join(FIELDS)}")
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Return what is set as plain values: texts, lists and dictionaries."""
        found = {name: _plain(getattr(self, name)) for name in FIELDS}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_dict(cls, values: object) -> ArchiveMetadata:
        """Return the metadata that plain values say, as `as_dict` gives them.

        Raises
        ------
        InvalidDataError
            If a value is not what it should be, or there is no such field.
        """
        if not isinstance(values, dict):
            raise InvalidDataError(f"metadata are named values, not {type(values).__name__}")
        return cls().with_changes(**{str(name): value for name, value in values.items()})


FIELDS = tuple(field.name for field in dataclasses.fields(ArchiveMetadata))
"""The names of all fields, in order."""

LISTS = ("authors", "keywords", "funding", "software", "references")
"""Those that are lists."""


def checked(name: str, value: object) -> Any:
    """Return the value of a field as `ArchiveMetadata` keeps it.

    Raises
    ------
    InvalidDataError
        If it is not what it should be.
    """
    return _CHECKS[name](value)


def checked_orcid(text: str) -> str:
    """Return an ORCID iD as four groups of four.

    Raises
    ------
    InvalidDataError
        If it is none, or its check digit is wrong.
    """
    found = _ORCID.fullmatch(text.strip())
    if found is None:
        raise InvalidDataError(f"{text!r} is no ORCID iD: it looks like 0000-0002-1825-0097")
    digits = found[1].upper().replace("-", "")
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    if digits[-1] != ("X" if check == 10 else str(check)):
        raise InvalidDataError(f"the ORCID iD {text!r} has a wrong check digit: look for a mistyped number")
    return found[1].upper()


def checked_doi(text: str) -> str:
    """Return a DOI without what is written before it.

    Raises
    ------
    InvalidDataError
        If it is none.
    """
    found = _DOI.fullmatch(text.strip())
    if found is None:
        raise InvalidDataError(f"{text!r} is no DOI: it looks like 10.5281/zenodo.1234567")
    return found[1]


def checked_license(text: str) -> str:
    """Return an SPDX licence expression in its usual spelling.

    Raises
    ------
    InvalidDataError
        If it is none.
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    expression = text.strip()
    try:
        return str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression:
        pass
    likely = re.sub(r"[\s_-]+", "-", expression)
    try:
        hint = f"did you mean {str(canonicalize_license_expression(likely))!r}?"
    except InvalidLicenseExpression:
        hint = "use an identifier of https://spdx.org/licenses, such as CC-BY-4.0 or CC0-1.0"
    raise InvalidDataError(f"{expression!r} is no SPDX licence expression: {hint}")


def _reference(text: str) -> str:
    if _URL.fullmatch(text) and not _DOI.fullmatch(text):
        return text
    try:
        return f"https://doi.org/{checked_doi(text)}"
    except InvalidDataError:
        fault = f"the reference {text!r} is neither a DOI nor an address (https://...)"
        raise InvalidDataError(fault) from None


def _day(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidDataError(f"{text!r} is no day: write it as 2027-03-01") from None


def _text(what: str, value: object) -> str | None:
    """Return a text of any number of lines, without blanks around it; ``None`` if nothing is left."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidDataError(f"{what} has to be a text, not {type(value).__name__}")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    found = _NO_TEXT.search(text)
    if found is not None:
        raise InvalidDataError(
            f"{what} has the character {found[0]!r} at place {found.start() + 1}, which is no text"
        )
    if len(text.encode()) > LARGEST_TEXT_BYTES:
        raise InvalidDataError(f"{what} is longer than {LARGEST_TEXT_BYTES:,} bytes: keep it in an object")
    return text or None


def _line(what: str, value: object) -> str | None:
    """Return a text of one line."""
    text = _text(what, value)
    return None if text is None else re.sub(r"\s+", " ", text)


def _checked_line(what: str, check: Callable[[str], str]) -> Callable[[object], str | None]:
    def check_line(value: object) -> str | None:
        line = _line(what, value)
        return None if line is None else check(line)

    return check_line


def _list(what: str, of: Callable[[Any], Part | None]) -> Callable[[object], tuple[Part, ...]]:
    """Return what checks a list, and leaves out what is empty or there twice."""

    def check_list(value: object) -> tuple[Part, ...]:
        if value is None:
            return ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, Iterable) or isinstance(value, dict | bytes):
            raise InvalidDataError(f"{what} has to be a list, not {type(value).__name__}")
        parts = list(value)
        if len(parts) > MOST_PARTS:
            raise InvalidDataError(f"{what} has {len(parts):,} elements: at most {MOST_PARTS:,} are kept")
        found = (of(part) for part in parts if part is not None and part != "")
        kept = tuple(dict.fromkeys(part for part in found if part is not None))
        if sum(len(str(part).encode()) for part in kept) > LARGEST_TEXT_BYTES // 4:
            raise InvalidDataError(f"{what} is longer than {LARGEST_TEXT_BYTES // 4:,} bytes")
        return kept

    return check_list


def _structured(what: str, kind: type[Part]) -> Callable[[Any], Part | None]:
    def of(value: Any) -> Part | None:
        if isinstance(value, kind):
            return value
        if isinstance(value, str):
            parsed: Part = kind.parse(value)  # type: ignore[attr-defined]
            return parsed
        if isinstance(value, dict):
            known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
            for name in value:
                if name not in known:
                    raise InvalidDataError(f"{what} has no {name!r}: it has {', '.join(sorted(known))}")
            if not isinstance(value.get("is_organization", False), bool):
                raise InvalidDataError(f"is_organization of {what} has to be true or false")
            try:
                return kind(**value)
            except TypeError:
                raise InvalidDataError(f"{what} lacks its name") from None
        raise InvalidDataError(f"{what} has to be a text, not {type(value).__name__}")

    return of


def _keyword(value: object) -> str | None:
    line = _line("a keyword", value)
    if line is not None and "," in line:
        raise InvalidDataError(f"the keyword {line!r} has a comma: give each keyword by itself")
    return line


def _software(value: object) -> str | None:
    return _line("a program", value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "title": lambda value: _line("the title", value),
    "description": lambda value: _text("the description", value),
    "readme": lambda value: _text("the README", value),
    "license": _checked_line("the licence", checked_license),
    "authors": _list("the list of authors", _structured("an author", Author)),
    "doi": _checked_line("the DOI", checked_doi),
    "version": lambda value: _line("the version", value),
    "keywords": _list("the list of keywords", _keyword),
    "funding": _list("the list of funding", _structured("a funding", Funding)),
    "software": _list("the list of software", _software),
    "references": _list("the list of references", _checked_line("a reference", _reference)),
    "publisher": lambda value: _line("the publisher", value),
    "published": _checked_line("the day of publication", _day),
}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Author | Funding):
        return {name: part for name, part in dataclasses.asdict(value).items() if part}
    return value


@dataclass(frozen=True, slots=True)
class Combination:
    """The metadata of two archives in one, and what has to be said of it."""

    metadata: ArchiveMetadata
    remarks: list[str]


_OF_ONE_PUBLICATION = ("doi", "publisher", "published")


def combined(target: ArchiveMetadata, source: ArchiveMetadata, *, is_new: Callable[[], bool]) -> Combination:
    """Return the metadata of an archive that takes in objects of another one.

    What the target says stays, and what it lacks is taken from the source; lists hold the target's first.
    Two things are not taken. DOI, publisher and day of publication are those of one archive: the DOI of the
    source becomes a reference. And a licence is granted by those who made the data, so it is not extended to
    objects that came without one.

    Parameters
    ----------
    is_new
        Asks, where it matters, whether the target has no objects yet.
    """
    changes: dict[str, Any] = {}
    remarks: list[str] = []
    for name in FIELDS:
        mine, other = getattr(target, name), getattr(source, name)
        if not other or mine == other or name in _OF_ONE_PUBLICATION:
            continue
        if name in LISTS:
            changes[name] = _joined(name, mine, other)
        elif mine:
            remarks.append(f"{name}: {_short(mine)} stays, the source has {_short(other)}")
        elif name == "license" and not is_new():
            remarks.append(
                f"license: {_short(other)} of the source is not taken, because other objects came without one"
            )
        elif name != "version" or is_new():
            changes[name] = other
    if source.doi and source.doi != target.doi:
        references = changes.get("references", target.references)
        changes["references"] = _joined("references", references, (f"https://doi.org/{source.doi}",))
    if changes.get("license") is None and target.license and not source.license and not source.is_empty:
        remarks.append(f"license: {_short(target.license)} stays, the source has none")
    return Combination(target.with_changes(**changes), remarks)


def _joined(name: str, mine: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    if name != "authors":
        return tuple(dict.fromkeys((*mine, *other)))
    # One person may be written in two ways, and has one iD.
    known = {author.orcid for author in mine if author.orcid} | {author.name for author in mine}
    return (*mine, *(author for author in other if not {author.orcid, author.name} & known))


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
