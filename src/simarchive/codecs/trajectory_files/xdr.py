"""XTC and TRR of GROMACS, whose frames each say how long they are.

References
----------
GROMACS `xdrfile_xtc.c`, `xdrfile_trr.c` and `xdrfile.c` (`xdrfile_compress_coord_float`); XTC frames of 2^31
bytes and more have the magic number 2023 and a length of 8 bytes (GROMACS 2023, `xtcio.cpp`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simarchive.codecs.trajectory_files.layout import EvenStarts, Layout, LayoutError, Read, rest_in_words

HEADER_BYTES = 120
"""As many bytes from the start of a frame say all about its length; a frame may be shorter."""

XTC_MAGIC, XTC_LARGE_MAGIC, TRR_MAGIC = 1995, 2023, 1993
_KINDS = {XTC_MAGIC: "XTC", XTC_LARGE_MAGIC: "XTC", TRR_MAGIC: "TRR"}
_XTC_PLAIN_ATOMS = 9  # So few atoms are not compressed.
_XTC_COORDINATES = 56  # magic number, atoms, step, time, box and atoms again
_WORD = 4
_TWO, _THIRTEEN, _LONG = struct.Struct(">2i"), struct.Struct(">13i"), struct.Struct(">q")
_XTC_LENGTH = struct.Struct(">ii")  # smallest index of the table of sizes, length in bytes
_XTC_SIZES = 73  # the length of that table
_TRR_UNUSED = (0, 1, 5, 6)  # input record, energies, topology, symmetry: no program writes them


@dataclass(frozen=True, slots=True)
class TRRHeader:
    """The header of a TRR frame: sizes are in bytes, and 0 for what the frame does not hold."""

    n_atoms: int
    step: int
    time: float
    lambda_: float
    real_bytes: int  #: 4 or 8
    header_bytes: int
    box_bytes: int
    skipped_bytes: int  #: virial and pressure, between the box and the coordinates
    x_bytes: int
    v_bytes: int
    f_bytes: int

    @property
    def frame_bytes(self) -> int:
        """The length of the whole frame."""
        return sum(self.shape[2:])

    @property
    def shape(self) -> tuple[int, ...]:
        """What frames of equal form have in common."""
        skipped = self.header_bytes, self.box_bytes, self.skipped_bytes
        return (self.n_atoms, self.real_bytes, *skipped, self.x_bytes, self.v_bytes, self.f_bytes)


def trr_header(head: bytes | memoryview) -> TRRHeader:
    """Read the header of a TRR frame.

    Raises
    ------
    ValueError
        If these bytes are not the start of a frame.
    """
    try:
        magic, _ = _TWO.unpack_from(head)
        if magic != TRR_MAGIC:
            raise ValueError(f"no TRR frame begins with {magic}")
        (text_bytes,) = struct.unpack_from(">i", head, 8)
        if not 0 <= text_bytes <= 32:
            raise ValueError(f"a text of {text_bytes} bytes in the header of a TRR frame")
        start = 12 + -(-text_bytes // _WORD) * _WORD
        numbers = _THIRTEEN.unpack_from(head, start)
        (_, _, box, vir, pres, _, _, x, v, f, n_atoms, step, _) = numbers
        if min(numbers[:11]) < 0 or any(numbers[place] for place in _TRR_UNUSED) or not n_atoms:
            raise ValueError("the sizes in the header of a TRR frame are impossible")
        real_bytes = box // 9 if box else (x or v or f) // (3 * n_atoms)
        expected = real_bytes * 3 * n_atoms
        if real_bytes not in (4, 8) or any(size not in (0, expected) for size in (x, v, f)):
            raise ValueError("the sizes in the header of a TRR frame contradict each other")
        if any(size not in (0, 9 * real_bytes) for size in (box, vir, pres)):
            raise ValueError("the sizes in the header of a TRR frame contradict each other")
        end = start + _THIRTEEN.size
        time, lambda_ = struct.unpack_from(">ff" if real_bytes == 4 else ">dd", head, end)
    except struct.error as error:
        raise ValueError("the file ends in the header of a TRR frame") from error
    header_bytes = end + 2 * real_bytes
    return TRRHeader(n_atoms, step, time, lambda_, real_bytes, header_bytes, box, vir + pres, x, v, f)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the start of a frame says: time in picoseconds, the rows of the box in nanometres or None."""

    n_atoms: int
    time: float
    box: tuple[float, ...] | None


def kind_of(head: bytes | memoryview) -> str | None:
    """Return ``"XTC"`` or ``"TRR"`` if bytes begin as a frame of it does, else None."""
    return _KINDS.get(_TWO.unpack_from(head)[0]) if len(head) >= _TWO.size else None


def frame_at(read: Read, at: int) -> Frame:
    """Return what the frame that begins at an offset says of itself.

    Raises
    ------
    LayoutError
        If no frame begins there, or the file ends in its header.
    """
    head = read(at, HEADER_BYTES)
    try:
        if kind_of(head) == "TRR":
            header = trr_header(head)
            real = "f" if header.real_bytes == 4 else "d"
            box = None
            if header.box_bytes:
                box = struct.unpack(f">9{real}", read(at + header.header_bytes, header.box_bytes))
            return Frame(header.n_atoms, header.time, box)
        n_atoms, _ = frame_size(head)
        time, *rows = struct.unpack_from(">10f", head, 12)
    except struct.error as error:
        raise LayoutError("the file ends in the header of a frame") from error
    except ValueError as error:
        raise LayoutError(str(error)) from error
    return Frame(n_atoms, time, tuple(rows))


def frame_size(head: bytes | memoryview) -> tuple[int, int]:
    """Return the number of atoms and the length in bytes of the XTC or TRR frame that begins with `head`.

    Raises
    ------
    ValueError
        If these bytes are not the start of a frame.
    """
    try:
        magic, n_atoms = _TWO.unpack_from(head)
        if magic == TRR_MAGIC:
            header = trr_header(head)
            return header.n_atoms, header.frame_bytes
        if magic not in (XTC_MAGIC, XTC_LARGE_MAGIC):
            raise ValueError(f"no frame begins with {magic}")
        (again,) = struct.unpack_from(">i", head, _XTC_COORDINATES - _WORD)
        if n_atoms <= 0 or again != n_atoms:
            raise ValueError(f"an XTC frame of {n_atoms} atoms has coordinates of {again}")
        if n_atoms <= _XTC_PLAIN_ATOMS:
            return n_atoms, _XTC_COORDINATES + 3 * _WORD * n_atoms
        smallest, n_bytes = _XTC_LENGTH.unpack_from(head, 84)
        at = 92
        if magic == XTC_LARGE_MAGIC:
            (n_bytes,) = _LONG.unpack_from(head, 88)
            at = 96
    except struct.error as error:
        raise ValueError("the file ends in the header of a frame") from error
    if n_bytes <= 0 or not 0 <= smallest < _XTC_SIZES:
        raise ValueError(f"the coordinates of an XTC frame have {n_bytes} bytes")
    return n_atoms, at + -(-n_bytes // _WORD) * _WORD


def xdr_layout(read: Read, size: int, kind: str) -> Layout:
    """Return where the frames of a TRR or XTC file lie, by reading the header of each.

    Those of a TRR file are taken to be as long as the first if some of them, all over the file, are: whoever
    reads a frame looks at its header, and finds it out if that was wrong.

    Parameters
    ----------
    kind
        ``"TRR"`` or ``"XTC"``.

    Raises
    ------
    LayoutError
        If it does not begin with a frame of this kind.
    """
    n_atoms, length = first_frame(read, kind)
    if kind == "TRR" and _is_even(read, size, length):
        return Layout(n_atoms, EvenStarts(0, length, length, size // length))
    starts, at = [0], 0
    while at < size:
        head = read(at, HEADER_BYTES)
        try:
            _, length = frame_size(head)
        except ValueError:
            break
        if at + length > size or kind_of(head) != kind:
            break
        at += length
        starts.append(at)
    return Layout(n_atoms, np.array(starts, np.int64), None, rest_in_words(size - at))


def layout_of_lengths(lengths: NDArray[np.uint32], size: int, read: Read, kind: str) -> Layout:
    """Return where the frames of a TRR or XTC file lie whose lengths are known; errors as of `xdr_layout`."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    n_atoms, _ = first_frame(read, kind)
    return Layout(n_atoms, starts, None, rest_in_words(size - int(starts[-1])))


def first_frame(read: Read, kind: str) -> tuple[int, int]:
    """Return the number of atoms and the length of the first frame; errors as of `xdr_layout`."""
    head = read(0, HEADER_BYTES)
    if kind_of(head) != kind:
        raise LayoutError(f"it does not begin as {'a TRR' if kind == 'TRR' else 'an XTC'} file does")
    try:
        return frame_size(head)
    except ValueError as error:
        raise LayoutError(str(error)) from error


def _is_even(read: Read, size: int, length: int) -> bool:
    n_frames, rest = divmod(size, length)
    if rest or n_frames < 9:
        return False
    places = sorted({1, n_frames - 1, *(n_frames * part // 7 for part in range(1, 7))})
    try:
        first = trr_header(read(0, HEADER_BYTES)).shape
        return all(trr_header(read(place * length, HEADER_BYTES)).shape == first for place in places)
    except ValueError:
        return False


class FrameScanner:
    """Finds the lengths of all frames of a file that is fed to it in order, piece by piece.

    A file that does not begin with a frame has none. Where something else follows a frame, or the file ends
    in the midst of one, the frames before that count.

    Parameters
    ----------
    known
        The lengths of the first frames, if they are known: they are not looked at.
    """

    def __init__(self, known: Iterable[int] = ()) -> None:
        self._lengths: list[int] = [*known]
        self._offset = 0  # of the next piece
        self._next = sum(self._lengths)  # where the next frame begins
        self._begun = b""  # what there is of a header that the next piece may complete
        self._kind: str | None = None
        self._ended = False

    def feed(self, piece: memoryview) -> None:
        """Look at the next piece."""
        if self._ended:
            return
        data: bytes | memoryview = self._begun + piece if self._begun else piece
        self._offset += len(piece)
        before = self._offset - len(data)
        while (start := self._next - before) <= len(data) - HEADER_BYTES:
            if not self._take(data[start : start + HEADER_BYTES]):
                return
        self._begun = bytes(data[start:])

    def finish(self) -> list[int]:
        """Return the lengths of the whole frames, once all pieces were fed."""
        while self._begun and self._take(self._begun):
            self._begun = self._begun[self._lengths[-1] :]
        if self._lengths and self._next > self._offset:
            self._next -= self._lengths.pop()
        self._ended = True
        return self._lengths

    def _take(self, head: bytes | memoryview) -> bool:
        """Take the frame that begins with `head`; return False, and look no further, if it is none."""
        try:
            _, length = frame_size(head)
        except ValueError:
            length = 0
        kind = kind_of(head)
        if not length or kind != (self._kind or kind):
            self._ended, self._begun = True, b""
            return False
        self._kind = kind
        self._lengths.append(length)
        self._next += length
        return True
