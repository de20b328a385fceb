"""Writes results: a verdict, a refusal or an earlier result as a record of schema 1. Pure."""

from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from worker.claim import Batch
from worker.result import Disposition, Result, Verdict
from worker.x12 import ClaimFacts

# What is certain enough to be told again for an equal batch, instead of asking again.
REUSABLE = frozenset(
    {Disposition.ACCEPTED, Disposition.ACCEPTED_WITH_ERRORS, Disposition.REJECTED, Disposition.INVALID}
)


def draft(
    batch: Batch,
    ordinal: int,
    facts: ClaimFacts,
    verdict: Verdict,
    *,
    now: float,
    environment: str,
    generation: int = 1,
    attempts: int = 0,
    ambiguous_attempts: int = 0,
    first_sent_at: float | None = None,
    latency_s: float | None = None,
) -> Result:
    """Write a claim's result of the verdict on it; times are seconds since the epoch, `latency_s` is a duration.

    :raises ValueError: if the verdict has no disposition.
    """
    if verdict.disposition is None:
        raise ValueError("a verdict without a disposition is no result")
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
        received_at=_in_utc_again(batch.received_at),
        first_sent_at=None if first_sent_at is None else in_utc(first_sent_at),
        completed_at=in_utc(now),
        latency_ms=None if latency_s is None else round(latency_s * 1000),
        environment=environment,
    )


def draft_again(batch: Batch, known: Result, *, now: float) -> Result | None:
    """Write an earlier result again for the equal claim of an equal batch; None if it is not certain enough."""
    refused_as_request = known.reason is not None and known.reason.source == "http"
    if known.disposition not in REUSABLE or refused_as_request:
        return None
    return msgspec.structs.replace(
        known,
        result_id=f"{batch.batch_id}:{known.ordinal}:1",
        claim_id=f"{batch.batch_id}:{known.ordinal}",
        generation=1,
        supersedes=None,
        batch_id=batch.batch_id,
        batch_name=batch.name,
        duplicate_of=known.result_id,
        attempts=0,
        ambiguous_attempts=0,
        received_at=in_utc(batch.received_at),
        first_sent_at=None,
        completed_at=in_utc(now),
        latency_ms=None,
    )


def in_utc(seconds: float) -> str:
    """Write a time, seconds since the epoch, as the records have it: ISO 8601 in UTC, to the millisecond."""
    milliseconds = round(seconds * 1000)
    return f"{_iso_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


_in_utc_again = lru_cache(maxsize=64)(in_utc)  # for what is the same for all claims of a batch


@lru_cache(maxsize=64)
def _iso_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
