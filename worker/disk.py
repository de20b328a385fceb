"""What a disk's errors mean, and how a new name on it is made durable.

============================ ====================================================================
ENOSPC, EDQUOT, EFBIG, EROFS no room for now: what was written is taken back, try again
EIO, any other               stop: nobody knows what is on the disk
============================ ====================================================================

An input folder is read and renamed in, and has rules of its own (`worker.sources.moves`).
"""

import errno
import os
from pathlib import Path

from worker.errors import StateError, StorageFull

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


_WAYS_OUT = {
    errno.ENOSPC: "no room is left: make some there",
    errno.EDQUOT: "this user's quota is used up: make room there, or raise it",
    errno.EFBIG: "no file may be larger: raise the limit (ulimit -f), or begin a new one",
    errno.EROFS: "the file system is mounted read-only: mount it to be written, or name another place",
    errno.EACCES: "not permitted to this user: chown or chmod it and its folder",
    errno.EPERM: "not permitted to this user, or it was made immutable (lsattr): chown it, or chattr -i",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
}


def explained(error: OSError) -> str:
    """Name the errno, and say what that means and what to do where that is known; never the text, which has paths."""
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    return f"{name}; {_WAYS_OUT[error.errno]}" if error.errno in _WAYS_OUT else name


def translate(error: OSError, what: str) -> StateError:
    """Turn an operating system's error into ours, with what to do about it and never the text."""
    kind = StorageFull if error.errno in NO_ROOM else StateError
    return kind(f"{what}: {explained(error)}")


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` durable.

    :raises OSError: if that fails.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
