"""What can be told, and still be reached, of a container that is damaged: nothing here writes to it.

- `extent`: does the file have the bytes that it should have
- `overlay`: a file under HDF5 whose changes stay in memory
- `search`: the objects of a container whose superblock, root or list of objects is damaged
- `survey`: what stands in the group of an object, link by link
"""

from simarchive.container.rescue.extent import Extent, extent_of, extent_of_open
from simarchive.container.rescue.search import Rehearsal, Search, rehearsed, searched
from simarchive.container.rescue.survey import (
    Link,
    LinkKind,
    array_fault,
    check_array,
    declared_arrays,
    document_text,
    lost_members,
    names_set_aside,
    note_lost_members,
    root_faults,
    survey,
)

__all__ = [
    "Extent",
    "Link",
    "LinkKind",
    "Rehearsal",
    "Search",
    "array_fault",
    "check_array",
    "declared_arrays",
    "document_text",
    "extent_of",
    "extent_of_open",
    "lost_members",
    "names_set_aside",
    "note_lost_members",
    "rehearsed",
    "root_faults",
    "searched",
    "survey",
]
