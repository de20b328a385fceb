"""The file ``owner`` in a work folder: the process that locked it owns what lies there; in it stands the owner's will.

The lock (flock) ends with its process, however that ends. The will says where that worker's ledger is; it is on disk
before anything lies in the folder.
"""

import fcntl
import os

from worker.crashpoint import crashpoint
from worker.sources.moves import sync_file, sync_folder

OWNER = "owner"
MOST_WILL_BYTES = 16 << 10


def lock(folder_fd: int, *, create: bool = False) -> int | None:
    """Lock the folder's owner file for this process; None if a living process has it, or there is none.

    :raises OSError: if the file cannot be opened, or the file system has no locks.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        fd = os.open(OWNER, flags, 0o600, dir_fd=folder_fd)
    except FileNotFoundError:
        return None  # no worker's folder, or another worker has just cleared it away
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:  # otherwise the previous holder of the lock removed the file: it locks nothing
            return fd
    except BlockingIOError:
        pass
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def has_owner(folder_fd: int) -> bool:
    """Tell whether a worker, living or dead, has this folder, or has left something in it."""
    return os.access(OWNER, os.F_OK, dir_fd=folder_fd, follow_symlinks=False)


def read_will(owner_fd: int) -> bytes:
    """Read what the owner has left; empty if it has left nothing.

    :raises OSError: if it cannot be read.
    """
    return os.pread(owner_fd, MOST_WILL_BYTES, 0)


def write_will(owner_fd: int, folder_fd: int, will: bytes) -> None:
    """Leave a will, durably.

    :raises OSError: if it cannot be written, be it for lack of room: then none is left.
    :raises worker.errors.StateError: if the disk fails.
    """
    if read_will(owner_fd) == will:
        return
    os.ftruncate(owner_fd, 0)
    crashpoint("will_emptied")
    try:
        os.pwrite(owner_fd, will, 0)
        sync_file(owner_fd, folder_fd)
    except OSError:
        os.ftruncate(owner_fd, 0)
        raise
    crashpoint("will_written")
    sync_folder(folder_fd)
