"""Finding out about one opened file whether it is ready: asks the kernel, reads, and applies `readiness`."""

from concurrent.futures import Future

import msgspec

from worker.sources.leases import Lease
from worker.sources.readiness import Rules, Wait, judge, too_large, wait_for_unlink, wait_for_writer
from worker.sources.reading import SMALL_BYTES, Candidate, LargeReader, Reading, SurveyOf, Unreadable
from worker.sources.sightings import Sighting, Sightings
from worker.x12 import Finding

Found = Reading | Finding | Wait
"""Ready, and what was read; refused, and why; or not ready."""


class Place(msgspec.Struct):
    """A folder whose files are examined: its descriptor, its rules, and what is remembered of it.

    `ask`: the kernel can tell who writes there. `ours`: its files are this worker's already.
    """

    fd: int
    rules: Rules
    ask: bool
    ours: bool
    sightings: Sightings = msgspec.field(default_factory=Sightings)


class Examiner:
    """Examines files; large ones over several looks, while they are read beside."""

    def __init__(self, survey: SurveyOf) -> None:
        self._survey = survey
        self._reader = LargeReader(survey)

    def examine(self, file: Candidate, known: Sighting, now: float, place: Place) -> Found:
        """Look into an open file that has been as it is since `known`.

        :raises worker.sources.reading.Unreadable: if it cannot be read.
        """
        rules = place.rules
        unchanged_s = now - known.since
        if file.links > 1 and not place.ours:
            return wait_for_unlink(unchanged_s, rules)
        if not rules.renamed:
            if file.lease is Lease.REFUSED and unchanged_s < rules.incomplete_after_s:
                return wait_for_writer(unchanged_s, rules)
            if file.lease is Lease.UNKNOWN and unchanged_s < rules.settled_after_s:
                return Wait("settling", rules.settled_after_s - unchanged_s, near=True)
        if (excess := too_large(file.size, rules.largest_bytes)) is not None:
            return excess
        reading = file.read(self._survey) if file.size <= SMALL_BYTES else self._large(file, known)
        if isinstance(reading, Wait):
            return reading
        return judge(reading.survey, unchanged_s, rules) or reading

    def _large(self, file: Candidate, known: Sighting) -> Reading | Wait:
        reading: Future[Reading] | None = known.reading or self._reader.start(file)
        if reading is None or not reading.done():
            known.reading = reading
            return Wait("being_read", 0.02, near=True)
        known.reading = None
        try:
            return reading.result()
        except OSError:
            raise Unreadable(known.sight) from None

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()
