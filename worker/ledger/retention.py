"""Retention: what was delivered long ago is deleted, overwritten in the file, and the room given back."""

import json
import sqlite3
from collections.abc import Sequence

from worker.ledger.elsewhere import ELSEWHERE
from worker.ledger.packs import thin_packs
from worker.ledger.rows import write_rows

ROWS_A_STEP = 500  # about 10 ms of writing, so that a commit never waits long for a purge
BATCHES_A_STEP = 64  # small ones that were answered together share packs
PAGES_A_STEP = 1024
LEFT_S = 86_400  # a batch that another ledger goes on with may come back

# Through the primary key ("+" keeps the index out): what no sink has taken yet is little or nothing.
FIND_EXPIRED = f"""
SELECT number FROM batches AS b
WHERE content <> 'gone' AND finished_at < :before
  AND (finished_at < :before - {LEFT_S} OR NOT {ELSEWHERE})
  AND NOT EXISTS (SELECT 1 FROM results AS r WHERE r.seq > :through AND +r.batch_number = b.number)
ORDER BY finished_at LIMIT 10000
"""  # noqa: S608 - joined from constants

FIND_RESULTS = """
SELECT seq FROM results WHERE batch_number IN (SELECT value FROM json_each(?)) AND seq <= ? LIMIT ?
"""

DELETE_RESULTS = "DELETE FROM results WHERE seq IN (SELECT value FROM json_each(?))"

DELETE_PARKED = "DELETE FROM parked WHERE batch_number IN ({rows})"

SETTLE_CONTENT = """
UPDATE batches SET content = iif(EXISTS (SELECT 1 FROM results WHERE batch_number = number), 'going', 'gone')
WHERE number IN ({rows})
"""


def delivered_through(db: sqlite3.Connection) -> int:
    """Tell up to which `seq` all sinks that were ever noted have come; 0 if there is none."""
    (through,) = db.execute("SELECT coalesce(min(seq), 0) FROM sinks").fetchone()
    return int(through)


def find_expired(db: sqlite3.Connection, before: float, through: int) -> Sequence[int]:
    """Find batches finished before `before` of which every result has a `seq` up to `through`, oldest first."""
    return [number for (number,) in db.execute(FIND_EXPIRED, {"before": before, "through": through})]


def purge_some(db: sqlite3.Connection, numbers: Sequence[int], through: int) -> int:
    """Delete a bounded number of these batches' results, with the last also what is parked; how many were deleted."""
    places = [seq for (seq,) in db.execute(FIND_RESULTS, (json.dumps(numbers), through, ROWS_A_STEP))]
    db.execute(DELETE_RESULTS, (json.dumps(places),))
    thin_packs(db, places)
    keys = [(number,) for number in numbers]
    if len(places) < ROWS_A_STEP:
        write_rows(db, DELETE_PARKED, keys)
    # From the first step on their results are not offered as another batch's original.
    write_rows(db, SETTLE_CONTENT, keys)
    return len(places)


def give_back(db: sqlite3.Connection) -> bool:
    """Cut a bounded number of empty pages off the file; True while some are left."""
    (empty,) = db.execute("PRAGMA freelist_count").fetchone()
    # Page by page: the sqlite3 module steps a statement without columns only once.
    for _ in range(min(empty, PAGES_A_STEP)):
        db.execute("PRAGMA incremental_vacuum(1)")
    return bool(empty > PAGES_A_STEP)
