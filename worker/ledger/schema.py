"""The ledger's tables, and how one is made.

::

    batches   one row a delivery         dispatched_through: the highest ordinal whose first attempt may have begun
    attempts  one row a claim that failed at least once and has no result yet (a few rows stay until `finish`)
    results   one row a claim and generation, `seq` is the outbox's order
    packs     the encoded records of some dozens of results, compressed; `number` is the `seq` of the first
    tallies   results a batch and disposition, the latest generation of each claim only; kept after a purge
    parked    what it takes to send a claim again
    sinks     how far each sink has come
    notes     small facts

A claim that is answered at its first attempt costs one row: its result. That it was sent is told by
`dispatched_through`, which a group commit moves once for all claims of a batch in it.

No monotonic time is stored; times are seconds since the epoch. `application_id` and `user_version` stand in the
file's header, where they can be read before SQLite touches the file (sqlite.org/fileformat2.html §1.2).
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from worker.crashpoint import crashpoint
from worker.disk import sync_folder
from worker.errors import StateError
from worker.ledger.failures import translate, translate_os

APPLICATION_ID = 0x50434C47  # "PCLG"
SCHEMA_VERSION = 2
PAGE_BYTES = 4096  # a row of many small batches changes a page of an index by digest: each is written whole

TABLES = """
CREATE TABLE batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    ref TEXT NOT NULL,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    received_at REAL NOT NULL,
    opened_at REAL NOT NULL,
    dispatched_through INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    finished_at REAL,
    content TEXT NOT NULL DEFAULT 'kept' CHECK (content IN ('kept', 'going', 'gone'))
);
CREATE UNIQUE INDEX batches_by_delivery ON batches (sha256, ref, environment);
CREATE INDEX batches_with_content ON batches (finished_at) WHERE content <> 'gone';

CREATE TABLE attempts (
    batch_number INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    ambiguous INTEGER NOT NULL,
    first_sent_at REAL,
    due_at REAL NOT NULL,
    in_flight INTEGER NOT NULL,
    PRIMARY KEY (batch_number, ordinal, generation)
) WITHOUT ROWID;

CREATE TABLE results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_number INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    disposition TEXT NOT NULL,
    reason_code TEXT,
    UNIQUE (batch_number, ordinal, generation)
);

CREATE TABLE packs (number INTEGER PRIMARY KEY, bodies BLOB NOT NULL);

CREATE TABLE tallies (
    batch_number INTEGER NOT NULL,
    disposition TEXT NOT NULL,
    claims INTEGER NOT NULL,
    PRIMARY KEY (batch_number, disposition)
) WITHOUT ROWID;

CREATE TABLE parked (
    batch_number INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    parked_at REAL NOT NULL,
    facts BLOB NOT NULL,
    interchange BLOB NOT NULL,
    PRIMARY KEY (batch_number, ordinal)
);

CREATE TABLE sinks (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, cursor TEXT) WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def create(path: Path, fill: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
    """Make a ledger at `path`, empty but for what `fill` writes: whole or not at all, whatever happens meanwhile.

    A file that stands there is replaced at the end.

    :raises worker.errors.StateError: if it cannot be made.
    """
    # Built under another name: a crash half-way would leave a file that looks like a damaged ledger.
    draft = path.with_name(f".{path.name}.new")
    try:
        for rest in (draft, draft.with_name(draft.name + "-journal"), draft.with_name(draft.name + "-wal")):
            rest.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        if not _filled(draft, fill):
            raise StateError(f"ledger: {path} cannot keep a write-ahead log here")
        crashpoint("ledger_drafted")
        draft.rename(path)
        crashpoint("ledger_made")
        sync_folder(path.parent)
    except sqlite3.Error as error:
        raise translate(error, path) from None
    except OSError as error:
        raise translate_os(error, f"cannot make {path}") from None


def _filled(draft: Path, fill: Callable[[sqlite3.Connection], None]) -> bool:
    """Make the tables; False if the log could not be had, which SQLite tells by no error."""
    with contextlib.closing(sqlite3.connect(draft.as_uri(), uri=True, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.executescript(f"BEGIN; {TABLES} COMMIT")
        fill(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return bool(db.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",))
