"""Hands the claims of an open batch on: those that can be sent to the turns, a result to the rest.

A large batch is cut piece by piece, as fast as its claims get their turn. Of a batch met again, answered claims
are skipped and the others carry what they already cost.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import anyio
import anyio.to_thread
import structlog

from worker.batches import OpenBatch
from worker.claim import Claim
from worker.effort import Effort
from worker.flow.retry import RetryPolicy
from worker.ports import Ledger, Spent
from worker.preparing import BROKEN, LOST, Prepared, cut, lost_claims, next_piece
from worker.recorder import OUTCOME_UNKNOWN, Recorder
from worker.result import Reason, decode_result
from worker.screening import Screen
from worker.settings import InputSettings
from worker.turns import LOW_WATER, Turns
from worker.x12 import Finding, SplitClaim

log = structlog.get_logger()


class Feeder:
    """Called by the intake, for one batch or for many at a time."""

    def __init__(
        self,
        ledger: Ledger,
        turns: Turns,
        recorder: Recorder,
        policy: RetryPolicy,
        screen: Screen,
        settings: InputSettings,
        *,
        safe_to_repeat: bool,
        force: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._turns = turns
        self._recorder = recorder
        self._policy = policy
        self._screen = screen
        self._settings = settings
        self._safe_to_repeat = safe_to_repeat
        self._force = force
        self._clock = clock
        self._threads = anyio.CapacityLimiter(1)
        self._cutting = anyio.Lock()  # one at a time: many would find the same room

    async def feed(self, batch: OpenBatch, one: Prepared) -> None:
        """Split a large batch piece by piece, as fast as its claims get their turn."""
        claims = cut(one, self._settings)
        handed_on = 0
        lost: Finding | None = None
        while handed_on < one.units:
            async with self._cutting:
                await self._turns.lighter()
                piece = lost_claims(handed_on, one, lost) if lost else await self._next_piece(claims, one, batch)
                if isinstance(piece, Finding):
                    lost = piece
                    continue
                handed_on += len(piece)
                await self.hand_on(batch, piece)
            while len(batch.fresh) >= LOW_WATER:
                await batch.wants_more.wait()

    async def _next_piece(
        self, claims: Iterator[SplitClaim], one: Prepared, batch: OpenBatch
    ) -> list[SplitClaim] | Finding:
        """Cut the next claims off; or say why no more can be."""
        try:
            return await anyio.to_thread.run_sync(next_piece, claims, one, limiter=self._threads)
        except OSError as error:
            # No traceback: the batch is named, and nothing of ours is broken.
            log.error("batch.lost", batch=batch.batch.name, batch_id=batch.batch.batch_id, errno=error.errno)  # noqa: TRY400
            return LOST
        except Exception:  # the outermost frame of cutting a batch: one is lost, the worker does not end
            log.exception("task.failed", task="batch", batch=batch.batch.name, batch_id=batch.batch.batch_id)
            return BROKEN

    async def hand_on(self, batch: OpenBatch, splits: Sequence[SplitClaim]) -> None:
        """Send what can be sent, give a result to the rest."""
        answered = batch.opened.answered
        pending = [one for one in splits if one.ordinal not in answered] if answered else splits
        if batch.opened.original is not None and self._settings.duplicates == "reuse" and not self._force:
            pending = await self._reuse(batch, pending)
        fresh, refused = [], []
        for one in pending:
            reason = self._reason_to_refuse(one)
            if reason is None:
                fresh.append(self._claim(batch, one))
            else:
                refused.append((one, reason))
        fresh = self._without_unsafe(batch, fresh)
        self._turns.offer(batch, (claim for claim in fresh if not claim.due_at))
        for claim in fresh:
            if claim.due_at:
                self._turns.defer(Effort(batch, claim), self._policy.time_left_s(claim.due_at, self._clock()))
        for one, reason in refused:
            self._recorder.refused(batch, one.ordinal, one.facts, reason, _generation(batch, one.ordinal))
        await self._recorder.room()

    def _without_unsafe(self, batch: OpenBatch, claims: list[Claim]) -> list[Claim]:
        """Give a result to claims that may have arrived before a crash, where a repeat would submit them twice."""
        if self._safe_to_repeat:
            return claims
        for claim in claims:
            if claim.ambiguous_attempts:
                self._recorder.answered(Effort(batch, claim), OUTCOME_UNKNOWN, latency_s=None)
        return [claim for claim in claims if not claim.ambiguous_attempts]

    def _reason_to_refuse(self, one: SplitClaim) -> Reason | None:
        if one.refusal is not None:
            return Reason(one.refusal.code, f"Not sent: {one.refusal.text}.", "worker")
        return self._screen(one.facts)

    def _claim(self, batch: OpenBatch, one: SplitClaim) -> Claim:
        generation = _generation(batch, one.ordinal)
        spent = _spent(batch, one.ordinal)
        if spent is None:
            return Claim(batch.batch, one.ordinal, one.interchange, one.facts, generation)
        return Claim(
            batch.batch,
            one.ordinal,
            one.interchange,
            one.facts,
            generation,
            attempts=spent.attempts,
            ambiguous_attempts=spent.ambiguous_attempts,
            first_sent_at=spent.first_sent_at,
            due_at=spent.due_at,
        )

    async def _reuse(self, batch: OpenBatch, splits: Sequence[SplitClaim]) -> list[SplitClaim]:
        """Tell the results of an earlier, equal batch again; return the claims for which there is none."""
        original = batch.opened.original
        if original is None or not splits:
            return list(splits)
        left = {one.ordinal: one for one in splits}
        after, last = splits[0].ordinal - 1, splits[-1].ordinal
        while after < last and (page := await self._ledger.results_of(original.number, after, last - after)):
            for ordinal, record in page:
                if ordinal in left and self._recorder.reused(batch, decode_result(record)):
                    del left[ordinal]
            await self._recorder.room()
            after = page[-1][0]
        return list(left.values())


def _generation(batch: OpenBatch, ordinal: int) -> int:
    """Tell which generation of the claim is sent: the first, or the one after its latest result."""
    return 1 if batch.earlier is None else batch.earlier.generations.get(ordinal, 0) + 1


def _spent(batch: OpenBatch, ordinal: int) -> Spent | None:
    """Tell what an unanswered claim cost before this process: nothing, what is noted, or one unknown attempt."""
    if batch.earlier is not None and ordinal in batch.earlier.generations:
        return batch.earlier.spent.get(ordinal)
    opened = batch.opened
    noted = opened.spent.get(ordinal)
    if noted is not None:
        return noted
    if ordinal <= opened.dispatched_through:
        return Spent(attempts=1, ambiguous_attempts=1, first_sent_at=None, due_at=0.0)
    return None
