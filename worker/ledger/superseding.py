"""What is asked before claims are sent again: which results that supersedes, how their batches stand."""

import sqlite3
from collections.abc import Mapping

from worker.claim import Batch
from worker.ledger.rows import read_rows
from worker.ports import Earlier, ReplayBatch, Spent

FIND_GENERATIONS = "SELECT ordinal, max(generation) FROM results WHERE batch_number = ? GROUP BY ordinal"

# What a repeat that was cut off by a crash has cost; of an attempt in flight the outcome is unknown.
FIND_SPENT = """
SELECT a.ordinal, a.generation, a.attempts, a.ambiguous + a.in_flight, a.first_sent_at, a.due_at
FROM attempts AS a WHERE a.batch_number = ? AND a.generation > 1
"""

FIND_BATCHES = """
WITH wanted (number, claims) AS (VALUES {rows})
SELECT b.number, b.batch_id, b.name, b.received_at, b.environment, w.claims, b.total, b.finished_at IS NOT NULL,
    coalesce((SELECT max(r.seq) FROM results AS r WHERE r.batch_number = b.number), 0)
FROM wanted AS w JOIN batches AS b USING (number)
"""

FIND_OPEN = "SELECT number FROM batches WHERE finished_at IS NULL AND content <> 'gone' ORDER BY number"


def earlier_results(db: sqlite3.Connection, number: int) -> Earlier:
    """Read the latest generation of each answered claim of the batch, and what its next one has cost."""
    generations: dict[int, int] = dict(db.execute(FIND_GENERATIONS, (number,)))
    spent = {
        ordinal: Spent(*cost)
        for ordinal, generation, *cost in db.execute(FIND_SPENT, (number,))
        if generation == generations.get(ordinal, 0) + 1
    }
    return Earlier(generations, spent)


def replay_batches(db: sqlite3.Connection, claims: Mapping[int, int]) -> list[ReplayBatch]:
    """Describe the batches that `claims` maps to how many of their claims are sent again, in order of number."""
    rows = sorted(read_rows(db, FIND_BATCHES, list(claims.items())))
    return [
        ReplayBatch(Batch(*batch), many, total, bool(done), last_seq) for *batch, many, total, done, last_seq in rows
    ]


def newest_batch(db: sqlite3.Connection) -> int:
    """Tell the number of the batch that was opened last; 0 if there is none."""
    (newest,) = db.execute("SELECT max(number) FROM batches").fetchone()
    return newest or 0


def open_batches(db: sqlite3.Connection) -> list[int]:
    """Tell the numbers of the batches that are being worked on."""
    return [number for (number,) in db.execute(FIND_OPEN)]
