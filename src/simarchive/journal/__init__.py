"""Atomic, durable commits for one HDF5 file: a redo log of pages under h5py's file-object driver.

`Journal` is the whole interface; `PagedFile` is the file object it hands to h5py.
"""

from simarchive.journal.filepair import LOG_SUFFIX
from simarchive.journal.journal import Durability, Journal, forget_log
from simarchive.journal.pager import PagedFile

__all__ = ["LOG_SUFFIX", "Durability", "Journal", "PagedFile", "forget_log"]
