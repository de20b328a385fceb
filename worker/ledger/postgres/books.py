"""What is asked of a shared ledger by those who look at batches: their books, what is parked, what a repeat supersedes.

The questions are those of a ledger in a file (`worker.ledger.balance`, `parked`, `superseding`), in PostgreSQL's words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.claim import Batch
from worker.ledger.balance import Balance, balanced
from worker.ledger.parked import ParkedClaim, ParkedFilter, ParkedGroup, parked_claim
from worker.ledger.postgres.changes import columns
from worker.ledger.postgres.pages import paged
from worker.ports import BatchSummary, Earlier, ReplayBatch, Spent
from worker.postgres.session import Connection

BATCH = "b.number, b.batch_id, b.name, b.received_at, b.environment"

BALANCE = f"""
SELECT {BATCH}, b.finished_at IS NOT NULL, b.total, b.content,
    (SELECT count(DISTINCT r.ordinal) FROM results AS r WHERE r.batch_number = b.number),
    (SELECT max(r.ordinal) FROM results AS r WHERE r.batch_number = b.number),
    (SELECT count(*) FROM parked AS p WHERE p.batch_number = b.number),
    coalesce((SELECT json_object_agg(t.disposition, t.claims)::text FROM tallies AS t
        WHERE t.batch_number = b.number AND t.claims <> 0), '{{}}'),
    false
FROM batches AS b
WHERE b.number > $1 AND (b.number > $2 OR b.number = ANY($3::bigint[])) AND ($4::int IS NULL OR b.worker = $4)
ORDER BY b.number LIMIT $5
"""  # noqa: S608 - joined from constants

WANTED = """
    AND ($1::text[] IS NULL OR r.disposition = ANY($1))
    AND ($2::text IS NULL OR r.reason_code = $2)
    AND ($3::text IS NULL OR b.batch_id = $3 OR b.name = $3)
    AND ($4::text IS NULL OR b.environment = $4)
    AND ($5::float8 IS NULL OR p.parked_at >= $5)
    AND ($6::float8 IS NULL OR p.parked_at < $6)
"""

PARKED = paged(
    f"""
SELECT {BATCH}, p.ordinal, p.generation, p.parked_at, p.facts, p.interchange, r.disposition, r.reason_code,
    coalesce(a.attempts, 0), coalesce(a.ambiguous + a.in_flight::int, 0), a.first_sent_at, coalesce(a.due_at, 0.0)
FROM parked AS p JOIN batches AS b ON b.number = p.batch_number
JOIN results AS r USING (batch_number, ordinal, generation)
LEFT JOIN attempts AS a
    ON a.batch_number = p.batch_number AND a.ordinal = p.ordinal AND a.generation = p.generation + 1
WHERE (p.batch_number, p.ordinal) > ($7, $8) {WANTED}
ORDER BY p.batch_number, p.ordinal LIMIT $9
""",  # noqa: S608 - joined from constants
    "interchange",
    order="number, ordinal",
)

PARKED_GROUPS = f"""
SELECT {BATCH}, r.disposition, r.reason_code, count(*)
FROM parked AS p JOIN batches AS b ON b.number = p.batch_number
JOIN results AS r USING (batch_number, ordinal, generation)
WHERE true {WANTED}
GROUP BY b.number, r.disposition, r.reason_code ORDER BY b.number, r.disposition, r.reason_code NULLS FIRST
"""  # noqa: S608 - joined from constants

REPLAY_BATCHES = f"""
SELECT {BATCH}, w.claims, b.total, b.finished_at IS NOT NULL,
    greatest((SELECT max(r.seq) FROM results AS r WHERE r.batch_number = b.number AND r.worker = $3), 0)
FROM unnest($1::bigint[], $2::int[]) AS w (number, claims) JOIN batches AS b USING (number) ORDER BY b.number
"""  # noqa: S608 - joined from constants

GENERATIONS = "SELECT ordinal, max(generation) FROM results WHERE batch_number = $1 GROUP BY ordinal"

# What a repeat that was cut off by a crash has cost; of an attempt in flight the outcome is unknown.
SPENT = """
SELECT ordinal, generation, attempts, ambiguous + in_flight::int, first_sent_at, due_at FROM attempts
WHERE batch_number = $1 AND generation > 1
"""

SUMMARIES = f"""
SELECT {BATCH}, b.finished_at IS NULL, b.total,
    (SELECT count(*) FROM parked AS p WHERE p.batch_number = b.number),
    (SELECT count(*) FROM attempts AS a WHERE a.batch_number = b.number AND NOT EXISTS (
        SELECT 1 FROM results AS r
        WHERE r.batch_number = a.batch_number AND r.ordinal = a.ordinal AND r.generation = a.generation))
FROM batches AS b WHERE NOT $1 OR (b.finished_at IS NULL AND b.content <> 'gone') ORDER BY b.number DESC LIMIT $2
"""  # noqa: S608 - joined from constants

COUNTS = """
SELECT batch_number, disposition, claims FROM tallies WHERE batch_number = ANY($1::bigint[]) AND claims > 0
"""


async def find_balances(
    connection: Connection, newer_than: int, also: Sequence[int], after: int, limit: int, worker: int | None
) -> Sequence[Balance]:
    """Balance the batches newer than a number, and those in `also`; of one worker, if it is named."""
    after = max(after, min(newer_than, *(number - 1 for number in also)) if also else newer_than)
    rows = await connection.fetch(BALANCE, after, newer_than, list(also), worker, limit)
    return [balanced(tuple(row)) for row in rows]


async def find_parked(
    connection: Connection, wanted: ParkedFilter, after: tuple[int, int], limit: int
) -> Sequence[ParkedClaim]:
    """Read parked claims in order of batch and ordinal, from above `after` (batch number, ordinal)."""
    return [parked_claim(tuple(row)) for row in await connection.fetch(PARKED, *_wanted(wanted), *after, limit)]


async def count_parked(connection: Connection, wanted: ParkedFilter) -> Sequence[ParkedGroup]:
    """Count parked claims by batch, disposition and reason, in order of batch."""
    rows = await connection.fetch(PARKED_GROUPS, *_wanted(wanted))
    return [ParkedGroup(Batch(*row[:5]), *row[5:]) for row in rows]


async def find_replay_batches(connection: Connection, claims: Mapping[int, int], worker: int) -> list[ReplayBatch]:
    """Describe the batches that `claims` maps to how many of their claims are sent again, in order of number."""
    rows = await connection.fetch(REPLAY_BATCHES, *columns(sorted(claims.items()), 2), worker)
    return [ReplayBatch(Batch(*row[:5]), *row[5:]) for row in rows]


async def find_earlier(connection: Connection, number: int) -> Earlier:
    """Read the latest generation of each answered claim of the batch, and what its next one has cost."""
    generations: dict[int, int] = {row[0]: row[1] for row in await connection.fetch(GENERATIONS, number)}
    spent = {
        row[0]: Spent(*row[2:])
        for row in await connection.fetch(SPENT, number)
        if row[1] == generations.get(row[0], 0) + 1
    }
    return Earlier(generations, spent)


async def summarise(connection: Connection, only_open: bool, limit: int) -> list[BatchSummary]:
    """Describe the newest batches, newest first."""
    rows = await connection.fetch(SUMMARIES, only_open, limit)
    counts: dict[int, dict[str, int]] = {row[0]: {} for row in rows}
    for number, disposition, claims in await connection.fetch(COUNTS, list(counts)):
        counts[number][disposition] = claims
    return [
        BatchSummary(
            batch=Batch(*row[:5]),
            state="open" if row[5] else "done",
            total=row[6],
            counts=counts[row[0]],
            parked=row[7],
            in_retry=row[8],
        )
        for row in rows
    ]


def _wanted(wanted: ParkedFilter) -> tuple[Any, ...]:
    return (
        list(wanted.dispositions) or None,
        wanted.reason_code,
        wanted.batch,
        wanted.environment,
        wanted.parked_from,
        wanted.parked_before,
    )
