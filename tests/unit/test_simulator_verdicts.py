"""Every outcome and magic value: what is answered, what it means, and that it is the same in every run."""

import re
from collections import Counter

import msgspec
import pytest

from tests.unit.simulator_calls import Caller, complaints, element, one_claim
from worker.precheck.evidence import HttpAnswer, Rules
from worker.precheck.verdict import judge
from worker.result import Disposition
from worker.settings.service import ApiSettings
from worker.simulator import codes, outcomes
from worker.simulator.config import USUAL_MIX, FaultSettings, SimulatorConfig
from worker.simulator.generator import GeneratorSpec, generate
from worker.simulator.outcomes import OUTCOMES
from worker.simulator.precheck import Decision
from worker.simulator.verdicts import Verdicts
from worker.x12 import SplitClaim, split, survey

GENERIC = ["C301-", "C505-", "C503-", "C606-", "C109-", "C999-", "C000-", "C200-"]
STATUSES = [f"H{status}-" for status in sorted(codes.REFUSING_STATUSES | codes.PASSING_STATUSES)]
ATTEMPTS = 6


def claims_of(magic: str, kind: str = "professional") -> list[SplitClaim]:
    spec = GeneratorSpec(claims=5, family_share=1.0, kind=kind, planted={magic: 1.0})  # type: ignore[arg-type]  # a str
    data = b"".join(generate(spec))
    return list(split([data], survey([data])))


def verdict_of_worker(caller: Caller, claim: SplitClaim) -> tuple[Disposition, Decision]:
    """Send a claim until the worker's own rules call its answer final, or the attempts are used up."""
    rules = Rules.of(ApiSettings())
    headers = {"Authorization": caller.bearer, "providerTaxId": claim.facts.provider_tax_id}
    for _ in range(ATTEMPTS):
        decision = caller.send(claim.interchange.decode(), headers=headers)
        reply = decision.reply
        verdict = judge(HttpAnswer(reply.status, reply.body, reply.content_type), claim.facts, rules)
        if verdict.disposition is not None:
            return verdict.disposition, decision
    return verdict.at_the_end, decision


@pytest.mark.parametrize("magic", [*OUTCOMES, *GENERIC, *STATUSES])
@pytest.mark.parametrize("delimiters", ["usual", "pipes"])
@pytest.mark.parametrize("kind", ["professional", "institutional"])
def test_the_worker_reaches_what_the_simulator_meant(magic: str, delimiters: str, kind: str) -> None:
    config = msgspec.convert({"answer_delimiters": delimiters}, SimulatorConfig)

    for claim in claims_of(magic, kind):
        disposition, decision = verdict_of_worker(Caller(config), claim)

        assert disposition == decision.meaning


def test_the_table_of_magic_values_is_the_one_in_the_documentation() -> None:
    rows = re.findall(r"^([A-Z0-9]+-) +(\w+) .* (\w+)$", outcomes.__doc__ or "", re.MULTILINE)

    documented = {magic: (name, meaning) for magic, name, meaning in rows}
    settled = {
        magic: (outcome.name, "accepted" if outcome.recovers else str(outcome.meaning))
        for magic, outcome in OUTCOMES.items()
    }
    assert documented == settled


def test_the_codes_are_those_of_the_contract() -> None:
    assert {202, 303, 306, 401, 402, 403, 406, 407, 503, 606, 612, 619, 907, 927} <= codes.UNAVAILABLE
    assert {101, 133, 301, 305, 404, 405, 408, 413, 504, 510, 512, 520, 521, 607, 701, 706, 926} <= codes.REJECTING
    assert not codes.UNAVAILABLE & codes.REJECTING
    assert not {0, 200, 134, 307, 620, 999} & (codes.UNAVAILABLE | codes.REJECTING)


@pytest.mark.parametrize("number", ["", "-", "A1234", "OKAY-1", "ok-1", "C30-1", "H200-1", "H401-1", "C3011-"])
def test_an_ordinary_claim_number_is_no_magic_value(number: str) -> None:
    assert codes.magic_outcome(number) is None


@pytest.mark.parametrize("magic", ["INCR-", "S503-", "ERR-", "GQLS-"])
def test_what_recovers_does_so_after_the_attempts_configured(magic: str) -> None:
    caller, x12 = Caller(SimulatorConfig(recovers_after=3)), one_claim(magic)

    meanings = [caller.send(x12).meaning for _ in range(5)]

    assert Disposition.ACCEPTED not in meanings[:3]
    assert meanings[3:] == [Disposition.ACCEPTED] * 2


def test_the_mix_is_drawn_in_its_shares_and_the_same_in_every_run() -> None:
    numbers = [f"T{number:06d}" for number in range(20_000)]

    drawn = [Verdicts(SimulatorConfig(seed=5)).choose(number, 1).name for number in numbers[:500]]
    counts = Counter(Verdicts(SimulatorConfig(seed=5)).choose(number, 1).name for number in numbers)

    assert drawn == [Verdicts(SimulatorConfig(seed=5)).choose(number, 1).name for number in numbers[:500]]
    assert drawn != [Verdicts(SimulatorConfig(seed=6)).choose(number, 1).name for number in numbers[:500]]
    assert set(counts) == set(USUAL_MIX)
    for name, share in USUAL_MIX.items():
        assert counts[name] / 20_000 == pytest.approx(share, rel=0.5)


def test_another_run_answers_the_same_claim_with_the_same_bytes_of_verdict() -> None:
    config = SimulatorConfig(seed=9, faults=FaultSettings(http_500=0.3, http_504=0.2), latency_scale=0.1)
    claims = [one_claim("", first_ordinal=n) for n in range(1, 60)]

    def run(order: list[str]) -> dict[str, list[tuple[int, str, str | None, float]]]:
        caller = Caller(config)
        told: dict[str, list[tuple[int, str, str | None, float]]] = {}
        for x12 in [x12 for x12 in order for _ in range(3)]:
            d = caller.send(x12)
            told.setdefault(x12, []).append((d.reply.status, d.meaning, d.transaction_id, d.reply.delay_s))
        return told

    assert run(claims) == run(claims[::-1])


def test_every_answer_has_a_transaction_id_of_its_own_even_for_equal_claim_numbers() -> None:
    caller = Caller()
    first = one_claim("OK-", first_ordinal=1, control_number=1)
    second = one_claim("OK-", first_ordinal=1, control_number=2)

    seen = {caller.ask(x12)["transactionId"] for x12 in (first, second, first)}

    assert element(first, "CLM*", 1) == element(second, "CLM*", 1)
    assert len(seen) == 3


def test_err837_may_echo_the_submission() -> None:
    x12 = one_claim("ERRX-")

    members = Caller().ask(x12)

    assert members["responseType"] == "ERR837"
    assert members["x12ResponseData"] == x12


def test_a_mix_of_unknown_outcomes_is_refused() -> None:
    with pytest.raises(ValueError, match="no such outcome: nonsense"):
        SimulatorConfig(mix={"nonsense": 1.0})
    with pytest.raises(ValueError, match="weights"):
        SimulatorConfig(mix={"accepted": -1.0})


def test_a_claim_whose_answers_are_valid_x12_stays_valid_when_names_are_missing() -> None:
    x12 = one_claim().replace("NM1*41*2*EXAMPLE BILLING SERVICE", "NM1*41*2*")

    assert complaints(Caller().ask(x12)["x12Response277CA"]) == []
