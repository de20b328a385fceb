"""This worker's own folder under ``work/``.

::

    work/
      host-17/                 one folder a worker
        owner                  locked (flock) for as long as the worker lives
        reading                what it is reading outside (`worker.sources.witness`)
        2f1c-batch_7.837       a batch being worked on: inode, "-", original name
        2f1e.2.40-b.837        … one begun again (`worker.sources.returned`)
        2f1f.0.40.r-c.837      … one at rest, whose worker was stopped
        2f1d/NAME              … one whose name leaves no room for the inode

A batch is taken by renaming it into this folder: of several workers that try, one succeeds. The lock ends with its
process, and then the worker that locks the file next owns what lies in the folder (`worker.sources.takeover`). The
original name travels in the rename itself, so there is no moment at which a crash could lose it.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from worker.crashpoint import crashpoint
from worker.errors import SettingsError
from worker.paths import sight_of
from worker.sources.moves import make_folder, open_folder
from worker.sources.names import entry_for, original_of
from worker.sources.owner import OWNER, has_owner, lock, read_will, write_will
from worker.sources.readiness import ref_of
from worker.sources.scan import names_in, walk
from worker.sources.witness import Witness


class Held(msgspec.Struct, frozen=True, gc=False):
    """A batch in the work folder: where it lies, relative to the folder, and its original name."""

    entry: str
    name: str


def held_in(folder_fd: int) -> Iterator[Held]:
    """Go through the batches that lie in an open work folder, a few at a time; what is not ours is passed over."""
    for entry in walk(folder_fd):
        if entry.is_dir(follow_symlinks=False):
            slot = open_folder(entry.name, within=folder_fd)
            try:
                names = names_in(slot)
            finally:
                os.close(slot)
            yield from (Held(f"{entry.name}/{name}", name) for name in names)
        elif name := original_of(entry.name):
            yield Held(entry.name, name)


def refs_of(folder_fd: int, batches: Iterable[Held]) -> dict[str, str]:
    """Tell the refs of batches in an open work folder by their entries; those that are gone have none."""
    refs = {}
    for held in batches:
        with suppress(FileNotFoundError):
            refs[held.entry] = ref_of(sight_of(os.stat(held.entry, dir_fd=folder_fd, follow_symlinks=False)))
    return refs


class WorkFolder:
    """Our own folder, locked; `fd` is the open folder, `witness` the notes in it."""

    def __init__(self, root_fd: int, worker_id: str, will: bytes = b"") -> None:
        """Lock the folder of this id, or of this id and a number if another worker has it, or has died and left it.

        :raises OSError: if it cannot be made or locked.
        """
        self._root = root_fd
        self._will = will
        self._lock: int | None
        self.name, self.fd, self._lock, died = self._claim(worker_id)
        self.witness = Witness(self.fd, wary=died)

    def _claim(self, worker_id: str) -> tuple[str, int, int, bool]:
        """Give name, folder, lock, and whether somebody has had this folder and not cleared it away."""
        for number in range(1, 1000):
            name = worker_id if number == 1 else f"{worker_id}.{number}"
            fd = self._made(name)
            try:
                died = has_owner(fd)
                owner = self._lock_ours(fd)
            except BaseException:
                os.close(fd)
                raise
            if owner is not None:
                return name, fd, owner, died
            os.close(fd)
        raise SettingsError([f"input.url: a thousand workers are named {worker_id}"])

    def _lock_ours(self, fd: int) -> int | None:
        """Lock a folder and leave our will in it; None if it is another worker's, living or dead."""
        owner = lock(fd, create=True)
        if owner is None:
            return None
        try:
            if self._is_ours(fd, owner):
                write_will(owner, fd, self._will)
                return owner
        except BaseException:
            os.close(owner)
            raise
        os.close(owner)
        return None

    def _is_ours(self, fd: int, owner: int) -> bool:
        """Tell whether nothing lies there that another ledger knows of; else it is to be taken over like any other."""
        return read_will(owner) in (b"", self._will) or not any(held_in(fd))

    def _made(self, name: str) -> int:
        while True:
            make_folder(name, within=self._root)
            try:
                return open_folder(name, within=self._root)
            except FileNotFoundError:  # another worker found it unlocked and cleared it away
                continue

    def take(self, folder_fd: int, name: str, inode: int) -> Held:
        """Rename a file out of an open folder into ours.

        :raises FileNotFoundError: if it is gone: another worker was faster.
        :raises OSError: if it cannot be renamed.
        """
        held = Held(entry_for(inode, name), name)
        try:
            os.rename(name, held.entry, src_dir_fd=folder_fd, dst_dir_fd=self.fd)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            held = self._take_into_slot(folder_fd, name, inode)
        return held

    def _take_into_slot(self, folder_fd: int, name: str, inode: int) -> Held:
        slot = f"{inode:x}"
        make_folder(slot, within=self.fd)
        crashpoint("slot_made")
        try:
            os.rename(name, f"{slot}/{name}", src_dir_fd=folder_fd, dst_dir_fd=self.fd)
        except OSError:
            os.rmdir(slot, dir_fd=self.fd)
            raise
        return Held(f"{slot}/{name}", name)

    def vacate(self, held: Held) -> None:
        """Remove what is left in the folder of a batch that has moved out."""
        slot, slash, _ = held.entry.partition("/")
        if slash:
            with suppress(OSError):  # somebody else has cleared it away, or put something in
                os.rmdir(slot, dir_fd=self.fd)

    def gone(self) -> bool:
        """Tell whether the folder was removed behind our back."""
        return os.fstat(self.fd).st_nlink == 0

    def unlock(self) -> None:
        """Let go of the lock, so that the folder can be opened anew."""
        if self._lock is not None:
            self.witness.close()
            os.close(self._lock)
            self._lock = None

    def relock(self) -> None:
        """Take the lock again after all."""
        self._lock = lock(self.fd)

    def close(self, *, keep: bool = False) -> None:
        """Let go of the folder, and remove it if nothing lies in it and we need not `keep` it."""
        with suppress(OSError):  # an empty folder that stays does no harm
            if not keep and not self._kept():
                os.unlink(OWNER, dir_fd=self.fd)
                os.rmdir(self.name, dir_fd=self._root)
        self.unlock()
        os.close(self.fd)

    def _kept(self) -> bool:
        """Tell whether any batch lies here, and remove the folders of those that have gone."""
        self.witness.close()
        for name in names_in(self.fd):
            with suppress(OSError):  # a batch, or a folder with one
                os.rmdir(name, dir_fd=self.fd)
        return names_in(self.fd) != [OWNER]
