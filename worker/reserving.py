"""Notes ahead of time that first attempts begin: one entry in the ledger for many claims.

"In flight" must be on disk before a claim's first byte. For first attempts that is one number a batch, how far its
claims may have been sent, and it may run ahead: what is noted and not sent counts as an attempt of unknown outcome
after a crash, never the other way round. So the first claim past the mark moves it for those behind it, too.
Where a repeat is not safe, the mark does not run ahead: a claim that was never sent must not end as "perhaps sent".
"""

from collections.abc import Iterable

from worker.batches import OpenBatch
from worker.crashpoint import crashpoint
from worker.effort import Effort
from worker.flow.bell import Bell
from worker.flow.gate import Gate
from worker.flow.room import once_there_is_room
from worker.ports import Ledger
from worker.turns import Turns

AHEAD = 256


class Reservations:
    """How far the first attempts of each open batch are noted; called concurrently, one task an attempt."""

    def __init__(self, ledger: Ledger, turns: Turns, gate: Gate, *, run_ahead: bool) -> None:
        self._ledger = ledger
        self._turns = turns
        self._gate = gate
        self._ahead = AHEAD if run_ahead else 0
        self._moved = Bell()

    async def cover(self, effort: Effort) -> None:
        """Return once the claim's first attempt is noted on disk.

        :raises worker.errors.StateError: if the ledger cannot be trusted any more.
        """
        batch, ordinal = effort.batch, effort.claim.ordinal
        while ordinal > batch.reserved:
            if ordinal <= batch.asked:
                await self._moved.wait()
            else:
                await self._ask(batch, ordinal)

    async def give_back(self, batches: Iterable[OpenBatch]) -> None:
        """Take back what was noted and not sent, once no more is sent, so that it costs those claims nothing."""
        marks = {batch.batch.number: batch.sent for batch in batches if batch.reserved > batch.sent}
        if marks:
            crashpoint("before_give_back")
            await once_there_is_room(self._gate, lambda: self._ledger.retract(marks), what="ledger")
            crashpoint("after_give_back")

    async def _ask(self, batch: OpenBatch, ordinal: int) -> None:
        wanted = {batch: ordinal}
        for other, upto in self._turns.upcoming(self._ahead):
            if upto > max(other.asked, wanted.get(other, 0)):
                wanted[other] = upto
        for one, upto in wanted.items():
            one.asked = upto
        marks = {one.batch.number: upto for one, upto in wanted.items()}
        try:
            await once_there_is_room(self._gate, lambda: self._ledger.reserve(marks), what="ledger")
            for one, upto in wanted.items():
                one.reserved = max(one.reserved, upto)
        finally:
            # Without success each waiting task asks again; what another has asked for meanwhile is left to that one.
            for one, upto in wanted.items():
                if one.asked == upto:
                    one.asked = one.reserved
            self._moved.ring()
