"""What SQLite's errors mean for the worker: wait and try again, or stop.

========================================= =====================================================
SQLITE_FULL                               no room: rolled back, try again
SQLITE_BUSY                               another process writes: rolled back, try again
SQLITE_IOERR_WRITE and the like           asked again of the disk: no room (EDQUOT, EFBIG …) or broken
SQLITE_IOERR_FSYNC, anything else         broken: stop
========================================= =====================================================

SQLite reports only ENOSPC as "full"; a quota or a file size limit looks like a broken disk. After a failed
fsync nobody knows what is on the disk, and a second fsync would report success without writing: stop.
"""

import os
import sqlite3
from pathlib import Path

from worker import disk
from worker.errors import StateError, StorageFull

PROBE_BYTES = 1 << 16

_WRITE_FAILED = frozenset(
    {
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_DELETE,
    }
)
_DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_NOT_PERMITTED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_OTHERWISE = "restore it, or move it away for a new one to be made, which knows nothing of what was sent"


def damaged(path: Path) -> StateError:
    """Make the error of a ledger that is none, or not whole, with what to do about it."""
    return StateError(f"ledger: {path} is no ledger of this worker, or a damaged one; {_OTHERWISE}")


def translate(error: sqlite3.Error, path: Path) -> StateError:
    """Turn SQLite's error into ours; may write and remove a small file beside `path` to learn what it means."""
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code is None:
        return StateError(f"ledger: {path}: {name}")
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return StorageFull(f"ledger: {path}: no room left on the device")
    if code & 0xFF == sqlite3.SQLITE_BUSY:
        return StorageFull(f"ledger: {path}: locked by another process")
    if code & 0xFF in _DAMAGED:
        return damaged(path)
    if code & 0xFF in _NOT_PERMITTED:
        return StateError(f"ledger: {path}: {name}; see whether this user may read and write it and its folder")
    if code in _WRITE_FAILED and _no_room_beside(path):
        return StorageFull(f"ledger: {path}: no room left ({name})")
    return StateError(f"ledger: {path}: {name}")


def translate_os(error: OSError, what: str) -> StateError:
    """Turn an operating system's error into ours, naming the errno and never the text."""
    return disk.translate(error, f"ledger: {what}")


def _no_room_beside(path: Path) -> bool:
    # Written at the offset where the log ends: a file size limit shows only there.
    probe = path.with_name(f".{path.name}.room")
    try:
        files = (path, path.with_name(path.name + "-wal"))
        offset = max((file.stat().st_size for file in files if file.exists()), default=0)
        _write_at(probe, offset)
    except OSError as error:
        return error.errno in disk.NO_ROOM
    finally:
        probe.unlink(missing_ok=True)
    return False


def _write_at(probe: Path, offset: int) -> None:
    fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        written = 0
        while written < PROBE_BYTES:
            written += os.pwrite(fd, bytes(PROBE_BYTES - written), offset + written)
        os.fsync(fd)
    finally:
        os.close(fd)
