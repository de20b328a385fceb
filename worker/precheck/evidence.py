"""What the steps of the verdict look at: an HTTP answer, the rules in force, and all that the answer says.

An answer is taken apart once, here; the steps only compare.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Self

import msgspec

from worker.precheck.answer import Envelope, Payload
from worker.precheck.codes import CodeTable, Meaning
from worker.result import AttemptClass, Disposition, Reason
from worker.settings.codes import CodeClass
from worker.settings.service import ApiSettings
from worker.x12 import (
    AcknowledgedClaim,
    AnswerSets,
    ClaimAcknowledgement,
    ClaimFacts,
    FunctionalAcknowledgement,
    InterchangeAcknowledgement,
    Level,
    Status,
    claim_acknowledgement,
    functional_acknowledgement,
    interchange_acknowledgements,
    kind_of,
    read_sets,
)

OK = 200

_ECHOED_CLAIM_NUMBER_CHARS = 20
_AMOUNT = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{0,6})?", re.ASCII)
_NO_999 = FunctionalAcknowledgement(complete=False, groups=())
_NO_277CA = ClaimAcknowledgement(complete=False, levels=(), claims=())


class HttpAnswer(msgspec.Struct, frozen=True, gc=False):
    """A finished exchange. `content_type` is the header as it came, `retry_after_s` is parsed and capped."""

    status: int
    body: bytes
    content_type: str | None = None
    retry_after_s: float | None = None
    correlation_id: str | None = None
    trace_id: str | None = None

    def __repr__(self) -> str:
        """Show the status only: the body is PHI."""
        return f"<HttpAnswer {self.status}>"


class Rules(msgspec.Struct, frozen=True):
    """The settings that have a say in verdicts. `incomplete` finds the texts that say a check did not finish."""

    root_field: str = "claimPreCheck"
    codes: CodeTable = CodeTable()
    incomplete: re.Pattern[str] | None = None
    safe_to_repeat: bool = True

    @classmethod
    def of(cls, api: ApiSettings) -> Self:
        """Make the rules from the settings.

        :raises ValueError: if ``api.codes`` is wrong; `worker.settings.codes.code_problems` says how.
        """
        return cls(
            api.root_field, CodeTable(api.codes), incomplete_pattern(api.incomplete_check_patterns), api.safe_to_repeat
        )


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a step decided; the fields are those of `worker.result.Verdict`."""

    disposition: Disposition | None
    reason: Reason
    attempt_class: AttemptClass = AttemptClass.DEFINITIVE
    at_the_end: Disposition = Disposition.UNDELIVERED
    overload: bool = False
    request_fault: bool = False
    no_answer: bool = False


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """All that a readable answer says about our claim.

    `response_kind` is what ``x12ResponseData`` holds (`worker.x12.kind_of`; "" if it is empty). `ours` are
    the loops 2200D of the 277CA that name our claim, `above` the levels they stand under; if none names it,
    `above` are the levels without any claim.
    """

    status: int
    envelope: Envelope
    payload: Payload
    code: Meaning
    response_kind: str | None
    interchanges: tuple[InterchangeAcknowledgement, ...]
    functional: FunctionalAcknowledgement
    acknowledgement: ClaimAcknowledgement
    ours: tuple[AcknowledgedClaim, ...]
    above: tuple[Level, ...]

    def __repr__(self) -> str:
        """Show the status only: reprs end in logs."""
        return f"<Evidence {self.status}>"


NOTHING = Evidence(
    status=0,
    envelope=Envelope(),
    payload=Payload(),
    code=Meaning(CodeClass.DECIDE, ""),
    response_kind="",
    interchanges=(),
    functional=_NO_999,
    acknowledgement=_NO_277CA,
    ours=(),
    above=(),
)


def gather(status: int, envelope: Envelope, facts: ClaimFacts, rules: Rules) -> Evidence:
    """Read the acknowledgements of a readable answer and find our claim in them."""
    payload = envelope.payload
    if status != OK and payload.status_code == str(status):
        # An error body that repeats the HTTP status; that is no business code.
        payload = msgspec.structs.replace(payload, status_code="")
    response = payload.x12_response
    kind = kind_of(response) if response else ""
    members = [read_sets(response)] if kind in {"999", "TA1", "277"} else []
    acknowledgement = _NO_277CA
    if payload.x12_277ca:
        members.append(read_sets(payload.x12_277ca))
        acknowledgement = claim_acknowledgement(members[-1])
    ours = our_claims(acknowledgement.claims, facts.patient_control_number, facts.total_charge)
    return Evidence(
        status,
        envelope,
        payload,
        rules.codes.meaning(payload.status_code),
        kind,
        tuple([ta1 for sets in members if sets.ta1s for ta1 in interchange_acknowledgements(sets)]),
        _functional(members),
        acknowledgement,
        ours,
        _levels_heard(acknowledgement, ours),
    )


def _functional(members: Sequence[AnswerSets]) -> FunctionalAcknowledgement:
    """Read the 999 of an answer, whichever of its members holds it: one that rejects counts in the wrong place, too."""
    found = [each for sets in members if (each := functional_acknowledgement(sets)).groups]
    if len(found) < 2:
        return found[0] if found else _NO_999
    groups = tuple([group for each in found for group in each.groups])
    return FunctionalAcknowledgement(all(each.complete for each in found), groups)


def our_claims(
    claims: Sequence[AcknowledgedClaim], patient_control_number: str, total_charge: str
) -> tuple[AcknowledgedClaim, ...]:
    """Return the loops that name our claim.

    A number echoed exactly is ours. One that equals ours only after trimming, upper-casing or cutting to 20
    characters must also carry our charge, where both are given: two long numbers may begin alike. Beside ours,
    statuses that name no claim count as well, because they may speak against it.
    """
    if not patient_control_number:
        return ()
    if len(claims) == 1 and claims[0].claim_number == patient_control_number:
        return tuple(claims)
    exact = _with_unnamed(claims, lambda claim: claim.claim_number == patient_control_number)
    if exact:
        return exact
    whole = patient_control_number.strip().upper()
    forms = {whole, whole[:_ECHOED_CLAIM_NUMBER_CHARS].rstrip()} - {""}
    return _with_unnamed(
        claims, lambda claim: claim.claim_number.upper() in forms and _same_charge(claim.statuses, total_charge)
    )


def _with_unnamed(
    claims: Sequence[AcknowledgedClaim], is_ours: Callable[[AcknowledgedClaim], bool]
) -> tuple[AcknowledgedClaim, ...]:
    if not any(map(is_ours, claims)):
        return ()
    return tuple([claim for claim in claims if not claim.claim_number or is_ours(claim)])


@lru_cache(maxsize=8)
def incomplete_pattern(texts: tuple[str, ...]) -> re.Pattern[str] | None:
    """Make one pattern of the texts that say a check did not finish: any case, any white space between words."""
    found = [r"\s+".join(map(re.escape, words)) for text in texts if (words := text.split())]
    return re.compile("|".join(found), re.IGNORECASE) if found else None


def _levels_heard(acknowledgement: ClaimAcknowledgement, ours: tuple[AcknowledgedClaim, ...]) -> tuple[Level, ...]:
    """Return the levels that speak of our claim: those it stands under, or without it those with no claim below."""
    levels = acknowledgement.levels
    if not ours:
        return tuple([level for level in levels if not level.claims])
    places = ours[0].above if len(ours) == 1 else sorted({place for claim in ours for place in claim.above})
    return tuple([levels[place] for place in places])


def _same_charge(statuses: tuple[Status, ...], total_charge: str) -> bool:
    given = {amount for status in statuses if (amount := _amount(status.amount)) is not None}
    ours = _amount(total_charge)
    return ours is None or not given or ours in given


def _amount(text: str) -> Decimal | None:
    """Read an amount in any of its spellings: 170, 170.0, 0170.00."""
    return Decimal(text) if _AMOUNT.fullmatch(text) else None
