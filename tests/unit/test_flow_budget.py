from itertools import accumulate

import hypothesis.strategies as st
import pytest
from hypothesis import given

from worker.flow.budget import RetryBudget

FLOOR_PER_S, WINDOW_S = 10, 10.0

ratios = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9])
# Bursts and lulls: pauses of nothing, of moments and of more than a window, and many attempts in a row.
spells = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.03, 0.1, 0.5]) | st.floats(min_value=0.0, max_value=15.0),
        st.booleans(),
        st.integers(min_value=1, max_value=400),
        st.sampled_from([0.0, 0.0, 0.001, 0.03, 0.09]),
    ),
    max_size=12,
)
Made = list[tuple[float, bool]]


def played(budget: RetryBudget, spells: list[tuple[float, bool, int, float]]) -> Made:
    """Ask for attempts in spells, each after a pause: of fresh ones or of retries, so many, so far apart."""
    made: Made = []
    now = 1000.0
    for pause_s, retry, times, apart_s in spells:
        now += pause_s
        for _ in range(times):
            now += apart_s
            if not retry or budget.allows_retry(now):
                budget.record(retry, now)
                made.append((now, retry))
    return made


def worst_excess(made: Made, ratio: float, *, least_s: float) -> float:
    """Say by how many retries the promise is broken in the worst of all spans that take `least_s` or longer.

    The worst one begins just before an attempt and ends with one, or takes just `least_s`; so with `paid(t)` as what
    all attempts up to t take out of the account, it is the largest difference that lies far enough apart.
    """
    paid = [0.0, *accumulate((1.0 if retry else 0.0) - ratio for _, retry in made)]
    worst, lowest, begin = float("-inf"), float("inf"), 0
    per_s = float(FLOOR_PER_S)
    for end, (at, _) in enumerate(made):
        while begin <= end and made[begin][0] <= at - least_s:
            lowest = min(lowest, paid[begin] - per_s * made[begin][0])
            begin += 1
        worst = max(worst, paid[end + 1] - per_s * at - lowest)
        if begin <= end:
            nearer = min(paid[begin : end + 1])
            worst = max(worst, paid[end + 1] - nearer - per_s * least_s)
    return worst


@given(ratios, spells)
def test_in_any_span_of_a_window_or_more_retries_are_at_most_their_share_and_the_floor(
    ratio: float, spells: list[tuple[float, bool, int, float]]
) -> None:
    made = played(RetryBudget(ratio, floor_per_s=FLOOR_PER_S, window_s=WINDOW_S), spells)

    one_at_least = max(0.0, 1 - ratio - ratio * FLOOR_PER_S * WINDOW_S)
    assert worst_excess(made, ratio, least_s=WINDOW_S) <= one_at_least + 1e-3


@given(ratios, spells)
def test_in_a_shorter_span_they_are_at_most_half_a_windows_floor_more(
    ratio: float, spells: list[tuple[float, bool, int, float]]
) -> None:
    made = played(RetryBudget(ratio, floor_per_s=FLOOR_PER_S, window_s=WINDOW_S), spells)

    assert worst_excess(made, ratio, least_s=0.0) <= max(ratio * FLOOR_PER_S * WINDOW_S, 1 - ratio) + 1e-3


def test_retries_that_follow_long_after_a_burst_do_not_live_off_it() -> None:
    budget = RetryBudget(floor_per_s=FLOOR_PER_S, window_s=WINDOW_S)

    made = played(budget, [(0.0, False, 1_000, 0.0), (9.0, True, 1_000, 0.001)])

    assert worst_excess(made, 0.5, least_s=WINDOW_S) <= 0.0
    assert sum(retry for _, retry in made) == pytest.approx(110, abs=1)


@given(spells)
def test_a_spent_budget_says_when_it_is_not(spells: list[tuple[float, bool, int, float]]) -> None:
    budget = RetryBudget(floor_per_s=FLOOR_PER_S, window_s=WINDOW_S)
    now = 1000.0

    for pause_s, retry, times, _ in spells:
        now += pause_s
        for _ in range(times):
            if retry and not budget.allows_retry(now):
                later = budget.next_at(now)
                assert now < later <= now + 1.0 / FLOOR_PER_S + 1e-3
                assert budget.allows_retry(later)
                now = later
            budget.record(retry, now)


def test_a_service_that_fails_everything_gets_at_most_half_of_its_load_as_retries_beside_the_floor() -> None:
    budget = RetryBudget()
    retries = 0
    for tick in range(60_000):
        now = tick / 1000
        if tick % 10 == 0:
            budget.record(False, now)
        if budget.allows_retry(now):
            budget.record(True, now)
            retries += 1

    assert retries == pytest.approx(6000 + 60 * 10, rel=0.03)


def test_with_no_fresh_claims_left_the_floor_lets_the_last_ones_finish() -> None:
    budget = RetryBudget()
    made = 0
    for tick in range(20_000):
        now = tick / 1000
        if budget.allows_retry(now):
            budget.record(True, now)
            made += 1

    assert made == pytest.approx(10 + 200, abs=1)


def test_a_lull_saves_up_what_the_floor_has_in_a_window_and_no_more() -> None:
    budget = RetryBudget(floor_per_s=FLOOR_PER_S, window_s=WINDOW_S)
    played(budget, [(0.0, True, 100, 0.0)])

    made = played(budget, [(3600.0, True, 1_000, 0.0)])

    assert len(made) == FLOOR_PER_S * WINDOW_S


def test_a_ratio_of_one_bounds_nothing() -> None:
    budget = RetryBudget(1.0, floor_per_s=0)
    for _ in range(1_000):
        assert budget.allows_retry(0.0)
        budget.record(True, 0.0)


def test_without_a_floor_first_attempts_alone_earn_retries() -> None:
    budget = RetryBudget(floor_per_s=0)

    assert not budget.allows_retry(1_000.0)
    assert budget.next_at(1_000.0) == float("inf")
    budget.record(False, 1_000.0)
    assert budget.allows_retry(1_000.0)
