"""Every name that is written into a container, and the rules for names made from data.

Nothing else in the package spells an on-disk name: the format page (`docs/reference/format.md`) and
this module say the same things in the same order.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

FORMAT = "simarchive_format"
"""Root attribute: the number of the format, an integer."""

FORMAT_NUMBER = 1

# --- root ------------------------------------------------------------------------------------------
CONTAINER_ID = "container_id"
CREATED_BY = "created_by"
CREATED_AT = "created_at"
README = "readme"
README_TEXT = (
    "This file is a simarchive container: a collection of simulation data in one HDF5 file.\n"
    "Each group below /objects is one stored object. Its attribute 'document' is JSON text that describes\n"
    "the object; its datasets are either arrays of that document, with units, or the bytes of files that\n"
    "belong to it (those have an attribute 'size', the length of the file in bytes; the dataset's own\n"
    "bytes, cut to that length, are the file; 'blake3' is what the command b3sum prints for it).\n"
    "Everything below /index can be rebuilt from /objects.\n"
    "Any HDF5 or netCDF-4 program reads this file; 'pip install simarchive' gives the tools made for it."
)
OBJECTS = "objects"
INDEX = "index"
STAGING = "staging"
"""Group in which an object is made that replaces another; never in a committed state."""

# --- one object: /objects/<key> ---------------------------------------------------------------------
DATA_CLASS = "data_class"
DATA_CLASS_VERSION = "data_class_version"
DOCUMENT = "document"
IDENTITY = "identity"
STORED_AT = "stored_at"
EMPTY_FOLDERS = "empty_folders"
"""JSON list of the folders of the ancillary data that hold no file; absent if there are none."""
ANCILLARY = "has_ancillary_data"
"""1 if the object was stored with an ancillary directory, even an empty one."""

# --- arrays of a document ----------------------------------------------------------------------------
UNITS = "units"
DIMENSION_PREFIX = "dim_"
# The text that marks a dimension without a coordinate variable, as netCDF-C writes it
# (netCDF-4 file format, "Dimensions without coordinate variables").
DIMENSION_WITHOUT_VARIABLE = "This is a netCDF dimension but not a netCDF variable. {:10d}"

# --- tags inside the document -------------------------------------------------------------------------
TAG_VARIABLE = "@variable"
TAG_ARRAY = "@array"
TAG_FLOAT = "@float"

# --- index --------------------------------------------------------------------------------------------
MEMBER_TABLE = "members"
"""Table of the larger members by digest, so that equal ones are stored once."""

_SAFE = "!#$&'()+,;=@[]^_{}~ -.:"
_LEADING = re.compile(r"^[^A-Za-z0-9_\u0080-\U0010ffff]")


def link_name(name: str) -> str:
    """Return the name of a dataset for a member or variable: percent-encoded where HDF5 or netCDF need it.

    Slashes, percent signs, control characters and whatever else netCDF forbids are encoded byte by
    byte; so are a first character that is no letter, digit or underscore, and a trailing blank.
    """
    encoded = "".join(c if ord(c) >= 0x80 and c.isprintable() else quote(c, safe=_SAFE) for c in name)
    if _LEADING.match(encoded) and not encoded.startswith("%"):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if encoded.endswith(" "):
        encoded = encoded[:-1] + "%20"
    return encoded


def distinct_link_name(name: str) -> str:
    """Return a second spelling of `link_name` that decodes to the same name: first character encoded.

    A member takes it when a variable of the same object already has the plain spelling.
    """
    first = "".join(f"%{byte:02X}" for byte in name[0].encode())
    return first + (link_name("x" + name[1:])[1:] if len(name) > 1 else "")


def name_of_link(link: str) -> str:
    """Return the name that `link_name` encoded."""
    return unquote(link)
