"""What a dead worker's ledger knows of a batch, carried over into ours.

::

    their ledger ──estate, results, parked claims, attempts──▶ our ledger: set aside there, until its file is opened

Results come to stand at places below zero: they are known, counted, and told again as duplicates like any other,
but never go out: the ledger that they were answered into has brought, or brings, them to its own sinks.

Carried over in small transactions, each of which may be the last: doing it again adds what is missing.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import msgspec

from worker.ledger.batches import free_id
from worker.ledger.changes import STORE_RESULTS
from worker.ledger.elsewhere import ELSEWHERE, forget, set_aside
from worker.ledger.packs import add_packs, find_bodies, one_state
from worker.ledger.rows import write_rows
from worker.ports import page_of

P = ParamSpec("P")
T = TypeVar("T")

PAGE = 500

# By `ref` there is no index: a ledger is looked through once, when its worker is dead.
FIND = f"""
SELECT b.number, b.batch_id, b.sha256, b.ref, b.name, b.size, b.received_at, b.opened_at, b.dispatched_through,
    b.total, b.finished_at, b.content, {ELSEWHERE},
    (SELECT count(DISTINCT r.ordinal) FROM results AS r WHERE r.batch_number = b.number)
FROM batches AS b
WHERE b.environment = ? AND b.ref IN (SELECT value FROM json_each(?)) ORDER BY b.number
"""  # noqa: S608 - joined from constants

KNOWN = "SELECT number FROM batches WHERE sha256 = ? AND ref = ? AND environment = ?"

ADD = """
INSERT INTO batches (batch_id, sha256, ref, environment, name, size, received_at, opened_at, total)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

MERGE = """
UPDATE batches SET dispatched_through = max(dispatched_through, ?), total = coalesce(total, ?),
    content = iif(content = 'gone', 'going', content)
WHERE number = ?
"""

RESULTS = """
SELECT ordinal, generation, disposition, reason_code, seq FROM results
WHERE batch_number = ? AND (ordinal, generation) > (?, ?) ORDER BY ordinal, generation LIMIT ?
"""

PARKED = """
SELECT ordinal, generation, parked_at, facts, interchange FROM parked
WHERE batch_number = ? AND (ordinal, generation) > (?, ?) ORDER BY ordinal, generation LIMIT ?
"""

# Of an attempt in flight the outcome is unknown, and its worker is dead.
ATTEMPTS = """
SELECT ordinal, generation, attempts, ambiguous + in_flight, first_sent_at, due_at, 0 FROM attempts
WHERE batch_number = ?
"""

ADD_PARKED = """
INSERT INTO parked VALUES {rows}
ON CONFLICT (batch_number, ordinal) DO UPDATE SET
    generation = excluded.generation, parked_at = excluded.parked_at,
    facts = excluded.facts, interchange = excluded.interchange
WHERE excluded.generation > generation
"""

ADD_ATTEMPTS = """
INSERT INTO attempts VALUES {rows}
ON CONFLICT (batch_number, ordinal, generation) DO UPDATE SET
    attempts = max(attempts, excluded.attempts),
    ambiguous = max(ambiguous, excluded.ambiguous),
    first_sent_at = coalesce(first_sent_at, excluded.first_sent_at),
    due_at = max(due_at, excluded.due_at)
"""

# What was parked and has a later result by now is parked no more.
UNPARK = """
DELETE FROM parked AS p WHERE p.batch_number = :number AND EXISTS (
    SELECT 1 FROM results AS r
    WHERE r.batch_number = p.batch_number AND r.ordinal = p.ordinal AND r.generation > p.generation)
"""

COUNT_AGAIN = """
INSERT INTO tallies
SELECT r.batch_number, r.disposition, count(*) FROM results AS r
WHERE r.batch_number = :number AND NOT EXISTS (
    SELECT 1 FROM results AS n
    WHERE n.batch_number = r.batch_number AND n.ordinal = r.ordinal AND n.generation > r.generation)
GROUP BY r.disposition
"""


class Estate(msgspec.Struct, frozen=True, gc=False):
    """A batch as its ledger knows it; `number` is that ledger's, `answered` counts the claims with a result there."""

    number: int
    batch_id: str
    sha256: str
    ref: str
    name: str
    size: int
    received_at: float
    opened_at: float
    dispatched_through: int
    total: int | None
    finished_at: float | None
    content: str
    elsewhere: int  # as SQLite tells truth
    answered: int

    @property
    def done(self) -> bool:
        """Its ledger has nothing left to do for it, but that the file may lie where it lay."""
        return self.finished_at is not None and not self.elsewhere

    @property
    def complete(self) -> bool:
        """Every claim has its result, and its ledger was about to settle it."""
        return not self.done and self.answered == self.total


class Read(Protocol):
    """Runs a query on the ledger that is read."""

    def __call__(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Return what the query returns."""
        ...


class Change(Protocol):
    """Runs a change on the ledger that is written; durable on return."""

    def __call__(self, change: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """Return what the change returns."""
        ...


def find_estates(db: sqlite3.Connection, refs: Sequence[str], environment: str) -> list[Estate]:
    """Find the batches that were delivered under these refs, in order of number."""
    rows = db.execute(FIND, (environment, msgspec.json.encode(list(refs)).decode())).fetchall()
    return [Estate(*row) for row in rows]


async def take_in(estate: Estate, environment: str, read: Read, change: Change, now: float) -> int:
    """Carry a batch over, set aside until it is opened, or done if it was done; tells how many results came."""
    number = await change(partial(_admit, estate=estate, environment=environment, now=now))
    carried = 0
    if estate.content == "kept":
        after = (0, 0)
        while rows := await read(_results, estate.number, after):
            carried += await change(partial(_add_results, number=number, rows=rows))
            after = rows[-1][:2]
        after = (0, 0)
        while rows := await read(_parked, estate.number, after):
            await change(partial(_add_parked, number=number, rows=rows))
            after = rows[-1][:2]
        rows = await read(_all, ATTEMPTS, estate.number)
        await change(partial(_add_attempts, number=number, rows=rows))
        await change(partial(_count_again, number=number))
    else:
        tallies = await read(_all, "SELECT disposition, claims FROM tallies WHERE batch_number = ?", estate.number)
        await change(partial(_copy_counts, number=number, tallies=tallies))
    if estate.finished_at is not None and not estate.elsewhere:
        await change(partial(_end, number=number, finished_at=estate.finished_at))
    return carried


def _admit(db: sqlite3.Connection, estate: Estate, environment: str, now: float) -> int:
    known = db.execute(KNOWN, (estate.sha256, estate.ref, environment)).fetchone()
    if known is None:
        row = (
            free_id(db, estate.batch_id), estate.sha256, estate.ref, environment, estate.name, estate.size,
            estate.received_at, estate.opened_at, estate.total,
        )  # fmt: skip
        number = int(db.execute(ADD, row).lastrowid or 0)
        set_aside(db, [number], now)
    else:
        number = int(known[0])
    db.execute(MERGE, (estate.dispatched_through, estate.total, number))
    return number


def _results(db: sqlite3.Connection, number: int, after: tuple[int, int]) -> list[tuple[Any, ...]]:
    """Read some results, each with its record as the last of its columns."""
    with one_state(db):
        rows = db.execute(RESULTS, (number, *after, PAGE)).fetchall()
        bodies = page_of(find_bodies(db, [row[-1] for row in rows]), len)
    return [(*row[:-1], body) for row, body in zip(rows, bodies, strict=False)]


def _parked(db: sqlite3.Connection, number: int, after: tuple[int, int]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = page_of(db.execute(PARKED, (number, *after, PAGE)), lambda row: len(row[-1]))
    return rows


def _all(db: sqlite3.Connection, query: str, number: int) -> list[tuple[Any, ...]]:
    return db.execute(query, (number,)).fetchall()


def _add_results(db: sqlite3.Connection, number: int, rows: Sequence[tuple[Any, ...]]) -> int:
    (lowest,) = db.execute("SELECT min(seq) FROM results").fetchone()
    first = min(lowest or 0, 0) - len(rows)
    stored = write_rows(db, STORE_RESULTS, [(seq, number, *row[:-1]) for seq, row in enumerate(rows, first)])
    fresh = {seq for (seq,) in db.execute("SELECT seq FROM results WHERE seq < ?", (first + len(rows),))}
    add_packs(db, ((seq, row[-1]) for seq, row in enumerate(rows, first) if seq in fresh))
    return stored


def _add_parked(db: sqlite3.Connection, number: int, rows: Sequence[tuple[Any, ...]]) -> None:
    write_rows(db, ADD_PARKED, [(number, *row) for row in rows])


def _add_attempts(db: sqlite3.Connection, number: int, rows: Sequence[tuple[Any, ...]]) -> None:
    write_rows(db, ADD_ATTEMPTS, [(number, *row) for row in rows])


def _count_again(db: sqlite3.Connection, number: int) -> None:
    key = {"number": number}
    db.execute(UNPARK, key)
    db.execute("DELETE FROM tallies WHERE batch_number = :number", key)
    db.execute(COUNT_AGAIN, key)


def _copy_counts(db: sqlite3.Connection, number: int, tallies: Sequence[tuple[Any, ...]]) -> None:
    """Take over the counts of a batch whose content is past its retention."""
    if not db.execute("SELECT 1 FROM results WHERE batch_number = ?", (number,)).fetchone():
        db.execute("DELETE FROM tallies WHERE batch_number = ?", (number,))
        write_rows(db, "INSERT INTO tallies VALUES {rows}", [(number, *tally) for tally in tallies])
        db.execute("UPDATE batches SET content = 'gone' WHERE number = ?", (number,))


def _end(db: sqlite3.Connection, number: int, finished_at: float) -> None:
    db.execute("UPDATE batches SET finished_at = ? WHERE number = ?", (finished_at, number))
    forget(db, [number])
