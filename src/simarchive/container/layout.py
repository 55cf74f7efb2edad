"""Every name that is written into a container.

Nothing else in the package spells an on-disk name: the format page (`docs/reference/format.md`) and
this module say the same things in the same order.
"""

from __future__ import annotations

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
    "the object; its datasets are arrays of that document, with units. Its group 'files', if there is one,\n"
    "has the bytes of the files that belong to it: 'member_size' is the length of a file; the dataset's own\n"
    "bytes, cut to that length, are the file; 'member_blake3' is what the command b3sum prints for it.\n"
    "Everything below /index can be rebuilt from /objects.\n"
    "Any HDF5 or netCDF-4 program reads this file; 'pip install simarchive' gives the tools made for it."
)
OBJECTS = "objects"
INDEX = "index"
STAGING = "staging"
"""Group in which an object is built that replaces another; never in a committed state."""
SET_ASIDE = "set_aside"
"""Group of what `repair` took out of /objects because it is damaged, each under its key; absent while there
is none. Nothing in it is an object."""
REMOVED = "removed"
"""Group of objects that were removed or replaced and can be restored; absent while there are none. The name
of each says what is known of the removal: number, action, time, bytes, user, key, with spaces between."""
REMOVED_TOTALS = "removed_totals"
"""Attribute of it, uint64: the next number, and about how many bytes all in it take."""

# --- what the archive says of itself: attributes of the root ------------------------------------------
# As the Attribute Convention for Data Discovery 1.3 names them; CF has `references` and `source`, too.
ARCHIVE_CONVENTIONS = "Conventions"
ARCHIVE_CONVENTIONS_TEXT = "ACDD-1.3"
ARCHIVE_TITLE = "title"
ARCHIVE_SUMMARY = "summary"
ARCHIVE_KEYWORDS = "keywords"
ARCHIVE_LICENSE = "license"
ARCHIVE_ID = "id"
ARCHIVE_NAMING_AUTHORITY = "naming_authority"
ARCHIVE_NAMING_AUTHORITY_TEXT = "org.doi"
ARCHIVE_VERSION = "product_version"
ARCHIVE_REFERENCES = "references"
ARCHIVE_SOFTWARE = "source"
ARCHIVE_PUBLISHER = "publisher_name"
ARCHIVE_PUBLISHED = "date_issued"
ARCHIVE_MODIFIED = "date_metadata_modified"
# Derived from the JSON below, for programs that know the convention.
ARCHIVE_CREATOR_NAME = "creator_name"
ARCHIVE_CREATOR_TYPE = "creator_type"
ARCHIVE_CREATOR_URL = "creator_url"
ARCHIVE_CREATOR_INSTITUTION = "creator_institution"
ARCHIVE_ACKNOWLEDGEMENT = "acknowledgement"
# Ours.
ARCHIVE_README = "archive_readme"
"""The archive's own README, Markdown; `readme` is the same in every container."""
ARCHIVE_AUTHORS = "archive_authors"
"""JSON list of the authors."""
ARCHIVE_FUNDING = "archive_funding"
"""JSON list of the grants."""
ARCHIVE_DIGEST = "archive_metadata_blake3"

# --- objects: /objects ---------------------------------------------------------------------------------
DATA_CLASSES = "data_classes"
"""JSON list of the data classes that have or had objects; absent while there are none."""

SCHEMA_PREFIX = "data_class_schema_"
"""Followed by the name of a data class: BLAKE3 and JSON text of its schema; absent for simarchive's own."""

LOST_LINKS = "lost_links"
"""JSON list of links of /objects whose groups HDF5 can neither open nor move: no objects; absent if none."""

# --- one object: /objects/<key> ---------------------------------------------------------------------
DATA_CLASS = "data_class"
DATA_CLASS_VERSION = "data_class_version"
DOCUMENT = "document"
IDENTITY = "identity"
STORED_AT = "stored_at"
ANCILLARY = "has_ancillary_data"
"""1 if the object was stored with an ancillary directory, even an empty one."""
OBJECT_SUMMARY = "object_summary"
"""What the attributes above say, and a BLAKE3 of this and the document; early objects have none."""
OBJECT_HISTORY = "object_history"
"""What was changed of the object, by whom and when, and notes; absent if it was stored and never changed."""

MEMBERS = "files"
"""Group of an object's members, if it has any; in objects of early versions they stand beside the arrays."""

# --- arrays of a document ----------------------------------------------------------------------------
# Names of attributes are those of the netCDF User's Guide and of the CF conventions.
UNITS = "units"
"""The unit as UDUNITS reads it; in arrays of early versions it is pint's."""
UNITS_OF_PINT = "pint_units"
"""The unit as the document has it; absent in arrays of early versions."""
LONG_NAME = "long_name"
STANDARD_NAME = "standard_name"
STANDARD_NAME_OF_TIME = "time"
COORDINATES = "coordinates"
FRAME_DIMENSION = "frame"
"""Dimension of an object: the first axis of its observables."""
DIMENSION_PREFIX = "dim_"
"""Root datasets: one dimension for each length that an array of the container has along any other axis."""
# As netCDF-C writes a dimension without a coordinate variable (netCDF-4 file format, "Dimensions without
# coordinate variables" and "Hidden attributes"). Arrays of early versions say their dimensions by number.
DIMENSION_WITHOUT_VARIABLE = "This is a netCDF dimension but not a netCDF variable. {:10d}"
DIMENSION_ID = "_Netcdf4Dimid"
DIMENSIONS_OF_EARLY_ARRAY = "_Netcdf4Coordinates"
# HDF5 dimension scales: "HDF5 Dimension Scale Specification".
DIMENSION_SCALES = "DIMENSION_LIST"
SCALE_CLASS = "CLASS"

# --- tags inside the document -------------------------------------------------------------------------
TAG_VARIABLE = "@variable"
TAG_ARRAY = "@array"
TAG_FLOAT = "@float"
VARIABLE_DIGEST = "blake3"
"""In the tag of a variable: BLAKE3 of its elements, little-endian in C order; absent in early documents."""

# --- index --------------------------------------------------------------------------------------------
MEMBER_TABLE = "members"
"""Table of the larger members by digest, so that equal ones are stored once."""

# --- members ------------------------------------------------------------------------------------------
# Attributes of a member's dataset, beside `LONG_NAME`.
MEMBER_LONG_NAME = "bytes of a file"
MEMBER_SIZE = "member_size"  # uint64: true size in bytes; the dataset may be up to a chunk longer
MEMBER_DIGEST = "member_blake3"  # 64 hexadecimal digits, as `b3sum` prints them
MEMBER_CODEC = "member_codec"  # name in simarchive.codecs
MEMBER_CHUNK_CRC32 = "member_chunk_crc32"  # uint32 per chunk: of its stored bytes; 0 if unwritten
# BLAKE3 of size, digest, codec, chunk length, checks and filter masks; absent in members of early versions.
MEMBER_DESCRIPTION_DIGEST = "member_description_blake3"
# uint32: 8 bytes that check the rest, then the length in bytes of each frame of an XTC or TRR file; absent in
# other members, in those of one chunk, and in those of early versions.
MEMBER_FRAME_LENGTHS = "member_frame_lengths"
# Attribute of the group of members, one for each member whose encoded name is too long for a link; followed
# by the digits that end the link's name.
MEMBER_LONG_NAME_PREFIX = "member_name_"
# Attribute of the object: JSON list of the folders that hold no files; absent if there are none.
MEMBER_EMPTY_FOLDERS = "member_empty_folders"
# Attribute of the object: JSON list of the members that are executable; absent if none is. Of the object,
# because equal members of several objects are one dataset.
MEMBER_EXECUTABLES = "member_executables"

# Attribute of the object, int64: 8 bytes that check the rest, then for each member the first 8 bytes of the
# BLAKE3 of its name, and when it was changed last in nanoseconds since 1970; absent if no time is known.
MEMBER_TIMES = "member_times"

# Attribute of the object, uint64 for each member: the first 8 bytes of the BLAKE3 of when the object was
# stored as a whole, the member's name and its digest; absent in objects of early versions, and without
# members.
MEMBER_CHECKS = "member_checks"

# Attribute of the object: JSON list of the members that could not be read when it was repacked or saved.
LOST_MEMBERS = "lost_members"

# --- index tables: the attributes of /index/<table>, written by container/index ----------------

INDEX_FORMAT = 1
INDEX_TABLE = "table"  #: JSON text: format, columns, and the pieces of each category's vocabulary
INDEX_TAIL = "tail"  #: JSON lines: counters, then the newest rows
INDEX_SEGMENTS = "segments"  #: int64: number, rows, removed rows, first and last sequence number of each
INDEX_CHECKS = "_checks"  #: uint32 pairs: CRC-32 of the name and of the bytes of each array of a group
INDEX_SUMMARIES = "summaries"  #: float64: lowest, highest, number missing of each segment and column

INDEX_KEY = "_key"
INDEX_SEQUENCE = "_sequence"
INDEX_DEAD = "_dead"
INDEX_MISSING_SUFFIX = "._missing"
INDEX_LENGTHS_SUFFIX = "._lengths"
INDEX_TEXTS_SUFFIX = "._texts"
INDEX_PIECE_TEXTS = "texts"


def index_segment_group(number: int) -> str:
    """Return the name of the group that holds one segment of a table, one attribute for each column."""
    return f"segment_{number:07d}"


def index_vocabulary_group(number: int) -> str:
    """Return the name of the group that holds one piece of a vocabulary."""
    return f"vocabulary_{number:07d}"
