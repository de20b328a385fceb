"""The ledger in one SQLite file: WAL, synchronous FULL, one writer, group commit."""

import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from worker.claim import Claim
from worker.errors import StateError, StorageFull
from worker.ledger import batches, changes, retention
from worker.ledger.commits import Commits, Group
from worker.ledger.elsewhere import set_aside
from worker.ledger.estates import Estate, find_estates, take_in
from worker.ledger.opening import IDENTITY, connect, connect_readonly, create_or_check, sync_log_name
from worker.ledger.place import file_is_there, hold, prepare_folder
from worker.ledger.reads import SqliteReads
from worker.ledger.recall import recall
from worker.ledger.writer import Step, Writer
from worker.ports import Arrival, Emission, OpenedBatch, Position, Record, Spent

P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def open_sqlite(
    path: Path, *, environment: str = "", clock: Callable[[], float] = time.time
) -> AsyncIterator["SqliteLedger"]:
    """Hold the ledger at `path` until the block is left; see `worker.ledger.open_ledger`."""
    ledger = await to_thread.run_sync(partial(SqliteLedger.opened, path, environment, clock))
    try:
        yield ledger
    finally:
        with CancelScope(shield=True):
            await ledger.close()


@asynccontextmanager
async def open_sqlite_readonly(path: Path) -> AsyncIterator[SqliteReads]:
    """Read the ledger at `path` until the block is left; see `worker.ledger.open_ledger_readonly`."""
    if not await to_thread.run_sync(file_is_there, path):
        raise StateError(f"ledger: there is none at {path}; a worker makes it when it first runs with these settings")
    reader = await to_thread.run_sync(connect_readonly, path)
    try:
        yield SqliteReads(path, reader)
    finally:
        reader.close()


class SqliteLedger(SqliteReads):
    """`worker.ports.Ledger` in a file that no other process writes."""

    def __init__(
        self,
        path: Path,
        lock: int,
        writer: Writer,
        reader: sqlite3.Connection,
        environment: str,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(path, reader)
        self._lock = lock
        self._writer = writer
        self._environment = environment
        self._clock = clock
        self._writing = CapacityLimiter(1)
        self._commits: Commits[Step] = Commits(self._write)

    @classmethod
    def opened(
        cls, path: Path, environment: str, clock: Callable[[], float], *, hand_over: bool = False
    ) -> "SqliteLedger":
        """Lock, check and open the ledger at `path`, making it if there is none; blocking.

        With `hand_over` it is a dead worker's, opened to take over its batches.

        :raises StateHeld: if another process has it.
        :raises StateError: if it cannot be used; it is left as it was.
        """
        prepare_folder(path)
        file_is_there(path)
        with ExitStack() as undo:
            lock = hold(path, hand_over=hand_over)
            undo.callback(os.close, lock)
            create_or_check(path, exists=file_is_there(path))
            db = connect(path)
            undo.callback(db.close)
            sync_log_name(path)
            reader = connect_readonly(path, beside_writer=True)
            undo.callback(reader.close)
            ledger = cls(path, lock, Writer(path, db, clock), reader, environment, clock)
            undo.pop_all()
        return ledger

    async def open_batches(self, arrivals: Sequence[Arrival]) -> Sequence[OpenedBatch]:
        """Note that these deliveries are being worked on; recognise those seen before by `sha256` and `ref`."""
        opening = partial(batches.open_arrivals, arrivals=arrivals, environment=self._environment, now=self._clock())
        opened = await self._change(opening)
        known = [one for one in opened if one.known]
        recalled = iter(await self._read(recall, known) if known else ())
        return [
            next(recalled) if one.known else batches.as_new(arrival, one)
            for arrival, one in zip(arrivals, opened, strict=True)
        ]

    async def reserve(self, marks: Mapping[int, int]) -> None:
        """Note that first attempts may be under way from now on."""
        await self._commits.reserve(marks)

    async def retract(self, marks: Mapping[int, int]) -> None:
        """Take back part of what `reserve` noted."""
        await self._change(partial(changes.retract_marks, marks=marks))

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
        """Note that all results of these batches are in all sinks, *before* the source is told."""
        await self._change(partial(batches.finish, numbers=batch_numbers, now=self._clock()))

    async def identity(self) -> str:
        """Tell what distinguishes this ledger from every other, wherever it lies; made up at the first call."""
        known = await self.noted(IDENTITY)
        if known is None:
            known = secrets.token_hex(16)
            await self.note(IDENTITY, known)
        return known

    async def estates(self, refs: Sequence[str]) -> Sequence[Estate]:
        """Find the batches that were delivered under these refs."""
        return await self._read(find_estates, refs, self._environment)

    async def answered(self, refs: Sequence[str], environment: str) -> Mapping[str, int]:
        """Tell how many claims of the batches that were delivered under these refs have an answer."""
        found = await self._read(find_estates, refs, environment)
        return {estate.ref: estate.answered for estate in found}

    async def inherit(self, other: "SqliteLedger", estate: Estate) -> int:
        """Take in what another ledger knows of a batch, whose file is about to be ours; tells how many results came.

        It is set aside here until its file is opened. Doing it again, or over what is known here, adds what is missing.
        """
        theirs = other._read  # noqa: SLF001 - of this class
        return await take_in(estate, self._environment, theirs, self._change, self._clock())

    async def set_aside(self, batch_numbers: Sequence[int]) -> None:
        """Note that another ledger goes on with these batches, none of which is done."""
        await self._change(partial(set_aside, numbers=batch_numbers, now=self._clock()))

    async def advance(self, sink: str, position: Position) -> None:
        """Note how far a sink has come, after the sink has made it durable."""
        row = (sink, position.seq, position.cursor)
        await self._change(lambda db: db.execute("INSERT OR REPLACE INTO sinks VALUES (?, ?, ?)", row))

    async def note(self, key: str, value: str) -> None:
        """Remember a small fact across restarts."""
        await self._change(lambda db: db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, value)))

    async def purge(self, before: float) -> int:
        """Delete results and parked claims of batches finished before `before` (epoch seconds); returns how many.

        Only what all sinks ever noted have taken. Batches are still recognised and counted afterwards. Done in small
        steps between which other changes are written.
        """
        through = await self._read(retention.delivered_through)
        purged = 0
        expired = await self._read(retention.find_expired, before, through)
        for start in range(0, len(expired), retention.BATCHES_A_STEP):
            numbers = expired[start : start + retention.BATCHES_A_STEP]
            step = partial(retention.purge_some, numbers=numbers, through=through)
            while (some := await self._change(step)) == retention.ROWS_A_STEP:
                purged += some
            purged += some
        while purged and await self._change(retention.give_back):
            pass
        return purged

    def end_by(self, deadline: float) -> None:
        """Nothing to do: a disk answers, or fails."""

    async def close(self) -> None:
        """Commit what waits and let go of the file; idempotent."""
        if self._lock < 0:
            return
        lock, self._lock = self._lock, -1
        await self._commits.end(StateError("ledger: closed"))
        await to_thread.run_sync(self._let_go, lock, limiter=self._reading)

    async def _write(self, group: Group[Step]) -> None:
        await to_thread.run_sync(self._writer.write, group, limiter=self._writing)

    async def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        group = self._commits.join()
        outcome: list[T] = []
        group.steps.append(lambda db: outcome.append(change(db)))
        await self._commits.committed(group)
        return outcome[0]

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._commits.join()
        try:
            return await super()._read(query, *args, **kwargs)
        except StorageFull:
            raise
        except StateError as failure:
            self._commits.fail(failure)
            raise

    def _let_go(self, lock: int) -> None:
        self._reader.close()
        self._writer.close()
        os.close(lock)
