"""What can be asked of a ledger, on a connection of its own: reading waits for no commit, and no commit for it."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from worker.claim import Batch
from worker.ledger.balance import Balance, balance
from worker.ledger.elsewhere import ELSEWHERE
from worker.ledger.failures import translate
from worker.ledger.packs import find_bodies, one_state
from worker.ledger.parked import ParkedClaim, ParkedFilter, ParkedGroup, count_parked, find_parked
from worker.ledger.seam import BEFORE_ALL
from worker.ledger.superseding import earlier_results, newest_batch, open_batches, replay_batches
from worker.ports import BatchSummary, Earlier, Emission, Position, ReplayBatch, page_of

P = ParamSpec("P")
T = TypeVar("T")

NEWER = """
SELECT 1 FROM results AS n
WHERE n.batch_number = r.batch_number AND n.ordinal = r.ordinal AND n.generation > r.generation
"""

OUTBOX = """
SELECT r.seq, r.batch_number, b.batch_id || ':' || r.ordinal || ':' || r.generation
FROM results AS r JOIN batches AS b ON b.number = r.batch_number
WHERE r.seq > ? ORDER BY r.seq LIMIT ?
"""

RESULTS_OF = f"""
SELECT r.ordinal, r.seq FROM results AS r
WHERE r.batch_number = ? AND r.ordinal > ? AND NOT EXISTS ({NEWER})
ORDER BY r.ordinal LIMIT ?
"""  # noqa: S608 - joined from constants

RESULTS = f"""
SELECT r.seq, r.batch_number, b.batch_id || ':' || r.ordinal || ':' || r.generation
FROM results AS r JOIN batches AS b ON b.number = r.batch_number
WHERE r.seq > :after
  AND (:disposition IS NULL OR r.disposition = :disposition)
  AND (:reason_code IS NULL OR r.reason_code = :reason_code)
  AND (:batch IS NULL OR b.batch_id = :batch OR b.name = :batch)
  AND NOT EXISTS ({NEWER})
ORDER BY r.seq LIMIT :limit
"""  # noqa: S608 - joined from constants

IN_RETRY = """
SELECT count(*) FROM attempts AS a WHERE a.batch_number = ? AND NOT EXISTS (
    SELECT 1 FROM results AS r
    WHERE r.batch_number = a.batch_number AND r.ordinal = a.ordinal AND r.generation = a.generation)
"""


class SqliteReads:
    """The questions of flow and command line; no two run at the same time, none changes anything.

    :raises worker.errors.StateError: from every method, if the ledger cannot be read.
    """

    def __init__(self, path: Path, reader: sqlite3.Connection) -> None:
        self.path = path
        self._reader = reader
        self._reading = CapacityLimiter(1)

    async def outbox(self, after: int, limit: int) -> Sequence[Emission]:
        """Read up to `limit` results with a `seq` above `after`, in order."""
        return await self._read(_emissions, OUTBOX, (after, limit))

    async def results(
        self,
        *,
        disposition: str | None = None,
        reason_code: str | None = None,
        batch: str | None = None,
        after: int = BEFORE_ALL,
        limit: int = 1000,
    ) -> Sequence[Emission]:
        """Read results that match, in order of `seq` from above `after`; of each claim the latest only.

        `batch` is a batch's id or name; what is None does not matter. Results taken over from another ledger have a
        `seq` below zero.
        """
        wanted = {
            "disposition": disposition,
            "reason_code": reason_code,
            "batch": batch,
            "after": after,
            "limit": limit,
        }
        return await self._read(_emissions, RESULTS, wanted)

    async def results_of(self, batch_number: int, after_ordinal: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read the latest record of each claim of the batch, with its ordinal, in order from above `after_ordinal`."""
        return await self._read(_records, (batch_number, after_ordinal, limit))

    async def parked(
        self, wanted: ParkedFilter | None = None, *, after: tuple[int, int] = (0, 0), limit: int = 1000
    ) -> Sequence[ParkedClaim]:
        """Read parked claims in order of batch and ordinal, from above `after` (batch number, ordinal)."""
        return await self._read(find_parked, wanted or ParkedFilter(), after, limit)

    async def parked_groups(self, wanted: ParkedFilter | None = None) -> Sequence[ParkedGroup]:
        """Count parked claims by batch, disposition and reason, in order of batch."""
        return await self._read(count_parked, wanted or ParkedFilter())

    async def replay_batches(self, claims: Mapping[int, int]) -> Sequence[ReplayBatch]:
        """Describe batches of which some claims are to be sent again; `claims` maps batch number to how many."""
        return await self._read(replay_batches, claims)

    async def earlier(self, batch_number: int) -> Earlier:
        """Tell what claims of the batch that are sent again supersede, and what that has cost already."""
        return await self._read(earlier_results, batch_number)

    async def newest_batch(self) -> int:
        """Tell the number of the batch that was opened last; 0 if there is none."""
        return await self._read(newest_batch)

    async def open_now(self) -> Sequence[int]:
        """Tell the numbers of the batches that are being worked on."""
        return await self._read(open_batches)

    async def balance(
        self, *, newer_than: int = 0, also: Sequence[int] = (), after: int = 0, limit: int = 500
    ) -> Sequence[Balance]:
        """Balance batches: those newer than a number and those in `also`; in order, from above number `after`."""
        return await self._read(balance, newer_than, also, after, limit)

    async def position(self, sink: str) -> Position:
        """Tell how far the sink named `sink` has come; the start for an unknown one."""
        return await self._read(_position, sink)

    async def sinks(self) -> Sequence[str]:
        """Name the sinks that were ever noted."""
        return await self._read(_sinks)

    async def summaries(self, *, open_only: bool = False, limit: int = 100) -> Sequence[BatchSummary]:
        """Describe the newest batches, newest first."""
        return await self._read(_summaries, open_only, limit)

    async def dispositions(self, batch_number: int) -> dict[str, int]:
        """Count the batch's claims by the disposition of their latest result."""
        return await self._read(_dispositions, batch_number)

    async def totals(self) -> dict[str, int]:
        """Count the claims of all batches by the disposition of their latest result."""
        return await self._read(_totals)

    async def noted(self, key: str) -> str | None:
        """Recall what `note` remembered."""
        return await self._read(_noted, key)

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def ask() -> T:
            try:
                return query(self._reader, *args, **kwargs)
            except sqlite3.Error as error:
                raise translate(error, self.path) from None

        return await to_thread.run_sync(ask, limiter=self._reading)


def _emissions(
    db: sqlite3.Connection, query: str, parameters: tuple[int, int] | dict[str, str | int | None]
) -> list[Emission]:
    with one_state(db):
        rows = db.execute(query, parameters).fetchall()
        bodies = page_of(find_bodies(db, [row[0] for row in rows]), len)
    found = zip(rows, bodies, strict=False)
    return [Emission(seq, number, result_id, body) for (seq, number, result_id), body in found]


def _records(db: sqlite3.Connection, parameters: tuple[int, int, int]) -> list[tuple[int, bytes]]:
    with one_state(db):
        rows = db.execute(RESULTS_OF, parameters).fetchall()
        bodies = page_of(find_bodies(db, [seq for _, seq in rows]), len)
    return [(ordinal, body) for (ordinal, _), body in zip(rows, bodies, strict=False)]


def _position(db: sqlite3.Connection, sink: str) -> Position:
    row = db.execute("SELECT seq, cursor FROM sinks WHERE name = ?", (sink,)).fetchone()
    return Position() if row is None else Position(*row)


def _sinks(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM sinks ORDER BY name")]


def _noted(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _dispositions(db: sqlite3.Connection, number: int) -> dict[str, int]:
    return dict(db.execute("SELECT disposition, claims FROM tallies WHERE batch_number = ? AND claims > 0", (number,)))


def _totals(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT disposition, sum(claims) FROM tallies GROUP BY disposition HAVING sum(claims) > 0"))


def _summaries(db: sqlite3.Connection, open_only: bool, limit: int) -> list[BatchSummary]:
    # The first condition alone would not be served by the index on batches that still have content.
    condition = "WHERE finished_at IS NULL AND content <> 'gone'" if open_only else ""
    query = f"""
        SELECT number, batch_id, name, received_at, environment, finished_at, total, {ELSEWHERE} FROM batches AS b
        {condition} ORDER BY number DESC LIMIT ?"""  # noqa: S608 - joined from constants
    summaries = []
    for *batch, finished_at, total, elsewhere in db.execute(query, (limit,)).fetchall():
        key = (batch[0],)
        summaries.append(
            BatchSummary(
                batch=Batch(*batch),
                state="open" if finished_at is None else "elsewhere" if elsewhere else "done",
                total=total,
                counts=_dispositions(db, batch[0]),
                parked=db.execute("SELECT count(*) FROM parked WHERE batch_number = ?", key).fetchone()[0],
                in_retry=db.execute(IN_RETRY, key).fetchone()[0],
            )
        )
    return summaries
