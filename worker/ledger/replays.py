"""How a replay's result takes the place of the earlier one: in the counts, among the parked, among the attempts."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

from worker.ledger.rows import read_rows, write_rows
from worker.ports import Record

COUNT_SUPERSEDED = """
WITH replayed (batch_number, ordinal, generation) AS (VALUES {rows})
SELECT earlier.batch_number, earlier.disposition, count(*)
FROM replayed AS n JOIN results AS earlier ON earlier.seq = (
    SELECT e.seq FROM results AS e
    WHERE e.batch_number = n.batch_number AND e.ordinal = n.ordinal AND e.generation < n.generation
    ORDER BY e.generation DESC LIMIT 1)
GROUP BY earlier.batch_number, earlier.disposition
"""

DELETE_PARKED = """
DELETE FROM parked WHERE rowid IN (
    WITH replayed (batch_number, ordinal, generation) AS (VALUES {rows})
    SELECT p.rowid FROM replayed AS n JOIN parked AS p
    ON p.batch_number = n.batch_number AND p.ordinal = n.ordinal AND p.generation < n.generation)
"""

DELETE_ATTEMPTS = """
DELETE FROM attempts WHERE (batch_number, ordinal, generation) IN (
    WITH replayed (batch_number, ordinal, generation) AS (VALUES {rows})
    SELECT a.batch_number, a.ordinal, a.generation FROM replayed AS n JOIN attempts AS a
    ON a.batch_number = n.batch_number AND a.ordinal = n.ordinal AND a.generation <= n.generation)
"""

# A batch that was purged holds something again.
FILL_AGAIN = "UPDATE batches SET content = 'going' WHERE content = 'gone' AND number IN ({rows})"


def supersede(db: sqlite3.Connection, replayed: Sequence[Record]) -> Counter[tuple[int, str]]:
    """Forget what these results replace; tells how many of which disposition were counted for each batch."""
    keys = [(record.batch_number, record.ordinal, record.generation) for record in replayed]
    counted: Counter[tuple[int, str]] = Counter()
    for number, disposition, claims in read_rows(db, COUNT_SUPERSEDED, keys):
        counted[number, disposition] += claims
    write_rows(db, DELETE_PARKED, keys)
    write_rows(db, DELETE_ATTEMPTS, keys)
    write_rows(db, FILL_AGAIN, [(number,) for number in {key[0] for key in keys}])
    return counted
