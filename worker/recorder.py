"""Stores results: of a verdict, a refusal or an earlier result one durable record and one log line.

::

    answered · refused · reused ──▶ unstored ──(all that wait, together)──▶ ledger ──▶ board, outboxes, log

The record is in the ledger before anything else happens to it; from then on the API is never asked again
for that claim. A full disk does not lose an answer: it stays in memory, the gate is shut, and storing is
tried again until there is room. Bringing a result does not wait for the disk; callers wait only while the drafts are
many or large (`worker.unstored`).
"""

import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from worker.batches import Board, OpenBatch
from worker.claim import Claim
from worker.drafting import draft, draft_again
from worker.effort import Effort
from worker.flow.allowance import ANSWER_BYTES, Allowance
from worker.flow.gate import Gate
from worker.flow.room import once_there_is_room
from worker.ports import Emission, Ledger, Record
from worker.result import AttemptClass, Disposition, Reason, Result, Verdict, encode_result
from worker.tally import Tally
from worker.transactions import DUPLICATED, Transactions, loggable
from worker.unstored import Draft, Unstored
from worker.x12 import ClaimFacts

# What a replay could change: no usable answer, or one that said nothing final.
REPLAYABLE = frozenset({Disposition.UNDELIVERED, Disposition.UNDETERMINED, Disposition.REVIEW})

# For a claim that was in flight when its process died, where a repeat would submit it twice.
OUTCOME_UNKNOWN = Verdict(
    disposition=Disposition.REVIEW,
    reason=Reason(
        "outcome_unknown",
        "The worker ended while this claim was being sent: nobody knows whether it arrived, and a repeat is not safe.",
        "worker",
    ),
    attempt_class=AttemptClass.AMBIGUOUS,
)


class Recorder:
    """Stores results and tells the board; called once per claim and generation. Its one task is `run`."""

    def __init__(
        self,
        ledger: Ledger,
        board: Board,
        gate: Gate,
        tally: Tally,
        environment: str,
        *,
        announce: Callable[[Emission], None],
        most_drafts: int = 1000,
        large: Allowance | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._board = board
        self._gate = gate
        self._tally = tally
        self._environment = environment
        self._announce = announce
        self._clock = clock
        self._transactions = Transactions()
        self._unstored = Unstored(most_drafts, large or Allowance(ANSWER_BYTES))
        # Bound once: looking up how to log costs as much as a fifth of the line that every claim gets.
        self._log = structlog.get_logger().bind()

    @property
    def crowded(self) -> bool:
        """Whether so many results, or such large ones, wait for the disk that no more should be brought."""
        return self._unstored.crowded

    async def room(self) -> None:
        """Wait while it is crowded."""
        await self._unstored.room()

    async def flushed(self) -> None:
        """Wait until every result brought so far is durable."""
        await self._unstored.emptied()

    async def run(self) -> None:
        """Store what is brought until cancelled.

        :raises worker.errors.StateError: if the ledger cannot be trusted any more.
        """
        while True:
            portion = await self._unstored.portion()
            await self._store(portion)
            self._unstored.stored(portion)

    def answered(self, effort: Effort, verdict: Verdict, *, latency_s: float | None) -> None:
        """Bring the result of a claim whose verdict has a disposition."""
        claim = effort.claim
        verdict = self._held_against_others(claim, verdict)
        result = draft(
            claim.batch,
            claim.ordinal,
            claim.facts,
            verdict,
            now=self._clock(),
            environment=self._environment,
            generation=claim.generation,
            attempts=effort.attempts,
            ambiguous_attempts=effort.ambiguous_attempts,
            first_sent_at=effort.first_sent_at,
            latency_s=latency_s,
        )
        # A request fault speaks against query or settings: once those are mended the claim is worth another try.
        replayable = result.disposition in REPLAYABLE or verdict.request_fault
        self._unstored.bring(Draft(effort.batch, result, claim if replayable else None, claim))

    def refused(self, batch: OpenBatch, ordinal: int, facts: ClaimFacts, reason: Reason, generation: int = 1) -> None:
        """Bring an `invalid` result: the claim was refused here and never sent."""
        verdict = Verdict(disposition=Disposition.INVALID, reason=reason)
        result = draft(
            batch.batch,
            ordinal,
            facts,
            verdict,
            now=self._clock(),
            environment=self._environment,
            generation=generation,
        )
        self._unstored.bring(Draft(batch, result, None))

    def reused(self, batch: OpenBatch, known: Result) -> bool:
        """Bring an earlier result again for the equal claim of an equal batch; False if it is not certain enough."""
        result = draft_again(batch.batch, known, now=self._clock())
        if result is None:
            return False
        self._unstored.bring(Draft(batch, result, None))
        return True

    async def _store(self, drafts: Sequence[Draft]) -> None:
        records = [_record(one) for one in drafts]
        stored = await once_there_is_room(self._gate, lambda: self._ledger.record(records), what="ledger")
        for one, record, emission in zip(drafts, records, stored, strict=True):
            self._board.answered(one.batch, emission.seq, record.disposition)
            self._announce(emission)
            self._tally.claim_completed(record.disposition, one.result.latency_ms)
            if emission.body == record.body:
                self._tell(one.result, record)
            else:
                self._log.warning("claim.told_elsewhere", claim_id=one.result.claim_id, generation=record.generation)

    def _tell(self, result: Result, record: Record) -> None:
        self._log.info(
            "claim.completed",
            claim_id=result.claim_id,
            generation=result.generation,
            disposition=record.disposition,
            reason=record.reason_code,
            reason_source=result.reason.source if result.reason else None,
            transaction_id=loggable(result.transaction_id, result.patient_control_number),
            http_status=result.http_status,
            status_code=result.status_code,
            attempts=result.attempts,
            ambiguous_attempts=result.ambiguous_attempts,
            latency_ms=result.latency_ms,
            correlation_id=result.correlation_id,
            trace_id=result.trace_id,
        )

    def _held_against_others(self, claim: Claim, verdict: Verdict) -> Verdict:
        """Send to review what may be another claim's answer: both claims, if the first one's is not on the disk yet."""
        transaction_id = verdict.transaction_id
        if transaction_id is None or (other := self._transactions.other_claim(transaction_id, claim.claim_id)) is None:
            return verdict
        self._log.error(
            "transaction.duplicated",
            claim_id=claim.claim_id,
            other_claim_id=other,
            transaction_id=loggable(transaction_id, claim.facts.patient_control_number),
        )
        self._unstored.doubt(other, transaction_id, DUPLICATED)
        return msgspec.structs.replace(verdict, disposition=Disposition.REVIEW, reason=DUPLICATED)


def _record(one: Draft) -> Record:
    result = one.result
    return Record(
        batch_number=one.batch.batch.number,
        ordinal=result.ordinal,
        generation=result.generation,
        result_id=result.result_id,
        disposition=result.disposition.value,
        reason_code=result.reason.code if result.reason else None,
        body=encode_result(result),
        parked=one.parked,
    )
