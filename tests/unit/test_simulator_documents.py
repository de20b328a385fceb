"""The 999 and 277CA that the simulator writes, read back with pyx12 and with the worker's own readers."""

import pytest

from tests.unit.simulator_calls import Caller, complaints, element, one_claim
from worker.simulator.config import SimulatorConfig
from worker.simulator.outcomes import OUTCOMES
from worker.x12 import Delimiters, read_277ca, read_999, read_delimiters, read_ta1

PIPES = Delimiters(b"|", b"}", b"^", b"~")
NO_PROVIDER_LEVEL = r"Mandatory loop \"Billing Provider of Service Level\" (2000C) missing"
WITH_999 = [
    magic for magic, outcome in OUTCOMES.items() if outcome.syntax in ("A", "E", "R", "G") and not outcome.graphql_error
]
WITH_277CA = [
    magic
    for magic, outcome in OUTCOMES.items()
    if outcome.report in ("claim", "receiver", "other") and not outcome.graphql_error
]


def pipes() -> Caller:
    return Caller(SimulatorConfig(answer_delimiters="pipes"))


@pytest.mark.parametrize("magic", WITH_999)
def test_an_independent_validator_finds_nothing_wrong_with_the_999(magic: str) -> None:
    assert complaints(Caller().ask(one_claim(magic))["x12ResponseData"]) == []


@pytest.mark.parametrize("magic", WITH_277CA)
@pytest.mark.parametrize("kind", ["professional", "institutional"])
def test_an_independent_validator_finds_nothing_wrong_with_the_277ca(magic: str, kind: str) -> None:
    report = Caller().ask(one_claim(magic, kind=kind))["x12Response277CA"]

    # The guide lets a report end at a receiver that is rejected as a whole; pyx12's map of it does not.
    tolerated = [NO_PROVIDER_LEVEL] if magic == "RCV-" else []
    assert complaints(report) == tolerated


def test_the_277ca_carries_the_claims_own_number_charge_and_parties() -> None:
    x12 = one_claim()

    report = Caller().ask(x12)["x12Response277CA"]

    (claim,) = read_277ca(report.encode()).claims
    assert claim.claim_number == element(x12, "CLM*", 1)
    assert claim.statuses[0].amount == element(x12, "CLM*", 2)
    assert element(report, "NM1*PR", 9) == element(x12, "NM1*PR", 9)
    assert element(report, "NM1*85", 9) == element(x12, "NM1*85", 9)
    assert element(report, "NM1*QC", 3) == element(x12, "NM1*IL", 3)
    assert element(report, "TRN*2", 2) == element(x12, "BHT*", 3)


def test_the_999_names_what_was_submitted_and_where_it_is_wrong() -> None:
    x12 = one_claim("E999-")
    body = x12.split("~\n")
    position = next(n for n, segment in enumerate(body) if segment.startswith("CLM*")) - 1  # ISA and GS precede ST

    acknowledgement = Caller().ask(x12)["x12ResponseData"]

    assert element(acknowledgement, "AK1*", 2) == element(x12, "GS*", 6)
    assert element(acknowledgement, "AK2*", 2) == element(x12, "ST*", 2)
    assert element(acknowledgement, "IK3*", 1) == "CLM"
    assert element(acknowledgement, "IK3*", 2) == str(position)
    assert element(acknowledgement, "CTX*", 1) == f"CLM01:{element(x12, 'CLM*', 1)}"
    assert read_999(acknowledgement.encode()).verdicts == ("R",)


def test_a_ta1_names_the_interchange_that_it_rejects() -> None:
    x12 = one_claim("TA1-", control_number=77)

    (ta1,) = read_ta1(Caller().ask(x12)["x12ResponseData"].encode())

    assert ta1.verdict == "R"
    assert element(Caller().ask(x12)["x12ResponseData"], "TA1*", 1) == "000000077"


def test_control_numbers_are_the_zeros_that_the_vendor_sends() -> None:
    report = Caller().ask(one_claim())["x12Response277CA"]

    assert element(report, "ISA*", 13) == "000000000"
    assert element(report, "GS*", 6) == "0"


def test_answers_may_have_delimiters_of_their_own() -> None:
    members = pipes().ask(one_claim("EDIT-"))

    for name in ("x12ResponseData", "x12Response277CA"):
        assert read_delimiters(members[name][:106].encode()) == PIPES
        assert complaints(members[name]) == []


def test_a_name_that_contains_the_answers_delimiters_makes_it_use_the_claims_own() -> None:
    x12 = one_claim().replace("EXAMPLE HEALTH PLAN", "EXAMPLE|PLAN}A^B")

    report = pipes().ask(x12)["x12Response277CA"]

    assert report[3] == "*"
    assert element(report, "NM1*PR", 3).startswith("EXAMPLE|PLAN}A^B")


def test_a_truncated_277ca_has_no_end() -> None:
    report = Caller().ask(one_claim("CUT-"))["x12Response277CA"]

    assert report.startswith("ISA*")
    assert "~SE*" not in report
    assert read_277ca(report.encode()).complete is False


def test_the_totals_of_a_rejected_claim_count_it_rejected() -> None:
    report = Caller().ask(one_claim("REJ7-"))["x12Response277CA"]

    assert "~QTY*AA*1~" in report
    assert "~QTY*QC*1~" in report
    assert "~QTY*90*" not in report
