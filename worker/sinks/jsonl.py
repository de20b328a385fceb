"""Results as JSON lines in one file that only grows, until it is set aside for a new one (`worker.sinks.rotation`).

A write is one append and one fsync; the cursor it returns says how far the file reaches. On `open` the file is
read from the ledger's cursor to its end, because results may have reached it whose position never reached the
ledger; those are not appended again, but written over themselves: their fsync may have failed or never come.
Without a cursor (a new sink, or a lost ledger) it is read as a whole, and so are those that were set aside
(`worker.sinks.history`).
The cursor stays behind until the ledger has given all of those again: a crash before that must find them once more.

========================================== =================================================================
At start the file is …                     then
========================================== =================================================================
longer than the cursor says                read from there
without the end of its last line           cut off there, logged
gone, or another, and the one we wrote     taken as rotated: that one's end is read, a new file goes on
stands under another name in its folder
copied or restored, contents the same      taken as the same
shorter, rewritten, or gone for good       refused
========================================== =================================================================

While it is open nobody may rename, remove or truncate it: that is seen before the next write and refused.
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import structlog
from anyio import CapacityLimiter, to_thread

from worker import disk
from worker.claim import Batch
from worker.crashpoint import crashpoint
from worker.errors import SettingsError, StateError
from worker.ports import Emission
from worker.sinks import files
from worker.sinks.history import read_before
from worker.sinks.marks import Mark, mark_at, parse_cursor
from worker.sinks.rotation import NO_ROTATION, Rotation, half_done, set_aside
from worker.sinks.scan import scan

OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class JsonlSink:
    """`worker.ports.Sink` on one file. After an error other than StorageFull it stays unusable."""

    def __init__(self, path: Path, rotation: Rotation = NO_ROTATION, *, clock: Callable[[], float] = time.time) -> None:
        self._rotation = rotation
        self._clock = clock
        self._path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() leaves ".." in a name that must be stable
        self._fd = -1
        self._end = 0
        self._written_at = 0.0
        self._opened_at = Mark(0, 0, 0)
        self._last_seq = 0
        self._already: set[str] = set()
        self._torn = False  # bytes of a write that failed may stand after `_end`
        self._broken: StateError | None = None
        self._thread = CapacityLimiter(1)

    @property
    def name(self) -> str:
        """The sink's key in the ledger."""
        return f"jsonl:{self._path}"

    async def open(self, cursor: str | None) -> None:
        """Open or make the file, cut off a torn end and learn which results after `cursor` are there.

        :raises worker.errors.SettingsError: if something other than a file stands there.
        :raises worker.errors.StateError: if it is not what we left, not safe, or held by another process.
        """
        await to_thread.run_sync(self._open, cursor, limiter=self._thread)

    async def write(self, emissions: Sequence[Emission]) -> str | None:
        """Append what is not there yet, make it durable and return the new cursor.

        :raises worker.errors.StorageFull: if there is no room; the file is as before, call again with the same.
        :raises worker.errors.StateError: if the file is not what we left, or the disk fails.
        """
        return await to_thread.run_sync(self._write, emissions, limiter=self._thread)

    async def complete(self, batch: Batch, records: AsyncIterator[bytes]) -> None:
        """Do nothing: the batch's results are in the file, one by one."""

    async def close(self) -> None:
        """Let go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self, cursor: str | None) -> None:
        mark = None if cursor is None else parse_cursor(cursor)
        files.make_folder(self._path.parent)
        fd = self._open_file()
        try:
            files.hold(fd, self._path)
            self._learn(fd, mark)
            self._fd = fd
            if half_done(self._path, fd):
                self._rotate()
        except OSError as error:
            self._fd = -1
            os.close(fd)
            raise disk.translate(error, f"sink: cannot read {self._path}") from None
        except BaseException:
            self._fd = -1
            os.close(fd)
            raise
        self._last_seq, self._torn, self._broken = 0, False, None

    def _open_file(self) -> int:
        try:
            files.require_ours(self._path, self._path.lstat())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise disk.translate(error, f"sink: cannot look at {self._path}") from None
        try:
            fd = os.open(self._path, OPEN_FLAGS | os.O_CREAT, 0o600)
        except OSError as error:
            raise disk.translate(error, f"sink: cannot open {self._path}") from None
        try:
            files.require_ours(self._path, os.fstat(fd))
            disk.sync_folder(self._path.parent)
        except OSError as error:
            os.close(fd)
            raise disk.translate(error, f"sink: cannot make {self._path}") from None
        except (SettingsError, StateError):
            os.close(fd)
            raise
        return fd

    def _learn(self, fd: int, mark: Mark | None) -> None:
        """Read what the ledger may not know of, and cut the file to its sound length."""
        before = read_before(self._path, fd, mark)
        found, status = scan(fd, before.start, self._path), os.fstat(fd)
        torn = status.st_size - found.sound_end
        if torn:
            crashpoint("recovery_tail_found")
            os.ftruncate(fd, found.sound_end)
            crashpoint("recovery_tail_cut")
        if torn or found.sound_end > before.start:
            files.write_again(fd, before.start, found.sound_end)
            crashpoint("recovery_tail_synced")
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))  # rotation goes by it
        if torn:
            structlog.get_logger().warning("sink.tail_repaired", sink=self.name, torn_bytes=torn)
        self._already, self._opened_at = found.result_ids | before.result_ids, before.began_at
        self._end, self._written_at = found.sound_end, status.st_mtime

    def _write(self, emissions: Sequence[Emission]) -> str:
        if self._broken is not None:
            raise StateError(str(self._broken))
        if self._fd < 0:
            raise StateError(f"sink: {self._path} is not open")
        fresh = [emission for emission in emissions if self._is_new(emission)]
        try:
            self._mend()
            self._require_as_left()
            if fresh and self._rotation.due(self._end, self._written_at, self._clock()):
                self._rotate()
            if fresh:
                self._append(b"\n".join([emission.body for emission in fresh]) + b"\n")
            self._note(emissions)
            return self._reach().cursor()
        except OSError as error:
            failure = disk.translate(error, f"sink: cannot write {self._path}")
            self._broken = None if error.errno in disk.NO_ROOM else failure
            raise failure from None
        except StateError as failure:
            self._broken = failure
            raise

    def _note(self, emissions: Sequence[Emission]) -> None:
        if emissions:
            self._last_seq = max(self._last_seq, emissions[-1].seq)
            self._already.difference_update([emission.result_id for emission in emissions])

    def _reach(self) -> Mark:
        """Make the mark from which the next start must read."""
        return self._opened_at if self._already else mark_at(self._fd, self._end)

    def _is_new(self, emission: Emission) -> bool:
        # Emissions come in order: what is not above the last one was written in this life, and needs no set.
        return emission.seq > self._last_seq and emission.result_id not in self._already

    def _append(self, data: bytes) -> None:
        self._torn = True
        try:
            crashpoint("sink_torn", lambda: files.write_all(self._fd, _half_of_the_last(data)))
            files.write_all(self._fd, data)
            crashpoint("sink_after_write")
            os.fsync(self._fd)
            crashpoint("sink_after_fsync")
        except OSError as error:
            if error.errno in disk.NO_ROOM:
                with contextlib.suppress(OSError):
                    self._mend()
            raise
        self._torn = False
        self._end += len(data)
        self._written_at = self._clock()

    def _mend(self) -> None:
        """Take back what a write without room left; a disk turned read-only may refuse that until later."""
        if self._torn:
            os.ftruncate(self._fd, self._end)
            self._torn = False

    def _rotate(self) -> None:
        fresh = set_aside(self._path, self._fd, self._written_at)
        os.close(self._fd)
        structlog.get_logger().info("sink.rotated", sink=self.name, bytes=self._end)
        self._fd, self._end = fresh, 0

    def _require_as_left(self) -> None:
        """Never write to a file without its name, or after bytes that are not ours."""
        here = os.fstat(self._fd)
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            raise self._not_as_left("moved or deleted") from None
        if here.st_nlink == 0 or (here.st_ino, here.st_dev) != (there.st_ino, there.st_dev):
            raise self._not_as_left("replaced")
        if here.st_size != self._end:
            raise self._not_as_left("changed by somebody else")

    def _not_as_left(self, what: str) -> StateError:
        way_out = "start the worker again: it goes on, or says what to do; to have files set aside use ?rotate= instead"
        return StateError(f"sink: {self._path} was {what} while it was open; {way_out}")


def _half_of_the_last(lines: bytes) -> bytes:
    """Cut in the middle of the last record: what a crash within a write leaves."""
    return lines[: (lines.rfind(b"\n", 0, -1) + len(lines)) // 2]
