"""What one finished exchange means for its claim: a pure function, made of two tables.

The HTTP status first (contract.md §4; RFC 9110 §15):

==================================== =========== =========================================================
200                                  the body    step by step, see `STEPS`
400, 422                             the body    if it decides anything; else rejected, our request is at fault
404, 405, 409, 410, 415              rejected    our request is at fault; several in a row shut the gate
413                                  rejected    ``too_large``: this claim only
500, 503, 429                        again       transient, and the service is short of capacity
408, 425                             again       transient
502, 504 and any other 5xx           again       ambiguous, and the service is short of capacity
3xx                                  again       ambiguous, in the end review: a portal's word; never followed
any other 4xx                        review      at fault; 401 and 403 are the client's and do not come here
1xx, other 2xx, below 100, above 599 again       ambiguous, in the end review: that is not the protocol
==================================== =========== =========================================================

A 200 that cannot be read is ambiguous, in the end review. In the body the first step that decides gives the
reason. Where repeating is not safe, *ambiguous* ends at once as review.
"""

from collections.abc import Callable

import msgspec

from worker.precheck.acknowledged import by_claim_status, without_verdict
from worker.precheck.answer import BAD_JSON, NOT_JSON, UNKNOWN_SHAPE, Envelope, printable, read_answer
from worker.precheck.evidence import NOTHING, OK, Decision, Evidence, HttpAnswer, Rules, gather
from worker.precheck.particulars import edits_of, payer_claim_number_of, syntax_errors_of
from worker.precheck.plainly import accepted_plainly
from worker.precheck.service_errors import by_errors
from worker.precheck.syntax import by_syntax
from worker.precheck.wording import HTTP_ANSWERS
from worker.result import AttemptClass, Disposition, Reason, Verdict
from worker.settings.codes import CodeClass
from worker.x12 import ClaimFacts

__all__ = ["STEPS", "HttpAnswer", "Rules", "judge"]

Step = Callable[[Evidence, Rules], Decision | None]

_BODY_MAY_DECIDE = frozenset({400, 422})
_REFUSED = frozenset({400, 404, 405, 409, 410, 413, 415, 422})
_TOO_LARGE = 413
_TRANSIENT = frozenset({408, 425, 429, 500, 503})
_NOT_OF_CAPACITY = frozenset({408, 425})
_UNREADABLE = {
    BAD_JSON: "The service's answer is damaged and cannot be read.",
    NOT_JSON: "The service answered with something that is no answer to a check, perhaps a web page.",
    UNKNOWN_SHAPE: "The service's answer has none of the parts that an answer to a check has.",
}

_INTERNAL_FAILURE = Reason("ERR837", "The service had an internal failure with the claim (ERR837).", "code")
_UNKNOWN_CODE = Reason(
    "unknown_code",
    "The service answered with a code that is not in the table: it stands in status_code, and api.codes can tell what "
    "it means.",
    "code",
)


def judge(answer: HttpAnswer, facts: ClaimFacts, rules: Rules) -> Verdict:
    """Say what a finished exchange means for the claim with these facts; never raises, whatever was answered.

    Of `facts` the patient control number and the total charge are compared. A status 401 or 403 belongs to
    the client, which knows tokens; here it is only sent to review.
    """
    if answer.status != OK and answer.status not in _BODY_MAY_DECIDE:
        return _verdict(answer, by_http_status(answer.status), NOTHING, rules)
    envelope = read_answer(answer.body, answer.content_type, rules.root_field)
    if envelope.fault:
        decision = _unreadable(envelope.fault) if answer.status == OK else by_http_status(answer.status)
        return _verdict(answer, decision, NOTHING, rules)
    if answer.status == OK and (accepted := accepted_plainly(answer, envelope, facts, rules)):
        return accepted
    return judge_step_by_step(answer, envelope, facts, rules)


def judge_step_by_step(answer: HttpAnswer, envelope: Envelope, facts: ClaimFacts, rules: Rules) -> Verdict:
    """Judge an answer that can be read by the table of `STEPS`."""
    evidence = gather(answer.status, envelope, facts, rules)
    decision = _first_decision(evidence, rules)
    if answer.status != OK and decision.disposition in {Disposition.REVIEW, Disposition.UNDETERMINED}:
        decision = by_http_status(answer.status)
    return _verdict(answer, decision, evidence, rules)


def by_http_status(status: int) -> Decision:
    """Decide by the status alone."""
    code = f"http_{status}"
    text = f"{HTTP_ANSWERS.get(status, 'The service gave an unusual answer')} (HTTP {status})."
    if status in _REFUSED:
        too_large = status == _TOO_LARGE
        reason = Reason("too_large" if too_large else code, text, "http")
        return Decision(Disposition.REJECTED, reason, request_fault=not too_large)
    if status in _TRANSIENT:
        overload = status not in _NOT_OF_CAPACITY
        return Decision(None, Reason(code, text, "http"), AttemptClass.TRANSIENT, overload=overload)
    match status // 100:
        case 3:
            text = f"The service pointed to another address, which is never followed (HTTP {status})."
            reason = Reason("unexpected_redirect", text, "http")
            return Decision(None, reason, AttemptClass.AMBIGUOUS, at_the_end=Disposition.REVIEW)
        case 4:
            return Decision(Disposition.REVIEW, Reason(code, text, "http"), request_fault=True)
        case 5:
            return Decision(None, Reason(code, text, "http"), AttemptClass.AMBIGUOUS, overload=True)
    text = f"The service did not keep to the protocol (HTTP {status})."
    reason = Reason("protocol_error", text, "http")
    return Decision(None, reason, AttemptClass.AMBIGUOUS, at_the_end=Disposition.REVIEW)


def by_availability(evidence: Evidence, rules: Rules) -> Decision | None:
    """Step 3: an internal failure (``ERR837``) or a code that says that a system was not available."""
    code = evidence.payload.status_code
    if evidence.payload.response_type.upper() == "ERR837":
        reason = _INTERNAL_FAILURE
    elif evidence.code.code_class is CodeClass.RETRY:
        reason = Reason(code, f"{evidence.code.text} (code {code}).", "code")
    else:
        return None
    return Decision(None, reason, AttemptClass.TRANSIENT)


def by_code(evidence: Evidence, rules: Rules) -> Decision | None:
    """Step 4: a code that is final, or one that nobody foresaw."""
    code = evidence.payload.status_code
    meaning = evidence.code
    if meaning.code_class is CodeClass.REJECTED:
        return Decision(Disposition.REJECTED, Reason(code, f"{meaning.text} (code {code}).", "code"))
    if meaning.code_class is CodeClass.REVIEW:
        # An unknown code stays out of reason and logs: nobody knows what the service writes there.
        reason = Reason(code, f"{meaning.text} (code {code}).", "code") if meaning.known else _UNKNOWN_CODE
        return Decision(Disposition.REVIEW, reason)
    return None


# In this order, the first that decides is right; if none does, the answer holds no verdict.
STEPS: tuple[tuple[str, Step], ...] = (
    ("errors instead of a payload", by_errors),
    ("a system was not available", by_availability),
    ("a final or unknown code", by_code),
    ("TA1 or 999 reject", by_syntax),
    ("the 277CA on our claim", by_claim_status),
)


def _first_decision(evidence: Evidence, rules: Rules) -> Decision:
    for _, step in STEPS:
        if decision := step(evidence, rules):
            return decision
    return without_verdict(evidence)


def _unreadable(fault: str) -> Decision:
    return Decision(
        None, Reason(fault, _UNREADABLE[fault], "http"), AttemptClass.AMBIGUOUS, at_the_end=Disposition.REVIEW
    )


def _verdict(answer: HttpAnswer, decision: Decision, evidence: Evidence, rules: Rules) -> Verdict:
    """Join the decision with what a person wants to see of the answer, whichever step decided."""
    ambiguous = decision.attempt_class is AttemptClass.AMBIGUOUS
    if ambiguous and not rules.safe_to_repeat:
        decision = msgspec.structs.replace(
            decision, disposition=Disposition.REVIEW, attempt_class=AttemptClass.DEFINITIVE
        )
    payload, errors = evidence.payload, evidence.envelope.errors
    return Verdict(
        disposition=decision.disposition,
        reason=decision.reason,
        attempt_class=decision.attempt_class,
        at_the_end=decision.at_the_end,
        overload=decision.overload,
        request_fault=decision.request_fault,
        no_answer=decision.no_answer or ambiguous,
        names_claim=bool(evidence.ours),
        retry_after_s=answer.retry_after_s,
        http_status=answer.status,
        transaction_id=payload.transaction_id or None,
        status_code=payload.status_code or None,
        response_type=payload.response_type or None,
        message=payload.message or (errors[0].message if errors else "") or None,
        correlation_id=printable(answer.correlation_id) if answer.correlation_id else None,
        trace_id=printable(answer.trace_id) if answer.trace_id else None,
        edits=edits_of(evidence),
        syntax_errors=syntax_errors_of(evidence),
        payer_claim_number=payer_claim_number_of(evidence),
        x12_999=payload.x12_response if evidence.response_kind in {"999", "TA1"} else None,
        x12_277ca=payload.x12_277ca or None,
    )
