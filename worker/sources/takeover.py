"""What becomes of dead workers' folders: whoever locks one inherits what lies in it, and what is known of that.

::

    lock the owner file ─▶ our ledger learns what theirs knows ─▶ rename, batch by batch ─▶ remove the empty folder

In that order: wherever a crash comes, a batch lies in the folder of somebody whose ledger knows what was answered.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from worker.crashpoint import crashpoint
from worker.ports import Heir
from worker.sources.moves import open_folder
from worker.sources.owner import OWNER, lock, read_will
from worker.sources.readiness import ref_of, sight_of
from worker.sources.scan import names_in
from worker.sources.workfolder import WorkFolder, held_in


class NoHeir:
    """`worker.ports.Heir` of a source whose ledger nobody needs to find: batches alone are taken over."""

    will = b""

    @contextmanager
    def inheriting(self, owner: str, will: bytes, refs: Sequence[str]) -> Iterator[bool]:
        """Know nothing, and go on."""
        yield True


def take_over(root_fd: int, ours: WorkFolder, heir: Heir) -> int:
    """Bring the batches of dead workers into our folder; returns how many.

    :raises OSError: if a folder cannot be read or emptied.
    """
    taken = 0
    for name in names_in(root_fd):
        if name != ours.name and (inherited := _inherit(root_fd, name, ours, heir)):
            structlog.get_logger().warning("worker.taken_over", owner=name, batches=inherited)
            taken += inherited
    return taken


def _inherit(root_fd: int, name: str, ours: WorkFolder, heir: Heir) -> int:
    try:
        folder = open_folder(name, within=root_fd)
    except OSError:
        return 0  # gone meanwhile, or no folder of a worker
    try:
        owner = lock(folder)
        if owner is None:
            return 0
        try:
            return _inherit_locked(root_fd, name, folder, owner, ours, heir)
        finally:
            os.close(owner)
    finally:
        os.close(folder)


def _inherit_locked(root_fd: int, name: str, folder: int, owner: int, ours: WorkFolder, heir: Heir) -> int:
    refs = _refs_in(folder)
    if not refs:
        return _empty(root_fd, name, folder, ours)
    with heir.inheriting(name, read_will(owner), refs) as may_go_on:
        return _empty(root_fd, name, folder, ours) if may_go_on else 0


def _refs_in(folder: int) -> list[str]:
    sights = (os.stat(held.entry, dir_fd=folder, follow_symlinks=False) for held in held_in(folder))
    return [ref_of(sight_of(sight)) for sight in sights]


def _empty(root_fd: int, name: str, folder: int, ours: WorkFolder) -> int:
    entries = [entry for entry in names_in(folder) if entry != OWNER]
    for entry in entries:
        os.rename(entry, entry, src_dir_fd=folder, dst_dir_fd=ours.fd)
        crashpoint("recovery_work_moved")
    crashpoint("recovery_work_emptied")
    os.unlink(OWNER, dir_fd=folder)
    os.rmdir(name, dir_fd=root_fd)
    return len(entries)
