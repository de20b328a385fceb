"""What becomes of dead workers' folders: the worker that locks one inherits what lies in it, and what is known of that.

::

    lock the owner file ─▶ our ledger learns what theirs knows ─▶ rename, batch by batch ─▶ remove the empty folder

In that order: wherever a crash comes, a batch lies in the folder of somebody whose ledger knows what was answered.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import structlog

from worker.crashpoint import crashpoint
from worker.ports import Heir
from worker.sources.holdings import Holdings
from worker.sources.moves import open_folder
from worker.sources.names import is_at_rest
from worker.sources.owner import OWNER, lock, read_will
from worker.sources.scan import names_in
from worker.sources.witness import READING, forget_notes
from worker.sources.workfolder import WorkFolder, held_in, refs_of
from worker.x12 import Finding


class NoHeir:
    """`worker.ports.Heir` of a source whose ledger nobody needs to find: batches alone are taken over."""

    will = b""

    @contextmanager
    def inheriting(self, owner: str, will: bytes, refs: Sequence[str]) -> Iterator[bool]:
        """Know nothing, and go on."""
        yield True

    def let_go(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Know of nothing that another could not begin."""
        return {}

    def answered(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Know of no answer."""
        return {}


def take_over(root_fd: int, ours: WorkFolder, heir: Heir) -> int:
    """Bring the batches of dead workers into our folder; returns how many.

    :raises OSError: if a folder cannot be read or emptied.
    """
    taken = 0
    for name in names_in(root_fd):
        if name == ours.name:
            continue
        left = _inherit(root_fd, name, ours, heir)
        if died_with := left.count(False):
            structlog.get_logger().warning("worker.taken_over", owner=name, batches=died_with)
        if at_rest := left.count(True):
            structlog.get_logger().info("worker.succeeded", owner=name, batches=at_rest)
        taken += len(left)
    return taken


def meet_again(work_fd: int, holdings: Holdings, heir: Heir) -> None:
    """Have what was found in our folder wait for its turn; what has killed too many workers goes to the quarantine.

    :raises OSError: if one cannot be moved there.
    :raises worker.errors.SourceUnavailable: if it cannot be told now what was answered; all are met the next time.
    """
    found = list(holdings.found)
    refs = refs_of(work_fd, found)
    answered = heir.answered(list(refs.values()))
    holdings.found.clear()
    there = [one for one in found if one.entry in refs]
    for one, text in holdings.returned.meet(there, {entry: answered.get(ref, 0) for entry, ref in refs.items()}):
        holdings.quarantine(work_fd, one.entry, one.name, Finding("poison", text, "error"))


def _inherit(root_fd: int, name: str, ours: WorkFolder, heir: Heir) -> list[bool]:
    """Bring another's batches into our folder if it has none to own them; tells of each whether it was at rest."""
    try:
        folder = open_folder(name, within=root_fd)
    except OSError:
        return []  # gone meanwhile, or no folder of a worker
    try:
        owner = lock(folder)
        if owner is None:
            with suppress(OSError):  # what is left where an heir died just before it had removed it all
                os.rmdir(name, dir_fd=root_fd)
            return []
        try:
            return _inherit_locked(root_fd, name, folder, owner, ours, heir)
        finally:
            os.close(owner)
    finally:
        os.close(folder)


def _inherit_locked(root_fd: int, name: str, folder: int, owner: int, ours: WorkFolder, heir: Heir) -> list[bool]:
    ours.witness.learn(folder)
    refs = list(refs_of(folder, held_in(folder)).values())
    if not refs:
        return _empty(root_fd, name, folder, ours)
    with heir.inheriting(name, read_will(owner), refs) as may_go_on:
        return _empty(root_fd, name, folder, ours) if may_go_on else []


def _empty(root_fd: int, name: str, folder: int, ours: WorkFolder) -> list[bool]:
    moved = []
    for entry in names_in(folder):
        if entry in (OWNER, READING):
            continue
        with suppress(OSError):  # of a batch that has left it, or never came: it may be in ours by now
            os.rmdir(entry, dir_fd=folder)
            continue
        os.rename(entry, entry, src_dir_fd=folder, dst_dir_fd=ours.fd)
        moved.append(is_at_rest(entry))
        crashpoint("recovery_work_moved")
    crashpoint("recovery_work_emptied")
    forget_notes(folder)
    os.unlink(OWNER, dir_fd=folder)
    crashpoint("recovery_owner_removed")
    os.rmdir(name, dir_fd=root_fd)
    return moved
