"""Which files of an object are its trajectory and its topology, if nobody says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from simarchive.codecs.trajectory_files.formats import FORMATS
from simarchive.container.contents import Contents
from simarchive.errors import InvalidDataError, NotFoundError

# Those with bonds and charges come first.
TOPOLOGIES = ((".tpr", ".psf", ".prmtop", ".parm7"), (".pdb", ".gro"))
"""Extensions of topologies, the better ones first."""


def trajectory_of(contents: Contents, key: str, name: str | None = None) -> str:
    """Return the name of an object's trajectory: the one that its document names, or the only one.

    Parameters
    ----------
    name
        The one that somebody named, which only has to be there.

    Raises
    ------
    NotFoundError
        If there is none.
    InvalidDataError
        If there are several.
    """
    if name is not None:
        return contents.member(key, name).name
    names = [info.name for info in contents.members(key)]
    found = _with(names, FORMATS)
    return _only(found, contents, key, "trajectory", f"a trajectory ({', '.join(FORMATS)})")


def topology_of(contents: Contents, key: str, name: str | None = None, *, but: Collection[str] = ()) -> str:
    """Return the name of an object's topology, chosen as by `trajectory_of`.

    If the document names none, those with bonds and charges are preferred.

    Parameters
    ----------
    but
        Extensions that will not do.
    """
    if name is not None:
        return contents.member(key, name).name
    names = [info.name for info in contents.members(key)]
    kinds = [tuple(ending for ending in endings if ending not in but) for endings in TOPOLOGIES]
    every = [ending for endings in kinds for ending in endings]
    found = _with(names, every)
    named = _named(found, contents, key)
    if not named:
        found = next((best for endings in kinds if (best := _with(names, endings))), [])
    return _only(found, contents, key, "topology", f"a topology ({', '.join(every)})")


def _with(names: Iterable[str], extensions: Iterable[str]) -> list[str]:
    endings = tuple(extensions)
    return [name for name in names if endings and name.lower().endswith(endings)]


def _named(names: list[str], contents: Contents, key: str) -> list[str]:
    """Return those of the names that stand as a text in the document, in the order of the document."""
    texts = dict.fromkeys(_texts(contents.document(key).tree))
    return [text for text in texts if text in names]


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            if isinstance(value, str | list):
                yield from _texts(value)
    elif isinstance(tree, list):
        yield from (value for value in tree if isinstance(value, str))


def _only(found: list[str], contents: Contents, key: str, kind: str, sought: str) -> str:
    if len(found) > 1:
        found = _named(found, contents, key) or found
    if not found:
        raise NotFoundError(f"object {key!r} has no file that is {sought}: name one")
    if len(found) > 1:
        raise InvalidDataError(f"object {key!r} has more than one {kind}: name one of {', '.join(found)}")
    return found[0]
