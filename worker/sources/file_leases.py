"""Asking the kernel whether anybody has a file open for writing.

A read lease (``fcntl(2)``, F_SETLEASE) is granted only while nobody does, and from then on anyone who opens the file
for writing waits until we let go, which takes microseconds. Trusted only on file systems of this machine: on a
network file system, a writer elsewhere is not seen, and a refusal may mean something else.
"""

import errno
import fcntl
import signal
from enum import Enum
from pathlib import Path

import msgspec

_LOCAL = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs", "tmpfs", "xfs", "zfs"}
)


class Lease(Enum):
    """What the kernel says."""

    GRANTED = "nobody has the file open for writing, nor will until it is closed"
    REFUSED = "somebody has it open for writing"
    UNKNOWN = "the kernel cannot or may not tell"


class Mount(msgspec.Struct, frozen=True):
    """The mount that a folder lies on."""

    number: int
    kind: str


def mount_of(folder_fd: int) -> Mount | None:
    """Find the mount of an open folder; None where there is no ``/proc`` to say (``proc(5)``, mountinfo)."""
    try:
        fields = Path(f"/proc/self/fdinfo/{folder_fd}").read_text().split()
        number = fields[fields.index("mnt_id:") + 1]
        for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
            mount, _, described = line.partition(" - ")
            if mount.split(maxsplit=1)[0] == number:
                return Mount(int(number), described.split(maxsplit=1)[0])
    except (OSError, ValueError):
        return None
    return None


def leases_tell(mount: Mount | None) -> bool:
    """Tell whether a lease's answer can be trusted on this mount."""
    return mount is not None and mount.kind in _LOCAL and hasattr(fcntl, "F_SETLEASE")


def lease(fd: int) -> Lease:
    """Ask for a read lease on an open file; it ends with `unlease` or when the file is closed."""
    try:
        # A writer who comes breaks the lease by a signal, SIGIO unless told otherwise, and SIGIO kills. SIGURG is
        # ignored. To be said before each lease: releasing one makes the kernel forget it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Lease.REFUSED if error.errno in {errno.EAGAIN, errno.EBUSY} else Lease.UNKNOWN
    return Lease.GRANTED


def unlease(fd: int) -> None:
    """Let writers in again."""
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def unbroken(fd: int) -> bool:
    """Tell whether nobody has tried to write since the lease was granted."""
    return fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK
