import math

import pytest

from worker.flow.peak import Peak
from worker.flow.sample import Latencies, Sample


def took(latency_s: float, answers: int = 100) -> Sample:
    return Sample(math.log(latency_s), 0.3, answers)


@pytest.mark.parametrize(
    ("limit", "latency_s", "passed"),
    [
        (100, 2.4, False),  # the same place
        (130, 2.4, False),  # more gets done
        (130, 3.1, False),  # as much: it only queues
        (130, 3.4, False),  # a little less, as chance may have it
        (130, 4.1, True),  # plainly less
        (130, 12.0, False),  # so much less that it must be something else
        (70, 2.4, False),  # less, for less is asked
        (70, 9.0, False),
    ],
)
def test_the_peak_is_passed_where_plainly_less_gets_done_at_a_higher_limit(
    limit: float, latency_s: float, passed: bool
) -> None:
    peak = Peak()
    peak.passed(100, took(2.4))

    assert peak.passed(limit, took(latency_s)) is passed


def test_few_answers_do_not_tell_and_many_do() -> None:
    peak = Peak()
    peak.passed(100, took(2.4, 1_000))

    assert not peak.passed(130, took(4.1, 10))
    assert peak.passed(130, took(4.1, 100))


def test_the_peak_moves_to_where_more_got_done() -> None:
    peak = Peak()
    for limit, latency_s in [(50, 2.4), (100, 2.4), (200, 9.6), (80, 2.5)]:
        peak.passed(limit, took(latency_s))

    assert peak.limit == 100


def test_a_peak_of_long_ago_is_no_measure() -> None:
    peak = Peak()
    peak.passed(100, took(2.4))

    said = [peak.passed(130, took(4.1)) for _ in range(200)]

    assert said[0]
    assert not said[-1]


def test_a_forgotten_peak_is_passed_nowhere() -> None:
    peak = Peak()
    peak.passed(100, took(2.4))

    peak.forget()

    assert not peak.passed(130, took(9.0))


CLIMB = (64, 72, 80, 89, 98, 108, 119, 131)


def climb_over(knee: int, *, luck: float = 1.0, at: int = 108) -> Peak:
    """Climb to beyond a sudden knee; at one limit chance makes answers faster by this factor."""
    peak = Peak()
    for limit in CLIMB:
        latency_s = 2.4 * max(1.0, limit / knee) ** 2
        peak.passed(limit, took(latency_s / luck if limit == at else latency_s))
    return peak


@pytest.mark.parametrize("at", [89, 108])
def test_the_top_lies_near_the_knee_even_where_chance_made_another_limit_the_best(at: int) -> None:
    peak = climb_over(100, luck=1.2, at=at)

    assert abs(peak.limit - 100) > 5
    assert peak.top(131) == pytest.approx(100, rel=0.06)


def test_the_top_lies_at_most_a_tenth_from_the_best_window_and_plainly_below_what_is_left() -> None:
    assert climb_over(60).top(131) == pytest.approx(64 / 1.1)
    assert climb_over(1000).top(131) == pytest.approx(131 / 1.04)


def test_the_top_is_at_the_best_window_where_too_little_was_seen() -> None:
    peak = Peak()
    peak.passed(100, took(2.4))
    peak.passed(130, took(4.1))

    assert peak.top(130) == pytest.approx(100)


def test_where_only_higher_limits_were_seen_of_late_the_top_may_be_lower() -> None:
    """Else chance would lead upward, a little with each time that the peak is passed."""
    peak = climb_over(100)
    for _ in range(300):
        peak.passed(108, took(2.8))
    for limit in (112, 119, 126, 133):
        peak.passed(limit, took(2.8 * (limit / 108) ** 2))

    assert peak.top(133) == pytest.approx(108 / 1.1, rel=0.02)


def test_latencies_are_summed_up_as_logarithms() -> None:
    latencies = Latencies()
    for latency_s in (1.0, math.e, math.e**2):
        latencies.add(latency_s)

    assert latencies.sample() == pytest.approx((1.0, 2 / 3, 3))
    assert latencies.sample().noise == pytest.approx(math.sqrt(2) / 3)
