"""What is refused here, before it costs a call: a pure function of a claim's facts and the settings.

=========================== ======================================================================
``guide_unsupported``        the transaction set follows no implementation guide the API knows
``claim_type_not_enabled``   professional, institutional or dental, but not in `claims.types`
``production_in_sandbox``    the interchange is not flagged as a test (ISA15) and this is the sandbox
``tax_id_missing``           no billing provider tax id: the call's required header cannot be written
``payer_id_missing``         no payer id in loop 2010BB: the call's required member cannot be written
``payer_not_supported``      the payer is not in `claims.payers`
``claim_number_missing``     no patient control number: no answer could name the claim, so none would be a verdict
``npi_malformed``            `local_checks = ["npi"]` only: the billing provider's NPI fails its check digit
``charge_malformed``         `local_checks = ["charge"]` only: CLM02 is not a number
=========================== ======================================================================

contract.md §3 says what the API requires, x12.md how an answer is told to be a claim's; everything beyond "can it be
sent at all" is off unless listed in `claims.local_checks`.
"""

import re
from collections.abc import Callable, Mapping

from worker.result import Reason
from worker.settings import ClaimSettings
from worker.x12 import ClaimFacts

_AMOUNT = re.compile(r"-?(\d+(\.\d*)?|\.\d+)\Z", re.ASCII)

Screen = Callable[[ClaimFacts], Reason | None]


def make_screen(settings: ClaimSettings, environment: str) -> Screen:
    """Bind the settings once; the returned function is called for every claim."""
    payers = frozenset(settings.payers)
    types = frozenset(settings.types)
    extra = [LOCAL_CHECKS[name] for name in settings.local_checks]
    tests_only = environment == "sandbox"

    def screen(facts: ClaimFacts) -> Reason | None:
        if facts.claim_type not in types:
            return _type_refused(facts)
        if tests_only and facts.usage != "T":
            return _refused(
                "production_in_sandbox",
                "the file is not marked as test data (ISA15), and the sandbox must not see real claims",
            )
        if not facts.provider_tax_id:
            return _refused("tax_id_missing", "the billing provider's tax id is missing (REF*EI in loop 2010AA)")
        if not facts.payer_id:
            return _refused("payer_id_missing", "the payer's id is missing (NM1*PR in loop 2010BB)")
        if payers and facts.payer_id not in payers:
            text = "the pre-check service does not answer for this claim's payer (claims.payers)"
            return _refused("payer_not_supported", text)
        if not facts.patient_control_number.strip():
            text = "the patient control number is missing (CLM01), by which an answer would name the claim"
            return _refused("claim_number_missing", text)
        for check in extra:
            if reason := check(facts):
                return reason
        return None

    return screen


def _refused(code: str, text: str) -> Reason:
    return Reason(code, f"Not sent: {text}.", "worker")


def _type_refused(facts: ClaimFacts) -> Reason:
    if not facts.claim_type:
        return _refused("guide_unsupported", "this kind of transaction is not one the pre-check service takes")
    text = f"{facts.claim_type} claims are not enabled in the settings (claims.types)"
    return _refused("claim_type_not_enabled", text)


def _npi(facts: ClaimFacts) -> Reason | None:
    """Hold the NPI against its check digit: Luhn over 80840 + NPI (45 CFR 162.406)."""
    npi = facts.provider_npi
    if len(npi) == 10 and npi.isascii() and npi.isdigit() and _luhn_sum("80840" + npi) % 10 == 0:
        return None
    return _refused("npi_malformed", "the billing provider's NPI is missing or mistyped")


def _luhn_sum(digits: str) -> int:
    doubled = (int(d) * 2 for d in digits[-2::-2])
    return sum(int(d) for d in digits[-1::-2]) + sum(d - 9 if d > 9 else d for d in doubled)


def _charge(facts: ClaimFacts) -> Reason | None:
    if _AMOUNT.match(facts.total_charge):
        return None
    return _refused("charge_malformed", "the claim's total charge is not a number (CLM02)")


LOCAL_CHECKS: Mapping[str, Screen] = {"npi": _npi, "charge": _charge}
"""Those that `claims.local_checks` may list."""
