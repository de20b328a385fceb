"""The batches in our work folder, and what becomes of them: archived, quarantined, or put back where they were.

Only a lack of room is an error here, and a disk that fails at fsync. If the spool cannot be reached, the batch is kept
on a list and put away when it can be; should we end before, the next start finds it in ``work/``, and the ledger knows
what it was.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import structlog

from worker.crashpoint import crashpoint
from worker.disk import explained
from worker.errors import StateError, StorageFull
from worker.ports import Heir
from worker.sources.moves import NO_ROOM, NOT_MOVABLE, path_of, rename_new, sync_folder
from worker.sources.names import displayed
from worker.sources.returned import Returned
from worker.sources.shelves import Archive, Quarantine
from worker.sources.spool import Spool
from worker.sources.workfolder import Held, held_in, refs_of
from worker.x12 import Finding

Fate = Finding | None
"""Quarantine, and why; or the archive."""


class Holdings:
    """The batches that this worker holds, by `ref`, and the way out for each.

    `found` are those that lie in our folder and that nobody was given: of a dead worker, or given back. `returned` has
    them wait for their turn, `heir` tells which of them must stay with us. `set_aside` counts what went to quarantine.
    """

    def __init__(self, spool: Spool, clock: Callable[[], float], poison_after: int, heir: Heir) -> None:
        self.found: deque[Held] = deque()
        self.returned = Returned(poison_after)
        self.set_aside = 0
        self._held: dict[str, Held] = {}
        self._later: dict[str, Fate] = {}
        self._clock = clock
        self._heir = heir
        self.use(spool)

    def use(self, spool: Spool) -> None:
        """Work with this spool from now on, and look what lies in it that is not held.

        :raises OSError: if that cannot be read; nothing has changed then.
        """
        found = self._found_in(spool)
        self._spool = spool
        self._archive = Archive(spool.archive)
        self._quarantine = Quarantine(spool.quarantine)
        self.found = found

    def find(self) -> None:
        """Look through our folder for batches that nobody was given.

        :raises OSError: if it cannot be read.
        """
        self.found = self._found_in(self._spool)

    def _found_in(self, spool: Spool) -> deque[Held]:
        given = {held.entry for held in self._held.values()} | self.returned.entries
        return deque(held for held in held_in(spool.work.fd) if held.entry not in given)

    def done_with(self, held: Held) -> None:
        """Forget one that was looked at, unless it was given out."""
        if all(held.entry != given.entry for given in self._held.values()):
            self.returned.drop(held)

    def hold(self, ref: str, held: Held) -> None:
        """Note that a batch is being given out."""
        self._held[ref] = held

    def settle(self, refs: Sequence[str]) -> None:
        """Archive what is held under these refs; durable on return.

        :raises worker.errors.StorageFull: if there is no room; what was done stays done, call again.
        :raises worker.errors.StateError: if the disk fails.
        """
        try:
            self._archive_all(refs)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise StorageFull(f"input: no room in {path_of(self._spool.archive)}") from None
            self._later |= {ref: None for ref in refs if ref in self._held}

    def refuse(self, ref: str, finding: Finding) -> None:
        """Quarantine what is held under this ref; durable on return.

        :raises worker.errors.StateError: if the disk fails.
        """
        held = self._held.get(ref)
        if held is None:
            return
        try:
            self.quarantine(self._spool.work.fd, held.entry, held.name, finding)
        except OSError:
            self._later[ref] = finding
        else:
            self._gone(ref, held)

    def release(self, refs: Sequence[str]) -> None:
        """Put back what is held under these refs; what only an heir can go on with is left at rest instead."""
        given_back = [held for ref in refs if (held := self._held.pop(ref, None)) is not None]
        for ref in refs:
            self._later.pop(ref, None)
        self.give_up(given_back)

    def give_up(self, batches: Collection[Held]) -> None:
        """Put back or leave at rest, likewise, batches that nobody is given any more."""
        try:
            refs = refs_of(self._spool.work.fd, batches)
            keeps = self._heir.let_go(list(refs.values())) if refs else {}
        except (OSError, StateError):  # nobody can tell: they stay, as after a death
            self.found.extend(batches)
            return
        for held in batches:
            ref = refs.get(held.entry, "")
            if ref in keeps:
                self.found.append(self._at_rest(held, keeps[ref]))
            else:
                self.returned.drop(held)
                self.put_back(held)

    def _at_rest(self, held: Held, answered: int) -> Held:
        try:
            rested = self.returned.rest(self._spool.work.fd, held, answered)
        except OSError:
            return held
        crashpoint("rested")
        return rested

    def retry(self) -> None:
        """Put away what could not be put away before; a file that can never be moved stays where it is.

        :raises OSError: if it still cannot, and that is not the file's own fault.
        """
        for ref, fate in list(self._later.items()):
            held = self._held[ref]
            try:
                if fate is None:
                    self._archive_all([ref])
                else:
                    self.quarantine(self._spool.work.fd, held.entry, held.name, fate)
                    self._gone(ref, held)
            except OSError as error:
                if error.errno not in NOT_MOVABLE:
                    raise
                del self._later[ref]

    def put_back(self, held: Held) -> None:
        """Rename a batch back into the input folder; where its name is taken there, it is `found` instead."""
        try:
            rename_new(self._spool.work.fd, held.entry, self._spool.incoming, held.name)
        except FileNotFoundError:
            _tell_vanished(held)
        except OSError:
            self.found.append(held)
            return
        crashpoint("put_back")
        self._spool.work.vacate(held)

    def quarantine(self, folder_fd: int, entry: str, name: str, finding: Finding) -> None:
        """Move a file from an open folder to the quarantine; durable on return.

        :raises OSError: if it cannot be moved.
        :raises worker.errors.StateError: if the disk fails.
        """
        try:
            self._quarantine.put(folder_fd, entry, name, finding.code, finding.text)
        except FileNotFoundError:
            return
        sync_folder(folder_fd)
        self.set_aside += 1
        structlog.get_logger().warning(
            "input.quarantined", batch=displayed(name), code=finding.code, detail=finding.text
        )

    def _archive_all(self, refs: Sequence[str]) -> None:
        with self._archive.at(self._clock()) as day:
            batches = 0
            try:
                for ref in refs:
                    held = self._held.get(ref)
                    if held is None:
                        continue
                    try:
                        day.put(self._spool.work.fd, held.entry, held.name)
                    except FileNotFoundError:
                        _tell_vanished(held)
                    self._gone(ref, held)
                    batches += 1
            finally:
                if batches:
                    crashpoint("archive_moved")
                    day.sync()
                    crashpoint("archive_synced")
                    sync_folder(self._spool.work.fd)
        structlog.get_logger().debug("input.archived", batches=batches)

    def _gone(self, ref: str, held: Held) -> None:
        del self._held[ref]
        self._later.pop(ref, None)
        self.returned.drop(held)
        self._spool.work.vacate(held)


def _tell_vanished(held: Held) -> None:
    structlog.get_logger().warning("input.vanished", batch=displayed(held.name))


def first_used(spool: Spool, clock: Callable[[], float], poison_after: int, heir: Heir) -> Holdings:
    """Begin with this spool at the start, when nobody can go on without it.

    :raises worker.errors.StateError: if our folder in it cannot be read; the spool is closed then.
    """
    try:
        return Holdings(spool, clock, poison_after, heir)
    except OSError as error:
        place = path_of(spool.work.fd)
        spool.close()
        raise StateError(f"input: cannot read {place}: {explained(error)}") from None


def used_again(holdings: Holdings, incoming: Path, worker_name: str, will: bytes) -> Spool:
    """Open the spool anew and go on with it; where that cannot be, `holdings` stay with the former one.

    :raises OSError: if it cannot be opened or read.
    :raises worker.errors.SettingsError: if its folders do not belong together.
    """
    spool = Spool(incoming, worker_name, will)
    try:
        holdings.use(spool)
    except OSError:
        spool.close(keep=True)
        raise
    return spool
