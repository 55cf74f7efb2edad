"""Every name that stands in a container file: no other module writes one."""

from __future__ import annotations

# --- members ----------------------------------------------------------------------------------
# Attributes of a member's dataset.
MEMBER_SIZE = "member_size"  # uint64: true size in bytes; the dataset may be up to a chunk longer
MEMBER_DIGEST = "member_blake3"  # 64 hexadecimal digits, as `b3sum` prints them
MEMBER_CODEC = "member_codec"  # name in simarchive.codecs
MEMBER_CHUNK_CRC32 = "member_chunk_crc32"  # uint32 per chunk: of its stored bytes; 0 if unwritten
# Attribute of the group, one for each member whose encoded name is too long for a link; followed by the
# digits that end the link's name.
MEMBER_LONG_NAME_PREFIX = "member_name_"
# Attribute of the group: JSON list of the folders that hold no files.
MEMBER_EMPTY_FOLDERS = "member_empty_folders"
