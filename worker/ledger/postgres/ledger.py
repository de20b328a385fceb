"""The ledger that a fleet shares, as one worker of it has it."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from anyio import CancelScope

from worker.claim import Claim
from worker.errors import SinkUnavailable, StateError, StorageFull
from worker.ledger.commits import Commits, Group
from worker.ledger.postgres import changes, notes, retention
from worker.ledger.postgres.opening import Opening
from worker.ledger.postgres.reads import PostgresReads
from worker.ledger.postgres.schema import make_ready
from worker.ledger.postgres.writer import Step, Writer
from worker.ports import Arrival, Emission, OpenedBatch, Position, Record, Spent
from worker.postgres.address import Address
from worker.postgres.session import Connection, connect, disconnect, translated

T = TypeVar("T")

ADVANCE = """
INSERT INTO sinks VALUES ($1, $2, $3, $4)
ON CONFLICT (worker, name) DO UPDATE SET seq = excluded.seq, cursor = excluded.cursor
"""

FORGET_ATTEMPTS = "DELETE FROM attempts WHERE batch_number = ANY($1::bigint[]) AND generation = 1"

FINISH = "UPDATE batches SET finished_at = coalesce(finished_at, $2) WHERE number = ANY($1::bigint[])"


@asynccontextmanager
async def open_shared(
    address: Address,
    name: str,
    *,
    environment: str = "",
    create: bool = False,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator["PostgresLedger"]:
    """Work on the ledger at `address` as the worker `name` until the block is left; see `worker.ledger.open_ledger`."""
    async with AsyncExitStack() as parts:
        with translated(address):
            connection = await _ready(address, create=create)
            parts.push_async_callback(disconnect, connection, address)
            writer = await Writer.begun(address, connection, name, clock)
            reader = await connect(address)
        ledger = PostgresLedger(address, reader, writer, environment, clock)
        parts.pop_all()
        try:
            yield ledger
        finally:
            with CancelScope(shield=True):
                await ledger.close()


@asynccontextmanager
async def open_shared_readonly(address: Address, name: str) -> AsyncIterator[PostgresReads]:
    """Read the ledger at `address` beside any workers; what is a worker's own is read of the worker `name`."""
    with translated(address):
        reader = await _ready(address)
        worker = await reader.fetchval("SELECT number FROM workers WHERE name = $1", name)
    reads = PostgresReads(address, reader, worker, patient=False)
    try:
        yield reads
    finally:
        await reads.close()


async def note_for_fleet(address: Address, key: str, value: str | None) -> bool:
    """Remember a small fact for all workers, or forget it; whether there was one. Durable on return.

    :raises worker.errors.SettingsError: if there is no such ledger, or we are refused.
    :raises worker.errors.StateError: if it cannot be reached.
    """
    with translated(address):
        connection = await _ready(address)
        try:
            was_there = await notes.forget(connection, notes.FLEET, [key])
            if value is not None:
                await notes.note(connection, notes.FLEET, [(key, value)])
        finally:
            await disconnect(connection, address)
    return was_there


class PostgresLedger(PostgresReads):
    """`worker.ports.Ledger` in a schema of PostgreSQL, which other workers write as well."""

    def __init__(
        self, address: Address, reader: Connection, writer: Writer, environment: str, clock: Callable[[], float]
    ) -> None:
        super().__init__(address, reader, writer.tenure.worker, patient=True)
        self.environment = environment
        self._writer = writer
        self._opening = Opening(environment)
        self._clock = clock
        self._commits: Commits[Step] = Commits(self._write)
        self._writing = CancelScope()
        self._end_by = math.inf
        self._closed = False

    async def open_batches(self, arrivals: Sequence[Arrival]) -> Sequence[OpenedBatch]:
        """Note that these deliveries are being worked on; recognise those seen before by `sha256` and `ref`."""

        async def opened(connection: Connection, writer: Writer) -> list[OpenedBatch]:
            given = (connection, writer.tenure, writer.next_seq, arrivals, self._clock())
            batches, writer.next_seq = await self._opening.opened(*given)
            return batches

        keys = {(arrival.sha256, arrival.ref) for arrival in arrivals}
        try:
            batches = await self._change(opened)
        except StorageFull:
            self._opening.doubtful |= keys
            raise
        self._opening.doubtful -= keys
        return batches

    async def reserve(self, marks: Mapping[int, int]) -> None:
        """Note that first attempts may be under way from now on."""
        await self._commits.reserve(marks)

    async def retract(self, marks: Mapping[int, int]) -> None:
        """Take back part of what `reserve` noted."""

        async def retracted(connection: Connection, writer: Writer) -> None:
            await changes.retract_marks(connection, marks, writer.tenure.worker)

        await self._change(retracted)

    async def dispatch(self, claim: Claim, attempt: int) -> None:
        """Note that attempt number `attempt` of the claim is about to be made; await it before the first byte."""
        await self._commits.dispatch(claim, attempt)

    async def defer(self, claim: Claim, spent: Spent) -> None:
        """Note that an attempt ended without a verdict and when the next one is due."""
        await self._commits.defer(claim, spent)

    async def record(self, records: Sequence[Record]) -> Sequence[Emission]:
        """Store results, exactly one per result_id; returns what stands in the outbox of them, in the order given."""
        return await self._commits.record(records)

    async def finish(self, batch_numbers: Sequence[int]) -> None:
        """Note that all results of these batches are in all our sinks, *before* the source is told."""
        numbers = sorted(batch_numbers)

        async def finished(connection: Connection, _: Writer) -> None:
            await connection.execute(FORGET_ATTEMPTS, numbers)
            await connection.execute(FINISH, numbers, self._clock())

        await self._change(finished)

    async def advance(self, sink: str, position: Position) -> None:
        """Note how far a sink of ours has come, after the sink has made it durable."""

        async def advanced(connection: Connection, writer: Writer) -> None:
            await connection.execute(ADVANCE, writer.tenure.worker, sink, position.seq, position.cursor)

        await self._change(advanced)

    async def note(self, key: str, value: str) -> None:
        """Remember a small fact of this worker across restarts."""

        async def noted(connection: Connection, writer: Writer) -> None:
            await notes.note(connection, writer.tenure.worker, [(key, value)])

        await self._change(noted)

    async def note_in_work(self, noted: Mapping[str, tuple[int, int]]) -> None:
        """Note for the fleet how often messages were in work; a count of one or less forgets."""
        await self._change(lambda connection, _: notes.note_in_work(connection, noted))

    async def hold_parked(self) -> None:
        """Be the only one of the fleet who sends parked claims again, until we close.

        :raises worker.errors.StateHeld: if another worker is at it.
        """

        async def held(connection: Connection, writer: Writer) -> None:
            await writer.hold_parked(connection)

        await self._change(held)

    async def purge(self, before: float) -> int:
        """Delete content of batches finished before `before` (epoch seconds); returns how many results.

        Batches are still recognised and counted afterwards. Done in small steps between which other changes are
        written.
        """

        async def purged(connection: Connection, _: Writer) -> tuple[int, int]:
            return await retention.purge_some(connection, before)

        total = 0
        while True:
            results, batches = await self._change(purged)
            total += results
            if batches < retention.BATCHES_A_STEP:
                return total

    def end_by(self, deadline: float) -> None:
        """Have no commit wait for the server beyond this time of the loop's clock."""
        self._end_by = self._writing.deadline = deadline

    async def close(self) -> None:
        """Commit what waits and let go of name and connections; idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._commits.end(StateError("ledger: closed"))
        await self._writer.close()
        await super().close()

    async def _write(self, group: Group[Step]) -> None:
        with CancelScope(deadline=self._end_by) as self._writing:
            await self._writer.write(group)
        if self._writing.cancelled_caught:
            raise SinkUnavailable(f"{self._address.server} has not answered while there was time")

    async def _change(self, change: Callable[[Connection, Writer], Awaitable[T]]) -> T:
        group = self._commits.join()
        outcome: list[T] = []

        async def step(connection: Connection, writer: Writer) -> None:
            outcome[:] = [await change(connection, writer)]

        group.steps.append(step)
        await self._commits.committed(group)
        return outcome[0]


async def _ready(address: Address, *, create: bool = False) -> Connection:
    connection = await connect(address)
    try:
        await make_ready(connection, address, create=create)
    except BaseException:
        with CancelScope(shield=True):
            await disconnect(connection, address)
        raise
    return connection
