"""How the hot changes are written: dispatches, deferrals, results. Each is one statement, whatever their number.

Rows are given in order of their keys, so that two workers that meet at the same rows seldom wait for each other in a
circle; where they do the server ends one transaction, and it is done again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from worker.ledger.commits import AttemptRow
from worker.ports import Emission, Record
from worker.postgres.session import Connection

Key = tuple[int, int, int]

MOVE_MARKS = """
UPDATE batches SET dispatched_through = greatest(dispatched_through, mark.ordinal)
FROM unnest($1::bigint[], $2::int[]) AS mark (number, ordinal) WHERE batches.number = mark.number
"""

# Another worker that goes on with the batch may have sent claims above our mark by now.
RETRACT_MARKS = """
UPDATE batches SET dispatched_through = least(dispatched_through, mark.ordinal)
FROM unnest($1::bigint[], $2::int[]) AS mark (number, ordinal) WHERE batches.number = mark.number AND worker = $3
"""

# Of a claim that another worker goes on with, nobody but that one can say that it is not in flight.
NOTE_ATTEMPTS = """
INSERT INTO attempts
SELECT n.batch_number, n.ordinal, n.generation, n.attempts, n.ambiguous, n.first_sent_at, n.due_at,
    n.in_flight OR b.worker <> $9
FROM unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::int[], $6::float8[], $7::float8[], $8::bool[])
    AS n (batch_number, ordinal, generation, attempts, ambiguous, first_sent_at, due_at, in_flight)
JOIN batches AS b ON b.number = n.batch_number
ON CONFLICT (batch_number, ordinal, generation) DO UPDATE SET
    attempts = excluded.attempts,
    ambiguous = greatest(attempts.ambiguous, excluded.ambiguous),
    first_sent_at = coalesce(attempts.first_sent_at, excluded.first_sent_at),
    due_at = excluded.due_at,
    in_flight = excluded.in_flight
"""

STORE_RESULTS = """
INSERT INTO results (worker, seq, batch_number, ordinal, generation, disposition, reason_code, body)
SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::int[], $5::int[], $6::text[], $7::text[], $8::bytea[])
ON CONFLICT (batch_number, ordinal, generation) DO NOTHING RETURNING seq
"""

KEYS = "unnest($1::bigint[], $2::int[], $3::int[]) AS n (batch_number, ordinal, generation)"

FIND_RESULTS = f"""
SELECT r.batch_number, r.ordinal, r.generation, CASE WHEN r.worker = $4 THEN r.seq ELSE a.seq END, r.body
FROM {KEYS} JOIN results AS r USING (batch_number, ordinal, generation)
LEFT JOIN adopted AS a ON a.batch_number = r.batch_number AND a.ordinal = r.ordinal
    AND a.generation = r.generation AND a.worker = $4
"""  # noqa: S608 - joined from constants

ADOPT = f"""
INSERT INTO adopted (worker, seq, batch_number, ordinal, generation)
SELECT $4, $5 + row_number() OVER (ORDER BY r.batch_number, r.ordinal, r.generation) - 1,
    r.batch_number, r.ordinal, r.generation
FROM {KEYS} JOIN results AS r USING (batch_number, ordinal, generation) WHERE r.worker <> $4
ON CONFLICT (batch_number, ordinal, generation, worker) DO NOTHING
"""  # noqa: S608 - joined from constants

PARK = """
INSERT INTO parked
SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::float8[], $5::bytea[], $6::bytea[])
ON CONFLICT (batch_number, ordinal) DO UPDATE SET
    generation = excluded.generation, parked_at = excluded.parked_at,
    facts = excluded.facts, interchange = excluded.interchange
"""

TALLY = """
INSERT INTO tallies SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[])
ON CONFLICT (batch_number, disposition) DO UPDATE SET claims = tallies.claims + excluded.claims
"""

COUNT_SUPERSEDED = f"""
SELECT n.batch_number, earlier.disposition, count(*) FROM {KEYS}
CROSS JOIN LATERAL (
    SELECT e.disposition FROM results AS e
    WHERE e.batch_number = n.batch_number AND e.ordinal = n.ordinal AND e.generation < n.generation
    ORDER BY e.generation DESC LIMIT 1) AS earlier
GROUP BY n.batch_number, earlier.disposition
"""  # noqa: S608 - joined from constants

SUPERSEDE = (
    f"DELETE FROM parked AS p USING {KEYS}"  # noqa: S608 - joined from constants
    " WHERE p.batch_number = n.batch_number AND p.ordinal = n.ordinal AND p.generation < n.generation",
    f"DELETE FROM attempts AS a USING {KEYS}"  # noqa: S608 - joined from constants
    " WHERE a.batch_number = n.batch_number AND a.ordinal = n.ordinal AND a.generation <= n.generation",
)

# A batch that was purged holds something again.
FILL_AGAIN = "UPDATE batches SET content = 'going' WHERE content = 'gone' AND number = ANY($1::bigint[])"


async def move_marks(connection: Connection, marks: Mapping[int, int]) -> None:
    """Note for each batch the highest ordinal whose first attempt is about to be made."""
    await connection.execute(MOVE_MARKS, *columns(sorted(marks.items()), 2))


async def retract_marks(connection: Connection, marks: Mapping[int, int], worker: int) -> None:
    """Note for each batch that is still ours that nothing above this ordinal was sent."""
    await connection.execute(RETRACT_MARKS, *columns(sorted(marks.items()), 2), worker)


async def note_attempts(connection: Connection, rows: Sequence[AttemptRow], worker: int) -> None:
    """Note later attempts about to be made, and failed ones, in the order of the calls."""
    folded: dict[Key, AttemptRow] = {}
    for row in rows:
        folded[row[:3]] = _folded(folded.get(row[:3]), row)
    await connection.execute(NOTE_ATTEMPTS, *columns([folded[key] for key in sorted(folded)], 8), worker)


async def store_results(
    connection: Connection, records: Sequence[Record], worker: int, next_seq: int, now: float
) -> tuple[list[Emission], int]:
    """Store each result once; tell what stands in our outbox of them, and the next free place there."""
    rows = [
        (seq, one.batch_number, one.ordinal, one.generation, one.disposition, one.reason_code, one.body)
        for seq, one in enumerate(records, next_seq)
    ]
    stored = {row[0] for row in await connection.fetch(STORE_RESULTS, worker, *columns(rows, 7))}
    after = next_seq + len(records)
    fresh = [record for seq, record in enumerate(records, next_seq) if seq in stored]
    if len(fresh) == len(records):
        emissions = [_emission((seq, record.body), record) for seq, record in enumerate(records, next_seq)]
    else:
        known, after = await _known(connection, records, worker, after)
        emissions = [_emission(known[_key(record)], record) for record in records]
    await _count(connection, fresh, now)
    return emissions, after


async def adopt(connection: Connection, keys: Sequence[Key], worker: int, next_seq: int) -> int:
    """Give other workers' results a place in our outbox, each once; tells the next free place there."""
    await connection.execute(ADOPT, *columns(keys, 3), worker, next_seq)
    return next_seq + len(keys)


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows into columns, for `unnest`."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _folded(known: AttemptRow | None, later: AttemptRow) -> AttemptRow:
    """Make one note of two of the same claim; a statement may change a row once only."""
    if known is None:
        return later
    first_sent_at = known[5] if known[5] is not None else later[5]
    return (*later[:4], max(known[4], later[4]), first_sent_at, *later[6:])


async def _known(
    connection: Connection, records: Sequence[Record], worker: int, next_seq: int
) -> tuple[dict[Key, tuple[int, bytes]], int]:
    keys = columns(sorted({_key(record) for record in records}), 3)
    rows = await connection.fetch(FIND_RESULTS, *keys, worker)
    others = [tuple(row[:3]) for row in rows if row[3] is None]
    if others:
        next_seq = await adopt(connection, others, worker, next_seq)
        rows = await connection.fetch(FIND_RESULTS, *keys, worker)
    return {tuple(row[:3]): (row[3], row[4]) for row in rows}, next_seq


async def _count(connection: Connection, fresh: Sequence[Record], now: float) -> None:
    parked = {(one.batch_number, one.ordinal): _parked(one, now) for one in fresh if one.parked is not None}
    if parked:
        await connection.execute(PARK, *columns([parked[key] for key in sorted(parked)], 6))
    tally = Counter((record.batch_number, record.disposition) for record in fresh)
    # After the parking: what an earlier generation of the same group parked goes, too.
    if replayed := sorted(_key(record) for record in fresh if record.generation > 1):
        tally.subtract(await _supersede(connection, replayed))
    if tally:
        await connection.execute(TALLY, *columns([(*key, claims) for key, claims in sorted(tally.items())], 3))


async def _supersede(connection: Connection, replayed: Sequence[Key]) -> Counter[tuple[int, str]]:
    keys = columns(replayed, 3)
    counted = Counter({(row[0], row[1]): row[2] for row in await connection.fetch(COUNT_SUPERSEDED, *keys)})
    for statement in SUPERSEDE:
        await connection.execute(statement, *keys)
    await connection.execute(FILL_AGAIN, sorted({key[0] for key in replayed}))
    return counted


def _key(record: Record) -> Key:
    return record.batch_number, record.ordinal, record.generation


def _emission(stored: tuple[int, bytes], record: Record) -> Emission:
    return Emission(stored[0], record.batch_number, record.result_id, stored[1])


def _parked(record: Record, now: float) -> tuple[Any, ...]:
    claim = record.parked
    if claim is None:
        raise ValueError("ledger: nothing is parked")
    return (*_key(record), now, msgspec.json.encode(claim.facts), claim.interchange)
