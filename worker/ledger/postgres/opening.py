"""Deliveries recognised or new, across the fleet; what is known of them; whose they are from now on.

::

    lock the first digits of the new bytes ─▶ known? ─▶ else add ─▶ ours from now on ─▶ adopt results ─▶ recall

Without the lock two workers that open equal bytes in the same moment would not see each other's batch. It lasts to the
end of the transaction, and each worker takes its locks in order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from worker.claim import ID_DIGITS, Batch
from worker.crashpoint import crashpoint
from worker.ledger.batches import spelled_id
from worker.ledger.postgres.changes import columns
from worker.ledger.postgres.tenure import LIVING, Tenure
from worker.ports import Arrival, OpenedBatch, Spent
from worker.postgres.session import Connection

Delivered = tuple[str, str]  # sha256, ref

LOCK_STEMS = """
SELECT pg_advisory_xact_lock(hashoid('batches'::regclass::oid), stems.hash)
FROM (SELECT DISTINCT hashtext(stem) AS hash FROM unnest($1::text[]) AS given (stem) ORDER BY 1) AS stems
"""

FIND_DELIVERIES = """
SELECT b.sha256, b.ref, b.number, b.batch_id, b.name, b.received_at, b.environment
FROM unnest($1::text[], $2::text[]) AS a (sha256, ref)
JOIN batches AS b ON b.sha256 = a.sha256 AND b.ref = a.ref AND b.environment = $3
"""

# By the stem and not the whole digest: two that share a stem must not share an id. "g" follows the hex digits.
LAST_EARLIER = """
SELECT s.stem, max(CASE WHEN b.batch_id = s.stem THEN 1 ELSE substr(b.batch_id, length(s.stem) + 2)::int END)
FROM unnest($1::text[]) AS s (stem) JOIN batches AS b ON b.sha256 >= s.stem AND b.sha256 < s.stem || 'g'
GROUP BY s.stem
"""

ADD_BATCHES = """
INSERT INTO batches (batch_id, sha256, ref, name, size, received_at, total, dispatched_through,
    environment, opened_at, worker, session, made_in)
SELECT a.batch_id, a.sha256, a.ref, a.name, a.size, a.received_at, a.total, a.reserved, $9, $10, $11, $12, $12
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::float8[], $7::int[], $8::int[])
    WITH ORDINALITY AS a (batch_id, sha256, ref, name, size, received_at, total, reserved, place)
ORDER BY a.place RETURNING batch_id, number
"""

MAKE_OURS = """
UPDATE batches SET worker = $2, session = $3
WHERE number = ANY($1::bigint[]) AND finished_at IS NULL AND (worker, session) IS DISTINCT FROM ($2, $3)
"""

# So that they reach our sinks: the worker that stored them may be gone for good.
ADOPT_ALL = """
INSERT INTO adopted (worker, seq, batch_number, ordinal, generation)
SELECT $2, $3 + row_number() OVER (ORDER BY r.batch_number, r.ordinal, r.generation) - 1,
    r.batch_number, r.ordinal, r.generation
FROM results AS r JOIN batches AS b ON b.number = r.batch_number
WHERE r.batch_number = ANY($1::bigint[]) AND r.worker <> $2 AND b.finished_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM adopted AS a WHERE a.batch_number = r.batch_number AND a.ordinal = r.ordinal
        AND a.generation = r.generation AND a.worker = $2)
RETURNING seq
"""

FIND_EQUALS = """
SELECT DISTINCT ON (o.number, b.finished_at IS NOT NULL)
    o.number, b.finished_at IS NOT NULL, b.worker, b.session,
    b.number, b.batch_id, b.name, b.received_at, b.environment
FROM batches AS o JOIN batches AS b
    ON b.sha256 = o.sha256 AND b.environment = o.environment AND b.number < o.number AND b.content = 'kept'
WHERE o.number = ANY($1::bigint[]) ORDER BY o.number, b.finished_at IS NOT NULL, b.number
"""

RESERVE = """
UPDATE batches SET dispatched_through = CASE WHEN r.ordinal = 0 THEN 0 ELSE greatest(dispatched_through, r.ordinal) END
FROM unnest($1::bigint[], $2::int[]) AS r (number, ordinal) WHERE batches.number = r.number
"""

RECALL = """
SELECT b.number, b.dispatched_through, b.total, b.finished_at IS NOT NULL AS done, b.made_in,
    (SELECT array_agg(r.ordinal) FROM results AS r WHERE r.batch_number = b.number) AS answered,
    greatest((SELECT max(r.seq) FROM results AS r WHERE r.batch_number = b.number AND r.worker = $2),
        (SELECT max(a.seq) FROM adopted AS a WHERE a.batch_number = b.number AND a.worker = $2), 0) AS last_seq
FROM batches AS b WHERE b.number = ANY($1::bigint[])
"""

# An attempt in flight when its worker died, or lost the batch: nobody knows what became of it.
FIND_SPENT = """
SELECT a.batch_number, a.ordinal, a.attempts, a.ambiguous + a.in_flight::int, a.first_sent_at, a.due_at
FROM attempts AS a WHERE a.batch_number = ANY($1::bigint[]) AND a.generation = 1
"""


class Opening:
    """Opens deliveries for one worker, in one environment.

    `doubtful` are those of whose opening no answer came: if it was done all the same, they are as new as before.
    """

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self.doubtful: set[Delivered] = set()

    async def opened(
        self, connection: Connection, tenure: Tenure, next_seq: int, arrivals: Sequence[Arrival], now: float
    ) -> tuple[list[OpenedBatch], int]:
        """Find or add each delivery's batch and make it ours; tells the next free place in our outbox, too."""
        deliveries: dict[Delivered, Arrival] = {}
        for arrival in arrivals:
            deliveries.setdefault((arrival.sha256, arrival.ref), arrival)
        await connection.execute(LOCK_STEMS, sorted({_stem(sha256) for sha256, _ in deliveries}))
        rows = await connection.fetch(FIND_DELIVERIES, *columns(list(deliveries), 2), self._environment)
        batches = {(row[0], row[1]): Batch(*row[2:]) for row in rows}
        known = {batch.number for batch in batches.values()}
        fresh = {key: arrival for key, arrival in deliveries.items() if key not in batches}
        batches |= await self._add(connection, tenure, fresh, now)
        equals = await _find_equals(connection, tenure, [batch.number for batch in batches.values()])
        recalled: dict[int, OpenedBatch] = {}
        if known:
            await connection.execute(MAKE_OURS, list(known), tenure.worker, tenure.session)
            adopted = await connection.fetch(ADOPT_ALL, list(known), tenure.worker, next_seq)
            next_seq += len(adopted)
            found = {batch.number: (key, batch) for key, batch in batches.items() if batch.number in known}
            recalled = await self._recalled(connection, tenure, found, deliveries, equals)
        unlike = {number: one.reserved for number, one in recalled.items() if one.reserved}
        for key, arrival in fresh.items():
            one = recalled[batches[key].number] = _as_new(batches[key], arrival, equals)
            if one.reserved != arrival.reserved:
                unlike[one.batch.number] = one.reserved
        if unlike:
            await connection.execute(RESERVE, *columns(sorted(unlike.items()), 2))
        return _in_order(arrivals, batches, recalled, known), next_seq

    async def _add(
        self, connection: Connection, tenure: Tenure, fresh: Mapping[Delivered, Arrival], now: float
    ) -> dict[Delivered, Batch]:
        if not fresh:
            return {}
        stems = sorted({_stem(sha256) for sha256, _ in fresh})
        earlier: dict[str, int] = {row[0]: row[1] for row in await connection.fetch(LAST_EARLIER, stems)}
        rows, names = [], {}
        for key, arrival in fresh.items():
            stem = _stem(arrival.sha256)
            earlier[stem] = earlier.get(stem, 0) + 1
            names[key] = spelled_id(stem, earlier[stem])
            # PostgreSQL knows no NUL in a text, so another sign stands for it.
            name = arrival.name.replace("\0", "\ufffd")
            delivered = (name, arrival.size, arrival.received_at, arrival.total, arrival.reserved)
            rows.append((names[key], *key, *delivered))
        ours = (self._environment, now, tenure.worker, tenure.session)
        numbers: dict[str, int] = {
            row[0]: row[1] for row in await connection.fetch(ADD_BATCHES, *columns(rows, 8), *ours)
        }
        return {
            key: Batch(numbers[names[key]], names[key], arrival.name, arrival.received_at, self._environment)
            for key, arrival in fresh.items()
        }

    async def _recalled(
        self,
        connection: Connection,
        tenure: Tenure,
        found: Mapping[int, tuple[Delivered, Batch]],
        deliveries: Mapping[Delivered, Arrival],
        equals: Mapping[int, dict[str, Any]],
    ) -> dict[int, OpenedBatch]:
        spent: dict[int, dict[int, Spent]] = {}
        for number, ordinal, *cost in await connection.fetch(FIND_SPENT, list(found)):
            spent.setdefault(number, {})[ordinal] = Spent(*cost)
        recalled = {}
        for row in await connection.fetch(RECALL, list(found), tenure.worker):
            number = row["number"]
            key, batch = found[number]
            answered = frozenset[int](row["answered"] or ())
            costs = {ordinal: cost for ordinal, cost in spent.get(number, {}).items() if ordinal not in answered}
            untouched = not (answered or costs or row["done"])
            if untouched and key in self.doubtful and row["made_in"] == tenure.session:
                recalled[number] = _as_new(batch, deliveries[key], equals)
            else:
                recalled[number] = OpenedBatch(
                    batch=batch,
                    answered=answered,
                    dispatched_through=row["dispatched_through"],
                    spent=costs,
                    last_seq=row["last_seq"],
                    total=row["total"],
                    done=row["done"],
                    **equals.get(number, {}),
                )
        crashpoint("recovery_recalled")
        return recalled


async def _find_equals(connection: Connection, tenure: Tenure, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Find the first equal batch before each of these that has one: the original, or the one to wait for."""
    rows = await connection.fetch(FIND_EQUALS, numbers)
    equals: dict[int, dict[str, Any]] = {row[0]: {"original": Batch(*row[4:])} for row in rows if row[1]}
    waited = [row for row in rows if row[0] not in equals]
    if any(row[2] != tenure.worker for row in waited):
        living = {tuple(row) for row in await connection.fetch(LIVING)}
    else:
        living = set()
    for row in waited:
        there = row[2] != tenure.worker and (row[2], row[3]) in living
        equals[row[0]] = {"awaited": Batch(*row[4:]), "awaited_elsewhere": there}
    return equals


def _as_new(batch: Batch, arrival: Arrival, equals: Mapping[int, dict[str, Any]]) -> OpenedBatch:
    alike = equals.get(batch.number, {})
    reserved = 0 if "awaited" in alike else arrival.reserved
    return OpenedBatch(batch=batch, total=arrival.total, reserved=reserved, **alike)


def _in_order(
    arrivals: Sequence[Arrival],
    batches: Mapping[Delivered, Batch],
    opened: Mapping[int, OpenedBatch],
    known: set[int],
) -> list[OpenedBatch]:
    """Give each arrival its batch; the same delivery once more in one call is known by then."""
    given: set[int] = set()
    ordered = []
    for arrival in arrivals:
        one = opened[batches[arrival.sha256, arrival.ref].number]
        if one.batch.number in given - known:
            one = msgspec.structs.replace(one, reserved=0, dispatched_through=one.reserved)
        given.add(one.batch.number)
        ordered.append(one)
    return ordered


def _stem(sha256: str) -> str:
    return sha256[:ID_DIGITS]
