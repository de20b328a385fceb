"""Bringing a ledger of schema 1 up to date: written anew beside it, then put in its place, whole or not at all.

Schema 1 kept each result's record, and its transaction id, in the result's own row. A new file rather than a change
in place: it needs no more room than the content has (a fifth of the old file's), it leaves none of that empty, and
until the new one has its name the old one is as it was.
"""

import sqlite3
import time
from pathlib import Path

import structlog

from worker.errors import StateError
from worker.ledger.packs import add_packs
from worker.ledger.schema import create

UNCHANGED = ("batches", "attempts", "tallies", "parked", "sinks", "notes")
AT_ONCE = 1024

COPY_RESULTS = """
INSERT INTO main.results SELECT seq, batch_number, ordinal, generation, disposition, reason_code FROM old.results
"""

FIND_RECORDS = "SELECT seq, body FROM old.results ORDER BY seq"

# What was purged has left its number behind; none is given twice.
COPY_LAST_NUMBERS = (
    "DELETE FROM main.sqlite_sequence",
    "INSERT INTO main.sqlite_sequence SELECT name, seq FROM old.sqlite_sequence",
)


def migrate(path: Path) -> None:
    """Replace the ledger of schema 1 at `path` by one of today's with the same content; call it under the lock.

    About 20 s for a million results; nothing else can be done meanwhile.

    :raises StateError: if it cannot be read or the new one not be written; the old one keeps its name and content.
    """
    began = time.monotonic()
    _fold_log(path)
    create(path, lambda db: _copy(path, db))
    structlog.get_logger().info("ledger.migrated", elapsed_s=round(time.monotonic() - began, 1))


def _fold_log(path: Path) -> None:
    # A log left beside it would be taken for the new file's.
    db = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        (mode,) = db.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError:
        mode = ""
    finally:
        db.close()
    if mode != "delete":
        raise StateError(f"ledger: {path} is of an older version and is being read; start again once nothing reads it")


def _copy(path: Path, db: sqlite3.Connection) -> None:
    db.execute("ATTACH ? AS old", (f"{path.as_uri()}?mode=ro",))
    db.execute("BEGIN")
    for table in UNCHANGED:
        db.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")  # noqa: S608 - constants
    db.execute(COPY_RESULTS)
    records = db.execute(FIND_RECORDS)
    while some := records.fetchmany(AT_ONCE):
        add_packs(db, some)
    for statement in COPY_LAST_NUMBERS:
        db.execute(statement)
    db.execute("COMMIT")
    db.execute("DETACH old")
