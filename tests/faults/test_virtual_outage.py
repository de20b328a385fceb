"""The API down for an hour of virtual time, with claims under way, claims waiting, and more coming all the while.

Once the gate is shut nothing is sent but probes, and a few trials when a probe was told that all is well. The outage
costs no claim its attempts: neither those by which it was told nor the trials.
"""

from collections import Counter

import pytest

from tests.campaigns import Arrival as Batch
from tests.campaigns import Campaign, Found, play
from worker.flow.gate import TRIALS, GateState
from worker.result import Disposition
from worker.settings import RetrySettings
from worker.simulator.config import SimulatorConfig

pytestmark = pytest.mark.fault(89)

DOWN_AT, UP_AT, END_AT = 600.0, 4200.0, 5400.0
UP_AGAIN_S = 60.0 * 2  # a probe at most a minute later, then trials


def hour_without(*, per_s: float, large: int, lying: bool = False, scale: float = 1.0, seed: int = 837) -> Campaign:
    """Let claims come evenly, and some large batches ten seconds before the outage."""
    singles = [Batch(number / per_s, 1) for number in range(int(END_AT * per_s))]
    return Campaign(
        service=SimulatorConfig(seed=seed, latency_scale=scale, mix={"accepted": 0.9, "rejected": 0.1}),
        arrivals=sorted(singles + [Batch(DOWN_AT - 10.0, 250)] * large),
        outages=[(DOWN_AT, UP_AT)],
        lying=lying,
    )


def moment(found: Found, state: GateState) -> float:
    return next(at for at, change in found.gate if change.state is state)


def half_opens(found: Found) -> int:
    return sum(change.state is GateState.HALF_OPEN for _, change in found.gate)


def sent_while_shut(found: Found) -> int:
    return sum(moment(found, GateState.SHUT) < event.at < moment(found, GateState.OPEN) for event in found.posts)


def assert_all_delivered(found: Found, campaign: Campaign) -> None:
    assert len(found.results) == found.told == sum(arrival.claims for arrival in campaign.arrivals)
    assert {result.disposition for result in found.results.values()} == {Disposition.ACCEPTED, Disposition.REJECTED}
    assert found.settled == len(campaign.arrivals)
    assert found.gate[-1][1].state is GateState.OPEN


@pytest.mark.parametrize(
    ("per_s", "large", "scale"),
    [(0.5, 4, 1.0), (0.5, 0, 1.0), (0.05, 4, 1.0), (0.3, 2, 0.02)],
    ids=["many claims", "no large batch", "few claims", "fast answers"],
)
def test_an_hour_without_the_api_costs_probes_and_no_claim(per_s: float, large: int, scale: float) -> None:
    campaign = hour_without(per_s=per_s, large=large, scale=scale)

    found = play(campaign)

    assert_all_delivered(found, campaign)
    assert half_opens(found) == 1
    assert sent_while_shut(found) <= TRIALS
    assert DOWN_AT + 5.0 < moment(found, GateState.SHUT) < DOWN_AT + 90.0
    assert UP_AT < moment(found, GateState.OPEN) < UP_AT + UP_AGAIN_S
    probes = [event.at for event in found.events if event.kind == "probe"]
    assert 60 <= len(probes) <= 180  # one a minute at most, and one every twenty seconds at least
    before = sum(DOWN_AT < event.at <= moment(found, GateState.SHUT) for event in found.posts)
    assert before < 300


def test_a_health_endpoint_that_lies_costs_three_trials_a_probe_and_no_claim() -> None:
    campaign = hour_without(per_s=0.3, large=4, lying=True)

    found = play(campaign)

    assert_all_delivered(found, campaign)
    assert half_opens(found) > 60
    assert sent_while_shut(found) <= TRIALS * half_opens(found)
    assert max(result.attempts for result in found.results.values()) > campaign.retry.max_attempts  # trials are excused
    assert UP_AT < moment(found, GateState.OPEN) < UP_AT + UP_AGAIN_S


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_attempts_by_which_an_outage_is_told_cost_no_claim_its_last(seed: int) -> None:
    """Hundreds are refused at once, some of them three times within seconds, while late answers still come in."""
    campaign = Campaign(
        service=SimulatorConfig(seed=seed, latency_scale=1.0, mix={"accepted": 0.9, "rejected": 0.1}),
        arrivals=[*[Batch(DOWN_AT - 10.0, 250)] * 5, *[Batch(DOWN_AT + 1.0, 250)] * 2],
        retry=RetrySettings(max_attempts=3),
        outages=[(DOWN_AT, UP_AT)],
        fixed=True,
    )

    found = play(campaign)

    assert_all_delivered(found, campaign)
    tried = Counter(event.claim for event in found.posts if event.at < moment(found, GateState.SHUT))
    assert max(tried.values()) >= campaign.retry.max_attempts


def test_an_outage_is_replayed_exactly() -> None:
    campaign = hour_without(per_s=0.1, large=2, lying=True)

    assert play(campaign).fingerprint == play(campaign).fingerprint
