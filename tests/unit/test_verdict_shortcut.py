"""The short cut for plain acceptances never says anything but what the steps would have said."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.segments import changed, changed_once
from tests.unit.spoken_answers import ACCEPTED_277, ACCEPTED_999, FACTS, RULES, ack_277, ack_999, envelope, members
from worker.precheck.answer import read_answer
from worker.precheck.plainly import accepted_plainly
from worker.precheck.verdict import HttpAnswer, judge_step_by_step
from worker.result import Disposition, Verdict
from worker.simulator.stub import canned_answer

_LINED = ack_277(("TRN*2*PCN00000001", "STC*A2:20*20250911*WQ*170", "REF*1K*ICN1", "REF*D9*X", "DTP*472*D8*20250911"))
_GOOD = [ACCEPTED_277, _LINED, ACCEPTED_277.replace("*", "|"), ack_277(("TRN*2*PCN00000001", "STC*A1:19:PR**WQ*1"))]
_PIECES = [
    *("STC*A7:21*20250911*U*170", "STC*A2:20*20250911*WQ*170", "STC*E1*1*WQ*1", "STC*A1:19:PR**WQ*1", "STC*A2", "STC"),
    *("STC*A2:20*1*WQ*1*******A1:1", "STC*A2:20*1*WQ*1********A1:1*TEXT", "STC*R1:1*1*WQ*1", "STC*a2:20*1*wq*1"),
    *("TRN*2*PCN00000001", "TRN*2*OTHER", "TRN*2", "TRN*1*X", "TRN", "SVC*HC:1", "REF*1K*ICN", "REF*1K", "REF"),
    *("QTY*90*1", "QTY*AA*1", "QTY*AA*0", "QTY*AA", "QTY*QC*1", "QTY*QC*0", "QTY", "NM1*X", "DTP*472", "XYZ"),
    *("HL*9*1*19*1", "HL*9*1*20*1", "HL*9*1*21*1", "HL*9*3*PT", "HL*9", "HL", "hl*1", " HL*1**20", "", "LX*1"),
    *("ST*277*0002", "SE*2*0001", "SE*2", "GE*1*0", "IEA*1*0", "IEA", "ISA*00", "TA1*1*2*3*R*1", "GS*HN"),
    *("IK5*A", "IK5*E", "IK5*R*5", "AK9*A*1*1*1", "AK9*E*1*1*1", "AK9*A*1*1*1*5", "AK2*837*1", "AK1*HC*1", "IK3*CLM*2"),
    *("REF:*1K*ICN", "REF0*1K*ICN", "REF *1K*ICN", "HL:*9*1*20*1", "QTY:*AA*1", "QTY0*AA*1", "SE:*2*0001"),
    *("ST:*277*0002", "TRN:*2*OTHER", "TRN0*2*OTHER"),
]


def both(body: bytes) -> tuple[Verdict | None, Verdict]:
    answer = HttpAnswer(200, body, "application/json", None, "11111111-1111-4111-8111-111111111111", "trace")
    read = read_answer(body, "application/json", "claimPreCheck")
    return accepted_plainly(answer, read, FACTS, RULES), judge_step_by_step(answer, read, FACTS, RULES)


def agree(**changes: Any) -> Verdict | None:
    short, long = both(envelope(members(**changes)))
    assert short is None or short == long
    return short


@pytest.mark.parametrize("x12_277ca", _GOOD)
@pytest.mark.parametrize("x12_999", [ACCEPTED_999, "", None])
def test_a_plain_acceptance_takes_the_short_cut(x12_277ca: str, x12_999: str | None) -> None:
    short = agree(x12Response277CA=x12_277ca, x12ResponseData=x12_999)

    assert short is not None
    assert short.disposition is Disposition.ACCEPTED


def test_the_answers_that_performance_is_measured_with_take_the_short_cut() -> None:
    body = canned_answer(b'{"x12RequestData":"ISA*00*~CLM*PCN00000001*170*~"}', 7)

    short, long = both(body)

    assert short == long


@pytest.mark.parametrize(
    "changes",
    [
        {"statusCode": "404"},
        {"statusCode": "303"},
        {"statusCode": "what"},
        {"responseType": "ERR837"},
        {"message": "the check could not be completed"},
        {"x12ResponseData": ack_999("E")},
        {"x12ResponseData": ack_999("A", "P")},
        {"x12ResponseData": "ISA*00*the claim sent back~"},
        {"x12Response277CA": ""},
        {"x12Response277CA": ACCEPTED_277[:-1]},
        {"x12Response277CA": ACCEPTED_277.replace("PCN00000001", "PCN00000002")},
        {"x12Response277CA": ACCEPTED_277.replace("PCN00000001", "pcn00000001")},
        {"x12Response277CA": ACCEPTED_277.replace("~", "~\n")},
        {"x12Response277CA": ACCEPTED_277 * 2},
    ],
)
def test_whatever_is_not_plain_goes_step_by_step(changes: dict[str, str]) -> None:
    assert agree(**changes) is None


def test_errors_beside_an_acceptance_go_step_by_step() -> None:
    short, long = both(envelope(members(), errors=[{"message": "x"}]))

    assert short is None
    assert long.disposition is not Disposition.ACCEPTED


@pytest.mark.parametrize("document", _GOOD)
def test_both_ways_agree_on_every_change_of_one_segment_of_a_277ca(document: str) -> None:
    taken = sum(agree(x12Response277CA="~".join(segments)) is not None for segments in _once(document))

    assert taken


def test_both_ways_agree_on_every_change_of_one_segment_of_a_999() -> None:
    taken = sum(agree(x12ResponseData="~".join(segments)) is not None for segments in _once(ACCEPTED_999))

    assert taken


def _once(document: str) -> Iterator[list[str]]:
    return changed_once(document.split("~"), _PIECES)


def _changed(documents: list[str]) -> st.SearchStrategy[str]:
    changes = st.sampled_from(documents).flatmap(lambda document: changed(document.split("~"), _PIECES))
    return changes.map("~".join)


@given(_changed(_GOOD), _changed([ACCEPTED_999, ack_999("E"), ""]))
@settings(max_examples=600)
def test_both_ways_agree_on_answers_with_changed_segments(x12_277ca: str, x12_999: str) -> None:
    agree(x12Response277CA=x12_277ca, x12ResponseData=x12_999)


@pytest.mark.parametrize("text", _GOOD)
def test_both_ways_agree_on_every_change_of_one_character(text: str) -> None:
    for at in range(len(text)):
        for other in "~*: \n0AUX|>\x00\ufeff":
            agree(x12Response277CA=text[:at] + other + text[at:])
            agree(x12Response277CA=text[:at] + other + text[at + 1 :])


@given(st.integers(0, 2000))
def test_a_cut_answer_is_never_accepted_by_the_short_cut(length: int) -> None:
    body = envelope(members())
    cut = ACCEPTED_277[: length % len(ACCEPTED_277)]

    assert agree(x12Response277CA=cut) is None
    assert msgspec.json.decode(body)
