"""A ledger of schema 1 is brought up to date with all that it held, or left as it is."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from worker.claim import Batch
from worker.errors import StateError
from worker.ledger import open_ledger, open_ledger_readonly
from worker.ledger.schema import APPLICATION_ID, SCHEMA_VERSION
from worker.ports import Arrival, Record

SCHEMA_1 = """
CREATE TABLE batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL UNIQUE,
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
    transaction_id TEXT,
    body BLOB NOT NULL,
    UNIQUE (batch_number, ordinal, generation)
);

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

CONTENT = """
INSERT INTO batches VALUES
    (4, 'abababababababababab', :sha256, 'r', '', 'a.837', 10, 1.0, 2.0, 3, 3, NULL, 'kept'),
    (7, 'abababababababababab-2', :sha256, 's', '', 'b.837', 10, 1.0, 2.0, 1, 1, 5.0, 'kept');
INSERT INTO results VALUES
    (11, 4, 1, 1, 'accepted', NULL, 'tx-1', CAST('{"first":1}' AS BLOB)),
    (12, 4, 2, 1, 'undelivered', 'timeout', NULL, CAST('{"second":1}' AS BLOB)),
    (14, 7, 1, 1, 'rejected', 'A3', 'tx-2', CAST('{"other":1}' AS BLOB));
INSERT INTO attempts VALUES (4, 3, 1, 2, 1, 6.0, 60.0, 0);
INSERT INTO tallies VALUES (4, 'accepted', 1), (4, 'undelivered', 1), (7, 'rejected', 1);
INSERT INTO parked VALUES (4, 2, 1, 8.0, CAST('{}' AS BLOB), CAST('ISA*2~' AS BLOB));
INSERT INTO sinks VALUES ('jsonl:x', 12, 'cursor');
INSERT INTO notes VALUES ('limit', '42');
UPDATE sqlite_sequence SET seq = 20 WHERE name = 'results';
UPDATE sqlite_sequence SET seq = 9 WHERE name = 'batches';
"""

SHA = "ab" * 32


def make_first(path: Path) -> None:
    """Leave a ledger as the first version of the worker did."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA page_size = 16384")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.executescript(SCHEMA_1 + CONTENT.replace(":sha256", f"'{SHA}'"))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    path.chmod(0o600)


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def version(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[60:64], "big")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_everything_is_there_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_first(path)

    async with open_ledger(f"sqlite:{path}") as ledger:
        (known,) = await ledger.open_batches([Arrival(SHA, "r", "a.837", 10, 1.0)])

        assert known.batch == Batch(4, "abababababababababab", "a.837", 1.0, "")
        assert (known.answered, known.last_seq, known.total, known.done) == (frozenset({1, 2}), 12, 3, False)
        assert (known.spent[3].attempts, known.spent[3].due_at) == (2, 60.0)
        assert [(each.seq, each.body) for each in await ledger.outbox(0, 10)] == [
            (11, b'{"first":1}'),
            (12, b'{"second":1}'),
            (14, b'{"other":1}'),
        ]
        assert [each.claim.interchange for each in await ledger.parked()] == [b"ISA*2~"]
        assert await ledger.totals() == {"accepted": 1, "rejected": 1, "undelivered": 1}
        assert (await ledger.position("jsonl:x")).cursor == "cursor"
        assert await ledger.noted("limit") == "42"
        assert [each.problem for each in await ledger.balance()] == ["", ""]
    assert version(path) == SCHEMA_VERSION
    assert path.stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == {"ledger.db", "ledger.db.lock"}


async def test_no_number_is_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_first(path)

    async with open_ledger(f"sqlite:{path}") as ledger:
        (fresh,) = await ledger.open_batches([Arrival("cd" * 32, "r", "c.837", 10, 1.0)])
        stored = await ledger.record([Record(fresh.batch.number, 1, 1, "x", "accepted", None, b"{}")])

    assert fresh.batch.number == 10
    assert [one.seq for one in stored] == [21]


async def test_what_only_the_log_holds_comes_along(tmp_path: Path) -> None:
    path, lost = tmp_path / "ledger.db", tmp_path / "lost.db"
    make_first(lost)
    writer = sqlite3.connect(lost, isolation_level=None)
    writer.execute("INSERT INTO notes VALUES ('late', 'yes')")
    for ending in ("", "-wal"):
        (tmp_path / f"ledger.db{ending}").write_bytes((tmp_path / f"lost.db{ending}").read_bytes())
    writer.close()

    async with open_ledger(f"sqlite:{path}") as ledger:
        late = await ledger.noted("late")

    assert late == "yes"


async def test_a_half_made_successor_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_first(path)
    (tmp_path / ".ledger.db.new").write_bytes(path.read_bytes()[:5000])

    async with open_ledger(f"sqlite:{path}") as ledger:
        assert len(await ledger.outbox(0, 10)) == 3

    assert not (tmp_path / ".ledger.db.new").exists()


async def test_one_that_is_being_read_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_first(path)
    before = digest(path)
    reader = sqlite3.connect(path)
    reader.execute("SELECT * FROM notes").fetchone()

    with pytest.raises(StateError, match="is being read"):
        async with open_ledger(f"sqlite:{path}"):
            pass
    reader.close()

    assert digest(path) == before
    async with open_ledger(f"sqlite:{path}") as ledger:
        assert await ledger.noted("limit") == "42"


async def test_a_reader_of_an_old_one_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_first(path)
    before = digest(path)

    with pytest.raises(StateError, match="the next `run` brings it up to date"):
        async with open_ledger_readonly(f"sqlite:{path}"):
            pass

    assert digest(path) == before
