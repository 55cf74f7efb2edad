"""Atomic, durable commits for one HDF5 file: a redo log of pages under h5py's file-object driver.

`Journal` is the whole interface; `PagedFile` is the file object it hands to h5py. The commit protocol is in
`journal.py`, from `begin_write` to `end_write`; what it is made of:

- `files`: every system call, in one class that tests replace; `creation`: new files beside a container
- `frames`, `seal`, `superblock`: the bytes of the log, and the journal's bytes in the container
- `log`: which commits the log holds, and appending one
- `locks`, `filepair`: container and log as a pair of open files, with the locks on them
- `recovery`: whether a log belongs to a container; `view`: the last commit, as the pair shows it
- `pager`: where the bytes go that HDF5 reads and writes
- `checkpoint`: copying the log into the container
"""

from simarchive.journal.filepair import LOG_SUFFIX
from simarchive.journal.journal import Durability, Journal, forget_log
from simarchive.journal.pager import FarBytes, PagedFile

__all__ = ["LOG_SUFFIX", "Durability", "FarBytes", "Journal", "PagedFile", "forget_log"]
