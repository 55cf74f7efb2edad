"""Every name that a container has on disk."""

from __future__ import annotations

# --- index tables: attributes below /index/<table>, written by index.py and its modules ----------

INDEX_FORMAT = 1
INDEX_TABLE = "table"  #: JSON text: format and columns
INDEX_TAIL = "tail"  #: JSON lines: counters, then the newest rows
INDEX_SEGMENTS = "segments"  #: int64: number, rows, removed rows, first and last sequence number of each
INDEX_SUMMARIES = "summaries"  #: float64: lowest, highest, number missing of each segment and column
INDEX_VOCABULARIES = "vocabularies"  #: JSON text: the pieces of the vocabulary of each category column

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
