"""Sends parked claims again: the same bytes and control numbers, as the next generation, without any source.

::

    ledger: parked ──page by page──▶ board and turns ──▶ … the flow … ──▶ recorder: generation n + 1, supersedes n

A replay that was cut off is begun again with the same words. What has its new result by then is not parked any
more, or parked anew; the rest goes on with what its attempts have cost. The batches of a replay are noted in the
ledger until its results are in all sinks: sinks that write whole batches (edi) are owed the batches of a replay that
was cut off, even where none of their claims is left to be sent.
"""

import json
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

import anyio
import structlog
from anyio.lowlevel import checkpoint

from worker.batches import Board, OpenBatch
from worker.claim import Claim, Delivery
from worker.effort import Effort
from worker.flow.pace import Pace
from worker.flow.room import once_there_is_room
from worker.ports import Ledger, OpenedBatch, Replayable, ReplayBatch
from worker.recorder import OUTCOME_UNKNOWN, Recorder
from worker.turns import Turns

log = structlog.get_logger()

PAGE = 256
NOTE = "replaying"


class Notes(Protocol):
    """The part of a ledger that recalls small facts."""

    async def noted(self, key: str) -> str | None:
        """Recall what was noted."""
        ...


class Replay:
    """The one task that brings parked claims into the flow, in place of `worker.intake.Intake`.

    `known_claims` counts the claims to be sent again, `revisited` are the numbers of their batches.
    """

    def __init__(
        self,
        parked: Replayable,
        ledger: Ledger,
        board: Board,
        turns: Turns,
        recorder: Recorder,
        pace: Pace,
        *,
        safe_to_repeat: bool,
        most_open: int,
        most_fresh: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._parked = parked
        self._ledger = ledger
        self._board = board
        self._turns = turns
        self._recorder = recorder
        self._safe_to_repeat = safe_to_repeat
        self._gate = pace.gate
        self._policy = pace.policy
        self._most_open = most_open
        self._most_fresh = most_fresh
        self._clock = clock
        self.available = True
        self.known_claims = 0
        self.revisited: Sequence[int] = ()
        self.unopened: Sequence[Delivery] = ()

    async def run(self, *, once: bool = False) -> None:
        """Offer every parked claim once and return when all of them are settled; there is nothing to wait for after."""
        owed = json.loads(await self._ledger.noted(NOTE) or "[]")
        batches = {one.batch.number: one for one in await self._parked.batches(owed)}
        self.known_claims = sum(one.claims for one in batches.values())
        self.revisited = list(batches)
        await self._note(self.revisited)
        for one in batches.values():
            if not one.claims:
                self._board.open(_open_batch(one))
        await self._offer_all(batches)
        while len(self._board):
            await self._board.changed()
        await self._note([])

    async def _offer_all(self, batches: dict[int, ReplayBatch]) -> None:
        after = (0, 0)
        while claims := await self._parked.claims(after, PAGE):
            for number, some in groupby(claims, key=lambda claim: claim.batch.number):
                await self._room()
                await self._offer(batches[number], list(some))
            after = (claims[-1].batch.number, claims[-1].ordinal)

    async def _offer(self, one: ReplayBatch, claims: Sequence[Claim]) -> None:
        batch = self._board.find(one.batch.number)
        if batch is None:
            batch = _open_batch(one)
            self._board.open(batch)
            log.info("batch.replayed", batch=one.batch.name, batch_id=one.batch.batch_id, claims=one.claims)
        unsafe = [claim for claim in claims if claim.ambiguous_attempts and not self._safe_to_repeat]
        for claim in unsafe:
            self._recorder.answered(Effort(batch, claim), OUTCOME_UNKNOWN, latency_s=None)
        await self._recorder.room()
        safe = [claim for claim in claims if claim not in unsafe] if unsafe else claims
        self._turns.offer(batch, (claim for claim in safe if not claim.due_at))
        for claim in safe:
            if claim.due_at:
                self._turns.defer(Effort(batch, claim), self._policy.time_left_s(claim.due_at, self._clock()))

    async def _room(self) -> None:
        """Wait until more can be in memory; a batch that is open already adds claims only."""
        while len(self._board) >= self._most_open or self._turns.fresh >= self._most_fresh or self._turns.heavy:
            with anyio.move_on_after(0.05):
                await self._board.changed()

    async def _note(self, numbers: Sequence[int]) -> None:
        text = json.dumps(list(numbers))
        await once_there_is_room(self._gate, lambda: self._ledger.note(NOTE, text), what="ledger")


async def has_unfinished(ledger: Notes) -> bool:
    """Tell whether a replay was cut off whose results may not be in every sink."""
    return bool(json.loads(await ledger.noted(NOTE) or "[]"))


def _open_batch(one: ReplayBatch) -> OpenBatch:
    """Open a batch that is finished once the claims sent again are answered; all its others count as answered."""
    opened = OpenedBatch(batch=one.batch, last_seq=one.last_seq, total=one.total)
    delivery = Delivery(one.batch.name, f"replay:{one.batch.batch_id}", 0, one.batch.received_at, data=b"")
    batch = OpenBatch(opened, delivery)
    batch.partial = not one.done
    batch.total = one.claims if one.total is None else one.total
    batch.answered = batch.total - one.claims
    return batch


class NoSource:
    """`worker.ports.Source` of a replay: its claims come from the ledger, and no input is touched."""

    @property
    def set_aside(self) -> int:
        """Set nothing aside."""
        return 0

    async def open(self) -> None:
        """Leave every input as it is."""
        await checkpoint()

    async def take(self, limit: int, *, wait: bool = True) -> Sequence[Delivery]:
        """Give nothing."""
        await checkpoint()
        return []

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Tell nobody: the source was told when the batch was settled."""
        await checkpoint()

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Refuse nothing: what is parked was taken long ago."""
        await checkpoint()

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give nothing back: what is not answered stays parked."""
        await checkpoint()

    async def left_over(self) -> Sequence[str]:
        """Leave nothing over."""
        await checkpoint()
        return []

    async def close(self) -> None:
        """Hold nothing."""
        await checkpoint()
