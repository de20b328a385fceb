"""What an answer means and what is emitted: verdicts, dispositions and the result record, schema 1.

======================== =========================================================================
``accepted``             the API's 277CA accepts the claim
``accepted_with_errors`` accepted, with edits a person should read
``rejected``             by the API, its 999 or its 277CA
``invalid``              refused here, never sent
``undetermined``         answered, but the answer holds no verdict on this claim
``review``               answered in a way nobody foresaw; a person must look
``undelivered``          no usable answer after all retries; parked, can be replayed
======================== =========================================================================
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Disposition(StrEnum):
    """A result's one-word summary."""

    ACCEPTED = "accepted"
    ACCEPTED_WITH_ERRORS = "accepted_with_errors"
    REJECTED = "rejected"
    INVALID = "invalid"
    UNDETERMINED = "undetermined"
    REVIEW = "review"
    UNDELIVERED = "undelivered"


class AttemptClass(StrEnum):
    """What an attempt's end says about sending the same claim again."""

    DEFINITIVE = "definitive"  # never again
    TRANSIENT = "transient"  # answered "not now": again
    AMBIGUOUS = "ambiguous"  # outcome unknown: again if that is safe
    NOT_SENT = "not_sent"  # never left: again


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a claim got its disposition. `source` says who decided.

    `source` is one of ``277ca``, ``999``, ``ta1``, ``code`` (the body's statusCode), ``http``, ``graphql``,
    ``transport``, ``worker``.
    """

    code: str
    text: str
    source: str


class Edit(msgspec.Struct, frozen=True, gc=False):
    """One STC of the 277CA. `level` is ``claim``, ``line``, ``provider`` or ``receiver``; amounts stay strings."""

    category: str
    status: str
    entity: str | None
    action: str | None
    amount: str | None
    text: str | None
    level: str


class SyntaxFinding(msgspec.Struct, frozen=True, gc=False):
    """One IK3/IK4 of the 999: where in what we sent (`position` counts segments from ST = 1), and what."""

    segment: str | None
    position: int | None
    element: str | None
    code: str | None
    text: str | None


class Verdict(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one finished attempt means for its claim.

    `disposition` is None when the claim should be sent again; then `attempt_class` is not definitive and
    `at_the_end` is the disposition if no attempt is left. `overload` marks a loss that speaks of the
    service's capacity (5xx, 429) and not of this claim. `request_fault` marks an answer that speaks against query or
    settings and not against the claim; several in a row shut the gate. `no_answer` marks a page, rubbish, a gateway's
    word or an internal error under HTTP 200; most of them are an outage. `names_claim`: the 277CA says that the answer
    is about this claim and no other. `retry_after_s`: seconds the server asked everybody to wait, already capped.
    """

    disposition: Disposition | None
    reason: Reason | None
    attempt_class: AttemptClass = AttemptClass.DEFINITIVE
    at_the_end: Disposition = Disposition.UNDELIVERED
    overload: bool = False
    request_fault: bool = False
    no_answer: bool = False
    names_claim: bool = False
    retry_after_s: float | None = None
    http_status: int | None = None
    transaction_id: str | None = None
    status_code: str | None = None
    response_type: str | None = None
    message: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None
    edits: tuple[Edit, ...] = ()
    syntax_errors: tuple[SyntaxFinding, ...] = ()
    payer_claim_number: str | None = None
    x12_999: str | None = None
    x12_277ca: str | None = None

    def __repr__(self) -> str:
        """Name the verdict without the answer's content: reprs end in logs."""
        return f"<Verdict {self.disposition or self.attempt_class}>"


class Result(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The one record emitted per claim and generation, schema 1: one JSON object a line, absent is null.

    Times are ISO 8601 in UTC, `latency_ms` runs from the first byte sent to the answer, `total_charge` is
    the string of CLM02. It is PHI.
    """

    schema: int = 1
    result_id: str
    claim_id: str
    generation: int
    supersedes: str | None = None
    batch_id: str
    batch_name: str
    ordinal: int
    disposition: Disposition
    reason: Reason | None
    transaction_id: str | None = None
    status_code: str | None = None
    response_type: str | None = None
    message: str | None = None
    http_status: int | None = None
    attempts: int
    ambiguous_attempts: int = 0
    correlation_id: str | None = None
    trace_id: str | None = None
    patient_control_number: str | None
    claim_type: str | None
    payer_id: str | None
    provider_tax_id: str | None
    provider_npi: str | None
    total_charge: str | None
    edits: Sequence[Edit] = ()
    syntax_errors: Sequence[SyntaxFinding] = ()
    payer_claim_number: str | None = None
    x12_999: str | None = None
    x12_277ca: str | None = None
    duplicate_of: str | None = None
    received_at: str
    first_sent_at: str | None = None
    completed_at: str
    latency_ms: int | None = None
    environment: str

    def __repr__(self) -> str:
        """Name the result without its content: reprs end in logs."""
        return f"<Result {self.result_id} {self.disposition}>"


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Result)


def encode_result(result: Result) -> bytes:
    """Render a result as one line of JSON without its newline."""
    return _ENCODER.encode(result)


def decode_result(record: bytes) -> Result:
    """Read back what `encode_result` wrote.

    :raises msgspec.DecodeError: if it is not such a record.
    """
    return _DECODER.decode(record)
