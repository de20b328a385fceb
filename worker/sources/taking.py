"""One file: examined, and then taken, quarantined, or left for later."""

from collections import deque
from collections.abc import Callable

import structlog

from worker.claim import Delivery
from worker.crashpoint import crashpoint
from worker.errors import SourceUnavailable
from worker.sources.examining import ExaminedFolder, Examiner
from worker.sources.holdings import Holdings
from worker.sources.moves import NOT_MOVABLE
from worker.sources.names import displayed
from worker.sources.readiness import Wait, ref_of, wait_for_access, wait_for_writer
from worker.sources.reading import Candidate, NotAFile, Reading, Unreadable
from worker.sources.spool import Spool
from worker.sources.workfolder import Held

MOVE_AGAIN_S = 60.0
MOST_WARNED = 1000


class Taker:
    """Takes files into the work folder of `spool`, appends them to `ready` and counts their `taken_bytes`."""

    spool: Spool

    def __init__(
        self, examiner: Examiner, holdings: Holdings, ready: deque[Delivery], clock: Callable[[], float]
    ) -> None:
        self.taken_bytes = 0
        self._examiner = examiner
        self._holdings = holdings
        self._ready = ready
        self._clock = clock
        self._warned: set[str] = set()

    def act(self, folder: ExaminedFolder, entry: str, name: str, now: float) -> Wait | None:
        """Do what the file asks for; a `Wait` if that is nothing for now.

        :raises worker.errors.SourceUnavailable: if our work folder is gone.
        :raises OSError: if it is the folder and not the file that cannot be used.
        """
        try:
            with Candidate(entry, folder.fd, ask=folder.ask) as file:
                sighting = folder.sightings.met(entry, file.sight, now)
                found = self._examiner.examine(file, sighting, now, folder)
                if isinstance(found, Reading):
                    return self._take(folder, file, Held(entry, name), found)
        except FileNotFoundError:
            return None
        except NotAFile:
            self.ignore(name, "not_a_file")
            return None
        except Unreadable as error:
            sighting = folder.sightings.met(entry, error.sight, now)
            sighting.tries += 1
            found = wait_for_access(sighting.tries, folder.rules)
        if isinstance(found, Wait):
            return found
        try:
            self._holdings.quarantine(folder.fd, entry, name, found)
        except OSError as error:
            if error.errno not in NOT_MOVABLE:
                raise
            self.ignore(name, "not_movable")
            return Wait("not_movable", MOVE_AGAIN_S)
        return None

    def _take(self, folder: ExaminedFolder, file: Candidate, held: Held, reading: Reading) -> Wait | None:
        if not folder.ours:
            taken = self._rename(folder, file, held.name)
            if taken is None:
                return None
            held = taken
            crashpoint("taken")
            if not file.undisturbed():
                self._holdings.put_back(held)
                return wait_for_writer(0.0, folder.rules)
        lies_at = self.spool.work_path(held.entry)
        delivery = Delivery(
            name=displayed(held.name),
            ref=ref_of(file.sight),
            size=file.size,
            received_at=self._clock(),
            data=reading.data,
            path=None if reading.data is not None else lies_at,
            kept_at=lies_at,
            survey=reading.survey,
            sha256=reading.sha256,
            only=reading.only,
        )
        self._holdings.hold(delivery.ref, held)
        self._ready.append(delivery)
        self.taken_bytes += len(reading.data or b"")
        return None

    def _rename(self, folder: ExaminedFolder, file: Candidate, name: str) -> Held | None:
        """Take a file into our folder; None if another worker was faster, or its producer has taken it back."""
        try:
            return self.spool.work.take(folder.fd, name, file.sight[0])
        except FileNotFoundError:
            if self.spool.work.gone():
                raise SourceUnavailable(f"input: {self.spool.work_path('.')} was removed") from None
            return None
        except OSError as error:
            if error.errno not in NOT_MOVABLE:
                raise
            raise Unreadable(file.sight) from None

    def ignore(self, name: str, code: str) -> None:
        """Warn, once, of something that is left where it is."""
        if name not in self._warned and len(self._warned) < MOST_WARNED:
            self._warned.add(name)
            structlog.get_logger().warning("input.ignored", name=displayed(name), code=code)
