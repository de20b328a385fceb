"""Decides what one pre-check call is answered: from headers and body to the reply, without any waiting.

In this order: bearer, outage, permission, request, fault, required header, claim, verdict, documents. A fault that
loses the answer still counts as an attempt for the claim.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from worker.result import Disposition
from worker.simulator import checks
from worker.simulator.acknowledgement import write_acknowledgement
from worker.simulator.answers import AnswerBook, Entry, Stats
from worker.simulator.capacity import OK, Capacity, Load
from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.simulator.document import safe_delimiters
from worker.simulator.draws import draw, fingerprint
from worker.simulator.faults import drawn_fault, faulty_reply, gateway_reply
from worker.simulator.hostile import MEANINGS, OF_ANOTHER, SPOILT, spoilt
from worker.simulator.interchange import Submitted
from worker.simulator.latency import latency_s
from worker.simulator.outcomes import BY_NAME, Outcome
from worker.simulator.reply import Reply, json_reply, message_reply
from worker.simulator.status_report import write_status_report
from worker.simulator.token import Tokens
from worker.simulator.verdicts import Verdicts
from worker.x12 import Delimiters

_DELIMITERS = {"usual": Delimiters(b"*", b"^", b":", b"~"), "pipes": Delimiters(b"|", b"}", b"^", b"~")}
_CORRELATION = "x-optum-consumer-correlation-id"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """A reply, and what to write into the claim's entry once it has been sent; no entry if no claim was read."""

    reply: Reply
    entry: Entry | None = None
    meaning: Disposition = Disposition.UNDELIVERED
    transaction_id: str | None = None

    def book(self, *, sent: bool) -> None:
        """Enter what the client now knows: this answer, or nothing if it had gone."""
        if self.entry is None:
            return
        arrived = sent and self.reply.arrives
        self.entry.http_status = self.reply.status if arrived else 0
        self.entry.meaning = self.meaning if arrived else Disposition.UNDELIVERED
        self.entry.transaction_id = self.transaction_id if arrived else None


class _Call(msgspec.Struct, frozen=True, gc=False):
    """One attempt for one claim, as far as it has been read."""

    request: checks.Request
    interchange: bytes
    claim: Submitted | None
    claim_number: str
    entry: Entry
    attempt: int
    delay_s: float
    headers: Mapping[str, str]


class Precheck:
    """The service's mind: settings that may change, tokens, verdicts, and the books of what was answered."""

    def __init__(self, config: SimulatorConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.faults: FaultSettings = config.faults
        self.tokens = Tokens(config)
        self.book = AnswerBook()
        self.stats = Stats()
        self._verdicts = Verdicts(config)
        self._clock = clock
        self._started = clock()
        self._load = Load()
        # Only of an answer that names its claim can another claim's client know that it is not its own.
        self._last_body: bytes | None = None

    @property
    def out(self) -> bool:
        """Whether there is an outage at the moment."""
        return self.faults.out(self._clock() - self._started)

    def become(self, config: SimulatorConfig) -> None:
        """Behave by other settings from now on; paths, credentials, tokens and books stay."""
        self.config = config
        self.faults = config.faults
        self.tokens.lifetime_s = config.token_lifetime_s
        self._verdicts = Verdicts(config)
        self._started = self._clock()

    def decide(self, headers: Mapping[str, str], content_type: str, body: bytes) -> Decision:
        """Return what to answer to a POST of a claim; `headers` must find names in any case."""
        self.stats.prechecks += 1
        if self.faults.bearer_refused or not self.tokens.good(headers.get("Authorization")):
            self.stats.bearers_refused += 1
            return Decision(message_reply(401, "Unauthorized"))
        if self.faults.revoke_every and self.stats.prechecks % self.faults.revoke_every == 0:
            self.tokens.revoke_all()
        if self.out:
            return Decision(message_reply(503, "Service Unavailable"))
        if self.faults.forbidden:
            return Decision(message_reply(403, "Forbidden"))
        self.stats.mock_answers_asked += headers.get("environment") == "sandbox"
        try:
            call = self._read(headers, content_type, body)
        except checks.RequestRefused as refused:
            return Decision(json_reply(refused.status, refused.body))
        return self._answer(call, headers.get("providerTaxId"))

    def _read(self, headers: Mapping[str, str], content_type: str, body: bytes) -> _Call:
        request = checks.read_request(content_type, body, self.config)
        claim = checks.read_claim(request.x12)
        claim_number = claim.loops.claim_number if claim else ""
        interchange = fingerprint(request.x12.encode(errors="replace"))
        entry = self.book.attempt(claim_number, interchange)
        attempt = entry.attempts
        trace = {"x-optum-trace-id": interchange.hex()}
        if _CORRELATION in headers:
            trace["x-optum-correlation-id"] = headers[_CORRELATION]
        position = draw(self.config.seed, "latency", claim_number, attempt) if self.config.latency_scale else 0.0
        delay_s = latency_s(position, self.config.latency_scale)
        return _Call(request, interchange, claim, claim_number, entry, attempt, delay_s, trace)

    def _answer(self, call: _Call, tax_id: str | None) -> Decision:
        fault = drawn_fault(self.faults, draw(self.config.seed, "fault", call.claim_number, call.attempt))
        if fault:
            self.stats.faults[fault] = self.stats.faults.get(fault, 0) + 1
        if fault and fault not in SPOILT and fault not in OF_ANOTHER:
            return self._unanswered(call, faulty_reply(self.faults, fault), MEANINGS.get(fault))
        capacity = Capacity(self.faults.limit, self.faults.rate_per_s, self.config.gateway_timeout_s)
        end = self._load.begin(self.faults.capacity, capacity, self._clock(), call.delay_s)
        if end.status != OK:
            reply = gateway_reply(end.status, self.faults.retry_after_s)
            return Decision(msgspec.structs.replace(reply, delay_s=end.after_s), call.entry)
        call = msgspec.structs.replace(call, delay_s=end.after_s)
        if call.delay_s > self.config.gateway_timeout_s:
            return self._unanswered(call, gateway_reply(504, self.faults.retry_after_s))
        if tax_id is None:
            refused = checks.missing_header("providerTaxId")
            reply = json_reply(refused.status, refused.body, headers=call.headers, delay_s=call.delay_s)
            return Decision(reply, call.entry, Disposition.REJECTED)
        if fault == "wrong_answer" and self._last_body is not None:
            return Decision(Reply(status=200, body=self._last_body, delay_s=call.delay_s), call.entry, MEANINGS[fault])
        outcome = checks.refusal(call.claim, call.request, tax_id, self.config)
        if outcome is None:
            outcome = self._verdicts.choose(call.claim_number, call.attempt)
            outcome = BY_NAME["other_claim"] if fault == "wrong_claim" else outcome
        decision = self._spoken(call, outcome)
        if fault not in SPOILT:
            return decision
        meaning = MEANINGS.get(fault, decision.meaning)
        return msgspec.structs.replace(decision, reply=spoilt(decision.reply, fault), meaning=meaning)

    def _unanswered(self, call: _Call, reply: Reply, meaning: Disposition | None = None) -> Decision:
        delay_s = min(call.delay_s, self.config.gateway_timeout_s)
        reply = msgspec.structs.replace(reply, delay_s=delay_s)
        return Decision(reply, call.entry, meaning or Disposition.UNDELIVERED)

    def _spoken(self, call: _Call, outcome: Outcome) -> Decision:
        """Return the answer that says this outcome, in the shape that was asked for."""
        if outcome.http_status != 200:
            reply = gateway_reply(outcome.http_status, self.faults.retry_after_s)
            reply = msgspec.structs.replace(reply, delay_s=call.delay_s)
            return Decision(reply, call.entry, outcome.meaning)
        selection = call.request.selection
        if outcome.graphql_error and selection.root:
            error = checks.graphql_error("The claim could not be checked", outcome.graphql_error)
            body: dict[str, Any] = {"errors": [error], "data": None}
            return Decision(
                json_reply(200, body, headers=call.headers, delay_s=call.delay_s), call.entry, outcome.meaning
            )
        transaction_id = str(UUID(bytes=fingerprint(call.interchange, b"%d %d" % (self.config.seed, call.attempt))))
        members = self._members(call, outcome, transaction_id)
        answer = {key: members[name] for key, name in selection.fields}
        body = {"data": {selection.root: answer}} if selection.root else answer
        reply = json_reply(200, body, headers=call.headers, delay_s=call.delay_s)
        if outcome.report == "claim":
            self._last_body = reply.body
        return Decision(reply, call.entry, outcome.meaning, transaction_id)

    def _members(self, call: _Call, outcome: Outcome, transaction_id: str) -> dict[str, str]:
        acknowledgement = report = ""
        if call.claim is not None:
            delimiters = safe_delimiters(_DELIMITERS[self.config.answer_delimiters], call.claim)
            acknowledgement = write_acknowledgement(call.claim, outcome, delimiters)
            report = write_status_report(call.claim, outcome, delimiters, transaction_id.replace("-", "").upper())
        return {
            "transactionId": transaction_id,
            "responseType": outcome.response_type,
            "x12ResponseData": call.request.x12 if outcome.syntax == "echo" else acknowledgement,
            "x12Response277CA": report,
            "message": outcome.message,
            "statusCode": outcome.code,
            "__typename": "ClaimResponse",
        }
