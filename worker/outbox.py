"""Carries results from the ledger to one sink: in order, each at least once, the position kept in the ledger.

The sink is idempotent on `result_id` and learns at its start what it already holds, so a crash between its
fsync and the ledger's note of the position leaves one record, not two.

Results that were just stored come by memory, for reading them back would cost as much as storing them; what
is missing there (after a start, or when the sink fell behind) is read from the ledger, which alone knows the order.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import anyio

from worker.crashpoint import crashpoint
from worker.flow.bell import Bell
from worker.flow.gate import Gate
from worker.flow.room import once_there_is_room
from worker.ports import Emission, Ledger, Position, Sink

EMIT_AT_ONCE = 512
AT_HAND = 4096
AT_HAND_BYTES = 32 << 20
GATHER_S = 0.01
READ_AT_ONCE = 500


class Records(Protocol):
    """The part of a ledger from which a batch's records are read."""

    async def results_of(self, batch_number: int, after_ordinal: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read a page of the batch's latest result records; see `worker.ports.Ledger`."""
        ...


async def records_of(ledger: Records, batch_number: int, total: int) -> AsyncIterator[bytes]:
    """Read the latest records of a batch of so many claims in order of ordinal, page by page to save memory."""
    after = 0
    while after < total and (page := await ledger.results_of(batch_number, after, READ_AT_ONCE)):
        for _, record in page:
            yield record
        after = page[-1][0]


class Outbox:
    """Carries results to one sink. `reached` is the last position that the sink has made durable.

    `behind` is true until the results of an earlier run have been carried: this run may not meet their batches.
    """

    def __init__(self, sink: Sink, ledger: Ledger, gate: Gate) -> None:
        self.sink = sink
        self.reached = 0
        self.behind = True
        self.moved = Bell()
        self._ledger = ledger
        self._gate = gate
        self._more = Bell()
        self._newest = 0
        self._at_hand: dict[int, Emission] = {}
        self._at_hand_bytes = 0

    async def open(self) -> None:
        """Open the sink where the ledger says it stands."""
        position = await self._ledger.position(self.sink.name)
        await self.sink.open(position.cursor)
        self.reached = position.seq

    def announce(self, emission: Emission) -> None:
        """Note that the ledger holds this result."""
        self._newest = max(self._newest, emission.seq)
        if len(self._at_hand) < AT_HAND and self._at_hand_bytes < AT_HAND_BYTES:
            self._at_hand[emission.seq] = emission
            self._at_hand_bytes += len(emission.body)
        self._more.ring()

    def expect(self, seq: int) -> None:
        """Note that results up to this place are in the ledger but not at hand."""
        self._newest = max(self._newest, seq)
        self._more.ring()

    async def run(self) -> None:
        """Carry results until cancelled; what is behind from an earlier run goes first."""
        await self._emit_from_ledger()
        self.behind = False
        while True:
            while self._newest <= self.reached:
                await self._more.wait()
            # Under load many come within a moment, and one fsync serves them all.
            await anyio.sleep(GATHER_S)
            if emissions := self._next_at_hand():
                await self._emit(emissions)
            else:
                await self._emit_from_ledger()

    async def _emit_from_ledger(self) -> None:
        while emissions := await self._ledger.outbox(self.reached, EMIT_AT_ONCE):
            await self._emit(emissions)

    def _next_at_hand(self) -> list[Emission]:
        """Take what follows without a gap; a gap may be a result that is only in the ledger."""
        emissions: list[Emission] = []
        while len(emissions) < EMIT_AT_ONCE:
            emission = self._at_hand.pop(self.reached + len(emissions) + 1, None)
            if emission is None:
                break
            emissions.append(emission)
            self._at_hand_bytes -= len(emission.body)
        return emissions

    async def _emit(self, emissions: Sequence[Emission]) -> None:
        name = self.sink.name
        cursor = await once_there_is_room(self._gate, lambda: self.sink.write(emissions), what=name)
        crashpoint("outbox_written")
        position = Position(emissions[-1].seq, cursor)
        await once_there_is_room(self._gate, lambda: self._ledger.advance(name, position), what="ledger")
        crashpoint("outbox_advanced")
        self.reached = position.seq
        for seq in [seq for seq in self._at_hand if seq <= self.reached]:
            self._at_hand_bytes -= len(self._at_hand.pop(seq).body)
        self.moved.ring()
