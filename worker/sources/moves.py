"""Moving files without ever overwriting one, and making such moves durable.

``renameat2(RENAME_NOREPLACE)`` where kernel and file system have it. Elsewhere (NFS, other systems) the new name is
first created, empty and exclusively, and then replaced: nobody else's file can be hit, and a crash in between
leaves at worst an empty file. ``link`` plus ``unlink`` is no way: with ``fs.protected_hardlinks`` (the default)
nobody may link a file of another user.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

from worker.disk import explained
from worker.errors import StateError
from worker.sources.names import displayed

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# The file, not the folder: a sticky folder, an immutable file, a mount on the file itself.
NOT_MOVABLE = frozenset({errno.EPERM, errno.EACCES, errno.EBUSY, errno.EXDEV})
_NOT_SUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NOREPLACE = 1  # linux/fs.h RENAME_NOREPLACE

# (source folder, name there, target folder, name there); folders are open descriptors
Rename = Callable[[int, str, int, str], None]


def rename_reserving(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Rename onto a name that was created exclusively just before: for file systems without `RENAME_NOREPLACE`."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=target_fd))
    try:
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    except OSError:
        os.unlink(target, dir_fd=target_fd)
        raise


def _kernel_rename() -> Rename:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return rename_reserving
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)

    def rename(source_fd: int, source: str, target_fd: int, target: str) -> None:
        if call(source_fd, os.fsencode(source), target_fd, os.fsencode(target), _NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number in _NOT_SUPPORTED:
            rename_reserving(source_fd, source, target_fd, target)
            return
        raise OSError(number, os.strerror(number))

    return rename


rename_new: Rename = _kernel_rename()
"""Rename a file to a name that must not exist; the first argument of each pair is an open folder.

:raises FileExistsError: if the target exists.
:raises FileNotFoundError: if the source, or one of the folders, is gone.
"""


def open_folder(name: str | os.PathLike[str], *, within: int | None = None, follow: bool = False) -> int:
    """Open a folder, or with `follow` what links to one, for names relative to it.

    :raises OSError: if there is none.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    return os.open(name, flags, dir_fd=within)


def sync_folder(folder_fd: int) -> None:
    """Make durable what was moved into an open folder, or out of it.

    :raises worker.errors.StateError: if that fails, whatever the reason: what is on the disk is unknown then, and a
        second fsync would report success without writing.
    """
    try:
        os.fsync(folder_fd)
    except OSError as error:
        raise _disk_fails(error, folder_fd) from None


def sync_file(fd: int, folder_fd: int) -> None:
    """Make durable what was written to an open file in an open folder.

    :raises OSError: if there is no room for it; write the file anew.
    :raises worker.errors.StateError: if that fails otherwise.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise _disk_fails(error, folder_fd) from None  # not the file: its name may be a batch's


def _disk_fails(error: OSError, folder_fd: int) -> StateError:
    return StateError(f"input: cannot sync {path_of(folder_fd)}: {explained(error)}")


def path_of(fd: int) -> str:
    """Tell people where an open folder is now; only Linux knows."""
    try:
        return displayed(str(Path(f"/proc/self/fd/{fd}").readlink()))
    except OSError:
        return "a folder of the spool"


def make_folder(name: str, *, within: int) -> None:
    """Make a folder that only its owner may enter, unless it is there."""
    try:
        os.mkdir(name, 0o700, dir_fd=within)
    except FileExistsError:
        return
