"""Opening a ledger: refuse what is not one of ours, whole and of our version, before SQLite touches it."""

import sqlite3
import struct
from pathlib import Path

from worker.disk import sync_folder
from worker.errors import StateError
from worker.ledger.failures import damaged, translate, translate_os
from worker.ledger.migrating import migrate
from worker.ledger.rows import KEPT_STATEMENTS
from worker.ledger.schema import APPLICATION_ID, SCHEMA_VERSION, create

IDENTITY = "identity"
MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
BUSY_TIMEOUT_S = 5.0
CACHE_KIB = 16384
LOG_LIMIT_BYTES = 64 << 20
# About half a second of reading; a larger ledger is checked page by page as it is used (cell_size_check).
FULL_CHECK_BYTES = 128 << 20

FIRST_TABLES = frozenset({"batches", "attempts", "results", "tallies", "parked", "sinks", "notes"})
TABLES_OF = {1: FIRST_TABLES, 2: FIRST_TABLES | {"packs"}}


def create_or_check(path: Path, *, exists: bool) -> None:
    """Leave a sound ledger of today's schema at `path`; call it under the lock.

    :raises StateError: if what is there is not one, or not one that can be brought up to date; it is left as it was.
    """
    log = path.with_name(path.name + "-wal")
    if exists:
        version = _check_header(path)
        _check_content(path, TABLES_OF[version])
        if version < SCHEMA_VERSION:
            migrate(path)
    elif log.exists():
        # A new file under an old log would be filled with the pages of the lost one.
        raise StateError(f"ledger: {path} is gone but its log {log.name} is still there; bring it back or move both")
    else:
        create(path)


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger for writing, each commit durable.

    :raises StateError: if that cannot be had.
    """
    db = _connect(path, "mode=rw")
    try:
        for setting in (
            "synchronous = FULL",
            "wal_autocheckpoint = 0",  # done by us: the automatic one swallows its errors and delays a commit
            f"journal_size_limit = {LOG_LIMIT_BYTES}",
            f"cache_size = -{CACHE_KIB}",
            "cell_size_check = ON",
            "secure_delete = ON",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
        ):
            db.execute(f"PRAGMA {setting}")
        _require_log(db, path)
    except sqlite3.Error as error:
        db.close()
        raise translate(error, path) from None
    except StateError:
        db.close()
        raise
    return db


def sync_log_name(path: Path) -> None:
    """Make the name of the log durable, which is there once the ledger is connected to.

    SQLite does so with the first commit, and says nothing if that fails.

    :raises StateError: if it fails.
    """
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise translate_os(error, f"cannot sync {path.parent}") from None


def connect_readonly(path: Path, *, beside_writer: bool = False) -> sqlite3.Connection:
    """Open the ledger for reading, `beside_writer` if this process has it open for writing.

    :raises StateError: if it is no ledger of ours, or one of an older schema.
    """
    db = _connect_quietly(path, "mode=ro" if beside_writer else _quiet(path))
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version < SCHEMA_VERSION:
        db.close()
        raise StateError(f"ledger: {path} is of an older version; the next `run` brings it up to date")
    return db


def _connect_quietly(path: Path, options: str) -> sqlite3.Connection:
    try:
        empty = not path.stat().st_size
    except OSError as error:
        raise translate_os(error, f"cannot look at {path}") from None
    if empty:  # SQLite would take it for a database of its own without content
        raise damaged(path)
    db = _connect(path, options)
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA cell_size_check = ON")
        identity = (db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0])
        _check_identity(path, *identity)
    except sqlite3.Error as error:
        db.close()
        raise translate(error, path) from None
    except StateError:
        db.close()
        raise
    return db


def identity_of(path: Path) -> str | None:
    """Tell what distinguishes the ledger at `path` from every other; a worker may have it open.

    :raises StateError: if it is no ledger of ours, or cannot be read.
    """
    db = _connect_quietly(path, _quiet(path))
    try:
        found = db.execute("SELECT value FROM notes WHERE key = ?", (IDENTITY,)).fetchone()
    except sqlite3.Error as error:
        raise translate(error, path) from None
    finally:
        db.close()
    return None if found is None else str(found[0])


def _connect(path: Path, options: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"{path.as_uri()}?{options}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time, but not always the same
            timeout=BUSY_TIMEOUT_S,
            cached_statements=KEPT_STATEMENTS,
        )
    except sqlite3.Error as error:
        raise translate(error, path) from None


def _quiet(path: Path) -> str:
    """Choose how to read without leaving a trace: without a log nobody writes, and SQLite would make one to read."""
    return "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"


def _require_log(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        raise StateError(f"ledger: {path} cannot keep a write-ahead log; name a file on a local disk in state.url")


def _check_header(path: Path) -> int:
    try:
        with path.open("rb", buffering=0) as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise translate_os(error, f"cannot read {path}") from None
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise damaged(path)
    version, application = struct.unpack_from(">I", header, 60)[0], struct.unpack_from(">I", header, 68)[0]
    _check_identity(path, application, version)
    return int(version)


def _check_identity(path: Path, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise StateError(f"ledger: {path} is a database of another program; name another file in state.url")
    if version > SCHEMA_VERSION:
        newer = f"was made by a newer version of this worker (schema {version})"
        raise StateError(f"ledger: {path} {newer}; run that version, or name another file in state.url")
    if version < 1:
        raise damaged(path)


def _check_content(path: Path, expected: frozenset[str]) -> None:
    """Read the schema, and all pages if that is quick, through a connection that cannot write."""
    db = _connect(path, _quiet(path))
    try:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        missing = expected - tables
        whole = path.stat().st_size > FULL_CHECK_BYTES or db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.DatabaseError as error:
        raise translate(error, path) from None
    finally:
        db.close()
    if missing or not whole:
        raise damaged(path)
