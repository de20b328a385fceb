from typing import Any

import msgspec
import pytest

from tests.unit.spoken_answers import (
    ACCEPTED_277,
    ACCEPTED_999,
    FACTS,
    RESPONSES,
    RULES,
    UNSAFE,
    ack_277,
    ack_999,
    code_of,
    corpus,
    envelope,
    interchange,
    judged,
    judged_277,
    members,
    ours,
)
from worker.precheck.answer import read_answer
from worker.precheck.evidence import gather
from worker.precheck.verdict import STEPS, HttpAnswer, Rules, judge
from worker.result import AttemptClass, Disposition, Verdict
from worker.settings.service import ApiSettings
from worker.x12 import ClaimFacts, read_277ca, read_999, read_sets

_D = Disposition
_SERVICE_FAILED = "STC*A3:21*20250911*U*170********[PREDETERMINATION could not be completed due to service failure]"
_INFORMATIONAL = "STC*A1:19*20250911*WQ*170"
_ECHO = interchange("ST*837*0001*005010X222A1", "BHT*0019*00*1*20250101*1200*CH", "SE*3*0001", kind="HC")


def again(verdict: Verdict) -> bool:
    return verdict.disposition is None and verdict.attempt_class is not AttemptClass.DEFINITIVE


# --- a good answer -----------------------------------------------------------------------------------


def test_a_good_answer_is_accepted_and_all_of_it_is_kept() -> None:
    answer = HttpAnswer(200, envelope(members(message="fine")), "application/json", None, "corr-1", "trace-1")

    verdict = judge(answer, FACTS, Rules())

    assert verdict.disposition is _D.ACCEPTED
    assert (verdict.transaction_id, verdict.status_code, verdict.response_type) == ("T-0001", "000", "837999")
    assert (verdict.correlation_id, verdict.trace_id, verdict.message) == ("corr-1", "trace-1", "fine")
    assert (verdict.x12_999, verdict.x12_277ca) == (ACCEPTED_999, ACCEPTED_277)
    assert [(each.level, each.category, each.action) for each in verdict.edits] == [
        ("receiver", "A1", "WQ"),
        ("claim", "A2", "WQ"),
    ]


@pytest.mark.parametrize(
    ("name", "disposition", "code"),
    [
        ("277ca_accepted.277", _D.ACCEPTED, "A2:20"),
        ("277ca_batch_mixed.277", _D.ACCEPTED, "A2:20"),
        ("277ca_receiver_level_reject_no_claims.277", _D.REJECTED, "A3:24"),
        ("277ca_reject_code_with_wq_action.277", _D.REJECTED, "A7:562"),
        ("277ca_rejected_a7.277", _D.REJECTED, "A7:562"),
        ("277ca_stc10_only_reject_is_accept.277", _D.ACCEPTED, "A2:20"),
        ("277ca_truncated.277", _D.UNDETERMINED, "incomplete_277ca"),
        ("999_accepted.999", _D.ACCEPTED, "A2:20"),
        ("999_accepted_with_errors_E.999", _D.ACCEPTED_WITH_ERRORS, "999_E"),
        ("999_group_rejected_no_ak2.999", _D.REJECTED, "999_R"),
        ("999_partial_P_3sets.999", _D.REJECTED, "999_R"),
        ("999_pipe_caret_brace_delims.999", _D.ACCEPTED, "A2:20"),
        ("999_rejected_ctx_clm01.999", _D.REJECTED, "999_R"),
        ("ta1_rejected_025.ta1", _D.REJECTED, "TA1_R"),
    ],
)
def test_every_sample_answer_has_its_verdict(name: str, disposition: Disposition, code: str) -> None:
    member = "x12Response277CA" if name.endswith(".277") else "x12ResponseData"

    verdict = judged(members(**{member: corpus(name)}))

    assert (verdict.disposition, code_of(verdict)) == (disposition, code)


def test_no_sample_answer_is_left_out() -> None:
    (marker,) = test_every_sample_answer_has_its_verdict.pytestmark  # type: ignore[attr-defined]

    assert {case[0] for case in marker.args[1]} == {path.name for path in RESPONSES.iterdir()}


@pytest.mark.parametrize(
    ("claim", "disposition", "code"),
    [
        ("PCN00000001", _D.ACCEPTED, "A2:20"),
        ("PCN00000002", _D.REJECTED, "A3:21"),
        ("PCN00000003", _D.ACCEPTED_WITH_ERRORS, "A1:19"),
        ("PCN00000004", _D.UNDETERMINED, "claim_not_in_277ca"),
    ],
)
def test_of_several_claims_only_ours_counts(claim: str, disposition: Disposition, code: str) -> None:
    facts = ClaimFacts(patient_control_number=claim, total_charge="170")

    verdict = judged(members(x12Response277CA=corpus("277ca_batch_mixed.277")), facts=facts)

    assert (verdict.disposition, code_of(verdict)) == (disposition, code)


def test_edits_and_numbers_of_other_claims_are_not_ours() -> None:
    facts = ClaimFacts(patient_control_number="PCN00000002")

    verdict = judged(members(x12Response277CA=corpus("277ca_batch_mixed.277")), facts=facts)

    assert [(each.level, each.category) for each in verdict.edits] == [("receiver", "A1"), ("claim", "A3")]
    assert verdict.payer_claim_number is None


# --- the published pair ------------------------------------------------------------------------------


@pytest.mark.parametrize("statuses", [(_SERVICE_FAILED, _INFORMATIONAL), (_INFORMATIONAL, _SERVICE_FAILED)])
def test_the_published_pair_is_repeated_and_never_green(statuses: tuple[str, str]) -> None:
    text = ack_277(("TRN*2*PCN00000001", *statuses), receiver=(_INFORMATIONAL, "QTY*90*1"), provider=("QTY*QA*1",))

    verdict = judged_277(text)

    assert again(verdict)
    assert verdict.attempt_class is AttemptClass.TRANSIENT
    assert (verdict.at_the_end, code_of(verdict), verdict.overload) == (_D.REVIEW, "incomplete_check", False)
    assert len(verdict.edits) == 3


@pytest.mark.parametrize(
    "claim",
    [
        ("STC*E1:20**WQ*170",),
        ("STC*A2:20**WQ*170", "STC*E2:19**U*170"),
        ("STC*A2:20**WQ*170", "SVC*HC:99213*170", "STC*E1:1**WQ"),
        ("STC*A2:20**WQ*170********Service  Failure at the payer",),
        ("STC*A2:20**WQ*170", "SVC*HC:99213*170", "STC*A2:20**WQ*170********UNABLE TO COMPLETE the check"),
        ("STC*A7:21**U*170", "STC*R1:294**U*170", "STC*A2:20**WQ*1********could not be completed"),
    ],
)
def test_a_check_that_did_not_finish_is_repeated(claim: tuple[str, ...]) -> None:
    verdict = judged_277(ack_277(("TRN*2*PCN00000001", *claim)))

    assert again(verdict)
    assert (verdict.at_the_end, code_of(verdict)) == (_D.REVIEW, "incomplete_check")


def test_a_message_or_a_receiver_that_says_so_counts_too() -> None:
    receiver = ack_277(("TRN*2*PCN00000001", "STC*A2:20**WQ*170"), receiver=("STC*E1:1**U*0",))

    assert code_of(judged_277(receiver)) == "incomplete_check"
    assert code_of(judged_277(ack_277(receiver=("STC*E1:1**U*0",)))) == "incomplete_check"
    assert code_of(judged(members(message="Eligibility could not be completed."))) == "incomplete_check"


def test_the_texts_of_an_unfinished_check_are_a_setting() -> None:
    text = ours("A2:20**WQ*170********NO ANSWER (yet)")
    settings = ApiSettings(incomplete_check_patterns=("no answer (yet)", " ", ""))

    assert judged_277(text).disposition is _D.ACCEPTED_WITH_ERRORS
    assert code_of(judged(members(x12Response277CA=text), rules=Rules.of(settings))) == "incomplete_check"
    assert judged(members(), rules=Rules.of(settings)).disposition is _D.ACCEPTED
    assert judged(members(), rules=Rules.of(ApiSettings(incomplete_check_patterns=()))).disposition is _D.ACCEPTED


# --- the claim's statuses ----------------------------------------------------------------------------


@pytest.mark.parametrize("category", ["A0", "A1", "A2", "A5"])
def test_accepting_categories_accept_only_with_their_action(category: str) -> None:
    assert judged_277(ours(f"{category}:20**WQ*170")).disposition is _D.ACCEPTED
    assert judged_277(ours(f"{category.lower()}:20** wq *170")).disposition is _D.ACCEPTED
    assert judged_277(ours(f"{category}:20**U*170")).disposition is _D.REJECTED
    assert judged_277(ours(f"{category}:20***170")).disposition is _D.REVIEW
    assert judged_277(ours(f"{category}:20**XX*170")).disposition is _D.REVIEW


@pytest.mark.parametrize("category", ["A3", "A6", "A7", "A8", "E3", "E4"])
@pytest.mark.parametrize("action", ["U", "WQ", ""])
def test_rejecting_categories_reject_whatever_the_action(category: str, action: str) -> None:
    verdict = judged_277(ours(f"{category}:21**{action}*170"))

    assert (verdict.disposition, code_of(verdict)) == (_D.REJECTED, f"{category}:21")
    assert verdict.reason is not None
    assert verdict.reason.source == "277ca"


@pytest.mark.parametrize("category", ["A4", "R1", "R3", "F0", "F1", "P1", "D0", "E0", "A9", "Z9", "", "?!"])
@pytest.mark.parametrize("action", ["U", "WQ"])
@pytest.mark.parametrize("beside", [(), ("A2:20**WQ*170",), ("A7:21**U*170",)])
def test_a_category_that_nobody_foresaw_goes_to_a_person(category: str, action: str, beside: tuple[str, ...]) -> None:
    assert judged_277(ours(*beside, f"{category}:20**{action}*170")).disposition is _D.REVIEW


def test_further_composites_are_kept_and_decide_nothing() -> None:
    verdict = judged_277(ours("A2:20:PR**WQ*55******A3:187*A7:562:85"))

    assert verdict.disposition is _D.ACCEPTED
    assert [each.category for each in verdict.edits if each.level == "claim"] == ["A2", "A3", "A7"]


def test_a_rejecting_line_rejects_its_claim_whatever_the_totals() -> None:
    claim = ("TRN*2*PCN00000001", "STC*A2:20**WQ*170", "SVC*HC:99213*170", "STC*A7:454**U*170")

    verdict = judged_277(ack_277(claim, receiver=("QTY*90*1",)))

    assert (verdict.disposition, code_of(verdict)) == (_D.REJECTED, "A7:454")
    assert [each.level for each in verdict.edits] == ["claim", "line"]


def test_a_rejecting_line_needs_no_status_on_the_claim_and_an_accepting_one_does() -> None:
    rejecting = ("TRN*2*PCN00000001", "SVC*HC:99213*170", "STC*A7:454**U*170")
    accepting = ("TRN*2*PCN00000001", "SVC*HC:99213*170", "STC*A2:20**WQ*170")

    assert judged_277(ack_277(rejecting)).disposition is _D.REJECTED
    assert code_of(judged_277(ack_277(accepting))) == "no_claim_status"


_ACCEPTS, _REJECTS = "STC*A1:19**WQ*170", "STC*A3:21**U*170"


@pytest.mark.parametrize("statuses", [(_ACCEPTS, _REJECTS), (_REJECTS, _ACCEPTS)])
@pytest.mark.parametrize(
    ("receiver", "provider", "disposition"),
    [
        (("QTY*90*1",), (), _D.ACCEPTED_WITH_ERRORS),
        (("QTY*90*1", "QTY*AA*0"), ("QTY*QA*1", "QTY*QC*0"), _D.ACCEPTED_WITH_ERRORS),
        ((), ("QTY*QA*1",), _D.ACCEPTED_WITH_ERRORS),
        ((), (), _D.REJECTED),
        (("QTY*90*0",), (), _D.REJECTED),
        (("QTY*90*1", "QTY*AA*1"), (), _D.REJECTED),
        (("QTY*90*1",), ("QTY*QC*1",), _D.REJECTED),
        (("QTY*90*1",), ("QTY*QA*0",), _D.REJECTED),
        (("QTY*90*one",), (), _D.REJECTED),
        (("QTY*90*1", "QTY*AA*none"), (), _D.REJECTED),
    ],
)
def test_accepted_and_rejected_at_once_is_decided_by_the_totals(
    statuses: tuple[str, str], receiver: tuple[str, ...], provider: tuple[str, ...], disposition: Disposition
) -> None:
    text = ack_277(("TRN*2*PCN00000001", *statuses), receiver=receiver, provider=provider)

    assert judged_277(text).disposition is disposition


def test_the_total_must_count_every_claim_below_it() -> None:
    both = ("TRN*2*PCN00000001", _ACCEPTS, _REJECTS)

    assert judged_277(ack_277(both, ("TRN*2*OTHER", _ACCEPTS))).disposition is _D.REJECTED
    assert (
        judged_277(ack_277(both, ("TRN*2*OTHER", _ACCEPTS), receiver=("QTY*90*2",))).disposition
        is _D.ACCEPTED_WITH_ERRORS
    )


def test_texts_with_edits_keep_a_claim_from_plain_acceptance() -> None:
    on_line = ("TRN*2*PCN00000001", "STC*A2:20**WQ*170", "SVC*HC:99213*170", "STC*A2:20**WQ*170********Modifier 25")

    assert judged_277(ours("A1:19**WQ*170********[SMARTEDIT R123]")).disposition is _D.ACCEPTED_WITH_ERRORS
    assert judged_277(ack_277(on_line)).disposition is _D.ACCEPTED_WITH_ERRORS


def test_what_the_levels_above_say_against_an_accepted_claim_is_never_lost() -> None:
    accepted = ("TRN*2*PCN00000001", "STC*A2:20**WQ*170")

    rejecting_receiver = judged_277(ack_277(accepted, receiver=("STC*A3:24**U*170",)))
    outvoted_receiver = judged_277(ack_277(accepted, receiver=("STC*A3:24**U*170", "QTY*90*1")))
    totals_against = judged_277(ack_277(accepted, receiver=("QTY*AA*1",)))
    unreadable_totals = judged_277(ack_277(accepted, receiver=("QTY*90*1", "QTY*AA*none")))
    totals_on_another = judged_277(ack_277(accepted, ("TRN*2*OTHER", _REJECTS), receiver=("QTY*90*1", "QTY*AA*1")))

    assert rejecting_receiver.disposition is _D.REJECTED
    assert outvoted_receiver.disposition is _D.ACCEPTED_WITH_ERRORS
    assert (totals_against.disposition, code_of(totals_against)) == (_D.ACCEPTED_WITH_ERRORS, "totals_disagree")
    assert unreadable_totals.disposition is _D.ACCEPTED_WITH_ERRORS
    assert totals_on_another.disposition is _D.ACCEPTED


@pytest.mark.parametrize("status", ["STC*F1:1**WQ*170", "STC*A4:35**WQ*170", "STC***WQ"])
def test_what_nobody_foresaw_above_an_accepted_claim_keeps_it_from_plain_acceptance(status: str) -> None:
    text = ack_277(("TRN*2*PCN00000001", "STC*A2:20**WQ*170"), provider=(status,))

    assert judged_277(text).disposition is _D.ACCEPTED_WITH_ERRORS


def test_lacking_our_claim_the_levels_above_can_only_reject() -> None:
    assert judged_277(ack_277()).disposition is _D.UNDETERMINED
    assert judged_277(ack_277(receiver=("STC*A3:24:41**U*170",))).disposition is _D.REJECTED
    assert judged_277(ack_277(provider=("STC*A7:562:85**WQ*170",))).disposition is _D.REJECTED
    assert judged_277(ack_277(provider=("STC*F1:1**WQ*170",))).disposition is _D.UNDETERMINED
    with_another = ack_277(("TRN*2*OTHER", _ACCEPTS), receiver=("STC*A3:24:41**U*170",))
    assert code_of(judged_277(with_another)) == "claim_not_in_277ca"


def test_a_status_that_names_no_claim_can_speak_against_ours_and_not_for_it() -> None:
    against = ack_277((_REJECTS, "TRN*2*PCN00000001", "STC*A2:20**WQ*170"), receiver=())
    alone = ack_277(("STC*A2:20**WQ*170",))
    beside = ack_277(("STC*A2:20**WQ*170", "TRN*2*PCN00000001"))
    both_ways = ack_277((_REJECTS, "TRN*2*PCN00000001"), receiver=())
    counted = ack_277(("STC*A2:20**WQ*170", "TRN*2*PCN00000001", _REJECTS), receiver=("QTY*90*1",))

    assert judged_277(against).disposition is _D.REJECTED
    assert code_of(judged_277(alone)) == "claim_not_in_277ca"
    assert code_of(judged_277(beside)) == "no_claim_status"
    assert judged_277(both_ways).disposition is _D.REJECTED
    assert judged_277(counted).disposition is _D.REJECTED


def test_two_loops_that_name_our_claim_count_together() -> None:
    accepted = ("TRN*2*PCN00000001", "STC*A2:20**WQ*170")
    rejected = ("TRN*2*PCN00000001", "STC*A7:21**U*999")

    assert judged_277(ack_277(accepted, rejected, receiver=())).disposition is _D.REJECTED


@pytest.mark.parametrize(
    ("our_number", "echoed", "charge", "is_ours"),
    [
        ("PCN-1", "PCN-1", "999", True),
        ("pcn-1", "PCN-1", "170.00", True),
        ("pcn-1", "PCN-1", "", True),
        ("pcn-1", "PCN-1", "171", False),
        (" PCN-1 ", "PCN-1", "170", True),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRST", "170", True),
        ("ABCDEFGHIJKLMNOPQRS UVWXYZ", "ABCDEFGHIJKLMNOPQRS", "0170.0", True),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRST", "171", False),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRS", "170", False),
        ("PCN-1", "PCN-10", "170", False),
        ("PCN-10", "PCN-1", "170", False),
        ("", "", "170", False),
        ("", "PCN-1", "170", False),
    ],
)
def test_our_claim_is_found_by_its_number_and_then_by_its_charge(
    our_number: str, echoed: str, charge: str, *, is_ours: bool
) -> None:
    facts = ClaimFacts(patient_control_number=our_number, total_charge="170")
    text = ack_277((f"TRN*2*{echoed}", f"STC*A2:20**WQ*{charge}"))

    verdict = judged(members(x12Response277CA=text), facts=facts)

    assert (verdict.disposition is _D.ACCEPTED) is is_ours
    if not is_ours:
        assert code_of(verdict) == "claim_not_in_277ca"


# --- 999 and TA1 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", "RMWX")
def test_a_rejecting_999_rejects_whatever_the_277ca_says(word: str) -> None:
    verdict = judged(members(x12ResponseData=ack_999(word, None, "IK3*CLM*22*2300*8", "IK4*2*782*1")))

    assert (verdict.disposition, code_of(verdict)) == (_D.REJECTED, f"999_{word}")
    assert verdict.reason is not None
    assert "CLM02 in loop 2300: a required element is missing" in verdict.reason.text
    (finding,) = verdict.syntax_errors
    assert (finding.segment, finding.position, finding.element, finding.code) == ("CLM", 22, "2", "1")


@pytest.mark.parametrize("beside", [ACCEPTED_277, ""])
@pytest.mark.parametrize("rejecting", [ack_999("R"), corpus("ta1_rejected_025.ta1")])
def test_a_999_or_ta1_that_rejects_counts_in_whichever_member_it_stands(rejecting: str, beside: str) -> None:
    in_277ca = judged(members(x12ResponseData="", x12Response277CA=beside + rejecting))
    behind_999 = judged(members(x12Response277CA=beside + rejecting))
    behind_277ca = judged(members(x12ResponseData=beside + rejecting))

    assert {each.disposition for each in (in_277ca, behind_999, behind_277ca)} == {_D.REJECTED}
    assert judged(members(x12ResponseData="", x12Response277CA=ACCEPTED_277 + ack_999())).disposition is _D.ACCEPTED
    noted = judged(members(x12ResponseData="", x12Response277CA=ACCEPTED_277 + ack_999("E")))
    assert (noted.disposition, code_of(noted)) == (_D.ACCEPTED_WITH_ERRORS, "999_E")


@pytest.mark.parametrize(
    ("x12", "words"),
    [
        (ack_999("R*5", "R"), "its X12 is not well formed"),
        (ack_999("R*23", "R"), "the control number of the transaction set is not unique (23)"),
        (ack_999("R*5*I6", "R"), "the implementation guide is not supported (I6)"),
        (ack_999("R", "R*1*1*0*2"), "the version of the functional group is not supported (2)"),
        (ack_999("M", "M"), "authentication code did not match (M)"),
        (ack_999("X", "X"), "could not be analysed after decryption (X)"),
        (corpus("ta1_rejected_025.ta1").replace("*R*025", "*R*020"), "mark of test or production data"),
        (corpus("ta1_rejected_025.ta1").replace("*R*025", "*R*099"), "no usable reason was given (099)"),
    ],
)
def test_a_rejection_names_what_the_receiver_names(x12: str, words: str) -> None:
    verdict = judged(members(x12ResponseData=x12))

    assert verdict.disposition is _D.REJECTED
    assert verdict.reason is not None
    assert words in verdict.reason.text


def test_a_group_rejected_around_an_accepted_set_is_not_called_unreadable() -> None:
    verdict = judged(members(x12ResponseData=ack_999("A", "R")))

    assert (verdict.disposition, code_of(verdict)) == (_D.ACCEPTED_WITH_ERRORS, "999_group")


def test_what_only_its_action_rejects_is_not_told_as_if_it_were_accepted() -> None:
    verdict = judged_277(ours("A2:20*20250911*U*170"))

    assert (verdict.disposition, code_of(verdict)) == (_D.REJECTED, "A2:20")
    assert verdict.reason is not None
    assert "rejected the claim by its action (U), whatever its status says" in verdict.reason.text


@pytest.mark.parametrize(
    ("x12", "disposition"),
    [
        (ack_999("E"), _D.ACCEPTED_WITH_ERRORS),
        (ack_999("A", "E"), _D.ACCEPTED_WITH_ERRORS),
        (ack_999("A", "R"), _D.ACCEPTED_WITH_ERRORS),
        (ack_999("E", "A"), _D.ACCEPTED_WITH_ERRORS),
        (ack_999("M", "A"), _D.REJECTED),
        (ack_999("A", "P"), _D.ACCEPTED_WITH_ERRORS),
        (ack_999("Q", "Q"), _D.ACCEPTED_WITH_ERRORS),
        (ack_999("A")[:-10], _D.ACCEPTED_WITH_ERRORS),
        (ack_999("A")[:200], _D.ACCEPTED_WITH_ERRORS),
        (_ECHO, _D.ACCEPTED_WITH_ERRORS),
        ("no X12 at all", _D.ACCEPTED_WITH_ERRORS),
        (ack_999("A", "A", "IK3*SV1*34*2400*8"), _D.ACCEPTED),
        (corpus("ta1_rejected_025.ta1").replace("*R*025", "*A*000"), _D.ACCEPTED),
        (corpus("ta1_rejected_025.ta1").replace("*R*025", "*E*000"), _D.ACCEPTED_WITH_ERRORS),
        ("", _D.ACCEPTED),
        (None, _D.ACCEPTED),
    ],
)
def test_only_a_clean_999_or_none_lets_a_claim_be_plainly_accepted(x12: str | None, disposition: Disposition) -> None:
    assert judged(members(x12ResponseData=x12)).disposition is disposition


def test_a_rejecting_word_counts_even_in_a_999_that_is_cut_after_it() -> None:
    text = ack_999("R")

    assert judged(members(x12ResponseData=text[: text.index("AK9")])).disposition is _D.REJECTED


@pytest.mark.parametrize(
    ("response", "x12_277ca", "code"),
    [
        (ACCEPTED_999, "", "no_277ca"),
        (ACCEPTED_999, " \n", "no_277ca"),
        (ACCEPTED_999, None, "no_277ca"),
        (ACCEPTED_999, ACCEPTED_277[:-40], "incomplete_277ca"),
        (ACCEPTED_999, ours("A7:21**U*170")[:-40], "incomplete_277ca"),
        (ACCEPTED_999, ACCEPTED_999, "incomplete_277ca"),
        (ACCEPTED_999, "nonsense", "incomplete_277ca"),
        (ACCEPTED_999, ack_277(("TRN*2*OTHER", _ACCEPTS)), "claim_not_in_277ca"),
        (ACCEPTED_999, ack_277(("TRN*2*PCN00000001",)), "no_claim_status"),
        (_ECHO, "", "claim_echoed"),
        ("", "", "no_277ca"),
        (None, None, "no_277ca"),
    ],
)
def test_without_a_word_on_our_claim_the_answer_is_undetermined(
    response: str | None, x12_277ca: str | None, code: str
) -> None:
    verdict = judged(members(x12ResponseData=response, x12Response277CA=x12_277ca))

    assert (verdict.disposition, code_of(verdict)) == (_D.UNDETERMINED, code)
    assert verdict.attempt_class is AttemptClass.DEFINITIVE


def test_an_echoed_claim_is_not_kept_as_a_999() -> None:
    assert judged(members(x12ResponseData=_ECHO, x12Response277CA="")).x12_999 is None


def test_a_code_alone_is_undetermined() -> None:
    assert judged({"statusCode": "000"}).disposition is _D.UNDETERMINED
    assert judged({"transactionId": "T"}).disposition is _D.UNDETERMINED


# --- codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["303", "606", "0503", "401", 907])
def test_a_code_for_an_unavailable_system_is_repeated(code: Any) -> None:
    verdict = judged(members(statusCode=code))

    assert again(verdict)
    assert verdict.attempt_class is AttemptClass.TRANSIENT
    assert (verdict.at_the_end, verdict.overload, verdict.request_fault) == (_D.UNDELIVERED, False, False)
    assert verdict.reason is not None
    assert (verdict.reason.code, verdict.reason.source) == (str(code), "code")


@pytest.mark.parametrize("kind", ["ERR837", "err837", " ERR837 "])
@pytest.mark.parametrize("code", ["000", "706", "777", ""])
def test_an_internal_failure_is_repeated_whatever_its_code(kind: str, code: str) -> None:
    verdict = judged(members(responseType=kind, statusCode=code))

    assert again(verdict)
    assert (code_of(verdict), verdict.at_the_end, verdict.overload) == ("ERR837", _D.UNDELIVERED, False)


@pytest.mark.parametrize("code", ["504", "101", "0706", 702])
def test_a_final_code_rejects_whatever_the_acknowledgements_say(code: Any) -> None:
    verdict = judged(members(statusCode=code))

    assert (verdict.disposition, code_of(verdict)) == (_D.REJECTED, str(code))
    assert not verdict.request_fault
    assert verdict.edits


def test_member_not_found_is_said_in_words() -> None:
    verdict = judged(members(statusCode="504"))

    assert verdict.reason is not None
    assert verdict.reason.text == "The member was not found at the payer (code 504)."


@pytest.mark.parametrize("code", ["777", "GTW_12", "OK DOE, JOHN", 999, -1])
def test_an_unknown_code_goes_to_a_person_and_stays_out_of_the_reason(code: Any) -> None:
    verdict = judged(members(statusCode=code))

    assert (verdict.disposition, code_of(verdict)) == (_D.REVIEW, "unknown_code")
    assert verdict.status_code == ("unreadable" if " " in str(code) else str(code))
    assert verdict.reason is not None
    assert str(code) not in verdict.reason.text


@pytest.mark.parametrize("code", ["000", "200", 200, 0, "", None])
def test_codes_that_leave_the_decision_open(code: Any) -> None:
    assert judged(members(statusCode=code)).disposition is _D.ACCEPTED
    assert judged(members(statusCode=code, x12Response277CA=ours("A7:21**U*170"))).disposition is _D.REJECTED


def test_codes_can_be_overridden() -> None:
    rules = Rules.of(ApiSettings(codes={"GTW_12": "retry", "504": "decide", "706": "review"}))

    assert again(judged(members(statusCode="gtw_12"), rules=rules))
    assert judged(members(statusCode="504"), rules=rules).disposition is _D.ACCEPTED
    assert code_of(judged(members(statusCode="706"), rules=rules)) == "706"
    assert judged(members(statusCode="706"), rules=rules).disposition is _D.REVIEW


# --- HTTP --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "overload", "at_the_end"),
    [
        (500, AttemptClass.TRANSIENT, True, _D.UNDELIVERED),
        (503, AttemptClass.TRANSIENT, True, _D.UNDELIVERED),
        (429, AttemptClass.TRANSIENT, True, _D.UNDELIVERED),
        (408, AttemptClass.TRANSIENT, False, _D.UNDELIVERED),
        (425, AttemptClass.TRANSIENT, False, _D.UNDELIVERED),
        (502, AttemptClass.AMBIGUOUS, True, _D.UNDELIVERED),
        (504, AttemptClass.AMBIGUOUS, True, _D.UNDELIVERED),
        (501, AttemptClass.AMBIGUOUS, True, _D.UNDELIVERED),
        (524, AttemptClass.AMBIGUOUS, True, _D.UNDELIVERED),
        (100, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
        (103, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
        (201, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
        (204, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
        (206, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
        (999, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
        (0, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
        (-1, AttemptClass.AMBIGUOUS, False, _D.REVIEW),
    ],
)
@pytest.mark.parametrize("body", [b"", envelope(members()), b"<html>"])
def test_statuses_that_are_repeated(
    status: int, kind: AttemptClass, overload: bool, at_the_end: Disposition, body: bytes
) -> None:
    verdict = judge(HttpAnswer(status, body, None, 7.5), FACTS, Rules())

    assert again(verdict)
    assert (verdict.attempt_class, verdict.overload, verdict.at_the_end) == (kind, overload, at_the_end)
    assert (verdict.retry_after_s, verdict.http_status) == (7.5, status)
    assert code_of(verdict) == ("protocol_error" if at_the_end is _D.REVIEW else f"http_{status}")


@pytest.mark.fault(86)
@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 415, 422])
@pytest.mark.parametrize("body", [b"", b"<html>JOHN DOE</html>", b'{"message":"JOHN DOE","statusCode":%d}'])
def test_a_refused_request_is_one_rejection_without_its_body(status: int, body: bytes) -> None:
    verdict = judged(body % status if b"%d" in body else body, status)

    assert (verdict.disposition, code_of(verdict)) == (_D.REJECTED, f"http_{status}")
    assert verdict.reason is not None
    assert verdict.reason.source == "http"
    assert "DOE" not in verdict.reason.text
    assert verdict.request_fault


@pytest.mark.fault(87)
def test_a_claim_that_is_too_large_says_nothing_about_the_others() -> None:
    verdict = judged(b"", 413)

    assert (verdict.disposition, code_of(verdict), verdict.request_fault) == (_D.REJECTED, "too_large", False)


@pytest.mark.fault(91)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_a_portals_word_and_in_the_end_for_a_person(status: int) -> None:
    verdict = judged(envelope(members()), status)
    unrepeatable = judged(envelope(members()), status, rules=Rules(safe_to_repeat=False))

    assert again(verdict)
    assert verdict.no_answer
    assert (verdict.at_the_end, code_of(verdict)) == (_D.REVIEW, "unexpected_redirect")
    assert (unrepeatable.disposition, code_of(unrepeatable)) == (_D.REVIEW, "unexpected_redirect")


@pytest.mark.parametrize("status", [401, 402, 403, 406, 407, 411, 418, 431, 451])
def test_other_refusals_go_to_a_person_and_shut_the_gate(status: int) -> None:
    verdict = judged(envelope(members()), status)

    assert (verdict.disposition, verdict.request_fault) == (_D.REVIEW, True)


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", "application/json", "bad_json"),
        (envelope(members())[:-1], "application/json", "bad_json"),
        (b"<html>", "application/json", "bad_json"),
        (envelope(members()), "text/html", "not_json"),
        (b"<html>", "text/html", "not_json"),
        (b"{}", "application/json", "protocol_error"),
        (b'{"data":null}', "application/json", "protocol_error"),
    ],
)
@pytest.mark.fault(85)
def test_a_200_that_cannot_be_read_is_ambiguous(body: bytes, content_type: str, code: str) -> None:
    verdict = judged(body, content_type=content_type)
    unsafe = judged(body, content_type=content_type, rules=UNSAFE)

    assert again(verdict)
    assert verdict.attempt_class is AttemptClass.AMBIGUOUS
    assert (verdict.at_the_end, verdict.overload, code_of(verdict)) == (_D.REVIEW, False, code)
    assert (unsafe.disposition, unsafe.attempt_class, code_of(unsafe)) == (_D.REVIEW, AttemptClass.DEFINITIVE, code)


@pytest.mark.parametrize("status", [502, 504, 204, 999, 520])
def test_where_repeating_is_not_safe_ambiguous_ends_at_once(status: int) -> None:
    verdict = judged(b"", status, rules=UNSAFE)

    assert (verdict.disposition, verdict.attempt_class) == (_D.REVIEW, AttemptClass.DEFINITIVE)
    assert code_of(verdict) == code_of(judged(b"", status))


@pytest.mark.parametrize("rules", [RULES, UNSAFE], ids=["safe", "unsafe"])
@pytest.mark.parametrize(
    ("status", "body", "none"),
    [
        (200, b"<html>", True),
        (200, b"{", True),
        (204, b"", True),
        (504, b"", True),
        (500, b"", False),
        (404, b"", False),
    ],
)
def test_what_is_no_answer_at_all_is_told_whether_or_not_the_claim_may_be_repeated(
    status: int, body: bytes, none: bool, rules: Rules
) -> None:
    assert judged(body, status, rules=rules).no_answer is none


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_transient_statuses_are_repeated_even_where_repeating_is_not_safe(status: int) -> None:
    assert again(judged(b"", status, rules=UNSAFE))


def test_an_unfinished_check_is_not_repeated_where_repeating_is_not_safe() -> None:
    verdict = judged(members(x12Response277CA=ours("E1:20**U*170")), rules=UNSAFE)

    assert (verdict.disposition, code_of(verdict)) == (_D.REVIEW, "incomplete_check")


# --- errors arrays -----------------------------------------------------------------------------------

_VALIDATION = {"message": "Validation error (FieldUndefined)", "extensions": {"classification": "ValidationError"}}
_INTERNAL = {"message": "boom", "extensions": {"classification": "INTERNAL_ERROR"}}


@pytest.mark.fault(82)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("data", ["missing", None, {}, {"claimPreCheck": None}, {"claimPreCheck": {"message": ""}}])
@pytest.mark.parametrize(
    "error",
    [
        _VALIDATION,
        {"message": "m", "extensions": {"classification": "InvalidSyntax"}},
        {"message": "m", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}},
        {"message": "m", "extensions": {"code": "BAD_USER_INPUT"}},
        {"message": "Validation error of type UnknownType: Unknown type ClaimInput"},
        {"message": "Invalid syntax: offending token"},
    ],
)
def test_a_refused_query_is_rejected_and_our_fault(status: int, data: Any, error: dict[str, Any]) -> None:
    content = {"errors": [error]} | ({} if data == "missing" else {"data": data})

    verdict = judged(msgspec.json.encode(content), status)

    assert (verdict.disposition, code_of(verdict)) == (_D.REJECTED, "query_refused")
    assert verdict.reason is not None
    assert verdict.reason.source == "http"
    assert verdict.request_fault
    assert verdict.message == error["message"]


@pytest.mark.fault(82)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "errors",
    [
        [_INTERNAL],
        [_VALIDATION, _INTERNAL],
        [{"message": "m", "extensions": {"classification": "DataFetchingException"}}],
        [{"message": "m", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}],
        [{"message": "m", "extensions": {"code": 503}}],
        [{"message": "m", "extensions": {"statusCode": "504"}}],
        [{"code": "500", "description": "d"}],
        [{"message": "INTERNAL_ERROR for 3f2a"}, {"message": "Internal server error"}],
        [{"message": "Exception while fetching data (/claimPreCheck)"}],
        "Service temporarily unavailable",
    ],
)
def test_a_failed_system_is_repeated(status: int, errors: Any) -> None:
    verdict = judged(msgspec.json.encode({"data": None, "errors": errors}), status)

    assert again(verdict)
    assert verdict.attempt_class is AttemptClass.TRANSIENT
    assert (code_of(verdict), verdict.at_the_end, verdict.overload) == ("service_error", _D.UNDELIVERED, False)
    assert verdict.no_answer


def test_codes_of_siblings_are_looked_up_in_the_table() -> None:
    final = judged(b'{"errors":[{"code":"706","description":"d"}]}')
    later = judged(b'{"errors":[{"code":"303","description":"d"}]}', 400)
    unknown = judged(b'{"errors":[{"code":"REQ_1","description":"d"}]}')

    assert (final.disposition, code_of(final), final.request_fault) == (_D.REJECTED, "706", False)
    assert again(later)
    assert code_of(later) == "303"
    assert (unknown.disposition, code_of(unknown)) == (_D.REVIEW, "unknown_error")


def test_unforeseen_errors_go_to_a_person_at_200_and_are_a_refusal_at_400() -> None:
    body = b'{"data":null,"errors":[{"message":"something else"}]}'

    assert judged(body).disposition is _D.REVIEW
    assert code_of(judged(body, 400)) == "http_400"


def test_an_error_body_that_repeats_the_http_status_gives_no_code_of_its_own() -> None:
    body = msgspec.json.encode({"statusCode": 400, "message": "bad", "errors": [_VALIDATION]})
    rules = Rules.of(ApiSettings(codes={"400": "retry"}))

    assert code_of(judged(body, 400)) == "query_refused"
    assert code_of(judged(b'{"statusCode": 400}', 400, rules=rules)) == "http_400"
    assert again(judged(b'{"statusCode": 400}', 200, rules=rules))


def test_doubts_about_who_we_are_shut_the_gate() -> None:
    body = b'{"errors":[{"message":"no","extensions":{"code":"UNAUTHENTICATED"}}]}'

    assert judged(body).disposition is _D.REVIEW
    assert judged(body).request_fault


@pytest.mark.parametrize("status", [200, 400, 422])
@pytest.mark.parametrize("error", [_VALIDATION, _INTERNAL, {"message": "warning"}])
def test_errors_beside_a_payload_leave_the_decision_to_it(status: int, error: dict[str, Any]) -> None:
    accepted = judged(envelope(members(), errors=[error]), status)
    rejected = judged(envelope(members(x12Response277CA=ours("A7:21**U*170")), errors=[error]), status)
    final = judged(envelope({"statusCode": "504"}, errors=[error]), status)
    unavailable = judged(envelope({"statusCode": "303"}, errors=[error]), status)

    assert (accepted.disposition, code_of(accepted)) == (_D.ACCEPTED_WITH_ERRORS, "errors_beside_answer")
    assert (rejected.disposition, code_of(rejected)) == (_D.REJECTED, "A7:21")
    assert (final.disposition, code_of(final)) == (_D.REJECTED, "504")
    assert again(unavailable)


def test_a_payload_under_400_without_a_verdict_is_a_refused_request() -> None:
    for payload in ({"statusCode": "000"}, {"statusCode": "777"}, {"statusCode": 400, "message": "bad"}):
        assert code_of(judged(payload, 400)) == "http_400"
    assert judged(members(), 400).disposition is _D.ACCEPTED_WITH_ERRORS


# --- words -------------------------------------------------------------------------------------------


def test_reasons_are_sentences_without_what_a_payer_wrote_freely() -> None:
    free = "DOE*JANE".replace("*", " ")
    texts = [
        ours(f"A3:21**U*170********{free}", f"A7:562:85**U*170********{free}"),
        ours(f"A7:{free}:{free}**U*170"),
        ours(f"{free}:21**U*170"),
        ours(f"A2:20**WQ*170********{free}"),
        ack_277(receiver=(f"STC*A3:{free}**U*170",)),
    ]

    for text in texts:
        verdict = judged_277(text)

        assert verdict.reason is not None
        assert "DOE" not in verdict.reason.code + verdict.reason.text
        assert verdict.reason.text.endswith(".")
    first = judged_277(texts[0])
    assert first.reason is not None
    assert first.reason.text == (
        "The payer's check rejected the claim: the claim was returned as unprocessable: "
        "information is missing or invalid (A3:21), and 1 more."
    )
    assert free in {each.text for each in first.edits}


def test_free_text_in_a_999_stays_out_of_the_reason() -> None:
    text = ack_999("R", None, "IK3*JOHN DOE*22*JANE DOE*8", "IK4*JOHN DOE:JOHN DOE*782*JOHN DOE")

    verdict = judged(members(x12ResponseData=text))

    assert verdict.reason is not None
    assert "DOE" not in verdict.reason.text


def test_reprs_show_no_body() -> None:
    text = ours("A7:21**U*170********JOHN DOE")
    wrong = ack_999("R", None, "IK3*CLM*22*2300*8", "CTX*CLM01:PCN00000001")
    envelope_read = read_answer(
        envelope(members(x12Response277CA=text, message="JOHN DOE"), errors=["JOHN DOE"]), None, "claimPreCheck"
    )
    shown = [
        HttpAnswer(200, b"JOHN DOE"),
        envelope_read,
        gather(200, envelope_read, FACTS, Rules()),
        read_277ca(text.encode()),
        read_999(wrong.encode()),
        read_sets(text.encode()),
    ]

    for value in shown:
        assert "DOE" not in repr(value)
        assert "PCN0" not in repr(value)


def test_an_answer_that_repeats_itself_does_not_become_a_record_of_as_many_edits() -> None:
    verdict = judged_277(ours(*["A2:20**WQ*170"] * 5000, "A7:21**U*170"))
    wrong = judged(members(x12ResponseData=ack_999("R", None, *["IK3*CLM*22*2300*8"] * 5000)))

    assert code_of(verdict) == "A7:21"
    assert len(verdict.edits) == 1000
    assert len(wrong.syntax_errors) == 1000


def test_the_steps_stand_in_the_order_of_the_design() -> None:
    assert [name for name, _ in STEPS] == [
        "errors instead of a payload",
        "a system was not available",
        "a final or unknown code",
        "TA1 or 999 reject",
        "the 277CA on our claim",
    ]
