"""The file object under h5py: committed pages from the log, the rest from the container.

h5py's `fileobj` driver calls `seek`, `readinto`, `write`, `truncate`, `flush` and `tell`. It
ignores what `readinto` returns, so a read always fills the whole buffer.

Inside a transaction

* small writes, and all writes below `bound`, become 4 KiB page images that only a commit shows to
  others; past `SPILL_PAGES` of them they go to the log early, as an unfinished transaction;
* bulk writes at or above `bound` go straight to the container. No commit of this log generation,
  seen by whatever reader, reaches as far as `bound`; no page at or above it has ever been logged in
  this generation; and the container's seal lies below it. So they can disturb nobody.

After `bound` has grown (a commit), pages that were bulk before are like all others.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Protocol

from simarchive.errors import ClosedError, ReadOnlyError, StorageError, StorageIOError
from simarchive.journal.files import OpenFile
from simarchive.journal.frames import PAGE_BYTES, page_digest, round_up
from simarchive.journal.log import Log


class Access(Enum):
    """What HDF5 may do with the file object now."""

    IDLE = "idle"
    READING = "reading"
    WRITING = "writing"
    DEAD = "dead"


class CollectorPause:
    """Holds off Python's cyclic garbage collector between `begin` and `end`.

    HDF5 seeks and then reads or writes. Between the two the collector may run, find an h5py object in a
    cycle, and close it; HDF5 then does its own seeks and reads in the midst of a call, and the bytes that
    were to be written land where the last of those ended.

    Pauses of several files never overlap, in whatever threads: h5py lets one thread at a time into HDF5.
    """

    def __init__(self) -> None:
        self._is_ours = False

    def begin(self) -> None:
        """Hold the collector off, unless it is off anyway."""
        if not self._is_ours and gc.isenabled():
            gc.disable()
            self._is_ours = True

    def end(self) -> None:
        """Let the collector run again if `begin` stopped it."""
        if self._is_ours:
            self._is_ours = False
            gc.enable()


class FarBytes(Protocol):
    """Bytes that come over a network, so that it pays to say first what will be read.

    Attributes
    ----------
    size
        Of the whole file, in bytes.
    progress
        Called with the number of bytes of each request that is done, if it is set.
    """

    size: int
    progress: Callable[[int], None] | None

    def expect_nodes(self, places: Iterable[int]) -> None:
        """Take note that the objects whose groups are at these offsets will be read."""
        ...

    def expect_chunks(self, ranges: Iterable[tuple[int, int]], *, also: bool = False) -> None:
        """Take note that these ranges (offset and size) will be read as wholes; `also` beside others."""
        ...

    def is_expecting(self, chunk: tuple[int, int]) -> bool:
        """Return whether a range is among those of which `expect_chunks` took note, and was not read yet."""
        ...

    def expect_in_order(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Take note that these ranges may be read one after the other."""
        ...


class PagedFile:
    """The container as of the last commit, plus the changes of the open transaction.

    Attributes
    ----------
    end
        Where the file ends for HDF5.
    bound
        Bulk bytes at or above this offset go straight to the container.
    far
        What to tell of reads that are to come, if the container lies elsewhere.
    failure
        What made the open operation fail: a transaction can only be rolled back then. A failed write
        does not raise into HDF5, so look here when HDF5 complains, and between long steps.
    """

    BULK_BYTES = 64 << 10
    SPILL_PAGES = (64 << 20) // PAGE_BYTES

    def __init__(
        self,
        container: OpenFile,
        log: Log | None,
        end: int,
        sealed: range,
        far: FarBytes | None = None,
    ) -> None:
        self._container = container
        self.far = far
        self._own: dict[int, bytearray | int] = {}
        self._spilled: set[int] = set()
        self._in_memory = self._position = self.bound = 0
        self.wrote_bulk = self.wrote_while_idle = False
        self.failure: BaseException | None = None
        self.access = Access.IDLE
        self._pause = CollectorPause()
        self._log_for_writing: Callable[[], Log] | None = None
        self.follow(log, end, sealed)

    def __repr__(self) -> str:
        # h5py shows it as the name of the file.
        return self._container.path

    # ---- for the journal -----------------------------------------------------------------

    def follow(self, log: Log | None, end: int, sealed: range) -> None:
        """Read from `log` from now on: the state is the same, its place may not be.

        Within `sealed` the container holds its seal, which is none of HDF5's bytes.
        """
        self._sealed_from, self._sealed_to = sealed.start, sealed.stop
        self._pages: dict[int, int] = log.pages if log else {}
        self._pages_file = log.file if log else None
        self.end = self.committed_end = end

    def begin_writing(self, bound: int, log_for_writing: Callable[[], Log]) -> None:
        """Accept writes; spilled pages go to the log that `log_for_writing` gives."""
        self.bound, self._log_for_writing = bound, log_for_writing
        self.access, self.failure = Access.WRITING, None

    def begin_reading(self) -> None:
        """Answer reads, and refuse changes."""
        self.access, self.failure = Access.READING, None

    def stop(self) -> None:
        """Accept nothing until the next operation."""
        self._pause.end()
        if self.access is not Access.DEAD:
            self.access = Access.IDLE

    @property
    def has_changes(self) -> bool:
        """Whether something was written since the last commit."""
        return (
            bool(self._own) or self.wrote_bulk or self.end != self.committed_end or self.failure is not None
        )

    @property
    def has_spilled(self) -> bool:
        """Whether pages of the open transaction lie in the log."""
        return bool(self._spilled)

    def retire(self) -> None:
        """Show nothing more to anyone but HDF5, which may close its handle: its writes are ignored."""
        self._pause.end()
        self.access = Access.DEAD

    def forget_changes(self) -> None:
        """Show the last commit again."""
        self._own, self._spilled, self._in_memory = {}, set(), 0
        self.wrote_bulk, self.failure = False, None

    def changed_pages(self) -> list[tuple[int, bytes | bytearray]]:
        """Return the pages that the commit must log, in order; empty if nothing changed.

        Page 0 is always among them: a checkpoint needs its clean copy in the log.
        """
        own, last = self._own, round_up(self.end) // PAGE_BYTES
        changed: dict[int, Any] = {}
        for page, image in own.items():
            # A page that was spilled must be superseded even if it lies past the end now.
            if isinstance(image, bytearray) and (page < last or page in self._spilled):
                changed[page] = image
        if not self._spilled and len(changed) <= 256:
            bound = self.bound // PAGE_BYTES
            for page in [p for p, image in changed.items() if p < bound and self._committed_page(p) == image]:
                del changed[page], own[page]
        if not changed and not self._spilled and not self.wrote_bulk and self.end == self.committed_end:
            return []
        # Growing over the seal: its place must become zeros, or what HDF5 wrote there.
        seal = range(self._sealed_from // PAGE_BYTES, min(self._sealed_to, round_up(self.end)) // PAGE_BYTES)
        for page in (0, *(seal if self.end > self._sealed_from else ())):
            if page not in changed and (page == 0 or (page not in own and page not in self._pages)):
                changed[page] = self._page(page)
        return sorted(changed.items())

    def digests_before(self, log: Log, pages: list[tuple[int, bytes | bytearray]]) -> dict[int, bytes]:
        """Return the digests of what the container holds in place of `pages`, where the log lacks them."""
        read = self._container.read
        return {
            page: page_digest(read(PAGE_BYTES, page * PAGE_BYTES))
            for page, _ in pages
            if log.lacks_before(page)
        }

    # ---- pages ---------------------------------------------------------------------------

    def _page(self, page: int) -> bytes | bytearray:
        own = self._own.get(page)
        if own is None:
            return self._committed_page(page)
        return own if isinstance(own, bytearray) else self._logged_page(own)

    def _committed_page(self, page: int) -> bytes:
        place = self._pages.get(page)
        if place is not None:
            return self._logged_page(place)
        start = page * PAGE_BYTES
        data = self._container.read(PAGE_BYTES, start)
        if start < self._sealed_to and self._sealed_from < start + PAGE_BYTES:
            data = data[: max(0, self._sealed_from - start)]
        return data if len(data) == PAGE_BYTES else data.ljust(PAGE_BYTES, b"\0")

    def _logged_page(self, place: int) -> bytes:
        file = self._pages_file
        data = file.read(PAGE_BYTES, place) if file is not None else b""
        if len(data) != PAGE_BYTES:
            raise StorageIOError(f"the log of {self._container.path!r} ended early: was it cut by someone?")
        return data

    def _patch(self, offset: int, data: memoryview) -> None:
        """Change pages in memory."""
        own, at, size = self._own, 0, len(data)
        while at < size:
            page, within = divmod(offset + at, PAGE_BYTES)
            length = min(PAGE_BYTES - within, size - at)
            image = own.get(page)
            if not isinstance(image, bytearray):
                image = bytearray(PAGE_BYTES) if length == PAGE_BYTES else bytearray(self._page(page))
                own[page] = image
                self._in_memory += 1
            image[within : within + length] = data[at : at + length]
            at += length

    def _spill_if_many(self) -> None:
        """Move the pages in memory to the log, as part of an unfinished transaction, if they are many."""
        if self._in_memory <= self.SPILL_PAGES or self.failure is not None or self._log_for_writing is None:
            return
        log = self._log_for_writing()
        self._pages_file = log.file
        images: list[tuple[int, bytes | bytearray]] = sorted(
            (page, image) for page, image in self._own.items() if isinstance(image, bytearray)
        )
        places = log.append(images, self.digests_before(log, images), self.end, commit=False)
        self._own.update(places)
        self._spilled.update(places)
        self._in_memory = 0

    # ---- reading -------------------------------------------------------------------------

    def read_at(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with the bytes at `offset`; zeros past the end. Threads may call it at once."""
        if self.access is Access.IDLE or self.access is Access.DEAD:
            raise self._unreadable()
        if len(buffer):
            self._fill(buffer, offset)

    def _fill(self, buffer: memoryview, offset: int) -> None:
        size = len(buffer)
        first, stop = offset // PAGE_BYTES, (offset + size - 1) // PAGE_BYTES + 1
        one = stop - first == 1
        if one and self._read_one(first, buffer, offset - first * PAGE_BYTES):
            return
        self._container.read_into(buffer, offset)
        if offset < self._sealed_to and self._sealed_from < offset + size:
            low, high = max(offset, self._sealed_from) - offset, min(offset + size, self._sealed_to) - offset
            buffer[low:high] = bytes(high - low)
        if one:
            return
        for page in self._pages_between(first, stop):
            image, start = self._page(page), page * PAGE_BYTES
            low, high = max(offset, start), min(offset + size, start + PAGE_BYTES)
            buffer[low - offset : high - offset] = image[low - start : high - start]

    def _read_one(self, page: int, buffer: memoryview, within: int) -> bool:
        """Fill `buffer` from one page outside the container; False if the container has the page."""
        own = self._own.get(page)
        if isinstance(own, bytearray):
            buffer[:] = own[within : within + len(buffer)]
            return True
        place = own if own is not None else self._pages.get(page)
        if place is None or self._pages_file is None:
            return False
        self._pages_file.read_exactly_into(buffer, place + within)
        return True

    def _pages_between(self, first: int, stop: int) -> list[int]:
        """Return the numbers of the pages from `first` up to `stop` that the container lacks."""
        own, pages, wanted = self._own, self._pages, range(first, stop)
        if len(own) + len(pages) < stop - first:
            found = [page for page in pages if page in wanted and page not in own]
            return found + [page for page in list(own) if page in wanted]
        if (not own or own.keys().isdisjoint(wanted)) and (not pages or pages.keys().isdisjoint(wanted)):
            return []
        return [page for page in wanted if page in own or page in pages]

    def _unreadable(self) -> StorageError:
        path = self._container.path
        if self.access is Access.DEAD:
            return ClosedError(f"this handle on {path!r} shows a state that is gone: open a new one")
        return ClosedError(f"{path!r} can be read only inside a read operation or a transaction")

    # ---- what h5py calls -----------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset and return it."""
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self.end
        else:
            self._pause.begin()
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the offset of the next read or write."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes; all up to the end if negative."""
        left = max(0, self.end - self._position)
        data = bytearray(left if size < 0 else min(size, left))
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        """Fill the whole buffer, with zeros past the end, and return its size."""
        try:
            return self._read_next(buffer)
        finally:
            self._pause.end()

    def _read_next(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        offset, self._position = self._position, self._position + len(view)
        if self.access is Access.DEAD:
            self._read_for_closing(view, offset)
            return len(view)
        try:
            self.read_at(view, offset)
        except BaseException as error:
            if self.failure is None:
                self.failure = error
            raise
        return len(view)

    def _read_for_closing(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer as well as can be, for HDF5 to close a handle that nobody reads from."""
        try:
            self._fill(buffer, offset)
        except StorageError:
            buffer[:] = bytes(len(buffer))

    def write(self, data: Any) -> int:
        """Change the file at the present offset and return how many bytes were written."""
        try:
            return self._write_next(data)
        finally:
            self._pause.end()

    def _write_next(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        offset, self._position = self._position, self._position + size
        if self.access is not Access.WRITING:
            return self._write_outside_transaction(size)
        if self._container.is_closed:
            raise ClosedError(
                f"{self._container.path!r} belongs to another process: open it again in this process"
            )
        try:
            self._write(view, offset)
        except StorageError as error:
            # HDF5 goes on calling after a callback has raised, which hides the reason. So it is kept
            # for `commit`, and the transaction can only be rolled back.
            if self.failure is None:
                self.failure = error
        except BaseException as error:
            self.failure = error
            raise
        return size

    def _write(self, view: memoryview, offset: int) -> None:
        size = len(view)
        stop = offset + size
        if stop > self.end:
            self.end = stop
        low, high = max(round_up(offset), self.bound), stop - stop % PAGE_BYTES
        if size >= self.BULK_BYTES and high > low and self._is_unspilled(low, high):
            for page in range(low // PAGE_BYTES, high // PAGE_BYTES):
                if isinstance(self._own.pop(page, None), bytearray):
                    self._in_memory -= 1
            self.wrote_bulk = True
            if self.failure is None:
                self._container.write_bulk(view[low - offset : high - offset], low)
            self._patch(offset, view[: low - offset])
            self._patch(high, view[high - offset :])
            self._spill_if_many()
        else:
            # In pieces, so that no frame of the log grows with what is written at once.
            piece = self.SPILL_PAGES * PAGE_BYTES
            for at in range(0, size, piece):
                self._patch(offset + at, view[at : at + piece])
                self._spill_if_many()

    def _is_unspilled(self, low: int, high: int) -> bool:
        """Return whether no page of the range lies in the log: its copy there would win over bulk bytes."""
        return not self._spilled or self._spilled.isdisjoint(range(low // PAGE_BYTES, high // PAGE_BYTES))

    def _write_outside_transaction(self, size: int) -> int:
        """Ignore what HDF5 writes while it closes a handle, outside any transaction."""
        if self.access is Access.READING:
            raise ReadOnlyError(f"{self._container.path!r}: a change outside a transaction")
        self.wrote_while_idle = True
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the end of the file; what lies between the old and a later one reads as zeros."""
        new_end = self._position if size is None else size
        if self.access is Access.WRITING:
            self.end = new_end
        return new_end

    def flush(self) -> None:
        """Do nothing: durability is the commit's business."""
