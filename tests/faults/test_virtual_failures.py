"""A service that fails and fails, in virtual time: true verdicts, a bounded cost, nobody starved, no waves.

What the service does to a claim's n-th attempt depends on the seed alone, so the end of each claim and the number of
its attempts are known beforehand, to the last one.
"""

import os
import statistics
from itertools import groupby

import pytest

from tests.campaigns import Arrival as Batch
from tests.campaigns import Campaign, Found, excess_of_retries, largest_gap, percentile, play, slots
from tests.modelapi import foreseen
from worker.flow.share import MOST_REPEATS
from worker.result import Disposition
from worker.settings import RetrySettings
from worker.simulator.config import FaultSettings, SimulatorConfig

pytestmark = pytest.mark.fault(89)

LONG = int(os.environ.get("PRECHECK_VIRTUAL", "1"))  # so many times as long
WINDOW_S, FLOOR_PER_S = 10.0, 10.0
SLOT_S = 0.1
MOST_OPEN = 512  # batches, with 50 calls in flight

FORTY_PERCENT = FaultSettings(http_500=0.30, http_504=0.10)
SIXTY_PERCENT = FaultSettings(http_500=0.50, http_504=0.10)


def steadily(seconds: float) -> list[Batch]:
    """Make twenty one-claim batches and two of twenty claims a second."""
    singles = [Batch(number / 20, 1) for number in range(int(seconds * 20))]
    return sorted(singles + [Batch(number / 2, 20) for number in range(int(seconds * 2))])


def failing(
    faults: FaultSettings, *, seed: int = 837, retry: RetrySettings | None = None, fixed: bool = False
) -> Campaign:
    service = SimulatorConfig(seed=seed, latency_scale=0.02, faults=faults)
    return Campaign(service=service, arrivals=steadily(50.0 * LONG), retry=retry or RetrySettings(), fixed=fixed)


def assert_all_true(found: Found, campaign: Campaign) -> None:
    """Hold the results against what the seed says: each claim once, its verdict, and as many attempts as it needed."""
    foresee = foreseen(campaign.service, campaign.retry.max_attempts)
    told = {name: (result.disposition, result.attempts) for name, result in found.results.items()}

    assert found.told == len(told) == sum(arrival.claims for arrival in campaign.arrivals)
    excused = {name for name, (_, attempts) in told.items() if attempts > campaign.retry.max_attempts}
    assert len(excused) <= found.told / 2_000  # ten losses in a row look like an outage, which costs no last attempt
    assert {name: told[name] for name in told.keys() - excused} == {
        name: foresee(name) for name in told.keys() - excused
    }
    for name in excused:
        disposition, attempts = told[name]
        assert (disposition, attempts) == foreseen(campaign.service, attempts)(name)
    assert len(found.posts) == sum(attempts for _, attempts in told.values())
    assert found.settled == len(campaign.arrivals)
    assert found.gate == []


def fresh(found: Found) -> list[float]:
    return [event.at for event in found.posts if event.number == 1]


def test_with_four_of_ten_attempts_failing_all_ends_as_it_must_at_no_more_cost_than_that(
    capsys: pytest.CaptureFixture[str],
) -> None:
    campaign = failing(FORTY_PERCENT)

    found = play(campaign)

    assert_all_true(found, campaign)
    assert len(found.posts) <= 1.05 * found.told / (1 - 0.4)
    assert excess_of_retries(found.posts, WINDOW_S, FLOOR_PER_S) <= 0
    assert largest_gap(fresh(found)) < 0.5
    busy = spread(found, until=50.0 * LONG)
    assert statistics.variance(busy) < 2 * statistics.fmean(busy)  # 1 is pure chance, a wave is many times that
    assert max(busy) < 5 * statistics.fmean(busy)
    with capsys.disabled():
        tell("40 % fail", found, busy)


def test_with_enough_attempts_every_claim_is_answered() -> None:
    campaign = failing(FORTY_PERCENT, seed=838, retry=RetrySettings(max_attempts=30, max_s=5.0))

    found = play(campaign)

    assert_all_true(found, campaign)
    assert Disposition.UNDELIVERED not in {result.disposition for result in found.results.values()}


def test_where_most_attempts_fail_repeats_stay_the_smaller_half_and_fresh_claims_flow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    patient = RetrySettings(max_attempts=40, max_s=5.0, deadline_s=100_000.0)  # no claim comes to its last attempt
    campaign = failing(SIXTY_PERCENT, retry=patient, fixed=True)

    found = play(campaign)

    assert_all_true(found, campaign)
    assert excess_of_retries(found.posts, WINDOW_S, FLOOR_PER_S) <= 0
    assert largest_gap(fresh(found)) < 0.5
    with capsys.disabled():
        tell("60 % fail", found, spread(found, until=fresh(found)[-1]))


def test_fresh_claims_flow_beside_batches_that_fill_the_room_with_claims_to_be_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    patient = RetrySettings(max_attempts=40, max_s=5.0, deadline_s=100_000.0)
    campaign = Campaign(
        service=SimulatorConfig(seed=837, latency_scale=0.02, faults=SIXTY_PERCENT),
        arrivals=[Batch(number / 50, 1) for number in range(4_000)],
        retry=patient,
        fixed=True,
        most_in_flight=50,
    )

    found = play(campaign)

    assert_all_true(found, campaign)
    assert found.most_open == MOST_OPEN
    assert excess_of_retries(found.posts, WINDOW_S, FLOOR_PER_S) <= 0
    assert largest_gap(fresh(found)) < 0.5
    with capsys.disabled():
        tell("60 % fail, no room", found, spread(found, until=fresh(found)[-1]))


def test_fresh_claims_of_a_broker_flow_where_it_may_give_as_many_messages_as_are_worked_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A message is held until its slowest claim ends. Fifty at once, and seconds pass without a fresh claim."""
    patient = RetrySettings(max_attempts=40, deadline_s=100_000.0)
    campaign = Campaign(
        service=SimulatorConfig(seed=837, latency_scale=0.02, faults=SIXTY_PERCENT),
        arrivals=[Batch(number / 10, 10) for number in range(400)],
        retry=patient,
        fixed=True,
        most_in_flight=50,
        prefetch=MOST_OPEN,
    )

    found = play(campaign)

    assert_all_true(found, campaign)
    assert largest_gap(fresh(found)) < 0.5
    with capsys.disabled():
        tell("60 % fail, a broker", found, spread(found, until=fresh(found)[-1]))


def test_repeats_that_could_take_every_slot_leave_each_fifth_to_fresh_claims() -> None:
    campaign = Campaign(
        service=SimulatorConfig(seed=837, latency_scale=5.0),
        arrivals=[Batch(0.0, 1_000)],
        fixed=True,
        most_in_flight=100,
        at_once=1.0,
    )

    found = play(campaign)

    numbers = [event.number for event in found.posts if event.at >= 1.0]
    rows = [len(list(row)) for repeats, row in groupby(numbers, key=lambda number: number > 1) if repeats]
    assert found.told == 1_000
    assert sum(rows) >= 100
    assert max(rows) <= 2 * MOST_REPEATS  # begun in one instant, one may be posted after those whose turn came later


def test_three_thousand_calls_that_fail_in_one_instant_come_back_spread_out_among_fresh_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    campaign = Campaign(
        service=SimulatorConfig(seed=837, latency_scale=0.02),
        arrivals=[*[Batch(0.0, 250)] * 12, *[Batch(1.0 + number / 50, 70) for number in range(75)]],
        fixed=True,
        most_in_flight=3000,
        at_once=1.0,
    )

    found = play(campaign)

    again = slots(found.retries, SLOT_S)
    failed = [event.at for event in found.events if event.said == 500]
    assert failed == [pytest.approx(1.0)] * len(failed)
    assert len(failed) == 3000
    assert found.told == 8250
    assert max(again) <= 0.15 * 3000
    assert min(again[:10]) >= 0.05 * 3000  # a second of full jitter, ten slots
    assert excess_of_retries(found.posts, WINDOW_S, FLOOR_PER_S) <= 0
    with capsys.disabled():
        tell("3,000 at once", found, again)


def test_with_no_fresh_claims_those_that_failed_in_one_instant_come_back_by_the_floor() -> None:
    campaign = Campaign(
        service=SimulatorConfig(seed=837, latency_scale=0.02),
        arrivals=[Batch(0.0, 250)] * 2,
        fixed=True,
        most_in_flight=500,
        at_once=1.0,
    )

    found = play(campaign)

    again = slots(found.retries, 1.0)
    assert found.told == 500
    assert excess_of_retries(found.posts, WINDOW_S, FLOOR_PER_S) <= 0
    assert 100 <= sum(again[:2]) <= 121  # what first attempts have earned and not used is kept, up to 100
    assert all(9 <= count <= 11 for count in again[2:-1])


def test_the_same_seed_is_the_same_run_event_for_event_and_another_is_another() -> None:
    campaign = failing(FORTY_PERCENT)
    campaign = Campaign(service=campaign.service, arrivals=steadily(10.0))
    other = Campaign(service=failing(FORTY_PERCENT, seed=1).service, arrivals=campaign.arrivals)

    assert play(campaign).fingerprint == play(campaign).fingerprint
    assert play(campaign).fingerprint != play(other).fingerprint


def spread(found: Found, *, until: float) -> list[int]:
    """Count the repeats of each tenth of a second, from 10 s on, when the limiter has found its way."""
    return slots([moment for moment in found.retries if 10.0 <= moment < until], SLOT_S)


def tell(name: str, found: Found, again: list[int]) -> None:
    print(  # noqa: T201 - figures of the long form
        f"\n{name}: {found.told} claims, {len(found.posts)} attempts, repeats per 0.1 s: mean"
        f" {statistics.fmean(again):.1f}, most {max(again)}; fresh claims' gap {largest_gap(fresh(found)):.2f} s;"
        f" from arrival to answer P50 {percentile(found.took_s, 0.5):.1f} s, P99 {percentile(found.took_s, 0.99):.1f} s"
    )
