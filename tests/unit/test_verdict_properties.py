"""What no answer may bring about, whatever it is made of."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.spoken_answers import (
    ACCEPTED_277,
    ACCEPTED_999,
    FACTS,
    RULES,
    UNSAFE,
    ack_277,
    ack_999,
    envelope,
    judged,
    judged_277,
    members,
)
from worker.precheck.verdict import HttpAnswer, judge
from worker.result import AttemptClass, Disposition, Verdict

_GOOD = envelope(members())
_GREEN = {Disposition.ACCEPTED, Disposition.ACCEPTED_WITH_ERRORS}
_STATUS_OK = "STC*A2:20*20250911*WQ*170"
_CATEGORIES = ["A0", "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "E0", "E1", "E2", "E3", "E4", "R1", "F1", "P1", ""]
_REJECTING = {"A3", "A6", "A7", "A8", "E3", "E4"}
_ACCEPTING = {"A0", "A1", "A2", "A5"}


def hold_together(verdict: Verdict) -> None:
    """Check what every verdict promises to the flow and to the sinks."""
    assert verdict.reason is not None
    assert verdict.reason.text.endswith(".")
    if verdict.disposition is None:
        assert verdict.attempt_class in {AttemptClass.TRANSIENT, AttemptClass.AMBIGUOUS}
        assert verdict.at_the_end in {Disposition.UNDELIVERED, Disposition.REVIEW}
    else:
        assert verdict.attempt_class is AttemptClass.DEFINITIVE
        assert verdict.disposition not in {Disposition.INVALID, Disposition.UNDELIVERED}
    msgspec.json.encode(verdict)


_HEADERS = st.none() | st.text(st.characters(codec=None), max_size=20)


@given(
    st.integers(-5, 1100),
    st.binary(max_size=300) | st.just(_GOOD) | st.integers(0, len(_GOOD)).map(lambda length: _GOOD[:length]),
    st.none() | st.sampled_from(["application/json", "text/html", ""]),
    _HEADERS,
)
def test_no_answer_makes_judge_raise(status: int, body: bytes, content_type: str | None, header: str | None) -> None:
    for rules in (RULES, UNSAFE):
        verdict = judge(HttpAnswer(status, body, content_type, None, header, header), FACTS, rules)

        hold_together(verdict)
        assert verdict.disposition not in _GREEN or (status in {200, 400, 422} and body == _GOOD)


_X12ISH = st.lists(
    st.sampled_from(
        [
            *ACCEPTED_277.split("~"),
            *ACCEPTED_999.split("~"),
            *(
                "STC*A7:21**U",
                "STC*E1**U",
                "SVC*HC",
                "HL*9**19*1",
                "TRN*2*OTHER",
                "STC",
                "QTY*AA*9",
                "HL",
                "TA1*1*2*3*R*1",
            ),
        ]
    ),
    max_size=40,
).map("~".join)
_TEXTS = (
    st.text(max_size=20) | _X12ISH | st.sampled_from(["", "000", "303", "777", "ERR837", ACCEPTED_277, ACCEPTED_999])
)
_MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        name: _TEXTS | st.none() | st.integers()
        for name in ("transactionId", "x12ResponseData", "responseType", "x12Response277CA", "message", "statusCode")
    },
)
_ERRORS = st.lists(
    st.fixed_dictionaries({}, optional={"message": _TEXTS, "code": _TEXTS, "extensions": st.just({"code": "503"})})
)


@given(_MEMBERS, _ERRORS, st.sampled_from([200, 400, 422]))
def test_no_payload_makes_judge_raise(content: dict[str, Any], errors: list[Any], status: int) -> None:
    verdict = judged(envelope(content, errors=errors), status)

    hold_together(verdict)
    if errors or status != 200:
        assert verdict.disposition is not Disposition.ACCEPTED


def test_no_truncation_of_a_good_answer_is_accepted() -> None:
    assert judged(_GOOD).disposition is Disposition.ACCEPTED
    for length in range(len(_GOOD)):
        verdict = judged(_GOOD[:length])

        assert verdict.disposition is None
        assert verdict.attempt_class is AttemptClass.AMBIGUOUS
        hold_together(verdict)


def test_no_truncation_of_its_277ca_is_accepted() -> None:
    for length in range(len(ACCEPTED_277)):
        assert judged_277(ACCEPTED_277[:length]).disposition is Disposition.UNDETERMINED


def test_no_truncation_of_its_999_is_plainly_accepted() -> None:
    for length in range(1, len(ACCEPTED_999)):
        assert judged(members(x12ResponseData=ACCEPTED_999[:length])).disposition is Disposition.ACCEPTED_WITH_ERRORS


@pytest.mark.parametrize("place", range(len(ACCEPTED_277.split("~"))))
def test_a_277ca_with_a_segment_missing_is_accepted_only_if_the_segment_says_nothing(place: int) -> None:
    segments = ACCEPTED_277.split("~")
    missing = segments.pop(place)
    needed = {"ISA", "ST", "TRN*2*PCN00000001", _STATUS_OK, "SE", "IEA"}

    disposition = judged_277("~".join(segments)).disposition

    # Without the PT level our claim would be the provider's.
    if any(missing == each or missing.startswith(each + "*") for each in needed) or missing.endswith("*PT"):
        assert disposition not in _GREEN
    elif missing:
        assert disposition is Disposition.ACCEPTED


@given(st.text(max_size=4))
def test_no_other_category_on_our_claim_is_accepted(category: str) -> None:
    text = ACCEPTED_277.replace(_STATUS_OK, _STATUS_OK.replace("A2", category))

    green = judged_277(text).disposition in _GREEN

    # Inside the element further separators may make a whole STC01 of it, "A2:" for one.
    first = category.split("*")[0].split(":")[0].split("~")[0].strip().upper()
    assert not green or first in _ACCEPTING


@given(st.text(max_size=4))
def test_no_other_action_on_our_claim_is_accepted(action: str) -> None:
    text = ACCEPTED_277.replace(_STATUS_OK, _STATUS_OK.replace("WQ", action))

    green = judged_277(text).disposition in _GREEN

    assert not green or "WQ" in action.upper()


@given(st.text(max_size=24))
def test_no_other_number_is_taken_for_ours(claim_number: str) -> None:
    text = ACCEPTED_277.replace("PCN00000001", claim_number)

    green = judged_277(text).disposition in _GREEN

    assert not green or "PCN00000001" in claim_number.upper()


_STATUS = st.tuples(st.sampled_from(_CATEGORIES), st.sampled_from(["WQ", "U", ""]))


@given(
    claim=st.lists(_STATUS, max_size=3),
    lines=st.lists(_STATUS, max_size=2),
    receiver=st.lists(_STATUS, max_size=1),
    provider=st.lists(_STATUS, max_size=1),
    accepted=st.sampled_from(["", "0", "1", "x"]),
    rejected=st.sampled_from(["", "0", "1", "x"]),
    word=st.sampled_from("AERMWX?"),
    code=st.sampled_from(["", "000", "200", "504", "303", "777"]),
    kind=st.sampled_from(["837999", "ERR837", ""]),
)
def test_green_means_that_nothing_speaks_against_it(
    claim: list[tuple[str, str]],
    lines: list[tuple[str, str]],
    receiver: list[tuple[str, str]],
    provider: list[tuple[str, str]],
    accepted: str,
    rejected: str,
    word: str,
    code: str,
    kind: str,
) -> None:
    def stc(statuses: list[tuple[str, str]]) -> list[str]:
        return [f"STC*{category}:20**{action}*170" for category, action in statuses]

    totals = [f"QTY*90*{accepted}"] * bool(accepted) + [f"QTY*AA*{rejected}"] * bool(rejected)
    text = ack_277(
        ("TRN*2*PCN00000001", *stc(claim), *["SVC*HC:99213*170"] * bool(lines), *stc(lines)),
        receiver=(*stc(receiver), *totals),
        provider=tuple(stc(provider)),
    )

    verdict = judged(members(x12Response277CA=text, x12ResponseData=ack_999(word), statusCode=code, responseType=kind))

    hold_together(verdict)
    everything = claim + lines + receiver + provider
    if verdict.disposition in _GREEN:
        assert any(category in _ACCEPTING and action == "WQ" for category, action in claim)
        assert not any(category in _REJECTING or action == "U" for category, action in lines)
        assert {category for category, _ in claim + lines} <= _ACCEPTING | _REJECTING
        assert not {"E1", "E2"} & {category for category, _ in everything}
        assert word in "AE?"
        assert code in {"", "000", "200"}
        assert kind != "ERR837"
    if verdict.disposition is Disposition.ACCEPTED:
        assert all(category in _ACCEPTING and action == "WQ" for category, action in claim)
        assert not any(category in _REJECTING or action == "U" for category, action in everything)
        assert word == "A"
        assert rejected in {"", "0"}
