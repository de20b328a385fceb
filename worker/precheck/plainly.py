"""The verdict on the answer that nearly every claim gets, without the detours that all others need.

A short cut through `worker.precheck.verdict`: an HTTP 200 with a good code, a 999 that accepts or none, and a 277CA of
the usual shape that names our claim and whose every status accepts without a remark. Whatever is not exactly that is
None here and is judged step by step; tests hold both ways against each other on thousands of answers.
"""

from worker.precheck.acknowledged import ACCEPTING, acceptance, says_so
from worker.precheck.answer import Envelope, printable
from worker.precheck.evidence import HttpAnswer, Rules
from worker.precheck.particulars import LEVEL_NAMES
from worker.precheck.wording import plain
from worker.result import Edit, Verdict
from worker.settings.codes import CodeClass
from worker.x12 import ClaimFacts, is_usual_999, read_usual_277ca


def accepted_plainly(answer: HttpAnswer, envelope: Envelope, facts: ClaimFacts, rules: Rules) -> Verdict | None:
    """Accept the claim if all of a readable answer with HTTP status 200 says so; None if anything is different."""
    payload = envelope.payload
    if (
        envelope.errors
        or not facts.patient_control_number
        or payload.response_type.upper() == "ERR837"
        or rules.codes.meaning(payload.status_code).code_class is not CodeClass.DECIDE
        or (payload.x12_response and not is_usual_999(payload.x12_response))
        or says_so(payload.message, rules)
    ):
        return None
    acknowledged = read_usual_277ca(payload.x12_277ca)
    if acknowledged is None or acknowledged.claim_number != facts.patient_control_number:
        return None
    edits: list[Edit] = []
    first = None
    for status in acknowledged.statuses:
        code = status.code
        if status.action != "WQ" or code.category not in ACCEPTING:
            return None
        if status.level:
            level = LEVEL_NAMES[status.level]
        else:
            level, first = "claim", first or code
        edits.append(Edit(code.category, code.status, code.entity or None, "WQ", status.amount or None, None, level))
    if first is None:
        return None
    decision = acceptance(plain(first.category), plain(first.status), plain(first.entity))
    return Verdict(
        disposition=decision.disposition,
        reason=decision.reason,
        names_claim=True,
        retry_after_s=answer.retry_after_s,
        http_status=answer.status,
        transaction_id=payload.transaction_id or None,
        status_code=payload.status_code or None,
        response_type=payload.response_type or None,
        message=payload.message or None,
        correlation_id=printable(answer.correlation_id) if answer.correlation_id else None,
        trace_id=printable(answer.trace_id) if answer.trace_id else None,
        edits=tuple(edits),
        payer_claim_number=acknowledged.payer_claim_number or None,
        x12_999=payload.x12_response or None,
        x12_277ca=payload.x12_277ca or None,
    )
