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


def translate(error: OSError, what: str) -> StateError:
    """Turn an operating system's error into ours, naming the errno and never the text."""
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    kind = StorageFull if error.errno in NO_ROOM else StateError
    return kind(f"{what}: {name}")


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` durable.

    :raises OSError: if that fails.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
