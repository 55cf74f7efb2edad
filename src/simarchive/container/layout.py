"""Every name that a container has on disk."""

from __future__ import annotations

# --- index tables: the attributes of /index/<table>, written by index.py and its modules ---------

INDEX_FORMAT = 1
INDEX_TABLE = "table"  #: JSON text: format and columns
INDEX_TAIL = "tail"  #: JSON lines: counters, then the newest rows
INDEX_SEGMENTS = "segments"  #: int64: id, rows, dead rows, first and last sequence number of each segment
INDEX_SUMMARIES = "summaries"  #: float64: lowest, highest, number missing of each segment and column
INDEX_VOCABULARIES = "vocabularies"  #: JSON text: pieces of the vocabulary of each category column
INDEX_KEY = "_key"
INDEX_SEQUENCE = "_sequence"
INDEX_DEAD = "_dead"
INDEX_MISSING_SUFFIX = "._missing"
INDEX_LENGTHS_SUFFIX = "._lengths"
INDEX_TEXTS_SUFFIX = "._texts"


def index_segment_attribute(segment: int, column: str) -> str:
    """Return the name of the attribute that holds one column of one segment."""
    return f"s{segment:07d}.{column}"


def index_vocabulary_attribute(piece: int, column: str) -> str:
    """Return the name of the attribute that holds one piece of a column's vocabulary."""
    return f"v{piece:07d}.{column}"
