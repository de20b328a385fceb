"""What stands at a path that somebody has named, and in words why that cannot be found out.

Not `Path.exists` and its like: they raise where we have no right to look, or a name is too long.
"""

import errno
import os
import shlex
import stat
from pathlib import Path
from typing import Literal

Kind = Literal["nothing", "file", "folder", "other"]

Sight = tuple[int, int, int]
"""Inode, modification time in ns and size: all that can be seen of a file without reading it."""


def kind_at(path: Path) -> Kind:
    """Tell what stands at `path`, symlinks followed.

    :raises OSError: if that cannot be found out; `in_words` says why.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "other"


def sight_of(status: os.stat_result) -> Sight:
    """Reduce what ``stat`` says to what identifies a file's content."""
    return status.st_ino, status.st_mtime_ns, status.st_size


def in_words(error: OSError, path: Path) -> str:
    """Say why it cannot be found out what stands at `path`, and what to do."""
    if error.errno == errno.EACCES:
        shown = shlex.quote(str(path.parent))
        return f"{path} cannot be looked at by this user; chmod or chown its folders (namei -l {shown} shows them)"
    return f"{path} cannot be looked at: {error.strerror}; name another place"


def unwritable(path: Path) -> str:
    """Say why what stands at `path` may not be written, and what to do."""
    try:
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError as error:
        return in_words(error, path)
    if read_only:
        return f"{path} is on a file system that is mounted read-only; mount it to be written, or name another place"
    return f"{path} cannot be read and written by this user; chown or chmod it"
