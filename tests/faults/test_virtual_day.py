"""A day of traffic in virtual time: a curve, bulk and large batches, some failures all day long, two outages.

Tokens live for a quarter of an hour; some calls for one are slow or fail, and some tokens are revoked in use.

The short form has some five thousand claims; `PRECHECK_VIRTUAL=20` makes the day twenty times as busy.
"""

import math
import os
import random
from collections import Counter

import pytest
from structlog.testing import capture_logs

from tests.campaigns import Arrival as Batch
from tests.campaigns import Campaign, Found, percentile, play
from tests.modelapi import foreseen
from tests.modeltokens import TokenPlan
from worker.alarm import tell_gate
from worker.flow.gate import GateState
from worker.precheck.token import HOLD_S, MAX_BACKOFF_S
from worker.result import Disposition
from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.tally import Tally

BUSY = int(os.environ.get("PRECHECK_VIRTUAL", "1"))
DAY_S, HOUR_S = 86_400.0, 3_600.0
MOST_IN_FLIGHT = 50
MOST_OPEN = 512  # max(512, 4 * MOST_IN_FLIGHT), as the pipeline has it
OUTAGES = [(10 * HOUR_S + 60.0, 10 * HOUR_S + 360.0), (18 * HOUR_S, 18 * HOUR_S + 600.0)]
LIFETIME_S = 900.0
AWAY = (1_800.0, 5_400.0)


def day(seed: int) -> Campaign:
    """Make a day: few claims at night, most at noon; a thousand files at ten, a batch of 1,500 claims at two."""
    chance = random.Random(seed)
    most_per_s = 0.06 * BUSY
    moment, singles = 0.0, []
    while (moment := moment + chance.expovariate(most_per_s)) < DAY_S:
        if chance.random() < 0.5 * (1 - 0.9 * math.cos(2 * math.pi * moment / DAY_S)):
            singles.append(Batch(moment, 1))
    bulk = [Batch(10 * HOUR_S, 1)] * 1_000
    large = [Batch(hour * HOUR_S, 150) for hour in (8, 9, 11, 15, 16)] + [Batch(14 * HOUR_S, 1_500)]
    return Campaign(
        service=SimulatorConfig(seed=seed, latency_scale=1.0, faults=FaultSettings(http_500=0.01)),
        arrivals=sorted(singles + bulk + large),
        most_in_flight=MOST_IN_FLIGHT,
        outages=OUTAGES,
        tokens=TokenPlan(
            lifetime_s=LIFETIME_S,
            slow=0.1,
            failing=0.2,
            revoked_at=[8 * HOUR_S + 5.0, 10 * HOUR_S + 30.0, 14 * HOUR_S + 20.0, *chance.sample(range(86_400), 10)],
        ),
    )


@pytest.mark.fault(89)
def test_a_day_with_two_outages_tells_every_claim_once(capsys: pytest.CaptureFixture[str]) -> None:
    campaign = day(837)

    found = play(campaign)

    claims = sum(arrival.claims for arrival in campaign.arrivals)
    assert found.told == len(found.results) == claims
    assert found.settled == len(campaign.arrivals)
    parked = [result for result in found.results.values() if result.disposition is Disposition.UNDELIVERED]
    assert len(parked) <= len(OUTAGES)  # one claim alone cannot tell an outage from a failure of its own
    assert [change.state for _, change in found.gate] == [GateState.SHUT, GateState.HALF_OPEN, GateState.OPEN] * 2
    assert 256 < found.most_open <= MOST_OPEN
    assert len(found.posts) <= 1.1 * claims
    assert_tokens_cost_nothing(found)
    quiet = sorted(took for at, took in found.took_by_arrival if not any(near(at, outage) for outage in OUTAGES))
    assert percentile(quiet, 0.5) < 30.0
    assert percentile(found.took_s, 1.0) < 900.0
    with capsys.disabled():
        print(  # noqa: T201 - figures of the long form
            f"\na day: {claims} claims in {len(campaign.arrivals)} batches, {len(found.posts)} attempts,"
            f" {found.most_open} batches open at most; from arrival to answer "
            + ", ".join(f"P{100 * share:g} {percentile(found.took_s, share):.0f} s" for share in (0.5, 0.95, 0.99, 1))
            + f"; P50 away from outages {percentile(quiet, 0.5):.0f} s"
        )


def assert_tokens_cost_nothing(found: Found) -> None:
    """No attempt is barred twice, no call for a token is made beside another, nor oftener than tokens ask for."""
    barred = Counter((event.claim, event.number) for event in found.events if event.kind == "barred")
    said = Counter(call.said for call in found.token_calls)

    assert barred
    assert set(barred.values()) == {1}
    assert found.most_token_calls == 1
    assert set(said) == {"granted", "failed"}
    assert DAY_S / LIFETIME_S < said["granted"] < DAY_S / (0.7 * LIFETIME_S) + 13
    assert 0 < said["failed"] < said["granted"]


def test_a_secret_that_ends_pauses_the_day_with_one_alarm_until_another_lies_in_its_place() -> None:
    ends_at, rotated_at = 1_800.0, 5_400.0
    arrivals = [Batch(number / 2, 1) for number in range(14_400)]
    campaign = Campaign(
        service=SimulatorConfig(seed=837, latency_scale=1.0, mix={"accepted": 1.0}),
        arrivals=arrivals,
        most_in_flight=MOST_IN_FLIGHT,
        tokens=TokenPlan(lifetime_s=LIFETIME_S, secret_ends_at=ends_at, rotated_at=rotated_at),
    )

    found = play(campaign)

    assert found.told == len(found.results) == len(arrivals)
    assert {(result.disposition, result.attempts) for result in found.results.values()} == {(Disposition.ACCEPTED, 1)}
    assert [(change.state, change.reason) for _, change in found.gate if change.came] == [
        (GateState.SHUT, "credentials")
    ]
    shut_at, opened_at = found.gate[0][0], found.gate[-1][0]
    assert ends_at < shut_at < ends_at + 5.0
    assert rotated_at < opened_at < rotated_at + 90.0  # a probe at most a minute later
    assert not any(shut_at < event.at < rotated_at for event in found.posts)
    refused = [call for call in found.token_calls if call.said == "refused"]
    assert 2 <= len(refused) <= 2 + (rotated_at - ends_at) / HOLD_S
    assert found.most_token_calls == 1


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    "revoked_at", [[], [AWAY[0] + 1.0]], ids=["the last token lives on", "the last token is revoked as well"]
)
def test_a_token_endpoint_away_for_longer_than_a_token_lives_costs_no_claim_an_attempt(
    revoked_at: list[float],
) -> None:
    away_at, back_at = AWAY
    campaign = Campaign(
        service=SimulatorConfig(seed=837, latency_scale=1.0, faults=FaultSettings(http_500=0.05)),
        arrivals=[Batch(float(number), 1) for number in range(7_200)],
        most_in_flight=MOST_IN_FLIGHT,
        tokens=TokenPlan(lifetime_s=LIFETIME_S, away=AWAY, revoked_at=revoked_at),
    )

    found = play(campaign)

    foresee = foreseen(campaign.service, campaign.retry.max_attempts)
    told = {name: (result.disposition, result.attempts) for name, result in found.results.items()}
    assert found.told == len(told) == len(campaign.arrivals)
    assert told == {name: foresee(name) for name in told}
    assert max(attempts for _, attempts in told.values()) > 1

    assert lines_about(found) == ["gate.shut", "gate.probed", "gate.opened"]
    shut_at, opened_at = found.gate[0][0], found.gate[-1][0]
    assert away_at < shut_at < away_at + (5.0 if revoked_at else LIFETIME_S + 5.0)
    assert back_at < opened_at < back_at + 90.0  # a probe at most a minute later
    assert not any(shut_at < event.at < back_at for event in found.posts)
    assert revoked_at or any(away_at < event.at < shut_at for event in found.posts)

    assert found.most_token_calls == 1
    failed = [call for call in found.token_calls if away_at < call.began < back_at]
    assert {call.said for call in failed} == {"failed"}
    waited_s = back_at - away_at
    assert 0.5 * waited_s / MAX_BACKOFF_S < len(failed) < waited_s / (0.5 * MAX_BACKOFF_S) + 10  # half is jitter
    assert len([call for call in found.token_calls if back_at < call.began < back_at + LIFETIME_S / 2]) == 1


def lines_about(found: Found) -> list[str]:
    """Log the changes of the gate as the worker does, and tell which lines that are."""
    with capture_logs() as lines:
        for _, change in found.gate:
            tell_gate(change, Tally(), [])
    return [str(line["event"]) for line in lines]


def near(at: float, outage: tuple[float, float]) -> bool:
    return outage[0] - 120.0 < at < outage[1] + 600.0


def test_the_day_is_the_same_for_the_same_seed() -> None:
    assert play(day(1)).fingerprint == play(day(1)).fingerprint
