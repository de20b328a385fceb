"""What is known of batches opened before: what was answered, what may have been sent, what that cost."""

import sqlite3
from collections.abc import Sequence

from worker.crashpoint import crashpoint
from worker.ledger.batches import Found
from worker.ledger.rows import read_rows
from worker.ports import OpenedBatch, Spent

FIND_STATES = """
WITH recalled (number) AS (VALUES {rows})
SELECT b.number, b.dispatched_through, b.total, b.finished_at FROM recalled JOIN batches AS b USING (number)
"""

# One row a batch, not one a result: each row read is another turn at the interpreter's lock.
FIND_ANSWERED = """
WITH recalled (number) AS (VALUES {rows})
SELECT r.batch_number, max(r.seq), group_concat(r.ordinal)
FROM recalled JOIN results AS r ON r.batch_number = recalled.number GROUP BY r.batch_number
"""

# The claim in flight when its process died: nobody knows what became of that attempt.
FIND_SPENT = """
WITH recalled (number) AS (VALUES {rows})
SELECT a.batch_number, a.ordinal, a.attempts, a.ambiguous + a.in_flight, a.first_sent_at, a.due_at
FROM recalled JOIN attempts AS a ON a.batch_number = recalled.number WHERE a.generation = 1
"""


def recall(db: sqlite3.Connection, batches: Sequence[Found]) -> list[OpenedBatch]:
    """Read all that is known of batches opened before."""
    keys = [(number,) for number in {one.batch.number for one in batches}]
    states = {number: state for number, *state in read_rows(db, FIND_STATES, keys)}
    answered = {
        number: (last_seq, frozenset(map(int, ordinals.split(","))))
        for number, last_seq, ordinals in read_rows(db, FIND_ANSWERED, keys)
    }
    spent: dict[int, dict[int, Spent]] = {}
    for number, ordinal, *cost in read_rows(db, FIND_SPENT, keys):
        spent.setdefault(number, {})[ordinal] = Spent(*cost)
    recalled = []
    for batch, _, original, awaited in batches:
        through, total, finished_at = states[batch.number]
        last_seq, ordinals = answered.get(batch.number, (0, frozenset[int]()))
        costs = spent.get(batch.number, {})
        recalled.append(
            OpenedBatch(
                batch=batch,
                answered=ordinals,
                dispatched_through=through,
                spent={ordinal: cost for ordinal, cost in costs.items() if ordinal not in ordinals},
                last_seq=max(last_seq, 0),  # below are those that another ledger has told
                total=total,
                done=finished_at is not None,
                original=original,
                awaited=awaited,
            )
        )
    crashpoint("recovery_recalled")
    return recalled
