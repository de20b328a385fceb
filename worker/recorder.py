"""Makes results: from a verdict, a refusal or an earlier result to one durable record and one log line.

::

    answered · refused · reused ──▶ drafts ──(all that wait, together)──▶ ledger ──▶ board, outboxes, log

The record is in the ledger before anything else happens to it; from then on the API is never asked again
for that claim. A full disk does not lose an answer: it stays in memory, the gate is shut, and storing is
tried again until there is room. Whoever brings results does not wait for the disk, only while the drafts are many.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec
import structlog

from worker.batches import Board, OpenBatch
from worker.claim import Batch, Claim
from worker.effort import Effort
from worker.flow.bell import Bell
from worker.flow.gate import Gate
from worker.flow.room import once_there_is_room
from worker.ports import Emission, Ledger, Record
from worker.result import AttemptClass, Disposition, Reason, Result, Verdict, encode_result
from worker.tally import Tally
from worker.x12 import ClaimFacts

REMEMBERED_TRANSACTIONS = 65_536

# What a replay could change: no usable answer, or one that said nothing final.
REPLAYABLE = frozenset({Disposition.UNDELIVERED, Disposition.UNDETERMINED, Disposition.REVIEW})
# What is certain enough to be told again for an equal batch, instead of asking again.
REUSABLE = frozenset(
    {Disposition.ACCEPTED, Disposition.ACCEPTED_WITH_ERRORS, Disposition.REJECTED, Disposition.INVALID}
)

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


class Draft(NamedTuple):
    """A result on its way to the disk. `parked` is its claim, if that may be sent again."""

    batch: OpenBatch
    result: Result
    parked: Claim | None


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._board = board
        self._gate = gate
        self._tally = tally
        self._environment = environment
        self._announce = announce
        self._clock = clock
        self._transactions: OrderedDict[str, str] = OrderedDict()
        self._drafts: list[Draft] = []
        self._storing = 0
        self._most_drafts = most_drafts
        self._more = Bell()
        self._stored = Bell()
        # Bound once: looking up how to log costs as much as a fifth of the line that every claim gets.
        self._log = structlog.get_logger().bind()

    @property
    def crowded(self) -> bool:
        """Whether so many results wait for the disk that no more should be brought."""
        return len(self._drafts) + self._storing >= self._most_drafts

    async def room(self) -> None:
        """Wait while it is crowded."""
        while self.crowded:
            await self._stored.wait()

    async def flushed(self) -> None:
        """Wait until every result brought so far is durable."""
        while self._drafts or self._storing:
            await self._stored.wait()

    async def run(self) -> None:
        """Store what is brought until cancelled.

        :raises worker.errors.StateError: if the ledger cannot be trusted any more.
        """
        while True:
            while not self._drafts:
                await self._more.wait()
            drafts, self._drafts = self._drafts, []
            self._storing = len(drafts)
            await self._store(drafts)
            self._storing = 0
            self._stored.ring()

    def answered(self, effort: Effort, verdict: Verdict, *, latency_s: float | None) -> None:
        """Bring the result of a claim whose verdict has a disposition."""
        claim = effort.claim
        verdict = self._held_against_others(claim, verdict)
        result = self._result(
            claim.batch,
            claim.ordinal,
            claim.facts,
            verdict,
            generation=claim.generation,
            attempts=effort.attempts,
            ambiguous_attempts=effort.ambiguous_attempts,
            first_sent_at=effort.first_sent_at,
            latency_s=latency_s,
        )
        # A request fault speaks against query or settings: once those are mended the claim is worth another try.
        replayable = result.disposition in REPLAYABLE or verdict.request_fault
        self._bring(Draft(effort.batch, result, claim if replayable else None))

    def refused(self, batch: OpenBatch, ordinal: int, facts: ClaimFacts, reason: Reason, generation: int = 1) -> None:
        """Bring an `invalid` result: the claim was refused here and never sent."""
        verdict = Verdict(disposition=Disposition.INVALID, reason=reason)
        self._bring(Draft(batch, self._result(batch.batch, ordinal, facts, verdict, generation=generation), None))

    def reused(self, batch: OpenBatch, known: Result) -> bool:
        """Tell an earlier result again for the equal claim of an equal batch; False if it is not certain enough."""
        refused_as_request = known.reason is not None and known.reason.source == "http"
        if known.disposition not in REUSABLE or refused_as_request:
            return False
        result = msgspec.structs.replace(
            known,
            result_id=f"{batch.batch.batch_id}:{known.ordinal}:1",
            claim_id=f"{batch.batch.batch_id}:{known.ordinal}",
            generation=1,
            supersedes=None,
            batch_id=batch.batch.batch_id,
            batch_name=batch.batch.name,
            duplicate_of=known.result_id,
            attempts=0,
            ambiguous_attempts=0,
            received_at=_iso(batch.batch.received_at),
            first_sent_at=None,
            completed_at=_iso(self._clock()),
            latency_ms=None,
        )
        self._bring(Draft(batch, result, None))
        return True

    def _bring(self, draft: Draft) -> None:
        self._drafts.append(draft)
        self._more.ring()

    def _result(
        self,
        batch: Batch,
        ordinal: int,
        facts: ClaimFacts,
        verdict: Verdict,
        *,
        generation: int = 1,
        attempts: int = 0,
        ambiguous_attempts: int = 0,
        first_sent_at: float | None = None,
        latency_s: float | None = None,
    ) -> Result:
        if verdict.disposition is None:
            raise ValueError("recorder: a verdict without a disposition is no result")
        claim_id = f"{batch.batch_id}:{ordinal}"
        return Result(
            result_id=f"{claim_id}:{generation}",
            claim_id=claim_id,
            generation=generation,
            supersedes=f"{claim_id}:{generation - 1}" if generation > 1 else None,
            batch_id=batch.batch_id,
            batch_name=batch.name,
            ordinal=ordinal,
            disposition=verdict.disposition,
            reason=verdict.reason,
            transaction_id=verdict.transaction_id,
            status_code=verdict.status_code,
            response_type=verdict.response_type,
            message=verdict.message,
            http_status=verdict.http_status,
            attempts=attempts,
            ambiguous_attempts=ambiguous_attempts,
            correlation_id=verdict.correlation_id,
            trace_id=verdict.trace_id,
            patient_control_number=facts.patient_control_number or None,
            claim_type=facts.claim_type or None,
            payer_id=facts.payer_id or None,
            provider_tax_id=facts.provider_tax_id or None,
            provider_npi=facts.provider_npi or None,
            total_charge=facts.total_charge or None,
            edits=verdict.edits,
            syntax_errors=verdict.syntax_errors,
            payer_claim_number=verdict.payer_claim_number,
            x12_999=verdict.x12_999,
            x12_277ca=verdict.x12_277ca,
            received_at=_iso_again(batch.received_at),
            first_sent_at=None if first_sent_at is None else _iso(first_sent_at),
            completed_at=_iso(self._clock()),
            latency_ms=None if latency_s is None else round(latency_s * 1000),
            environment=self._environment,
        )

    async def _store(self, drafts: Sequence[Draft]) -> None:
        records = [_record(draft) for draft in drafts]
        seqs = await once_there_is_room(self._gate, lambda: self._ledger.record(records), what="ledger")
        for draft, record, seq in zip(drafts, records, seqs, strict=True):
            self._board.answered(draft.batch, seq, record.disposition)
            self._announce(Emission(seq, record.batch_number, record.result_id, record.body))
            self._tally.claim_completed(record.disposition, draft.result.latency_ms)
            self._tell(draft.result, record)

    def _tell(self, result: Result, record: Record) -> None:
        self._log.info(
            "claim.completed",
            claim_id=result.claim_id,
            generation=result.generation,
            disposition=record.disposition,
            reason=record.reason_code,
            reason_source=result.reason.source if result.reason else None,
            transaction_id=result.transaction_id,
            http_status=result.http_status,
            status_code=result.status_code,
            attempts=result.attempts,
            ambiguous_attempts=result.ambiguous_attempts,
            latency_ms=result.latency_ms,
            correlation_id=result.correlation_id,
            trace_id=result.trace_id,
        )

    def _held_against_others(self, claim: Claim, verdict: Verdict) -> Verdict:
        """One transaction id on two claims means that an answer may be another's: a person must look.

        The ids of the last tens of thousands of results are compared: a mixed-up connection shows at once.
        """
        transaction_id = verdict.transaction_id
        if transaction_id is None:
            return verdict
        claim_id = claim.claim_id
        known = self._transactions.setdefault(transaction_id, claim_id)
        if len(self._transactions) > REMEMBERED_TRANSACTIONS:
            self._transactions.popitem(last=False)
        if known == claim_id:
            return verdict
        self._log.error(
            "transaction.duplicated", claim_id=claim_id, other_claim_id=known, transaction_id=transaction_id
        )
        reason = Reason(
            "transaction_duplicated",
            "The service used one transaction id for two claims, so this answer may belong to the other one.",
            "worker",
        )
        return msgspec.structs.replace(verdict, disposition=Disposition.REVIEW, reason=reason)


def _record(draft: Draft) -> Record:
    result = draft.result
    return Record(
        batch_number=draft.batch.batch.number,
        ordinal=result.ordinal,
        generation=result.generation,
        result_id=result.result_id,
        disposition=result.disposition.value,
        reason_code=result.reason.code if result.reason else None,
        transaction_id=result.transaction_id,
        body=encode_result(result),
        parked=draft.parked,
    )


def _iso(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{_iso_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


_iso_again = lru_cache(maxsize=64)(_iso)  # for what is the same for all claims of a batch


@lru_cache(maxsize=64)
def _iso_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
