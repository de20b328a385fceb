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


def test_latencies_are_summed_up_as_logarithms() -> None:
    latencies = Latencies()
    for latency_s in (1.0, math.e, math.e**2):
        latencies.add(latency_s)

    assert latencies.sample() == pytest.approx((1.0, 2 / 3, 3))
    assert latencies.sample().noise == pytest.approx(math.sqrt(2) / 3)
