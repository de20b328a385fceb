"""Files that hold results: ours alone, written whole, on the disk before anybody relies on them."""

import fcntl
import os
import stat
import time
from pathlib import Path

from worker.disk import translate
from worker.errors import SettingsError, StateError

EAGAIN_PAUSE_S = 0.001
COPIED_BYTES = 1 << 20
MOST_AGAIN_BYTES = 64 << 20


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, closed to others, where they are missing.

    :raises SettingsError: if something else stands there.
    :raises StateError: if it cannot be made.
    """
    try:
        # One by one: `parents=True` would leave the upper ones open to others.
        for each in (*reversed(folder.parents), folder):
            each.mkdir(mode=0o700, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SettingsError([f"output.urls: {folder} is not a folder; name another place"]) from None
    except OSError as error:
        raise translate(error, f"sink: cannot make the folder {folder}") from None


def require_ours(path: Path, found: os.stat_result) -> None:
    """Refuse what is no regular file of ours, or what others may change.

    :raises SettingsError: if it is of another kind.
    :raises StateError: if it is not safe.
    """
    if not stat.S_ISREG(found.st_mode):
        raise SettingsError([f"output.urls: {path} is not a regular file; name another one"])
    if found.st_uid != os.geteuid():
        raise StateError(f"sink: {path} belongs to another user; run as that user, or chown it")
    if found.st_mode & stat.S_IWOTH:
        raise StateError(f"sink: {path} can be written by everybody; take that right away first")


def hold(fd: int, path: Path) -> None:
    """Lock what `fd` has open for this process; closing it gives it back.

    :raises StateError: at once, if another process holds it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(
            f"sink: {path} is held by another process; if a worker runs on it, stop that first, or name another file"
        ) from None
    except OSError as error:
        raise translate(error, f"sink: cannot lock {path}") from None


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the system takes at a time.

    :raises OSError: if it cannot; some of it may have been written.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            time.sleep(EAGAIN_PAUSE_S)


def write_again(fd: int, start: int, end: int) -> None:
    """Write what stands between two offsets over itself, and make it durable; `fd` may be open for appending.

    What a dead process has written may be in memory only, and after an fsync that failed the system takes it for
    written: another fsync would succeed at once. Only what is written anew is sure to reach the disk. That can be the
    last write before the death only, so of much it is the end.

    :raises OSError: if that fails.
    """
    start = max(start, end - MOST_AGAIN_BYTES)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_APPEND)  # else pwrite appends, whatever the offset (pwrite(2), "Bugs")
    try:
        while start < end and (data := os.pread(fd, min(end - start, COPIED_BYTES), start)):
            start += os.pwrite(fd, data, start)
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    os.fsync(fd)
