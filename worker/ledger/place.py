"""Where a ledger may stand: a regular file of ours, on a local file system, held by one process.

The lock is a `flock` on a file of its own beside the ledger. Not on the ledger itself: closing any descriptor
of it would drop the POSIX locks that SQLite holds there for the whole process (fcntl(2)).
"""

import errno
import fcntl
import os
import re
import stat
import time
from pathlib import Path

from worker.errors import StateError, StateHeld
from worker.ledger.failures import translate_os

# SQLite's log needs memory shared between processes and truthful locks (sqlite.org/wal.html, "disadvantages" 2).
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone",
        "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "smb3", "smbfs",
    }
)  # fmt: skip

# Stands in the lock's file while a dead worker's batches are taken over.
HAND_OVER = b"hand-over"
HAND_OVER_S = 30.0
MARKED_WITHIN_S = 0.5  # after the lock is taken, before the word is written
HAND_OVER_LOOK_S = 0.05

MOUNTS = Path("/proc/self/mountinfo")


def prepare_folder(path: Path) -> None:
    """Make the folder of the ledger at `path`, closed to others, and refuse a network file system.

    :raises StateError: if it cannot be made or is none.
    """
    folder = path.parent
    try:
        # One by one: `parents=True` would leave the upper ones open to others.
        for each in (*reversed(folder.parents), folder):
            each.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise translate_os(error, f"cannot make the folder {folder}") from None
    mounts = MOUNTS.read_text(errors="surrogateescape") if MOUNTS.exists() else ""
    kind = file_system_of(folder.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        needs = "it needs a local disk: name a file there in state.url"
        raise StateError(f"ledger: {folder} is on a network file system ({kind}); {needs}")


def file_system_of(folder: Path, mountinfo: str) -> str:
    """Name the type of the file system that holds `folder`, "" if unknown; `mountinfo` as in proc(5)."""
    best, kind = "", ""
    target = f"{folder}/".replace("//", "/")
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not source:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda escaped: chr(int(escaped[1], 8)), fields[4]).rstrip("/") + "/"
        if target.startswith(point) and len(point) >= len(best):
            best, kind = point, source.split(" ", 1)[0]
    return kind


def file_is_there(path: Path) -> bool:
    """Tell whether a file of ours stands at `path`; False if nothing does.

    :raises StateError: if something else stands there, or others may change it.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise translate_os(error, f"cannot look at {path}") from None
    if not stat.S_ISREG(found.st_mode):
        raise StateError(f"ledger: {path} is not a regular file; name one in state.url")
    if found.st_uid != os.geteuid():
        raise StateError(f"ledger: {path} belongs to another user; run as that user, or chown it")
    if found.st_mode & stat.S_IWOTH:
        raise StateError(f"ledger: {path} can be written by everybody; take that right away first")
    return True


def hold(path: Path, *, hand_over: bool = False) -> int:
    """Lock the ledger at `path` for this process; closing the descriptor returned gives it back.

    With `hand_over` it is held only until its batches are taken over: another process that wants it meanwhile waits
    some seconds.

    :raises StateHeld: if another process holds it; after half a second, but for a hand-over.
    :raises StateError: if it cannot be locked.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise translate_os(error, f"cannot open {lock}") from None
    try:
        held = _locked(fd) or (not hand_over and _waited_for(fd))
        if held:
            os.ftruncate(fd, 0)
            os.pwrite(fd, HAND_OVER if hand_over else b"", 0)
    except OSError as error:
        os.close(fd)
        raise translate_os(error, f"cannot lock {lock}") from None
    if not held:
        os.close(fd)
        raise StateHeld(f"ledger: {path} is held by another process; if a worker runs on it, stop that first")
    return fd


def is_held(path: Path) -> bool | None:
    """Tell whether a process holds the ledger at `path`; None if this user cannot know. Nothing is held on return."""
    lock = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        # Shared: two that ask do not see each other. A worker that starts in this moment waits for longer than that.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    finally:
        os.close(fd)
    return False


def _waited_for(fd: int) -> bool:
    """Lock it after all, once the hand-over is done for which it is held, or is perhaps about to be."""
    began = time.monotonic()
    while time.monotonic() - began < (HAND_OVER_S if _handed_over(fd) else MARKED_WITHIN_S):
        time.sleep(HAND_OVER_LOOK_S)
        if _locked(fd):
            return True
    return False


def _handed_over(fd: int) -> bool:
    return os.pread(fd, len(HAND_OVER), 0) == HAND_OVER


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
