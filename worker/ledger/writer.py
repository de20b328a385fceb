"""The one connection that writes: a group of changes becomes one transaction, in one thread at a time."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import structlog

from worker.crashpoint import crashpoint
from worker.errors import StateError, StorageFull
from worker.ledger import changes
from worker.ledger.commits import Group
from worker.ledger.failures import translate

Step = Callable[[sqlite3.Connection], None]

# The log is folded into the file after about this much. More costs longer pauses, less costs more writing.
LOG_BYTES = 8 << 20
COMMIT_BYTES = 64 << 10  # what a commit writes beside the records: some pages of each table
PACKED_TO = 1 / 4  # of the records' bytes at most reach the log, as a rule: see `packs`


class Writer:
    """Writes groups durably; all methods block."""

    def __init__(self, path: Path, db: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._path = path
        self._db = db
        self._clock = clock
        self._inode = path.stat().st_ino
        # What a dead process left in the log may not be on the disk, whatever it was told: folded, it is written anew.
        self._logged_bytes = float(LOG_BYTES if _logged(path) else 0)
        (last_seq,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'results'").fetchone()
        self._next_seq = (last_seq or 0) + 1

    def write(self, group: Group[Step]) -> None:
        """Return once the group is on disk.

        :raises StorageFull: if there is no room now; nothing was changed.
        :raises StateError: if the ledger cannot be written.
        """
        db = self._db
        try:
            self._require_file()
            self._fold_log()
            # These two instead of `execute`: one turn at the interpreter's lock each, not four (see `rows`).
            db.executescript("BEGIN IMMEDIATE")
            self._apply(group)
            crashpoint("before_commit")
            db.commit()
            crashpoint("after_commit")
        except sqlite3.Error as error:
            failure = translate(error, self._path)
            self._roll_back()
            raise failure from None
        except BaseException:
            self._roll_back()
            raise
        self._next_seq = max(self._next_seq, max((one.seq for one in group.emissions), default=0) + 1)
        self._logged_bytes += COMMIT_BYTES + sum(len(record.body) for record in group.records) * PACKED_TO

    def close(self) -> None:
        """Let go of the file; the last connection to go folds the log."""
        self._db.close()

    def _apply(self, group: Group[Step]) -> None:
        db = self._db
        for step in group.steps:
            step(db)
        if group.marks:
            changes.move_marks(db, group.marks)
        if group.attempts:
            changes.note_attempts(db, group.attempts)
        if group.records:
            group.emissions = changes.store_results(db, group.records, self._next_seq, self._clock())

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors (sqlite.org/lang_transaction.html §3).
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StateError(f"ledger: {self._path}: cannot roll back: {type(error).__name__}") from None

    def _require_file(self) -> None:
        """Refuse to go on writing into a file that has no name any more."""
        try:
            same = self._path.stat().st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise StateError(f"ledger: {self._path} was moved or deleted while it was open")

    def _fold_log(self) -> None:
        """Copy the log into the file once it is long; without room that can wait, the log itself is durable."""
        if self._logged_bytes < LOG_BYTES:
            return
        try:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            failure = translate(error, self._path)
            if not isinstance(failure, StorageFull):
                raise failure from None
            structlog.get_logger().warning("ledger.log_kept", detail=str(failure))
        self._logged_bytes = 0.0


def _logged(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0
