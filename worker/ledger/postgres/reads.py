"""What can be asked of a shared ledger, on a connection of its own: reading waits for no commit, and no commit for it.

A worker's questions wait out a server that is away, because the flow cannot go on until they are answered; a
person's do not.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio

from worker.errors import SettingsError, SinkUnavailable, StateError
from worker.ledger.balance import Balance
from worker.ledger.parked import ParkedClaim, ParkedFilter, ParkedGroup
from worker.ledger.postgres import books, notes
from worker.ledger.postgres.pages import paged
from worker.ledger.postgres.tenure import LIVING_NAMES
from worker.ledger.seam import BEFORE_ALL
from worker.ports import BatchSummary, Earlier, Emission, Position, ReplayBatch
from worker.postgres.address import Address
from worker.postgres.session import Connection, connect, disconnect, translated

P = ParamSpec("P")
T = TypeVar("T")

AGAIN_S = 1.0
ORDINALS = 1 << 32

NEWER = """
SELECT 1 FROM results AS n
WHERE n.batch_number = r.batch_number AND n.ordinal = r.ordinal AND n.generation > r.generation
"""

OUTBOX = paged(
    """
SELECT o.seq AS place, o.batch_number, b.batch_id || ':' || o.ordinal || ':' || o.generation, r.body
FROM (
    (SELECT seq, batch_number, ordinal, generation FROM results WHERE worker = $1 AND seq > $2 ORDER BY seq LIMIT $3)
    UNION ALL
    (SELECT seq, batch_number, ordinal, generation FROM adopted WHERE worker = $1 AND seq > $2 ORDER BY seq LIMIT $3)
    ORDER BY seq LIMIT $3
) AS o JOIN results AS r USING (batch_number, ordinal, generation) JOIN batches AS b ON b.number = o.batch_number
""",
    "body",
    order="place",
)

RESULTS_OF = paged(
    f"""
SELECT r.ordinal, r.body FROM results AS r
WHERE r.batch_number = $1 AND r.ordinal > $2 AND NOT EXISTS ({NEWER}) ORDER BY r.ordinal LIMIT $3
""",  # noqa: S608 - joined from constants
    "body",
    order="ordinal",
)

# In order of batch and ordinal: a place in the outbox of one worker says nothing of another's.
RESULTS = paged(
    f"""
SELECT r.batch_number * {ORDINALS} + r.ordinal AS place, r.batch_number,
    b.batch_id || ':' || r.ordinal || ':' || r.generation, r.body
FROM results AS r JOIN batches AS b ON b.number = r.batch_number
WHERE (r.batch_number, r.ordinal) > ($1, $2)
    AND ($3::text IS NULL OR r.disposition = $3)
    AND ($4::text IS NULL OR r.reason_code = $4)
    AND ($5::text IS NULL OR b.batch_id = $5 OR b.name = $5)
    AND NOT EXISTS ({NEWER})
ORDER BY r.batch_number, r.ordinal LIMIT $6
""",  # noqa: S608 - joined from constants
    "body",
    order="place",
)

TOTALS = "SELECT disposition, sum(claims)::bigint FROM tallies GROUP BY disposition HAVING sum(claims) > 0"

OPEN_NOW = """
SELECT number FROM batches
WHERE finished_at IS NULL AND content <> 'gone' AND ($1::int IS NULL OR worker = $1) ORDER BY number
"""

ANSWERED = """
SELECT b.ref, (SELECT count(DISTINCT r.ordinal) FROM results AS r WHERE r.batch_number = b.number)
FROM batches AS b WHERE b.environment = $1 AND b.ref = ANY($2::text[])
"""


class PostgresReads:
    """The questions of flow and command line; no two run at the same time, none changes anything.

    Notes and outbox are those of the worker numbered `worker`, None for one that never was. `patient` is a worker that
    asks for itself: it waits for the server, and is answerable for the batches that it opened last.

    :raises worker.errors.StateError: from every method, if the ledger cannot be read.
    """

    def __init__(self, address: Address, reader: Connection, worker: int | None, *, patient: bool) -> None:
        self._address = address
        self._reader: Connection | None = reader
        self._worker = worker
        self._patient = patient
        self._answerable = worker if patient else None
        self._reading = anyio.Lock()

    async def outbox(self, after: int, limit: int) -> Sequence[Emission]:
        """Read up to `limit` results with a `seq` above `after`, in order."""
        return await self._read(_emissions, OUTBOX, self._worker, after, limit)

    async def results(
        self,
        *,
        disposition: str | None = None,
        reason_code: str | None = None,
        batch: str | None = None,
        after: int = BEFORE_ALL,
        limit: int = 1000,
    ) -> Sequence[Emission]:
        """Read results that match, of each claim the latest only; `seq` orders them by batch and ordinal."""
        place = divmod(max(after, 0), ORDINALS)
        return await self._read(_emissions, RESULTS, *place, disposition, reason_code, batch, limit)

    async def results_of(self, batch_number: int, after_ordinal: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read the latest record of each claim of the batch, with its ordinal, in order from above `after_ordinal`."""
        rows = await self._read(_fetch, RESULTS_OF, batch_number, after_ordinal, limit)
        return [(ordinal, body) for ordinal, body, _ in rows]

    async def parked(
        self, wanted: ParkedFilter | None = None, *, after: tuple[int, int] = (0, 0), limit: int = 1000
    ) -> Sequence[ParkedClaim]:
        """Read parked claims in order of batch and ordinal, from above `after` (batch number, ordinal)."""
        return await self._read(books.find_parked, wanted or ParkedFilter(), after, limit)

    async def parked_groups(self, wanted: ParkedFilter | None = None) -> Sequence[ParkedGroup]:
        """Count parked claims by batch, disposition and reason, in order of batch."""
        return await self._read(books.count_parked, wanted or ParkedFilter())

    async def replay_batches(self, claims: Mapping[int, int]) -> Sequence[ReplayBatch]:
        """Describe batches of which some claims are to be sent again; `claims` maps batch number to how many."""
        return await self._read(books.find_replay_batches, claims, self._worker or notes.FLEET)

    async def earlier(self, batch_number: int) -> Earlier:
        """Tell what claims of the batch that are sent again supersede, and what that has cost already."""
        return await self._read(books.find_earlier, batch_number)

    async def newest_batch(self) -> int:
        """Tell the number of the batch that was opened last; 0 if there is none."""
        return await self._read(_value, "SELECT coalesce(max(number), 0) FROM batches")

    async def open_now(self) -> Sequence[int]:
        """Tell the numbers of the batches that are being worked on, by the worker that asks, if it is one."""
        return [row[0] for row in await self._read(_fetch, OPEN_NOW, self._answerable)]

    async def balance(
        self, *, newer_than: int = 0, also: Sequence[int] = (), after: int = 0, limit: int = 500
    ) -> Sequence[Balance]:
        """Balance batches, those of the worker that asks, if it is one; see `worker.ledger.LedgerReads`."""
        return await self._read(books.find_balances, newer_than, also, after, limit, self._answerable)

    async def position(self, sink: str) -> Position:
        """Tell how far our sink of this name has come; the start for an unknown one."""
        query = "SELECT seq, cursor FROM sinks WHERE worker = $1 AND name = $2"
        rows = await self._read(_fetch, query, self._worker, sink)
        return Position(*rows[0]) if rows else Position()

    async def summaries(self, *, open_only: bool = False, limit: int = 100) -> Sequence[BatchSummary]:
        """Describe the newest batches, newest first."""
        return await self._read(books.summarise, open_only, limit)

    async def dispositions(self, batch_number: int) -> dict[str, int]:
        """Count the batch's claims by the disposition of their latest result."""
        return {row[1]: row[2] for row in await self._read(_fetch, books.COUNTS, [batch_number])}

    async def totals(self) -> dict[str, int]:
        """Count the claims of all batches by the disposition of their latest result."""
        return {row[0]: row[1] for row in await self._read(_fetch, TOTALS)}

    async def noted(self, key: str) -> str | None:
        """Recall what `note` remembered."""
        return (await self._read(notes.find, self._worker, [key])).get(key)

    async def fleet_noted(self, key: str) -> str | None:
        """Recall what was noted for all workers."""
        return (await self._read(notes.find, notes.FLEET, [key])).get(key)

    async def living(self) -> Sequence[str]:
        """Name the workers that are at work on the ledger now."""
        return [row[0] for row in await self._read(_fetch, LIVING_NAMES)]

    async def in_work(self, refs: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Tell how often these messages were in work when a worker died; those alone of which that is noted."""
        return await self._read(notes.find_in_work, refs)

    async def answered(self, refs: Sequence[str], environment: str) -> Mapping[str, int]:
        """Tell how many claims of the batches that were delivered under these refs have an answer."""
        return {row[0]: row[1] for row in await self._read(_fetch, ANSWERED, environment, list(refs))}

    async def close(self) -> None:
        """Disconnect."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await disconnect(reader, self._address)

    async def _read(
        self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async with self._reading:
            while True:
                try:
                    return await self._ask(query, *args, **kwargs)
                except SinkUnavailable:
                    if not self._patient:
                        raise
                await anyio.sleep(AGAIN_S)

    async def _ask(
        self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            with translated(self._address):
                if self._reader is None or self._reader.is_closed():
                    self._reader = await connect(self._address)
                return await query(self._reader, *args, **kwargs)
        except BaseException as error:
            # Whatever it was, and be it a cancellation: what the connection is in the middle of is not known.
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.terminate()
            if isinstance(error, SettingsError):
                raise StateError(f"ledger: {error}") from None
            raise


async def _fetch(connection: Connection, query: str, *args: object) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(query, *args)]


async def _emissions(connection: Connection, query: str, *args: object) -> list[Emission]:
    return [Emission(*row[:-1]) for row in await connection.fetch(query, *args)]


async def _value(connection: Connection, query: str) -> int:
    return int(await connection.fetchval(query))
