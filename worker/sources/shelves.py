"""The two places where batches come to rest: the archive and the quarantine. Nothing there is ever overwritten."""

import fcntl
import os
import time
from typing import Self

import msgspec

from worker.crashpoint import crashpoint
from worker.errors import StateError
from worker.sources.moves import make_folder, open_folder, rename_new, sync_file, sync_folder
from worker.sources.names import NAME_BYTES, REASON_TAIL, numbered

_MOST_REMEMBERED = 4096
_NOTE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Archive:
    """``archive/YYYY-MM-DD/NAME``, days in UTC; a second file of the name becomes ``NAME.2``."""

    def __init__(self, root_fd: int) -> None:
        self._root = root_fd
        self._day = ""
        self._last: dict[str, int] = {}

    def at(self, now: float) -> "Day":
        """Open the folder of the day on which `now` lies, seconds since the epoch; use it in a ``with`` block.

        :raises OSError: if it cannot be made.
        :raises worker.errors.StateError: if the disk fails.
        """
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        make_folder(day, within=self._root)
        if day != self._day:
            sync_folder(self._root)
            self._day = day
            self._last = {}
        return Day(open_folder(day, within=self._root), self._last)


class Day:
    """One day's folder, open."""

    def __init__(self, fd: int, last: dict[str, int]) -> None:
        self._fd = fd
        self._last = last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def put(self, folder_fd: int, entry: str, name: str) -> str:
        """Move a file here under its name or the next free number of it; returns the name it got.

        :raises FileNotFoundError: if the file is gone.
        :raises OSError: if it cannot be moved.
        """
        number = self._last.get(name, 0) + 1
        while True:
            target = numbered(name, number)
            try:
                rename_new(folder_fd, entry, self._fd, target)
            except FileExistsError:
                number += 1
                continue
            # Where every file has the same name, looking for a free number from 2 on would grow with the square.
            if number > 1 and (name in self._last or len(self._last) < _MOST_REMEMBERED):
                self._last[name] = number
            return target

    def sync(self) -> None:
        """Make what was put here durable.

        :raises worker.errors.StateError: if the disk fails.
        """
        sync_folder(self._fd)


class Quarantine:
    """``quarantine/NAME`` with ``NAME.reason.json`` = {"code", "text"}: batches that a person must look at."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def put(self, folder_fd: int, entry: str, name: str, code: str, text: str) -> str:
        """Move a file here with its reason; durable on return; returns the name it got.

        The reason comes first, so that no file lies here without one, whenever we are killed; whoever goes on with the
        file then finds that reason and keeps it.

        :raises FileNotFoundError: if the file is gone; then nothing is left here of it.
        :raises OSError: if it cannot be moved.
        :raises worker.errors.StateError: if the disk fails.
        """
        reason = msgspec.json.encode({"code": code, "text": text}) + b"\n"
        number = 1
        while True:
            target = numbered(name, number, room=NAME_BYTES - len(REASON_TAIL))
            try:
                self._put(folder_fd, entry, target, reason)
            except FileExistsError:
                number += 1
            else:
                crashpoint("quarantine_moved")
                sync_folder(self._fd)
                return target

    def _put(self, folder_fd: int, entry: str, target: str, reason: bytes) -> None:
        note = target + REASON_TAIL
        fd = self._own_note(note, target, reason)
        try:
            _write(fd, reason)
            sync_file(fd, self._fd)
            crashpoint("quarantine_noted")
            rename_new(folder_fd, entry, self._fd, target)
        except (OSError, StateError):
            os.unlink(note, dir_fd=self._fd)
            raise
        finally:
            os.close(fd)

    def _own_note(self, note: str, target: str, reason: bytes) -> int:
        """Open a new note, or the one of a worker that died before it had moved this file; locked while we live.

        :raises FileExistsError: if there is one of another file.
        """
        try:
            fd = os.open(note, _NOTE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._fd)
        except FileExistsError:
            left = self._left_behind(note, target, reason)
            if left is None:
                raise
            return left
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if isinstance(error, BlockingIOError):  # another worker took it for left behind and owns it now
                raise FileExistsError(note) from None
            os.unlink(note, dir_fd=self._fd)
            raise
        return fd

    def _left_behind(self, note: str, target: str, reason: bytes) -> int | None:
        """Open and lock a note whose writer is dead; None unless it says, as far as it goes, what ours would say.

        What is named like a note may be a batch, which has a note itself.
        """
        try:
            fd = os.open(note, _NOTE, dir_fd=self._fd)
        except OSError:  # removed meanwhile, or a symlink, a folder
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.fstat(fd).st_nlink > 0 and reason.startswith(os.pread(fd, len(reason) + 1, 0))
            if same and not (self._has(target) or self._has(note + REASON_TAIL)):
                return fd
        except OSError:  # its writer lives, or it is no file
            pass
        os.close(fd)
        return None

    def _has(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError:  # one that is too long is not there either
            return False
        return True


def _write(fd: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], written)
