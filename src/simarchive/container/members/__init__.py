"""Members: the files of an object, byte for byte, as chunked datasets that any HDF5 reader opens.

A member is a one-dimensional dataset of unsigned bytes, or of little-endian 32-bit words where its codec
shuffles words; its first `member_size` bytes are the file. The attributes give the true size, the BLAKE3
digest of the file, the name of the codec, and the CRC-32 of each chunk as it is stored, so that every stored
byte is covered, padding too. A chunk of zeros is not written.
"""

from simarchive.container.members.appending import growth_of
from simarchive.container.members.choice import MemberNames
from simarchive.container.members.extraction import MemberFault, extract_member, verify_member
from simarchive.container.members.frame_lengths import FrameLengths, read_frame_lengths
from simarchive.container.members.listing import (
    create_place,
    empty_folders,
    executables,
    faults_of_lists,
    faulty,
    find_member,
    has_link,
    has_own_place,
    has_proof,
    keep_empty_folders,
    keep_executables,
    list_datasets,
    list_members,
    list_nodes,
    listed_digests,
    listed_names,
    listed_names_without,
    lost_members,
    member_info,
    place_for_members,
    place_of_members,
)
from simarchive.container.members.names import member_name, move_long_name
from simarchive.container.members.reader import MemberReader, open_member
from simarchive.container.members.source import member_digest, size_of
from simarchive.container.members.table import (
    ChunkFile,
    MemberInfo,
    MemberTable,
    is_member,
    read_table,
)
from simarchive.container.members.times import MemberTimes, keep_times, read_times
from simarchive.container.members.window import ChunkWindow, StoredChunks
from simarchive.container.members.writing import StoredMember, copy_member, link_member, store_member

__all__ = [
    "ChunkFile",
    "ChunkWindow",
    "FrameLengths",
    "MemberFault",
    "MemberInfo",
    "MemberNames",
    "MemberReader",
    "MemberTable",
    "MemberTimes",
    "StoredChunks",
    "StoredMember",
    "copy_member",
    "create_place",
    "empty_folders",
    "executables",
    "extract_member",
    "faults_of_lists",
    "faulty",
    "find_member",
    "growth_of",
    "has_link",
    "has_own_place",
    "has_proof",
    "is_member",
    "keep_empty_folders",
    "keep_executables",
    "keep_times",
    "link_member",
    "list_datasets",
    "list_members",
    "list_nodes",
    "listed_digests",
    "listed_names",
    "listed_names_without",
    "lost_members",
    "member_digest",
    "member_info",
    "member_name",
    "move_long_name",
    "open_member",
    "place_for_members",
    "place_of_members",
    "read_frame_lengths",
    "read_table",
    "read_times",
    "size_of",
    "store_member",
    "verify_member",
]
