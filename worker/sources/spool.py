"""The input folder and its three neighbours, held open.

::

    spool/
      in/            where producers put batches; ours to read and to rename out of
      work/          batches being worked on, a folder per worker
      archive/       settled batches, a folder per day
      quarantine/    batches that a person must look at

A batch moves between them by rename only, so all four must lie on one mount.
"""

import errno
import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from worker.errors import SettingsError, StateError, StorageFull
from worker.paths import in_words, kind_at, unwritable
from worker.sources.file_leases import Mount, mount_of
from worker.sources.moves import NO_ROOM, make_folder, open_folder
from worker.sources.workfolder import WorkFolder

NEIGHBOURS = ("work", "archive", "quarantine")


class Spool:
    """Open descriptors of the four folders, and this worker's folder in ``work/``.

    Everything that is done goes through them, relative to an open folder: a folder that is replaced meanwhile
    is noticed (`missing`) and not filled or emptied by mistake.
    """

    def __init__(self, incoming: Path, worker_id: str, will: bytes = b"") -> None:
        """Open all, creating the neighbours where they are missing.

        :raises worker.errors.SettingsError: if the folders do not belong together.
        :raises OSError: if one of them cannot be reached or made.
        """
        self._path = incoming
        self._open: list[int] = []
        try:
            self.incoming = self._hold(open_folder(incoming, follow=True))
            parent = self._hold(open_folder(incoming.parent, follow=True))
            for name in NEIGHBOURS:
                make_folder(name, within=parent)
            root, self.archive, self.quarantine = (
                self._hold(open_folder(name, within=parent, follow=True)) for name in NEIGHBOURS
            )
            fds = (self.incoming, root, self.archive, self.quarantine)
            self._folders = list(zip((incoming, *map(incoming.with_name, NEIGHBOURS)), fds, strict=True))
            self.mount = _one_mount(incoming, fds)
            self.work_root = root
            self.work = WorkFolder(root, worker_id, will)
            self._work_path = incoming.with_name("work") / self.work.name
        except BaseException:
            self._let_go()
            raise

    def _hold(self, fd: int) -> int:
        self._open.append(fd)
        return fd

    def missing(self) -> bool:
        """Tell whether a folder is not the one that was opened: removed, replaced or unmounted."""
        return not all(_same(path, fd) for path, fd in self._folders)

    def work_path(self, entry: str) -> Path:
        """Give the path of an entry in our work folder, for those who must open it by path."""
        return self._work_path / entry

    def close(self, *, keep: bool = False) -> None:
        """Let go of all; our work folder is removed if it is empty, unless we `keep` it to find it again."""
        self.work.close(keep=keep)
        self._let_go()

    def _let_go(self) -> None:
        for fd in self._open:
            os.close(fd)
        self._open = []


def _same(path: Path, fd: int) -> bool:
    try:
        there, ours = path.stat(), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _one_mount(incoming: Path, folders: Sequence[int]) -> Mount | None:
    mounts = [mount_of(fd) for fd in folders]
    devices = {os.fstat(fd).st_dev for fd in folders}
    if len({mount.number if mount else 0 for mount in mounts}) > 1 or len(devices) > 1:
        raise SettingsError(
            [
                f"input.url: {incoming} and {', '.join(NEIGHBOURS)} beside it are not on one mount, and a batch "
                f"is taken by rename: mount their parent {incoming.parent} as a whole"
            ]
        )
    return mounts[0]


def first_opened(incoming: Path, worker_id: str, will: bytes = b"") -> Spool:
    """Open the spool at the start, when everything that is wrong is a matter of the settings.

    :raises worker.errors.SettingsError: naming the folder and what to do.
    :raises worker.errors.StorageFull: if there is no room to make the neighbours.
    :raises worker.errors.StateError: if the disk fails.
    """
    _demand_folder(incoming)
    try:
        return Spool(incoming, worker_id, will)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull(f"input: no room in {incoming.parent} to make {', '.join(NEIGHBOURS)}") from None
        if error.errno == errno.EIO:
            raise StateError(f"input: the disk of {incoming.parent} fails: EIO") from None
        detail = f"{', '.join(NEIGHBOURS)} beside {incoming} cannot be made, entered and locked ({error.strerror})"
        raise SettingsError([f"input.url: {detail}"]) from None


def look_at_spool(incoming: Path) -> None:
    """See, without making anything, whether the folders are as `first_opened` needs them.

    :raises worker.errors.SettingsError: naming the folder and what to do.
    """
    _demand_folder(incoming)
    # What is missing will be made in the parent, and lies on its mount then.
    places = {path if path.exists() else incoming.parent for path in map(incoming.with_name, NEIGHBOURS)}
    for place in places:
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise SettingsError([f"input.url: {unwritable(place)}"])
    with ExitStack() as opened:
        fds = []
        for place in (incoming, *places):
            fds.append(open_folder(place, follow=True))
            opened.callback(os.close, fds[-1])
        _one_mount(incoming, fds)


def _demand_folder(incoming: Path) -> None:
    if incoming.name in {"", *NEIGHBOURS}:
        raise SettingsError([f"input.url: {incoming} cannot be the input: {', '.join(NEIGHBOURS)} stand beside it"])
    try:
        kind = kind_at(incoming)
    except OSError as error:
        raise SettingsError([f"input.url: {in_words(error, incoming)}"]) from None
    if kind == "nothing":
        raise SettingsError([f"input.url: {incoming} does not exist: mkdir -p {shlex.quote(str(incoming))}"])
    if kind != "folder":
        raise SettingsError([f"input.url: {incoming} is not a folder"])
    if not os.access(incoming, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsError([f"input.url: {unwritable(incoming)}"])


def is_ours(incoming: Path, worker_name: str) -> bool:
    """Tell whether the spool at this path is one that this worker has used.

    Where a file system was unmounted another folder shows through; ours has our folder in ``work/``.
    """
    return incoming.is_dir() and (incoming.parent / "work" / worker_name).is_dir()
