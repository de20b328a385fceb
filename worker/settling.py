"""Ends a batch: all its results are in all sinks → the ledger knows it → the file is archived, the message acked.

In that order: a crash between the last two finds the batch done in the ledger and only tells the source again.
"""

from collections.abc import Callable, Sequence

import anyio
import structlog

from worker.batches import Board, OpenBatch
from worker.crashpoint import crashpoint
from worker.flow.bell import Bell
from worker.flow.gate import Gate
from worker.flow.room import once_there_is_room
from worker.outbox import Outbox, records_of
from worker.ports import Ledger, Source
from worker.tally import Tally

log = structlog.get_logger()

GATHER_S = 0.05

OnSettled = Callable[[OpenBatch], None]


class Settler:
    """The one task that settles batches, many at a time; `on_settled` is called for each."""

    def __init__(
        self,
        source: Source,
        ledger: Ledger,
        board: Board,
        outboxes: Sequence[Outbox],
        gate: Gate,
        tally: Tally,
        on_settled: OnSettled | None = None,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._board = board
        self._outboxes = outboxes
        self._gate = gate
        self._tally = tally
        self._on_settled = on_settled
        self._moved = Bell()
        self._log = log.bind()  # once: looking up how to log costs as much as a fourth of a line
        for outbox in outboxes:
            outbox.moved = self._moved
        board.watched_by(self._moved)

    async def run(self) -> None:
        """Settle what can be settled until cancelled."""
        while True:
            if not self._ready():
                await self._moved.wait()
            # Nobody waits for the archive; under load one entry in the ledger and one fsync of a folder serve many, and
            # one look at all that is finished serves for all the rings of this while.
            await anyio.sleep(GATHER_S)
            if ready := self._ready():
                await self._settle(ready)

    def _ready(self) -> list[OpenBatch]:
        reached = min(outbox.reached for outbox in self._outboxes)
        return self._board.finished_through(reached)

    async def _settle(self, batches: list[OpenBatch]) -> None:
        fresh = [batch for batch in batches if not (batch.opened.done or batch.partial)]
        for batch in fresh:
            for outbox in self._outboxes:
                await self._complete(outbox, batch)
        crashpoint("after_complete")
        numbers = [batch.batch.number for batch in fresh]
        if numbers:
            await once_there_is_room(self._gate, lambda: self._ledger.finish(numbers), what="ledger")
        crashpoint("after_mark")
        deliveries = [batch.delivery for batch in batches]
        await once_there_is_room(self._gate, lambda: self._source.settle(deliveries), what="input")
        crashpoint("after_move")
        self._board.close(batches)
        for batch in batches:
            self._tally.batches_done += 1
            if self._on_settled is not None:
                self._on_settled(batch)
            if batch.partial:
                continue
            self._log.info(
                "batch.settled",
                batch=batch.batch.name,
                batch_id=batch.batch.batch_id,
                claims=batch.total,
                dispositions=dict(batch.counts),
            )

    async def _complete(self, outbox: Outbox, batch: OpenBatch) -> None:
        async def attempt() -> None:
            await outbox.sink.complete(batch.batch, records_of(self._ledger, batch.batch.number, batch.total or 0))

        await once_there_is_room(self._gate, attempt, what=outbox.sink.name)
