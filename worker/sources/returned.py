"""Batches that lie in our work folder though nobody works on them: any of them may have killed the worker it had.

How often one was begun anew in a row, without any new answer since, stands in the name of its entry, and so does how
many answers it had then: ``2f1c.3.120-batch_7.837``. The name is changed before a byte of the batch is read, by one
rename, so whatever comes then is counted. They are handed on by the rules for suspects (`worker.sources.suspects`):
the more often, the fewer at a time, and one at the limit goes to quarantine.

A worker that ends in order leaves its batches there ``at rest`` (``2f1c.0.140.r-batch_7.837``): that was no death.
"""

import errno
import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from worker.crashpoint import crashpoint
from worker.sources.moves import make_folder
from worker.sources.names import Counts, counts_of, head_for
from worker.sources.suspects import Suspects
from worker.sources.workfolder import Held


class _Returned(msgspec.Struct, frozen=True):
    """A batch on its turn or waiting for it: `deaths` in a row, and the answers it has."""

    held: Held
    deaths: int
    answered: int


class Returned:
    """The batches met again; `entries` are the names of those that wait, or have had their turn and are not done."""

    def __init__(self, limit: int) -> None:
        self._suspects = Suspects(limit)
        self._innocent: deque[str] = deque()
        self._known: dict[str, _Returned] = {}

    @property
    def waiting(self) -> bool:
        """Whether some have not had their turn."""
        return bool(self._innocent) or self._suspects.waiting

    @property
    def entries(self) -> set[str]:
        """Where those lie that are known here."""
        return {one.held.entry for one in self._known.values()}

    def meet(self, found: Sequence[Held], answers: Mapping[str, int]) -> list[tuple[Held, str]]:
        """Let these wait for their turn; returns those that shall have none, and why.

        `answers` tells, by entry, how many of a batch's claims are answered.
        """
        refused = []
        for held in found:
            inode, begun, before, at_rest = counts_of(held.entry)
            answered = answers.get(held.entry, 0)
            deaths = begun if at_rest else 1 if answered > before else begun + 1
            if not deaths:
                self._innocent.append(inode)
                self._known[inode] = _Returned(held, deaths, answered)
            elif self._suspects.add(inode, deaths, 0) is None:
                self._known[inode] = _Returned(held, deaths, answered)
            else:
                refused.append((held, f"it was in work at {deaths} deaths of a worker in a row, without a new answer"))
        return refused

    def next(self, work_fd: int) -> list[Held]:
        """Give those whose turn it is; that they are begun is told by their names now.

        :raises OSError: if one cannot be renamed, other than for being gone.
        """
        begun = []
        turns, self._innocent = [*self._innocent, *self._suspects.next()], deque()
        for inode in turns:
            one = self._known[inode]
            try:
                held = _renamed(work_fd, one.held, Counts(inode, one.deaths, one.answered))
            except FileNotFoundError:
                self._drop(inode)
                continue
            crashpoint("returned_renamed")
            self._known[inode] = msgspec.structs.replace(one, held=held)
            begun.append(held)
        return begun

    def rest(self, work_fd: int, held: Held, answered: int) -> Held:
        """Leave one at rest in our folder that has so many answers now.

        :raises OSError: if it cannot be renamed; at the next start it counts as one of a death then.
        """
        self.drop(held)
        inode, begun, before, _ = counts_of(held.entry)
        return _renamed(work_fd, held, Counts(inode, 0 if answered > before else begun, answered, at_rest=True))

    def drop(self, held: Held) -> None:
        """Forget one that is done, or given back."""
        self._drop(counts_of(held.entry)[0])

    def _drop(self, inode: str) -> None:
        self._suspects.drop(inode)
        with suppress(ValueError):
            self._innocent.remove(inode)
        self._known.pop(inode, None)


def _renamed(work_fd: int, held: Held, counts: Counts) -> Held:
    name, head = held.name, head_for(counts)
    former, slash, _ = held.entry.partition("/")
    if slash:
        os.rename(former, head, src_dir_fd=work_fd, dst_dir_fd=work_fd)
        return Held(f"{head}/{name}", name)
    entry = f"{head}-{name}"
    try:
        os.rename(held.entry, entry, src_dir_fd=work_fd, dst_dir_fd=work_fd)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        make_folder(head, within=work_fd)
        crashpoint("returned_slot_made")
        entry = f"{head}/{name}"
        os.rename(held.entry, entry, src_dir_fd=work_fd, dst_dir_fd=work_fd)
    return Held(entry, name)
