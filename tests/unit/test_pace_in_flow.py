"""What a server asks for, and what is set, holds for everybody: the whole flow, in virtual time."""

import anyio
import msgspec
import pytest

from tests.unit.test_submitter import ACCEPTED, UNAVAILABLE, results_after, settings
from worker.claim import Claim
from worker.result import Disposition, Verdict
from worker.testing import ScriptedApi

ASKED_S, TAKES_S = 10.0, 0.01


@pytest.mark.fault(88)
@pytest.mark.parametrize("most", [1, 4])
def test_a_retry_after_on_one_claim_is_a_floor_for_everybody_and_its_claim_comes_after_it(most: int) -> None:
    answers: list[tuple[float, int]] = []

    def script(claim: Claim, number: int) -> Verdict:
        answers.append((anyio.current_time(), claim.ordinal))
        if claim.ordinal == 10 and number == 1:
            return msgspec.structs.replace(UNAVAILABLE, http_status=429, retry_after_s=ASKED_S)
        return ACCEPTED

    results = results_after(ScriptedApi(script, latency_s=TAKES_S), 20, settings(most=most))

    asked_at = next(at for at, ordinal in answers if ordinal == 10)
    later = [(at - asked_at, ordinal) for at, ordinal in answers if at > asked_at + TAKES_S]  # not yet under way then
    assert {result.disposition for result in results} == {Disposition.ACCEPTED}
    assert len(later) >= 20 - 10 - most
    assert min(after_s for after_s, _ in later) >= ASKED_S
    assert next(after_s for after_s, ordinal in later if ordinal == 10) >= ASKED_S


def test_the_rate_counts_repeats_as_well_as_first_attempts() -> None:
    api = ScriptedApi(lambda _claim, number: ACCEPTED if number > 2 else UNAVAILABLE)

    results = results_after(api, 15, settings(most=50, rate=5, base_s=0.1, budget_ratio=1.0))

    times = [at for at, _ in api.calls]
    in_a_second = [sum(begin <= at < begin + 1.0 for at in times) for begin in times]
    assert {result.attempts for result in results} == {3}
    assert len(times) == 45
    assert max(in_a_second) <= 5 + 1  # what the rate gives in a second, and the one at its edge
    assert times[-1] - times[0] < 1.2 * 45 / 5  # and the rate is used
