"""Parked claims: set aside with a reason, to be sent again when a person says so."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from worker.claim import Batch, Claim
from worker.ledger.elsewhere import ELSEWHERE
from worker.ports import page_of
from worker.x12 import ClaimFacts


class ParkedFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which parked claims; what is None does not matter. `batch` is a batch's id or name, times are epoch seconds.

    Of several `dispositions` any will do; none means all.
    """

    dispositions: tuple[str, ...] = ()
    reason_code: str | None = None
    batch: str | None = None
    environment: str | None = None
    parked_from: float | None = None
    parked_before: float | None = None


class ParkedClaim(msgspec.Struct, frozen=True, gc=False):
    """A claim that can be sent again. `claim` is of the next generation, with what that has cost already.

    `result_id` is the result to be superseded; `disposition` and `reason_code` are that result's.
    """

    claim: Claim
    result_id: str
    disposition: str
    reason_code: str | None
    parked_at: float


class ParkedGroup(msgspec.Struct, frozen=True, gc=False):
    """How many claims of one batch are parked with the same disposition and reason."""

    batch: Batch
    disposition: str
    reason_code: str | None
    claims: int


WANTED = f"""
  AND NOT {ELSEWHERE}
  AND (:dispositions IS NULL OR r.disposition IN (SELECT value FROM json_each(:dispositions)))
  AND (:reason_code IS NULL OR r.reason_code = :reason_code)
  AND (:batch IS NULL OR b.batch_id = :batch OR b.name = :batch)
  AND (:environment IS NULL OR b.environment = :environment)
  AND (:parked_from IS NULL OR p.parked_at >= :parked_from)
  AND (:parked_before IS NULL OR p.parked_at < :parked_before)
"""  # noqa: S608 - joined from constants

FIND = f"""
SELECT b.number, b.batch_id, b.name, b.received_at, b.environment,
       p.ordinal, p.generation, p.parked_at, p.facts, p.interchange, r.disposition, r.reason_code,
       coalesce(a.attempts, 0), coalesce(a.ambiguous + a.in_flight, 0), a.first_sent_at, coalesce(a.due_at, 0.0)
FROM parked AS p
JOIN batches AS b ON b.number = p.batch_number
JOIN results AS r USING (batch_number, ordinal, generation)
LEFT JOIN attempts AS a
    ON a.batch_number = p.batch_number AND a.ordinal = p.ordinal AND a.generation = p.generation + 1
WHERE (p.batch_number, p.ordinal) > (:number, :ordinal) {WANTED}
ORDER BY p.batch_number, p.ordinal LIMIT :limit
"""  # noqa: S608 - joined from constants

GROUPS = f"""
SELECT b.number, b.batch_id, b.name, b.received_at, b.environment, r.disposition, r.reason_code, count(*)
FROM parked AS p
JOIN batches AS b ON b.number = p.batch_number
JOIN results AS r USING (batch_number, ordinal, generation)
WHERE true {WANTED}
GROUP BY b.number, r.disposition, r.reason_code ORDER BY b.number, r.disposition, r.reason_code
"""  # noqa: S608 - joined from constants

_FACTS = msgspec.json.Decoder(ClaimFacts)


def find_parked(
    db: sqlite3.Connection, wanted: ParkedFilter, after: tuple[int, int], limit: int
) -> Sequence[ParkedClaim]:
    """Read parked claims in order of batch and ordinal, from above `after` (batch number, ordinal)."""
    place = {"number": after[0], "ordinal": after[1], "limit": limit}
    found = db.execute(FIND, _parameters(wanted) | place)
    return page_of(map(parked_claim, found), lambda parked: len(parked.claim.interchange))


def count_parked(db: sqlite3.Connection, wanted: ParkedFilter) -> Sequence[ParkedGroup]:
    """Count parked claims by batch, disposition and reason, in order of batch."""
    return [ParkedGroup(Batch(*row[:5]), *row[5:]) for row in db.execute(GROUPS, _parameters(wanted))]


def _parameters(wanted: ParkedFilter) -> dict[str, Any]:
    dispositions = json.dumps(wanted.dispositions) if wanted.dispositions else None
    return msgspec.structs.asdict(wanted) | {"dispositions": dispositions}


def parked_claim(row: Sequence[Any]) -> ParkedClaim:
    """Make a parked claim of the columns of `FIND`."""
    ordinal, generation, parked_at, facts, interchange, disposition, reason_code = row[5:12]
    batch = Batch(*row[:5])
    claim = Claim(
        batch=batch,
        ordinal=ordinal,
        interchange=interchange,
        facts=_FACTS.decode(facts),
        generation=generation + 1,
        attempts=row[12],
        ambiguous_attempts=row[13],
        first_sent_at=row[14],
        due_at=row[15],
    )
    result_id = f"{batch.batch_id}:{ordinal}:{generation}"
    return ParkedClaim(claim, result_id, disposition, reason_code, parked_at)
