"""Batches that this ledger knows and another one goes on with.

A dead worker's batch is imported by the ledger of the worker that takes it over, and set aside in the dead one's. Which
of them works on it is told by the file alone: the ledger that opens it brings the batch back, in the same transaction.
Until then such a batch is neither open nor done here; its results stay, its parked claims are not offered. What a
worker has noted, not begun and put back into the folder at its end is set aside as well: anybody may find it there.

It is a note, not a column, so that a worker of an earlier version still opens the ledger.
"""

import sqlite3
from collections.abc import Sequence

from worker.ledger.rows import write_rows

PREFIX = "elsewhere:"

ELSEWHERE = "EXISTS (SELECT 1 FROM notes WHERE notes.key = 'elsewhere:' || b.number)"
"""Asks it of the batch ``b``."""

END = "UPDATE batches SET finished_at = ? WHERE finished_at IS NULL AND number IN ({rows})"

NOTE = "INSERT OR REPLACE INTO notes VALUES {rows}"

RESUME = f"""
UPDATE batches AS b SET finished_at = NULL, content = iif(content = 'gone', 'going', content)
WHERE number IN ({{rows}}) AND {ELSEWHERE}
"""  # noqa: S608 - joined from constants

FORGET = "DELETE FROM notes WHERE key IN ({rows})"


def set_aside(db: sqlite3.Connection, numbers: Sequence[int], now: float) -> None:
    """Note that another ledger goes on with these batches, none of which is done."""
    write_rows(db, END, [(number,) for number in numbers], leading=(now,))
    write_rows(db, NOTE, [(f"{PREFIX}{number}", str(round(now))) for number in numbers])


def bring_back(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Note that those of these batches that were set aside are worked on here again."""
    write_rows(db, RESUME, [(number,) for number in numbers])
    forget(db, numbers)


def forget(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Drop the note of these batches alone."""
    write_rows(db, FORGET, [(f"{PREFIX}{number}",) for number in numbers])
