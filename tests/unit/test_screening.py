import msgspec
import pytest

from worker.screening import make_screen
from worker.settings import ClaimSettings
from worker.x12 import ClaimFacts

GOOD = ClaimFacts(
    claim_type="professional",
    guide="005010X222A1",
    usage="T",
    provider_npi="1999999984",
    provider_tax_id="111111111",
    payer_id="87726",
    patient_control_number="PCN1",
    total_charge="100.50",
)


def changed(**facts: str) -> ClaimFacts:
    return msgspec.structs.replace(GOOD, **facts)


def test_a_complete_claim_for_a_supported_payer_is_sent() -> None:
    screen = make_screen(ClaimSettings(), "production")

    assert screen(GOOD) is None


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (changed(claim_type="", guide="005010X291"), "guide_unsupported"),
        (changed(claim_type="dental"), "claim_type_not_enabled"),
        (changed(provider_tax_id=""), "tax_id_missing"),
        (changed(payer_id=""), "payer_id_missing"),
        (changed(payer_id="NOBODY"), "payer_not_supported"),
        (changed(patient_control_number=""), "claim_number_missing"),
        (changed(patient_control_number="  "), "claim_number_missing"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_reason_that_a_clerk_understands(facts: ClaimFacts, code: str) -> None:
    screen = make_screen(ClaimSettings(), "production")

    reason = screen(facts)

    assert reason is not None
    assert reason.code == code
    assert reason.source == "worker"
    assert reason.text.startswith("Not sent: ")


def test_the_sandbox_never_sees_a_claim_that_is_not_marked_as_test_data() -> None:
    screen = make_screen(ClaimSettings(), "sandbox")

    codes = [reason.code if (reason := screen(changed(usage=usage))) else None for usage in ("T", "P", "")]

    assert codes == [None, "production_in_sandbox", "production_in_sandbox"]


def test_an_empty_list_of_payers_sends_all() -> None:
    screen = make_screen(ClaimSettings(payers=()), "production")

    assert screen(changed(payer_id="NOBODY")) is None


def test_dental_claims_are_sent_once_they_are_enabled() -> None:
    screen = make_screen(ClaimSettings(types=("dental",)), "production")

    assert screen(changed(claim_type="dental")) is None


@pytest.mark.parametrize(
    ("npi", "refused"), [("1999999984", False), ("1999999985", True), ("", True), ("19999999\uff184", True)]
)
def test_the_npi_check_is_off_unless_listed_and_then_holds_the_check_digit(npi: str, refused: bool) -> None:
    off = make_screen(ClaimSettings(), "production")
    on = make_screen(ClaimSettings(local_checks=("npi",)), "production")

    reason = on(changed(provider_npi=npi))

    assert off(changed(provider_npi=npi)) is None
    assert (reason.code if reason else None) == ("npi_malformed" if refused else None)


@pytest.mark.parametrize(
    ("charge", "refused"), [("100", False), ("0.5", False), (".5", False), ("", True), ("1O0", True)]
)
def test_the_charge_check_takes_numbers_only(charge: str, refused: bool) -> None:
    screen = make_screen(ClaimSettings(local_checks=("charge",)), "production")

    reason = screen(changed(total_charge=charge))

    assert (reason.code if reason else None) == ("charge_malformed" if refused else None)
