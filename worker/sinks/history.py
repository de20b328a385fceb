"""What the results files before the one being written hold, as far as the ledger may not know of it.

============================================ ======================================================================
The ledger's cursor is …                     read, before the file being written
============================================ ======================================================================
in the file being written                    nothing
in one that was set aside by rotation        that one from there on, and all set aside after it
in one that somebody else renamed            that one from there on, and all that was set aside
not there (a new sink, or a lost ledger)     all that was set aside
in no file at all                            refused: results are missing
============================================ ======================================================================
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from worker.errors import StateError
from worker.sinks import files
from worker.sinks.marks import Mark, holds, mark_at, reaches
from worker.sinks.rotation import set_aside_files
from worker.sinks.scan import scan


class Before(msgspec.Struct, frozen=True):
    """The ids found before the file being written, where to read on in that one, and where reading began."""

    result_ids: set[str]
    start: int
    began_at: Mark


def read_before(path: Path, fd: int, mark: Mark | None) -> Before:
    """Read what stands between the mark and the file at `path`, open as `fd`.

    :raises worker.errors.StateError: if the mark's file is not there, or something in a file is no result.
    :raises worker.errors.SettingsError: if one of them is no regular file.
    :raises OSError: if they cannot be read.
    """
    if mark is not None and holds(fd, mark):
        return Before(set(), mark.offset, mark)
    aside = set_aside_files(path)
    if mark is None:
        return Before(_ids_in(aside), 0, _beginning(aside[0]) if aside else mark_at(fd, 0))
    for place, beside in enumerate(aside):
        with _opened(beside) as set_aside:
            if holds(set_aside, mark):
                return Before(scan(set_aside, mark.offset, beside).result_ids | _ids_in(aside[place + 1 :]), 0, mark)
    renamed = set() if mark.offset == 0 else _ids_in_renamed(path, mark)
    return Before(renamed | _ids_in(aside), 0, mark)


def _ids_in_renamed(path: Path, mark: Mark) -> set[str]:
    """Find the file we wrote under another name in the folder, and read what it holds after the mark."""
    for beside in path.parent.iterdir():
        if beside == path or beside.lstat().st_ino != mark.inode:
            continue
        with _opened(beside) as fd:
            if reaches(fd, mark):
                structlog.get_logger().info("sink.rotation_found", sink=f"jsonl:{path}")
                found = scan(fd, mark.offset, beside)
                if found.sound_end > mark.offset:
                    _write_again(fd, mark.offset, found.sound_end)
                return found.result_ids
    raise StateError(
        f"sink: {path} is not the file we left (it was truncated, rewritten or removed); put it back,"
        " or move it to another name in its folder to begin a new one; if it is lost, name another file in output.urls,"
        " which gets all results that the ledger still holds"
    )


def _write_again(fd: int, start: int, end: int) -> None:
    """Make sure that what a dead process wrote is on disk, in a file that may be somebody else's by now.

    In place, and not by a copy under its name: who reads it, or has it open, sees the same bytes at every moment, and
    its time stays. Where it may not be written any more that is an error, for nothing else would prove anything.

    :raises OSError: if that fails.
    """
    status = os.fstat(fd)
    writable = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    try:
        files.write_again(writable, start, end)
    finally:
        os.utime(writable, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.close(writable)


def _ids_in(paths: Sequence[Path]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        with _opened(path) as fd:
            found |= scan(fd, 0, path).result_ids
    return found


def _beginning(path: Path) -> Mark:
    with _opened(path) as fd:
        return mark_at(fd, 0)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    files.require_ours(path, path.lstat())
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
