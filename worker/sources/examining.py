"""Finding out about one opened file whether it is ready: asks the kernel, reads, and applies `readiness`."""

from concurrent.futures import Future

import msgspec

from worker.claim import SMALL_BYTES
from worker.sources.file_leases import Lease
from worker.sources.readiness import Rules, Wait, judge, too_large, wait_for_unlink, wait_for_writer
from worker.sources.reading import Candidate, LargeReader, Reading, SurveyOf, Unreadable
from worker.sources.sightings import Sighting, Sightings
from worker.sources.witness import Witness
from worker.x12 import Finding

Found = Reading | Finding | Wait
"""Ready, and what was read; refused, and why; or not ready."""


class ExaminedFolder(msgspec.Struct):
    """A folder whose files are examined: its descriptor, its rules, and what is remembered of it.

    `ask`: the kernel can tell who writes there. `ours`: its files are this worker's already. `witness` is told what is
    read there; of ours, their names tell it.
    """

    fd: int
    rules: Rules
    ask: bool
    ours: bool
    witness: Witness | None = None
    sightings: Sightings = msgspec.field(default_factory=Sightings)

    def end_pass(self, passed: int) -> None:
        """Forget what pass number `passed` did not meet."""
        self.sightings.sweep(passed)
        if self.witness is not None:
            self.witness.end_pass()


class Examiner:
    """Examines files; large ones over several looks, while they are read beside."""

    def __init__(self, survey: SurveyOf) -> None:
        self._survey = survey
        self._reader = LargeReader(survey)

    def examine(self, file: Candidate, known: Sighting, now: float, folder: ExaminedFolder) -> Found:
        """Look into an open file that has been as it is since `known`.

        :raises worker.sources.reading.Unreadable: if it cannot be read.
        """
        rules = folder.rules
        unchanged_s = now - known.since
        if file.links > 1 and not folder.ours:
            return wait_for_unlink(unchanged_s, rules)
        if not rules.renamed:
            if file.lease is Lease.REFUSED and unchanged_s < rules.incomplete_after_s:
                return wait_for_writer(unchanged_s, rules)
            if file.lease is Lease.UNKNOWN and unchanged_s < rules.settled_after_s:
                return Wait("settling", rules.settled_after_s - unchanged_s, near=True)
        if (excess := too_large(file.size, rules.largest_bytes)) is not None:
            return excess
        witness = folder.witness
        if witness is not None and (poison := witness.condemns(file.sight, rules.poison_after)) is not None:
            return poison
        reading = self._large(file, known, witness) if file.size > SMALL_BYTES else self._small(file, witness)
        if isinstance(reading, Wait):
            return reading
        return judge(reading.survey, unchanged_s, rules) or reading

    def _small(self, file: Candidate, witness: Witness | None) -> Reading:
        if witness is None or not witness.wary:
            return file.read(self._survey)
        with witness.reading(file.sight):
            return file.read(self._survey)

    def _large(self, file: Candidate, known: Sighting, witness: Witness | None) -> Reading | Wait:
        reading: Future[Reading] | None = known.reading or self._begun(file, witness)
        if reading is None or not reading.done():
            known.reading = reading
            if witness is not None:
                witness.waits(file.sight)
            return Wait("being_read", 0.02, near=True)
        known.reading = None
        if witness is not None:
            witness.end(file.sight)
        try:
            return reading.result()
        except OSError:
            raise Unreadable(known.sight) from None

    def _begun(self, file: Candidate, witness: Witness | None) -> Future[Reading] | None:
        """Begin to read a large file, if there is room for another; alone if it may be what a worker has died of."""
        alone = witness is not None and witness.suspects(file.sight)
        if not self._reader.has_room(alone=alone):
            return None
        if witness is not None:
            witness.begin(file.sight)
        return self._reader.start(file, alone=alone)

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()
