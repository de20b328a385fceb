"""A file that appears under its name whole, or not at all, and never in place of another."""

import contextlib
import os
from pathlib import Path

from worker import disk
from worker.crashpoint import crashpoint
from worker.errors import StateError
from worker.sinks import files

COMPARED_BYTES = 1 << 20
SUFFIX = ".draft"


class HiddenFile:
    """A file being written under a hidden name in the folder where it will stand; call it under the folder's lock.

    Blocking.

    :raises OSError: if it cannot be made.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f".{name}{SUFFIX}"
        self._path.unlink(missing_ok=True)  # one whose removal failed; nobody else writes in this folder
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)

    def add(self, data: bytes) -> None:
        """Append.

        :raises OSError: if that fails; `discard` the file.
        """
        files.write_all(self._fd, data)

    def publish(self, name: str) -> None:
        """Give it its name, on disk; if a file of equal content has that name already, that one stays.

        :raises StateError: if a file of other content has it; that one stays, too.
        :raises OSError: if that fails otherwise.
        """
        os.fsync(self._fd)
        target = self._path.with_name(name)
        try:
            os.link(self._path, target)
        except FileExistsError:
            if not self._same_as(target):
                raise StateError(f"sink: {target} is already there with other content") from None
        crashpoint("edi_linked")
        self.discard()
        disk.sync_folder(target.parent)

    def discard(self) -> None:
        """Take the hidden name away; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _same_as(self, target: Path) -> bool:
        files.require_ours(target, target.lstat())
        fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            size = os.fstat(self._fd).st_size
            return os.fstat(fd).st_size == size and all(
                os.pread(fd, COMPARED_BYTES, offset) == os.pread(self._fd, COMPARED_BYTES, offset)
                for offset in range(0, size, COMPARED_BYTES)
            )
        finally:
            os.close(fd)


def discard_left_over(folder: Path) -> None:
    """Remove the hidden files that a crash left in `folder`; call it under the folder's lock.

    :raises OSError: if that fails.
    """
    for path in folder.iterdir():
        if path.name.startswith(".") and path.name.endswith(SUFFIX):
            path.unlink(missing_ok=True)
