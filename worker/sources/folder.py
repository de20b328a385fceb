"""The blocking half of the directory source: goes through the names and has what is ready taken.

Runs in threads only, one call at a time. What is taken lies in our work folder, in our `holdings` until it is put away.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from worker.claim import Delivery
from worker.errors import SettingsError, SourceUnavailable
from worker.paths import sight_of
from worker.ports import Heir
from worker.sources.examining import ExaminedFolder, Examiner
from worker.sources.file_leases import leases_tell
from worker.sources.holdings import first_used, used_again
from worker.sources.names import passed_over
from worker.sources.readiness import Rules
from worker.sources.reading import SurveyOf
from worker.sources.scan import Scan, files_in
from worker.sources.sightings import Sighting
from worker.sources.spool import Spool, first_opened, is_ours
from worker.sources.takeover import meet_again, take_over
from worker.sources.taking import Taker
from worker.sources.view import View, unavailable
from worker.sources.workfolder import Held

# What one look may cost, so that no thread is away for long and no memory fills.
NAMES_PER_LOOK = 4096
SECONDS_PER_LOOK = 0.05
BYTES_PER_LOOK = 16 << 20

TAKE_OVER_S = 5.0
MOST_NAMED = 1000
TURN_S = 0.05


class Folder:
    """An input folder in use by this worker; `ready` fills up with what `look` takes.

    `times_opened` grows when the folder was gone and is there again.
    """

    def __init__(
        self,
        incoming: Path,
        worker_id: str,
        rules: Rules,
        survey: SurveyOf,
        *,
        heir: Heir,
        ask_kernel: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ready: deque[Delivery] = deque()
        self._path = incoming
        self._name = worker_id
        self._rules = rules
        self._heir = heir
        self._ask_kernel = ask_kernel and not rules.renamed
        self._monotonic = monotonic
        self._clock = clock
        self._examiner = Examiner(survey)
        self._again = math.inf
        self._near = self._lost = False
        self._begun: deque[Held] = deque()
        self.times_opened = 0

    def open(self) -> None:
        """Open the folder and find what an earlier process of this name held.

        :raises worker.errors.SettingsError: if it cannot be used as configured.
        :raises worker.errors.StateError: if the disk fails.
        """
        spool = first_opened(self._path, self._name, self._heir.will)
        self.holdings = first_used(spool, self._clock, self._rules.poison_after, self._heir)
        self._taker = Taker(self._examiner, self.holdings, self.ready, self._clock)
        self._use(spool)

    def _use(self, spool: Spool) -> None:
        self._spool = self._taker.spool = spool
        self._name = spool.work.name
        self._scan = Scan(spool.incoming)
        ask = self._ask_kernel and leases_tell(spool.mount)
        at_once = msgspec.structs.replace(self._rules, renamed=True)
        self._incoming = ExaminedFolder(spool.incoming, self._rules, ask=ask, ours=False, witness=spool.work.witness)
        self._working = ExaminedFolder(spool.work.fd, at_once, ask=False, ours=True)
        self._take_over_at = -math.inf
        self.times_opened += 1

    def look(self, limit: int) -> View:
        """Look at the next names and take what is ready, until `ready` holds `limit`.

        :raises worker.errors.SourceUnavailable: if the folder cannot be reached, or nothing can be taken from it.
        """
        self._be_there()
        self._taker.taken_bytes = 0
        try:
            self.holdings.retry()
            if not self._scan.under_way:
                self._begin()
            self._look_at_found(limit)
            ended = self._look_at_names(limit)
        except OSError as error:
            raise unavailable(self._path.parent, error) from None
        return self._view(ended=ended)

    @property
    def under_way(self) -> bool:
        """Tell whether the next look goes on with a pass that an earlier one began."""
        return self._scan.under_way

    @property
    def next_pass(self) -> int:
        """The number of the pass that begins next."""
        return self._scan.passed + 1

    def _be_there(self) -> None:
        if not self._spool.missing():
            self._lost = False
        elif not self._lost:
            self._lost = True
            raise SourceUnavailable(f"input: {self._path} or a neighbour of it was removed, replaced or unmounted")
        elif is_ours(self._path, self._name):
            self._use_again()
        else:
            raise SourceUnavailable(f"input: {self._path} is not there, or not the one that this worker has used")

    def _use_again(self) -> None:
        former = self._spool
        former.work.unlock()  # else our own lock would be in our way
        try:
            spool = used_again(self.holdings, self._path, self._name, self._heir.will)
        except (OSError, SettingsError):
            former.work.relock()
            raise SourceUnavailable(f"input: {self._path} is there again, but cannot be used") from None
        self._scan.end()
        self._use(spool)
        former.close(keep=True)

    def _begin(self) -> None:
        self._near = False
        self._again = math.inf
        now = self._monotonic()
        if now >= self._take_over_at:
            self._take_over_at = now + TAKE_OVER_S
            if take_over(self._spool.work_root, self._spool.work, self._heir):
                self.holdings.find()

    def _look_at_found(self, limit: int) -> None:
        if self.holdings.found:
            meet_again(self._spool.work.fd, self.holdings, self._heir)
        if not self._spool.work.witness.holds_back:
            self._begun.extend(self.holdings.returned.next(self._spool.work.fd))
        for _ in range(len(self._begun)):
            if self._full(limit):
                return
            held = self._begun.popleft()
            known = self._working.sightings.of(held.entry)
            waits = known is not None and known.due > self._monotonic()
            if waits or not self._look_at(self._working, held.entry, held.name):
                self._begun.append(held)
            else:
                self.holdings.done_with(held)

    def _look_at_names(self, limit: int) -> bool:
        """Go on with the pass; True if it has ended."""
        if self._full(limit):
            return False
        until = self._monotonic() + SECONDS_PER_LOOK
        for number, entry in enumerate(self._scan.entries(), start=1):
            self._look_at_entry(entry)
            if number >= NAMES_PER_LOOK or self._full(limit) or self._monotonic() >= until:
                return False
        self._scan.end()
        self._incoming.end_pass(self._scan.passed)
        return True

    def _full(self, limit: int) -> bool:
        return len(self.ready) >= limit or self._taker.taken_bytes >= BYTES_PER_LOOK

    def _look_at_entry(self, entry: os.DirEntry[str]) -> None:
        name = entry.name
        if passed_over(name):
            return
        if not entry.is_file(follow_symlinks=False):
            if not entry.is_dir(follow_symlinks=False):
                self._taker.ignore(name, "symlink" if entry.is_symlink() else "not_a_file")
            return
        known = self._incoming.sightings.of(name)
        if known is not None and known.due > self._monotonic() and self._unchanged(entry, known):
            self._note(known)
        else:
            self._look_at(self._incoming, name, name)

    def _unchanged(self, entry: os.DirEntry[str], known: Sighting) -> bool:
        try:
            return sight_of(entry.stat(follow_symlinks=False)) == known.sight
        except FileNotFoundError:
            return False

    def _look_at(self, folder: ExaminedFolder, entry: str, name: str) -> bool:
        """Examine one file and act on it; False if it must be looked at again."""
        now = self._monotonic()
        wait = self._taker.act(folder, entry, name, now)
        if wait is None:
            folder.sightings.forget(entry)
            return True
        sighting = folder.sightings.of(entry)
        if sighting is not None:
            sighting.near, sighting.due = wait.near, now + wait.again_s
            self._note(sighting)
        return False

    def _note(self, sighting: Sighting) -> None:
        sighting.passed = self._scan.passed
        self._near |= sighting.near
        self._again = min(self._again, sighting.due)

    def _view(self, *, ended: bool) -> View:
        again_s = max(self._again - self._monotonic(), 0.002)
        waiting = self.holdings.returned.waiting  # for others to be done, of which nothing here tells
        near = self._near or waiting or bool(self.holdings.found or self._begun)
        return View(self._scan.passed, ended, near, min(again_s, TURN_S) if waiting else again_s)

    def left_over(self) -> list[str]:
        """Names of files in the input folder, at most a thousand of them.

        :raises worker.errors.SourceUnavailable: if the folder cannot be read.
        """
        try:
            return files_in(self._spool.incoming, MOST_NAMED)
        except OSError as error:
            raise unavailable(self._path.parent, error) from None

    def close(self) -> None:
        """Give back what nobody was given, and let go of everything; what is held stays in our folder."""
        self._examiner.close()
        self.holdings.release([delivery.ref for delivery in self.ready])
        self.holdings.give_up(self._begun)
        self.ready.clear()
        self._begun.clear()
        self._scan.end()
        self._spool.close()
