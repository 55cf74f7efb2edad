"""How the names of members become the names of links in a group, and back.

A link's name is the member's name in UTF-8, where "/", "%", characters that cannot be printed, and spaces
at either end are percent-encoded. netCDF readers fail on a whole file for one name above 255 bytes, so that
a longer one is cut, ended by "~" and 16 hexadecimal digits of its BLAKE3 digest, and kept in full as an
attribute of the group.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import h5py
from blake3 import blake3

from simarchive.container import nodes
from simarchive.container.layout import MEMBER_LONG_NAME_PREFIX
from simarchive.errors import CorruptError
from simarchive.ground.keys import check_member_name

MAX_LINK_BYTES = 255
_SUFFIX_DIGITS = 16


def link_name(member: str) -> str:
    """Return the name of the link under which `member` stands in its group.

    Raises
    ------
    InvalidDataError
        If `member` is not a valid name of a member.
    """
    encoded = _encode(check_member_name(member))
    if len(encoded.encode()) <= MAX_LINK_BYTES:
        return encoded
    cut = encoded.encode()[: MAX_LINK_BYTES - _SUFFIX_DIGITS - 1].decode(errors="ignore")
    return f"{cut}~{_suffix(member)}"


def keep_long_name(group: h5py.Group, member: str) -> None:
    """Write the attribute of `group` that keeps a name too long for a link; short ones need none."""
    if len(_encode(member).encode()) > MAX_LINK_BYTES:
        attribute = long_name_attribute(member)
        if nodes.find_text(group.id, attribute) != member:
            nodes.write_text(group.id, attribute, member)


def long_name_attribute(member: str) -> str:
    """Return the name of the attribute that `keep_long_name` writes for `member` if it has to."""
    return MEMBER_LONG_NAME_PREFIX + _suffix(member)


def move_long_name(source: h5py.Group, target: h5py.Group, place: h5py.Group, link: str) -> None:
    """Write the attribute of `place`, which keeps a name too long for a link, in a copy of an object.

    Parameters
    ----------
    source
        Where the members of the object that is copied stand.
    target
        The copy; that of an early object has the attribute itself.
    """
    attribute = MEMBER_LONG_NAME_PREFIX + link[-_SUFFIX_DIGITS:]
    if len(link.encode()) > MAX_LINK_BYTES - 4 and nodes.has_attribute(source.id, attribute):
        name = nodes.read_text(source.id, attribute)
        nodes.delete_attribute(target.id, attribute)
        nodes.write_text(place.id, attribute, name)


def member_name(group: h5py.Group, link: str) -> str:
    """Return the name of the member that stands under `link`: undoes `link_name`.

    Raises
    ------
    CorruptError
        If the attribute that keeps a long name is not what `keep_long_name` wrote.
    """
    if len(link.encode()) > MAX_LINK_BYTES - 4 and link[-_SUFFIX_DIGITS - 1 : -_SUFFIX_DIGITS] == "~":
        name = nodes.find_text(group.id, MEMBER_LONG_NAME_PREFIX + link[-_SUFFIX_DIGITS:])
        if name is not None:
            if link_name(name) != link:
                raise CorruptError(
                    f"the name kept for member {link!r} of {group.name} belongs to another member"
                )
            return name
    return unquote(link, errors="strict")


def _encode(member: str) -> str:
    last = len(member) - 1
    return "".join(
        quote(character, safe="")
        if character in "/%" or not character.isprintable() or (character == " " and index in (0, last))
        else character
        for index, character in enumerate(member)
    )


def _suffix(member: str) -> str:
    digest: str = blake3(member.encode()).hexdigest()
    return digest[:_SUFFIX_DIGITS]
