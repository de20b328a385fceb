"""A place in a results file that can be found again: the jsonl sink's cursor.

``inode:offset:sum``, where `sum` is the CRC-32 of the bytes (at most 4 kB) before the offset. The inode tells a
renamed file, the sum a restored or rewritten one: a file that was copied to another disk has another inode and is
still the same, one that was truncated and written anew has the same inode and is another.
"""

import os
import zlib

import msgspec

from worker.errors import StateError

SUMMED_BYTES = 4096


class Mark(msgspec.Struct, frozen=True, gc=False):
    """How far a results file reaches, and how to know it again."""

    inode: int
    offset: int
    crc: int

    def cursor(self) -> str:
        """Render it for the ledger."""
        return f"{self.inode}:{self.offset}:{self.crc:08x}"


def parse_cursor(cursor: str) -> Mark:
    """Read back what `Mark.cursor` rendered.

    :raises StateError: if it is no such cursor.
    """
    try:
        inode, offset, crc = cursor.split(":")
        return Mark(int(inode), int(offset), int(crc, 16))
    except ValueError:
        raise StateError("sink: the position in the ledger is none of a results file") from None


def mark_at(fd: int, offset: int) -> Mark:
    """Make the mark for the file's first `offset` bytes.

    :raises OSError: if they cannot be read.
    """
    start = max(0, offset - SUMMED_BYTES)
    return Mark(os.fstat(fd).st_ino, offset, zlib.crc32(os.pread(fd, offset - start, start)))


def holds(fd: int, mark: Mark) -> bool:
    """Tell whether the mark is in this file. The beginning of a file says nothing, so there its inode decides.

    :raises OSError: if it cannot be read.
    """
    return reaches(fd, mark) and (mark.offset > 0 or os.fstat(fd).st_ino == mark.inode)


def reaches(fd: int, mark: Mark) -> bool:
    """Tell whether the file begins with what the mark was made of.

    :raises OSError: if it cannot be read.
    """
    return os.fstat(fd).st_size >= mark.offset and mark_at(fd, mark.offset).crc == mark.crc
